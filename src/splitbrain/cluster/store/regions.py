"""What becomes of a region's description when it is split or its peers change; pure.

The counters are TiKV's: a split raises ``version`` by the number of new regions, and all parts carry
the result; a change of peers raises ``conf_version`` by the number of changes, and leaving a joint
configuration by the number of peers whose role that changes.

    >>> one = Region(1, peers=(Peer(1, 1), Peer(2, 2)))
    >>> left, right = split_region(one, (b"m",), (SplitIds(7, (8, 9)),))
    >>> (left.id, left.end, left.peers), (right.id, right.start, right.epoch.version)
    ((7, b'm', (Peer(id=8, store_id=1, role=<PeerRole.VOTER: 0>), \
Peer(id=9, store_id=2, role=<PeerRole.VOTER: 0>))), (1, b'm', 2))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from splitbrain.cluster.messages.pd_types import PeerChange, PeerChangeKind, SplitIds
from splitbrain.cluster.messages.region import Epoch, Peer, PeerRole, Region
from splitbrain.cluster.raft.types import ConfChange, ConfChangeKind

__all__ = [
    "RegionSnapshot",
    "change_peers",
    "conf_changes",
    "first_region",
    "members",
    "misfit",
    "overlap",
    "pack_snapshot",
    "split_region",
    "unpack_snapshot",
]

ADD_VOTER, ADD_LEARNER = PeerChangeKind.ADD_VOTER, PeerChangeKind.ADD_LEARNER
REMOVE = PeerChangeKind.REMOVE
_KINDS = {
    ADD_VOTER: ConfChangeKind.ADD_VOTER,
    ADD_LEARNER: ConfChangeKind.ADD_LEARNER,
    REMOVE: ConfChangeKind.REMOVE,
}
_AFTER_JOINT = {
    PeerRole.INCOMING_VOTER: PeerRole.VOTER,
    PeerRole.DEMOTING_VOTER: PeerRole.LEARNER,
}


class RegionSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The data of a peer's snapshot: its region there, and the state of all columns."""

    region: Region
    state: bytes


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(RegionSnapshot)


def pack_snapshot(snapshot: RegionSnapshot) -> bytes:
    """A snapshot's data."""
    return _encode(snapshot)


def unpack_snapshot(data: bytes) -> RegionSnapshot:
    """The snapshot of ``pack_snapshot``'s bytes."""
    return _decoder.decode(data)


def first_region(region_id: int, store_ids: Iterable[int]) -> Region:
    """The region over all keys with which a cluster begins; a peer's id is its store's."""
    return Region(region_id, peers=tuple(Peer(number, number) for number in store_ids))


def members(
    region: Region, nodes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Voters, learners, and outgoing voters of a joint configuration, by the names of their stores."""
    named = [(nodes[peer.store_id - 1], peer.role) for peer in region.peers]
    joint = any(role in _AFTER_JOINT for _, role in named)
    voters = (PeerRole.VOTER, PeerRole.INCOMING_VOTER)
    outgoing = (PeerRole.VOTER, PeerRole.DEMOTING_VOTER)
    return (
        tuple(name for name, role in named if role in voters),
        tuple(name for name, role in named if role is PeerRole.LEARNER),
        tuple(name for name, role in named if role in outgoing) if joint else (),
    )


def overlap(one: Region, start: bytes, end: bytes) -> bool:
    """Does ``one`` share a key with [start, end)?"""
    return (not end or one.start < end) and (not one.end or start < one.end)


def split_region(
    region: Region, keys: Sequence[bytes], ids: Sequence[SplitIds]
) -> tuple[Region, ...]:
    """The parts from left to right; the last one keeps the old id and peers."""
    epoch = Epoch(region.epoch.conf_version, region.epoch.version + len(keys))
    parts: list[Region] = []
    start = region.start
    for key, new in zip(keys, ids, strict=True):
        peers = tuple(
            Peer(number, peer.store_id, peer.role)
            for number, peer in zip(new.peer_ids, region.peers, strict=True)
        )
        parts.append(Region(new.region_id, start, key, epoch, peers))
        start = key
    parts.append(Region(region.id, start, region.end, epoch, region.peers))
    return tuple(parts)


def misfit(region: Region, changes: Sequence[PeerChange]) -> str:
    """Why ``changes`` cannot be made to these peers; empty if they can."""
    for change in changes:
        there = region.peer_on(change.peer.store_id)
        if there is None and change.kind is REMOVE:
            return f"store {change.peer.store_id} has no peer to remove"
        if there is not None and there.id != change.peer.id:
            return f"store {change.peer.store_id} has peer {there.id}, not {change.peer.id}"
    return ""


def conf_changes(changes: Sequence[PeerChange], nodes: Sequence[str]) -> tuple[ConfChange, ...]:
    """What the Raft core is to do."""
    return tuple(ConfChange(_KINDS[one.kind], nodes[one.peer.store_id - 1]) for one in changes)


def change_peers(region: Region, changes: Sequence[PeerChange], *, joint: bool) -> Region:
    """The region after ``changes``; joint and none of them: after leaving."""
    peers = list(region.peers)
    if joint and not changes:
        after = [
            msgspec.structs.replace(one, role=_AFTER_JOINT.get(one.role, one.role))
            for one in peers
        ]
        count = sum(one != other for one, other in zip(peers, after, strict=True))
        peers = after
    else:
        count = len(changes)
        for change in changes:
            _change(peers, change, joint=joint)
    epoch = Epoch(region.epoch.conf_version + count, region.epoch.version)
    return Region(region.id, region.start, region.end, epoch, tuple(peers))


def _change(peers: list[Peer], change: PeerChange, *, joint: bool) -> None:
    wanted = change.peer
    place = next((n for n, one in enumerate(peers) if one.store_id == wanted.store_id), None)
    old = PeerRole.LEARNER if place is None else peers[place].role
    if change.kind is REMOVE:
        if place is not None:
            del peers[place]
        return
    if change.kind is ADD_VOTER:
        joining = joint and old is PeerRole.LEARNER
        role = PeerRole.INCOMING_VOTER if joining else PeerRole.VOTER
    else:
        leaving = joint and old is PeerRole.VOTER
        role = PeerRole.DEMOTING_VOTER if leaving else PeerRole.LEARNER
    peer = Peer(wanted.id, wanted.store_id, role)
    if place is None:
        peers.append(peer)
    else:
        peers[place] = peer
