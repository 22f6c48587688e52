"""``register``: reads and writes of single keys; every write of a test writes another value.

Distinct values make the check linear in the number of operations (zones), so a stale read or a lost
write is found at once, however many operations crashed.

What must hold is an option, for systems that do not promise linearizability:

``promise=linearizable``       each operation takes effect at one moment (the default)
``promise=bounded-staleness``  a read may see what was overwritten, but no longer than
                               ``staleness-bound`` seconds ago
``promise=eventual``           reads may be as old as they like

Under the latter two all nodes must also agree ``converge-seconds`` after the last write and the last
heal: at the end every worker, each bound to a node, reads every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.convergence import ConvergenceChecker
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.checkers.staleness import StalenessChecker
from splitbrain.checkers.verdict import Checker
from splitbrain.contracts.generator import Generator
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Stream
from splitbrain.workloads.final import FinalReadsByAll
from splitbrain.workloads.keys import FinalReads, sliding
from splitbrain.workloads.kv_client import KvClient

__all__ = ["OPTIONS", "register"]

OPTIONS: Mapping[str, Any] = {
    "keys": 6,
    "read-share": 0.5,
    "ops-per-key-min": 100,
    "ops-per-key-max": 200,
    "promise": "linearizable",
    "staleness-bound": 5.0,
    "converge-seconds": 2.0,
}
"""Options and their defaults: keys in use at once, share of reads, operations a key gets; what the
system promises, with its bound and its time to converge."""


def register(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    reads = float(option["read-share"])

    def draw(stream: Stream, unique: int) -> tuple[str, Any]:
        return ("read", None) if stream.random() < reads else ("write", unique)

    return Workload(
        name="register",
        vocabulary="kv",
        generator=sliding(draw, option),
        final_generator=_final_reads(option),
        client=KvClient,
        checkers=_checkers(option),
        functions=("read", "write"),
    )


def _final_reads(option: Mapping[str, Any]) -> Generator:
    if option["promise"] == "linearizable":
        return FinalReads()
    return FinalReadsByAll(wait_ns=int(float(option["converge-seconds"]) * 1e9))


def _checkers(option: Mapping[str, Any]) -> Mapping[str, Checker]:
    """By the promise: what is judged."""
    if option["promise"] == "linearizable":
        return {"linearizable": LinearizableChecker(make_model("register"))}
    bounded = option["promise"] == "bounded-staleness"
    return {
        "staleness": StalenessChecker(
            bound_s=float(option["staleness-bound"]) if bounded else None
        ),
        "convergence": ConvergenceChecker(settle_s=float(option["converge-seconds"])),
    }
