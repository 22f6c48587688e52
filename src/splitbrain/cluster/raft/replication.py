"""The log: how a leader spreads it, a follower takes it, and when an entry is committed.

Second chapter of :class:`core.Raft`.  Raft paper section 5.3 and 5.4; the refusals' hints, flow
states and commit broadcast are etcd's.
"""

from __future__ import annotations

from operator import attrgetter

from splitbrain.cluster.raft.progress import Flow, Progress
from splitbrain.cluster.raft.state import RaftState
from splitbrain.cluster.raft.types import Entry, Message, MessageKind, Role, SnapshotMeta

__all__ = ["Replication"]

APPEND = MessageKind.APPEND
APPEND_REPLY = MessageKind.APPEND_REPLY
SNAPSHOT = MessageKind.SNAPSHOT
REPLICATE = Flow.REPLICATE
_MATCH = attrgetter("match")


class Replication(RaftState):
    """Appends and snapshots, both sides."""

    __slots__ = ()

    # -- follower --------------------------------------------------------------------------------

    def _heard_leader(self, sender: str) -> bool:
        """A leader of the own term has spoken; False if this node itself leads the term."""
        role = self.role
        if role is Role.LEADER:
            return False
        if role is not Role.FOLLOWER:
            self._become_follower(self.term, sender)
        self.leader = sender
        self.election_elapsed = self.quiet_ticks = 0
        self._promised_until_ns = self._now + self._promise_ns
        return True

    def _on_append(self, message: Message) -> None:
        sender = message.sender
        if not self._heard_leader(sender):
            return
        log = self.log
        before = message.log_index
        if before < log.commit:
            log.check_committed(before, message.log_term, message.entries)
            self._send_append_ack(sender, log.commit)
        elif log.term(before) == message.log_term:
            entries = message.entries
            last_new = before + len(entries)
            self._merge_entries(before, entries)
            commit = message.commit
            log.commit_to(min(last_new, commit))
            self._send_append_ack(sender, last_new)
        else:
            log.check_committed(before, message.log_term, ())
            self._refuse_append(message)

    def _merge_entries(self, before: int, entries: tuple[Entry, ...]) -> None:
        """Add what is new; cut only from the first entry whose TERM differs.

        Entries that match are left alone together with all that follows them: this append may be
        old, and what follows may have been acknowledged since.
        """
        log = self.log
        for position, entry in enumerate(entries):
            if log.term(entry.index) != entry.term:
                if entry.index <= log.last:
                    log.truncate(entry.index)
                log.extend(entries[position:] if position else entries)
                return

    def _send_append_ack(self, to: str, index: int) -> None:
        """Promise that everything up to ``index`` is as the leader has it, and durable.

        So it waits for the disk.  The log may change before it leaves: a later leader may cut
        what it speaks of.  That is no harm: all that it speaks of was in this log before this
        node voted in, or heard of, a later term; the writes go to disk in order; so a later leader
        that was elected with this node's vote holds those entries if they were committed.
        """
        self._after.append(Message(APPEND_REPLY, self.node, to, self.term, log_index=index))

    def _refuse_append(self, message: Message) -> None:
        """Say no, and where the logs may agree at best."""
        before = message.log_index
        index, term = self.log.agree_before(before, message.log_term)
        self._messages.append(
            Message(
                APPEND_REPLY,
                self.node,
                message.sender,
                self.term,
                log_index=before,
                reject=True,
                hint_index=index,
                hint_term=term,
            )
        )

    def _on_snapshot(self, message: Message) -> None:
        snapshot = message.snapshot
        if snapshot is None or not self._heard_leader(message.sender):
            return
        log, meta = self.log, snapshot.meta
        if self._wants_snapshot(meta) and self.node in meta.members:
            if self._log_has(meta):
                log.commit_to(meta.index)  # the log has it all: no need for the state
            else:
                log.restore(meta, self._number + 1)
                self.snapshot = self._snapshot_to_hand = snapshot
                self._conf_handed.clear()
                self._set_membership(meta.voters, meta.learners, meta.outgoing)
        self._send_append_ack(message.sender, log.commit)

    def _wants_snapshot(self, meta: SnapshotMeta) -> bool:
        """An older one, late on its way, would take back what is committed."""
        return meta.index > self.log.commit

    def _log_has(self, meta: SnapshotMeta) -> bool:
        """Does the own log lead to the same state?"""
        return self.log.term(meta.index) == meta.term

    # -- leader: sending -------------------------------------------------------------------------

    def _broadcast(self, *, commit: bool) -> None:
        """Send to each peer what it lacks; with ``commit`` at least one append, though empty."""
        for name in self.peers:
            self._send_append(name, self.progress[name], empty=commit)

    def _send_append(self, to: str, progress: Progress, *, empty: bool) -> None:
        """Send appends to one peer until its window, or the log, is exhausted."""
        if progress.paused or progress.flow is Flow.SNAPSHOT:
            return
        log, config = self.log, self.config
        while True:
            first = progress.next
            if first > log.last and not empty:
                return
            term = log.term(first - 1)
            if term < 0:
                self._send_snapshot(to, progress)
                return
            window_full = (
                progress.flow is REPLICATE and len(progress.inflight) >= config.max_inflight
            )
            entries: tuple[Entry, ...] = ()
            if first <= log.last and not window_full:
                entries = log.slice(
                    first, config.max_entries_per_append, config.max_bytes_per_append
                )
            self._messages.append(
                Message(APPEND, self.node, to, self.term, first - 1, term, log.commit, entries)
            )
            progress.sent(len(entries), config.max_inflight)
            empty = False
            if progress.paused or not entries:
                return

    def _send_snapshot(self, to: str, progress: Progress) -> None:
        """The entries that a peer needs are gone.  Not sent to a peer that seems dead.

        A node refuses a snapshot whose membership lacks it.  If the one at hand is older than the
        peer's addition, ask the shell for a new one; a heartbeat's answer tries again.
        """
        snapshot = self.snapshot
        if not progress.active or snapshot is None:
            return
        meta = snapshot.meta
        if to not in meta.members:
            self.snapshot_wanted = True
            return
        self._messages.append(Message(SNAPSHOT, self.node, to, self.term, snapshot=snapshot))
        progress.wait_for_snapshot(snapshot.meta.index)

    # -- leader: answers -------------------------------------------------------------------------

    def _on_append_reply(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is None or self.role is not Role.LEADER:
            return
        progress.active = True
        if message.reject:
            self._on_refused(message, progress)
            return
        index = message.log_index
        was_paused = progress.paused or progress.flow is Flow.SNAPSHOT
        news = progress.acknowledged(index)
        if not news and (progress.match != index or progress.flow is not Flow.PROBE):
            return
        if progress.flow is REPLICATE:
            progress.free(index)
        elif progress.flow is Flow.PROBE or progress.match >= self.log.offset:
            progress.replicate()
        if news and self._advance_commit():
            self._broadcast_commit = True
        # It may not know the commit index; if a broadcast is due anyway, that tells it.
        empty = was_paused and not self._broadcast_commit
        if empty or progress.next <= self.log.last:
            self._send_append(message.sender, progress, empty=empty)
        if message.sender == self.transferee:
            self._on_transferee_progress(progress)

    def _on_refused(self, message: Message, progress: Progress) -> None:
        """Move back to where the logs may agree, skipping whole terms, and try there."""
        hint = message.hint_index
        if message.hint_term > 0:
            hint, _ = self.log.agree_before(hint, message.hint_term)
        if progress.refused(message.log_index, hint):
            if progress.flow is REPLICATE:
                progress.probe()
            self._send_append(message.sender, progress, empty=True)

    def _on_transferee_progress(self, progress: Progress) -> None:
        """The target of a leader transfer has acknowledged something (see ``election``)."""

    # -- leader: commit --------------------------------------------------------------------------

    def _advance_commit(self) -> bool:
        """Commit the quorum-th largest match; True if ``commit`` moved.

        The own match counts what is durable here; learners do not count.
        """
        index = self._agreed("commit", _MATCH)
        if index <= self.log.commit or not self._may_commit(index):
            return False
        self.log.commit_to(index)
        return True

    def _may_commit(self, index: int) -> bool:
        """Only an entry of the own term commits by counting (Raft paper, 5.4.2, figure 8).

        An older one on a majority may still be overwritten by a leader that a majority elects;
        it commits together with the first entry of the own term after it.
        """
        return self.log.term(index) == self.term

    def report_unreachable(self, peer: str) -> None:
        """The transport knows that messages to ``peer`` were lost: stop streaming to it."""
        progress = self.progress.get(peer)
        if progress is not None and progress.flow is REPLICATE:
            progress.probe()

    def report_snapshot(self, peer: str, ok: bool) -> None:
        """The transport knows whether the snapshot for ``peer`` arrived."""
        progress = self.progress.get(peer)
        if progress is None or progress.flow is not Flow.SNAPSHOT:
            return
        if not ok:
            progress.pending_snapshot = 0
        progress.probe()
        progress.paused = True  # until its acknowledgement, or the next heartbeat's answer
