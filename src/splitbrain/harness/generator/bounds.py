"""How often, how long, how many: limit, repeat, cycle, time_limit, concurrency_limit, until_ok ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.errors import HarnessError
from splitbrain.harness.generator.lift import Answer, lift
from splitbrain.history.op import Op

__all__ = [
    "concurrency_limit",
    "cycle",
    "limit",
    "once",
    "process_limit",
    "repeat",
    "time_limit",
    "until_ok",
]

_SECOND = 1_000_000_000


class Limit(msgspec.Struct, frozen=True):
    """At most ``left`` more operations."""

    left: int
    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation while there are some left."""
        if self.left <= 0:
            return None
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        return Emit(offer.op, Limit(self.left - 1, offer.next))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Limit(self.left, following)


def limit(count: int, generator: Any) -> Generator:
    """At most ``count`` operations.

    >>> from splitbrain.harness.generator import invocations
    >>> len(invocations(limit(3, lambda: {"f": "read"})))
    3
    """
    return Limit(count, lift(generator))


def once(generator: Any) -> Generator:
    """The first operation only.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(once([{"f": "a"}, {"f": "b"}]))]
    ['a']
    """
    return Limit(1, lift(generator))


class Repeat(msgspec.Struct, frozen=True):
    """The same state again and again: the generator is asked, but never moves on."""

    generator: Generator
    left: int | None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The first operation of the generator."""
        if self.left is not None and self.left <= 0:
            return None
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        if self.left is None:
            return Emit(offer.op, self)
        return Emit(offer.op, Repeat(self.generator, self.left - 1))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Repeat(following, self.left)


def repeat(generator: Any, *, times: int | None = None) -> Generator:
    """The generator's first operation again and again: for ever, or so many times.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(repeat([{"f": "a"}, {"f": "b"}], times=3))]
    ['a', 'a', 'a']
    """
    return Repeat(lift(generator), times)


class Cycle(msgspec.Struct, frozen=True):
    """From its beginning again each time it is exhausted; ``left`` counts further rounds."""

    original: Generator
    current: Generator
    left: int | None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The current round's operation, or the first one of the next round."""
        offer = self.current.op(test, ctx)
        left = self.left
        if offer is None and (left is None or left > 0):
            # A round that yields nothing at all ends it, or this would never come to an end.
            offer = self.original.op(test, ctx)
            left = None if left is None else left - 1
        if offer is None or offer is PENDING:
            return offer
        return Emit(offer.op, Cycle(self.original, offer.next, left))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """The current round learns of it."""
        following = self.current.update(test, ctx, event)
        if following is self.current:
            return self
        return Cycle(self.original, following, self.left)


def cycle(generator: Any, *, times: int | None = None) -> Generator:
    """From the beginning again whenever it is exhausted: for ever, or so many rounds in all.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(cycle([{"f": "a"}, {"f": "b"}], times=2))]
    ['a', 'b', 'a', 'b']
    """
    original = lift(generator)
    return Cycle(original, original, None if times is None else times - 1)


class TimeLimit(msgspec.Struct, frozen=True):
    """Ends when ``span_ns`` have passed since its first operation."""

    span_ns: int
    generator: Generator
    end_ns: int | None = None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, if it is to happen before the end."""
        end = self.end_ns
        if end is not None and ctx.time_ns >= end:
            return None
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        if end is None:
            end = offer.op.time_ns + self.span_ns
        if offer.op.time_ns >= end:
            return None
        return Emit(offer.op, TimeLimit(self.span_ns, offer.next, end))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        if following is self.generator:
            return self
        return TimeLimit(self.span_ns, following, self.end_ns)


def time_limit(seconds: float, generator: Any) -> Generator:
    """Ends so many seconds after its first operation; one that is in flight then is not cut off.

    >>> from splitbrain.harness.generator import delay, invocations, repeat
    >>> ops = invocations(time_limit(3, delay(1, repeat({"f": "read"}))))
    >>> [op.time_ns // 10**9 for op in ops]
    [0, 1, 2]
    """
    return TimeLimit(round(seconds * _SECOND), lift(generator))


class ProcessLimit(msgspec.Struct, frozen=True):
    """Ends with the first operation of one process too many."""

    count: int
    generator: Generator
    seen: frozenset[int] = frozenset()

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, if its process is among the first ``count``."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        seen = self.seen
        if offer.op.process not in seen:
            seen = seen | {offer.op.process}
            if len(seen) > self.count:
                return None
        return Emit(offer.op, ProcessLimit(self.count, offer.next, seen))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        if following is self.generator:
            return self
        return ProcessLimit(self.count, following, self.seen)


def process_limit(count: int, generator: Any) -> Generator:
    """Ends once ``count`` distinct processes have been used.

    Each operation whose outcome is unknown makes a new process and stays concurrent for ever; a
    checker's work grows exponentially with their number, and this bounds it.

    >>> from splitbrain.harness.generator import clients, invocations, perfect_info, repeat
    >>> gen = clients(process_limit(5, repeat({"f": "read"})))
    >>> ops = invocations(gen, concurrency=2, completion=perfect_info)
    >>> len({op.process for op in ops}) <= 5
    True
    """
    return ProcessLimit(count, lift(generator))


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """Pending while ``count`` of its own operations are in flight."""

    count: int
    generator: Generator
    mine: frozenset[int] = frozenset()

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, if that is not one too many at once."""
        # Looked up here too: some combinators (mix) do not tell their parts of events.
        mine = frozenset(process for process in self.mine if _busy(ctx, process))
        if len(mine) >= self.count:
            return PENDING
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        following = ConcurrencyLimit(self.count, offer.next, mine | {offer.op.process})
        return Emit(offer.op, following)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Notes which of its own operations have ended."""
        following = self.generator.update(test, ctx, event)
        mine = self.mine
        if event.process in mine and not _busy(ctx, event.process):
            mine = mine - {event.process}
        elif following is self.generator:
            return self
        return ConcurrencyLimit(self.count, following, mine)


def _busy(ctx: Context, process: int) -> bool:
    """True if the process has something in flight."""
    thread = ctx.thread(process)
    return not (ctx.free_mask >> (thread + 1)) & 1 and ctx.process(thread) == process


def concurrency_limit(count: int, generator: Any) -> Generator:
    """At most ``count`` of its operations in flight at once, whatever the concurrency of the test.

    For what is costly or must not meet itself, such as a scan or a change of the schema.

    >>> from splitbrain.harness.generator import clients, repeat, simulate
    >>> gen = clients(concurrency_limit(2, repeat({"f": "scan"}, times=4)))
    >>> [op.type[0] for op in simulate(gen, concurrency=9)]
    ['i', 'i', 'o', 'o', 'i', 'i', 'o', 'o']
    """
    if count < 1:
        raise HarnessError(f"concurrency_limit: {count} operations at once; give at least 1")
    return ConcurrencyLimit(count, lift(generator))


class UntilOk(msgspec.Struct, frozen=True):
    """Ends as soon as one of the operations that it yielded is ok."""

    generator: Generator
    mine: frozenset[int] = frozenset()
    done: bool = False

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, unless one has succeeded."""
        if self.done:
            return None
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        return Emit(offer.op, UntilOk(offer.next, self.mine | {offer.op.process}))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Notes how its own operations end."""
        following = self.generator.update(test, ctx, event)
        mine, done = self.mine, self.done
        if event.type != "invoke" and event.process in mine:
            mine = mine - {event.process}
            done = done or event.type == "ok"
        elif following is self.generator:
            return self
        return UntilOk(following, mine, done)


def until_ok(generator: Any) -> Generator:
    """Operations until one of them is ok.

    >>> from splitbrain.harness.generator import imperfect, on_threads, repeat, simulate
    >>> gen = on_threads({0}, until_ok(repeat({"f": "read"})))
    >>> history = simulate(gen, completion=imperfect)
    >>> [op.type for op in history].count("ok"), history[-1].type
    (1, 'ok')
    """
    return UntilOk(lift(generator))
