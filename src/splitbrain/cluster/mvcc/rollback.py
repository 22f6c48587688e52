"""Rollback: drop a transaction's lock, and leave a record that it will never commit here.

The record is there for messages that come late: a prewrite that arrives after its transaction was
given up finds it, or something newer, and is refused.  Records of rollbacks would pile up on a
contended key; so a rollback removes the one before it (*collapse*): a prewrite that is later than
both is refused by the newer one, its timestamp being above its own.

That does not do for a *protected* record: that of a primary, by whose absence others judge, in a
pessimistic transaction too, whose prewrites do not look for newer records.  It is never collapsed.
"""

from __future__ import annotations

import msgspec

from splitbrain.cluster.messages.key_errors import Abort, Locked, LockKind
from splitbrain.cluster.messages.txn import (
    BatchRollback,
    BatchRollbackReply,
    Cleanup,
    CleanupReply,
    PessimisticRollback,
    PessimisticRollbackReply,
)
from splitbrain.cluster.mvcc.codec import decode_key, encode_key, physical_ms
from splitbrain.cluster.mvcc.engine import Batch, Refused
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import Lock, WriteKind, WriteRecord, lock_info
from splitbrain.cluster.mvcc.view import Fate, View

__all__ = ["Rollbacks"]


class Rollbacks:
    """The rules of giving up."""

    def _batch_rollback(
        self, request: BatchRollback, view: View, batch: Batch
    ) -> BatchRollbackReply:
        for key in request.keys:
            committed = self._roll_back(
                view, batch, encode_key(key), request.start_ts, protect=False
            )
            if committed:
                raise Refused(Abort(f"Committed: {request.start_ts} at {committed}"))
        return BatchRollbackReply()

    def _cleanup(
        self, request: Cleanup, view: View, memory: Memory, batch: Batch
    ) -> CleanupReply:
        memory.raise_max_ts(request.start_ts)
        key = encode_key(request.key)
        lock = view.lock(key)
        if lock is not None and lock.start_ts == request.start_ts:
            alive = request.current_ts and not self._expired(lock, request.current_ts)
            if alive:
                raise Refused(Locked(lock_info(key, lock)))
        return CleanupReply(self._roll_back(view, batch, key, request.start_ts, protect=True))

    def _pessimistic_rollback(
        self, request: PessimisticRollback, view: View, batch: Batch, keys: tuple[bytes, ...]
    ) -> PessimisticRollbackReply:
        """No record is left: the transaction itself may still lock and commit the key."""
        for key in map(encode_key, keys):
            lock = view.lock(key)
            if lock is not None and self._drops(lock, request):
                batch.unlock(key)
        return PessimisticRollbackReply()

    def _drops(self, lock: Lock, request: PessimisticRollback) -> bool:
        """Whether a pessimistic rollback is of this lock."""
        return (
            lock.kind is LockKind.PESSIMISTIC
            and lock.start_ts == request.start_ts
            and lock.for_update_ts <= request.for_update_ts
        )

    def _expired(self, lock: Lock, current_ts: int) -> bool:
        """Whether the lock need not be respected any more; by the oracle's time alone."""
        return physical_ms(lock.start_ts) + lock.ttl_ms < physical_ms(current_ts)

    def _roll_back(
        self, view: View, batch: Batch, key: bytes, start_ts: int, *, protect: bool
    ) -> int:
        """Roll back one key, whatever its TTL; or nothing, but tell the commit timestamp (else 0).

        ``protect``: protect the record though there is no lock, and do not collapse.
        """
        lock = view.lock(key)
        if lock is not None and lock.start_ts == start_ts:
            self._drop_lock(view, batch, key, lock, collapse=not protect)
            return 0
        fate = view.fate(key, start_ts)
        if fate.committed is not None:
            return fate.committed.commit_ts
        if not fate.rolled_back:
            self._mark(view, batch, key, start_ts, fate, protect=protect, collapse=not protect)
        return 0

    def _drop_lock(
        self, view: View, batch: Batch, key: bytes, lock: Lock, *, collapse: bool
    ) -> None:
        """Roll back a transaction where it has a lock."""
        batch.unlock(key)
        fate = view.fate(key, lock.start_ts)
        if fate.committed is not None:
            self._rolled_back_committed(key, lock)
            return
        if lock.kind is LockKind.PUT and lock.short_value is None:
            batch.delete_value(key, lock.start_ts)
        if fate.rolled_back:
            return
        self._put_rollback(
            batch, key, lock.start_ts, fate, protect=decode_key(key) == lock.primary
        )
        if collapse:
            self._collapse(view, batch, key, lock.start_ts)

    def _rolled_back_committed(self, key: bytes, lock: Lock) -> None:
        """Impossible: a commit takes the lock away, and no prewrite of that transaction passes."""
        raise AssertionError(
            f"transaction {lock.start_ts} is committed at {decode_key(key)!r} and to be rolled back"
        )

    def _mark(
        self,
        view: View,
        batch: Batch,
        key: bytes,
        start_ts: int,
        fate: Fate,
        *,
        protect: bool,
        collapse: bool,
    ) -> None:
        """Leave a rollback record where the transaction has neither lock nor record."""
        lock = view.lock(key)
        if protect and fate.overlapped is None and lock is not None:
            self._mark_lock(batch, key, start_ts, lock)
        self._put_rollback(batch, key, start_ts, fate, protect=protect)
        if collapse:
            self._collapse(view, batch, key, start_ts)

    def _mark_lock(self, batch: Batch, key: bytes, start_ts: int, lock: Lock) -> None:
        """Another's lock may be committed at just ``start_ts``: let it keep the rollback then.

        Only a commit timestamp that no oracle gave out can be the same as somebody's start_ts, and
        only one that is not below min_commit_ts is possible.
        """
        if lock.start_ts == start_ts or not lock.use_async_commit:
            return
        if lock.min_commit_ts <= start_ts:
            marked = msgspec.structs.replace(lock, rollback_ts=(*lock.rollback_ts, start_ts))
            batch.put_lock(key, marked)

    def _put_rollback(
        self, batch: Batch, key: bytes, start_ts: int, fate: Fate, *, protect: bool
    ) -> None:
        """Where another's commit record stands in the place, it is made to tell of both."""
        if fate.overlapped is None:
            record = WriteRecord(WriteKind.ROLLBACK, start_ts, protected=protect)
        elif protect:
            record = msgspec.structs.replace(
                fate.overlapped, has_overlapped_rollback=True, gc_fence=fate.fence
            )
        else:
            return
        batch.put_record(key, start_ts, record)

    def _collapse(self, view: View, batch: Batch, key: bytes, start_ts: int) -> None:
        """Forget the rollback before this one, unless it is protected."""
        before = view.newest(key, start_ts)
        if before is None or before.commit_ts == start_ts:
            return
        if before.record.kind is WriteKind.ROLLBACK and not before.record.protected:
            batch.delete_record(key, before.commit_ts)
