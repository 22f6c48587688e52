"""``queue``: what was put in comes out, once, and in order.

Elements are unique.  An ok ``dequeue`` tells its element; an ok ``drain`` those that were left, in
order.  Anomalies:

- ``duplicate-element``: it came out twice;
- ``phantom-element``: nobody put it in, or whoever did was told that it failed;
- ``lost-element``: put in for certain and never out, although a drain after it came to its end; as many
  as there are dequeues of unknown outcome may have gone with those;
- ``out-of-order``: of two elements the one that was committed later came out first, by the commit
  timestamps that ``ext`` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.linearizable.model import show
from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["QueueChecker"]


class QueueChecker:
    """Judges queues, one a key."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Compare what went in with what came out."""
        found: list[Anomaly] = []
        totals = {"enqueued": 0, "dequeued": 0, "drained": 0, "missing": 0}
        for key, part in history.by_key().items():
            one = _Queue(key, part)
            found += [*one.duplicates, *one.phantoms(), *one.lost(), *one.disorder()]
            totals["enqueued"] += len(one.put)
            totals["dequeued"] += len(one.taken)
            totals["drained"] += len(one.out) - len(one.taken)
            totals["missing"] += len(one.missing)
        taken = totals["dequeued"] + totals["drained"]
        summary = f"{totals['enqueued']} elements in, {taken} out, each once and in order"
        return result("queue", found, totals, summary)


class _Queue:
    """One queue's history."""

    def __init__(self, key: Any, part: History) -> None:
        self.key = key
        self.put = {end.value: end for _, end in acknowledged(part, "enqueue")}
        self.maybe: set[Any] = set()
        self.unknown_takes = 0
        self.duplicates: list[Anomaly] = []
        self.out: dict[Any, Op] = {}
        self.taken: list[tuple[Any, Op]] = []
        self.drained_from = -1
        for invoke, end in part.invocations():
            if end is None or end.type == "info":
                if invoke.f == "enqueue":
                    self.maybe.add(invoke.value)
                else:
                    self.unknown_takes += 1
                    if invoke.f == "drain":
                        self.unknown_takes = len(part)
            elif end.type == "ok" and invoke.f == "dequeue":
                self.taken.append((end.value, end))
                self._came(end.value, end)
            elif end.type == "ok" and invoke.f == "drain":
                self.drained_from = invoke.index
                for element in end.value:
                    self._came(element, end)
        self.missing = [
            end
            for element, end in self.put.items()
            if element not in self.out and end.index < self.drained_from
        ]

    def _came(self, element: Any, end: Op) -> None:
        other = self.out.setdefault(element, end)
        if other is not end:
            text = f"queue {self.key}: {show(element)} came out at {when(other)} and at {when(end)}"
            self.duplicates.append(anomaly("duplicate-element", text, other, end, key=self.key))

    def phantoms(self) -> Iterator[Anomaly]:
        for element, end in self.out.items():
            if element not in self.put and element not in self.maybe:
                text = f"queue {self.key}: {show(element)} came out at {when(end)}, nobody put it in"
                yield anomaly("phantom-element", text, end, key=self.key)

    def lost(self) -> Iterator[Anomaly]:
        """More are missing than dequeues of unknown outcome can have taken."""
        if len(self.missing) > self.unknown_takes:
            for end in self.missing:
                text = (
                    f"queue {self.key}: {show(end.value)}, in since {when(end)}, never came out"
                )
                yield anomaly("lost-element", text, end, key=self.key)

    def disorder(self) -> Iterator[Anomaly]:
        timed = [
            (_commit_ts(end), _commit_ts(self.put[element]), end)
            for element, end in self.taken
            if element in self.put
        ]
        if any(not out or not into for out, into, _ in timed):
            return
        timed.sort(key=lambda each: each[:2])
        for (_, one, first), (_, other, second) in pairwise(timed):
            if other < one:
                text = (
                    f"queue {self.key}: {show(first.value)} came out before {show(second.value)}, "
                    "which was in before it"
                )
                yield anomaly("out-of-order", text, first, second, key=self.key)


def _commit_ts(end: Op) -> int:
    return int((end.ext or {}).get("commit_ts", 0))
