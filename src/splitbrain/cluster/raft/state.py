"""What one Raft node knows, and how it changes role: the first chapter of :class:`core.Raft`.

The node is one class in six chapters, each a subclass of the one before: ``state`` (fields, roles,
sending), ``replication`` (the log), ``reads`` (heartbeats, ReadIndex, lease), ``election`` (votes,
check-quorum, leader transfer), ``membership`` and ``core`` (what a shell calls).

Two clocks run in it.  Ticks count towards elections and heartbeats.  ``now_ns``, passed along with
ticks and messages, is the node's monotonic clock; only the lease uses it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from splitbrain.cluster.raft.log import RaftLog
from splitbrain.cluster.raft.progress import Progress
from splitbrain.cluster.raft.types import (
    Entry,
    EntryKind,
    Message,
    MessageKind,
    RaftConfig,
    ReadState,
    Restored,
    Role,
    Snapshot,
)
from splitbrain.env.random import Stream

__all__ = ["RaftState"]


class RaftState:
    """Fields, role changes, sending."""

    __slots__ = (
        "_after",
        "_broadcast_commit",
        "_broadcast_entries",
        "_conf_handed",
        "_confirmed_round",
        "_dropped",
        "_durable_term",
        "_durable_vote",
        "_handlers",
        "_hard_handed",
        "_hard_writes",
        "_lease_until_ns",
        "_majorities",
        "_messages",
        "_noop_index",
        "_now",
        "_number",
        "_pending_reads",
        "_promise_ns",
        "_promised_until_ns",
        "_read_states",
        "_round",
        "_round_sent",
        "_round_wanted",
        "_snapshot_to_hand",
        "_soft_handed",
        "_suspect",
        "_transfer_sent",
        "config",
        "election_elapsed",
        "electors",
        "heartbeat_elapsed",
        "leader",
        "learners",
        "log",
        "node",
        "outgoing",
        "peers",
        "pending_conf_index",
        "progress",
        "quiet_ticks",
        "role",
        "snapshot",
        "snapshot_wanted",
        "stream",
        "term",
        "timeout_ticks",
        "transferee",
        "vote",
        "voters",
        "votes",
    )

    def __init__(self, config: RaftConfig, restored: Restored, stream: Stream) -> None:
        self.config = config
        self.node = config.node
        self.stream = stream
        hard, meta = restored.hard_state, restored.snapshot_meta
        self.log = RaftLog(meta, restored.entries, config.assertions_off)
        self.log.recover(hard.commit, restored.applied)
        self.snapshot = Snapshot(meta, restored.snapshot_data) if meta.index else None
        self.snapshot_wanted = False
        self.term, self.vote = hard.term, hard.vote
        self.role, self.leader = Role.FOLLOWER, ""
        self._init_timers(fresh=restored.fresh)
        self._init_outbox()
        self._init_leadership()
        voters = meta.voters if meta.index else config.voters
        learners = meta.learners if meta.index else config.learners
        self._set_membership(
            voters if restored.voters is None else restored.voters,
            learners if restored.learners is None else restored.learners,
            meta.outgoing if restored.outgoing is None else restored.outgoing,
        )

    def _init_timers(self, *, fresh: bool) -> None:
        """Ticks since this and that.

        ``quiet_ticks`` counts from the last word of *any* leader, and outlives changes of role and
        term, unlike ``election_elapsed``: it is what a leader's lease relies on.  A restarted node
        has forgotten whom it heard, so with leases it starts at 0: it grants no vote for one
        election timeout.  Without leases nothing relies on it, and waiting would only make
        failover after a restart slower, so it starts as if nobody had spoken for long.
        """
        config = self.config
        self.election_elapsed = self.heartbeat_elapsed = 0
        owes_silence = config.lease_reads and not fresh
        self.quiet_ticks = 0 if owes_silence else config.election_ticks
        self.timeout_ticks = self._draw_timeout()
        self._now = self._promised_until_ns = 0
        self._promise_ns = (config.election_ticks - 1) * config.tick_ns * config.lease_reads

    def _init_outbox(self) -> None:
        """What waits for the next Ready, and what the last one said."""
        self._number = 0
        self._messages: list[Message] = []
        self._after: list[Message] = []
        self._read_states: list[ReadState] = []
        self._dropped: list[bytes] = []
        self._snapshot_to_hand: Snapshot | None = None
        self._soft_handed = (self.leader, self.role)
        self._hard_handed = (self.term, self.vote, self.log.commit)
        self._hard_writes: deque[tuple[int, int, str]] = deque()
        self._durable_term, self._durable_vote = self.term, self.vote
        self._conf_handed: deque[Entry] = deque()

    def _init_leadership(self) -> None:
        """What only a candidate or leader uses."""
        self.votes: dict[str, bool] = {}
        self.progress: dict[str, Progress] = {}
        self.pending_conf_index = self._noop_index = 0
        self.transferee = ""
        self._transfer_sent = self._suspect = False
        self._broadcast_entries = self._broadcast_commit = False
        self._round = self._confirmed_round = 0
        self._round_wanted = False
        self._round_sent: deque[tuple[int, int]] = deque()
        self._pending_reads: deque[tuple[int, int, bytes]] = deque()
        self._lease_until_ns = 0

    # -- membership ------------------------------------------------------------------------------

    def _set_membership(
        self,
        voters: tuple[str, ...],
        learners: tuple[str, ...],
        outgoing: tuple[str, ...] = (),
    ) -> None:
        """Take these for the members; with ``outgoing`` the configuration is joint.

        ``electors`` are all who vote, in either half.
        """
        self.voters, self.learners, self.outgoing = voters, learners, outgoing
        self.electors = voters + tuple(name for name in outgoing if name not in voters)
        self.peers = tuple(name for name in self.electors + learners if name != self.node)
        halves = (voters, outgoing) if outgoing else (voters,)
        self._majorities = {
            use: tuple((half, self._quorum(use, len(half))) for half in halves)
            for use in ("vote", "commit", "contact")
        }

    def _agreed(self, use: str, mark: Callable[[Progress], int]) -> int:
        """The largest ``mark`` that a majority has reached: in a joint configuration, of each half.

        Learners do not count, nor does a leader that is no voter.
        """
        progress = self.progress
        least: int | None = None
        for half, quorum in self._majorities[use]:
            marks = [mark(progress[name]) for name in half if name in progress]
            marks.sort(reverse=True)
            reached = marks[quorum - 1]
            if least is None or reached < least:
                least = reached
        assert least is not None
        return least

    def _quorum(self, use: str, voters: int) -> int:
        """How many of ``voters`` are a majority, so that any two of them share a voter.

        ``use`` is what it is for: ``vote``, ``commit``, or ``contact`` (check-quorum, ReadIndex).
        """
        return voters // 2 + 1

    # -- roles -----------------------------------------------------------------------------------

    def _draw_timeout(self) -> int:
        fixed = self.config.election_timeout_ticks
        if fixed is not None:
            return fixed
        ticks = self.config.election_ticks
        return self.stream.randrange(ticks, 2 * ticks)

    def _reset(self, term: int) -> None:
        """Forget everything of the role played until now."""
        if term != self.term:
            self.term = term
            self.vote = ""
        self.leader = ""
        self.election_elapsed = self.heartbeat_elapsed = 0
        self.timeout_ticks = self._draw_timeout()
        self._dropped.extend(context for _, _, context in self._pending_reads)
        self._init_leadership()

    def _become_follower(self, term: int, leader: str) -> None:
        self._reset(term)
        self.role, self.leader = Role.FOLLOWER, leader

    def _become_leader(self) -> None:
        """Start with an empty entry: nothing older may commit, and no read start, before it."""
        log = self.log
        self._reset(self.term)
        self.role, self.leader = Role.LEADER, self.node
        for name in self.peers:
            self.progress[name] = Progress(log.last + 1)
        self.progress[self.node] = Progress(log.last + 1, match=log.stable, active=True)
        self.pending_conf_index = log.last
        self._noop_index = log.last + 1
        self._append(EntryKind.EMPTY, b"")

    def _append(self, kind: EntryKind, data: bytes) -> int:
        """Put an entry at the end of a leader's own log; it is sent with the next Ready."""
        log = self.log
        index = log.last + 1
        log.append(Entry(index, self.term, kind, data))
        self._broadcast_entries = True
        return index

    # -- sending ---------------------------------------------------------------------------------

    def _send(self, kind: MessageKind, to: str, log_index: int = 0, commit: int = 0) -> None:
        """Queue a small message that may leave at once."""
        self._messages.append(
            Message(kind, self.node, to, self.term, log_index=log_index, commit=commit)
        )

    def _in_lease(self) -> bool:
        """A leader was heard less than E ticks ago, so nobody has reason to seek votes.

        E itself, not the drawn timeout: a leader's lease counts on every follower's E.  The
        known-leader condition of other implementations is left out on purpose: a node that was
        pushed to a higher term by a late reply forgets its leader, but must not forget that the
        leader may hold a lease on its word.

        A lease counts on E - 1 ticks of TIME.  Counted ticks alone do not give them: after a pause
        an overdue tick may come right behind the heartbeat, and the next one right behind that.
        So with leases the clock must agree.
        """
        if not self.config.check_quorum:
            return False
        return (
            self.role is Role.LEADER
            or self.quiet_ticks < self.config.election_ticks
            or self._now < self._promised_until_ns
        )
