"""Everything that a region holds of transactions, for a tester's eyes."""

from __future__ import annotations

from collections.abc import Iterator

from splitbrain.cluster.messages.key_errors import LockKind
from splitbrain.cluster.messages.records import HeldLock, HeldRecord, ListRecordsReply
from splitbrain.cluster.mvcc.codec import decode_key, split_version, versioned
from splitbrain.cluster.mvcc.engine import Column, Reader
from splitbrain.cluster.mvcc.records import (
    Lock,
    WriteKind,
    WriteRecord,
    decode_lock,
    decode_record,
    lock_info,
)

__all__ = ["listing"]


def listing(reader: Reader, start: bytes, end: bytes, applied: int) -> ListRecordsReply:
    """All locks and records of [start, end), bounds as they are stored.

    Unlike the rules it takes what it finds: a value that is not there is told as None.
    """
    locks = tuple(
        HeldLock(lock_info(key, lock), _value(reader, key, lock, lock.kind is LockKind.PUT))
        for key, lock in (
            (key, decode_lock(data)) for key, data in reader.scan(Column.LOCK, start, end)
        )
    )
    return ListRecordsReply(
        start=decode_key(start) if start else b"",
        end=decode_key(end) if end else b"",
        applied=applied,
        locks=locks,
        records=tuple(_records(reader, start, end)),
    )


def _records(reader: Reader, start: bytes, end: bytes) -> Iterator[HeldRecord]:
    for stored, data in reader.scan(Column.WRITE, start, end):
        key, commit_ts = split_version(stored)
        record = decode_record(data)
        yield HeldRecord(
            key=decode_key(key),
            commit_ts=commit_ts,
            start_ts=record.start_ts,
            kind=record.kind.name.lower(),
            value=_value(reader, key, record, record.kind is WriteKind.PUT),
            overlapped_rollback=record.has_overlapped_rollback,
        )


def _value(
    reader: Reader, key: bytes, written: Lock | WriteRecord, expected: bool
) -> bytes | None:
    if not expected or written.short_value is not None:
        return written.short_value
    return reader.get(Column.DEFAULT, versioned(key, written.start_ts))
