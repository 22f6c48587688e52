"""``cas-register``: reads, writes and compare-and-swaps of single keys over five values.

Few values make a compare-and-swap succeed now and then; they also make the check hard, so a key gets
100 to 200 operations and is retired after 20 crashed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Stream
from splitbrain.workloads.keys import FinalReads, sliding
from splitbrain.workloads.kv_client import KvClient

__all__ = ["OPTIONS", "cas_register"]

OPTIONS: Mapping[str, Any] = {
    "keys": 6,
    "values": 5,
    "ops-per-key-min": 100,
    "ops-per-key-max": 200,
}
"""Options and their defaults."""


def cas_register(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    values = int(option["values"])

    def draw(stream: Stream, unique: int) -> tuple[str, Any]:
        f = stream.choice(("read", "write", "cas"))
        if f == "read":
            return "read", None
        if f == "write":
            return "write", stream.randrange(values)
        return "cas", [stream.randrange(values), stream.randrange(values)]

    return Workload(
        name="cas-register",
        vocabulary="kv",
        generator=sliding(draw, option),
        final_generator=FinalReads(),
        client=KvClient,
        checkers={"linearizable": LinearizableChecker(make_model("cas-register"))},
        functions=("read", "write", "cas"),
        answers=frozenset({"cas-mismatch"}),
    )
