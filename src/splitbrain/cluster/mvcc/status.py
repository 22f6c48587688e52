"""What has become of a transaction: asked at its primary, or, of an async commit, everywhere.

Whoever meets a lock asks its primary.  The answer is final (committed, rolled back) or "alive"; to
make it final, an expired lock is rolled back, and a transaction of which nothing is there is marked
as rolled back, so that its prewrite, should it still come, is refused.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from splitbrain.cluster.messages.key_errors import (
    LockInfo,
    LockKind,
    PrimaryMismatch,
    TxnNotFound,
)
from splitbrain.cluster.messages.txn import (
    Action,
    CheckSecondaryLocks,
    CheckSecondaryLocksReply,
    CheckTxnStatus,
    CheckTxnStatusReply,
    TxnHeartBeat,
    TxnHeartBeatReply,
)
from splitbrain.cluster.mvcc.codec import TS_MAX, encode_key
from splitbrain.cluster.mvcc.commit import Commits
from splitbrain.cluster.mvcc.engine import Batch, Refused
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import Lock, lock_info
from splitbrain.cluster.mvcc.view import Fate, View

__all__ = ["Statuses"]


class Secondary(NamedTuple):
    """One key of an async commit: its lock, or that it is committed; neither: never will be."""

    lock: LockInfo | None = None
    commit_ts: int = 0


class Statuses(Commits):
    """The rules of judging over others, and of keeping them from it."""

    def _heart_beat(self, request: TxnHeartBeat, view: View, batch: Batch) -> TxnHeartBeatReply:
        key = encode_key(request.primary)
        lock = view.lock(key)
        if lock is None or lock.start_ts != request.start_ts:
            raise Refused(TxnNotFound(request.start_ts, request.primary))
        if lock.ttl_ms < request.ttl_ms:
            lock = msgspec.structs.replace(lock, ttl_ms=request.ttl_ms)
            batch.put_lock(key, lock)
        return TxnHeartBeatReply(lock.ttl_ms)

    def _check_txn_status(
        self, request: CheckTxnStatus, view: View, memory: Memory, batch: Batch
    ) -> CheckTxnStatusReply:
        for timestamp in (request.lock_ts, request.caller_start_ts, request.current_ts):
            memory.raise_max_ts(timestamp)
        key = encode_key(request.primary)
        lock = view.lock(key)
        if lock is None or lock.start_ts != request.lock_ts:
            return self._without_primary_lock(request, view, batch, key)
        if request.verify_is_primary and lock.primary != request.primary:
            if lock.kind is not LockKind.PESSIMISTIC or request.resolving_pessimistic_lock:
                raise Refused(PrimaryMismatch(lock_info(key, lock)))
            batch.unlock(key)  # it was taken under another primary, in vain
            return self._without_primary_lock(request, view, batch, key)
        if lock.use_async_commit and not request.force_sync_commit:
            return CheckTxnStatusReply(lock.ttl_ms, lock=lock_info(key, lock))
        if self._expired(lock, request.current_ts):
            if request.resolving_pessimistic_lock and lock.kind is LockKind.PESSIMISTIC:
                batch.unlock(key)
                return CheckTxnStatusReply(action=Action.TTL_EXPIRE_PESSIMISTIC_ROLLBACK)
            self._drop_lock(view, batch, key, lock, collapse=True)
            return CheckTxnStatusReply(action=Action.TTL_EXPIRE_ROLLBACK)
        return self._alive(request, batch, key, lock)

    def _alive(
        self, request: CheckTxnStatus, batch: Batch, key: bytes, lock: Lock
    ) -> CheckTxnStatusReply:
        """Let the caller pass by, if the transaction allows: it will commit after the caller."""
        caller = request.caller_start_ts
        if self._may_push(lock, caller):
            pushed = max(caller + 1, request.current_ts)
            lock = msgspec.structs.replace(lock, min_commit_ts=pushed)
            batch.put_lock(key, lock)
        passed = caller == TS_MAX or (caller != 0 and lock.min_commit_ts > caller)
        action = Action.MIN_COMMIT_TS_PUSHED if passed else Action.NO_ACTION
        return CheckTxnStatusReply(lock.ttl_ms, action=action, lock=lock_info(key, lock))

    def _may_push(self, lock: Lock, caller_start_ts: int) -> bool:
        return lock.min_commit_ts != 0 and TS_MAX != caller_start_ts >= lock.min_commit_ts

    def _without_primary_lock(
        self, request: CheckTxnStatus, view: View, batch: Batch, key: bytes
    ) -> CheckTxnStatusReply:
        fate = self._primary_fate(view, key, request.lock_ts)
        if fate.committed is not None:
            return CheckTxnStatusReply(commit_ts=fate.committed.commit_ts)
        if fate.rolled_back:
            return CheckTxnStatusReply()
        if not request.rollback_if_not_exist:
            raise Refused(TxnNotFound(request.lock_ts, request.primary))
        if request.resolving_pessimistic_lock:
            return CheckTxnStatusReply(action=Action.LOCK_NOT_EXIST_DO_NOTHING)
        self._mark_primary(view, batch, key, request.lock_ts, fate)
        return CheckTxnStatusReply(action=Action.LOCK_NOT_EXIST_ROLLBACK)

    def _primary_fate(self, view: View, key: bytes, start_ts: int) -> Fate:
        """What is recorded of a transaction whose primary lock is not there."""
        return view.fate(key, start_ts)

    def _mark_primary(
        self, view: View, batch: Batch, key: bytes, start_ts: int, fate: Fate
    ) -> None:
        """See to it that a primary of which nothing is there never will be."""
        self._mark(view, batch, key, start_ts, fate, protect=True, collapse=False)

    def _check_secondary_locks(
        self, request: CheckSecondaryLocks, view: View, memory: Memory, batch: Batch
    ) -> CheckSecondaryLocksReply:
        memory.raise_max_ts(request.start_ts)
        locks = []
        for key in request.keys:
            found = self._check_secondary(view, batch, encode_key(key), request.start_ts)
            if found.lock is None:
                return CheckSecondaryLocksReply(commit_ts=found.commit_ts)
            locks.append(found.lock)
        return CheckSecondaryLocksReply(tuple(locks))

    def _check_secondary(
        self, view: View, batch: Batch, key: bytes, start_ts: int
    ) -> Secondary:
        lock = view.lock(key)
        own = lock is not None and lock.start_ts == start_ts
        if lock is not None and own:
            if lock.kind is not LockKind.PESSIMISTIC:
                return Secondary(lock_info(key, lock))
            batch.unlock(key)
        fate = view.fate(key, start_ts)
        if fate.committed is not None:
            return Secondary(commit_ts=fate.committed.commit_ts)
        if not fate.rolled_back:
            self._mark(view, batch, key, start_ts, fate, protect=True, collapse=True)
        return Secondary()
