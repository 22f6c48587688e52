"""The state machine's side of a peer: apply what is committed, and answer those who waited for it.

First chapter of :class:`~splitbrain.cluster.store.peer.Peer`.  Committed entries come in order, from
the core's Readys.  They are applied at once, or, with the knob ``slow-apply-ms``, after a while; a
snapshot may overtake those that still wait.

A command is tested again as it is applied: the region may have been split, or its peers changed,
between the proposal and now.  The test gives the same answer on every store, so a command that fails
it does nothing on all of them, and its client is told a true no.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from splitbrain.cluster.messages import (
    EpochNotMatch,
    KeyNotInRegion,
    RegionError,
    StaleCommand,
    UndeterminedResult,
)
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import Entry, EntryKind, ReadState, Snapshot
from splitbrain.cluster.storage.columns import Columns
from splitbrain.cluster.storage.commands import (
    ComputeHash,
    DataCommand,
    Outcome,
    Split,
    decode_command,
    execute,
    outside,
)
from splitbrain.cluster.storage.logfile import GroupLog
from splitbrain.cluster.store.host import Host
from splitbrain.cluster.store.proposals import Proposals, Waiting
from splitbrain.cluster.store.reads import PendingReads
from splitbrain.cluster.store.regions import (
    RegionSnapshot,
    pack_snapshot,
    unpack_snapshot,
)
from splitbrain.cluster.store.replies import Reply, Request, refused, reply_to

__all__ = ["Applying"]

NORMAL, CONF = EntryKind.NORMAL, EntryKind.CONF
DONE = Outcome(True, None)


class Applying(ABC):
    """One region's state and description, and who waits for them.

    Attributes:
        region: as applied; None while the peer waits for its first snapshot.
        state: the region's keys, as applied.
        gone: the peer is no more, and nothing may be done for it.
    """

    raft: Raft

    def __init__(self, host: Host, log: GroupLog, region_id: int, peer_id: int) -> None:
        self.host = host
        self.config = host.config
        self.region_id = region_id
        self.peer_id = peer_id
        self.region: Region | None = None
        self.state = Columns()
        self.gone = False
        self.snapshot_index = 0
        self._log = log
        self._clock = host.env.clock
        self._send = host.env.transport.send
        self._proposals = Proposals()
        self._reads = PendingReads()
        place = () if region_id == host.first_region else (region_id,)
        self._stream = host.env.random.stream("apply", host.env.node, *place)
        self._slow_ns = host.config.slow_apply_ms * 1e6
        self._queue: deque[tuple[int, tuple[Entry, ...]]] = deque()
        self._reshaped = False

    # -- entries ---------------------------------------------------------------------------------

    def committed(self, entries: tuple[Entry, ...]) -> None:
        """Apply ``entries``, now or after those that are waiting."""
        if not self._slow_ns:
            self._apply(entries)
            return
        due = self._clock.monotonic_ns() + int(self._stream.random() * self._slow_ns)
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, entries))
        self._clock.call_at(due, self._apply_next)

    def _apply_next(self) -> None:
        if self.gone:
            return
        _, entries = self._queue.popleft()
        self._apply(entries)
        self.host.wake(self)
        self.host.work()

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        raft = self.raft
        done, last = raft.applied_index, entries[-1].index
        told = (
            len(self._proposals) > 0
        )  # what is proposed meanwhile stands behind these entries
        for entry in entries:
            if entry.index <= done:
                continue  # a snapshot was installed meanwhile
            outcome: Outcome | RegionError = DONE
            if entry.kind is NORMAL:
                command = decode_command(entry.data)
                if isinstance(command, Split):
                    outcome = self._apply_split(command, entry.index)
                elif isinstance(command, ComputeHash):
                    self._apply_hash(command, entry)
                else:
                    outcome = self._execute(command)
            elif entry.kind is CONF:
                outcome = self._apply_conf(entry)
            if told:
                self._tell(entry, outcome)
        if last > done:
            raft.applied(last)
            self._after_apply()

    def _tell(self, entry: Entry, outcome: Outcome | RegionError) -> None:
        mine, lost = self._proposals.applied(entry.index, entry.term)
        if mine is not None:
            if not isinstance(outcome, Outcome):
                self.refuse(mine, outcome)
            elif mine.job is not None:
                mine.job.finished(None)
            elif mine.request is not None:
                self._send(mine.sender, reply_to(mine.request, outcome))
        for waiting in lost:
            self.refuse(waiting, StaleCommand())

    def _execute(self, command: DataCommand) -> Outcome | RegionError:
        region = self.region
        assert region is not None, "an entry is applied before the first snapshot"
        if self._is_stale(command.version, region):
            return self._epoch_error()
        key = self._key_outside(command, region)
        if key is not None:
            return KeyNotInRegion(key, region.id, region.start, region.end)
        return execute(self.state, command)

    def _is_stale(self, version: int, region: Region) -> bool:
        """Has the region been split since the command was proposed?"""
        return version != region.epoch.version

    def _key_outside(self, command: DataCommand, region: Region) -> bytes | None:
        """A key of the command that the region does not hold (any more)."""
        return outside(command, region)

    def _epoch_error(self) -> EpochNotMatch:
        region = self.region
        assert region is not None
        epoch, around = region.epoch, self.host.around(region)
        return EpochNotMatch(epoch.conf_version, epoch.version, around)

    @abstractmethod
    def work(self) -> None:
        """Do all that the core asks for."""

    @abstractmethod
    def _apply_split(self, command: Split, index: int) -> Outcome | RegionError:
        """Cut the region, if it is still the one that was to be cut."""

    @abstractmethod
    def _apply_conf(self, entry: Entry) -> Outcome | RegionError:
        """Change the peers, if they are still those that were to be changed."""

    @abstractmethod
    def _apply_hash(self, command: ComputeHash, entry: Entry) -> None:
        """Hash the state as it is now."""

    @abstractmethod
    def _after_apply(self) -> None:
        """The applied index has moved."""

    # -- reads -----------------------------------------------------------------------------------

    def confirmed(self, reads: tuple[ReadState, ...]) -> None:
        """The core has confirmed these rounds of reads."""
        for read in reads:
            self._reads.confirmed(read.context, read.index)
        self.serve()

    def serve(self) -> None:
        """Answer the confirmed reads for which the state is fresh enough."""
        for waiting in self._reads.served(self.raft.applied_index):
            if waiting.job is not None:
                waiting.job.finished(None)
            elif waiting.request is not None:
                self._send(waiting.sender, self.read(waiting.request))

    @abstractmethod
    def read(self, request: Request) -> Reply:
        """The answer of a read in the present state."""

    # -- snapshots -------------------------------------------------------------------------------

    def _maybe_compact(self) -> None:
        """When the log is long, and whenever the region was split or given another peer.

        A snapshot from before is of no use any more.  A new peer takes none in whose region it is
        not, and the core cannot tell it from an older peer on the same store; nor can it begin with
        the very first entry.  And one from before a split lays claim to ranges that other peers of
        the receiving store may hold.
        """
        raft, tail = self.raft, self.config.snapshot_tail
        if self._reshaped:
            self._reshaped = False
            self._compact(tail=0 if raft.first_index == 1 else tail)
        elif (
            raft.snapshot_wanted
            or raft.applied_index - self.snapshot_index >= self.config.snapshot_every
        ):
            self._compact(tail=tail)

    def _compact(self, *, tail: int) -> None:
        """Keep the state instead of the log that led to it, but for ``tail`` entries in memory."""
        raft = self.raft
        snapshot = self._take_snapshot()
        index = self.snapshot_index = snapshot.meta.index
        self._log.compact(snapshot, lambda: None)
        keep_from = max(raft.first_index - 1, index - tail)
        raft.compact(keep_from, snapshot)
        self.event("compact", index=index, first=raft.first_index)

    def _take_snapshot(self) -> Snapshot:
        """State, region and membership, all of one moment."""
        assert self.region is not None
        data = pack_snapshot(RegionSnapshot(self.region, self.state.snapshot()))
        return Snapshot(self.raft.applied_meta(), data)

    def _restore(self, snapshot: Snapshot) -> None:
        """Become a leader's snapshot; the log file does so, too (``_persist``).

        Writes that it covers cannot be answered any more.
        """
        index = self.snapshot_index = snapshot.meta.index
        found = unpack_snapshot(snapshot.data)
        self.state.restore(found.state)
        self.region = found.region
        self.raft.applied(index)
        for waiting in self._proposals.skipped(index):
            self.refuse(waiting, UndeterminedResult("caught up by a snapshot"))
        self.serve()
        self.event("snapshot", index=index, bytes=len(snapshot.data))
        self.host.env.log(f"{self}: installed a snapshot at index {index}")
        self.host.changed(self)

    # -- words -----------------------------------------------------------------------------------

    def refuse(self, waiting: Waiting, error: RegionError) -> None:
        """Answer with an error."""
        if waiting.job is not None:
            waiting.job.finished(error)
        elif waiting.request is not None:
            self._send(waiting.sender, refused(waiting.request, error))

    def event(self, kind: str, /, **fields: object) -> None:
        """Say something of this peer; of another region than the first, its number, too."""
        if self.region_id != self.host.first_region:
            fields["region"] = self.region_id
        self.host.env.event(kind, **fields)
