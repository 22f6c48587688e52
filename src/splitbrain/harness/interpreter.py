"""Which operation next, and when: Jepsen's process semantics, without I/O.

The interpreter is told the time and the completions; it says what to do.  Whoever drives it (the
real driver, or ``simulate``) keeps to this order:

    1. tell it every completion that has come        complete(thread, op, now)
    2. ask it what to do                             poll(now) -> Invoke | Pseudo | WaitUntil | ...
    3. do that, and begin again

so that completions are handled before new invocations: an operation that has ended must not seem
concurrent with one that begins after it.  The rules it keeps:

- A thread carries out one operation at a time, as its process.  After ``info`` the process number
  is raised by the concurrency; the old number never acts again.
- Operations of the nemesis are ``info`` when they begin and when they end.
- ``sleep`` and ``log`` are carried out by a thread, and not recorded.
- Events get dense indexes, and times that never go back.  ``record`` gets each event before the
  generator learns of it, so that a generator that fails leaves the history complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from splitbrain.contracts.generator import PENDING, Emit, Generator
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError, SplitbrainError
from splitbrain.harness.context import Context
from splitbrain.harness.validate import check_offer, told
from splitbrain.history.op import NEMESIS, Op

__all__ = ["Action", "Done", "Interpreter", "Invoke", "Pseudo", "WaitForEvent", "WaitUntil"]

_PSEUDO = frozenset({"sleep", "log"})
_MILLISECOND = 1_000_000
_PATIENCE_MAX_NS = 16 * _MILLISECOND


class Invoke(msgspec.Struct, frozen=True):
    """Let ``thread`` carry out ``op``, which has been recorded; then ``complete`` it."""

    thread: int
    op: Op


class Pseudo(msgspec.Struct, frozen=True):
    """Let ``thread`` sleep (``op.value`` seconds) or log (a text); then ``complete`` it with ``op``."""

    thread: int
    op: Op


class WaitUntil(msgspec.Struct, frozen=True):
    """Nothing to do before this time, unless a completion comes first."""

    time_ns: int


class WaitForEvent(msgspec.Struct, frozen=True):
    """Nothing to do before the next completion."""


class Done(msgspec.Struct, frozen=True):
    """The generator is exhausted and nothing is in flight."""


Action = Invoke | Pseudo | WaitUntil | WaitForEvent | Done

_WAIT: Final = WaitForEvent()
_DONE: Final = Done()


class Interpreter:
    """The state of one run: the generator, the threads, what is in flight, the next index."""

    def __init__(
        self,
        generator: Generator,
        test: Mapping[str, Any],
        *,
        concurrency: int,
        random: Stream,
        record: Callable[[Op], None],
        nodes: tuple[str, ...] = (),
        nemesis: bool = True,
    ) -> None:
        self.generator = generator
        self.test = test
        self.count = 0
        """Events recorded so far: the next index."""
        self._record = record
        self._concurrency = concurrency
        self._random = random
        self._nodes = nodes
        start = Context.start(concurrency, random, nemesis=nemesis)
        self._mask = start.mask
        self._free = start.free_mask
        self._processes = start.processes
        self._now = 0
        self._in_flight: dict[int, Op] = {}
        self._offer: Emit | None = None
        self._patience_ns = _MILLISECOND

    @property
    def outstanding(self) -> int:
        """How many threads have something in flight."""
        return len(self._in_flight)

    def in_flight(self, thread: int) -> Op | None:
        """What the thread is doing."""
        return self._in_flight.get(thread)

    def begin(self, generator: Generator) -> None:
        """Go on with another generator; threads, processes and indexes stay as they are."""
        self.generator = generator
        self._offer = None
        self._patience_ns = _MILLISECOND

    def poll(self, now_ns: int) -> Action:
        """What to do now.  Ask again after it has been done, or when its wait is over."""
        now = self._tick(now_ns)
        offer = self._offer
        if offer is None:
            if not self._free:
                return _WAIT
            ctx = self._context()
            generator = self.generator
            try:
                answer = generator.op(self.test, ctx)
            except SplitbrainError:
                raise
            except Exception as exc:
                raise told(generator, ctx, "op", None, exc) from exc
            check_offer(answer, generator, ctx)
            if answer is None:
                return _WAIT if self._in_flight else _DONE
            if answer is PENDING:
                # A generator that knows when it goes on says so by an operation in the future.
                # For others: ask after 1 ms, and ever less often while nothing happens.
                wait = self._patience_ns
                self._patience_ns = min(2 * wait, _PATIENCE_MAX_NS)
                return WaitUntil(now + wait)
            offer = answer
        if offer.op.time_ns > now:
            self._offer = offer
            return WaitUntil(offer.op.time_ns)
        return self._dispatch(offer, now)

    def complete(self, thread: int, op: Op, now_ns: int) -> Op:
        """An operation has ended as ``op``; gives the event as it was recorded."""
        now = self._tick(now_ns)
        invocation = self._in_flight.pop(thread, None)
        if invocation is None:
            raise HarnessError(f"thread {thread} completed {op.f!r} but had nothing in flight")
        if invocation.f in _PSEUDO:
            event = op
        else:
            kind = op.type if thread >= 0 else "info"
            event = Op(
                index=self.count, time_ns=now, process=invocation.process, type=kind, f=op.f,
                key=op.key, value=op.value, node=invocation.node, error=op.error, ext=op.ext,
            )  # fmt: skip
            self._record(event)
            self.count += 1
        self._free |= 1 << (thread + 1)
        self._learn(event)
        if event.type == "info" and thread != NEMESIS and invocation.f not in _PSEUDO:
            self._processes = self._context().renewed(thread).processes
        return event

    def note(self, op: Op, now_ns: int) -> Op:
        """Record an event that is nobody's operation, such as a phase mark or a node's crash."""
        event = msgspec.structs.replace(op, index=self.count, time_ns=self._tick(now_ns))
        self._record(event)
        self.count += 1
        return event

    def _tick(self, now_ns: int) -> int:
        if now_ns > self._now:
            self._now = now_ns
        return self._now

    def _context(self) -> Context:
        return Context(
            self._now, self._concurrency, self._processes, self._mask, self._free, self._random
        )

    def _dispatch(self, offer: Emit, now: int) -> Action:
        op = offer.op
        process = op.process
        thread = process if process < 0 else process % self._concurrency
        pseudo = op.f in _PSEUDO
        if not pseudo:
            node = op.node
            if node is None and thread >= 0 and self._nodes:
                node = self._nodes[thread % len(self._nodes)]
            op = Op(
                index=self.count, time_ns=now, process=process,
                type="invoke" if thread >= 0 else "info", f=op.f, key=op.key, value=op.value,
                node=node, ext=op.ext,
            )  # fmt: skip
            self._record(op)
            self.count += 1
        self._free &= ~(1 << (thread + 1))
        self._in_flight[thread] = op
        self.generator = offer.next
        self._learn(op)
        return Pseudo(thread, op) if pseudo else Invoke(thread, op)

    def _learn(self, event: Op) -> None:
        """Tell the generator; an offer made before the event no longer stands."""
        self._offer = None
        self._patience_ns = _MILLISECOND
        ctx = self._context()
        generator = self.generator
        try:
            self.generator = generator.update(self.test, ctx, event)
        except SplitbrainError:
            raise
        except Exception as exc:
            raise told(generator, ctx, "update", event, exc) from exc
