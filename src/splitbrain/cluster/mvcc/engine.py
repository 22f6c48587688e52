"""The contract between a store and its transactions: what they read, and what a decision is.

A store serves a request that may write in ONE turn, as the region's leader whose own first entry is
applied:

1. ``keys = mvcc.keys_of(request, reader)``, and wait until their latches are all its own;
2. ``decision = mvcc.decide(request, reader, memory, keys)``;
3. ``memory.hold(decision.held)``, and propose ``decision.writes`` as one entry;
4. when it is applied: ``memory.release(decision.held)``, send ``decision.reply``, free the latches,
   wake those who wait for ``decision.released``.  When the entry's fate is known to be another, or
   at step-down: release and free, and answer by a region error.

Steps 2 and 3 belong to the same turn: between them nothing may change.  A decision without writes
needs no entry; but its reply tells what this leader sees, so it is owed what a read is owed: proof
that no other leader has been elected meanwhile (lease or ReadIndex).  Else a deposed leader would
answer "no such lock" of a transaction that its successor has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from splitbrain.cluster.messages.key_errors import TxnError
from splitbrain.cluster.messages.txn import TxnAnswer
from splitbrain.cluster.mvcc.codec import decode_key, versioned
from splitbrain.cluster.mvcc.records import (
    Lock,
    WriteRecord,
    encode_lock,
    encode_record,
)
from splitbrain.cluster.storage.columns import Column, Write

__all__ = ["Batch", "Column", "Decision", "Reader", "Refused", "Wait", "Write"]


class Reader(Protocol):
    """The applied state of one region (:class:`~splitbrain.cluster.storage.columns.Columns`)."""

    def get(self, column: Column, key: bytes) -> bytes | None:
        """The value stored under ``key``."""

    def scan(
        self, column: Column, start: bytes = b"", end: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Stored pairs of [start, end), in order or from the end down."""


class Wait(msgspec.Struct, frozen=True, gc=False):
    """A pessimistic lock request is blocked, and would rather wait than be told so.

    Attributes:
        key: the user's key.
        start_ts: who waits.
        lock_ts: for whom.
        first_lock: it holds no lock yet, so nobody can wait for it: no deadlock to look for.
        limit_ms: for how long at most; then ``Decision.reply`` is sent.
    """

    key: bytes
    start_ts: int
    lock_ts: int
    first_lock: bool
    limit_ms: int


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a request.

    Attributes:
        reply: to be sent AFTER ``writes`` are applied; with ``wait``: after it timed out.
        writes: to be proposed at once, as one entry; often none.
        held: locks (encoded key, lock) to be in the store's memory from now on UNTIL ``writes`` are
            applied.
        released: users' keys whose lock goes away WHEN ``writes`` are applied: wake who waits.
        wait: instead of ``reply``, for now: try again when the lock is released.
    """

    reply: TxnAnswer
    writes: tuple[Write, ...] = ()
    held: tuple[tuple[bytes, Lock], ...] = ()
    released: tuple[bytes, ...] = ()
    wait: Wait | None = None


class Refused(Exception):
    """A rule says no; ``error`` is what the client is told."""

    def __init__(self, error: TxnError) -> None:
        super().__init__(error)
        self.error = error


class Batch:
    """Writes of one decision, in terms of locks, records and values; a later one wins."""

    __slots__ = ("_writes",)

    def __init__(self) -> None:
        self._writes: dict[tuple[Column, bytes], bytes | None] = {}

    def put_lock(self, key: bytes, lock: Lock) -> None:
        """Lock ``key``, or change its lock."""
        self._writes[Column.LOCK, key] = encode_lock(lock)

    def unlock(self, key: bytes) -> None:
        """Remove the lock of ``key``."""
        self._writes[Column.LOCK, key] = None

    def put_record(self, key: bytes, commit_ts: int, record: WriteRecord) -> None:
        """Say what a transaction did to ``key``."""
        self._writes[Column.WRITE, versioned(key, commit_ts)] = encode_record(record)

    def delete_record(self, key: bytes, commit_ts: int) -> None:
        """Forget the record at ``commit_ts``."""
        self._writes[Column.WRITE, versioned(key, commit_ts)] = None

    def put_value(self, key: bytes, start_ts: int, value: bytes) -> None:
        """Keep a long value."""
        self._writes[Column.DEFAULT, versioned(key, start_ts)] = value

    def delete_value(self, key: bytes, start_ts: int) -> None:
        """Drop a long value."""
        self._writes[Column.DEFAULT, versioned(key, start_ts)] = None

    def writes(self) -> tuple[Write, ...]:
        """All of it, as stored."""
        return tuple((column, key, value) for (column, key), value in self._writes.items())

    def decision(
        self, reply: TxnAnswer, *, held: tuple[tuple[bytes, Lock], ...] = ()
    ) -> Decision:
        """Reply once all this is applied."""
        writes = self.writes()
        released = tuple(
            decode_key(key)
            for column, key, value in writes
            if column is Column.LOCK and value is None
        )
        return Decision(reply, writes, held, released)
