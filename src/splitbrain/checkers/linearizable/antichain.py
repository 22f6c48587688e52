"""Vectors of small counts packed into one integer, and sets of them of which only minima are kept.

Engines count how many crashed calls of each action a partial order has used.  Of two partial orders
that agree in all else, one that used no more of *any* action can do whatever the other can: it
dominates.  So for each point of the search only the minimal vectors are worth keeping.

    >>> counts = Counts(2)
    >>> one, two = counts.add(0, 0), counts.add(counts.add(0, 0), 1)
    >>> counts.dominates(one, two), counts.dominates(two, one), counts.total(two)
    (True, False, 2)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

__all__ = ["Antichains", "Counts"]

BITS: Final = 16
COUNT_MAX: Final = (1 << (BITS - 1)) - 1
"""A field's top bit is a guard, so that one subtraction compares all fields."""

Key = TypeVar("Key", bound=Hashable)


class Counts:
    """Operations on packed vectors of ``size`` counts; the zero vector is 0."""

    __slots__ = ("_guards", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._guards = sum(1 << (BITS * which + BITS - 1) for which in range(size))

    def get(self, vector: int, which: int) -> int:
        """One count."""
        return vector >> (BITS * which) & COUNT_MAX

    def add(self, vector: int, which: int) -> int:
        """The vector with one count raised by one."""
        assert self.get(vector, which) < COUNT_MAX, "more than 32767 equal crashed calls"
        return vector + (1 << (BITS * which))

    def dominates(self, less: int, more: int) -> bool:
        """Whether no count of ``less`` exceeds that of ``more``."""
        return ((more | self._guards) - less) & self._guards == self._guards

    def total(self, vector: int) -> int:
        """Sum of all counts."""
        total = 0
        while vector:
            total += vector & COUNT_MAX
            vector >>= BITS
        return total


class Antichains(Generic[Key]):
    """For each key the minimal vectors inserted so far.

    Attributes:
        size: number of vectors held.
    """

    __slots__ = ("_counts", "_table", "size")

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._table: dict[Key, list[int]] = {}
        self.size = 0

    def insert(self, key: Key, vector: int) -> bool:
        """Keep the vector unless one at hand dominates it; whether it was kept."""
        held = self._table.get(key)
        if held is None:
            self._table[key] = [vector]
            self.size += 1
            return True
        dominates = self._counts.dominates
        for other in held:
            if dominates(other, vector):
                return False
        kept = [other for other in held if not dominates(vector, other)]
        self.size += len(kept) + 1 - len(held)
        kept.append(vector)
        self._table[key] = kept
        return True

    def __iter__(self) -> Iterator[tuple[Key, int]]:
        for key, held in self._table.items():
            for vector in held:
                yield key, vector
