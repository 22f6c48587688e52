"""Why a transaction could not do something to a key: TiKV's key errors (``kvrpcpb.KeyError``).

All are decided before or instead of the write that was asked for: each is a true no.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

__all__ = [
    "Abort",
    "AlreadyExist",
    "AssertionFailed",
    "CommitTsExpired",
    "ConflictReason",
    "Deadlock",
    "LockInfo",
    "LockKind",
    "Locked",
    "PrimaryMismatch",
    "TxnError",
    "TxnLockNotFound",
    "TxnNotFound",
    "WaitForEntry",
    "WriteConflict",
]


class LockKind(enum.IntEnum):
    """What a lock will become; the numbers are kvrpcpb.Op's."""

    PUT = 0
    DELETE = 1
    LOCK = 2
    """Nothing is written, but the key is guarded as if it were."""
    PESSIMISTIC = 5
    """Held by a pessimistic transaction that has not prewritten the key yet."""


class ConflictReason(enum.IntEnum):
    """Why there is a WriteConflict; the numbers are kvrpcpb.WriteConflict.Reason's."""

    UNKNOWN = 0
    OPTIMISTIC = 1
    PESSIMISTIC_RETRY = 2
    SELF_ROLLED_BACK = 3
    RC_CHECK_TS = 4
    LAZY_UNIQUENESS_CHECK = 5


class LockInfo(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lock as told to others.

    Attributes:
        key: the locked key, as the user knows it.
        primary: the key that decides over the transaction.
        start_ts: which transaction.
        ttl_ms: how long after start_ts (physical part) it must be respected.
        kind: what it will become.
        for_update_ts: not 0 in a pessimistic transaction.
        txn_size: how many keys the transaction has, about.
        min_commit_ts: the commit timestamp is at least this; 0: nobody may push it.
        use_async_commit: the transaction is committed once all its keys are prewritten.
        secondaries: with use_async_commit, on the primary's lock: the other keys.
    """

    key: bytes
    primary: bytes
    start_ts: int
    ttl_ms: int = 0
    kind: LockKind = LockKind.PUT
    for_update_ts: int = 0
    txn_size: int = 0
    min_commit_ts: int = 0
    use_async_commit: bool = False
    secondaries: tuple[bytes, ...] = ()


class Locked(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Another transaction's lock is in the way."""

    lock: LockInfo


class WriteConflict(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Somebody has written the key since the transaction began (or since for_update_ts)."""

    key: bytes
    start_ts: int
    conflict_start_ts: int
    conflict_commit_ts: int
    primary: bytes = b""
    reason: ConflictReason = ConflictReason.OPTIMISTIC


class AlreadyExist(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """An insert found the key."""

    key: bytes


class WaitForEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Transaction ``txn`` waits for ``wait_for_txn`` at ``key``."""

    txn: int
    wait_for_txn: int
    key: bytes = b""


class Deadlock(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """To wait for the lock would close a circle; this request is the victim."""

    lock_ts: int
    lock_key: bytes
    deadlock_key_hash: int
    wait_chain: tuple[WaitForEntry, ...] = ()


class CommitTsExpired(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A reader has pushed the transaction's earliest commit timestamp beyond the one offered."""

    key: bytes
    start_ts: int
    attempted_commit_ts: int
    min_commit_ts: int


class TxnNotFound(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Neither a lock nor a record of the transaction is at its primary."""

    start_ts: int
    primary: bytes


class TxnLockNotFound(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A commit found no lock: the transaction was rolled back."""

    key: bytes


class PrimaryMismatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The key asked as primary is not the primary of its lock."""

    lock: LockInfo


class AssertionFailed(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A mutation's assertion about the key's existence does not hold."""

    key: bytes
    start_ts: int
    existing_start_ts: int = 0
    existing_commit_ts: int = 0


class Abort(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Refused for good; ``reason`` says why in words."""

    reason: str


TxnError: TypeAlias = (
    Locked
    | WriteConflict
    | AlreadyExist
    | Deadlock
    | CommitTsExpired
    | TxnNotFound
    | TxnLockNotFound
    | PrimaryMismatch
    | AssertionFailed
    | Abort
)
