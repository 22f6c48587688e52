"""Heartbeats, and the two ways to read without writing: ReadIndex and the leader's lease.

Third chapter of :class:`core.Raft`; Ongaro's dissertation, section 6.4.

Heartbeats go out in numbered *rounds*, and an answer repeats the number.  Once a majority has
answered round r or a later one (in this term), nobody else led when round r was SENT.  So:

- A read asked before round r was sent may be answered at the commit index noted when it was asked.
  All reads asked since the last Ready share one round.
- From the send of round r on, for less than the time for which those who answered will refuse to
  elect another, the leader may read locally: the lease.  It counts from the send, not from the
  answers: they may have travelled for long.

Both need an entry of the own term to be committed: before that a new leader does not know what its
predecessors committed.
"""

from __future__ import annotations

from operator import attrgetter

from splitbrain.cluster.raft.progress import Flow
from splitbrain.cluster.raft.replication import Replication
from splitbrain.cluster.raft.types import Message, MessageKind, ReadState, Role

__all__ = ["Reads"]

HEARTBEAT = MessageKind.HEARTBEAT
HEARTBEAT_REPLY = MessageKind.HEARTBEAT_REPLY

_ACKED = attrgetter("acked_round")

MAX_PENDING_READS = 1 << 16
MAX_OPEN_ROUNDS = 1 << 12


class Reads(Replication):
    """Heartbeat rounds, ReadIndex, lease."""

    __slots__ = ()

    def read_index(self, context: bytes, now_ns: int) -> bool:
        """Begin a linearizable read.

        A Ready will bring a :class:`ReadState` with ``context``, or list it in ``dropped_reads``.

        Returns:
            False if it cannot begin: not the leader, no entry of the own term committed yet, or
            too many reads wait.  A true no; the caller may retry, here or elsewhere.
        """
        self._advance_now(now_ns)
        if self.role is not Role.LEADER or not self._own_term_committed():
            return False
        if len(self._pending_reads) >= MAX_PENDING_READS:
            return False
        # The next round is sent after this moment; any round already on its way is not enough.
        self._pending_reads.append((self._round + 1, self.log.commit, context))
        self._round_wanted = True
        return True

    def lease_valid(self, now_ns: int) -> bool:
        """May the leader answer from its own state, right now, asking nobody?

        ``now_ns`` must be read AFTER the state to be returned was looked at (or with nothing in
        between).  Needs the own term's first entry applied: then all that was ever acknowledged
        by earlier leaders is in the state.
        """
        return (
            now_ns < self._lease_until_ns
            and self.role is Role.LEADER
            and not self._suspect
            and not self.transferee
            and self.log.applied >= self._noop_index
        )

    def _own_term_committed(self) -> bool:
        return self.log.commit >= self._noop_index

    def _advance_now(self, now_ns: int) -> None:
        if now_ns > self._now:
            self._now = now_ns

    # -- rounds ----------------------------------------------------------------------------------

    def _send_round(self) -> None:
        """One heartbeat to each peer.  The commit index is cut to what the peer surely has."""
        self._round_wanted = False
        self._round += 1
        if self.config.lease_reads and len(self._round_sent) < MAX_OPEN_ROUNDS:
            # ``_now`` is not later than the moment at which the shell will really send.
            self._round_sent.append((self._round, self._now))
        commit, number = self.log.commit, self._round
        for name in self.peers:
            match = self.progress[name].match
            self._send(HEARTBEAT, name, number, min(commit, match))
        if any(quorum <= 1 for _, quorum in self._majorities["contact"]):
            self._confirm_rounds()

    def _on_heartbeat(self, message: Message) -> None:
        if not self._heard_leader(message.sender):
            return
        self.log.commit_to(message.commit)
        self._send(HEARTBEAT_REPLY, message.sender, message.log_index)

    def _on_heartbeat_reply(self, message: Message) -> None:
        """The peer lives: let a stuck append through, and count its round.

        An append is sent even if the window is full (then it is empty): if all that is in flight
        was lost, its refusal is what brings the peer back to PROBE.
        """
        progress = self.progress.get(message.sender)
        if progress is None or self.role is not Role.LEADER:
            return
        progress.active = True
        progress.paused = False
        if progress.match < self.log.last or progress.flow is Flow.PROBE:
            self._send_append(message.sender, progress, empty=True)
        if message.log_index > progress.acked_round:
            progress.acked_round = message.log_index
            if self._pending_reads or self._round_sent:
                self._confirm_rounds()

    def _confirm_rounds(self) -> None:
        """Find the latest round that a majority answered, release reads, extend the lease."""
        self.progress[self.node].acked_round = self._round
        confirmed = self._agreed("contact", _ACKED)
        if confirmed <= self._confirmed_round:
            return
        self._confirmed_round = confirmed
        reads = self._pending_reads
        while reads and reads[0][0] <= confirmed:
            _, index, context = reads.popleft()
            self._read_states.append(ReadState(index, context))
        self._renew_lease(confirmed)

    def _renew_lease(self, confirmed: int) -> None:
        """The lease runs from the send of the confirmed round, and never becomes shorter.

        After a TIMEOUT_NOW has left it is over for the whole term: that message may arrive late,
        and its receiver is elected although its voters have heard this leader.
        """
        sent = self._round_sent
        while sent and sent[0][0] <= confirmed:
            until_ns = sent.popleft()[1] + self.config.lease_ns
            if until_ns > self._lease_until_ns and not self._suspect:
                self._lease_until_ns = until_ns
