"""A plug-in with workloads that lose determinism, one for each way: the comparison must see it.

``innocent`` goes the same way with nothing of the kind in it: the control.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Stream
from splitbrain.workloads.keys import SlidingKeys
from splitbrain.workloads.register import register

FUNCTIONS = ("read", "write", "look", "set", "get", "put", "cas", "delete")


def _innocent() -> int:
    return 7


def _by_id() -> int:
    return id(object()) >> 12


def _by_set_order() -> int:
    return FUNCTIONS.index(next(iter(set(FUNCTIONS))))


def _by_clock() -> int:
    return time.monotonic_ns()


def _workload(salt: Callable[[], int]) -> Callable[[TestSpec], Workload]:
    """``register`` with values that look distinct enough to their author."""

    def make(spec: TestSpec) -> Workload:
        def draw(stream: Stream, unique: int) -> tuple[str, Any]:
            value = (unique << 20) + salt() % (1 << 20)
            return ("read", None) if stream.random() < 0.5 else ("write", value)

        generator = SlidingKeys(draw=draw, width=3, least=100, most=200)
        return msgspec.structs.replace(register(spec), generator=generator)

    return make


WORKLOADS = {
    "innocent": _workload(_innocent),
    "by-id": _workload(_by_id),
    "by-set-order": _workload(_by_set_order),
    "by-clock": _workload(_by_clock),
}
