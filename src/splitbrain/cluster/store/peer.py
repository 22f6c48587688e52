"""A peer: one region's replica on one store, joining a Raft core, a part of the log file, and a state.

    client request --refusal--> queue --end of turn--> Raft core --Ready--> log file, peers
                                                                   |
    client answer <--proposals, reads-- state machine <--committed-+

All work is done in :meth:`Peer.work`, which takes the core's Readys and does what each says in
the order that ``raft.types`` lays down.  One class in chapters, each a subclass of the one before:
``applier``, ``requests``, ``transactions``, ``follower_reads``, ``admin``, ``hashes``, and this.

The core names members by their stores: a region has at most one peer on each.  That an older or
newer peer on the same store is not mistaken for it is seen to by ids, in ``routing``.

**Recovery.**  The applied state is in memory.  After a restart it is the stored snapshot, and the
entries behind it are applied again as the core learns that they are committed.

Seeded bugs are subclasses that override one of the small methods with an underscore, see ``factory``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from splitbrain.cluster.messages import (
    RaftBatch,
    RaftMessage,
    RegionMessage,
    RegionNotFound,
    UndeterminedResult,
)
from splitbrain.cluster.messages.region import Epoch, Region
from splitbrain.cluster.mvcc.codec import split_version
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import (
    MessageKind,
    Ready,
    Restored,
    Role,
    SoftState,
)
from splitbrain.cluster.storage.columns import Column
from splitbrain.cluster.storage.logfile import Stored
from splitbrain.cluster.store.hashes import Hashing
from splitbrain.cluster.store.regions import members, unpack_snapshot

__all__ = ["Peer", "PeerNote", "note_of", "read_note"]

APPEND, HEARTBEAT = MessageKind.APPEND, MessageKind.HEARTBEAT
VOTES = (MessageKind.VOTE, MessageKind.PRE_VOTE)
LEADER = Role.LEADER
NOTHING = Epoch(0, 0)
LOST = 3
"""Election timeouts without a word from a leader after which a learner asks."""


class PeerNote(msgspec.Struct, frozen=True, array_like=True):
    """What the log file says of a peer beside its Raft state.

    ``region``: before the first snapshot, for one that began with the cluster; or of a removed peer,
    the last that it knew.
    """

    peer_id: int
    region: Region | None = None


def note_of(peer_id: int, region: Region | None = None) -> bytes:
    """A note's bytes."""
    return msgspec.msgpack.encode(PeerNote(peer_id, region))


def read_note(note: bytes) -> PeerNote:
    """The note of ``note_of``'s bytes."""
    return msgspec.msgpack.decode(note, type=PeerNote)


class Peer(Hashing):
    """One region on one store."""

    _elections = 0
    _working = False

    def __str__(self) -> str:
        return f"region {self.region_id}"

    def recover(self, stored: Stored, raft_class: type[Raft], *, fresh: bool = False) -> None:
        """Become what the log holds of this peer; all of it must be durable."""
        meta = stored.snapshot.meta
        self.snapshot_index = meta.index
        self.region = read_note(stored.note).region
        if meta.index:
            found = unpack_snapshot(stored.snapshot.data)
            self.state.restore(found.state)
            self.region = found.region
        restored = Restored(
            hard_state=stored.hard_state,
            snapshot_meta=meta,
            snapshot_data=stored.snapshot.data,
            entries=stored.entries,
            applied=meta.index,
            fresh=fresh,
        )
        # Each incarnation draws anew: its term differs from that of the last one.
        names: tuple[object, ...] = (self.host.env.node, stored.hard_state.term)
        if self.region_id != self.host.first_region:
            names += (self.region_id, self.peer_id)
        stream = self.host.env.random.stream("raft", *names)
        config = self.config.raft()
        if self.region is None:
            config = msgspec.structs.replace(config, voters=())
        elif not meta.index:
            voters, learners, _ = members(self.region, self.config.nodes)
            config = msgspec.structs.replace(config, voters=voters, learners=learners)
        self.raft = raft_class(config, restored, stream)
        self.stream = stream
        last = self._replayed_to = meta.index + len(stored.entries)
        self._ask_ticks = LOST * config.election_ticks
        self._ids: dict[str, int] = {}
        self._ids_of: Region | None = None
        self._note_ids()
        self.event("start", term=stored.hard_state.term, last=last, snapshot=meta.index)
        self.host.env.log(f"{self}: started: term {stored.hard_state.term}, last index {last}")

    # -- messages --------------------------------------------------------------------------------

    def _note_ids(self) -> None:
        """Who sits on which store, as the region says now."""
        region = self.region
        if region is not None and region is not self._ids_of:
            self._ids_of, nodes = region, self.config.nodes
            self._ids |= {nodes[peer.store_id - 1]: peer.id for peer in region.peers}

    def step(self, envelope: RegionMessage, message: RaftMessage, now_ns: int) -> None:
        """A message of another peer, for this one.

        One that has applied more of the region's changes may be a peer of which this one has not
        heard yet; it is answered all the same.
        """
        region = self.region
        if region is None or envelope.epoch.conf_version > region.epoch.conf_version:
            self._ids[message.sender] = envelope.from_peer
        self.raft.step(message, now_ns)

    def tick(self, now_ns: int) -> None:
        """Time passes; a learner that hears of no leader asks now and then whether it is one still.

        (A voter in that case campaigns, which is as good a question: see ``routing``.)
        """
        raft = self.raft
        raft.tick(now_ns)
        self.expire_asked(now_ns)
        if raft.node in raft.learners and not raft.quiet_ticks % self._ask_ticks:
            question = RaftMessage(
                MessageKind.PRE_VOTE, raft.node, "", raft.term + 1, log_index=raft.last_index
            )
            self._post([msgspec.structs.replace(question, to=node) for node in raft.peers])

    def _envelope(self, message: RaftMessage) -> RegionMessage:
        region = self.region
        to = self._ids.get(message.to, 0)
        if region is None:
            return RegionMessage(self.region_id, self.peer_id, to, NOTHING, message)
        kind = message.kind
        if kind in VOTES or (kind is HEARTBEAT and not message.commit):
            return RegionMessage(
                region.id, self.peer_id, to, region.epoch, message, region.start, region.end
            )
        return RegionMessage(region.id, self.peer_id, to, region.epoch, message)

    def _post(self, messages: Sequence[RaftMessage]) -> None:
        slow_ms = self.config.slow_commit_ms
        for message in messages:
            if slow_ms and message.kind is APPEND and not message.entries:
                due = self._clock.monotonic_ns() + int(slow_ms * 1e6)
                batch = RaftBatch((self._envelope(message),))
                self._clock.call_at(due, partial(self._send, message.to, batch))
            else:
                self.host.post(message.to, self._envelope(message))

    # -- the core's work -------------------------------------------------------------------------

    def work(self) -> None:
        """Do all that the core asks for."""
        raft = self.raft
        self._working = True
        while not self.gone and raft.has_ready():
            self._do(raft.ready())
        self._working = False
        if raft.snapshot_wanted and not self.gone:
            self._maybe_compact()

    def _do(self, ready: Ready) -> None:
        if ready.soft_state is not None:
            self._on_role(ready.soft_state)
        self._persist(ready)
        if ready.messages:
            self._post(ready.messages)
        if ready.snapshot is not None:
            self._restore(ready.snapshot)
            self._note_ids()
        if ready.dropped_reads:
            self.drop_reads(ready.dropped_reads)
        if ready.committed:
            self.committed(ready.committed)
        if ready.read_states and not self.gone:
            self.confirmed(ready.read_states)

    def _persist(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            done = partial(self._persisted, ready)
            self._log.install(ready.snapshot, ready.hard_state, ready.entries, done)
        elif ready.entries or ready.hard_state is not None or ready.after_persist:
            done = partial(self._persisted, ready)
            self._log.append(ready.hard_state, ready.entries, sync=ready.must_sync, done=done)

    def _persisted(self, ready: Ready) -> None:
        """``ready`` and all before it are durable.  ``work`` follows."""
        if not self.gone:
            if ready.after_persist:
                self._post(ready.after_persist)
            self.raft.persisted(ready.number)
            if not self._working:
                self.host.wake(self)

    def _after_apply(self) -> None:
        if self._removed:
            self.bury("removed from the region")
            return
        self._note_ids()
        self.serve()
        self._maybe_compact()
        if self._writes:
            self.host.flush_soon(self)

    def _on_role(self, soft: SoftState) -> None:
        raft, role = self.raft, soft.role.value
        self.event(role, term=raft.term, leader=soft.leader)
        self.host.env.log(
            f"{self}: {role} in term {raft.term}, leader {soft.leader or 'unknown'}"
        )
        if soft.role is LEADER:
            self._elections += 1
        else:
            self.drop_commands(self.not_leader())
            self._stepped_down()
            if self._writes:
                self.host.flush_soon(self)
        self.host.changed(self)

    def _stepped_down(self) -> None:
        """This peer does not lead (any more).

        What was appended is left waiting: its fate is decided by the log alone.
        """

    # -- the end ---------------------------------------------------------------------------------

    def bury(self, cause: str) -> None:
        """The region has no such peer any more: forget all but that."""
        self.gone = True
        self._log.bury(note_of(self.peer_id, self.region))
        self.event("gone", peer=self.peer_id)
        self.host.env.log(f"{self}: peer {self.peer_id} is gone: {cause}")
        self.drop_commands(RegionNotFound(self.region_id))
        self.drop_asked(RegionNotFound(self.region_id))
        for waiting in self._proposals.drop_all():
            self.refuse(waiting, UndeterminedResult(cause))
        writes, self._writes = self._writes, []
        for waiting in [*writes, *self._reads.drop_all()]:
            self.refuse(waiting, RegionNotFound(self.region_id))
        self.host.gone(self)

    # -- looks and acts from outside -------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What the peer says of itself; JSON-able."""
        region = self.region
        status = {
            **self.raft.status(),
            "elections": self._elections,
            "snapshot": self.snapshot_index,
            "keys": len(self.state),
            "waiting": self.held(),
        }
        if region is not None:
            status["epoch"] = [region.epoch.conf_version, region.epoch.version]
        return status

    def middle_keys(self) -> tuple[bytes, ...]:
        """Where to cut the region in two parts of as many keys; none if there is no such place.

        Linear in the number of keys.
        """
        column = Column.WRITE if self.config.mode == "txn" else Column.RAW
        half = self.state.count(column) // 2
        pairs = islice(self.state.scan(column), half, None)
        key = next((key for key, _ in pairs), b"")
        if key and column is Column.WRITE:
            key = split_version(key)[0]
        region = self.region
        if region is None or not region.covers(key) or key == region.start:
            return ()
        return (key,)

    def compact(self) -> int:
        """Take a snapshot now, if anything was applied since the last; its index."""
        if self.raft.applied_index > self.snapshot_index:
            self._compact(tail=self.config.snapshot_tail)
        return self.snapshot_index
