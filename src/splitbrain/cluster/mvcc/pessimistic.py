"""Pessimistic locks: taken while the transaction runs, before it knows what it will write.

The lock says: nothing has been committed to this key after ``for_update_ts``, and nothing will be
but by me.  So the prewrite of a key so locked need not look for newer records.  A request meets
another's lock: it waits (the store's business) or is told; it meets a newer record: it is told, and
its client tries again with a fresh for_update_ts.
"""

from __future__ import annotations

from splitbrain.cluster.messages.key_errors import (
    Abort,
    AlreadyExist,
    ConflictReason,
    Locked,
    LockKind,
    WriteConflict,
)
from splitbrain.cluster.messages.txn import PessimisticLock, PessimisticLockReply
from splitbrain.cluster.mvcc.codec import decode_key, encode_key
from splitbrain.cluster.mvcc.engine import Batch, Decision, Refused, Wait
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import Lock, lock_info
from splitbrain.cluster.mvcc.status import Statuses
from splitbrain.cluster.mvcc.view import Version, View

__all__ = ["WAIT_LIMIT_MS", "PessimisticLocks", "woken"]

WAIT_LIMIT_MS = 1000
"""A lock request never waits longer (TiKV's wait-for-lock-timeout)."""


class PessimisticLocks(Statuses):
    """The rules of locking before writing."""

    def _pessimistic_lock(
        self, request: PessimisticLock, view: View, memory: Memory
    ) -> Decision:
        reads = request.return_values or request.check_existence
        if reads or any(absent for _, absent in request.keys):
            memory.raise_max_ts(request.for_update_ts)
        batch = Batch()
        values: list[bytes | None] = []
        try:
            for plain, must_be_absent in request.keys:
                key = encode_key(plain)
                lock = view.lock(key)
                if lock is not None and lock.start_ts != request.start_ts:
                    return self._blocked(request, key, lock)
                value = self._read_locked(view, key, request) if reads else None
                self._lock_key(request, view, batch, key, lock, must_be_absent)
                values.append(value)
        except Refused as refused:
            return Decision(PessimisticLockReply(errors=(refused.error,)))
        return batch.decision(
            PessimisticLockReply(
                tuple(values) if request.return_values else (),
                tuple(value is not None for value in values) if reads else (),
            )
        )

    def _blocked(self, request: PessimisticLock, key: bytes, lock: Lock) -> Decision:
        """Nothing of the request is locked."""
        reply = PessimisticLockReply(errors=(Locked(lock_info(key, lock)),))
        if request.wait_ms < 0:
            return Decision(reply)
        limit_ms = min(request.wait_ms or WAIT_LIMIT_MS, WAIT_LIMIT_MS)
        wait = Wait(
            decode_key(key), request.start_ts, lock.start_ts, request.is_first_lock, limit_ms
        )
        return Decision(reply, wait=wait)

    def _lock_key(
        self,
        request: PessimisticLock,
        view: View,
        batch: Batch,
        key: bytes,
        lock: Lock | None,
        must_be_absent: bool,
    ) -> None:
        """Lock ``key``, unless it is this transaction's already; ``lock`` is nobody else's."""
        if lock is not None:
            if lock.kind is not LockKind.PESSIMISTIC:
                raise Refused(Abort(f"LockTypeNotMatch: {decode_key(key)!r} is prewritten"))
            if lock.for_update_ts < request.for_update_ts:
                batch.put_lock(key, self._new_lock(request))
            return
        newest = view.newest(key)
        if newest is not None:
            self._check_unwritten(request, view, key, newest)
        there = view.data(key, request.for_update_ts) is not None
        if must_be_absent and there:
            raise Refused(AlreadyExist(decode_key(key)))
        if there or not request.lock_only_if_exists:
            batch.put_lock(key, self._new_lock(request))

    def _check_unwritten(
        self, request: PessimisticLock, view: View, key: bytes, newest: Version
    ) -> None:
        if self._written_since(newest.commit_ts, request.for_update_ts):
            raise Refused(
                WriteConflict(
                    decode_key(key),
                    request.start_ts,
                    newest.record.start_ts,
                    newest.commit_ts,
                    request.primary,
                    ConflictReason.PESSIMISTIC_RETRY,
                )
            )
        own = view.newest(key, request.start_ts)
        if own is not None and own.rolls_back(request.start_ts):
            where = f"{request.start_ts} at {decode_key(key)!r}"
            raise Refused(Abort(f"PessimisticLockRolledBack: {where}"))

    def _written_since(self, commit_ts: int, for_update_ts: int) -> bool:
        """Whether the newest record is one that the transaction does not know of."""
        return commit_ts > for_update_ts

    def _read_locked(self, view: View, key: bytes, request: PessimisticLock) -> bytes | None:
        """The value that the answer tells: as of for_update_ts, also of a lock taken before."""
        version = view.data(key, request.for_update_ts)
        if version is None:
            return None
        return view.value(key, version.record) if request.return_values else b""

    def _new_lock(self, request: PessimisticLock) -> Lock:
        return Lock(
            LockKind.PESSIMISTIC,
            request.primary,
            request.start_ts,
            request.ttl_ms,
            for_update_ts=request.for_update_ts,
            min_commit_ts=request.min_commit_ts,
        )


def woken(request: PessimisticLock, wait: Wait, commit_ts: int = 0) -> PessimisticLockReply:
    """What TiKV tells a waiter when the lock is released: not granted, try again.

    The lock goes to who asks first after the release, and the waiter is to come back with a fresh
    for_update_ts, without which it would most likely meet a conflict anyway.
    ``commit_ts`` is the releasing transaction's; 0: it was rolled back.
    """
    conflict = WriteConflict(
        wait.key,
        request.start_ts,
        wait.lock_ts,
        commit_ts,
        request.primary,
        ConflictReason.PESSIMISTIC_RETRY,
    )
    return PessimisticLockReply(errors=(conflict,))
