"""Seeded bugs of the placement driver: of the member (:class:`PdBug`) or of its oracle alone.

A class names itself like a Raft bug does (``id``, ``name``, ``anomalies``, ``crash``) and counts how
often its changed path did what the correct one would not have done.

    >>> sorted(PD_BUGS)
    ['tso-batch-overlap', 'tso-two-leaders', 'tso-window-not-saved']
    >>> pd_class(("tso-two-leaders",)).__name__, tso_class(("tso-two-leaders",)).__name__
    ('TwoLeaders', 'Tso')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias, TypeVar

from splitbrain.cluster.pd.node import PdNode
from splitbrain.cluster.pd.tso import Tso
from splitbrain.cluster.raft.core import Raft

__all__ = [
    "PD_BUGS",
    "BatchOverlap",
    "PdBug",
    "TsoBug",
    "TwoLeaders",
    "WindowNotSaved",
    "pd_class",
    "tso_class",
]


class PdBug(PdNode):
    """What bugs of the member have; see :class:`~splitbrain.cluster.bugs.raft_bugs.RaftBug`."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def _count(self) -> None:
        self.probes[self.name] = self.probes.get(self.name, 0) + 1


class TsoBug(Tso):
    """What bugs of the oracle have; ``probe`` counts."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, window_ms: int) -> None:
        super().__init__(window_ms)
        self.probe = 0


class WindowNotSaved(PdBug):
    """T01: timestamps are given without their bound being stored first.

    The next leader finds no bound above its own clock.  If that clock is behind by more than the time
    that the change of leader took, it gives timestamps again that were given before: a snapshot in
    the past, or, where two are equal, a transaction that takes another's record for its own.

    Needs a change of PD's leader and clocks that differ by seconds; without the skew nothing shows.

    Probe: bounds that were only pretended to be stored.
    """

    id = "T01"
    name = "tso-window-not-saved"
    anomalies = ("timestamp-back", "timestamp-twice", "lost-write", "not-snapshot-isolation")

    def _save_window(self, raft: Raft, until_ms: int) -> None:
        self._count()
        self._tso.saved(until_ms)


class BatchOverlap(TsoBug):
    """T03: a batch of n timestamps reserves n - 1.

    The next batch begins with the last of this one: two transactions with one timestamp.

    Needs batches of more than one, and another request within the same millisecond.

    Probe: batches that reserved too few.
    """

    id = "T03"
    name = "tso-batch-overlap"
    anomalies = ("timestamp-twice", "lost-write", "not-snapshot-isolation")

    def _reserve(self, count: int) -> int:
        last = super()._reserve(count)
        if count > 1:
            self.probe += 1
            self._logical -= 1
        return last


class TwoLeaders(PdBug):
    """T05: a member gives timestamps until it hears that it was deposed, and asks no majority.

    While it is cut off the others elect another, who begins above its bound.  Whoever gets a
    timestamp there, and then one here, goes back in time.  No two are equal, and it ends by itself:
    a leader that hears no majority steps down, and it cannot store another bound.

    Needs PD's leader cut off from the others, or paused, and clients that reach both.

    Probe: batches given without asking.
    """

    id = "T05"
    name = "tso-two-leaders"
    anomalies = ("timestamp-back", "stale-snapshot", "not-snapshot-isolation")

    def _ask_majority(self, raft: Raft, context: bytes) -> None:
        self._count()
        self._confirmed(raft, context)


C = TypeVar("C")
AnyPdBug: TypeAlias = type[PdBug] | type[TsoBug]

PD_BUGS: Mapping[str, AnyPdBug] = {
    bug.name: bug for bug in (WindowNotSaved, BatchOverlap, TwoLeaders)
}
"""The class to make instead of the correct one, by bug name."""


def pd_class(bugs: Sequence[str]) -> type[PdNode]:
    """The member with those of ``bugs`` that are its own; others are passed over."""
    return _join(PdNode, [bug for bug in _known(bugs) if issubclass(bug, PdBug)])


def tso_class(bugs: Sequence[str]) -> type[Tso]:
    """The oracle with those of ``bugs`` that are its own; others are passed over."""
    return _join(Tso, [bug for bug in _known(bugs) if issubclass(bug, TsoBug)])


def _known(bugs: Sequence[str]) -> list[AnyPdBug]:
    return [PD_BUGS[name] for name in dict.fromkeys(bugs) if name in PD_BUGS]


def _join(correct: type[C], chosen: Sequence[type[C]]) -> type[C]:
    """Several are joined by inheritance, in the order of the configuration."""
    if len(chosen) <= 1:
        return chosen[0] if chosen else correct
    return type("And".join(one.__name__ for one in chosen), tuple(chosen), {})
