"""Seeded bugs of the Raft core: each a subclass that overrides one seam of :class:`core.Raft`.

Nothing is patched and no correct code asks "is a bug on?": the node's factory makes an instance of
another class.  ``probe`` counts how often the changed path did what the correct one would not have
done, so that "not detected" can be told from "not reached".  Each class says what it counts.

    >>> RAFT_BUGS["local-leader-read"].id
    'R10'

Some of them stop a node by one of the core's own assertions (``crash``) before a client could see
anything.  To see the anomaly in a history instead, run with ``assertions_off = crash``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import (
    Entry,
    Message,
    MessageKind,
    RaftConfig,
    ReadState,
    Restored,
    Role,
)
from splitbrain.env.random import Stream

__all__ = [
    "RAFT_BUGS",
    "AckOnAppend",
    "AppendNoFsync",
    "CommitOldTerm",
    "LocalLeaderRead",
    "NoConflictTruncate",
    "QuorumOffByOne",
    "RaftBug",
    "ReadIndexBeforeNoop",
    "TruncateOnMatch",
    "VoteNotDurable",
]


class RaftBug(Raft):
    """What all have.

    Attributes:
        id: the short id.
        name: as in ``--bug``.
        anomalies: what a checker may report of it.
        crash: assertions of the core that may stop a node first; empty if none can.
        probe: how often the changed path made a difference, in this instance.
    """

    __slots__ = ("probe",)

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: RaftConfig, restored: Restored, stream: Stream) -> None:
        super().__init__(config, restored, stream)
        self.probe = 0


class VoteNotDurable(RaftBug):
    """R01: a vote is told before, and without, being forced to disk.

    The grant leaves at once, and the write of (term, vote) asks for no fsync; the next entry's
    fsync saves it.  If the voter loses power before that, it has forgotten that it voted, votes
    again in the same term, and two leaders of one term put different entries at one index.

    Shows as lost writes or stale reads, or as ``conflict-below-commit`` on a follower that had
    applied the other entry.  Directed schedule: C bridges A and B; C grants A, loses power before
    its next fsync; then A is isolated, and C elects B in the same term.  Kill does not reveal it
    (written bytes survive), nor does a partition alone.

    Probe: grants given.
    """

    __slots__ = ("_granted",)

    id = "R01"
    name = "vote-not-durable"
    anomalies = ("lost-write", "stale-read", "not-linearizable", "node-crash")
    crash = frozenset({"conflict-below-commit", "commit-beyond-last"})

    def __init__(self, config: RaftConfig, restored: Restored, stream: Stream) -> None:
        super().__init__(config, restored, stream)
        self._granted = False

    def _send_vote_grant(self, message: Message) -> None:
        self.probe += 1
        self._granted = True
        self._messages.append(
            Message(MessageKind.VOTE_REPLY, self.node, message.sender, message.term)
        )

    def _needs_sync(self, *, entries: bool, vote: bool, snapshot: bool) -> bool:
        granted, self._granted = self._granted, False
        return entries or snapshot or (vote and not granted)


class AppendNoFsync(RaftBug):
    """R03: a follower acknowledges entries before, and without, an fsync.

    The leader counts it for the majority.  If it loses power, the entry may be on a minority only,
    and a majority that never had it elects a leader: an acknowledged write is lost.  Loss of power
    on ONE follower of three is enough while the old leader stays cut off; if that follower hears
    the old leader again, ``commit-beyond-last`` stops it instead.  A plain kill must not reveal it.

    Probe: acknowledgements that left while the entry was not durable.
    """

    __slots__ = ()

    id = "R03"
    name = "append-no-fsync"
    anomalies = ("lost-write", "stale-read", "not-linearizable", "node-crash")
    crash = frozenset({"commit-beyond-last", "conflict-below-commit"})

    def _send_append_ack(self, to: str, index: int) -> None:
        if index > self.log.stable:
            self.probe += 1
        self._send(MessageKind.APPEND_REPLY, to, index)

    def _needs_sync(self, *, entries: bool, vote: bool, snapshot: bool) -> bool:
        return vote or snapshot or (entries and self.role is Role.LEADER)


class CommitOldTerm(RaftBug):
    """R04: a leader commits an entry of an earlier term by counting replicas (Raft, figure 8).

    Such an entry may still be overwritten by a leader that a majority elects.  Needs a directed
    schedule: isolate the leader with an entry of its own, re-elect it, let the old entry reach a
    majority but not its own term's first entry (one entry per append), isolate it again.

    The overwritten follower stops with ``conflict-below-commit``; with that off, replicas differ.
    A client sees a lost write only if the leader was re-elected without a restart and so still
    holds the old entry's request; reads are protected by their own-term rule.

    Probe: commit steps onto an entry of an earlier term.
    """

    __slots__ = ()

    id = "R04"
    name = "commit-old-term"
    anomalies = ("lost-write", "stale-read", "not-linearizable", "node-crash")
    crash = frozenset({"conflict-below-commit", "commit-beyond-last"})

    def _may_commit(self, index: int) -> bool:
        if not super()._may_commit(index):
            if self.log.term(index) < 0:
                return False
            self.probe += 1
        return True


class NoConflictTruncate(RaftBug):
    """R07: a follower keeps an entry that it has at an index, whatever its term, and says yes.

    Its log then differs from the leader's where both are committed: that replica applies another
    value, and shows it when it leads.  Needs a leader that was cut off with entries of its own and
    comes back: partitions with writes going on.  Kills alone seldom do it; without faults never.

    Shows as lost write or stale read after the replica was elected, if ``conflict-below-commit``
    is off: it stops the replica when the leader speaks of the place where both differ.

    Probe: entries kept although their term differs.
    """

    __slots__ = ()

    id = "R07"
    name = "no-conflict-truncate"
    anomalies = ("lost-write", "stale-read", "not-linearizable", "node-crash")
    crash = frozenset({"commit-beyond-last", "conflict-below-commit"})

    def _merge_entries(self, before: int, entries: tuple[Entry, ...]) -> None:
        log = self.log
        for entry in entries:
            if entry.index > log.last:
                log.append(entry)
            elif log.term(entry.index) != entry.term:
                self.probe += 1


class TruncateOnMatch(RaftBug):
    """R08: each accepted append cuts the log after the index that it begins from.

    Raft's paper says to cut only at a conflict; "keep what is before, add what came" looks the
    same until an append arrives late: then it cuts off entries that came, and were acknowledged,
    since.  Needs reordered or doubled messages and the leader's isolation right after the
    acknowledgement, before this follower knew of the commit; a slow commit broadcast widens that.

    Shows as lost write; if the leader lives on, ``commit-beyond-last`` stops the follower.

    Probe: entries cut off that matched or that the append said nothing about.
    """

    __slots__ = ()

    id = "R08"
    name = "truncate-on-match"
    anomalies = ("lost-write", "stale-read", "not-linearizable", "node-crash")
    crash = frozenset({"commit-beyond-last", "conflict-below-commit"})

    def _merge_entries(self, before: int, entries: tuple[Entry, ...]) -> None:
        log = self.log
        if before < log.last:
            conflict = any(log.term(entry.index) != entry.term for entry in entries)
            if not conflict and before + len(entries) < log.last:
                self.probe += log.last - before - len(entries)
            log.truncate(before + 1)
        log.extend(entries)


class LocalLeaderRead(RaftBug):
    """R10: a leader answers reads from its own state, without lease or ReadIndex round.

    A leader that was cut off goes on believing in itself for one to two election timeouts, while
    another already commits writes: whoever still reaches the old one reads stale values.  Isolate
    the leader but not its clients, or pause it, with many reads.  Kills do not reveal it: the rule
    of an own-term commit stays.

    Probe: reads answered without a confirmed round.
    """

    __slots__ = ()

    id = "R10"
    name = "local-leader-read"
    anomalies = ("stale-read", "not-linearizable")

    def read_index(self, context: bytes, now_ns: int) -> bool:
        """Answer at once, at the own commit index."""
        self._advance_now(now_ns)
        if self.role is not Role.LEADER or not self._own_term_committed():
            return False
        self.probe += 1
        self._read_states.append(ReadState(self.log.commit, context))
        return True


class ReadIndexBeforeNoop(RaftBug):
    """R12: a new leader serves ReadIndex before an entry of its own term is committed.

    Its commit index may lag behind what its predecessor acknowledged, so it answers from before
    those writes.  Right after failover by kill, partition or transfer, with readers trying all
    nodes; slow disks and a slow commit broadcast widen the window.

    Probe: reads begun before the own term's first commit.
    """

    __slots__ = ()

    id = "R12"
    name = "read-index-before-noop"
    anomalies = ("stale-read", "not-linearizable")

    def _own_term_committed(self) -> bool:
        if not super()._own_term_committed():
            self.probe += 1
        return True


class QuorumOffByOne(RaftBug):
    """R16: "majority" is n//2 where the leader counts its followers; votes are counted right.

    So an entry commits on one replica too few, and a leader with one follower too few goes on
    leading and serving reads: of five nodes, two suffice.  A partition into 2 and 3 with the old
    leader in the smaller part gives two parts that both serve; killing the two that hold an entry
    loses it.  Without faults all is well.

    Probe: commit steps onto an index that no majority holds.
    """

    __slots__ = ()

    id = "R16"
    name = "quorum-off-by-one"
    anomalies = ("lost-write", "stale-read", "not-linearizable", "node-crash")
    crash = frozenset({"conflict-below-commit", "commit-beyond-last"})

    uses: ClassVar[frozenset[str]] = frozenset({"commit", "contact"})

    def _quorum(self, use: str, voters: int) -> int:
        return max(1, voters // 2) if use in self.uses else super()._quorum(use, voters)

    def _may_commit(self, index: int) -> bool:
        if not super()._may_commit(index):
            return False
        holders = sum(
            self.progress[name].match >= index for name in self.voters if name in self.progress
        )
        if holders <= len(self.voters) // 2:
            self.probe += 1
        return True


class AckOnAppend(RaftBug):
    """R25: the leader tells the client "done" when it has appended the entry to its own log.

    If the leader is cut off, it goes on saying so for one to two election timeouts, and all of it
    is lost when it follows the next leader.  A kill shows it only if the old leader does not win
    again.  Without faults each entry commits soon after, and nobody notices, as reads wait for it.

    Probe: acknowledgements given before commit.
    """

    __slots__ = ()

    id = "R25"
    name = "ack-on-append"
    anomalies = ("lost-write", "stale-read", "not-linearizable")

    def read_index(self, context: bytes, now_ns: int) -> bool:
        """Reads wait for all that was acknowledged, so that nobody notices while the leader lives."""
        if not super().read_index(context, now_ns):
            return False
        number, _, context = self._pending_reads.pop()
        self._pending_reads.append((number, self.log.last, context))
        return True

    def acked_early(self, index: int) -> bool:
        """Yes, always."""
        if index > self.log.commit:
            self.probe += 1
        return True


RAFT_BUGS: Mapping[str, type[RaftBug]] = {
    bug.name: bug
    for bug in (
        VoteNotDurable,
        AppendNoFsync,
        CommitOldTerm,
        NoConflictTruncate,
        TruncateOnMatch,
        LocalLeaderRead,
        ReadIndexBeforeNoop,
        QuorumOffByOne,
        AckOnAppend,
    )
}
"""The core to make instead of :class:`~splitbrain.cluster.raft.core.Raft`, by bug name."""
