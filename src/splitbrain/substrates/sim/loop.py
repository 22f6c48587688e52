"""An asyncio event loop of virtual time: it never sleeps, it jumps to the next timer.

The harness and its clients are ordinary asyncio code; on this loop ten simulated minutes take what
their callbacks take.  Nodes live beside them on the same heap as plain callbacks, which cost no
task, no future and no context: :meth:`SimLoop.schedule_ns` and :meth:`SimLoop.post_ns`.

    >>> import asyncio
    >>> async def main() -> float:
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> SimLoop().run(main)
    3600.0

Contract:

- Order is (time, sequence): what is due at one instant runs in the order in which it was asked for,
  and what a callback asks for at the same instant comes after all that.  With a *shuffle* stream,
  events that fall due at one instant are shuffled instead, those of one lane keeping their order
  (a message after the earlier one of its link).
- Time is an integer of nanoseconds; ``time()`` is the same in seconds.  A timer never fires early,
  not by one rounding.
- Where nothing is ready and no timer is left, nothing can ever happen: :class:`Deadlock` says at
  once which tasks wait, and where.  Nodes that tick for ever hide such a deadlock, so the loop also
  has a *horizon*, past which it ends in the same way, and so does an instant that never ends.
- No thread, process, signal or socket: each of those methods raises and names the remedy.
- Deterministic: tasks are hashed by their number, not by their address, so that sets of tasks
  (TaskGroup, as_completed, wait) iterate alike in each run; garbage is collected after fixed
  numbers of events.

``async-solipsism`` and ``looptime`` have shown the idea on top of asyncio's own selector loop; this
one has no selector below it.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from heapq import heappop, heappush
from typing import Any, TypeVar

from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.timer import Entry, SimTimer, shuffled
from splitbrain.substrates.sim.waiting import Deadlock, NoOutsideWorld, SimTask, where_all_wait

__all__ = ["Deadlock", "SimLoop", "SimTimer"]

T = TypeVar("T")
_YOUNG_EVERY = 200_000  # timers between collections of young garbage
_FULL_EVERY = 25  # of those
_INSTANT_MAX = 5_000_000  # callbacks at one instant; after that time stands still
_SWEEP_EVERY = 256  # tasks made between sweeps of those that are done


class SimLoop(NoOutsideWorld):
    """Virtual time over one heap; see the module.

    Args:
        shuffle: shuffles simultaneous events; None keeps the order of asking.
        horizon_ns: loop time at which a run is given up; None for never.
    """

    def __init__(self, *, shuffle: Stream | None = None, horizon_ns: int | None = None) -> None:
        self.now_ns = 0
        self.shuffle = shuffle
        self.horizon_ns = horizon_ns
        self.events_run = 0
        self._heap: list[Entry] = []
        self._ready: deque[Entry] = deque()
        self._sequence = 0
        self._tasks_made = 0
        self._stopping = self._running = self._closed = False
        self._thread = threading.get_ident()
        self._asyncgens: dict[int, AsyncGenerator[Any, Any]] = {}
        self._exception_handler: Callable[[Any, dict[str, Any]], Any] | None = None
        self._task_factory: Any = None
        self._tasks: list[SimTask[Any]] = []
        self._collections = 0

    # -- asking for callbacks ----------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_ns / 1e9

    def post_ns(self, when_ns: int, function: Callable[[Any], None], argument: Any) -> None:
        """Run ``function(argument)`` at ``when_ns``; cannot be cancelled.  The cheapest path."""
        self._sequence = sequence = self._sequence + 1
        if when_ns <= self.now_ns:
            self._ready.append((when_ns, sequence, function, argument))
        else:
            heappush(self._heap, (when_ns, sequence, function, argument))

    def schedule_ns(self, when_ns: int, callback: Callable[[], Any]) -> SimTimer:
        """Run ``callback`` at ``when_ns`` unless the timer that is returned is cancelled first."""
        timer = SimTimer(callback, (), None, when_ns)
        self.post_ns(when_ns, None, timer)  # type: ignore[arg-type]
        return timer

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimTimer:
        """Run at this instant, after all that is ready."""
        if context is None:
            context = contextvars.copy_context()
        handle = SimTimer(callback, args, context, self.now_ns)
        self._ready.append((0, 0, None, handle))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimTimer:
        """Run after ``delay`` virtual seconds."""
        return self.call_at(self.now_ns / 1e9 + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimTimer:
        """Run once ``time() >= when``."""
        when_ns = round(when * 1e9)
        if when_ns / 1e9 < when:
            when_ns += 1  # never early: code that waits until time() >= when must see it so
        if context is None:
            context = contextvars.copy_context()
        timer = SimTimer(callback, args, context, when_ns)
        self.post_ns(when_ns, None, timer)  # type: ignore[arg-type]
        return timer

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimTimer:
        """``call_soon``, also from a signal handler; other threads are refused."""
        if threading.get_ident() != self._thread:
            raise HarnessError(
                "simulation: call from another thread; on `sim` all code runs in one thread, "
                "so use an async client, or --on local"
            )
        return self.call_soon(callback, *args, context=context)

    # -- tasks and futures -------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: object = None, context: Any = None
    ) -> asyncio.Task[T]:
        """A task, numbered from 1 in order of making."""
        if self._task_factory is not None:
            extra = {} if context is None else {"context": context}
            made: asyncio.Task[T] = self._task_factory(self, coro, **extra)
            return made
        self._tasks_made = number = self._tasks_made + 1
        task = SimTask(
            number, coro, loop=self, name=str(name or f"task-{number}"), context=context
        )
        if number % _SWEEP_EVERY == 0:
            self._tasks = [each for each in self._tasks if not each.done()]
        self._tasks.append(task)
        return task

    def set_task_factory(self, factory: Any) -> None:
        """Make tasks otherwise; the caller answers for their determinism."""
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        """The factory, or None."""
        return self._task_factory

    # -- running -----------------------------------------------------------------------------

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main()`` to its end, then cancel what is left and close the loop."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            result: T = self.run_until_complete(_awaited(main))
            return result
        finally:
            try:
                self._wind_up()
            finally:
                self.close()
                if collecting:
                    gc.enable()

    def run_until_complete(self, future: Any) -> Any:
        """Run until ``future`` is done; Deadlock if that can never be."""
        self._check_open()
        made_here = not asyncio.isfuture(future)
        task: asyncio.Future[Any] = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._stop_at)
        try:
            self.run_forever()
        except BaseException:
            if made_here and task.done() and not task.cancelled():
                task.exception()  # it has been told: no "never retrieved" later
            raise
        finally:
            task.remove_done_callback(self._stop_at)
        if not task.done():
            raise HarnessError("simulation: the loop was stopped before its main task was done")
        return task.result()

    def _stop_at(self, _: asyncio.Future[Any]) -> None:
        self._stopping = True

    def run_forever(self) -> None:
        """Run until :meth:`stop`; Deadlock if nothing can ever happen again."""
        self._check_open()
        if self._running or events._get_running_loop() is not None:
            raise HarnessError("simulation: another event loop runs already in this thread")
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(
            firstiter=self._asyncgen_born, finalizer=self._asyncgen_abandoned
        )
        self._running, self._thread = True, threading.get_ident()
        events._set_running_loop(self)
        try:
            self._run()
        finally:
            self._running = self._stopping = False
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _run(self) -> None:
        ready = self._ready
        count = self.events_run
        limit = count + _INSTANT_MAX
        try:
            while not self._stopping:
                if not ready:
                    self._advance()
                    limit = count + _INSTANT_MAX
                elif count > limit:
                    self._stuck()
                _, _, function, argument = ready.popleft()
                count += 1
                if function is not None:
                    function(argument)
                    continue
                callback = argument._callback
                if callback is None:
                    continue
                context = argument._context
                if context is None:
                    callback()
                    continue
                try:
                    context.run(callback, *argument._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - asyncio's rule for callbacks
                    self._failed(callback, argument, error)
        finally:
            self.events_run = count

    def _advance(self) -> None:
        """Jump to the next instant at which something is due, and make all of it ready."""
        heap, ready = self._heap, self._ready
        if self._sequence >= (self._collections + 1) * _YOUNG_EVERY:
            self._collections += 1
            gc.collect(2 if self._collections % _FULL_EVERY == 0 else 1)
        while heap:
            entry = heappop(heap)
            if entry[2] is None and entry[3]._callback is None:
                continue  # a cancelled timer moves no clock
            now = entry[0]
            if self.horizon_ns is not None and now > self.horizon_ns:
                raise Deadlock(
                    f"simulation: not done after {self.horizon_ns / 1e9:.0f} virtual seconds; "
                    + where_all_wait(self._tasks)
                )
            self.now_ns = now
            if not heap or heap[0][0] != now:
                ready.append(entry)
                return
            batch = [entry]
            while heap and heap[0][0] == now:
                batch.append(heappop(heap))
            ready.extend(batch if self.shuffle is None else shuffled(batch, self.shuffle))
            return
        raise Deadlock(
            "simulation: deadlock, nothing is ready and no timer is left; "
            + where_all_wait(self._tasks)
        )

    def _stuck(self) -> None:
        raise Deadlock(
            f"simulation: time stands still, {_INSTANT_MAX:,} callbacks at one instant (a loop "
            "around sleep(0)?); " + where_all_wait(self._tasks)
        )

    def _failed(
        self, callback: Callable[..., Any], handle: SimTimer, error: BaseException
    ) -> None:
        self.call_exception_handler(
            {
                "message": f"exception in callback {callback!r}",
                "exception": error,
                "handle": handle,
            }
        )

    def stop(self) -> None:
        """Return from ``run_forever`` after the callback that runs now."""
        self._stopping = True

    def is_running(self) -> bool:
        """Inside ``run_forever``."""
        return self._running

    def is_closed(self) -> bool:
        """After ``close``."""
        return self._closed

    def close(self) -> None:
        """Forget all that is pending."""
        if self._running:
            raise HarnessError("simulation: a running loop cannot be closed")
        self._closed = True
        self._heap.clear()
        self._ready.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("simulation: this loop is closed; make a new SimLoop")

    # -- the end -----------------------------------------------------------------------------

    def _wind_up(self) -> None:
        """Cancel the tasks that are left, in order of their making, and close generators."""
        left = [task for task in self._tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            self.horizon_ns = None
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())

    def _asyncgen_born(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._asyncgens[id(generator)] = generator

    def _asyncgen_abandoned(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._asyncgens.pop(id(generator), None)
        if not self._closed:
            self.create_task(generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close the async generators that are still open, in order of their first step."""
        generators = list(self._asyncgens.values())
        self._asyncgens.clear()
        for generator in generators:
            await generator.aclose()

    # -- exceptions of callbacks -------------------------------------------------------------

    def set_exception_handler(self, handler: Any) -> None:
        """As asyncio's."""
        self._exception_handler = handler

    def get_exception_handler(self) -> Any:
        """As asyncio's."""
        return self._exception_handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell the handler that was set, or log."""
        if self._exception_handler is None:
            self.default_exception_handler(context)
        else:
            self._exception_handler(self, context)


async def _awaited(main: Callable[[], Awaitable[T]]) -> T:
    return await main()
