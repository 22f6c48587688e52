"""Seeded bugs of the store: each a subclass of :class:`~splitbrain.cluster.store.peer.Peer`.

A class names itself like a Raft bug does (``id``, ``name``, ``anomalies``, ``crash``) and counts in
the store's ``probes[name]`` how often its changed path did what the correct one would not have done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from splitbrain.cluster.store.peer import Peer

__all__ = ["STORE_BUGS", "DroppedProposalSaysNo", "StoreBug"]


class StoreBug(Peer):
    """What all have; see :class:`~splitbrain.cluster.bugs.raft_bugs.RaftBug`."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def _count(self) -> None:
        probes = self.host.probes
        probes[self.name] = probes.get(self.name, 0) + 1


class DroppedProposalSaysNo(StoreBug):
    """R27: a leader that steps down tells all who wait "not leader", appended or not.

    "Not leader" means that the write was never appended, so the client calls it failed, or sends it
    again to the next leader.  But the entry is in this store's log and perhaps in others', and may
    commit under the next leader: a failed write is read, or a write happens twice, the second time
    over somebody else's.  A write that is dropped BEFORE the append is a true no, and not the bug.

    Needs a change of leader with writes in flight: a transfer, a partition or a pause.  A kill does
    not reveal it: the killed leader tells nobody anything.

    Probe: appended writes that were told "not leader".
    """

    id = "R27"
    name = "dropped-proposal-says-no"
    anomalies = ("failed-write-visible", "lost-write", "stale-read", "not-linearizable")

    def _stepped_down(self) -> None:
        for waiting in self._proposals.drop_all():
            self._count()
            self.refuse(waiting, self.not_leader())


STORE_BUGS: Mapping[str, type[StoreBug]] = {bug.name: bug for bug in (DroppedProposalSaysNo,)}
"""The peer to make instead of the correct one, by bug name."""
