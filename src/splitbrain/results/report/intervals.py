"""Operations as intervals of time: an invocation joined to its completion.

    interval:  process 3  |--- write x 9 ---|  ok
               process 4  |--- read x ------------------------ ...   (no completion: info)

A history cut short, or a part of one, may hold a completion without its invocation; it becomes an
interval of no length, so that nothing of the evidence is lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from splitbrain.history.op import NEMESIS, Op

__all__ = [
    "Interval",
    "intervals_of",
    "lanes_of",
    "owned",
    "owners_of",
    "worker_of",
]


class Interval(msgspec.Struct, frozen=True, gc=False):
    """One operation.

    Attributes:
        begin: its invocation.
        end: its completion; None if it has none.
    """

    begin: Op
    end: Op | None

    @property
    def outcome(self) -> str:
        """ok, fail or info; an operation without completion is info."""
        return self.end.type if self.end is not None else "info"

    @property
    def start_ns(self) -> int:
        """When it was invoked."""
        return self.begin.time_ns

    def until_ns(self, horizon_ns: int) -> int:
        """When it was completed; ``horizon_ns`` if it never was."""
        return self.end.time_ns if self.end is not None else max(horizon_ns, self.begin.time_ns)

    def could_act_until_ns(self, horizon_ns: int) -> int:
        """Until when it may take effect: an info does so for ever."""
        return horizon_ns if self.outcome == "info" else self.until_ns(horizon_ns)

    @property
    def key(self) -> Any:
        """Its object: the invocation's, or the completion's where only that names one."""
        return self.begin.key if self.begin.key is not None or not self.end else self.end.key

    @property
    def node(self) -> str | None:
        """The node that it was sent to."""
        return self.begin.node or (self.end.node if self.end else None)


def intervals_of(history: Iterable[Op]) -> list[Interval]:
    """Every client operation in order of invocation."""
    found: list[Interval | None] = []
    waiting: dict[int, tuple[int, Op]] = {}
    for op in history:
        process = op.process
        if process == NEMESIS:
            continue
        if op.type == "invoke":
            left = waiting.pop(process, None)
            if left is not None:  # a broken history; keep both
                found[left[0]] = Interval(left[1], None)
            waiting[process] = (len(found), op)
            found.append(None)
            continue
        begun = waiting.pop(process, None)
        if begun is None:
            found.append(Interval(op, op))
        else:
            found[begun[0]] = Interval(begun[1], op)
    for place, op in waiting.values():
        found[place] = Interval(op, None)
    return [interval for interval in found if interval is not None]


def owners_of(intervals: Iterable[Interval], events: Iterable[int]) -> dict[int, Interval]:
    """For each of those events the interval that it begins or ends."""
    wanted = set(events)
    owners: dict[int, Interval] = {}
    for interval in intervals if wanted else ():
        if interval.begin.index in wanted:
            owners[interval.begin.index] = interval
        if interval.end is not None and interval.end.index in wanted:
            owners[interval.end.index] = interval
    return owners


def owned(owners: Mapping[int, Interval], events: Iterable[int]) -> list[Interval]:
    """The intervals that own those events, each once, in the order of ``events``."""
    chosen = {owners[i].begin.index: owners[i] for i in events if i in owners}
    return list(chosen.values())


def worker_of(process: int, concurrency: int) -> int:
    """The worker behind a process: after an info, a worker's process grows by the concurrency."""
    return process % concurrency if concurrency > 0 else process


def lanes_of(spans: Mapping[int, tuple[int, int]], concurrency: int) -> dict[int, int]:
    """The row of each process in a timeline: its worker, where the number of workers is known.

    Else processes share a row when one begins after the other has ended, so that a history full of
    crashed processes still fits a page.  ``spans``: process -> when it began and ended.
    """
    if concurrency > 0:
        return {process: worker_of(process, concurrency) for process in spans}
    rows: dict[int, int] = {}
    free: list[tuple[int, int]] = []
    for process, (first_ns, last_ns) in sorted(
        spans.items(), key=lambda item: (item[1], item[0])
    ):
        if free and free[0][0] < first_ns:
            row = heapq.heapreplace(free, (last_ns, free[0][1]))[1]
        else:
            row = len(free)
            heapq.heappush(free, (last_ns, row))
        rows[process] = row
    return rows
