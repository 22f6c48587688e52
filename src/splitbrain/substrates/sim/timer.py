"""What lies on the heap of the loop of virtual time: pending callbacks, and ties between them."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from splitbrain.env.random import Stream

__all__ = ["Entry", "SimTimer", "shuffled"]

Entry = tuple[int, int, Callable[[Any], None] | None, Any]
"""(when_ns, sequence, function of one argument, argument); for None the argument is a SimTimer."""


class SimTimer:
    """A pending callback: asyncio's Handle and TimerHandle, and a node's timer."""

    __slots__ = ("_args", "_callback", "_context", "_when_ns")

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        when_ns: int,
    ) -> None:
        self._callback: Callable[..., Any] | None = callback
        self._args = args
        self._context = context
        self._when_ns = when_ns

    def cancel(self) -> None:
        """Forget the callback; harmless when it has run."""
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        """True once cancelled."""
        return self._callback is None

    def when(self) -> float:
        """Loop time, in seconds, at which it is due."""
        return self._when_ns / 1e9


def shuffled(batch: list[Entry], stream: Stream) -> list[Entry]:
    """A random order in which entries of one lane (the first of a tuple argument) keep theirs."""
    lanes: dict[int, list[Entry]] = {}
    for entry in reversed(batch):
        lanes.setdefault(_lane(entry), []).append(entry)
    turns = [_lane(entry) for entry in batch]
    stream.shuffle(turns)
    return [lanes[lane].pop() for lane in turns]


def _lane(entry: Entry) -> int:
    argument = entry[3]
    return id(argument[0]) if type(argument) is tuple and argument else id(entry)
