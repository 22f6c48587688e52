"""When operations happen: stagger, delay, sleep, cycle_times, cache.

A generator says "not before" by an operation whose time lies in the future: the interpreter waits
for it, and asks again if something happens first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.errors import HarnessError
from splitbrain.harness.generator.choice import replaced
from splitbrain.harness.generator.lift import Answer, One, lift
from splitbrain.history.op import Op

__all__ = ["Stagger", "cache", "cycle_times", "delay", "log", "sleep", "stagger", "timed"]

_SECOND = 1_000_000_000


def timed(op: Op, time_ns: int) -> Op:
    """The operation at another time."""
    return Op(
        time_ns=time_ns, process=op.process, type=op.type, f=op.f, key=op.key,
        value=op.value, node=op.node, error=op.error, ext=op.ext,
    )  # fmt: skip


class Stagger(msgspec.Struct, frozen=True):
    """Gaps drawn uniformly from [0, 2 x mean): a rate over all threads together."""

    mean_ns: float
    generator: Generator
    next_ns: int | None = None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, not before the drawn time."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        op = offer.op
        due = self.next_ns
        if due is None or due <= op.time_ns:
            due = op.time_ns
        else:
            op = timed(op, due)
        gap = int(ctx.random.random() * 2.0 * self.mean_ns)
        return Emit(op, Stagger(self.mean_ns, offer.next, due + gap))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        if following is self.generator:
            return self
        return Stagger(self.mean_ns, following, self.next_ns)


def stagger(seconds: float, generator: Any) -> Generator:
    """Operations about ``seconds`` apart: gaps are uniform in 0 .. 2 x seconds.

    The rate holds for all threads together: ``stagger(1 / 100, g)`` makes some 100 operations a
    second whatever the concurrency.  Time lost while no thread was free is not made up.

    >>> from splitbrain.harness.generator import invocations, repeat
    >>> ops = invocations(stagger(0.1, repeat({"f": "read"})), max_ops=1000)
    >>> 90 < ops[-1].time_ns / 10**9 < 110
    True
    """
    return Stagger(seconds * _SECOND, lift(generator))


class Delay(msgspec.Struct, frozen=True):
    """Operations exactly ``gap_ns`` apart; those that are late are made up for."""

    gap_ns: int
    generator: Generator
    next_ns: int | None = None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, not before its place in the row."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        op = offer.op
        due = op.time_ns if self.next_ns is None else self.next_ns
        if due > op.time_ns:
            op = timed(op, due)
        return Emit(op, Delay(self.gap_ns, offer.next, due + self.gap_ns))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        if following is self.generator:
            return self
        return Delay(self.gap_ns, following, self.next_ns)


def delay(seconds: float, generator: Any) -> Generator:
    """Operations as close to ``seconds`` apart as possible; a late one does not shift the others.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.time_ns / 10**9 for op in invocations(delay(0.5, [{"f": "read"}] * 4))]
    [0.0, 0.5, 1.0, 1.5]
    """
    return Delay(round(seconds * _SECOND), lift(generator))


def sleep(seconds: float) -> Generator:
    """One free thread sleeps; nothing is recorded.

    >>> from splitbrain.harness.generator import concat, invocations, on_threads
    >>> gen = on_threads({0}, [{"f": "a"}, sleep(3), {"f": "b"}])
    >>> [(op.f, op.time_ns // 10**9) for op in invocations(gen)]
    [('a', 0), ('b', 3)]
    """
    return One("sleep", value=float(seconds))


def log(text: str) -> Generator:
    """One line for the log of the test; nothing is recorded.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations([log("begin"), {"f": "read"}])]
    ['read']
    """
    return One("log", value=text)


class CycleTimes(msgspec.Struct, frozen=True):
    """Generators in turn, each for its own span of time; ``start_ns`` is when the first turn began."""

    spans_ns: tuple[int, ...]
    generators: tuple[Generator, ...]
    start_ns: int | None = None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The operation of the window that is open, or of the next one that has any."""
        start = ctx.time_ns if self.start_ns is None else self.start_ns
        count = len(self.spans_ns)
        at, end = self._window(ctx.time_ns - start)
        time, exhausted = ctx.time_ns, 0
        for step in range(count + 1):
            number = (at + step) % count
            offer = self.generators[number].op(test, ctx if not step else ctx.at(time))
            if offer is PENDING:
                return PENDING
            if offer is None:
                exhausted += 1
            elif offer.op.time_ns < start + end:
                return self._emit(offer, number, start, ctx)
            time = start + end
            end += self.spans_ns[(number + 1) % count]
        return None if exhausted > count - 1 else PENDING

    def _emit(self, offer: Emit, number: int, start: int, ctx: Context) -> Emit:
        if self.start_ns is None and offer.op.time_ns > ctx.time_ns:
            # An offer for later may be asked for again, and would then begin anew: a sleep of no
            # length is taken at once, and with it the time of our start.
            pause = One("sleep", value=0.0).op({}, ctx)
            if isinstance(pause, Emit):
                return Emit(pause.op, CycleTimes(self.spans_ns, self.generators, start))
        following = replaced(self.generators, number, offer.next)
        return Emit(offer.op, CycleTimes(self.spans_ns, following, start))

    def _window(self, passed_ns: int) -> tuple[int, int]:
        """Which generator's turn it is, and when that ends, counted from the start."""
        period = sum(self.spans_ns)
        end = passed_ns // period * period
        for number, span in enumerate(self.spans_ns):
            end += span
            if passed_ns < end:
                return number, end
        raise AssertionError("the windows of a period cover it")

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """All of them learn of it."""
        following = tuple(each.update(test, ctx, event) for each in self.generators)
        return CycleTimes(self.spans_ns, following, self.start_ns)


def cycle_times(*turns: Any) -> Generator:
    """``cycle_times(5, a, 10, b)``: a for 5 seconds, then b for 10, then a again where it stood.

    A generator that is exhausted (or None) makes its span quiet; all of them exhausted end it.

    >>> from splitbrain.harness.generator import invocations
    >>> gen = cycle_times(2, {"f": "a"}, 3, None, 5, [{"f": "b"}] * 2)
    >>> [(op.f, op.time_ns // 10**9) for op in invocations(gen)]
    [('a', 0), ('b', 5), ('b', 5)]
    """
    spans = tuple(round(seconds * _SECOND) for seconds in turns[0::2])
    if not turns or len(turns) % 2 or min(spans) <= 0:
        raise HarnessError(
            f"cycle_times takes pairs of seconds (over 0) and a generator; got {turns[0::2]!r} "
            f"in {len(turns)} arguments"
        )
    return CycleTimes(spans, tuple(lift(generator) for generator in turns[1::2]))


class Cache(msgspec.Struct, frozen=True):
    """An offer kept until ``until_ns``, so that the generator is not asked at each event."""

    keep_ns: int
    generator: Generator
    offer: Emit | None = None
    until_ns: int = -1

    def _kept(self, ctx: Context) -> Emit | None:
        """The offer, if it is not too old; its thread may have gone on as another process."""
        offer = self.offer
        if offer is None or ctx.time_ns >= self.until_ns:
            return None
        process = ctx.process(ctx.thread(offer.op.process))
        if process == offer.op.process:
            return offer
        return Emit(msgspec.structs.replace(offer.op, process=process), offer.next)

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The offer that is kept, once its thread is free, or the generator's own."""
        kept = self._kept(ctx)
        if kept is None:
            offer = self.generator.op(test, ctx)
        elif (ctx.free_mask >> (ctx.thread(kept.op.process) + 1)) & 1:
            offer = kept
        else:
            return PENDING
        if offer is None or offer is PENDING:
            return offer
        op = offer.op if offer.op.time_ns >= ctx.time_ns else timed(offer.op, ctx.time_ns)
        return Emit(op, Cache(self.keep_ns, offer.next))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on, to what follows the offer too; a fresh offer is got if there is none to keep."""
        following = self.generator.update(test, ctx, event)
        kept, until = self._kept(ctx), self.until_ns
        if kept is not None:
            kept = Emit(kept.op, kept.next.update(test, ctx, event))
        elif ctx.free_mask:
            answer = following.op(test, ctx)
            kept = answer if isinstance(answer, Emit) else None
            until = ctx.time_ns + self.keep_ns
        return Cache(self.keep_ns, following, kept, until)


def cache(seconds: float, generator: Any) -> Generator:
    """Keeps what the generator offers for so many seconds instead of asking anew at each event.

    An offer for later is asked for again after every event of the test.  Where asking is costly (a
    draw over many keys, say), keep the offer; events of the meantime do not change it.

    >>> from splitbrain.harness.generator import any_of, delay, invocations, repeat
    >>> asked = []
    >>> costly = lambda: asked.append("once more") or {"f": "scan", "time_ns": 3 * 10**9}
    >>> ops = invocations(any_of(cache(9, costly), delay(0.01, repeat({"f": "r"}))), max_ops=99)
    >>> len(ops), len(asked) < 5
    (99, True)
    """
    return Cache(round(seconds * _SECOND), lift(generator))
