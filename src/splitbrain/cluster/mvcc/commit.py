"""Commit: turn a transaction's lock into its record; and resolve what others left.

The transaction is committed from the moment that its primary's record is there; its client commits
the primary first.  Whoever finds one of its other locks later learns that from the primary, and
commits that lock with the same timestamp (:class:`ResolveLock`).
"""

from __future__ import annotations

from splitbrain.cluster.messages.key_errors import (
    Abort,
    CommitTsExpired,
    LockKind,
    TxnLockNotFound,
)
from splitbrain.cluster.messages.txn import (
    Commit,
    CommitReply,
    ResolveLock,
    ResolveLockReply,
)
from splitbrain.cluster.mvcc.codec import decode_key, encode_key
from splitbrain.cluster.mvcc.engine import Batch, Refused
from splitbrain.cluster.mvcc.records import Lock, WriteKind, WriteRecord
from splitbrain.cluster.mvcc.rollback import Rollbacks
from splitbrain.cluster.mvcc.view import View

__all__ = ["Commits", "committed_record"]


def committed_record(lock: Lock, start_ts: int, commit_ts: int) -> WriteRecord:
    """What the ``lock`` of ``start_ts`` becomes; its long value stays where it is.

    If a transaction that began at just that timestamp was rolled back here, the record has to say
    so: it takes the place where that rollback's would stand.
    """
    return WriteRecord(
        WriteKind(lock.kind),
        start_ts,
        lock.short_value,
        has_overlapped_rollback=commit_ts in lock.rollback_ts,
    )


class Commits(Rollbacks):
    """The rules of commit and of resolving locks."""

    def _commit(self, request: Commit, view: View, batch: Batch) -> CommitReply:
        if request.commit_ts <= request.start_ts:
            reason = f"commit_ts {request.commit_ts} is not above start_ts {request.start_ts}"
            raise Refused(Abort(f"InvalidTxnTso: {reason}"))
        commit_ts = request.commit_ts
        for key in request.keys:
            done = self._commit_key(
                view, batch, encode_key(key), request.start_ts, request.commit_ts
            )
            commit_ts = done or commit_ts
        return CommitReply(commit_ts)

    def _commit_key(
        self, view: View, batch: Batch, key: bytes, start_ts: int, commit_ts: int
    ) -> int:
        """Commit one key; the commit timestamp that it has got now or had got before.

        A pessimistic lock is dropped and gives 0: the transaction has never prewritten this key, so
        the lock is a leftover of a request that came late.
        """
        lock = view.lock(key)
        if lock is None or not self._owns(lock, start_ts):
            return self._commit_without_lock(view, key, start_ts)
        if self._too_early(lock, commit_ts):
            raise Refused(
                CommitTsExpired(decode_key(key), start_ts, commit_ts, lock.min_commit_ts)
            )
        batch.unlock(key)
        if lock.kind is LockKind.PESSIMISTIC:
            return 0
        batch.put_record(key, commit_ts, committed_record(lock, start_ts, commit_ts))
        return commit_ts

    def _owns(self, lock: Lock, start_ts: int) -> bool:
        """Whether the lock is that of the transaction to be committed."""
        return lock.start_ts == start_ts

    def _too_early(self, lock: Lock, commit_ts: int) -> bool:
        """Whether a reader may have passed the lock with a timestamp at or above ``commit_ts``."""
        return commit_ts < lock.min_commit_ts

    def _commit_without_lock(self, view: View, key: bytes, start_ts: int) -> int:
        """Committed before (then the timestamp of that), else rolled back."""
        committed = view.fate(key, start_ts).committed
        if committed is None:
            raise Refused(TxnLockNotFound(decode_key(key)))
        return committed.commit_ts

    def _resolve(
        self, request: ResolveLock, view: View, batch: Batch, keys: tuple[bytes, ...]
    ) -> ResolveLockReply:
        """Finish transactions at ``keys`` (users'): those asked for, or those found by a scan."""
        if request.keys:
            for key in map(encode_key, keys):
                self._finish(view, batch, key, request.start_ts, request.commit_ts)
            return ResolveLockReply()
        decided = resolved(request)
        for key in map(encode_key, keys):
            lock = view.lock(key)
            if lock is not None and lock.start_ts in decided:
                self._finish(view, batch, key, lock.start_ts, decided[lock.start_ts])
        return ResolveLockReply()

    def _finish(
        self, view: View, batch: Batch, key: bytes, start_ts: int, commit_ts: int
    ) -> None:
        if commit_ts:
            self._commit_key(view, batch, key, start_ts, commit_ts)
        else:
            self._roll_back(view, batch, key, start_ts, protect=False)


def resolved(request: ResolveLock) -> dict[int, int]:
    """Which transactions it decides over, and how: start_ts -> commit_ts or 0."""
    return dict(request.txns) if request.txns else {request.start_ts: request.commit_ts}
