"""What a test stands on: the testbed, the running system, clients, nemeses; set up and cleared away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from splitbrain.contracts.nemesis import FaultPackage, Nemesis
from splitbrain.contracts.system import RunningSystem
from splitbrain.contracts.test import Recorder, Test, World
from splitbrain.contracts.testbed import Site, Testbed
from splitbrain.errors import CannotError, HarnessError, NodeFailed, SplitbrainError
from splitbrain.harness.compose import ComposedNemesis
from splitbrain.harness.heal import make_whole
from splitbrain.harness.recast import FollowLeader
from splitbrain.harness.workers import ClientWorker, Finished, NemesisWorker, Worker, one_line
from splitbrain.history.op import NEMESIS

__all__ = ["Interrupted", "Stage"]

T = TypeVar("T")

_READY_S = 60.0
_RECOVERY_S = 30.0
_NEMESIS_S = 120.0
_STEP_S = 15.0


class Interrupted(Exception):
    """The test was stopped before it began."""


class LoopPacer:
    """Time as clients see it, on the loop that the test runs on."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed

    def monotonic_ns(self) -> int:
        """The testbed's clock."""
        return self._testbed.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Stage:
    """Opened before the first operation, closed after the last.

    Attributes:
        op_limit_ns: after which the harness itself ends a client's operation as info.
        nemesis_limit_ns: the same for the nemesis.
        recovery_s: longest wait for a success of each worker after the last heal.
    """

    testbed: Testbed
    running: RunningSystem
    nemesis: Nemesis
    packages: tuple[FaultPackage, ...]

    def __init__(self, test: Test, site: Site, recorder: Recorder) -> None:
        self.test = test
        self.site = site
        self._recorder = recorder
        spec = test.spec
        election_s = test.system.election_timeout_s(spec)
        op_timeout_s = float(spec.options.get("op-timeout", 2.0 * election_s))
        self.op_limit_ns = round((3.0 * op_timeout_s + 5.0) * 1e9)
        self.nemesis_limit_ns = round(_NEMESIS_S * 1e9)
        self.recovery_s = float(spec.options.get("recovery-seconds", _RECOVERY_S))
        self._election_s = election_s
        self._opened = self._started = False
        self._nemesis_ready = False
        self._clients: list[ClientWorker] = []

    def seconds(self) -> float:
        """How long the test has lasted."""
        return self.testbed.time_ns() / 1e9 if self._opened else 0.0

    async def open(self, stop: asyncio.Event | None) -> None:
        """Open the testbed, start the system and wait until it serves."""
        test, spec = self.test, self.test.spec
        self.testbed = await test.substrate.open(self.site)
        self._opened = True
        random = self.site.random.child("system")
        self.running = await test.system.start(
            spec, self.testbed, random, LoopPacer(self.testbed)
        )
        self._started = True
        ready_s = float(spec.options.get("ready-seconds", _READY_S))
        try:
            async with asyncio.timeout(ready_s):
                await _until_stop(self.running.ready(), stop)
        except TimeoutError as exc:
            raise self._not_ready(ready_s) from exc

    def _not_ready(self, ready_s: float) -> CannotError:
        for crash in self.testbed.crashes():
            return NodeFailed(
                crash.node, f"ended before it was ready: {crash.reason}", crash.log
            )
        return CannotError(
            f"the system does not serve after {ready_s:g} s; look at the nodes' logs, or allow more "
            f"by --option ready-seconds=N"
        )

    async def make_workers(
        self, finished: Finished, failed: Callable[[BaseException], None]
    ) -> dict[int, Worker]:
        """Open a client for each worker, set up, and make the fault packages."""
        test, nodes = self.test, self.test.spec.nodes
        opener = getattr(self.running, test.workload.vocabulary, None)
        if opener is None:
            raise HarnessError(
                f"workload {test.workload.name!r} needs the vocabulary "
                f"{test.workload.vocabulary!r}, which system {test.system.name!r} does not open"
            )
        factory = test.workload.client(opener)
        workers: dict[int, Worker] = {}
        for thread in range(test.spec.concurrency):
            node = nodes[thread % len(nodes)]
            client = ClientWorker(thread, finished, failed, factory, node)
            self._clients.append(client)
            workers[thread] = client
            await self._open_client(client)
        for client in self._clients[: len(nodes)]:
            if client.client is not None:
                await self._step(f"setup of the client on {client.node}", client.client.setup())
        self._make_nemesis()
        self._nemesis_ready = True
        await self._step("setup of the nemesis", self.nemesis.setup())
        workers[NEMESIS] = NemesisWorker(NEMESIS, finished, failed, self.nemesis)
        return workers

    async def _open_client(self, client: ClientWorker) -> None:
        try:
            async with asyncio.timeout(_STEP_S):
                await client.open()
        except HarnessError:
            raise
        except Exception as exc:  # noqa: BLE001 - its worker tries again at each operation
            self.say(f"client of worker {client.thread} on {client.node}: {one_line(exc)}")

    def _make_nemesis(self) -> None:
        test, spec = self.test, self.test.spec
        interval_s = spec.nemesis_interval_s
        world = World(
            spec=spec,
            testbed=self.testbed,
            running=self.running,
            random=self.site.random.child("nemesis"),
            faults=test.faults,
            limits=test.system.fault_model,
            interval_s=5.0 * self._election_s if interval_s is None else interval_s,
            election_s=self._election_s,
        )
        self.packages = tuple(test.packages(world))
        self.nemesis = ComposedNemesis([package.nemesis for package in self.packages])
        if spec.options.get("follow-leader"):
            self.nemesis = FollowLeader(self.nemesis, self.running.primaries, spec.nodes)
        unknown = sorted({fault.f for fault in spec.schedule} - self.nemesis.functions)
        if unknown:
            known = ", ".join(sorted(self.nemesis.functions)) or "none"
            raise HarnessError(
                f"the schedule asks for {', '.join(unknown)}, which no nemesis understands; "
                f"known: {known}"
            )

    async def _step(self, what: str, step: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_STEP_S):
                await step
        except SplitbrainError:
            raise
        except TimeoutError as exc:
            raise HarnessError(f"{what} did not end within {_STEP_S:g} s") from exc
        except Exception as exc:
            raise HarnessError(f"{what} failed: {one_line(exc)}") from exc

    def say(self, text: str) -> None:
        """A line about the harness itself, among the nodes' events."""
        time_ns = self.testbed.time_ns()
        self._recorder.event(
            {"time_ns": time_ns, "node": None, "kind": "harness", "text": text}
        )

    async def _quietly(
        self, what: str, step: Callable[[], Awaitable[Any]], limit_s: float = _STEP_S
    ) -> Any:
        """A step of the end: its failure is written down, and the next step is done all the same."""
        try:
            async with asyncio.timeout(limit_s):
                return await step()
        except Exception as exc:  # noqa: BLE001 - what remains must still be ended
            self.say(f"{what}: {one_line(exc)}")
            return None

    async def heal_by_force(self) -> None:
        """Heal everything without a history: after a failure."""
        if self._nemesis_ready:
            await self._quietly("teardown of the nemesis", self.nemesis.teardown, _NEMESIS_S)
        await self._quietly("healing", lambda: make_whole(self.testbed, self.testbed.time_ns()))

    async def close_clients(self) -> None:
        """Tear down by the first client that is open; close all."""
        first = next((worker for worker in self._clients if worker.client is not None), None)
        if first is not None and first.client is not None:
            await self._quietly("teardown of the client", first.client.teardown)
        for worker in self._clients:
            await worker.close()

    async def probes(self) -> dict[str, int]:
        """How often the changed path of each seeded bug ran."""
        return dict(await self._quietly("probes", self.running.probes) or {})

    async def close(self, *, failed: bool) -> None:
        """Stop the system and close the testbed, which undoes all that was done to the world."""
        if not self._opened:
            return
        if self._nemesis_ready and not failed:
            await self._quietly("teardown of the nemesis", self.nemesis.teardown, _NEMESIS_S)
        if self._started:
            await self._quietly("stop of the system", self.running.stop, 2 * _STEP_S)
        await self.testbed.close()


async def _until_stop(step: Awaitable[T], stop: asyncio.Event | None) -> None:
    """Await ``step``, but no longer than until ``stop`` is set."""
    if stop is None:
        await step
        return
    work = asyncio.ensure_future(step)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Interrupted
        await work
    finally:
        for task in (work, stopped):
            task.cancel()
