"""Ids that are never given twice: blocks reserved in the log, given out from memory.

A block belongs to the leader in whose term it was reserved.  What is left of it when that leader
ends is never used; so no confirmation is needed to give from it.

    >>> ids = Ids(block=10)
    >>> ids.take(2), ids.wanted(2)
    (None, 10)
    >>> ids.granted(1000, 1010)
    >>> ids.take(2), ids.take(3), ids.wanted(5), ids.wanted(6)
    (1001, 1004, None, 10)
"""

from __future__ import annotations

__all__ = ["Ids"]


class Ids:
    """The block of one leadership."""

    def __init__(self, block: int) -> None:
        self._block = block
        self.drop()

    def drop(self) -> None:
        """Forget the block: this leadership is over."""
        self._next = self._end = 0
        self._asked = False

    def take(self, count: int) -> int | None:
        """The LAST of ``count`` consecutive ids, or None if the block has not so many."""
        if self._next + count > self._end:
            return None
        self._next += count
        return self._next - 1

    def wanted(self, count: int) -> int | None:
        """How many to reserve so that ``count`` can be taken; None: enough are here, or asked."""
        if self._asked or self._next + count <= self._end:
            return None
        self._asked = True
        return max(self._block, count)

    def refused(self) -> None:
        """The reservation was refused before it was stored."""
        self._asked = False

    def granted(self, start: int, end: int) -> None:
        """Ids of [start, end) are reserved for this leadership."""
        self._asked = False
        if start != self._end:
            self._next = start
        self._end = end
