"""Who leads: pre-vote, votes, check-quorum, leader transfer.

Fourth chapter of :class:`core.Raft`.  Raft paper 5.2 and 5.4.1; dissertation 4.2.3 (disruptive
servers), 6.2, 3.10 (transfer), 9.6 (pre-vote).
"""

from __future__ import annotations

from operator import attrgetter

from splitbrain.cluster.raft.progress import Flow, Progress
from splitbrain.cluster.raft.reads import Reads
from splitbrain.cluster.raft.types import EntryKind, Message, MessageKind, Role

__all__ = ["Election"]

PRE_VOTE = MessageKind.PRE_VOTE
PRE_VOTE_REPLY = MessageKind.PRE_VOTE_REPLY
VOTE = MessageKind.VOTE
VOTE_REPLY = MessageKind.VOTE_REPLY
_ACTIVE = attrgetter("active")


class Election(Reads):
    """Campaigns, votes, the leader's doubts about itself."""

    __slots__ = ()

    # -- campaigning -----------------------------------------------------------------------------

    def campaign(self) -> bool:
        """Seek election now, as if the timer had run out; False if this node must not.

        With lease reads a node that heard a leader less than E ticks ago must not: by voting for
        itself it would break the word on which that leader's lease stands.
        """
        if self.role is Role.LEADER or not self._may_campaign():
            return False
        if self.config.lease_reads and self._in_lease():
            return False
        if self.config.pre_vote:
            self._start_pre_vote()
        else:
            self._start_election(transfer=False)
        return True

    def _may_campaign(self) -> bool:
        """A voter, with its state in place, that knows the membership it campaigns in.

        A membership change acts when applied; one that is committed but not applied here may have
        given this node's majority away.
        """
        log = self.log
        if self.node not in self.electors or log.stable < log.offset:
            return False
        if log.commit == log.applied:
            return True
        start = log.applied - log.offset
        waiting = log.entries[start : log.commit - log.offset]
        return all(entry.kind is not EntryKind.CONF for entry in waiting)

    def _start_pre_vote(self) -> None:
        """Ask who would vote, without raising the term: it disturbs nobody."""
        self._reset(self.term)
        self.role = Role.PRE_CANDIDATE
        self._request_votes(PRE_VOTE, self.term + 1, transfer=False)
        self._count_vote(self.node, granted=True)

    def _start_election(self, *, transfer: bool) -> None:
        """Raise the term, vote for oneself, ask the others.

        The own vote counts once it is durable, as any other's: see ``core.persisted``.
        """
        self._reset(self.term + 1)
        self.vote = self.node
        self.role = Role.CANDIDATE
        self._request_votes(VOTE, self.term, transfer=transfer)

    def _request_votes(self, kind: MessageKind, term: int, *, transfer: bool) -> None:
        """A real request follows the own vote to disk; a pre-vote binds nobody."""
        log = self.log
        queue = self._messages if kind is PRE_VOTE else self._after
        for name in self.peers:
            if name in self.electors:
                queue.append(
                    Message(
                        kind,
                        self.node,
                        name,
                        term,
                        log_index=log.last,
                        log_term=log.last_term(),
                        transfer=transfer,
                    )
                )

    def _count_vote(self, voter: str, *, granted: bool) -> None:
        """The first answer of each voter counts.

        In a joint configuration both halves must be won, and losing one is enough to lose.
        """
        if voter not in self.electors:
            return
        votes = self.votes
        votes.setdefault(voter, granted)
        won = True
        for half, quorum in self._majorities["vote"]:
            yes = sum(votes.get(name, False) for name in half)
            no = sum(not votes.get(name, True) for name in half)
            if no > len(half) - quorum:
                self._become_follower(self.term, "")
                return
            won = won and yes >= quorum
        if not won:
            return
        if self.role is Role.PRE_CANDIDATE:
            self._start_election(transfer=False)
        else:
            self._become_leader()

    # -- voting ----------------------------------------------------------------------------------

    def _on_vote_request(self, message: Message) -> None:
        """PRE_VOTE and VOTE, of the own term or (pre-vote only) a higher one."""
        pre = message.kind is PRE_VOTE
        sender = message.sender
        free = (
            self.vote == sender
            or (not self.vote and not self.leader)
            or (pre and message.term > self.term)
        )
        heard = self._in_lease() and not message.transfer
        if not free or heard or not self._is_up_to_date(message.log_index, message.log_term):
            self._messages.append(
                Message(
                    PRE_VOTE_REPLY if pre else VOTE_REPLY,
                    self.node,
                    sender,
                    self.term,
                    reject=True,
                )
            )
        elif pre:
            self._messages.append(Message(PRE_VOTE_REPLY, self.node, sender, message.term))
        else:
            self.vote = sender
            self.election_elapsed = 0
            self._send_vote_grant(message)

    def _is_up_to_date(self, index: int, term: int) -> bool:
        """Is a log that ends with (``index``, ``term``) at least as good as the own one?"""
        log = self.log
        return (term, index) >= (log.last_term(), log.last)

    def _send_vote_grant(self, message: Message) -> None:
        """A vote given must survive a restart BEFORE the candidate hears of it."""
        self._after.append(Message(VOTE_REPLY, self.node, message.sender, message.term))

    def _on_pre_vote_reply(self, message: Message) -> None:
        """A grant repeats the term asked for; a refusal carries the refuser's own."""
        if self.role is not Role.PRE_CANDIDATE:
            return
        if message.reject or message.term == self.term + 1:
            self._count_vote(message.sender, granted=not message.reject)

    def _on_vote_reply(self, message: Message) -> None:
        if self.role is Role.CANDIDATE:
            self._count_vote(message.sender, granted=not message.reject)

    # -- check-quorum ----------------------------------------------------------------------------

    def _check_quorum(self) -> bool:
        """Every E ticks: has a majority been heard since the last time?  False: stepped down.

        So a leader that lost contact goes on for E to 2E ticks.  The round also gives up a leader
        transfer that did not come off, and a snapshot whose acknowledgement has not come within
        two rounds: it may have been lost without anybody reporting it.
        """
        progress = self.progress
        self.transferee = ""
        self._transfer_sent = False
        if self.config.check_quorum and not self._agreed("contact", _ACTIVE):
            self._become_follower(self.term, "")
            return False
        for name, peer in progress.items():
            peer.active = name == self.node
            if peer.flow is Flow.SNAPSHOT:
                peer.snapshot_periods += 1
                if peer.snapshot_periods >= 2:
                    peer.pending_snapshot = 0
                    peer.probe()
        return True

    # -- transfer --------------------------------------------------------------------------------

    def transfer_leader(self, to: str) -> bool:
        """Make ``to`` the leader: bring it up to date, then tell it to campaign at once.

        Until then, or for E ticks, proposals are refused; another target replaces this one.

        Returns:
            False if it cannot begin: not the leader, or ``to`` is this node, no voter, or waiting
            for a snapshot.
        """
        if self.role is not Role.LEADER or to == self.node or to not in self.voters:
            return False
        progress = self.progress[to]
        if progress.flow is Flow.SNAPSHOT:
            return False
        if to == self.transferee:
            return True
        self.transferee = to
        self._transfer_sent = False
        self.election_elapsed = 0
        if progress.match < self.log.last:
            self._send_append(to, progress, empty=False)
        else:
            self._on_transferee_progress(progress)
        return True

    def _on_transferee_progress(self, progress: Progress) -> None:
        """The target has everything: let it campaign.  From here on the lease is over."""
        if progress.match == self.log.last and not self._transfer_sent:
            self._transfer_sent = self._suspect = True
            self._lease_until_ns = 0
            self._send(MessageKind.TIMEOUT_NOW, self.transferee)

    def _on_timeout_now(self, message: Message) -> None:
        """Campaign without pre-vote, with the leader's mark, which overrides its voters' lease."""
        if self.role is Role.FOLLOWER and self._may_campaign():
            self._start_election(transfer=True)
