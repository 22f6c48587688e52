"""How many operations a second the harness itself can do: generator, interpreter, workers, recording.

The client does nothing and the clock is real; each operation's invocation and completion are both
written as JSON lines.  Figures are printed, never asserted.

    python benchmarks/harness.py [--seconds 5] [--concurrency 10 100]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.test import Test
from splitbrain.contracts.testbed import Site
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Random
from splitbrain.harness.driver import run_test
from splitbrain.harness.generator import concurrent_keys, limit, mix
from splitbrain.history.jsonl import JsonlWriter
from splitbrain.history.op import Op


class Nothing:
    """A client, a system, a testbed and a substrate that do nothing, at once."""

    name = "nothing"
    nodes: dict[str, Any] = {}  # noqa: RUF012
    fault_model: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.net = self
        self._start = time.monotonic_ns()

    async def open(self, *_: Any) -> Nothing:
        return self

    async def start(self, *_: Any) -> Nothing:
        return self

    async def nothing(self, *_: Any) -> None:
        return None

    setup = teardown = close = ready = heal = stop = nothing

    async def invoke(self, op: Op) -> Op:
        return Op(process=op.process, type="ok", f=op.f, key=op.key, value=op.value)

    async def kv(self, node: str) -> Nothing:
        return self

    async def probes(self) -> dict[str, int]:
        return {}

    def election_timeout_s(self, spec: TestSpec) -> float:
        return 1.0

    def crashes(self) -> tuple[()]:
        return ()

    def time_ns(self) -> int:
        return time.monotonic_ns() - self._start


class Lines:
    """A recorder that writes the history to a file."""

    def __init__(self, path: Path) -> None:
        self._writer = JsonlWriter(path)
        self.op = self._writer.write
        self.flush = self._writer.flush

    def fault(self, fault: Any) -> None:
        pass

    def event(self, event: Any) -> None:
        pass


def simple() -> Any:
    """Reads and writes of one register."""
    return mix(lambda: {"f": "read", "key": 0}, lambda: {"f": "write", "key": 0, "value": 7})


def keyed(concurrency: int) -> Any:
    """200 operations a key, several keys at once."""
    per_key = 5 if concurrency % 5 == 0 else concurrency
    keys = iter(range(10**9))
    return concurrent_keys(per_key, keys, lambda key: limit(200, simple()))


def sliding() -> Any:
    """What the workload register does: a window of six keys."""
    from splitbrain.workloads.keys import SlidingKeys

    def draw(stream: Any, unique: int) -> tuple[str, Any]:
        return ("read", None) if stream.random() < 0.5 else ("write", unique)

    return SlidingKeys(draw=draw, width=6)


def measure(generator: Any, concurrency: int, seconds: float, path: Path) -> tuple[int, float]:
    spec = TestSpec(
        workload="nothing",
        concurrency=concurrency,
        rate_hz=0.0,
        time_limit_s=seconds,
    )
    nothing: Any = Nothing()
    workload = Workload(
        name="nothing",
        vocabulary="kv",
        generator=generator,
        client=lambda kv: nothing,
        checkers={},
        functions=(),
    )
    test = Test(
        spec=spec,
        workload=workload,
        system=nothing,
        substrate=nothing,
        packages=lambda world: (),
    )
    site = Site(
        spec=spec,
        directory=None,
        label="benchmark",
        random=Random(1),
        journal=NullJournal(),
        events=lambda event: None,
    )
    outcome = asyncio.run(run_test(test, site, Lines(path)))
    return outcome.ops, outcome.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[10, 100])
    options = parser.parse_args()
    for concurrency in options.concurrency:
        cases = {"mix": simple(), "concurrent_keys": keyed(concurrency), "register": sliding()}
        for name, generator in cases.items():
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "history.jsonl"
                cpu = time.process_time()
                ops, seconds = measure(generator, concurrency, options.seconds, path)
                cpu = time.process_time() - cpu
                lines = path.read_bytes().count(b"\n")
            print(
                f"{name:16} concurrency {concurrency:4}: {ops / seconds:9,.0f} operations/s, "
                f"{ops / cpu:9,.0f} per second of CPU "
                f"({ops} operations, {lines} lines, {seconds:.1f} s)"
            )


if __name__ == "__main__":
    main()
