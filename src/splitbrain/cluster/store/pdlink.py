"""The store's side of the placement driver: what it tells, and what it does when told to.

    store ready      Bootstrap (with the first region), PutStore   until they are answered
    each second      StoreHeartbeat
    a leader         RegionHeartbeat: when something changed, and now and then; the answer may bring a
                     step of an operator, which is done if the region's epoch is still the one meant
    a split          AskSplit for ids, then the split is proposed
    a new leader     Tso (transactional mode): a timestamp above all that earlier leaders were read at

All messages go to the member that is believed to lead; a refusal names a better one, and silence lets
the next one be tried.  Nothing here is needed for safety but this: the timestamp of a new leader must
have been asked for after it became one, and ids must not be used twice.  Answers carry no number, so
each Tso asks for another count, which its answer repeats; and ids are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from splitbrain.cluster.messages.pd import Tso, TsoReply
from splitbrain.cluster.messages.pd_errors import (
    PdAlreadyBootstrapped,
    PdNotBootstrapped,
    PdNotLeader,
)
from splitbrain.cluster.messages.pd_stores import (
    AskSplit,
    AskSplitReply,
    Bootstrap,
    BootstrapReply,
    PutStore,
    PutStoreReply,
    RegionHeartbeat,
    RegionHeartbeatReply,
    StoreHeartbeat,
    StoreHeartbeatReply,
)
from splitbrain.cluster.messages.pd_types import (
    DownPeer,
    StepChangePeers,
    StepSplit,
    StepTransferLeader,
    StoreMeta,
    StoreStats,
    compose_ts,
)
from splitbrain.cluster.messages.region import Peer as PeerMeta
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.raft.progress import Flow, Progress
from splitbrain.cluster.raft.types import Role
from splitbrain.cluster.store.peer import Peer
from splitbrain.cluster.store.regions import first_region

if TYPE_CHECKING:
    from splitbrain.cluster.store.routing import Routing

__all__ = ["ANSWERS", "PdLink"]

ANSWERS = (
    BootstrapReply,
    PutStoreReply,
    StoreHeartbeatReply,
    RegionHeartbeatReply,
    AskSplitReply,
    TsoReply,
)
COUNTS = 1024
"""So many different counts of timestamps are asked for before one comes again."""
RETRY = 0.5
"""Of a store heartbeat's period: a request without an answer for so long is sent again."""
DOWN = 3
"""Election timeouts of silence after which a peer is reported."""


class PdLink:
    """One store's talk with PD; ``tick`` it often."""

    def __init__(self, store: Routing) -> None:
        config = store.config
        self._store = store
        self._send = store.env.transport.send
        self._members = config.pd
        self._target = 0
        self._period_ns = int(config.store_heartbeat_s * config.scale * 1e9)
        self._region_period_ns = int(config.region_heartbeat_s * config.scale * 1e9)
        self._down_ns = int(DOWN * config.election_timeout_s * 1e9)
        self._bootstrapped = self._registered = self._heard = False
        self._next_ns = 0
        self._term = 0
        self._changed: dict[int, None] = {}
        self._told_ns: dict[int, int] = {}
        self._alive: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        self._splits: dict[int, tuple[bytes, ...]] = {}
        self._asked_ns = 0
        self._asked = 0
        self._used: set[int] = set()
        self._tso_count = 0
        self._tso_ns = 0
        self._tso_for: dict[int, int] = {}

    # -- out -------------------------------------------------------------------------------------

    def changed(self, region_id: int) -> None:
        """A region's description or leadership is another."""
        self._changed[region_id] = None

    def tick(self, now_ns: int) -> None:
        """Say what is due."""
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self._period_ns
            if not self._heard:
                self._target = (self._target + 1) % len(self._members)
            self._heard = False
            self._beat()
        if not self._registered:
            return
        for region_id, peer in self._store.peers.items():
            if peer.raft.role is not Role.LEADER or peer.region is None:
                self._told_ns.pop(region_id, None)
                continue
            told = self._told_ns.get(region_id)
            due = told is None or now_ns - told >= self._region_period_ns
            if due or region_id in self._changed:
                self._tell_region(peer, peer.region, now_ns)
            self._maybe_split(peer)
        self._changed.clear()
        self._ask_ids(now_ns)
        self._ask_timestamp(now_ns)

    def _ask(self, request: Any) -> None:
        self._send(self._members[self._target], request)

    def _beat(self) -> None:
        store = self._store
        config = store.config
        meta = StoreMeta(config.store_id, config.node)
        if self._registered:
            self._ask(StoreHeartbeat(meta.id, StoreStats(region_count=len(store.peers))))
        elif self._bootstrapped or config.node not in config.founders:
            self._ask(PutStore(meta))
        else:
            ids = {config.nodes.index(node) + 1: node for node in config.founders}
            others = tuple(StoreMeta(i, node) for i, node in ids.items() if i != meta.id)
            region = first_region(store.first_region, list(ids))
            self._ask(Bootstrap(meta, region, others=others))

    def _tell_region(self, peer: Peer, region: Region, now_ns: int) -> None:
        raft = peer.raft
        leader = region.peer_on(self._store.config.store_id)
        if leader is None:
            return
        self._told_ns[region.id] = now_ns
        down: list[DownPeer] = []
        pending: list[PeerMeta] = []
        for meta in region.peers:
            progress = raft.progress.get(self._store.config.nodes[meta.store_id - 1])
            if progress is None or meta is leader:
                continue
            silent_ns = self._silent_ns(region.id, meta, progress, now_ns)
            if silent_ns >= self._down_ns:
                down.append(DownPeer(meta, silent_ns / 1e9))
            if progress.flow is Flow.SNAPSHOT or progress.match + 1 < raft.first_index:
                pending.append(meta)
        size = 0 if raft.snapshot is None else len(raft.snapshot.data)
        self._ask(
            RegionHeartbeat(
                region, leader, raft.term, tuple(down), tuple(pending), size, len(peer.state)
            )
        )

    def _silent_ns(
        self, region_id: int, meta: PeerMeta, progress: Progress, now_ns: int
    ) -> int:
        """For how long nothing new has been heard of a peer."""
        place, mark = (region_id, meta.id), (progress.acked_round, progress.match)
        before = self._alive.get(place)
        if before is None or before[0] != mark:
            self._alive[place] = mark, now_ns
            return 0
        return now_ns - before[1]

    # -- splits ----------------------------------------------------------------------------------

    def _maybe_split(self, peer: Peer) -> None:
        most = self._store.config.split_keys
        if most and len(peer.state) > most and peer.region_id not in self._splits:
            self._want_split(peer, ())

    def _want_split(self, peer: Peer, keys: tuple[bytes, ...]) -> None:
        middle = keys or peer.middle_keys()
        if middle:
            self._splits[peer.region_id] = middle

    def _ask_ids(self, now_ns: int) -> None:
        """One request is on its way at a time; so it is plain for whom the ids are."""
        if self._asked and now_ns - self._asked_ns < self._period_ns:
            return
        self._asked = 0
        for region_id, keys in list(self._splits.items()):
            peer = self._store.peers.get(region_id)
            if peer is None or peer.region is None or peer.raft.role is not Role.LEADER:
                del self._splits[region_id]
                continue
            self._asked, self._asked_ns = region_id, now_ns
            self._ask(AskSplit(peer.region, len(keys)))
            return

    def _on_ids(self, reply: AskSplitReply) -> None:
        keys = self._splits.pop(self._asked, ())
        peer = self._store.peers.get(self._asked)
        self._asked = 0
        fresh = self._used.isdisjoint(one.region_id for one in reply.ids)
        if reply.error is None and peer is not None and fresh and len(keys) == len(reply.ids):
            self._used.update(one.region_id for one in reply.ids)
            peer.split(keys, reply.ids)

    # -- timestamps ------------------------------------------------------------------------------

    def _ask_timestamp(self, now_ns: int) -> None:
        store = self._store
        if store.config.mode != "txn" or (
            self._tso_for and now_ns - self._tso_ns < self._period_ns * RETRY
        ):
            return
        self._tso_for = {
            region_id: peer.raft.term
            for region_id, peer in store.peers.items()
            if peer.raft.role is Role.LEADER and peer.max_ts_term != peer.raft.term
        }
        if self._tso_for:
            self._tso_count = self._tso_count % COUNTS + 1
            self._tso_ns = now_ns
            self._ask(Tso(self._tso_count))

    def _on_timestamp(self, reply: TsoReply) -> None:
        if reply.error is not None or reply.count != self._tso_count:
            return
        self._store.memory.raise_max_ts(compose_ts(reply.physical, reply.logical))
        for region_id, term in self._tso_for.items():
            peer = self._store.peers.get(region_id)
            if peer is not None and peer.raft.term == term and peer.raft.role is Role.LEADER:
                peer.max_ts_term = term
        self._tso_for = {}

    # -- in --------------------------------------------------------------------------------------

    def on_answer(self, reply: Any) -> None:
        """PD has answered."""
        error = reply.error
        if isinstance(error, PdNotLeader):
            if error.leader in self._members:
                self._target = self._members.index(error.leader)
                self._heard = True
            return
        self._heard = True
        if isinstance(reply, BootstrapReply):
            self._bootstrapped = error is None or isinstance(error, PdAlreadyBootstrapped)
            self._next_ns = 0
        elif isinstance(reply, PutStoreReply):
            self._registered = error is None
        elif isinstance(reply, StoreHeartbeatReply):
            if isinstance(error, PdNotBootstrapped):
                self._bootstrapped = self._registered = False
            elif reply.term != self._term:
                self._term = reply.term
                self._told_ns.clear()
        elif isinstance(reply, RegionHeartbeatReply):
            self._obey(reply)
        elif isinstance(reply, AskSplitReply):
            if self._asked:
                self._on_ids(reply)
        else:
            self._on_timestamp(reply)

    def _obey(self, reply: RegionHeartbeatReply) -> None:
        """Do the next step of the region's operator; PD sees by the next heartbeats if it was done."""
        peer = self._store.peers.get(reply.region_id)
        step = reply.step
        if (
            step is None
            or peer is None
            or peer.region is None
            or peer.region.epoch != reply.epoch
        ):
            return
        if isinstance(step, StepTransferLeader):
            peer.raft.transfer_leader(self._store.config.nodes[step.peer.store_id - 1])
        elif isinstance(step, StepChangePeers):
            joint = len(step.changes) != 1
            peer.change_peers(step.changes, joint=joint, epoch=reply.epoch)
        elif isinstance(step, StepSplit) and peer.raft.role is Role.LEADER:
            self._want_split(peer, step.keys)
        self._store.wake(peer)

    def status(self) -> Mapping[str, Any]:
        """For the store's own."""
        return {"member": self._members[self._target], "registered": self._registered}
