"""``monotonic``: a counter's values grow as its commit timestamps do, and as real time does.

Each ok ``inc`` tells the value that it left and, in ``ext``, its commit timestamp.  Anomalies:

- ``duplicate-value``: two left the same value, so that one of them is lost;
- ``value-order``: the later commit left the smaller value;
- ``value-went-back``: one that began after another had ended left a smaller value.

Where the level lets updates be lost, all three are lawful: counted, and never anomalies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["MonotonicChecker"]

Done = tuple[Op, Op]


class MonotonicChecker:
    """Judges counters.

    Args:
        lawful: whether the level lets updates be lost.
    """

    def __init__(self, *, lawful: bool = False) -> None:
        self.lawful = lawful

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Compare the values with both orders."""
        counters: dict[Any, list[Done]] = {}
        for invoke, end in acknowledged(history, "inc"):
            counters.setdefault(invoke.key, []).append((invoke, end))
        found = [
            bad
            for key, done in counters.items()
            for bad in (*_duplicates(key, done), *_by_commit(key, done), *_by_time(key, done))
        ]
        count = sum(map(len, counters.values()))
        stats = {"counters": len(counters), "increments": count, "wrong": len(found)}
        summary = f"{count} increments of {len(counters)} counters in order"
        if self.lawful and found:
            stats["lawful"] = len(found)
            summary = f"{len(found)} of {count} increments out of order, which the level allows"
            found = []
        return result("monotonic", found, stats, summary)


def _duplicates(key: Any, done: list[Done]) -> Iterator[Anomaly]:
    first: dict[int, Op] = {}
    for _, end in done:
        other = first.setdefault(end.value, end)
        if other is not end:
            text = (
                f"counter {key}: process {other.process} at {when(other)} and process "
                f"{end.process} at {when(end)} both left {end.value}"
            )
            yield anomaly("duplicate-value", text, other, end, key=key)


def _by_commit(key: Any, done: list[Done]) -> Iterator[Anomaly]:
    timed = [(end.ext["commit_ts"], end) for _, end in done if (end.ext or {}).get("commit_ts")]  # type: ignore[index]
    timed.sort(key=lambda pair: (pair[0], pair[1].index))
    for (early, one), (late, other) in pairwise(timed):
        if other.value < one.value:
            text = (
                f"counter {key}: the commit at {early} left {one.value}, that at {late} only "
                f"{other.value}"
            )
            yield anomaly("value-order", text, one, other, key=key)


def _by_time(key: Any, done: list[Done]) -> Iterator[Anomaly]:
    events = sorted(
        [(invoke.index, 0, end) for invoke, end in done]
        + [(end.index, 1, end) for _, end in done],
        key=lambda event: event[0],
    )
    highest: Op | None = None
    for _, ended, end in events:
        if ended:
            highest = end if highest is None or end.value > highest.value else highest
        elif highest is not None and end.value < highest.value:
            text = (
                f"counter {key}: process {highest.process} had left {highest.value} by "
                f"{when(highest)}, and process {end.process}, which began later, left {end.value}"
            )
            yield anomaly("value-went-back", text, highest, end, key=key)
