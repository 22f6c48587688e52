"""Many small tests in one: independent keys, one after the other or several at a time.

Linearizability is decided key by key, and its cost grows with the length of one key's history; so a
long test works on many keys, each for a few hundred operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.errors import HarnessError
from splitbrain.harness.generator.choice import Layout, layout
from splitbrain.harness.generator.lift import PSEUDO, Answer, Lazy, elements_of, lift
from splitbrain.history.op import Op

__all__ = ["concurrent_keys", "sequential_keys"]

_KEY_LIMIT = 10_000

MakeGenerator = Callable[[Any], Any]


class Keyed(msgspec.Struct, frozen=True):
    """A generator whose operations all get one key, and which learns of that key's events only."""

    key: Any
    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, on the key."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        op = offer.op
        if op.f not in PSEUDO:
            op = Op(
                time_ns=op.time_ns, process=op.process, type=op.type, f=op.f, key=self.key,
                value=op.value, node=op.node, error=op.error, ext=op.ext,
            )  # fmt: skip
        return Emit(op, Keyed(self.key, offer.next))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on if it is about the key."""
        if event.key != self.key:
            return self
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Keyed(self.key, following)


def sequential_keys(keys: Iterable[Any], make: MakeGenerator) -> Generator:
    """``make(key)`` for one key after the other, all threads on the same key.

    >>> from splitbrain.harness.generator import invocations
    >>> ops = invocations(sequential_keys(["x", "y"], lambda key: [{"f": "r"}, {"f": "w"}]))
    >>> [(op.key, op.f) for op in ops]
    [('x', 'r'), ('x', 'w'), ('y', 'r'), ('y', 'w')]
    """
    source = elements_of(keys)

    def each() -> Iterator[Generator]:
        split = source.split()
        while split is not None:
            key, rest = split
            yield Keyed(key, lift(make(key)))
            split = rest.split()

    return lift(each())


class ConcurrentKeys(msgspec.Struct, frozen=True):
    """Groups of ``size`` threads, each on a key of its own; ``active`` holds each group's generator."""

    size: int
    keys: Lazy
    make: MakeGenerator
    active: tuple[Generator | None, ...] = ()

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The soonest operation of the groups that have a free thread, a random group first."""
        process = ctx.some_free_process()
        if process is None:
            return PENDING
        plan = self._plan(ctx)
        count = len(plan.masks) - 1
        keys = self.keys
        active = list(self.active or (None,) * count)
        first = plan.group_of[ctx.thread(process) + 1]
        best: Emit | None = None
        at = 0
        waiting = False
        for step in range(count):
            number = (first + step) % count
            narrow = ctx.restrict(plan.masks[number])
            if not narrow.free_mask:
                waiting = True
                continue
            offer, keys, active[number] = self._ask(test, narrow, active[number], keys)
            if offer is PENDING:
                waiting = True
            elif offer is not None and (best is None or offer.op.time_ns < best.op.time_ns):
                best, at = offer, number
                if offer.op.time_ns <= ctx.time_ns:
                    break
            elif offer is None and narrow.free_mask != narrow.mask:
                waiting = True
        if best is None:
            return PENDING if waiting else None
        # Keys that other groups took on the way stay theirs, though they did not get to act.
        active[at] = best.next
        return Emit(best.op, ConcurrentKeys(self.size, keys, self.make, tuple(active)))

    def _ask(
        self, test: Mapping[str, Any], ctx: Context, generator: Generator | None, keys: Lazy
    ) -> tuple[Answer, Lazy, Generator | None]:
        """One group's offer, from the next key if its own is exhausted."""
        for _ in range(_KEY_LIMIT):
            if generator is None:
                split = keys.split()
                if split is None:
                    return None, keys, None
                key, keys = split
                generator = Keyed(key, lift(self.make(key)))
            offer = generator.op(test, ctx)
            if offer is not None:
                return offer, keys, generator
            generator = None
        raise HarnessError(
            f"concurrent_keys: {_KEY_LIMIT} keys in a row gave a generator that yields nothing"
        )

    def _plan(self, ctx: Context) -> Layout:
        threads = ctx.mask.bit_count()
        if threads % self.size or not threads:
            raise HarnessError(
                f"concurrent_keys: {threads} threads cannot be divided into groups of {self.size}; "
                f"make the concurrency a multiple of {self.size}"
            )
        return layout(ctx.mask, (self.size,) * (threads // self.size))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """The generator of the thread's group learns of it, if it is about its key."""
        if not self.active:
            return self
        plan = self._plan(ctx)
        number = plan.group_of.get(ctx.thread(event.process) + 1)
        old = None if number is None else self.active[number]
        if number is None or old is None:
            return self
        following = old.update(test, ctx.restrict(plan.masks[number]), event)
        if following is old:
            return self
        active = (*self.active[:number], following, *self.active[number + 1 :])
        return ConcurrentKeys(self.size, self.keys, self.make, active)


def concurrent_keys(
    threads_per_key: int, keys: Iterable[Any], make: MakeGenerator
) -> Generator:
    """Groups of threads, each on its own key, which takes the next key when one is exhausted.

    ``make(key)`` gives the generator of one key; ``op.key`` is set.  The number of threads must be
    a multiple of ``threads_per_key``; put it under ``clients``, so that the nemesis is not counted.

    >>> from splitbrain.harness.generator import clients, invocations, limit
    >>> gen = concurrent_keys(2, ["x", "y", "z"], lambda key: limit(3, lambda: {"f": "r"}))
    >>> ops = invocations(clients(gen), concurrency=4)
    >>> sorted(op.key for op in ops)
    ['x', 'x', 'x', 'y', 'y', 'y', 'z', 'z', 'z']
    """
    if threads_per_key < 1:
        raise HarnessError(
            f"concurrent_keys: {threads_per_key} threads per key; give at least 1"
        )
    return ConcurrentKeys(threads_per_key, elements_of(keys), make)
