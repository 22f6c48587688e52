"""``register``: reads and writes of single keys; every write of a test writes another value.

Distinct values make the check linear in the number of operations (zones), so a stale read or a lost
write is found at once, however many operations crashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Stream
from splitbrain.workloads.keys import FinalReads, SlidingKeys
from splitbrain.workloads.kv_client import KvClient

__all__ = ["OPTIONS", "register"]

OPTIONS: Mapping[str, Any] = {
    "keys": 6,
    "read-share": 0.5,
    "ops-per-key-min": 100,
    "ops-per-key-max": 200,
}
"""Options and their defaults: keys in use at once, share of reads, operations a key gets."""


def register(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    reads = float(option["read-share"])

    def draw(stream: Stream, unique: int) -> tuple[str, Any]:
        return ("read", None) if stream.random() < reads else ("write", unique)

    return Workload(
        name="register",
        vocabulary="kv",
        generator=SlidingKeys(
            draw=draw,
            width=int(option["keys"]),
            least=int(option["ops-per-key-min"]),
            most=int(option["ops-per-key-max"]),
        ),
        final_generator=FinalReads(),
        client=KvClient,
        checkers={"linearizable": LinearizableChecker(make_model("register"))},
        functions=("read", "write"),
    )
