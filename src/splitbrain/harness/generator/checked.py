"""A user's own generator, checked where it answers.

A combinator takes an offer apart and goes on with what follows, so that nonsense from a generator
inside it would come to light a step later, as an AttributeError of the combinator's.  So ``lift``
puts a generator that is not ours behind a ``Checked``, which looks at the form of each answer: an
Emit of an Op and a generator, PENDING or None.  Whether the operation itself is sound is seen when it
has passed through all combinators: one of them may fill in what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.harness.validate import check_offer, check_update
from splitbrain.history.op import Op

__all__ = ["Checked", "checked"]


def checked(generator: Generator) -> Generator:
    """The generator itself if it is ours, else behind a check."""
    ours = type(generator).__module__.startswith("splitbrain.")
    return generator if ours else Checked(generator)


class Checked(msgspec.Struct, frozen=True):
    """Another's generator, whose answers must have the form of answers."""

    generator: Generator

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """Its offer, and what follows behind a check too."""
        offer = self.generator.op(test, ctx)
        if offer is None or offer is PENDING:
            return offer
        if (
            isinstance(offer, Emit)
            and isinstance(offer.op, Op)
            and hasattr(offer.next, "op")
            and hasattr(offer.next, "update")
        ):
            return Emit(offer.op, checked(offer.next))
        check_offer(offer, self.generator, ctx)
        raise AssertionError(f"check_offer let {offer!r} pass")

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """What it becomes by the event."""
        following = self.generator.update(test, ctx, event)
        if following is self.generator:
            return self
        return checked(check_update(following, self.generator, event))
