"""How old was what reads saw?  For systems that promise less than linearizability.

Of registers whose writes have distinct values.  A value is *certainly overwritten* at the first
moment by which some write that began after it had taken effect has itself taken effect:

    write 1  |----|
    write 2          |----|                      2 follows 1 whatever the order; 1 is overwritten
    read                       |--| 1            here, and this read is stale by the gap between

A write has taken effect by its acknowledgement, or by the end of a read that saw it, whichever is
sooner; so a write of unknown outcome counts once it was seen, and a failed one never.  The initial
value (null) took effect before everything; a ``delete`` is no function here.

A read is **stale** if what it saw had been certainly overwritten before it began, and its age is the
time between.  The age is a lower bound: the true one may be greater, never smaller.

With a bound, a read older than it is an anomaly, ``stale-beyond-bound``.  Under any promise a value
that nobody can have written by the end of the read, or whose every write certainly failed, is one:
``phantom-value``.  A value written more than once is not judged (``ambiguous``).

``stats``: reads, stale, stale_share, ambiguous, bound_s, beyond_bound, worst_s, ages_s (quantiles of
the ages of stale reads), nodes (for each the reads, the stale ones and the worst age).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.linearizable.model import show
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result
from splitbrain.errors import RequestError
from splitbrain.history.history import History, freeze
from splitbrain.history.op import Op

__all__ = ["StaleRead", "StalenessChecker", "stale_reads"]

ANOMALIES_MAX: Final = 20
QUANTILES: Final = (0.5, 0.95, 0.99, 1.0)
NEVER: Final = 1 << 62
BEFORE_ALL: Final = -1

Ints = npt.NDArray[np.int64]


class StaleRead(msgspec.Struct, frozen=True):
    """A read of what had been overwritten.

    Attributes:
        invoke: of the read; ``end`` its completion.
        newer: the write that had certainly overwritten what it saw.
        since: the event by which that one had taken effect.
        age_ns: from then to the read's invocation.
    """

    key: Any
    invoke: Op
    end: Op
    newer: Op
    since: Op

    @property
    def age_ns(self) -> int:
        """How long it had been overwritten when the read began."""
        return max(0, self.invoke.time_ns - self.since.time_ns)


class _Found(msgspec.Struct):
    """What one key's history holds."""

    reads: list[tuple[Op, Op]] = []
    stale: list[StaleRead] = []
    phantoms: list[tuple[Any, Op, Op, tuple[Op, ...]]] = []
    ambiguous: int = 0


class _Write(msgspec.Struct):
    """A value that was written, and when it had taken effect at the latest.

    Attributes:
        invoke: of its only attempt that may have happened.
        known: index of the event by which it had taken effect; NEVER if nothing shows that it did.
    """

    invoke: Op
    known: int


class StalenessChecker:
    """Measures staleness, and judges it against a bound.

    Args:
        bound_s: greatest allowed age of a stale read in seconds; None allows any.

    The option ``staleness-bound`` of ``check``, if given, goes before it.
    """

    def __init__(self, *, bound_s: float | None = None) -> None:
        self.bound_s = bound_s

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Judge the reads of every key."""
        bound = options.get("staleness-bound", self.bound_s)
        bound_ns = None if bound is None else int(float(bound) * 1e9)
        whole = _Found()
        for key, part in history.by_key().items():
            if budget.exceeded():
                return _undecided(key)
            _gather(whole, _of_key(key, part, history))
        beyond = [one for one in whole.stale if bound_ns is not None and one.age_ns > bound_ns]
        beyond.sort(key=lambda one: -one.age_ns)
        stats = _stats(whole, bound, len(beyond))
        anomalies = (
            *(_phantom(*one) for one in whole.phantoms[:ANOMALIES_MAX]),
            *(_beyond(one, bound) for one in beyond[:ANOMALIES_MAX]),
        )
        told = _summary(stats)
        return Result(
            verdict=INVALID if anomalies else VALID,
            summary=f"{anomalies[0].explanation}; {told}" if anomalies else told,
            anomalies=anomalies,
            stats=stats,
            kernel="staleness",
            assumed=("each write of a key writes another value",),
        )


def stale_reads(key: Any, part: History, history: History) -> Sequence[StaleRead]:
    """The stale reads of one key's part of a history, by invocation."""
    return _of_key(key, part, history).stale


def _of_key(key: Any, part: History, history: History) -> _Found:
    found = _Found(reads=[], stale=[], phantoms=[])
    attempts: dict[Any, list[tuple[Op, Op | None]]] = {}
    for invoke, completion in part.invocations():
        if invoke.f == "write":
            attempts.setdefault(freeze(invoke.value), []).append((invoke, completion))
        elif invoke.f != "read":
            raise RequestError(
                f"event {invoke.index}: staleness is measured of reads and writes, not of "
                f"{invoke.f!r}"
            )
        elif completion is not None and completion.type == "ok":
            found.reads.append((invoke, completion))
    writes, twice = _writes(attempts)
    _note_seen(found.reads, writes)
    overwritten = _overwritten(writes)
    for invoke, end in found.reads:
        value = freeze(end.value)
        if value in twice:
            found.ambiguous += 1
        elif value is not None and not _possible(writes.get(value), end):
            tried = tuple(attempt for attempt, _ in attempts.get(value, ()))
            found.phantoms.append((key, invoke, end, tried))
        else:
            newer = overwritten.get(value)
            if newer is not None and newer.known < invoke.index:
                since = history.at(newer.known)
                found.stale.append(StaleRead(key, invoke, end, newer.invoke, since))
    return found


def _writes(
    attempts: Mapping[Any, Sequence[tuple[Op, Op | None]]],
) -> tuple[dict[Any, _Write], set[Any]]:
    """Values whose one attempt may have happened, and values that have several such."""
    writes: dict[Any, _Write] = {}
    twice: set[Any] = set()
    for value, tried in attempts.items():
        possible = [pair for pair in tried if pair[1] is None or pair[1].type != "fail"]
        if len(possible) > 1 or (value is None and possible):
            twice.add(value)
        elif possible:
            invoke, end = possible[0]
            known = end.index if end is not None and end.type == "ok" else NEVER
            writes[value] = _Write(invoke, known)
    return writes, twice


def _possible(write: _Write | None, end: Op) -> bool:
    return write is not None and write.invoke.index < end.index


def _note_seen(reads: Iterable[tuple[Op, Op]], writes: Mapping[Any, _Write]) -> None:
    """A read that saw a value shows that its write had taken effect."""
    for _, end in reads:
        write = writes.get(freeze(end.value))
        if write is not None and write.invoke.index < end.index:
            write.known = min(write.known, end.index)


def _overwritten(writes: Mapping[Any, _Write]) -> dict[Any, _Write]:
    """For each value, and the initial one, the write that certainly overwrote it first."""
    ordered = sorted(writes.items(), key=lambda item: item[1].invoke.index)
    if not ordered:
        return {}
    begun: Ints = np.array([write.invoke.index for _, write in ordered], dtype=np.int64)
    known: Ints = np.array([write.known for _, write in ordered], dtype=np.int64)
    # Of the writes from each place on, the one that had taken effect first.
    earliest = np.minimum.accumulate(known[::-1])[::-1]
    by_known = {write.known: write for _, write in ordered if write.known < NEVER}
    effective: Ints = np.array([BEFORE_ALL, *known], dtype=np.int64)
    places = np.searchsorted(begun, effective, side="right")
    found: dict[Any, _Write] = {}
    for value, place in zip([None, *(value for value, _ in ordered)], places, strict=True):
        if place < len(ordered) and int(earliest[place]) in by_known:
            found[value] = by_known[int(earliest[place])]
    return found


def _gather(whole: _Found, part: _Found) -> None:
    whole.reads += part.reads
    whole.stale += part.stale
    whole.phantoms += part.phantoms
    whole.ambiguous += part.ambiguous


# --- figures and evidence -------------------------------------------------------------------------


def _undecided(key: Any) -> Result:
    return Result(
        verdict=UNKNOWN,
        summary="undecided within the budget",
        reason="budget",
        undecided=(f"from key {show(key)} on",),
    )


def _stats(found: _Found, bound: Any, beyond: int) -> dict[str, Any]:
    reads, stale = len(found.reads), len(found.stale)
    ages = sorted(one.age_ns for one in found.stale)
    nodes: dict[str, dict[str, Any]] = {}
    for invoke, _ in found.reads:
        fresh = {"reads": 0, "stale": 0, "worst_s": 0.0}
        nodes.setdefault(invoke.node or "", fresh)["reads"] += 1
    for one in found.stale:
        row = nodes[one.invoke.node or ""]
        row["stale"] += 1
        row["worst_s"] = max(row["worst_s"], round(one.age_ns / 1e9, 6))
    return {
        "reads": reads,
        "stale": stale,
        "stale_share": round(stale / reads, 6) if reads else None,
        "ambiguous": found.ambiguous,
        "phantoms": len(found.phantoms),
        "bound_s": bound,
        "beyond_bound": beyond,
        "worst_s": round(ages[-1] / 1e9, 6) if ages else 0.0,
        "ages_s": {
            f"{q:g}": round(ages[min(stale - 1, int(stale * q))] / 1e9, 6) for q in QUANTILES
        }
        if ages
        else None,
        "nodes": {name: nodes[name] for name in sorted(nodes)},
    }


def _summary(stats: Mapping[str, Any]) -> str:
    if not stats["stale"]:
        return f"none of {stats['reads']} reads was stale"
    return (
        f"{stats['stale']} of {stats['reads']} reads were stale, by at most "
        f"{stats['worst_s']:.3f} s"
    )


def _about(key: Any) -> str:
    return "" if key is None else f"key {show(key)}: "


def _beyond(one: StaleRead, bound: Any) -> Anomaly:
    text = (
        f"the read by process {one.invoke.process} at {when(one.invoke)} saw "
        f"{show(freeze(one.end.value))}, which {show(freeze(one.newer.value))}, written by process "
        f"{one.newer.process}, had overwritten by {when(one.since)}: {one.age_ns / 1e9:.3f} s before, "
        f"{float(bound):g} s are allowed"
    )
    ops = {one.newer.index, one.since.index, one.invoke.index, one.end.index}
    return Anomaly(
        kind="stale-beyond-bound",
        explanation=_about(one.key) + text,
        ops=tuple(sorted(ops)),
        key=one.key,
        picture={"op": one.end.index},
    )


def _phantom(key: Any, invoke: Op, end: Op, tried: Sequence[Op]) -> Anomaly:
    why = "which nobody ever tried to write"
    if tried:
        later = tried[0].index > end.index
        why = (
            "whose write began only later"
            if later
            else "whose every write had certainly failed"
        )
    text = f"the read by process {invoke.process} at {when(end)} saw {show(freeze(end.value))}, {why}"
    return Anomaly(
        kind="phantom-value",
        explanation=_about(key) + text,
        ops=tuple(sorted({invoke.index, end.index, *(op.index for op in tried[:5])})),
        key=key,
        picture={"op": end.index},
    )
