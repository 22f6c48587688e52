"""One directed link: what is done to its messages, and what its receiver has seen of them.

A message's fate is a pure function of (seed, link, message number, purpose), so that taking one
fault or one operation away does not shift the fate of other messages.  Drawing 64-bit hashes one by
one costs more than sending a message, so :class:`Draws` computes them in blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from splitbrain.contracts.fault import Shape
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Random

__all__ = ["Draws", "Link", "Mould", "mould"]

_BLOCK = 256
_MS = 1_000_000


class Draws:
    """Numbered fractions in [0, 1): ``at(n)`` depends on the seed, the names and n alone."""

    __slots__ = ("_block", "_names", "_random", "_values")

    def __init__(self, random: Random, *names: object) -> None:
        self._random = random
        self._names = names
        self._block = -1
        self._values: list[float] = []

    def at(self, number: int) -> float:
        """The fraction of that number."""
        block = number // _BLOCK
        if block != self._block:
            draw = self._random.stream(*self._names, block).random
            self._values = [draw() for _ in range(_BLOCK)]
            self._block = block
        return self._values[number % _BLOCK]


class Mould(msgspec.Struct, frozen=True):
    """All shapes of one link together, in nanoseconds."""

    delay_ns: int
    jitter_ns: int
    loss: float
    duplicate: float
    reorder: float
    corrupt: float
    bits_per_s: float


def mould(shapes: Iterable[Shape]) -> Mould | None:
    """What several shapes do together; None for none.

    Delays and jitters add up, probabilities combine as of independent events, the lowest rate
    holds.

    >>> mould([Shape(loss=0.5), Shape(loss=0.5, delay_ms=1)]).loss
    0.75
    """
    parts = list(shapes)
    if not parts:
        return None
    rates = [part.rate_kbps for part in parts if part.rate_kbps > 0]
    return Mould(
        delay_ns=round(sum(part.delay_ms for part in parts) * _MS),
        jitter_ns=round(sum(part.jitter_ms for part in parts) * _MS),
        loss=_either(part.loss for part in parts),
        duplicate=_either(part.duplicate for part in parts),
        reorder=_either(part.reorder for part in parts),
        corrupt=_either(part.corrupt for part in parts),
        bits_per_s=min(rates) * 1000 if rates else 0.0,
    )


def _either(probabilities: Iterable[float]) -> float:
    none = 1.0
    for probability in probabilities:
        none *= 1.0 - probability
    return 1.0 - none


class Link:
    """State of one directed link.

    The sender's half: ``sent`` numbers messages from 1; ``floor_ns`` is the arrival of the last
    one, which later ones do not overtake.  The receiver's half: what arrived, judged by the numbers
    that the messages bear.
    """

    __slots__ = (
        "busy_ns",
        "cuts",
        "damaged",
        "disturbed",
        "draws",
        "duplicates",
        "floor_ns",
        "held",
        "jitters",
        "key",
        "lateness_ns",
        "missing",
        "mould",
        "newest",
        "random",
        "received",
        "reordered",
        "sent",
        "source",
        "target",
    )

    def __init__(self, key: tuple[str, str], source: str, target: Any, random: Random) -> None:
        self.key = key
        """Its name in a Cut: all links between our clients and a node share one."""
        self.source = source
        self.target = target
        """The receiving end: a node, or a client."""
        self.random = random
        self.jitters = Draws(random, "jitter")
        self.draws: dict[str, Draws] = {}
        self.sent = 0
        self.floor_ns = 0
        self.busy_ns = 0
        self.cuts = 0
        self.mould: Mould | None = None
        self.disturbed = False
        self.held: list[list[Any]] = []
        self.received = self.duplicates = self.reordered = self.damaged = 0
        self.lateness_ns = 0
        self.newest = 0
        self.missing: set[int] = set()

    def draw(self, purpose: str, number: int) -> float:
        """The fraction that decides ``purpose`` for this message."""
        draws = self.draws.get(purpose)
        if draws is None:
            draws = self.draws[purpose] = Draws(self.random, purpose)
        return draws.at(number)

    def arrived(self, number: int, late_ns: int) -> bool:
        """Note an arrival; False if a message of that number had come before."""
        self.received += 1
        self.lateness_ns += late_ns
        if number == self.newest + 1:
            self.newest = number
            return True
        if number > self.newest:
            self.missing.update(range(self.newest + 1, number))
            self.newest = number
            return True
        if number in self.missing:
            self.missing.discard(number)
            self.reordered += 1
            return True
        self.duplicates += 1
        return False

    def count(self) -> LinkCount:
        """What both ends have counted."""
        return LinkCount(
            sent=self.sent,
            received=self.received,
            duplicates=self.duplicates,
            reordered=self.reordered,
            lateness_ns=self.lateness_ns,
        )
