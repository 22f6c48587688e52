"""The words of the Raft core: everything that goes into it and comes out of it.

All are frozen structs.  ``Entry``, ``Message`` and what they hold are ``array_like``: as MessagePack
they are arrays, not maps.  A node is named by its logical address, a string; ``""`` is "nobody".

The one thing to understand is :class:`Ready`, the core's list of work for its shell.  Its fields say
what must be durable BEFORE what may leave:

    ready = raft.ready()
    1. write ready.snapshot, ready.entries, ready.hard_state, in this order, to the log file
    2. send ready.messages                     at once, whatever the disk does
    3. apply ready.committed, in order         at once: they are durable here already
    4. when the write (and, if ready.must_sync, an fsync after it) is complete, AND every earlier
       Ready is complete: send ready.after_persist, then call raft.persisted(ready.number)
    5. after applying, call raft.applied(index)

Step 4 may come much later, with other Readys taken in between; Readys complete in order.  A Ready
with nothing to write completes as soon as all before it have.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = [
    "ASSERTIONS",
    "ConfChange",
    "ConfChangeKind",
    "ConfEntry",
    "Entry",
    "EntryKind",
    "HardState",
    "Message",
    "MessageKind",
    "RaftConfig",
    "RaftPanic",
    "ReadState",
    "Ready",
    "Restored",
    "Role",
    "Snapshot",
    "SnapshotMeta",
    "SoftState",
]


class RaftPanic(Exception):
    """A state that a correct cluster never reaches; the node must stop at once.

    ``reason`` is one of :data:`ASSERTIONS`; ``detail`` says what was seen.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


ASSERTIONS = frozenset(
    {"commit-beyond-last", "conflict-below-commit", "applied-not-consecutive"}
)
"""The assertions that ``RaftConfig.assertions_off`` may name.

They fire on a node before a client can see anything wrong, and so hide what many seeded bugs do to
a history; a run that wants to see it there turns them off.
"""


class Role(enum.StrEnum):
    """What a node takes itself for."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class EntryKind(enum.IntEnum):
    """What an entry holds."""

    NORMAL = 0
    EMPTY = 1
    """Appended by a new leader, so that an entry of its own term can commit."""
    CONF = 2
    """A :class:`ConfEntry`, which takes effect when it is applied."""


class MessageKind(enum.IntEnum):
    """What a message asks or answers; an answer's kind is its question's plus one."""

    PRE_VOTE = 0
    PRE_VOTE_REPLY = 1
    VOTE = 2
    VOTE_REPLY = 3
    APPEND = 4
    APPEND_REPLY = 5
    HEARTBEAT = 6
    HEARTBEAT_REPLY = 7
    SNAPSHOT = 8
    """Answered by APPEND_REPLY."""
    TIMEOUT_NOW = 9
    """Leader transfer: campaign now, without waiting or asking.  Has no answer."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the replicated log."""

    index: int
    term: int
    kind: EntryKind
    data: bytes = b""


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must survive a restart.  ``commit`` may lag: losing it costs nothing but time."""

    term: int = 0
    vote: str = ""
    commit: int = 0


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True):
    """The place in the log that a snapshot stands for, and the membership there."""

    index: int = 0
    term: int = 0
    voters: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    """Voters of the old half of a joint configuration; empty outside of one."""

    @property
    def members(self) -> tuple[str, ...]:
        """All of them, some perhaps twice."""
        return self.voters + self.learners + self.outgoing


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The state machine after applying ``meta.index``, in the shell's own encoding."""

    meta: SnapshotMeta
    data: bytes


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message between cores; which fields mean something depends on the kind.

    Attributes:
        kind: what it asks or answers.
        sender: node that sends.
        to: node that it is for.
        term: sender's term; for PRE_VOTE and its grant the term that would be campaigned for.
        log_index: VOTE, PRE_VOTE: candidate's last index.  APPEND: index before the entries.
            APPEND_REPLY: acknowledged index, or the refused one.  HEARTBEAT and its reply: the
            number of the heartbeat round (see ``reads``).
        log_term: term of ``log_index`` for VOTE, PRE_VOTE, APPEND.
        commit: APPEND, HEARTBEAT: what the receiver may take as committed.
        entries: APPEND.
        reject: a reply's no.
        hint_index: refused APPEND: where the logs may agree ...
        hint_term: ... and the term there.
        snapshot: SNAPSHOT.
        transfer: VOTE that follows a TIMEOUT_NOW: the leader itself wanted it.
        context: free for the shell; the core neither sets nor reads it.
    """

    kind: MessageKind
    sender: str
    to: str
    term: int
    log_index: int = 0
    log_term: int = 0
    commit: int = 0
    entries: tuple[Entry, ...] = ()
    reject: bool = False
    hint_index: int = 0
    hint_term: int = 0
    snapshot: Snapshot | None = None
    transfer: bool = False
    context: bytes = b""


class SoftState(msgspec.Struct, frozen=True):
    """What need not survive a restart: who leads, and what this node is."""

    leader: str
    role: Role


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """A confirmed read: its answer may be computed once ``applied_index >= index``."""

    index: int
    context: bytes


class Ready(msgspec.Struct, frozen=True, gc=False):
    """Work for the shell, and in which order; the module's docstring has the protocol.

    Attributes:
        number: 1, 2, 3 ...; what to tell ``persisted``.
        soft_state: new leader or role, if either changed.
        hard_state: if any part changed; durable BEFORE ``after_persist`` leaves.
        entries: to append; may overwrite: all stored entries from ``entries[0].index`` on are cut
            first.  Durable BEFORE ``after_persist`` leaves.
        snapshot: to install BEFORE ``entries``: it replaces the whole stored log and the state
            machine; entries handed out earlier with index <= its index and not yet applied must
            be skipped.  Call ``applied(snapshot.meta.index)`` when it is installed.
        must_sync: the write needs an fsync; else (only ``commit`` moved) writing is enough.
        messages: may leave at once.
        after_persist: may leave only AFTER this Ready and all earlier ones are durable.
        committed: to apply, in order; each is committed AND durable here, so do not wait.
        read_states: reads to answer once applied far enough.
        dropped_reads: contexts that no Ready will ever answer: fail them (a retryable error).
    """

    number: int
    soft_state: SoftState | None
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    must_sync: bool
    messages: tuple[Message, ...]
    after_persist: tuple[Message, ...]
    committed: tuple[Entry, ...]
    read_states: tuple[ReadState, ...]
    dropped_reads: tuple[bytes, ...]


class ConfChangeKind(enum.IntEnum):
    """What becomes of one node."""

    ADD_VOTER = 0
    """New, or a learner that is promoted."""
    ADD_LEARNER = 1
    """New, or a voter that is demoted."""
    REMOVE = 2


class ConfChange(msgspec.Struct, frozen=True, array_like=True):
    """What becomes of one node."""

    kind: ConfChangeKind
    node: str


class ConfEntry(msgspec.Struct, frozen=True, array_like=True):
    """The data of a CONF entry.

    A simple one changes one node, so that old and new majorities overlap.  A joint one changes
    several: from then on both halves must agree to everything, until a joint one without changes
    leaves the old half behind.

    Attributes:
        changes: one; or in a joint entry several, or none to leave.
        joint: see above.
        context: the shell's own; the core neither sets nor reads it.
    """

    changes: tuple[ConfChange, ...]
    joint: bool = False
    context: bytes = b""


class RaftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What one node is told at start.

    Attributes:
        node: own name.
        voters: initial voters; a snapshot's membership replaces them.
        learners: initial learners: they receive the log and do not count.
        election_ticks: E.  A follower campaigns after a time drawn from [E, 2E) ticks.
        heartbeat_ticks: ticks between heartbeats; less than E.
        election_timeout_ticks: a fixed timeout instead of a drawn one: the same on all nodes
            provokes split votes, a lower one on one node makes it the likely leader.  At least E.
        max_entries_per_append: entries in one APPEND.
        max_bytes_per_append: their bytes together (one entry always fits).
        max_inflight: APPENDs with entries on their way to one peer.
        max_uncommitted: proposals are refused while so many entries are not committed.
        max_entries_per_ready: bound of ``Ready.committed``.
        pre_vote: ask before raising the term.
        check_quorum: a leader that hears no majority for E ticks steps down, and nodes that hear
            a leader ignore candidates.
        lease_reads: allow ``lease_valid``; needs check_quorum, tick_ns, lease_ns.
        lease_ns: how long a confirmed heartbeat round, counted from its send, allows local reads.
        tick_ns: nominal length of a tick; used only for leases: to refuse one that is too long,
            and for how long a node that has heard a leader elects no other, by its clock.
        assertions_off: names from ``ASSERTIONS`` not to raise.
    """

    node: str
    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()
    election_ticks: int = 30
    heartbeat_ticks: int = 10
    election_timeout_ticks: int | None = None
    max_entries_per_append: int = 64
    max_bytes_per_append: int = 1 << 20
    max_inflight: int = 256
    max_uncommitted: int = 4096
    max_entries_per_ready: int = 1024
    pre_vote: bool = True
    check_quorum: bool = True
    lease_reads: bool = False
    lease_ns: int = 0
    tick_ns: int = 0
    assertions_off: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what can never work, with one sentence on how to mend it."""
        if not 1 <= self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"raft {self.node}: heartbeat_ticks {self.heartbeat_ticks} must be in "
                f"1..election_ticks-1 ({self.election_ticks - 1})"
            )
        fixed = self.election_timeout_ticks
        if fixed is not None and fixed < self.election_ticks:
            raise ValueError(
                f"raft {self.node}: election_timeout_ticks {fixed} is below election_ticks "
                f"{self.election_ticks}; raise it"
            )
        unknown = sorted(self.assertions_off - ASSERTIONS)
        if unknown:
            raise ValueError(
                f"raft {self.node}: no assertion {unknown[0]!r}; known: "
                f"{', '.join(sorted(ASSERTIONS))}"
            )
        if self.lease_reads:
            self._check_lease()

    def _check_lease(self) -> None:
        """(E - 1 tick) must exceed the lease by a tenth even with perfect clocks.

        One tick is lost because a follower's first tick may come right after the heartbeat.
        """
        promise_ns = (self.election_ticks - 1) * self.tick_ns
        if not self.check_quorum:
            raise ValueError(f"raft {self.node}: lease_reads needs check_quorum; turn it on")
        if not 0 < self.lease_ns * 11 < promise_ns * 10:
            raise ValueError(
                f"raft {self.node}: lease_ns {self.lease_ns} must be positive and 1.1 times it "
                f"below (election_ticks - 1) * tick_ns = {promise_ns}; shorten the lease"
            )


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What storage found at start.  It must be DURABLE: fsync the files read before passing it.

    (After a kill, written but un-fsynced bytes are still there to be read; the core takes all that
    it is given for safe, and would acknowledge it.)

    Attributes:
        hard_state: as last written.
        snapshot_meta: of the stored snapshot; index 0 if there is none.
        snapshot_data: its data, to be sent to a peer that needs it.
        entries: the stored log after the snapshot, without gaps.
        applied: what the state machine contains; at least the snapshot's index.  Entries after it
            are handed out (again) as they are known to be committed.
        voters: membership at ``applied`` where that is later than the snapshot's; else None.
        learners: likewise.
        outgoing: likewise.
        fresh: this member is just made, of a group in which nobody has led yet: it owes no leader
            silence.  False for all that is read from a disk.
    """

    hard_state: HardState = HardState()
    snapshot_meta: SnapshotMeta = SnapshotMeta()
    snapshot_data: bytes = b""
    entries: tuple[Entry, ...] = ()
    applied: int = 0
    voters: tuple[str, ...] | None = None
    learners: tuple[str, ...] | None = None
    outgoing: tuple[str, ...] | None = None
    fresh: bool = False
