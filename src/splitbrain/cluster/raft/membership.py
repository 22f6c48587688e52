"""Membership change, single and joint; it acts when it is APPLIED.

Fifth chapter of :class:`core.Raft`.  Dissertation, section 4.1: a simple change adds or removes at
most one voter, so a majority of the old members and one of the new ones always share a node, as long
as changes do not overlap.  Section 4.3: a joint change may exchange several voters at once; between
entering and leaving, elections, commits and contact need a majority of the old AND of the new ones.

A joint change removes nobody: voters that are to go are demoted in it, and removed, as the learners
that they become when the joint configuration is left, by a simple change afterwards.  (So do TiKV and
its placement driver: a peer never vanishes while both halves count.)
"""

from __future__ import annotations

from collections import deque

import msgspec

from splitbrain.cluster.raft.election import Election
from splitbrain.cluster.raft.progress import Progress
from splitbrain.cluster.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfEntry,
    EntryKind,
    Role,
)

__all__ = ["Membership"]

ADD_VOTER = ConfChangeKind.ADD_VOTER
REMOVE = ConfChangeKind.REMOVE


class Membership(Election):
    """Proposing and applying changes of voters and learners."""

    __slots__ = ()

    def propose_conf(
        self, *changes: ConfChange, joint: bool = False, context: bytes = b""
    ) -> tuple[int, int] | None:
        """Append a membership change; as ``propose``.

        One change; or ``joint`` with several, and later ``joint`` with none, which leaves the joint
        configuration.  Refused when :meth:`_conf_overlaps`, when it does not fit the present
        configuration, and when it would make this leader less than a voter: it should transfer its
        leadership first.  (It may enter a joint configuration that demotes it, but not leave it.)
        """
        if self.role is not Role.LEADER or self.transferee or self._conf_overlaps():
            return None
        if not (self._fits_joint(changes) if joint else self._fits_simple(changes)):
            return None
        entry = ConfEntry(changes, joint, context)
        index = self._append(EntryKind.CONF, msgspec.msgpack.encode(entry))
        self.pending_conf_index = index
        return index, self.term

    def _conf_overlaps(self) -> bool:
        """Is an earlier change not applied, or no entry of the own term?

        Without the second, two leaders' changes may give disjoint majorities (Ongaro, raft-dev,
        2015).
        """
        applied = self.log.applied
        return self.pending_conf_index > applied or applied < self._noop_index

    def _fits_simple(self, changes: tuple[ConfChange, ...]) -> bool:
        if self.outgoing or len(changes) != 1:
            return False
        return changes[0].kind is ADD_VOTER or changes[0].node != self.node

    def _fits_joint(self, changes: tuple[ConfChange, ...]) -> bool:
        if not changes:
            return bool(self.outgoing) and self.node in self.voters
        if self.outgoing or len({change.node for change in changes}) < len(changes):
            return False
        if any(change.kind is REMOVE and change.node in self.voters for change in changes):
            return False
        return bool(self._changed(changes)[0])

    def refuse_conf(self, index: int) -> None:
        """The change at ``index`` must do nothing; to be called before ``applied(index)``."""
        self._conf_handed = deque(one for one in self._conf_handed if one.index != index)

    def applied(self, index: int) -> None:
        """The shell has applied everything up to ``index``; membership changes act now."""
        self.log.note_applied(index)
        waiting = self._conf_handed
        while waiting and waiting[0].index <= index:
            self._apply_conf(msgspec.msgpack.decode(waiting.popleft().data, type=ConfEntry))

    def _changed(
        self, changes: tuple[ConfChange, ...]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Voters and learners after ``changes``."""
        voters, learners = self.voters, self.learners
        for change in changes:
            name = change.node
            voters = tuple(voter for voter in voters if voter != name)
            learners = tuple(learner for learner in learners if learner != name)
            if change.kind is ADD_VOTER:
                voters += (name,)
            elif change.kind is not REMOVE:
                learners += (name,)
        return voters, learners

    def _apply_conf(self, entry: ConfEntry) -> None:
        voters, learners = self._changed(entry.changes)
        outgoing: tuple[str, ...] = ()
        if entry.joint and entry.changes:
            outgoing = self.voters
            learners = tuple(name for name in learners if name not in outgoing)
        elif entry.joint:
            learners += tuple(name for name in self.outgoing if name not in voters)
        if not voters:
            return  # the last voter cannot leave: nobody could ever commit again
        self._set_membership(voters, learners, outgoing)
        if self.role is not Role.LEADER:
            return
        for peer in (*self.peers, self.node):
            if peer not in self.progress:
                self.progress[peer] = Progress(self.log.last + 1, active=True)
        for peer in [peer for peer in self.progress if peer not in self.peers]:
            if peer != self.node:
                del self.progress[peer]
        if self.transferee and self.transferee not in voters:
            self.transferee = ""
        self._broadcast_entries = True
        if self._advance_commit():
            self._broadcast_commit = True
