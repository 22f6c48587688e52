"""``set``: did every element that was added stay, and was it there once, for every read to see?

Elements are added, never removed, and a read returns all of them.  An element is *known* from the
event on that first shows it to be in: the ok of its add, or the end of a read that saw it.  From then
on every read that begins should see it.  What became of it:

===============  ===============================================================================
``stable``       the latest-begun read that did not see it began before the latest that did
``stale``        stable, but a read that began after it was known did not see it
``lost``         known, and not seen by a read that began after that, nor by any begun later
``never-read``   neither: no read tells of it
===============  ===============================================================================

and of reads:

===================  ===========================================================================
``lost-element``     an element is lost
``stale-element``    an element is stale; an anomaly where the set must be linearizable
``duplicate-element``  a read holds an element more often than it was added
``phantom-element``  a read holds an element that nobody had tried to add by then, or whose every
                     add had certainly failed
===================  ===========================================================================

These are the outcomes of Jepsen's set-full (a read that overlaps an add counts for ``stable`` as it
does there), with two differences: an element is stale however short the time, which Jepsen rounds to
milliseconds; and phantoms are looked for.  Where the set must be linearizable, stale elements are the
part of it that is decided; that two reads saw two overlapping adds in opposite orders is not.

Several sets, by key, are judged each for itself and counted together.  No element stable and none
lost is no test: unknown, ``vacuous``.
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
from splitbrain.checkers.set_elements import NEVER, Extra, Read, Seen, look_up
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result, Verdict
from splitbrain.history.history import History

__all__ = ["QUANTILES", "SetFullChecker"]

ANOMALIES_MAX: Final = 20
LISTED_MAX: Final = 100
WORST_MAX: Final = 8
QUANTILES: Final = (0.0, 0.5, 0.95, 0.99, 1.0)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class _Outcome(msgspec.Struct, frozen=True, eq=False):
    """What became of each element of one set, in arrays by element."""

    key: Any
    seen: Seen
    stable: Bools
    lost: Bools
    stale: Bools
    stable_ns: Ints
    lost_ns: Ints

    def numbers(self, which: Bools, by: Ints) -> list[int]:
        """Elements for which it is true, the greatest of ``by`` first."""
        chosen = np.flatnonzero(which)
        return [int(n) for n in chosen[np.argsort(-by[chosen], kind="stable")]]


class SetFullChecker:
    """Judges histories of ``add`` and ``read``.

    Args:
        linearizable: whether a stale element is an anomaly.

    The option ``linearizable`` of ``check``, if given, goes before it.  ``stats`` holds counts and
    the first elements of each outcome, ``worst_stale``, and quantiles of latencies in seconds: from
    an element's being known to the last read that missed it (stable), or from then to the last that
    saw it (lost).
    """

    def __init__(self, *, linearizable: bool = False) -> None:
        self.linearizable = linearizable

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Judge the client operations of ``history``."""
        linearizable = bool(options.get("linearizable", self.linearizable))
        outcomes: list[_Outcome] = []
        undecided: list[str] = []
        for key, part in history.by_key().items():
            seen = look_up(part, budget)
            if seen.complete:
                outcomes.append(_outcome(key, seen, history))
            else:
                undecided.append("the set" if key is None else f"key {show(key)}")
        stats = _stats(outcomes)
        anomalies = tuple(_anomalies(outcomes, linearizable=linearizable))
        verdict, reason, summary = _judged(stats, undecided, linearizable=linearizable)
        return Result(
            verdict=verdict,
            summary=summary if not anomalies else f"{anomalies[0].explanation}; {summary}",
            reason=reason,
            anomalies=anomalies,
            stats=stats,
            kernel="set-full",
            assumed=("a stale element breaks the promise",) if linearizable else (),
            undecided=tuple(undecided),
        )


def _outcome(key: Any, seen: Seen, history: History) -> _Outcome:
    present, absent = seen.last_present, seen.last_absent
    is_known = seen.known < NEVER
    # A read of number -1 is none; the sentinel makes it begin before everything.
    begun = np.append(seen.begun, -1)
    missed_later = is_known & (absent >= 0) & (begun[absent] > seen.known)
    stable = (present >= 0) & (absent < present)
    lost = missed_later & (present < absent)
    known_ns = np.array(
        [history.at(int(i)).time_ns if i < NEVER else 0 for i in seen.known], dtype=np.int64
    )
    begun_ns = np.array([read.invoke.time_ns for read in seen.reads] + [0], dtype=np.int64)
    after_absent = np.where(absent >= 0, begun_ns[absent] + 1, 0)
    after_present = np.where(present >= 0, begun_ns[present] + 1, 0)
    return _Outcome(
        key=key,
        seen=seen,
        stable=stable,
        lost=lost,
        stale=stable & missed_later,
        stable_ns=np.where(stable, np.maximum(0, after_absent - known_ns), 0),
        lost_ns=np.where(lost, np.maximum(0, after_present - known_ns), 0),
    )


def _judged(
    stats: Mapping[str, Any], undecided: Sequence[str], *, linearizable: bool
) -> tuple[Verdict, str | None, str]:
    counts = (
        f"{stats['attempt_count']} elements: {stats['stable_count']} stable, "
        f"{stats['stale_count']} of them stale for a while, {stats['lost_count']} lost, "
        f"{stats['never_read_count']} never read; {stats['duplicated_count']} duplicated, "
        f"{stats['phantom_count']} phantoms"
    )
    bad = stats["lost_count"] + stats["duplicated_count"] + stats["phantom_count"]
    if bad or (linearizable and stats["stale_count"]):
        return INVALID, None, counts
    if undecided:
        return UNKNOWN, "budget", f"undecided within the budget: {', '.join(undecided[:5])}"
    if not stats["stable_count"]:
        return UNKNOWN, "vacuous", f"no element was seen to stay; {counts}"
    return VALID, None, counts


# --- figures ----------------------------------------------------------------------------------


def _stats(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    def named(which: str, by: str = "stable_ns") -> list[Any]:
        found: list[Any] = []
        for one in outcomes:
            numbers = one.numbers(getattr(one, which), getattr(one, by))
            found += [one.seen.elements[n] for n in numbers[:LISTED_MAX]]
        return found[:LISTED_MAX]

    def total(which: str) -> int:
        return sum(int(getattr(one, which).sum()) for one in outcomes)

    attempts = sum(len(one.seen.elements) for one in outcomes)
    never = [
        one.seen.elements[int(n)]
        for one in outcomes
        for n in np.flatnonzero(~(one.stable | one.lost))[:LISTED_MAX]
    ]
    duplicated = [extra for one in outcomes for extra in one.seen.duplicated]
    phantoms = [extra for one in outcomes for extra in one.seen.phantoms]
    return {
        "attempt_count": attempts,
        "acknowledged_count": sum(
            any(a.acknowledged for a in some) for one in outcomes for some in one.seen.attempts
        ),
        "stable_count": total("stable"),
        "lost_count": total("lost"),
        "lost": named("lost", "lost_ns"),
        "never_read_count": attempts - total("stable") - total("lost"),
        "never_read": never[:LISTED_MAX],
        "stale_count": total("stale"),
        "stale": named("stale"),
        "worst_stale": _worst(outcomes),
        "duplicated_count": len(duplicated),
        "duplicated": [[extra.element, extra.count] for extra in duplicated[:LISTED_MAX]],
        "phantom_count": len(phantoms),
        "phantoms": [extra.element for extra in phantoms[:LISTED_MAX]],
        "read_count": sum(len(one.seen.reads) for one in outcomes),
        "stable_latencies_s": _quantiles(one.stable_ns[one.stable] for one in outcomes),
        "lost_latencies_s": _quantiles(one.lost_ns[one.lost] for one in outcomes),
    }


def _worst(outcomes: Sequence[_Outcome]) -> list[dict[str, Any]]:
    rows = [
        {
            "element": one.seen.elements[n],
            "key": one.key,
            "latency_s": round(int(one.stable_ns[n]) / 1e9, 6),
        }
        for one in outcomes
        for n in one.numbers(one.stale, one.stable_ns)[:WORST_MAX]
    ]
    return sorted(rows, key=lambda row: -row["latency_s"])[:WORST_MAX]


def _quantiles(parts: Iterable[Ints]) -> dict[str, float] | None:
    every = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
    if not len(every):
        return None
    places = {q: min(len(every) - 1, int(len(every) * q)) for q in QUANTILES}
    return {f"{q:g}": round(int(every[place]) / 1e9, 6) for q, place in places.items()}


# --- evidence ---------------------------------------------------------------------------------


def _anomalies(outcomes: Sequence[_Outcome], *, linearizable: bool) -> Iterable[Anomaly]:
    for one in outcomes:
        for number in one.numbers(one.lost, -one.seen.known)[:ANOMALIES_MAX]:
            yield _lost(one, number)
    for one in outcomes:
        yield from (_duplicate(one.key, extra) for extra in one.seen.duplicated[:ANOMALIES_MAX])
        yield from (_phantom(one.key, extra) for extra in one.seen.phantoms[:ANOMALIES_MAX])
    for one in outcomes if linearizable else ():
        for number in one.numbers(one.stale, one.stable_ns)[:ANOMALIES_MAX]:
            yield _stale(one, number)


def _anomaly(kind: str, key: Any, text: str, ops: Iterable[int], culprit: int) -> Anomaly:
    about = "" if key is None else f"key {show(key)}: "
    return Anomaly(
        kind=kind,
        explanation=about + text,
        ops=tuple(sorted(set(ops))),
        key=key,
        picture={"op": culprit},
    )


def _became_known(one: _Outcome, number: int) -> tuple[str, list[int]]:
    """How an element came to be known, in words, and the events that tell."""
    seen = one.seen
    shown = show(seen.elements[number])
    for attempt in seen.attempts[number]:
        end = attempt.completion
        if attempt.acknowledged and end is not None and end.index == seen.known[number]:
            text = (
                f"the add of {shown} by process {attempt.invoke.process} was acknowledged at "
                f"{when(end)}"
            )
            return text, [attempt.invoke.index, end.index]
    first = seen.reads[int(seen.first_seen[number])]
    text = (
        f"{shown} was seen by process {first.invoke.process}, whose read ended at "
        f"{when(first.completion)}"
    )
    return text, [seen.attempts[number][0].invoke.index, *_events(first)]


def _lost(one: _Outcome, number: int) -> Anomaly:
    seen = one.seen
    told, ops = _became_known(one, number)
    present = int(seen.last_present[number])
    after = int(np.searchsorted(seen.begun, seen.known[number], side="right"))
    first = max(present + 1, after)
    missing = seen.reads[first]
    later = len(seen.reads) - first - 1
    text = (
        f"{told}, yet the read by process {missing.invoke.process}, which began later at "
        f"{when(missing.invoke)}, did not find it, "
        f"{_and_later(later)}"
    )
    if present >= 0:
        last = seen.reads[present]
        text += f"; last seen by process {last.invoke.process} at {when(last.completion)}"
        ops += _events(last)
    last_events = _events(seen.reads[int(seen.last_absent[number])])
    ops += [*_events(missing), *last_events]
    return _anomaly("lost-element", one.key, text, ops, missing.completion.index)


def _and_later(reads: int) -> str:
    if reads < 2:
        return "nor did the one read after it" if reads else "and no read is later"
    return f"nor did any of the {reads} reads after it"


def _stale(one: _Outcome, number: int) -> Anomaly:
    seen = one.seen
    told, ops = _became_known(one, number)
    missing = seen.reads[int(seen.last_absent[number])]
    # Every read begun after the last that missed it saw it.
    again = seen.reads[int(seen.last_absent[number]) + 1]
    text = (
        f"{told}, yet the read by process {missing.invoke.process}, which began later at "
        f"{when(missing.invoke)}, did not find it; the read by process {again.invoke.process} "
        f"that began at {when(again.invoke)} did"
    )
    ops += [*_events(missing), *_events(again)]
    return _anomaly("stale-element", one.key, text, ops, missing.completion.index)


def _duplicate(key: Any, extra: Extra) -> Anomaly:
    read, tried = extra.read, len(extra.attempts)
    times = "once" if tried == 1 else f"{tried} times"
    text = (
        f"the read by process {read.invoke.process} at {when(read.completion)} holds "
        f"{show(extra.element)} {extra.count} times, though its add was tried {times}"
    )
    return _anomaly(
        "duplicate-element", key, text, [*_tried(extra), *_events(read)], read.completion.index
    )


def _phantom(key: Any, extra: Extra) -> Anomaly:
    read = extra.read
    text = (
        f"the read by process {read.invoke.process} at {when(read.completion)} holds "
        f"{show(extra.element)}, {_why_phantom(extra)}"
    )
    return _anomaly(
        "phantom-element", key, text, [*_tried(extra), *_events(read)], read.completion.index
    )


def _why_phantom(extra: Extra) -> str:
    if not extra.attempts:
        return "which nobody ever tried to add"
    first = extra.attempts[0]
    if first.invoke.index > extra.read.completion.index:
        return f"whose add began only later, at {when(first.invoke)}"
    end = first.completion
    error = "" if end is None or not end.error else f" ({end.error})"
    more = "" if len(extra.attempts) == 1 else f", as did all {len(extra.attempts)} by then"
    at = "" if end is None else f" at {when(end)}"
    return f"whose add by process {first.invoke.process} certainly failed{at}{error}{more}"


def _tried(extra: Extra) -> list[int]:
    ends = [a.completion.index for a in extra.attempts[:5] if a.completion is not None]
    return [*(a.invoke.index for a in extra.attempts[:5]), *ends]


def _events(read: Read) -> list[int]:
    return [read.invoke.index, read.completion.index]
