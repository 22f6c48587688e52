"""Looks at a running test a few times a second: crashes, overdue operations, progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from splitbrain.contracts.test import Recorder
from splitbrain.contracts.testbed import NodeCrash, Testbed
from splitbrain.harness.heal import OpenFaults
from splitbrain.harness.interpreter import Interpreter
from splitbrain.harness.workers import Worker
from splitbrain.history.op import NEMESIS, Op

__all__ = ["Progress", "Watch"]

_LOOK_S = 0.2


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How a running test stands, for a live line.

    Attributes:
        time_s: since the test began, on the substrate's clock.
        phase: start, main, heal, final.
        ops: client operations invoked; ok, fail, info: completed so.
        faults: kinds of the faults in force.
        crashes: nodes that ended by themselves.
    """

    time_s: float
    phase: str
    ops: int
    ok: int
    fail: int
    info: int
    faults: tuple[str, ...]
    crashes: int


class Watch:
    """One coroutine beside the test.

    Attributes:
        tally: client events by type.
        phase: the current one; set by the driver.
    """

    def __init__(
        self,
        testbed: Testbed,
        interpreter: Interpreter,
        workers: Mapping[int, Worker],
        failed: Callable[[BaseException], None],
        recorder: Recorder,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.tally = dict.fromkeys(("invoke", "ok", "fail", "info"), 0)
        self.phase = "start"
        self.open_faults = OpenFaults()
        self._testbed = testbed
        self._interpreter = interpreter
        self._workers = workers
        self._failed = failed
        self._recorder = recorder
        self._progress = progress
        self._told: set[tuple[str, int]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._look(), name="watch")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def count(self, op: Op) -> None:
        """One more event of the history."""
        if op.process >= 0:
            self.tally[op.type] += 1

    def crashed(self, crashes: Iterable[NodeCrash]) -> None:
        """Record crashes, each incarnation of a node once."""
        for crash in crashes:
            mark = (crash.node, crash.incarnation)
            if mark in self._told:
                continue
            self._told.add(mark)
            value = {
                "reason": crash.reason,
                "log": list(crash.log),
                "incarnation": crash.incarnation,
            }
            op = Op(process=NEMESIS, type="info", f="node-crash", node=crash.node, value=value)
            self._interpreter.note(op, self._testbed.time_ns())

    def collect_crashes(self) -> None:
        """Ask the testbed for crashes, and record them."""
        self.crashed(self._testbed.crashes())

    async def _look(self) -> None:
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                self.collect_crashes()
                self._expire()
                self._recorder.flush()
                if self._progress is not None:
                    self._progress(self._state())
        except Exception as exc:  # noqa: BLE001 - told to the driver, which ends the test
            self._failed(exc)

    def _expire(self) -> None:
        now = self._testbed.time_ns()
        for worker in self._workers.values():
            if worker.deadline_ns <= now:
                worker.expire("timeout: no answer within the harness's own limit")

    def _state(self) -> Progress:
        return Progress(
            time_s=self._testbed.time_ns() / 1e9,
            phase=self.phase,
            ops=self.tally["invoke"],
            ok=self.tally["ok"],
            fail=self.tally["fail"],
            info=self.tally["info"],
            faults=self.open_faults.names,
            crashes=len(self._told),
        )
