"""How long clients had to do without a success, and how soon they had one after a heal.

Figures only: always valid.  They answer what an operator asks of a fault, and what a drill may set
a limit to.

    faults     |---- partition ----|
    successes  x x x             x    x x x x
                   '-- outage --'      '- recovery, from the heal to the end of the first
                                          operation that was invoked after it and succeeded

An operation begun before a heal proves nothing of the time after it, so only operations invoked at
or after a heal count for its recovery.  Time in which the harness heals and no client asks (between
the marks ``heal`` and ``final``) is cut out: nothing can succeed where nobody asks.  A run at a rate
of a few operations a second shows no finer outages than its own gaps.

``stats``, all times in seconds since the test began, or seconds long:

``availability``     share of the whole seconds of the main phase with a success; null if there is none
``outage_s``         longest time without a success that began in the main phase; ``outage_at_s``: when
``recovery_s``       longest recovery after a heal that left no other fault held; null without one
``median_recovery_s``  the median of these
``unrecovered``      heals after which nothing succeeded any more; their time until the end counts
``faults``           the first 200: id, fault, targets, start_s, stop_s, outage_s (longest time without
                     a success from its start to the recovery), recovery_s
``nodes``            for clients bound to each node: availability, outage_s, asked, ok
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.checkers.bands import ONE_SHOT, Band, fault_bands
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.phases import phase_marks
from splitbrain.checkers.verdict import VALID, Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS

__all__ = ["FAULTS_MAX", "AvailabilityChecker"]

FAULTS_MAX: Final = 200
"""So many faults are listed."""

_SECOND_NS: Final = 1_000_000_000
Ints = npt.NDArray[np.int64]


class _Axis(msgspec.Struct, frozen=True):
    """Time with the healing cut out.

    Attributes:
        begin: where the main phase begins.
        heal: where it ends, and the cut begins.
        final: where the cut ends.
        end: where the history ends, after the cut.
    """

    begin: int
    heal: int
    final: int
    end: int

    def at(self, time_ns: int) -> int:
        """The moment on this axis."""
        if time_ns <= self.heal:
            return time_ns
        return max(self.heal, time_ns - (self.final - self.heal))


class _Successes(msgspec.Struct, frozen=True):
    """Operations that succeeded, on the axis.

    Attributes:
        done: ends, ascending.
        begun: invocations, ascending.
        next_done: for each of ``begun`` the earliest end of it and all begun later.
    """

    done: Ints
    begun: Ints
    next_done: Ints

    def after(self, moment: int) -> int | None:
        """The earliest end of an operation begun at ``moment`` or later."""
        place = int(np.searchsorted(self.begun, moment, side="left"))
        return int(self.next_done[place]) if place < len(self.next_done) else None

    def first_done(self, moment: int) -> int | None:
        """The first end at ``moment`` or later, whenever begun."""
        place = int(np.searchsorted(self.done, moment, side="left"))
        return int(self.done[place]) if place < len(self.done) else None

    def longest_gap(self, begin: int, end: int) -> tuple[int, int]:
        """The longest time without an end inside [begin, end], and when it began."""
        inside = self.done[
            np.searchsorted(self.done, begin) : np.searchsorted(self.done, end, side="right")
        ]
        points = np.concatenate(([begin], inside, [max(begin, end)]))
        gaps = np.diff(points)
        widest = int(np.argmax(gaps))
        return int(gaps[widest]), int(points[widest])

    def share(self, begin: int, end: int) -> float | None:
        """The share of whole seconds of [begin, end) in which something ended."""
        seconds = (end - begin) // _SECOND_NS
        if seconds <= 0:
            return None
        hit = np.unique((self.done[self.done >= begin] - begin) // _SECOND_NS)
        return int((hit < seconds).sum()) / seconds


class AvailabilityChecker:
    """Outages and recoveries, as the module says; never invalid, never unknown."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Measure."""
        axis = _axis(history)
        asked, calls = _calls(history, axis)
        whole = _successes(calls)
        outage, at = whole.longest_gap(axis.begin, _until(whole, axis))
        bands = fault_bands(history)
        faults, recoveries, unrecovered = _faults(bands, whole, axis)
        share = whole.share(axis.begin, axis.heal)
        stats = {
            "availability": None if share is None else round(share, 4),
            "outage_s": _seconds(outage),
            "outage_at_s": _seconds(at),
            "recovery_s": max(recoveries, default=None),
            "median_recovery_s": round(median(recoveries), 3) if recoveries else None,
            "unrecovered": unrecovered,
            "faults": faults[:FAULTS_MAX],
            "nodes": _nodes(asked, calls, axis),
        }
        return Result(verdict=VALID, summary=_summary(stats), stats=stats)


def _axis(history: History) -> _Axis:
    marks = phase_marks(history)
    clients = (op.time_ns for op in history if op.process != NEMESIS)
    begin = marks.get("main", next(clients, 0))
    last = marks.get("end", history[-1].time_ns if len(history) else 0)
    last = max(begin, last)
    heal = min(max(begin, marks.get("heal", last)), last)
    final = min(max(heal, marks.get("final", last)), last)
    return _Axis(begin, heal, final, last - (final - heal))


Call = tuple[int, int]
"""When an operation was invoked, and when it had succeeded, on the axis."""


def _calls(history: History, axis: _Axis) -> tuple[dict[str, int], dict[str, list[Call]]]:
    """By node: how many operations were asked for, and those that succeeded."""
    asked: dict[str, int] = {}
    calls: dict[str, list[Call]] = {}
    for invoke, completion in history.invocations():
        node = invoke.node or ""
        asked[node] = asked.get(node, 0) + 1
        if completion is not None and completion.type == "ok":
            call = (axis.at(invoke.time_ns), axis.at(completion.time_ns))
            calls.setdefault(node, []).append(call)
    return asked, calls


def _successes(calls: Mapping[str, Sequence[Call]]) -> _Successes:
    every = [call for some in calls.values() for call in some]
    both: Ints = np.array(every, dtype=np.int64).reshape(-1, 2)
    order = np.argsort(both[:, 0], kind="stable")
    next_done = np.minimum.accumulate(both[order, 1][::-1])[::-1]
    return _Successes(np.sort(both[:, 1]), both[order, 0], next_done)


def _until(successes: _Successes, axis: _Axis) -> int:
    """Where an outage that lasts beyond the main phase ends."""
    after = successes.first_done(axis.heal)
    return axis.end if after is None else min(after, axis.end)


def _faults(
    bands: Sequence[Band], successes: _Successes, axis: _Axis
) -> tuple[list[dict[str, Any]], list[float], int]:
    """A row for each fault; recoveries after heals that left nothing held; how many had none."""
    rows: list[dict[str, Any]] = []
    recoveries: list[float] = []
    unrecovered = 0
    ends = _HeldEnds(bands)
    for number, band in enumerate(bands):
        stop = None if band.end_ns is None else axis.at(band.end_ns)
        back = None if stop is None else successes.after(stop)
        outage, _ = successes.longest_gap(
            axis.at(band.begin_ns), axis.end if back is None else back
        )
        healed = stop is not None and band.fault not in ONE_SHOT
        recovery = None if back is None or stop is None or not healed else _seconds(back - stop)
        if healed and stop is not None and not ends.held(number):
            recoveries.append(_seconds(axis.end - stop) if recovery is None else recovery)
            unrecovered += recovery is None
        rows.append(
            {
                "id": band.id,
                "fault": band.fault,
                "targets": [str(target) for target in band.value.get("targets") or ()],
                "start_s": _seconds(band.begin_ns),
                "stop_s": None if band.end_ns is None else _seconds(band.end_ns),
                "outage_s": _seconds(outage),
                "recovery_s": recovery,
            }
        )
    return rows, recoveries, unrecovered


class _HeldEnds:
    """Which faults were still held when one was healed: bands that began before and end later."""

    def __init__(self, bands: Sequence[Band]) -> None:
        never = np.iinfo(np.int64).max
        self._begins: Ints = np.array([band.begin_ns for band in bands], dtype=np.int64)
        self._ends: Ints = np.array(
            [never if band.end_ns is None else band.end_ns for band in bands], dtype=np.int64
        )

    def held(self, number: int) -> bool:
        """Whether any other fault was held when fault ``number`` was healed."""
        heal = self._ends[number]
        return bool(((self._begins < heal) & (self._ends > heal)).any())


def _nodes(
    asked: Mapping[str, int], calls: Mapping[str, Sequence[Call]], axis: _Axis
) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for node in sorted(name for name in asked if name):
        own = _successes({node: calls.get(node, ())})
        share = own.share(axis.begin, axis.heal)
        outage, _ = own.longest_gap(axis.begin, _until(own, axis))
        rows[node] = {
            "availability": None if share is None else round(share, 4),
            "outage_s": _seconds(outage),
            "asked": asked[node],
            "ok": len(calls.get(node, ())),
        }
    return rows


def _seconds(time_ns: int) -> float:
    return round(time_ns / _SECOND_NS, 3)


def _summary(stats: Mapping[str, Any]) -> str:
    parts = []
    if stats["availability"] is not None:
        parts.append(f"some operation succeeded in {stats['availability']:.1%} of the seconds")
    parts.append(
        f"longest time without a success {stats['outage_s']:g} s, from {stats['outage_at_s']:g} s"
    )
    if stats["recovery_s"] is not None:
        parts.append(f"slowest recovery after a heal {stats['recovery_s']:g} s")
    return "; ".join(parts)
