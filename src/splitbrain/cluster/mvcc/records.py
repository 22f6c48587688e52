"""What the columns hold: locks, and records of what transactions did.

A lock stands at its key; a record at its key and commit timestamp (a rollback's: start timestamp).
A value of up to 255 bytes lives in the lock and then in the record; a longer one in the DEFAULT
column, at its key and *start* timestamp, so that commit need not move it.
"""

from __future__ import annotations

import enum

import msgspec

from splitbrain.cluster.messages.key_errors import LockInfo, LockKind
from splitbrain.cluster.mvcc.codec import decode_key

__all__ = [
    "SHORT_VALUE_BYTES_MAX",
    "Lock",
    "WriteKind",
    "WriteRecord",
    "decode_lock",
    "decode_record",
    "encode_lock",
    "encode_record",
    "lock_info",
]

SHORT_VALUE_BYTES_MAX = 255
"""A longer value goes to the DEFAULT column."""


class WriteKind(enum.IntEnum):
    """What a transaction did to a key."""

    PUT = 0
    DELETE = 1
    LOCK = 2
    """Nothing; but it guarded the key."""
    ROLLBACK = 3
    """Nothing, and it never will."""


class Lock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key held by a transaction that is not finished there.

    Attributes:
        kind: what it will become.
        primary: the user's key that decides over the transaction.
        start_ts: which transaction.
        ttl_ms: how long after start_ts (physical part) it must be respected.
        short_value: of a PUT, unless the value is long.
        for_update_ts: 0 in an optimistic transaction.
        txn_size: how many keys the transaction has, about.
        min_commit_ts: the commit timestamp is at least this; 0: nobody may push it.
        use_async_commit: the transaction is committed once all its keys are prewritten.
        secondaries: the other keys (users'), on the primary of an async commit.
        rollback_ts: transactions whose rollback at this key a commit at the same timestamp would
            overwrite: the commit record must then say so.
        one_pc: of a commit in one phase; never stored, only held in memory.
    """

    kind: LockKind
    primary: bytes
    start_ts: int
    ttl_ms: int = 0
    short_value: bytes | None = None
    for_update_ts: int = 0
    txn_size: int = 0
    min_commit_ts: int = 0
    use_async_commit: bool = False
    secondaries: tuple[bytes, ...] = ()
    rollback_ts: tuple[int, ...] = ()
    one_pc: bool = False


class WriteRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a transaction did to a key.

    Attributes:
        kind: what.
        start_ts: which transaction; where a long value is to be found.
        short_value: of a PUT, unless the value is long.
        protected: of a ROLLBACK: a later rollback must not take its place.
        has_overlapped_rollback: the transaction that *started* at this record's commit timestamp
            was rolled back here; its own record would have stood in the same place.
        gc_fence: with has_overlapped_rollback, the commit timestamp of the next newer PUT or DELETE
            when this record was rewritten (0: none).  A replica that had already collected the
            record as garbage gets it back; readers at or above the fence take it for absent.
    """

    kind: WriteKind
    start_ts: int
    short_value: bytes | None = None
    protected: bool = False
    has_overlapped_rollback: bool = False
    gc_fence: int = 0

    @property
    def is_data(self) -> bool:
        """A PUT or DELETE: it decides what readers see."""
        return self.kind <= WriteKind.DELETE

    @property
    def is_commit(self) -> bool:
        """Anything but a rollback."""
        return self.kind is not WriteKind.ROLLBACK

    def fenced(self, timestamp: int) -> bool:
        """Whether a reader at ``timestamp`` has to take this record for absent."""
        return 0 < self.gc_fence <= timestamp


_encoder = msgspec.msgpack.Encoder()
_locks = msgspec.msgpack.Decoder(Lock)
_records = msgspec.msgpack.Decoder(WriteRecord)


def encode_lock(lock: Lock) -> bytes:
    """As stored."""
    return _encoder.encode(lock)


def decode_lock(data: bytes) -> Lock:
    """The lock of ``encode_lock``'s bytes."""
    return _locks.decode(data)


def encode_record(record: WriteRecord) -> bytes:
    """As stored."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> WriteRecord:
    """The record of ``encode_record``'s bytes."""
    return _records.decode(data)


def lock_info(key: bytes, lock: Lock) -> LockInfo:
    """The lock at the encoded ``key`` as others are told of it."""
    return LockInfo(
        key=decode_key(key),
        primary=lock.primary,
        start_ts=lock.start_ts,
        ttl_ms=lock.ttl_ms,
        kind=lock.kind,
        for_update_ts=lock.for_update_ts,
        txn_size=lock.txn_size,
        min_commit_ts=lock.min_commit_ts,
        use_async_commit=lock.use_async_commit,
        secondaries=lock.secondaries,
    )
