"""Operations changed, dropped or watched on their way: map, f_map, filter, on_update, trace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.errors import HarnessError
from splitbrain.harness.generator.lift import PSEUDO, Answer, lift
from splitbrain.history.op import Op

__all__ = ["f_map", "filter", "map", "on_update", "trace"]

_DROP_LIMIT = 100_000
_LOG = logging.getLogger("splitbrain.generator")

Change = Callable[[Op], Op]
Handler = Callable[[Generator, Mapping[str, Any], Context, Op], Any]


class Map(msgspec.Struct, frozen=True):
    """Each operation changed by a function."""

    change: Change
    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The changed operation; sleeps and log lines stay as they are."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        op = offer.op if offer.op.f in PSEUDO else self.change(offer.op)
        return Emit(op, Map(self.change, offer.next))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on as it is: with the change made."""
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Map(self.change, following)


def map(change: Change, generator: Any) -> Generator:  # noqa: A001 - read as generator.map
    """Each operation changed by ``change(op) -> op``.

    >>> from splitbrain.harness.generator import invocations
    >>> from msgspec.structs import replace
    >>> gen = map(lambda op: replace(op, value=op.value + 1), [{"f": "w", "value": 1}])
    >>> [op.value for op in invocations(gen)]
    [2]
    """
    return Map(change, lift(generator))


def f_map(names: Mapping[str, str], generator: Any) -> Generator:
    """Operations renamed: ``f`` becomes ``names[f]`` where there is one.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(f_map({"start": "start-kill"}, {"f": "start"}))]
    ['start-kill']
    """
    table = dict(names)

    def rename(op: Op) -> Op:
        new = table.get(op.f)
        return op if new is None else msgspec.structs.replace(op, f=new)

    return Map(rename, lift(generator))


class Filter(msgspec.Struct, frozen=True):
    """Only the operations for which a predicate holds."""

    keep: Callable[[Op], bool]
    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The next operation that is kept."""
        generator = self.generator
        for _ in range(_DROP_LIMIT):
            offer = generator.op(test, ctx)
            if offer is None or offer is PENDING:
                return offer
            if offer.op.f in PSEUDO or self.keep(offer.op):
                return Emit(offer.op, Filter(self.keep, offer.next))
            generator = offer.next
        raise HarnessError(
            f"filter {self.keep!r} dropped {_DROP_LIMIT} operations in a row; let it keep some"
        )

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Filter(self.keep, following)


def filter(keep: Callable[[Op], bool], generator: Any) -> Generator:  # noqa: A001 - as map
    """Only the operations for which ``keep(op)`` is true.

    >>> from splitbrain.harness.generator import invocations
    >>> gen = filter(lambda op: op.value % 2, [{"f": "w", "value": n} for n in range(5)])
    >>> [op.value for op in invocations(gen)]
    [1, 3]
    """
    return Filter(keep, lift(generator))


class OnUpdate(msgspec.Struct, frozen=True):
    """A generator that is replaced by what ``handler`` says at each event."""

    handler: Handler
    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        return Emit(offer.op, OnUpdate(self.handler, offer.next))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """What the handler gives for (this generator, after its own update)."""
        following = OnUpdate(self.handler, self.generator.update(test, ctx, event))
        return lift(self.handler(following, test, ctx, event))


def on_update(handler: Handler, generator: Any) -> Generator:
    """Feedback: ``handler(this, test, ctx, event)`` is called at each event, and gives what follows.

    ``this`` is the generator with its handler, after its own update; give it back to go on.

    >>> from splitbrain.harness.generator import invocations, repeat
    >>> stop = lambda this, test, ctx, event: None if event.type == "ok" else this
    >>> len(invocations(on_update(stop, repeat({"f": "read"})), concurrency=3))
    4
    """
    return OnUpdate(handler, lift(generator))


class Trace(msgspec.Struct, frozen=True):
    """A generator whose every question and answer is told."""

    label: str
    generator: Generator
    sink: Callable[[str], None]

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The generator's operation, told."""
        offer = self.generator.op(test, ctx)
        free = list(ctx.free_threads)
        if offer is None or offer is PENDING:
            self.sink(f"{self.label} op at {ctx.time_ns} free {free}: {offer}")
            return offer
        op = offer.op
        self.sink(
            f"{self.label} op at {ctx.time_ns} free {free}: "
            f"{op.process} {op.f} {op.key} {op.value} at {op.time_ns}"
        )
        return Emit(op, Trace(self.label, offer.next, self.sink))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on, and told."""
        self.sink(
            f"{self.label} update at {ctx.time_ns}: "
            f"{event.process} {event.type} {event.f} {event.key} {event.value}"
        )
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Trace(self.label, following, self.sink)


def trace(
    label: str, generator: Any, *, sink: Callable[[str], None] | None = None
) -> Generator:
    """Tell every question and answer, to ``sink`` or to the logger ``splitbrain.generator``.

    >>> from splitbrain.harness.generator import invocations, on_threads
    >>> gen = on_threads({0}, trace("x", {"f": "read"}, sink=print))
    >>> _ = invocations(gen)
    x op at 0 free [0]: 0 read None None at 0
    x update at 0: 0 invoke read None None
    x update at 10: 0 ok read None None
    x op at 10 free [0]: None
    """
    return Trace(label, lift(generator), _LOG.info if sink is None else sink)
