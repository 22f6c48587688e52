"""Sets of configurations of the just-in-time search of which only the undominated are kept.

For a blind write that is open, *free* (it may count as done, or be done yet) is better than both
done and undone, which cannot stand in for each other.  So one configuration dominates another of
equal state, equal in which reads and cas are done, if

- its done writes are among the other's done ones, and its undone writes among the other's undone
  ones: wherever they differ it is free;
- it used no more crashed calls of any action.

    >>> frontier = Frontier(Counts(0))
    >>> frontier.insert(("v", 0b01, 0b00), 0, blind=0b11)    # one write done, one undone
    True
    >>> frontier.insert(("v", 0b00, 0b11), 0, blind=0b11)    # both free: better
    True
    >>> frontier.insert(("v", 0b10, 0b01), 0, blind=0b11)
    False
    >>> list(frontier), frontier.size
    ([(('v', 0, 3), 0)], 1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from splitbrain.checkers.linearizable.antichain import Counts

__all__ = ["Frontier", "Key"]

Key = tuple[Any, int, int]
"""State, mask of open calls that are done, mask of open calls that may count as done."""

Entry = tuple[int, int, int]
"""Mask of writes done, mask of writes undone, packed counts of crashed calls used."""


class Frontier:
    """Undominated configurations.

    Attributes:
        size: how many.
    """

    __slots__ = ("_counts", "_table", "size")

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._table: dict[tuple[Any, int], dict[Entry, Key]] = {}
        self.size = 0

    def insert(self, key: Key, used: int, *, blind: int) -> bool:
        """Keep a configuration unless one at hand dominates it; whether it was kept.

        Args:
            key: the configuration.
            used: its packed counts.
            blind: mask of all open writes and appends; the same for all that are compared.
        """
        state, done, free = key
        written, undone = done & blind, blind & ~(done | free)
        entry = (written, undone, used)
        held = self._table.setdefault((state, done & ~blind), {})
        if entry in held:
            return False
        dominates = self._counts.dominates
        worse: list[Entry] = []
        for other in held:
            other_written, other_undone, other_used = other
            if not (other_written & ~written or other_undone & ~undone) and dominates(
                other_used, used
            ):
                return False
            if not (written & ~other_written or undone & ~other_undone) and dominates(
                used, other_used
            ):
                worse.append(other)
        for other in worse:
            del held[other]
        held[entry] = key
        self.size += 1 - len(worse)
        return True

    def __iter__(self) -> Iterator[tuple[Key, int]]:
        for held in self._table.values():
            for entry, key in held.items():
                yield key, entry[2]
