"""One after the other, with everybody waiting for everybody: synchronize, phases, then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Generator
from splitbrain.harness.generator.choice import arms
from splitbrain.harness.generator.lift import Answer, concat, lift
from splitbrain.history.op import Op

__all__ = ["phases", "synchronize", "then"]


class Synchronize(msgspec.Struct, frozen=True):
    """A barrier before ``generator``."""

    generator: Generator

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """Pending until all threads of the context are free; then the generator itself."""
        if ctx.free_mask != ctx.mask:
            return PENDING
        return self.generator.op(test, ctx)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Passed on."""
        following = self.generator.update(test, ctx, event)
        return self if following is self.generator else Synchronize(following)


def synchronize(generator: Any) -> Generator:
    """Waits until no operation is in flight, then goes on with the generator.

    >>> from splitbrain.harness.generator import clients, concat, each_thread, simulate
    >>> gen = clients(concat(each_thread({"f": "a"}), synchronize({"f": "b"})))
    >>> [(op.f, op.type[0]) for op in simulate(gen, concurrency=2)]
    [('a', 'i'), ('a', 'i'), ('a', 'o'), ('a', 'o'), ('b', 'i'), ('b', 'o')]
    """
    return Synchronize(lift(generator))


def phases(*generators: Any) -> Generator:
    """One generator after the other, each only when all operations of the one before are done.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(phases([{"f": "write"}] * 2, {"f": "read"}))]
    ['write', 'write', 'read']
    """
    return concat(*(Synchronize(generator) for generator in arms(generators)))


def then(first: Any, second: Any) -> Generator:
    """The first generator, a barrier, then the second.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(then({"f": "write"}, {"f": "read"}))]
    ['write', 'read']
    """
    return concat(first, synchronize(second))
