"""A hash tree over what a replica holds, by which two replicas find where they differ in few steps.

Each stored key has its place in the tree by a hash of column and key, sixteen branches at each level:
a key that one replica lacks moves nobody else's place.  A node is named by the hex digits of its path;
its hash covers all items below it, values included.  A node of few items tells them all; one of many
tells the hashes of its sixteen branches.  Both can be asked of any path, so that a tree with many
items at a place and one with few are compared all the same.

    >>> one = Tree([(Column.RAW, b"a", b"1"), (Column.RAW, b"b", b"2")])
    >>> two = Tree([(Column.RAW, b"a", b"1"), (Column.RAW, b"b", b"3")])
    >>> one.node().hash == two.node().hash, one.node().below
    (False, 2)
    >>> set(one.node().items) ^ set(two.node().items)  == {
    ...     (Column.RAW, b"b", b"2"), (Column.RAW, b"b", b"3")}
    True
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from splitbrain.cluster.storage.columns import Column

__all__ = ["FAN_OUT", "ITEMS_MAX", "Item", "Node", "Tree"]

FAN_OUT = 16
ITEMS_MAX = 16
"""A node of at most so many items tells them."""

Item = tuple[Column, bytes, bytes]
"""Column, stored key, value."""

_DIGITS = "0123456789abcdef"
_PLACE_BYTES = 16
_ABOVE = "g"
"""Sorts after every digit."""


class Node(NamedTuple):
    """One node.

    Attributes:
        hash: of all that is below.
        below: how many items that is.
        branches: hashes of the sixteen nodes below, by digit; an empty one has "".
        items: those below, if they are few.
    """

    hash: str
    below: int
    branches: tuple[str, ...]
    items: tuple[Item, ...]


class Tree:
    """The tree of some items; n log n to build, and each node is hashed when it is first asked for."""

    def __init__(self, items: Iterable[Item]) -> None:
        placed = sorted(
            (_place(column, key), column, key, value) for column, key, value in items
        )
        self._places = [place for place, *_ in placed]
        self._items: list[Item] = [(column, key, value) for _, column, key, value in placed]
        self._hashes: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._items)

    def node(self, path: str = "") -> Node:
        """The node at ``path``, hex digits from the root down.

        Raises:
            ValueError: these are not hex digits, or too many.
        """
        if not set(path) <= set(_DIGITS) or len(path) >= 2 * _PLACE_BYTES:
            raise ValueError(f"{path!r} is no path of a tree: up to 31 hex digits")
        low, high = self._range(path)
        few = high - low <= ITEMS_MAX
        return Node(
            self._hash(path),
            high - low,
            tuple(self._hash(path + digit) for digit in _DIGITS),
            tuple(self._items[low:high]) if few else (),
        )

    def _range(self, path: str) -> tuple[int, int]:
        places = self._places
        return bisect_left(places, path), bisect_left(places, path + _ABOVE)

    def _hash(self, path: str) -> str:
        known = self._hashes.get(path)
        if known is None:
            known = self._hashes[path] = self._hashed(path)
        return known

    def _hashed(self, path: str) -> str:
        low, high = self._range(path)
        if low == high:
            return ""
        digest = blake2b(digest_size=_PLACE_BYTES)
        if high - low > ITEMS_MAX:
            for digit in _DIGITS:
                digest.update(self._hash(path + digit).encode() + b";")
            return digest.hexdigest()
        for column, key, value in self._items[low:high]:
            digest.update(b"%d %d %d " % (column, len(key), len(value)) + key + value)
        return digest.hexdigest()


def _place(column: Column, key: bytes) -> str:
    return blake2b(b"%d " % column + key, digest_size=_PLACE_BYTES).hexdigest()
