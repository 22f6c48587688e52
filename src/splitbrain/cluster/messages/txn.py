"""Transactional operations: what a client of a transactional cluster asks, and what it gets.

The meaning is TiKV's (``kvrpcpb``).  Timestamps are the oracle's: physical milliseconds << 18 |
logical.  Keys are the user's own; the store encodes them.  Every reply has ``region_error`` (see
``region_errors``), and then nothing else in it counts.

    request              reply                     writes
    Get                  GetReply
    BatchGet             BatchGetReply
    Scan                 ScanReply
    ScanLock             ScanLockReply
    Prewrite             PrewriteReply             locks (or, in one phase, commit records)
    Commit               CommitReply               commit records
    BatchRollback        BatchRollbackReply        rollback records
    Cleanup              CleanupReply              a rollback record
    CheckTxnStatus       CheckTxnStatusReply       at times: pushes or rolls back the primary
    CheckSecondaryLocks  CheckSecondaryLocksReply  at times: rollback records
    ResolveLock          ResolveLockReply          commit or rollback records
    TxnHeartBeat         TxnHeartBeatReply         the primary's lock
    PessimisticLock      PessimisticLockReply      locks
    PessimisticRollback  PessimisticRollbackReply  removes locks
    ListRecords          ListRecordsReply          (not TiKV's)
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.context import HERE, Context
from splitbrain.cluster.messages.key_errors import LockInfo, TxnError
from splitbrain.cluster.messages.mutations import (
    Action,
    Assertion,
    AssertionLevel,
    Mutation,
    MutationKind,
    Pair,
    PessimisticAction,
)
from splitbrain.cluster.messages.pessimistic import (
    PessimisticLock,
    PessimisticLockReply,
    PessimisticRollback,
    PessimisticRollbackReply,
)
from splitbrain.cluster.messages.records import ListRecords, ListRecordsReply
from splitbrain.cluster.messages.region_errors import RegionError

__all__ = [
    "Action",
    "Assertion",
    "AssertionLevel",
    "BatchGet",
    "BatchGetReply",
    "BatchRollback",
    "BatchRollbackReply",
    "CheckSecondaryLocks",
    "CheckSecondaryLocksReply",
    "CheckTxnStatus",
    "CheckTxnStatusReply",
    "Cleanup",
    "CleanupReply",
    "Commit",
    "CommitReply",
    "Get",
    "GetReply",
    "ListRecords",
    "ListRecordsReply",
    "Mutation",
    "MutationKind",
    "Pair",
    "PessimisticAction",
    "PessimisticLock",
    "PessimisticLockReply",
    "PessimisticRollback",
    "PessimisticRollbackReply",
    "Prewrite",
    "PrewriteReply",
    "ResolveLock",
    "ResolveLockReply",
    "Scan",
    "ScanLock",
    "ScanLockReply",
    "ScanReply",
    "TxnAnswer",
    "TxnHeartBeat",
    "TxnHeartBeatReply",
    "TxnRequest",
]


class Get(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read one key as of ``version`` (2**64 - 1: the newest)."""

    key: bytes
    version: int
    context: Context = HERE
    need_commit_ts: bool = False


class GetReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``value`` is None if the key is absent; ``commit_ts`` is that of the version read."""

    value: bytes | None = None
    commit_ts: int = 0
    error: TxnError | None = None
    region_error: RegionError | None = None


class BatchGet(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read several keys of one region as of ``version``."""

    keys: tuple[bytes, ...]
    version: int
    context: Context = HERE
    need_commit_ts: bool = False


class BatchGetReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Pairs of the keys that are there (or locked), in the order asked."""

    pairs: tuple[Pair, ...] = ()
    error: TxnError | None = None
    region_error: RegionError | None = None


class Scan(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read up to ``limit`` keys of [start, end) as of ``version``; empty end: unbounded.

    With ``reverse``, from ``start`` (not included; empty: unbounded) downwards to ``end``
    (included), in descending order, as TiKV has it.
    """

    start: bytes
    end: bytes
    version: int
    limit: int = 256
    reverse: bool = False
    key_only: bool = False
    context: Context = HERE


class ScanReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Pairs in the order of the scan; a lock in the way uses up one of the limit."""

    pairs: tuple[Pair, ...] = ()
    error: TxnError | None = None
    region_error: RegionError | None = None


class ScanLock(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Locks with start_ts <= max_version in [start, end), at most ``limit`` (0: all)."""

    max_version: int
    start: bytes = b""
    end: bytes = b""
    limit: int = 0
    context: Context = HERE


class ScanLockReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Locks in the order of their keys."""

    locks: tuple[LockInfo, ...] = ()
    error: TxnError | None = None
    region_error: RegionError | None = None


class Prewrite(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """First phase: lock the keys of one region and leave the values with the locks.

    Attributes:
        for_update_ts: not 0 in a pessimistic transaction, which also has one of
            ``pessimistic_actions`` for each mutation.
        for_update_ts_constraints: mutation's position -> what its pessimistic lock's for_update_ts
            must be.
        min_commit_ts: 0: nobody may push this transaction's commit.
        use_async_commit: committed once all keys are prewritten; ``secondaries`` then counts.
        try_one_pc: commit at once, all keys being in this request.
        max_commit_ts: with either, give it up rather than commit later than this (0: no bound).
    """

    mutations: tuple[Mutation, ...]
    primary: bytes
    start_ts: int
    ttl_ms: int = 3000
    for_update_ts: int = 0
    pessimistic_actions: tuple[PessimisticAction, ...] = ()
    for_update_ts_constraints: tuple[tuple[int, int], ...] = ()
    txn_size: int = 0
    min_commit_ts: int = 0
    use_async_commit: bool = False
    secondaries: tuple[bytes, ...] = ()
    try_one_pc: bool = False
    max_commit_ts: int = 0
    assertion_level: AssertionLevel = AssertionLevel.OFF
    skip_constraint_check: bool = False
    context: Context = HERE


class PrewriteReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """With ``errors`` nothing at all was written.

    Attributes:
        min_commit_ts: of an async commit; 0: it fell back to two phases.
        one_pc_commit_ts: the commit timestamp of a commit in one phase; 0: it was none.
    """

    errors: tuple[TxnError, ...] = ()
    min_commit_ts: int = 0
    one_pc_commit_ts: int = 0
    region_error: RegionError | None = None


class Commit(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Second phase; the transaction is committed once its primary is."""

    keys: tuple[bytes, ...]
    start_ts: int
    commit_ts: int
    context: Context = HERE


class CommitReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``commit_ts``: the one that counts."""

    commit_ts: int = 0
    error: TxnError | None = None
    region_error: RegionError | None = None


class BatchRollback(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The transaction's own client gives it up."""

    keys: tuple[bytes, ...]
    start_ts: int
    context: Context = HERE


class BatchRollbackReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless an error."""

    error: TxnError | None = None
    region_error: RegionError | None = None


class Cleanup(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Roll the key back unless its lock lives (``current_ts`` 0: whatever its TTL)."""

    key: bytes
    start_ts: int
    current_ts: int = 0
    context: Context = HERE


class CleanupReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``commit_ts`` is not 0 if it was committed."""

    commit_ts: int = 0
    error: TxnError | None = None
    region_error: RegionError | None = None


class CheckTxnStatus(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """What became of a transaction; asked at its primary."""

    primary: bytes
    lock_ts: int
    caller_start_ts: int
    current_ts: int
    rollback_if_not_exist: bool = False
    force_sync_commit: bool = False
    resolving_pessimistic_lock: bool = False
    verify_is_primary: bool = False
    context: Context = HERE


class CheckTxnStatusReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """ttl_ms > 0: alive; commit_ts > 0: committed; both 0: rolled back, but for two actions.

    Those are LOCK_NOT_EXIST_DO_NOTHING and TTL_EXPIRE_PESSIMISTIC_ROLLBACK: undecided.
    """

    ttl_ms: int = 0
    commit_ts: int = 0
    action: Action = Action.NO_ACTION
    lock: LockInfo | None = None
    error: TxnError | None = None
    region_error: RegionError | None = None


class CheckSecondaryLocks(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Are these keys of an async commit all prewritten?  One that is not never will be."""

    keys: tuple[bytes, ...]
    start_ts: int
    context: Context = HERE


class CheckSecondaryLocksReply(
    msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False
):
    """As many locks as keys: all prewritten.  Fewer: commit_ts decides (0: rolled back)."""

    locks: tuple[LockInfo, ...] = ()
    commit_ts: int = 0
    error: TxnError | None = None
    region_error: RegionError | None = None


class ResolveLock(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Commit (``commit_ts``) or roll back (0) a finished transaction's locks.

    Attributes:
        txns: several (start_ts, commit_ts) at once, instead.
        keys: only these; else all in the region.
    """

    start_ts: int = 0
    commit_ts: int = 0
    txns: tuple[tuple[int, int], ...] = ()
    keys: tuple[bytes, ...] = ()
    context: Context = HERE


class ResolveLockReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless an error."""

    error: TxnError | None = None
    region_error: RegionError | None = None


class TxnHeartBeat(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The transaction lives: let its primary lock last at least ``ttl_ms`` from its start."""

    primary: bytes
    start_ts: int
    ttl_ms: int
    context: Context = HERE


class TxnHeartBeatReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The lock's TTL now."""

    ttl_ms: int = 0
    error: TxnError | None = None
    region_error: RegionError | None = None


TxnRequest: TypeAlias = (
    Get
    | BatchGet
    | Scan
    | ScanLock
    | Prewrite
    | Commit
    | BatchRollback
    | Cleanup
    | CheckTxnStatus
    | CheckSecondaryLocks
    | ResolveLock
    | TxnHeartBeat
    | PessimisticLock
    | PessimisticRollback
    | ListRecords
)
TxnAnswer: TypeAlias = (
    GetReply
    | BatchGetReply
    | ScanReply
    | ScanLockReply
    | PrewriteReply
    | CommitReply
    | BatchRollbackReply
    | CleanupReply
    | CheckTxnStatusReply
    | CheckSecondaryLocksReply
    | ResolveLockReply
    | TxnHeartBeatReply
    | PessimisticLockReply
    | PessimisticRollbackReply
    | ListRecordsReply
)
