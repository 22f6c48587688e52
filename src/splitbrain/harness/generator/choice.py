"""Several generators at once: the soonest of them, a random one, or turn by turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.harness.context import bits
from splitbrain.harness.generator.lift import Answer, lift
from splitbrain.history.op import Op

__all__ = [
    "AnyOf",
    "FlipFlop",
    "Layout",
    "Mix",
    "any_of",
    "arms",
    "flip_flop",
    "layout",
    "mix",
    "replaced",
    "shortest_any",
]

_NOBODY: Final = -1


def arms(generators: tuple[Any, ...]) -> tuple[Generator, ...]:
    """Lift the arms of a combinator, given one by one or as a single list."""
    if len(generators) == 1 and isinstance(generators[0], list | tuple):
        generators = tuple(generators[0])
    return tuple(lift(generator) for generator in generators)


def replaced(generators: Sequence[Generator], at: int, new: Generator) -> tuple[Generator, ...]:
    """The tuple with one element changed."""
    return (*generators[:at], new, *generators[at + 1 :])


class Layout(msgspec.Struct, frozen=True, eq=False):
    """Threads of a context divided into groups: their masks, and the group of each bit."""

    masks: tuple[int, ...]
    group_of: Mapping[int, int]


@lru_cache(maxsize=1024)
def layout(mask: int, sizes: tuple[int, ...]) -> Layout:
    """Divide the threads of ``mask``, ascending, into groups of these sizes, and one of the rest.

    >>> [bits(group) for group in layout(0b1111110, (2, 1)).masks]
    [(1, 2), (3,), (4, 5, 6)]
    """
    positions = bits(mask)
    masks = []
    group_of: dict[int, int] = {}
    start = 0
    for number, size in enumerate((*sizes, len(positions))):
        chosen = positions[start : start + size]
        start += size
        masks.append(sum(1 << position for position in chosen))
        group_of.update(dict.fromkeys(chosen, number))
    return Layout(tuple(masks), group_of)


class AnyOf(msgspec.Struct, frozen=True):
    """The soonest operation of several generators; ``shortest``: exhausted with the first of them."""

    generators: tuple[Generator, ...]
    shortest: bool = False

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The offer with the earliest time; among equal times each has an equal chance."""
        best: Emit | None = None
        at = _NOBODY
        ties = 0
        waiting = False
        for number, generator in enumerate(self.generators):
            offer = generator.op(test, ctx)
            if offer is None:
                if self.shortest:
                    return None
                continue
            if offer is PENDING:
                waiting = True
            elif best is None or offer.op.time_ns < best.op.time_ns:
                best, at, ties = offer, number, 1
            elif offer.op.time_ns == best.op.time_ns:
                ties += 1
                if ctx.random.random() * ties < 1:
                    best, at = offer, number
        if best is None:
            return PENDING if waiting else None
        return Emit(best.op, AnyOf(replaced(self.generators, at, best.next), self.shortest))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """All of them learn of the event."""
        following = tuple(each.update(test, ctx, event) for each in self.generators)
        return AnyOf(following, self.shortest)


def any_of(*generators: Any) -> Generator:
    """Whichever operation comes soonest; exhausted when all are.

    >>> from splitbrain.harness.generator import delay, invocations
    >>> ops = invocations(any_of(delay(2, [{"f": "a"}] * 2), delay(3, [{"f": "b"}] * 2)))
    >>> sorted((op.time_ns // 10**9, op.f) for op in ops)
    [(0, 'a'), (0, 'b'), (2, 'a'), (3, 'b')]
    """
    return AnyOf(arms(generators))


def shortest_any(*generators: Any) -> Generator:
    """Whichever operation comes soonest; exhausted as soon as one of them is.

    >>> from splitbrain.harness.generator import delay, invocations, repeat
    >>> gen = shortest_any(delay(2, repeat({"f": "a"}, times=2)), delay(3, repeat({"f": "b"})))
    >>> sorted((op.time_ns // 10**9, op.f) for op in invocations(gen))
    [(0, 'a'), (0, 'b'), (2, 'a')]
    """
    return AnyOf(arms(generators), shortest=True)


class Mix(msgspec.Struct, frozen=True):
    """A generator drawn at random for each operation; ``turn`` is the one drawn for the next."""

    turn: int
    generators: tuple[Generator, ...]

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The drawn generator's operation; while that one is pending, another's."""
        generators = self.generators
        random = ctx.random.random
        turn = self.turn
        while generators:
            count = len(generators)
            if turn < 0:
                turn = int(random() * count)
            for step in range(count):
                at = (turn + step) % count
                offer = generators[at].op(test, ctx)
                if offer is None:
                    generators = (*generators[:at], *generators[at + 1 :])
                    break
                if offer is not PENDING:
                    following = generators
                    if offer.next is not generators[at]:
                        following = replaced(generators, at, offer.next)
                    return Emit(offer.op, Mix(int(random() * count), following))
            else:
                return PENDING
            turn = _NOBODY
        return None

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Mixed generators do not learn of events."""
        return self


def mix(*generators: Any) -> Generator:
    """A uniformly random one for each operation; one that is exhausted drops out.

    >>> from splitbrain.harness.generator import invocations, repeat
    >>> ops = invocations(mix(repeat({"f": "r"}), repeat({"f": "w"})), max_ops=1000)
    >>> 400 < sum(op.f == "r" for op in ops) < 600
    True
    """
    return Mix(_NOBODY, arms(generators))


class FlipFlop(msgspec.Struct, frozen=True):
    """One operation of each in turn."""

    generators: tuple[Generator, ...]
    turn: int = 0

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The next operation of the one whose turn it is."""
        offer = self.generators[self.turn].op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        following = replaced(self.generators, self.turn, offer.next)
        return Emit(offer.op, FlipFlop(following, (self.turn + 1) % len(following)))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Alternating generators do not learn of events."""
        return self


def flip_flop(first: Any, second: Any) -> Generator:
    """a, b, a, b ... until the one whose turn it is has no more.

    >>> from splitbrain.harness.generator import invocations, repeat
    >>> ops = invocations(flip_flop(repeat({"f": "start"}), [{"f": "stop"}] * 2))
    >>> [op.f for op in ops]
    ['start', 'stop', 'start', 'stop', 'start']
    """
    return FlipFlop((lift(first), lift(second)))
