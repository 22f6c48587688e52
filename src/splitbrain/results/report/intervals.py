"""Operations as intervals of time: an invocation joined to its completion.

    interval:  process 3  |--- write x 9 ---|  ok
               process 4  |--- read x ------------------------ ...   (no completion: info)

A history cut short, or a part of one, may hold a completion without its invocation; it becomes an
interval of no length, so that nothing of the evidence is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from splitbrain.history.op import NEMESIS, Op

__all__ = ["Interval", "by_event", "intervals_of", "worker_of"]


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


def by_event(intervals: Iterable[Interval], indexes: Iterable[int]) -> list[Interval]:
    """The intervals that own those events, each once, in the order of ``indexes``."""
    wanted = dict.fromkeys(indexes)
    owners: dict[int, Interval] = {}
    for interval in intervals:
        if interval.begin.index in wanted:
            owners[interval.begin.index] = interval
        if interval.end is not None and interval.end.index in wanted:
            owners[interval.end.index] = interval
    chosen = {owners[i].begin.index: owners[i] for i in wanted if i in owners}
    return list(chosen.values())


def worker_of(process: int, concurrency: int) -> int:
    """The worker behind a process: after an info, a worker's process grows by the concurrency."""
    return process % concurrency if concurrency > 0 else process
