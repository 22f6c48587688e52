"""Which threads a generator may use: a part of them, one copy for each, or fixed shares."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.errors import HarnessError
from splitbrain.harness.context import CLIENTS, NEMESIS_ONLY, bits, thread_bit
from splitbrain.harness.generator.choice import AnyOf, layout, replaced
from splitbrain.harness.generator.lift import Answer, lift
from splitbrain.history.op import Op

__all__ = [
    "EachProcess",
    "EachThread",
    "OnThreads",
    "Reserve",
    "clients",
    "each_process",
    "each_thread",
    "nemesis",
    "on_threads",
    "reserve",
]

Predicate = Callable[[int], bool]


@lru_cache(maxsize=1024)
def _mask_of(predicate: Predicate, mask: int) -> int:
    return sum(1 << position for position in bits(mask) if predicate(position - 1))


class OnThreads(msgspec.Struct, frozen=True):
    """A generator that sees only the threads of ``mask`` (and of ``predicate``, if there is one)."""

    generator: Generator
    mask: int
    predicate: Predicate | None = None

    def _restrict(self, ctx: Context) -> Context:
        mask = self.mask if self.predicate is None else _mask_of(self.predicate, ctx.mask)
        return ctx.restrict(mask)

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation; pending while none of its threads is free."""
        narrow = self._restrict(ctx)
        if not narrow.free_mask:
            return PENDING
        offer = self.generator.op(test, narrow)
        if offer is None or offer is PENDING:
            return offer
        return Emit(offer.op, OnThreads(offer.next, self.mask, self.predicate))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Learns only of events of its own threads."""
        narrow = self._restrict(ctx)
        if not narrow.mask & thread_bit(ctx.thread(event.process)):
            return self
        following = self.generator.update(test, narrow, event)
        if following is self.generator:
            return self
        return OnThreads(following, self.mask, self.predicate)


def on_threads(threads: Predicate | Collection[int], generator: Any) -> Generator:
    """Restrict a generator to a set of threads, or to those for which a predicate holds.

    >>> from splitbrain.harness.generator import invocations, repeat
    >>> ops = invocations(on_threads({1, 2}, repeat({"f": "r"}, times=9)), concurrency=4)
    >>> sorted({op.process for op in ops})
    [1, 2]
    """
    if callable(threads):
        return OnThreads(lift(generator), -1, threads)
    mask = 0
    for thread in threads:
        mask |= thread_bit(thread)
    return OnThreads(lift(generator), mask)


def clients(generator: Any, nemesis_generator: Any = None) -> Generator:
    """Restrict a generator to the clients; with a second one, that one runs on the nemesis beside it.

    >>> from splitbrain.harness.generator import invocations, limit
    >>> ops = invocations(clients([{"f": "r"}] * 3, {"f": "start-kill"}), concurrency=2)
    >>> sorted(op.f for op in ops if op.process >= 0), [op.f for op in ops if op.process < 0]
    (['r', 'r', 'r'], ['start-kill'])
    """
    mine = OnThreads(lift(generator), CLIENTS)
    if nemesis_generator is None:
        return mine
    return AnyOf((mine, OnThreads(lift(nemesis_generator), NEMESIS_ONLY)))


def nemesis(generator: Any, client_generator: Any = None) -> Generator:
    """Restrict a generator to the nemesis; with a second one, that one runs on the clients beside it.

    >>> from splitbrain.harness.generator import invocations
    >>> [(op.process, op.type) for op in invocations(nemesis({"f": "start-kill"}))]
    [(-1, 'info')]
    """
    mine = OnThreads(lift(generator), NEMESIS_ONLY)
    if client_generator is None:
        return mine
    return AnyOf((mine, OnThreads(lift(client_generator), CLIENTS)))


def _turns(ctx: Context) -> tuple[int, ...]:
    """Positions of the free threads, from a random one on, so that none is favoured."""
    free = ctx.free_mask
    process = ctx.some_free_process()
    assert process is not None
    start = ctx.thread(process) + 1
    low = free & ((1 << start) - 1)
    return bits(free ^ low) + bits(low)


class EachThread(msgspec.Struct, frozen=True):
    """A copy of ``fresh`` for each thread; ``copies`` holds those that have begun, by position."""

    fresh: Generator
    copies: tuple[Generator, ...] = ()

    def _copies(self, ctx: Context) -> tuple[Generator, ...]:
        return self.copies or (self.fresh,) * ctx.mask.bit_length()

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The soonest operation of the free threads' copies."""
        if not ctx.free_mask:
            return PENDING
        copies = self._copies(ctx)
        best: Emit | None = None
        at = waiting = 0
        for position in _turns(ctx):
            offer = copies[position].op(test, ctx.restrict(1 << position))
            if offer is PENDING:
                waiting += 1
            elif offer is not None and (best is None or offer.op.time_ns < best.op.time_ns):
                best, at = offer, position
                if offer.op.time_ns <= ctx.time_ns:
                    break
        if best is not None:
            return Emit(best.op, EachThread(self.fresh, replaced(copies, at, best.next)))
        return PENDING if waiting or ctx.free_mask != ctx.mask else None

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """The copy of the event's thread learns of it."""
        at = ctx.thread(event.process) + 1
        copies = self._copies(ctx)
        if at >= len(copies):
            return self
        following = copies[at].update(test, ctx.restrict(1 << at), event)
        if following is copies[at]:
            return self
        return EachThread(self.fresh, replaced(copies, at, following))


def each_thread(generator: Any) -> Generator:
    """An independent copy of the generator for each thread, which sees that thread alone.

    >>> from splitbrain.harness.generator import clients, invocations
    >>> ops = invocations(clients(each_thread([{"f": "a"}, {"f": "b"}])), concurrency=3)
    >>> sorted((op.process, op.f) for op in ops)
    [(0, 'a'), (0, 'b'), (1, 'a'), (1, 'b'), (2, 'a'), (2, 'b')]
    """
    return EachThread(lift(generator))


class EachProcess(msgspec.Struct, frozen=True):
    """A copy of ``fresh`` for each process: ``copies`` and whose they are, by the thread's position."""

    fresh: Generator
    copies: tuple[Generator, ...] = ()
    owners: tuple[int | None, ...] = ()

    def _current(self, ctx: Context) -> EachProcess:
        """With a fresh copy for each thread that has gone on as another process."""
        width = ctx.mask.bit_length()
        owners = self.owners or (None,) * width
        copies = list(self.copies or (self.fresh,) * width)
        now = tuple(
            ctx.process(position - 1) if ctx.mask >> position & 1 else None
            for position in range(width)
        )
        if now == owners:
            return self
        for position, (new, old) in enumerate(zip(now, owners, strict=True)):
            if new != old:
                copies[position] = self.fresh
        return EachProcess(self.fresh, tuple(copies), now)

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The soonest operation of the free processes' copies."""
        current = self._current(ctx)
        offer = EachThread(self.fresh, current.copies).op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        assert isinstance(offer.next, EachThread)
        return Emit(offer.op, EachProcess(self.fresh, offer.next.copies, current.owners))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """The copy of the event's process learns of it."""
        current = self._current(ctx)
        at = ctx.thread(event.process) + 1
        if at >= len(current.owners) or current.owners[at] != event.process:
            return self
        following = current.copies[at].update(test, ctx.restrict(1 << at), event)
        if following is current.copies[at]:
            return self
        copies = replaced(current.copies, at, following)
        return EachProcess(self.fresh, copies, current.owners)


def each_process(generator: Any) -> Generator:
    """An independent copy for each process: a thread whose process changed begins anew.

    A thread goes on as another process after an operation whose outcome is unknown.  What a client
    must do first, such as to log in, is done again by each process.

    >>> from splitbrain.harness.generator import clients, invocations, limit, perfect_info
    >>> gen = clients(limit(6, each_process([{"f": "login"}, {"f": "read"}])))
    >>> [op.f for op in invocations(gen, concurrency=2)]
    ['login', 'login', 'read', 'read']
    >>> {op.f for op in invocations(gen, concurrency=2, completion=perfect_info)}
    {'login'}
    """
    return EachProcess(lift(generator))


class Reserve(msgspec.Struct, frozen=True):
    """Generators on groups of threads of fixed sizes; the last one has all other threads."""

    sizes: tuple[int, ...]
    generators: tuple[Generator, ...]

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The soonest operation of the groups that have a free thread."""
        process = ctx.some_free_process()
        if process is None:
            return PENDING
        plan = layout(ctx.mask, self.sizes)
        first = plan.group_of[ctx.thread(process) + 1]
        groups = len(self.generators)
        best: Emit | None = None
        at = 0
        waiting = False
        for step in range(groups):
            number = (first + step) % groups
            narrow = ctx.restrict(plan.masks[number])
            if not narrow.free_mask:
                waiting = waiting or narrow.mask != 0
                continue
            offer = self.generators[number].op(test, narrow)
            if offer is PENDING:
                waiting = True
            elif offer is not None and (best is None or offer.op.time_ns < best.op.time_ns):
                best, at = offer, number
                if offer.op.time_ns <= ctx.time_ns:
                    break
        if best is not None:
            return Emit(best.op, Reserve(self.sizes, replaced(self.generators, at, best.next)))
        return PENDING if waiting else None

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """The generator of the event's thread learns of it."""
        plan = layout(ctx.mask, self.sizes)
        number = plan.group_of.get(ctx.thread(event.process) + 1)
        if number is None:
            return self
        old = self.generators[number]
        following = old.update(test, ctx.restrict(plan.masks[number]), event)
        if following is old:
            return self
        return Reserve(self.sizes, replaced(self.generators, number, following))


def reserve(*shares: Any) -> Generator:
    """``reserve(2, a, 3, b, rest)``: two threads for a, the next three for b, all others for rest.

    >>> from splitbrain.harness.generator import clients, invocations, repeat
    >>> gen = reserve(1, repeat({"f": "w"}, times=5), repeat({"f": "r"}, times=5))
    >>> ops = invocations(clients(gen), concurrency=3)
    >>> sorted({(op.f, op.process) for op in ops})
    [('r', 1), ('r', 2), ('w', 0)]
    """
    if len(shares) % 2 == 0:
        raise HarnessError(
            f"reserve takes pairs of a number and a generator, and one generator for the rest; "
            f"{len(shares)} arguments were given"
        )
    sizes = _sizes(shares[0:-1:2])
    return Reserve(sizes, tuple(lift(share) for share in (*shares[1:-1:2], shares[-1])))


def _sizes(sizes: Sequence[Any]) -> tuple[int, ...]:
    wrong: Iterable[Any] = [size for size in sizes if not isinstance(size, int) or size < 1]
    for size in wrong:
        raise HarnessError(f"reserve: {size!r} is not a number of threads; give an integer > 0")
    return tuple(sizes)
