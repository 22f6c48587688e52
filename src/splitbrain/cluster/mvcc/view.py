"""The columns as transactions see them: locks, records newest first, values, fates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from splitbrain.cluster.mvcc.codec import TS_MAX, split_version, versioned, versions_end
from splitbrain.cluster.mvcc.engine import Column, Reader
from splitbrain.cluster.mvcc.records import (
    Lock,
    WriteKind,
    WriteRecord,
    decode_lock,
    decode_record,
)

__all__ = ["Fate", "Version", "View"]


class Version(NamedTuple):
    """A record and where it stands."""

    commit_ts: int
    record: WriteRecord

    def rolls_back(self, start_ts: int) -> bool:
        """Whether it says that the transaction which began at ``start_ts`` was rolled back."""
        if self.commit_ts != start_ts:
            return False
        return not self.record.is_commit or self.record.has_overlapped_rollback


class Fate(NamedTuple):
    """What the records at one key say of one transaction; all empty: nothing.

    Attributes:
        committed: its commit record.
        rolled_back: it has a rollback record, or one that another's record stands for.
        overlapped: else, another's commit record in the place of its rollback record.
        fence: commit timestamp of the next newer PUT or DELETE above that (0: none).
    """

    committed: Version | None = None
    rolled_back: bool = False
    overlapped: WriteRecord | None = None
    fence: int = 0


ROLLED_BACK = Fate(rolled_back=True)
NOTHING = Fate()


class View:
    """Reads of one decision; keys are encoded."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def lock(self, key: bytes) -> Lock | None:
        """The lock of ``key``, whosever it is."""
        data = self._reader.get(Column.LOCK, key)
        return None if data is None else decode_lock(data)

    def locks(
        self, start: bytes = b"", end: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, Lock]]:
        """All locks of [start, end), in order or from the end down."""
        for key, data in self._reader.scan(Column.LOCK, start, end, reverse=reverse):
            yield key, decode_lock(data)

    def versions(self, key: bytes, newest: int = TS_MAX) -> Iterator[Version]:
        """Records of ``key`` with commit_ts <= ``newest``, the newest first."""
        found = self._reader.scan(Column.WRITE, versioned(key, newest), versions_end(key))
        for stored, data in found:
            yield Version(split_version(stored)[1], decode_record(data))

    def newest(self, key: bytes, at: int = TS_MAX) -> Version | None:
        """The newest record of any kind with commit_ts <= ``at``."""
        return next(self.versions(key, at), None)

    def data(self, key: bytes, at: int = TS_MAX) -> Version | None:
        """The PUT that a reader at ``at`` gets; None: the key is absent."""
        for version in self.versions(key, at):
            if version.record.is_data:
                if version.record.kind is WriteKind.DELETE or version.record.fenced(at):
                    return None
                return version
        return None

    def value(self, key: bytes, written: WriteRecord | Lock) -> bytes:
        """The value of a PUT, by its record or its lock."""
        if written.short_value is not None:
            return written.short_value
        value = self._reader.get(Column.DEFAULT, versioned(key, written.start_ts))
        assert value is not None, f"value of {key.hex()} at {written.start_ts} is lost"
        return value

    def fate(self, key: bytes, start_ts: int) -> Fate:
        """What the records say of the transaction ``start_ts`` at ``key``.

        They are searched from the newest: a pessimistic transaction that began early may commit
        after one that began later.
        """
        fence = 0
        for commit_ts, record in self.versions(key):
            if record.start_ts == start_ts:
                if record.is_commit:
                    return Fate(committed=Version(commit_ts, record))
                return ROLLED_BACK
            if commit_ts == start_ts:
                if record.has_overlapped_rollback:
                    return ROLLED_BACK
                return Fate(overlapped=record, fence=fence)
            if commit_ts < start_ts:
                break
            if record.is_data:
                fence = commit_ts
        return NOTHING

    def user_keys(
        self, start: bytes, end: bytes, *, reverse: bool, locked: bool
    ) -> Iterator[bytes]:
        """Encoded keys of [start, end) that have records (or, with ``locked``, a lock).

        It seeks from key to key, so that a key of many versions costs no more than any other.
        """
        written = self._written(start, end, reverse=reverse)
        if not locked:
            yield from written
            return
        locks = (key for key, _ in self._reader.scan(Column.LOCK, start, end, reverse=reverse))
        one, two = next(written, None), next(locks, None)
        while one is not None or two is not None:
            if one is None or two is None:
                key = one if two is None else two
            else:
                key = max(one, two) if reverse else min(one, two)
            assert key is not None
            yield key
            if one == key:
                one = next(written, None)
            if two == key:
                two = next(locks, None)

    def _written(self, start: bytes, end: bytes, *, reverse: bool) -> Iterator[bytes]:
        while True:
            found = self._reader.scan(Column.WRITE, start, end, reverse=reverse)
            stored = next(found, None)
            if stored is None:
                return
            key, _ = split_version(stored[0])
            yield key
            if reverse:
                end = key
            else:
                start = versions_end(key)
