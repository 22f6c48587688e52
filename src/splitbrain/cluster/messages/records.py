"""All that a region holds of transactions: asked by testers, of minitikv alone."""

from __future__ import annotations

import msgspec

from splitbrain.cluster.messages.context import HERE, Context
from splitbrain.cluster.messages.key_errors import LockInfo
from splitbrain.cluster.messages.region_errors import RegionError

__all__ = ["HeldLock", "HeldRecord", "ListRecords", "ListRecordsReply"]


class HeldLock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lock, and the value that it guards; None: it is missing, or of no matter."""

    lock: LockInfo
    value: bytes | None = None


class HeldRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A commit or rollback record.

    Attributes:
        key: the user's.
        commit_ts: of a rollback its start_ts.
        kind: put, delete, lock or rollback.
        value: of a put; None: it is missing.
        overlapped_rollback: another transaction's rollback lies on this one's place.
    """

    key: bytes
    commit_ts: int
    start_ts: int
    kind: str
    value: bytes | None = None
    overlapped_rollback: bool = False


class ListRecords(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Locks and records of the region in the context, linearizably: a read of everything."""

    context: Context = HERE


class ListRecordsReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """In the order of keys, and the newest record first.

    ``start`` and ``end`` are the range as users know it; ``applied`` is the index behind the answer.
    """

    start: bytes = b""
    end: bytes = b""
    applied: int = 0
    locks: tuple[HeldLock, ...] = ()
    records: tuple[HeldRecord, ...] = ()
    region_error: RegionError | None = None
