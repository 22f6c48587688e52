"""The phases of one test on an open stage: generators played by workers, faults healed, marks made."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from splitbrain.contracts.generator import Generator
from splitbrain.contracts.nemesis import FaultPackage
from splitbrain.contracts.spec import ScheduledFault
from splitbrain.contracts.test import Recorder
from splitbrain.errors import HarnessError
from splitbrain.harness.generator.bounds import cycle
from splitbrain.harness.generator.choice import any_of
from splitbrain.harness.generator.lift import DONE, concat, lift
from splitbrain.harness.generator.threads import clients, nemesis
from splitbrain.harness.heal import OpenFaults, make_whole
from splitbrain.harness.interpreter import Done, Interpreter, Invoke, Pseudo, WaitUntil
from splitbrain.harness.phases import Campaign, Until, directed, lateness_ns, paced, unpaced
from splitbrain.harness.stage import Stage
from splitbrain.harness.watch import Progress, Watch
from splitbrain.harness.workers import Worker, one_line
from splitbrain.history.op import NEMESIS, Op

__all__ = ["Run"]

_FLUSH_S = 0.01
_STILL_LIMIT = 1_000_000
"""So many steps without the clock moving are taken for an endless loop in virtual time."""
_DRAIN_S = 3.0
_SHORT_FINAL_S = 2.0


class Run:
    """The phases of one test on an open stage."""

    def __init__(
        self, stage: Stage, recorder: Recorder, progress: Callable[[Progress], None] | None
    ) -> None:
        self.stage = stage
        self.interrupted = False
        self._recorder = recorder
        self._spec = stage.test.spec
        self._loop = asyncio.get_running_loop()
        self._now = stage.testbed.time_ns
        self._ended: deque[tuple[int, Op]] = deque()
        self._waker: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._flushing = False
        self._flusher: asyncio.TimerHandle | None = None
        self._packages: tuple[FaultPackage, ...] = ()
        self._nemesis_functions: frozenset[str] = frozenset()
        self._open_faults = OpenFaults()
        self._asked: Op | None = None
        self._interpreter = Interpreter(
            lift(None),
            msgspec.structs.asdict(self._spec),
            concurrency=self._spec.concurrency,
            random=stage.site.random.child("harness").stream("generator"),
            record=self._record,
            nodes=self._spec.nodes,
        )
        self._workers: dict[int, Worker] = {}
        self.watch = Watch(
            stage.testbed,
            self._interpreter,
            self._workers,
            self._fail,
            self._recorder,
            progress,
        )
        self.watch.open_faults = self._open_faults
        self._stopper: asyncio.Task[None] | None = None

    # --- the phases ---------------------------------------------------------------------------

    async def phases(self, stop: asyncio.Event | None) -> None:
        """From the first client to the last operation."""
        stage = self.stage
        self._workers.update(await stage.make_workers(self._finished, self._fail))
        self._packages = stage.packages
        self._nemesis_functions = stage.nemesis.functions
        for worker in self._workers.values():
            worker.start()
        self.watch.start()
        if stop is not None:
            self._stopper = self._loop.create_task(self._await_stop(stop))
        remaining = await self._main()
        await self._heal()
        await self._final(remaining)

    async def _main(self) -> Campaign:
        self._mark("main")
        spec, workload = self._spec, self.stage.test.workload
        faults = [lift(package.generator) for package in self._packages]
        now_ns = self._now()
        late_s = lateness_ns(spec.schedule, now_ns) / 1e9
        if late_s:
            self.stage.say(f"ready late: all scheduled faults come {late_s:.3f} s later")
        campaign = Campaign(
            work=paced(spec.rate_hz, lift(workload.generator)),
            faults=any_of(*faults, directed(spec.schedule, now_ns)),
            final=lift(workload.final_generator),
            end_ns=now_ns + round(spec.time_limit_s * 1e9),
        )
        await self._play(campaign)
        last = self._interpreter.generator
        assert isinstance(last, Campaign)
        return last

    async def _heal(self) -> None:
        self._mark("heal")
        # Each open fault gets its own stop first, because a stop may carry the proof of its band.
        stops = self._open_faults.stops(self._nemesis_functions)
        await self._play(nemesis(lift(stops)), interruptible=False)
        finals = [p.final_generator for p in self._packages if p.final_generator is not None]
        await self._play(nemesis(concat(*finals)), interruptible=False)
        self.watch.collect_crashes()
        crashes, troubles = await make_whole(self.stage.testbed, self._now())
        self.watch.crashed(crashes)
        for trouble in troubles:
            self.stage.say(trouble)
        self.watch.collect_crashes()

    async def _final(self, main: Campaign) -> None:
        self._mark("final")
        workload = self.stage.test.workload
        limit_s = _SHORT_FINAL_S if self.interrupted else self.stage.recovery_s
        concurrency = self._spec.concurrency
        # A success of each worker should not have to wait for a slow rate: at least ten each second.
        rate = max(self._spec.rate_hz, 10.0 * concurrency) if self._spec.rate_hz > 0 else 0.0
        # A finite workload may be at its end; then its final generator, or itself once more.
        again = cycle(workload.generator if workload.final_generator is None else main.final)
        recovery = Campaign(
            work=paced(rate, concat(unpaced(main.work), again)),
            final=main.final,
            end_ns=self._now() + round(limit_s * 1e9),
            waiting=((1 << concurrency) - 1) << 1,
            counted=True,
        )
        await self._play(recovery, interruptible=not self.interrupted)
        last = self._interpreter.generator
        assert isinstance(last, Campaign)
        if self.interrupted or workload.final_generator is None:
            return
        end_ns = self._now() + round(self.stage.recovery_s * 1e9)
        await self._play(Until(end_ns, clients(paced(rate, last.final))))

    async def end(self, failure: BaseException | None) -> None:
        """Workers stopped, clients closed, crashes and probes recorded, the history's end marked."""
        stage = self.stage
        if self._stopper is not None:
            self._stopper.cancel()
        await self.watch.stop()
        if failure is not None:
            await stage.heal_by_force()
        for worker in self._workers.values():
            await worker.stop()
        self._drain_unfinished(failure)
        self._schedule(None)
        await stage.close_clients()
        self.watch.collect_crashes()
        if failure is None:
            probes = await stage.probes()
            self._note("probes", probes)
        value: dict[str, Any] = {"phase": "end"}
        if self.interrupted:
            value["interrupted"] = True
        if failure is not None:
            value["error"] = one_line(failure)
        self._note("phase", value)
        if self._flusher is not None:
            self._flusher.cancel()
        self._recorder.flush()

    def _drain_unfinished(self, failure: BaseException | None) -> None:
        """Record completions that came in while everything was being ended."""
        self._interpreter.begin(DONE)
        try:
            while self._ended:
                self._complete(*self._ended.popleft())
        except HarnessError:
            if failure is None:
                raise

    # --- playing one generator ----------------------------------------------------------------

    async def _play(self, generator: Generator, *, interruptible: bool = True) -> None:
        """Carry out a generator until it is exhausted and nothing is in flight."""
        interpreter = self._interpreter
        interpreter.begin(generator)
        last_ns = still = 0
        while True:
            ended = self._ended
            while ended:
                self._complete(*ended.popleft())
            if self._failure is not None:
                raise self._failure
            if self.interrupted and interruptible:
                await self._drain()
                return
            now = self._now()
            still = still + 1 if now == last_ns else 0
            last_ns = now
            if still > _STILL_LIMIT:
                raise HarnessError(
                    f"time stands still at {now} ns: {_STILL_LIMIT} steps without the clock moving; "
                    f"give the workload a rate, or let its client take time"
                )
            action = interpreter.poll(now)
            kind = type(action)
            if kind is Invoke or kind is Pseudo:
                self._dispatch(action, now)
            elif kind is Done:
                return
            else:
                await self._wait(action.time_ns if isinstance(action, WaitUntil) else None)

    def _dispatch(self, action: Any, now: int) -> None:
        thread, op = action.thread, action.op
        if op.index < 0 and op.f == "log":
            self._recorder.event(
                {"time_ns": now, "node": None, "kind": "log", "text": op.value}
            )
            self._interpreter.complete(thread, op, now)
            return
        if thread == NEMESIS and op.index >= 0:
            self._open_faults.saw(op)
            self._asked = op
        limit = self.stage.nemesis_limit_ns if thread == NEMESIS else self.stage.op_limit_ns
        self._workers[thread].give(op, now + limit if op.index >= 0 else 1 << 62)

    def _complete(self, thread: int, op: Op) -> None:
        event = self._interpreter.complete(thread, op, self._now())
        if thread == NEMESIS and event.index >= 0:
            self._open_faults.saw(event)
            self._schedule(event)
            self._open_faults.forget_one_shots(self._nemesis_functions)

    def _finished(self, thread: int, op: Op) -> None:
        """Called by a worker."""
        self._ended.append((thread, op))
        self._wake()

    async def _wait(self, until_ns: int | None) -> None:
        if self._ended or self._failure is not None:
            return
        waker = self._waker = self._loop.create_future()
        timer = None
        if until_ns is not None:
            # Never less than a microsecond: a loop that rounds down must not wake too early for ever.
            delay_s = max((until_ns - self._now()) / 1e9, 1e-6)
            timer = self._loop.call_later(delay_s, self._wake)
        try:
            await waker
        finally:
            self._waker = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None and not waker.done():
            waker.set_result(None)

    async def _drain(self) -> None:
        """Begin nothing new; wait a little for what is in flight, then give it up as info."""
        interpreter = self._interpreter
        deadline = self._now() + round(_DRAIN_S * 1e9)
        while interpreter.outstanding:
            if self._now() >= deadline:
                for thread, worker in self._workers.items():
                    if thread != NEMESIS:
                        worker.expire("interrupted: the test was ended")
                deadline = self._now() + round(_DRAIN_S * 1e9)
            await self._wait(deadline)
            while self._ended:
                self._complete(*self._ended.popleft())
            if self._failure is not None:
                raise self._failure

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.interrupted = True
        self._wake()

    def _fail(self, exc: BaseException) -> None:
        """Called by a worker or the watch: the test cannot go on."""
        self._failure = self._failure or exc
        self._wake()

    # --- recording ----------------------------------------------------------------------------

    def _record(self, op: Op) -> None:
        try:
            self._recorder.op(op)
        except (TypeError, ValueError, OverflowError) as exc:
            raise HarnessError(
                f"operation {op.f!r} of process {op.process} cannot be written as JSON ({exc}); "
                f"its value was {op.value!r}"
            ) from exc
        self.watch.count(op)
        if not self._flushing:
            self._flushing = True
            self._flusher = self._loop.call_later(_FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        try:
            self._recorder.flush()
        except Exception as exc:  # noqa: BLE001 - such as a full disk: ends the test
            self._fail(exc)

    def _schedule(self, told: Op | None) -> None:
        """The line of the fault in hand: what came of it, or what was asked if it never ended."""
        asked, self._asked = self._asked, None
        if asked is not None and asked.f.startswith(("start-", "stop-")):
            self._recorder.fault(_scheduled(asked, told or asked))

    def _mark(self, phase: str) -> None:
        self.watch.phase = phase
        self._note("phase", {"phase": phase})

    def _note(self, f: str, value: Any) -> None:
        op = Op(process=NEMESIS, type="info", f=f, value=value)
        self._interpreter.note(op, self._now())


def _scheduled(asked: Op, told: Op) -> ScheduledFault:
    """What a schedule needs to do it again: when it was invoked, and what its words became.

    The completion names nodes where the invocation named roles, and links where it named a shape.
    """
    value = told.value if isinstance(told.value, dict) else {}
    return ScheduledFault(
        time_ns=asked.time_ns,
        f=asked.f,
        targets=tuple(value.get("targets") or ()),
        parameters=value.get("parameters") or {},
        id=str(value.get("id", "")),
    )
