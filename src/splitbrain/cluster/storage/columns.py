"""The state machine of one region: four columns of keys and values, each ordered by key.

The log feeds it whole batches: an entry's writes happen all or none, and equal batches in equal
order give equal states, equal digests and equal snapshot bytes on every store.  What the bytes mean
is nobody's business here: ``mvcc`` writes the first three columns, raw operations the last.

    column   key                      value
    DEFAULT  encoded key + start_ts   a value too long to be kept in its lock or record
    LOCK     encoded key              who holds the key
    WRITE    encoded key + commit_ts  what a transaction did to the key
    RAW      key                      value

A region's bounds are compared with the stored keys of every column: a bound of a transactional
region is an encoded key, so that all versions of a user's key lie on one side of it.

    >>> state = Columns()
    >>> state.apply([(Column.RAW, b"a", b"1"), (Column.RAW, b"m", b"2")])
    >>> right = state.split_off(b"m")
    >>> list(state.scan(Column.RAW)), list(right.scan(Column.RAW))
    ([(b'a', b'1')], [(b'm', b'2')])
    >>> state.merge(right)
    >>> state.get(Column.RAW, b"m"), len(state)
    (b'2', 2)
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
from sortedcontainers import SortedDict

__all__ = ["Column", "Columns", "Write"]


class Column(enum.IntEnum):
    """Which of the ordered maps a key stands in (TiKV: a column family)."""

    DEFAULT = 0
    LOCK = 1
    WRITE = 2
    RAW = 3


Write: TypeAlias = tuple[Column, bytes, bytes | None]
"""Set one stored key, or with None remove it, if it is there."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[tuple[tuple[bytes, bytes], ...], ...])


class Columns:
    """All stored keys of one region, at one place in the log."""

    __slots__ = ("_maps",)

    def __init__(self) -> None:
        self._maps: tuple[SortedDict, ...] = tuple(SortedDict() for _ in Column)

    def __len__(self) -> int:
        return sum(len(one) for one in self._maps)

    def apply(self, writes: Iterable[Write]) -> None:
        """Do all of ``writes``, in order; each is constant or (new, removed) logarithmic time."""
        maps = self._maps
        for column, key, value in writes:
            if value is None:
                maps[column].pop(key, None)
            else:
                maps[column][key] = value

    def put(self, column: Column, key: bytes, value: bytes) -> None:
        """Set one stored key."""
        self._maps[column][key] = value

    def get(self, column: Column, key: bytes) -> bytes | None:
        """The value stored under ``key``, or None."""
        value: bytes | None = self._maps[column].get(key)
        return value

    def scan(
        self, column: Column, start: bytes = b"", end: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of [start, end) in order, or from its end down; empty ``end``: unbounded.

        The state must not change before the iterator is done with.
        """
        one = self._maps[column]
        for key in one.irange(start, end or None, inclusive=(True, False), reverse=reverse):
            yield key, one[key]

    def count(self, column: Column) -> int:
        """How many keys a column has."""
        return len(self._maps[column])

    def split_off(self, start: bytes, end: bytes = b"") -> Columns:
        """Remove [start, end) from all columns and give it back; linear in what is moved."""
        other = Columns()
        for mine, theirs in zip(self._maps, other._maps, strict=True):
            keys = list(mine.irange(start, end or None, inclusive=(True, False)))
            theirs.update((key, mine.pop(key)) for key in keys)
        return other

    def merge(self, other: Columns) -> None:
        """Take in all of ``other``, which is a neighbour's and has no key in common."""
        for mine, theirs in zip(self._maps, other._maps, strict=True):
            before = len(mine)
            mine.update(theirs)
            assert len(mine) == before + len(theirs), "two regions held the same stored key"

    def clear(self, start: bytes = b"", end: bytes = b"") -> int:
        """Drop [start, end) from all columns; how many stored keys that were."""
        return len(self.split_off(start, end))

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return _encoder.encode([list(one.items()) for one in self._maps])

    def restore(self, data: bytes) -> None:
        """Become the state of ``snapshot``'s bytes; no bytes at all are the empty state."""
        found = _decoder.decode(data) if data else ()
        assert len(found) in (0, len(Column)), f"a snapshot of {len(found)} columns"
        self._maps = tuple(SortedDict(found[column] if found else ()) for column in Column)

    def digest(self) -> str:
        """A short hash of the state, by which replicas at the same log index are compared.

        Not where garbage is collected, which each replica does for itself: there only locks and
        versions above the safe point must agree.
        """
        return hashlib.sha256(self.snapshot()).hexdigest()[:16]
