"""Garbage: versions that no reader at or above the safe point can see.

Each replica collects for itself, not through the log: what goes is what no answer depends on.  Of one
key, records newer than the safe point stay.  At or below it, rollbacks and lock records go (protected
ones too: their transactions are long over) until the newest PUT or DELETE: a PUT stays, it is what a
reader at the safe point gets, and a DELETE goes, since nothing at all reads the same; everything older
goes, with its long values.

Locks are not looked at.  Whoever sets the safe point sees to it that all locks at or below it are
resolved: else a primary's commit record may go while a secondary's lock still needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from splitbrain.cluster.mvcc.codec import versions_end
from splitbrain.cluster.mvcc.engine import Batch, Reader
from splitbrain.cluster.mvcc.records import WriteKind
from splitbrain.cluster.mvcc.view import Version, View
from splitbrain.cluster.storage.columns import Column, Columns, Write

__all__ = ["Collected", "Garbage", "live_digest", "live_items"]


class Collected(NamedTuple):
    """Part of the garbage: apply ``writes`` to this replica, and go on from ``resume``.

    ``resume`` is an encoded bound; None: all keys have been seen.
    """

    writes: tuple[Write, ...]
    resume: bytes | None


class Garbage:
    """The rules of collecting garbage."""

    def collect(
        self, reader: Reader, safe_point: int, *, start: bytes = b"", keys_max: int = 1024
    ) -> Collected:
        """Find garbage among ``keys_max`` keys from the encoded bound ``start`` on."""
        view, batch = View(reader), Batch()
        resume: bytes | None = None
        keys = view.user_keys(start, b"", reverse=False, locked=False)
        for count, key in enumerate(keys, 1):
            self._collect_key(view, batch, key, safe_point)
            if count == keys_max:
                resume = versions_end(key)
                break
        return Collected(batch.writes(), resume)

    def _collect_key(self, view: View, batch: Batch, key: bytes, safe_point: int) -> None:
        found = False
        for version in view.versions(key, safe_point):
            record = version.record
            if not found and record.is_data:
                found = True
                if self._keeps(version):
                    continue
            batch.delete_record(key, version.commit_ts)
            if record.kind is WriteKind.PUT and record.short_value is None:
                batch.delete_value(key, record.start_ts)

    def _keeps(self, newest: Version) -> bool:
        """Whether the newest PUT or DELETE at or below the safe point stays."""
        return newest.record.kind is WriteKind.PUT


def live_digest(columns: Columns, safe_point: int) -> str:
    """A hash of what must be equal on replicas that have collected garbage up to ``safe_point``.

    Locks, raw keys, and what would be left if all garbage were collected now.
    """
    copy = Columns()
    copy.restore(columns.snapshot())
    copy.apply(Garbage().collect(copy, safe_point, keys_max=len(copy) + 1).writes)
    return copy.digest()


def live_items(columns: Columns, safe_point: int) -> Iterator[tuple[Column, bytes, bytes]]:
    """Column, stored key and value of all that ``live_digest`` covers.

    The state must not change before the iterator is done with.
    """
    garbage: set[tuple[Column, bytes]] = set()
    if safe_point:
        collected = Garbage().collect(columns, safe_point, keys_max=len(columns) + 1)
        garbage.update((column, key) for column, key, _ in collected.writes)
    for column in Column:
        for key, value in columns.scan(column):
            if (column, key) not in garbage:
                yield column, key, value
