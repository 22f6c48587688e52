"""One seed, named sub-streams: the only source of randomness in splitbrain.

A stream's draws depend on the seed and its name alone, so that adding a consumer, or removing one
fault, does not shift what the others draw.

    >>> Random(7).stream("raft", "n1").random() == Random(7).stream("raft", "n1").random()
    True
    >>> Random(7).fraction("link", "n1", "n2", 12) == Random(7).fraction("link", "n1", "n2", 13)
    False
"""

from __future__ import annotations

import hashlib
import random

__all__ = ["Random", "Stream"]

Stream = random.Random
"""A generator of draws; made by :meth:`Random.stream` only, never from global state."""

_TWO_64 = float(1 << 64)


class Random:
    """A seed from which named streams and single draws are derived (SHA-256 of seed and name)."""

    __slots__ = ("_prefix", "seed")

    def __init__(self, seed: int, *names: object) -> None:
        self.seed = seed
        self._prefix = "\x1f".join([str(seed), *(str(name) for name in names)])

    def child(self, *names: object) -> Random:
        """The same seed, with ``names`` put before every name asked of the child."""
        child = Random(self.seed)
        child._prefix = "\x1f".join([self._prefix, *(str(name) for name in names)])
        return child

    def stream(self, *names: object) -> Stream:
        """A fresh stream for ``names``; equal names give equal draws."""
        return random.Random(self.draw(*names))

    def draw(self, *names: object) -> int:
        """One integer in [0, 2**64), a pure function of the seed and ``names``."""
        text = "\x1f".join([self._prefix, *(str(name) for name in names)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def fraction(self, *names: object) -> float:
        """One float in [0, 1), a pure function of the seed and ``names``."""
        return self.draw(*names) / _TWO_64
