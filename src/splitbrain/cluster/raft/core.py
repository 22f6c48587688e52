"""The Raft node as its shell sees it: messages and ticks in, :class:`~.types.Ready` out.

Last chapter of :class:`Raft`; it decides what a message's term means and hands out the work.  The
core does no I/O, reads no clock and holds no threads, so the same code runs on virtual and on real
time, and one seed gives one run.

A group of one, from nothing to a committed entry:

    >>> import random
    >>> from splitbrain.cluster.raft.types import RaftConfig, Restored
    >>> raft = Raft(RaftConfig(node="a", voters=("a",)), Restored(), random.Random(1))
    >>> raft.campaign()
    True
    >>> ready = raft.ready()                  # the own vote: to disk first
    >>> ready.hard_state, ready.must_sync
    (HardState(term=1, vote='a', commit=0), True)
    >>> raft.persisted(ready.number)          # it is: elected
    >>> raft.propose(b"x")
    (2, 1)
    >>> raft.persisted(raft.ready().number)   # both entries are durable on a majority, itself
    >>> [entry.data for entry in raft.ready().committed]
    [b'', b'x']

The order of a shell's duties is in :mod:`.types`.  Methods may be called in any order, but not from
within each other; after each call, ask ``has_ready``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splitbrain.cluster.raft.membership import Membership
from splitbrain.cluster.raft.types import (
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    RaftConfig,
    Ready,
    Restored,
    Role,
    Snapshot,
    SnapshotMeta,
    SoftState,
)
from splitbrain.env.random import Stream

__all__ = ["Raft"]

PRE_VOTE = MessageKind.PRE_VOTE
PRE_VOTE_REPLY = MessageKind.PRE_VOTE_REPLY
VOTE = MessageKind.VOTE
APPEND = MessageKind.APPEND
APPEND_REPLY = MessageKind.APPEND_REPLY
HEARTBEAT = MessageKind.HEARTBEAT
SNAPSHOT = MessageKind.SNAPSHOT
LEADER = Role.LEADER


class Raft(Membership):
    """One member of one Raft group.

    Attributes that a shell may read: ``role``, ``term``, ``vote``, ``leader``, ``voters``,
    ``learners``, ``outgoing``, ``commit``, ``last_index``, ``first_index``, ``applied_index``,
    ``snapshot``, and ``snapshot_wanted``: a new member needs a snapshot taken after it was added;
    call ``compact``.

    The small methods that begin with an underscore are seams, too: a seeded bug is a subclass that
    overrides one of them.
    """

    __slots__ = ()

    def __init__(self, config: RaftConfig, restored: Restored, stream: Stream) -> None:
        super().__init__(config, restored, stream)
        handlers: dict[MessageKind, Callable[[Message], None]] = {
            MessageKind.PRE_VOTE: self._on_vote_request,
            MessageKind.PRE_VOTE_REPLY: self._on_pre_vote_reply,
            MessageKind.VOTE: self._on_vote_request,
            MessageKind.VOTE_REPLY: self._on_vote_reply,
            MessageKind.APPEND: self._on_append,
            MessageKind.APPEND_REPLY: self._on_append_reply,
            MessageKind.HEARTBEAT: self._on_heartbeat,
            MessageKind.HEARTBEAT_REPLY: self._on_heartbeat_reply,
            MessageKind.SNAPSHOT: self._on_snapshot,
            MessageKind.TIMEOUT_NOW: self._on_timeout_now,
        }
        self._handlers = [handlers[kind] for kind in MessageKind]

    # -- in --------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """One tick has passed; ``now_ns`` is the node's monotonic clock."""
        self._advance_now(now_ns)
        config = self.config
        self.election_elapsed += 1
        self.quiet_ticks += 1
        if self.role is not LEADER:
            if self.election_elapsed >= self.timeout_ticks:
                self.election_elapsed = 0
                self.campaign()
            return
        if self.election_elapsed >= config.election_ticks:
            self.election_elapsed = 0
            if not self._check_quorum():
                return
        self.heartbeat_elapsed += 1
        if self.heartbeat_elapsed >= config.heartbeat_ticks:
            self.heartbeat_elapsed = 0
            self._send_round()

    def step(self, message: Message, now_ns: int) -> None:
        """A message has come.  It may be late, doubled or out of order; never changed."""
        self._advance_now(now_ns)
        if message.term != self.term:
            if message.term < self.term:
                self._answer_lower_term(message)
                return
            if not self._accept_higher_term(message):
                return
        self._handlers[message.kind](message)

    def _accept_higher_term(self, message: Message) -> bool:
        """Follow the higher term, or not; False if the message is to be dropped.

        While a leader is heard, candidates are dropped without an answer, which keeps a node that
        cannot hear the leader from disturbing those who can.  A pre-vote changes no term, nor does
        its grant, which carries the term that would be campaigned for.
        """
        kind = message.kind
        if kind is VOTE or kind is PRE_VOTE:
            if not message.transfer and self._in_lease():
                return False
            if kind is PRE_VOTE:
                return True
        elif kind is PRE_VOTE_REPLY and not message.reject:
            return True
        leads = kind is APPEND or kind is HEARTBEAT or kind is SNAPSHOT
        self._become_follower(message.term, message.sender if leads else "")
        return True

    def _answer_lower_term(self, message: Message) -> None:
        """Tell a leader of the past that it is one, and a pre-candidate that it is behind.

        Without the first a node that ran ahead in terms while it was cut off would stay alone: it
        refuses the leader's messages, and its own vote requests are dropped.  All else of a lower
        term is old news.
        """
        kind = message.kind
        if kind is APPEND or kind is HEARTBEAT:
            if self.config.check_quorum or self.config.pre_vote:
                self._send(APPEND_REPLY, message.sender)
        elif kind is PRE_VOTE:
            self._messages.append(
                Message(PRE_VOTE_REPLY, self.node, message.sender, self.term, reject=True)
            )

    def propose(self, data: bytes) -> tuple[int, int] | None:
        """Append ``data`` to the log, if this node leads.

        Returns:
            (index, term) of the entry: it is committed if an entry with both is ever applied, and
            lost if another term is applied at that index.  None if it was dropped BEFORE it was
            appended (not the leader, a transfer is running, too much is uncommitted): a true no.
        """
        log = self.log
        if (
            self.role is not LEADER
            or self.transferee
            or log.last - log.commit >= self.config.max_uncommitted
        ):
            return None
        return self._append(EntryKind.NORMAL, data), self.term

    def acked_early(self, index: int) -> bool:
        """May a client be told of success before ``index`` commits?  Never, in a correct core.

        A shell asks right after ``propose``; the question exists for a seeded bug to answer.
        """
        return False

    # -- out -------------------------------------------------------------------------------------

    def has_ready(self) -> bool:
        """Is there anything for the shell to do?"""
        log = self.log
        return bool(
            self._messages
            or self._after
            or self._broadcast_entries
            or self._broadcast_commit
            or self._round_wanted
            or log.handed != log.last
            or (log.applying < log.commit and log.applying < log.stable)
            or self._snapshot_to_hand is not None
            or self._read_states
            or self._dropped
            or self._hard_handed != (self.term, self.vote, log.commit)
            or self._soft_handed != (self.leader, self.role)
        )

    def ready(self) -> Ready:
        """Take all work that is there now.  Earlier Readys need not be persisted yet."""
        if self._broadcast_entries or self._broadcast_commit:
            commit = self._broadcast_commit
            self._broadcast_entries = self._broadcast_commit = False
            self._broadcast(commit=commit)
        if self._round_wanted:
            self._send_round()
        self._number = number = self._number + 1
        snapshot, self._snapshot_to_hand = self._snapshot_to_hand, None
        entries = self.log.take_unwritten(number)
        hard, wrote_vote = self._take_hard_state(number)
        messages, self._messages = tuple(self._messages), []
        after, self._after = tuple(self._after), []
        reads, self._read_states = tuple(self._read_states), []
        dropped, self._dropped = tuple(self._dropped), []
        return Ready(
            number,
            self._take_soft_state(),
            hard,
            entries,
            snapshot,
            self._needs_sync(
                entries=bool(entries), vote=wrote_vote, snapshot=snapshot is not None
            ),
            messages,
            after,
            self._take_committed(),
            reads,
            dropped,
        )

    def _take_soft_state(self) -> SoftState | None:
        soft = (self.leader, self.role)
        if soft == self._soft_handed:
            return None
        self._soft_handed = soft
        return SoftState(*soft)

    def _take_hard_state(self, number: int) -> tuple[HardState | None, bool]:
        """The hard state if it changed, and whether more than ``commit`` did."""
        hard = (self.term, self.vote, self.log.commit)
        before = self._hard_handed
        if hard == before:
            return None, False
        self._hard_handed = hard
        wrote_vote = hard[:2] != before[:2]
        if wrote_vote:
            self._hard_writes.append((number, self.term, self.vote))
        return HardState(*hard), wrote_vote

    def _take_committed(self) -> tuple[Entry, ...]:
        committed = self.log.take_committed(self.config.max_entries_per_ready)
        for entry in committed:
            if entry.kind is EntryKind.CONF:
                self._conf_handed.append(entry)
        return committed

    def _needs_sync(self, *, entries: bool, vote: bool, snapshot: bool) -> bool:
        """Losing ``commit`` costs nothing; losing anything else breaks a promise."""
        return entries or vote or snapshot

    def persisted(self, number: int) -> None:
        """All Readys up to ``number`` are durable.

        Only now the leader counts itself for its entries, and a candidate for its own election.
        """
        hard = self._hard_writes
        while hard and hard[0][0] <= number:
            _, self._durable_term, self._durable_vote = hard.popleft()
        moved = self.log.persisted(number)
        if self.role is LEADER:
            if moved:
                self.progress[self.node].match = self.log.stable
                if self._advance_commit():
                    self._broadcast_commit = True
        elif (
            self.role is Role.CANDIDATE
            and self._durable_term == self.term
            and self._durable_vote == self.node
            and self.node not in self.votes
        ):
            self._count_vote(self.node, granted=True)

    # -- compaction and a look inside ------------------------------------------------------------

    def applied_meta(self) -> SnapshotMeta:
        """What a snapshot of the state machine, taken now, stands for."""
        log = self.log
        term = log.term(log.applied)
        return SnapshotMeta(log.applied, term, self.voters, self.learners, self.outgoing)

    def compact(self, index: int, snapshot: Snapshot) -> None:
        """Forget entries up to ``index``; peers that need them get ``snapshot`` instead.

        ``index <= snapshot.meta.index <= applied_index``.  Entries kept between the two spare a
        peer that lags a little the whole snapshot.  Make the snapshot with ``applied_meta``; store
        it durably before the entries are removed from disk.
        """
        log, meta = self.log, snapshot.meta
        if not index <= meta.index <= log.applied or meta.index > log.stable:
            raise ValueError(
                f"raft {self.node}: compact({index}) with a snapshot at {meta.index}: need "
                f"index <= snapshot <= applied ({log.applied}) and persisted ({log.stable})"
            )
        if log.term(meta.index) != meta.term:
            raise ValueError(
                f"raft {self.node}: snapshot at {meta.index} says term {meta.term}, the log "
                f"{log.term(meta.index)}; use applied_meta()"
            )
        self.snapshot = snapshot
        self.snapshot_wanted = False
        log.compact(index)

    @property
    def commit(self) -> int:
        """Largest index known to be committed."""
        return self.log.commit

    @property
    def knows_all(self) -> bool:
        """Does it lead, with everything applied that earlier leaders have committed?"""
        return self.role is LEADER and self.log.applied >= self._noop_index

    @property
    def last_index(self) -> int:
        """Index of the last entry."""
        return self.log.last

    @property
    def first_index(self) -> int:
        """Index of the first entry that is not compacted."""
        return self.log.offset + 1

    @property
    def applied_index(self) -> int:
        """Last index that the shell has applied."""
        return self.log.applied

    def status(self) -> dict[str, Any]:
        """A JSON-able snapshot of what a person would ask."""
        log = self.log
        status: dict[str, Any] = {
            "node": self.node,
            "role": self.role.value,
            "term": self.term,
            "vote": self.vote,
            "leader": self.leader,
            "commit": log.commit,
            "applied": log.applied,
            "first": log.offset + 1,
            "last": log.last,
            "stable": log.stable,
            "voters": list(self.voters),
            "learners": list(self.learners),
        }
        if self.outgoing:
            status["outgoing"] = list(self.outgoing)
        if self.role is LEADER:
            status["transferee"] = self.transferee
            status["reads_waiting"] = len(self._pending_reads)
            status["peers"] = {
                name: {"match": peer.match, "next": peer.next, "flow": peer.flow.value}
                for name, peer in sorted(self.progress.items())
                if name != self.node
            }
        return status
