"""Reading a node's clocks through its control socket, between two looks at ours."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

__all__ = ["read_clocks"]

_TRIES = 3
_TIMEOUT_S = 0.5
_QUICK_NS = 5_000_000


class Control(Protocol):
    """``Node.control``."""

    def __call__(
        self, verb: str, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> Awaitable[Mapping[str, Any]]:
        """Ask the node."""


async def read_clocks(control: Control) -> dict[str, int]:
    """The quickest of a few readings: a slow answer says little of when it was read.

    Returns:
        Fields of ``Observation``, in nanoseconds; nothing where the node does not answer.
    """
    best: dict[str, int] = {}
    shortest = 1 << 62
    for _ in range(_TRIES):
        before, wall = time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_REALTIME)
        try:
            answer = await control("clock-read", {}, timeout_s=_TIMEOUT_S)
        except (OSError, ValueError):
            break
        trip = time.monotonic_ns() - before
        if trip < shortest:
            shortest = trip
            best = {
                "base_ns": before + trip // 2,
                "base_wall_ns": wall + trip // 2,
                "monotonic_ns": int(answer["monotonic_ns"]),
                "wall_ns": int(answer["wall_ns"]),
            }
        if trip < _QUICK_NS:
            break
    return best
