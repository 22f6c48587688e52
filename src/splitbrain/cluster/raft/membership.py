"""Membership change: one node at a time, and it acts when it is APPLIED.

Fifth chapter of :class:`core.Raft`.  Dissertation, section 4.1: as one change adds or removes at most
one voter, a majority of the old members and one of the new ones always share a node, so no joint
phase is needed, as long as changes do not overlap.
"""

from __future__ import annotations

import msgspec

from splitbrain.cluster.raft.election import Election
from splitbrain.cluster.raft.progress import Progress
from splitbrain.cluster.raft.types import ConfChange, ConfChangeKind, EntryKind, Role

__all__ = ["Membership"]


class Membership(Election):
    """Proposing and applying changes of voters and learners."""

    __slots__ = ()

    def propose_conf(self, change: ConfChange) -> tuple[int, int] | None:
        """Append a membership change; as ``propose``.

        Refused while an earlier one is not applied, before an entry of the own term is applied
        (without that, two leaders' changes may give disjoint majorities: Ongaro, raft-dev, 2015),
        and for the removal of this node, which should transfer its leadership first.
        """
        if (
            self.role is not Role.LEADER
            or self.transferee
            or self.pending_conf_index > self.log.applied
            or self.log.applied < self._noop_index
            or (change.kind is not ConfChangeKind.ADD_VOTER and change.node == self.node)
        ):
            return None
        index = self._append(EntryKind.CONF, msgspec.msgpack.encode(change))
        self.pending_conf_index = index
        return index, self.term

    def applied(self, index: int) -> None:
        """The shell has applied everything up to ``index``; membership changes act now."""
        self.log.note_applied(index)
        waiting = self._conf_handed
        while waiting and waiting[0].index <= index:
            self._apply_conf(msgspec.msgpack.decode(waiting.popleft().data, type=ConfChange))

    def _apply_conf(self, change: ConfChange) -> None:
        name = change.node
        voters = tuple(voter for voter in self.voters if voter != name)
        learners = tuple(learner for learner in self.learners if learner != name)
        if change.kind is ConfChangeKind.ADD_VOTER:
            voters += (name,)
        elif change.kind is ConfChangeKind.ADD_LEARNER:
            learners += (name,)
        if not voters:
            return  # the last voter cannot leave: nobody could ever commit again
        self._set_membership(voters, learners)
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
