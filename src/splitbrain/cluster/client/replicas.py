"""Which replica of a region to ask, in which order.  Pure."""

from __future__ import annotations

from collections.abc import Callable

from splitbrain.cluster.client.options import ReadFrom
from splitbrain.cluster.client.regions import Place
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.pd_types import StoreMeta
from splitbrain.cluster.messages.region import Peer, PeerRole

__all__ = ["REPLICA_READ", "candidates"]

REPLICA_READ: dict[ReadFrom, ReplicaRead] = {
    "leader": ReplicaRead.LEADER,
    "follower": ReplicaRead.FOLLOWER,
    "closest": ReplicaRead.FOLLOWER,
    "stale": ReplicaRead.STALE,
    "eventual": ReplicaRead.EVENTUAL,
}
"""What the store is told of each choice."""


def candidates(
    place: Place,
    read_from: ReadFrom,
    *,
    turn: int = 0,
    labels: tuple[tuple[str, str], ...] = (),
    store: Callable[[int], StoreMeta | None] = lambda _: None,
) -> list[Peer]:
    """All peers of the region, the one to ask first coming first.

    Args:
        place: the region, and its leader as far as known.
        read_from: see ``options``; writes say ``leader``.
        turn: rotates those that are alike, so that load is spread.
        labels: the client's own, for ``closest``.
        store: looks up a store, for its labels.
    """
    peers = list(place.region.peers)
    at = turn % len(peers) if peers and read_from != "leader" else 0
    peers = peers[at:] + peers[:at]
    leader = None if place.leader is None else place.leader.id

    def rank(peer: Peer) -> tuple[int, int]:
        leads = peer.id == leader
        if read_from == "leader":
            return (0 if leads else 1, peer.role is PeerRole.LEARNER)
        if read_from == "follower":
            return (1 if leads else 0, 0)
        if read_from == "closest":
            meta = store(peer.store_id)
            alike = sum(label in labels for label in meta.labels) if meta is not None else 0
            return (-alike, 0)
        return (0, 0)

    return sorted(peers, key=rank)
