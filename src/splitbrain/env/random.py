"""One seed, named sub-streams: the only source of randomness in splitbrain.

A stream's draws depend on the seed and its name alone, so that adding a consumer, or removing one
fault, does not shift what the others draw.

    >>> Random(7).stream("raft", "n1").random() == Random(7).stream("raft", "n1").random()
    True
    >>> Random(7).fraction("link", "n1", "n2", 12) == Random(7).fraction("link", "n1", "n2", 13)
    False

A stream has what Python's own ``random.Random`` has (``choice``, ``sample``, ``uniform`` ...), and the
distributions that tests of systems want: ``zipf``, ``exponential``, ``geometric``, ``weighted``,
``nonempty_subset``, ``shuffled``.
"""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

__all__ = ["Random", "Stream"]

T = TypeVar("T")

_TWO_64 = float(1 << 64)


@lru_cache(maxsize=64)
def _zipf_shares(count: int, skew: float) -> tuple[float, ...]:
    """Cumulative probabilities of the ranks, the last one being 1."""
    sums = tuple(accumulate((rank + 1) ** -skew for rank in range(count)))
    return tuple(part / sums[-1] for part in sums)


class Stream(random.Random):
    """A stream of draws; made by :meth:`Random.stream` only, never from global state."""

    def zipf(self, count: int, skew: float = 1.0) -> int:
        """A rank from 0 to count - 1: rank r comes (r + 1) ** skew times as seldom as rank 0.

        What real keys are like: a few are hot, most are not.

        >>> stream = Random(1).stream("doc")
        >>> draws = [stream.zipf(4) for _ in range(2500)]
        >>> [round(draws.count(rank) / 1200, 1) for rank in range(4)]
        [1.0, 0.5, 0.3, 0.2]

        Raises:
            ValueError: ``count`` is below 1, or ``skew`` negative.
        """
        if count < 1 or not 0 <= skew < math.inf:
            raise ValueError(
                f"zipf of {count} ranks with skew {skew}: give 1 or more, and 0 or more"
            )
        # The last share is 1.0 and a draw is below it, so that the rank is always one of ours.
        return bisect_right(_zipf_shares(count, skew), self.random())

    def exponential(self, mean: float) -> float:
        """A waiting time of that mean: how long until an event that comes at any time alike.

        >>> stream = Random(1).stream("doc")
        >>> 0.95 < sum(stream.exponential(1.0) for _ in range(10_000)) / 10_000 < 1.05
        True

        Raises:
            ValueError: ``mean`` is not positive.
        """
        if not 0 < mean < math.inf:
            raise ValueError(f"exponential of mean {mean}: give a positive number")
        return -mean * math.log(1.0 - self.random())

    def geometric(self, chance: float) -> int:
        """How many tries, each with that chance of success, until the first success: 1 or more.

        >>> stream = Random(1).stream("doc")
        >>> 3.8 < sum(stream.geometric(0.25) for _ in range(10_000)) / 10_000 < 4.2
        True

        Raises:
            ValueError: ``chance`` is not in (0, 1].
        """
        if not 0 < chance <= 1:
            raise ValueError(f"geometric of chance {chance}: give a number over 0, at most 1")
        if chance == 1:
            return 1
        return 1 + int(math.log(1.0 - self.random()) / math.log1p(-chance))

    def weighted(self, weights: Mapping[T, float]) -> T:
        """One of the keys, each with a chance in proportion to its weight.

        >>> stream = Random(1).stream("doc")
        >>> draws = [stream.weighted({"read": 3, "write": 1, "never": 0}) for _ in range(4000)]
        >>> 2900 < draws.count("read") < 3100, draws.count("never")
        (True, 0)

        Raises:
            ValueError: no weight is positive, or one is negative.
        """
        sums = list(accumulate(weights.values()))
        if not sums or not 0 < sums[-1] < math.inf or min(weights.values()) < 0:
            raise ValueError(
                f"weights {dict(weights)!r}: none may be negative, one must be positive"
            )
        return list(weights)[bisect_right(sums, self.random() * sums[-1])]

    def nonempty_subset(self, items: Sequence[T]) -> list[T]:
        """Some of the items, at least one, in random order; each number of them is as likely.

        >>> len(Random(1).stream("doc").nonempty_subset(["n1", "n2", "n3"])) in (1, 2, 3)
        True

        Raises:
            ValueError: there are no items.
        """
        if not items:
            raise ValueError("no items, so no subset of them that is not empty")
        return self.sample(items, self.randint(1, len(items)))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A copy in random order; each order is as likely.

        >>> sorted(Random(1).stream("doc").shuffled("abc"))
        ['a', 'b', 'c']
        """
        return self.sample(items, len(items))


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
        return Stream(self.draw(*names))

    def draw(self, *names: object) -> int:
        """One integer in [0, 2**64), a pure function of the seed and ``names``."""
        text = "\x1f".join([self._prefix, *(str(name) for name in names)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def fraction(self, *names: object) -> float:
        """One float in [0, 1), a pure function of the seed and ``names``."""
        return self.draw(*names) / _TWO_64
