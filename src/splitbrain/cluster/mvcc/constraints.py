"""What a prewrite demands of the records at its key: no conflict, and what the mutation says."""

from __future__ import annotations

from splitbrain.cluster.messages.key_errors import (
    Abort,
    AlreadyExist,
    AssertionFailed,
    ConflictReason,
    WriteConflict,
)
from splitbrain.cluster.messages.txn import (
    Assertion,
    AssertionLevel,
    Mutation,
    MutationKind,
    PessimisticAction,
    Prewrite,
)
from splitbrain.cluster.mvcc.codec import decode_key
from splitbrain.cluster.mvcc.engine import Refused
from splitbrain.cluster.mvcc.pessimistic import PessimisticLocks
from splitbrain.cluster.mvcc.view import Version, View

__all__ = ["Constraints"]

SKIP = PessimisticAction.SKIP_PESSIMISTIC_CHECK
LOCKED = PessimisticAction.DO_PESSIMISTIC_CHECK
INSERTS = (MutationKind.INSERT, MutationKind.CHECK_NOT_EXISTS)


class Constraints(PessimisticLocks):
    """The rules of conflicts, inserts and assertions; ``action``: None if optimistic."""

    def _check_records(
        self,
        request: Prewrite,
        view: View,
        key: bytes,
        mutation: Mutation,
        action: PessimisticAction | None,
    ) -> bool:
        """Whether the newest record of ``key`` had to be read.

        Raises:
            Refused: it is a conflict, or the key of an insert is there.
        """
        if action is LOCKED:
            return False  # the lock has kept others away
        if action is SKIP:
            if request.context.is_retry:
                self._check_not_committed(request, view, key)
            return request.context.is_retry
        if action is None and request.skip_constraint_check:
            return False
        newest = view.newest(key)
        if newest is not None:
            self._check_newest(request, view, key, newest, action)
            if mutation.kind in INSERTS and view.data(key) is not None:
                raise Refused(AlreadyExist(decode_key(key)))
        return True

    def _check_newest(
        self,
        request: Prewrite,
        view: View,
        key: bytes,
        newest: Version,
        action: PessimisticAction | None,
    ) -> None:
        """Only the newest record counts, whatever its kind, others' rollbacks included."""
        if newest.rolls_back(request.start_ts):
            raise Refused(self._conflict(request, key, newest, ConflictReason.SELF_ROLLED_BACK))
        if self._conflicts(view, key, newest, request.start_ts):
            lazy = action is PessimisticAction.DO_CONSTRAINT_CHECK
            reason = ConflictReason.LAZY_UNIQUENESS_CHECK if lazy else ConflictReason.OPTIMISTIC
            raise Refused(self._conflict(request, key, newest, reason))

    def _conflicts(self, view: View, key: bytes, newest: Version, start_ts: int) -> bool:
        """Whether the transaction has not seen ``newest``, the newest record of ``key``."""
        return newest.commit_ts > start_ts

    def _conflict(
        self, request: Prewrite, key: bytes, newest: Version, reason: ConflictReason
    ) -> WriteConflict:
        return WriteConflict(
            decode_key(key),
            request.start_ts,
            newest.record.start_ts,
            newest.commit_ts,
            request.primary,
            reason,
        )

    def _check_not_committed(self, request: Prewrite, view: View, key: bytes) -> None:
        """A key without a pessimistic lock, sent again: it may be committed already."""
        for commit_ts, record in view.versions(key):
            if commit_ts <= request.for_update_ts:
                return
            if record.is_commit:
                raise Refused(self._not_locked(key, f"written at {commit_ts}"))

    def _amend(self, view: View, key: bytes, request: Prewrite) -> None:
        """Whether a pessimistic lock that is not there may be taken for one that was lost.

        for_update_ts is not what counts: a lock taken at an earlier one was lost, and what was
        written between may be known to nobody.  Since start_ts nothing must have been written.
        """
        newest = view.newest(key)
        if newest is not None and newest.commit_ts >= request.start_ts:
            raise Refused(self._not_locked(key, f"written at {newest.commit_ts}"))

    def _not_locked(self, key: bytes, why: str) -> Abort:
        return Abort(f"PessimisticLockNotFound: {decode_key(key)!r}: {why}")

    def _check_assertion(
        self,
        request: Prewrite,
        view: View,
        key: bytes,
        mutation: Mutation,
        was_read: bool,
    ) -> None:
        """Against the newest data; ``was_read``: it cost a read anyway."""
        level = request.assertion_level
        if mutation.assertion is Assertion.NONE or level is AssertionLevel.OFF:
            return
        if level is AssertionLevel.FAST and not was_read:
            return
        data = view.data(key)
        if (data is not None) is (mutation.assertion is Assertion.EXIST):
            return
        start_ts, commit_ts = (data.record.start_ts, data.commit_ts) if data else (0, 0)
        raise Refused(AssertionFailed(mutation.key, request.start_ts, start_ts, commit_ts))
