"""Which peers a store has, and how they come into being and go.

First chapter of :class:`~splitbrain.cluster.store.shell.Store`.  The rules are TiKV's:

- A peer is born by a split of its region's parent, on every store that holds the parent, with a state
  and log of its own from the first moment (index 5, term 5).  Or by a message: a vote request or the
  first heartbeat, for a range that no other peer here holds; it has nothing then, and waits for a
  snapshot.
- A vote request that comes before the local parent has been split is kept until then.
- A peer is removed by its region's log; or, if it was away at that time, by a word of those who
  remain, or by a message for another peer, of a larger id, that has come in its place.
- What is removed leaves a grave: no message for it, or for a smaller id, brings it back.
- A sender who has been removed without knowing it, and asks for votes, is told so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages import RaftMessage, RegionMessage
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.mvcc.deadlock import WaitGraph
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import (
    HardState,
    MessageKind,
    Role,
    Snapshot,
    SnapshotMeta,
)
from splitbrain.cluster.storage.columns import Columns
from splitbrain.cluster.storage.logfile import LogFile, Stored
from splitbrain.cluster.store.applier import Applying
from splitbrain.cluster.store.peer import Peer, PeerNote, note_of, read_note
from splitbrain.cluster.store.regions import (
    RegionSnapshot,
    first_region,
    members,
    overlap,
    pack_snapshot,
    unpack_snapshot,
)
from splitbrain.env import Env

__all__ = ["Routing"]

HEARTBEAT, SNAPSHOT = MessageKind.HEARTBEAT, MessageKind.SNAPSHOT
VOTES = (MessageKind.VOTE, MessageKind.PRE_VOTE)
BIRTH = 5
"""Index and term at which a region that was split off begins."""
EARLY_MAX = 1024
AROUND = 10
"""Neighbours told with EpochNotMatch."""


class Routing(ABC):
    """The peers of one store."""

    first_region = 1

    def __init__(
        self,
        config: StoreConfig,
        env: Env,
        raft_class: type[Raft],
        peer_class: type[Peer],
        mvcc_class: type[Mvcc],
    ) -> None:
        self.config = config
        self.env = env
        self.file: LogFile
        self.probes: dict[str, int] = {}
        """How often the changed path of each seeded bug of this store's peers ran."""
        self.mvcc = mvcc_class()
        self.memory = Memory()
        self.waits = WaitGraph()
        self.peers: dict[int, Peer] = {}
        self._graves: dict[int, PeerNote] = {}
        self._early: dict[int, RegionMessage] = {}
        self._raft_class = raft_class
        self._peer_class = peer_class

    @abstractmethod
    def wake(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""

    @abstractmethod
    def work(self) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""

    @abstractmethod
    def flush_soon(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""

    @abstractmethod
    def post(self, node: str, message: RegionMessage) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""

    # -- start -----------------------------------------------------------------------------------

    def begin_cluster(self) -> None:
        """The log is empty: write down the peer that this store has from the beginning, if any."""
        config = self.config
        if config.node in config.founders:
            ids = [config.nodes.index(node) + 1 for node in config.founders]
            region = first_region(self.first_region, ids)
            note = note_of(config.store_id, region)
            self.file.group(region.id).begin(note, Snapshot(SnapshotMeta(), b""), HardState())

    def restore_peers(self, stored: Mapping[int, Stored]) -> None:
        """Make the peers that the log tells of."""
        for region_id, one in stored.items():
            note = read_note(one.note)
            if one.buried:
                self._graves[region_id] = note
            else:
                self._make(region_id, note.peer_id, one)

    def _make(
        self, region_id: int, peer_id: int, stored: Stored, *, fresh: bool = False
    ) -> Peer:
        peer = self._peer_class(self, self.file.group(region_id), region_id, peer_id)
        peer.recover(stored, self._raft_class, fresh=fresh)
        self.peers[region_id] = peer
        self.wake(peer)
        return peer

    # -- messages --------------------------------------------------------------------------------

    def on_region_message(self, sender: str, envelope: RegionMessage, now_ns: int) -> None:
        """A message of another store's peer; dropped if there is nobody to take it."""
        message = envelope.message
        peer = self.peers.get(envelope.region_id)
        if message is None:
            if peer is not None:
                self._on_grave(peer, envelope)
            return
        if peer is not None and envelope.to_peer > peer.peer_id:
            peer.bury(f"peer {envelope.to_peer} has come in its place")
            peer = None
        if peer is None:
            peer = self._birth(sender, envelope, message)
        elif envelope.to_peer != peer.peer_id or self._is_left_behind(
            sender, envelope, peer.region
        ):
            return
        if peer is not None and self._may_take(peer, message):
            peer.step(envelope, message, now_ns)
            self.wake(peer)

    def _on_grave(self, peer: Peer, envelope: RegionMessage) -> None:
        region = peer.region
        known = 0 if region is None else region.epoch.conf_version
        if envelope.to_peer == peer.peer_id and known < envelope.epoch.conf_version:
            peer.bury(f"told by peer {envelope.from_peer}")

    def _is_left_behind(
        self, sender: str, envelope: RegionMessage, region: Region | None
    ) -> bool:
        """Has the sender been removed since the epoch that it speaks of?  It is told, if it asks."""
        if region is None or envelope.epoch.conf_version >= region.epoch.conf_version:
            return False
        if any(peer.id == envelope.from_peer for peer in region.peers):
            return False
        message = envelope.message
        if message is not None and message.kind in VOTES and envelope.epoch.conf_version:
            grave = RegionMessage(
                envelope.region_id, envelope.to_peer, envelope.from_peer, region.epoch
            )
            self.post(sender, grave)
        return True

    def _birth(self, sender: str, envelope: RegionMessage, message: RaftMessage) -> Peer | None:
        """Make the peer that the message is for, if it is one that may be born of it."""
        region_id, kind = envelope.region_id, message.kind
        grave = self._graves.get(region_id)
        if grave is not None and (
            self._is_left_behind(sender, envelope, grave.region)
            or envelope.to_peer <= grave.peer_id
        ):
            return None
        first_word = kind in VOTES or (kind is HEARTBEAT and not message.commit)
        if not first_word or not envelope.to_peer:
            return None
        if self._holder(region_id, envelope.start, envelope.end) is not None:
            if kind in VOTES and len(self._early) < EARLY_MAX:
                self._early[region_id] = envelope
            return None
        self._graves.pop(region_id, None)
        note = note_of(envelope.to_peer)
        log = self.file.group(region_id)
        log.begin(note, Snapshot(SnapshotMeta(), b""), HardState())
        return self._make(region_id, envelope.to_peer, log.stored())

    def _holder(self, region_id: int, start: bytes, end: bytes) -> Peer | None:
        """A peer of another region that holds a part of [start, end)."""
        for peer in self.peers.values():
            region = peer.region
            if (
                peer.region_id != region_id
                and region is not None
                and overlap(region, start, end)
            ):
                return peer
        return None

    def _may_take(self, peer: Peer, message: RaftMessage) -> bool:
        """A snapshot must be for this peer, and for a range that no other one holds.

        Another holds it while it has not applied the split, or does not know that it was removed;
        the leader sends again.
        """
        if message.kind is not SNAPSHOT or message.snapshot is None:
            return True
        region = unpack_snapshot(message.snapshot.data).region
        own = region.peer_on(self.config.store_id)
        if own is None or own.id != peer.peer_id:
            return False
        return self._holder(region.id, region.start, region.end) is None

    # -- splits and ends -------------------------------------------------------------------------

    def split_off(
        self, parent: Applying, region: Region, state: Columns, *, fresh: bool
    ) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`.

        If this store knows the new region already, from an earlier life or from messages, then what
        it knows is newer: the part is dropped.  But a peer that has nothing yet becomes this one, and
        keeps its word (term and vote).
        """
        own = region.peer_on(self.config.store_id)
        there = self.peers.get(region.id)
        if own is None or region.id in self._graves:
            return
        hard = HardState(BIRTH, "", BIRTH)
        if there is not None:
            if there.region is not None or there.peer_id > own.id:
                return
            kept = self.file.group(region.id).stored().hard_state
            if kept.term >= BIRTH:
                hard = HardState(kept.term, kept.vote, BIRTH)
            fresh = False
            there.gone = True
        voters, learners, outgoing = members(region, self.config.nodes)
        meta = SnapshotMeta(BIRTH, BIRTH, voters, learners, outgoing)
        snapshot = Snapshot(meta, pack_snapshot(RegionSnapshot(region, state.snapshot())))
        log = self.file.group(region.id)
        log.begin(note_of(own.id), snapshot, hard)
        child = self._make(region.id, own.id, log.stored(), fresh=fresh)
        early = self._early.pop(region.id, None)
        if early is not None and early.message is not None and early.to_peer == own.id:
            child.step(early, early.message, self.env.clock.monotonic_ns())
        if parent.raft.role is Role.LEADER and child.raft.term == BIRTH:
            child.raft.campaign()
        self.changed(child)

    def gone(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""
        del self.peers[peer.region_id]
        self._graves[peer.region_id] = PeerNote(peer.peer_id, peer.region)

    @abstractmethod
    def changed(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""

    def around(self, region: Region) -> tuple[Region, ...]:
        """See :class:`~splitbrain.cluster.store.host.Host`."""
        known = [peer.region for peer in self.peers.values() if peer.region is not None]
        left = {one.end: one for one in known if one.end}
        found = [region]
        while len(found) <= AROUND and found[-1].start in left:
            beside = left[found[-1].start]
            if beside in found:
                break
            found.append(beside)
        return tuple(found)
