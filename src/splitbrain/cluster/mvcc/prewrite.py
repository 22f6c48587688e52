"""Prewrite: lock the keys that a transaction writes, and leave the values with the locks.

For each key, in this order: another's lock is in the way, or the own lock is there already (a
request that came twice, or a pessimistic lock to be overwritten); records newer than the
transaction's view of the key are a conflict; inserts and assertions must hold; then the lock.  Any
error, and nothing at all of the request is written.

**Twice.**  A prewrite that is sent again may arrive after its transaction was committed.  It then
meets a conflict, or another's lock, or no pessimistic lock; so before any of these is told, the
transaction's own commit record is looked for.  If it is there, the whole request has succeeded
before.

**Ways to commit.**  With two phases a commit request follows.  An *async commit* is committed as
soon as all its keys are prewritten, at the largest ``min_commit_ts`` of its locks; a commit in *one
phase* writes records instead of locks, all at once.  In both the store chooses the timestamps: above
everything at which the key may have been read (``max_ts``, see :mod:`.memory`).  Where that cannot be
(``max_commit_ts``, or an own lock of another kind) the request falls back to two phases, from the
key on where it was found out, and says so by 0 in its reply.

A pessimistic lock that should be there and is not (it was only in a leader's memory, say) may be
*amended*: put as if it were there, if nothing has been written to the key since the transaction began.
"""

from __future__ import annotations

import enum

import msgspec

from splitbrain.cluster.messages.key_errors import Abort, Locked, LockKind, WriteConflict
from splitbrain.cluster.messages.txn import (
    Mutation,
    MutationKind,
    PessimisticAction,
    Prewrite,
    PrewriteReply,
)
from splitbrain.cluster.mvcc.codec import decode_key, encode_key
from splitbrain.cluster.mvcc.commit import committed_record
from splitbrain.cluster.mvcc.constraints import Constraints
from splitbrain.cluster.mvcc.engine import Batch, Decision, Refused
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import SHORT_VALUE_BYTES_MAX, Lock, lock_info
from splitbrain.cluster.mvcc.view import View

__all__ = ["Prewrites"]

DO_PESSIMISTIC_CHECK = PessimisticAction.DO_PESSIMISTIC_CHECK
DO_CONSTRAINT_CHECK = PessimisticAction.DO_CONSTRAINT_CHECK
CHECK_NOT_EXISTS = MutationKind.CHECK_NOT_EXISTS
LOCK_KIND = {
    MutationKind.PUT: LockKind.PUT,
    MutationKind.INSERT: LockKind.PUT,
    MutationKind.DELETE: LockKind.DELETE,
    MutationKind.LOCK: LockKind.LOCK,
}


class Way(enum.Enum):
    """How the transaction is to be committed."""

    TWO_PHASES = enum.auto()
    ASYNC = enum.auto()
    ONE_PHASE = enum.auto()


class Job(msgspec.Struct, gc=False):
    """A request on its way through its mutations.

    Attributes:
        way: may fall back.
        commit_ts: the largest min_commit_ts so far; with ``way`` two phases 0.
        locks: to be written, in order.
        values: the long ones.
        blocked: others' locks.
        assertion: the first that failed; told if there is no other error.
    """

    request: Prewrite
    view: View
    memory: Memory
    way: Way
    commit_ts: int = 0
    locks: dict[bytes, Lock] = {}
    values: dict[bytes, bytes] = {}
    blocked: list[Locked] = []
    assertion: Refused | None = None

    def fall_back(self) -> None:
        """From here on by two phases; locks of a one-phase commit become such ones."""
        self.way, self.commit_ts = Way.TWO_PHASES, 0


class Committed(Exception):
    """The transaction was committed before, at ``commit_ts``."""

    def __init__(self, commit_ts: int) -> None:
        super().__init__(commit_ts)
        self.commit_ts = commit_ts


class Prewrites(Constraints):
    """The rules of the first phase."""

    def _prewrite(self, request: Prewrite, view: View, memory: Memory) -> Decision:
        way = Way.ASYNC if request.use_async_commit else Way.TWO_PHASES
        job = Job(request, view, memory, Way.ONE_PHASE if request.try_one_pc else way)
        try:
            for position, mutation in enumerate(request.mutations):
                self._prewrite_or_committed(job, position, mutation)
        except Committed as committed:
            return Decision(self._committed_before(job.request, committed.commit_ts))
        except Refused as refused:
            return Decision(PrewriteReply((refused.error,)))
        if job.blocked:
            return Decision(PrewriteReply(tuple(job.blocked)))
        if job.assertion is not None:
            return Decision(PrewriteReply((job.assertion.error,)))
        return self._written(job)

    def _committed_before(self, request: Prewrite, commit_ts: int) -> PrewriteReply:
        if request.try_one_pc:
            return PrewriteReply(one_pc_commit_ts=commit_ts)
        return PrewriteReply(min_commit_ts=commit_ts if request.use_async_commit else 0)

    def _prewrite_or_committed(self, job: Job, position: int, mutation: Mutation) -> None:
        """One mutation; an error only if the transaction has not been committed there before.

        Raises:
            Committed: it has been.
            Refused: any error but another's lock, which is added to ``job.blocked``.
        """
        key = encode_key(mutation.key)
        try:
            self._prewrite_key(job, position, mutation, key)
        except Refused as refused:
            if self._may_have_committed(refused, job.request):
                self._unless_committed(job, key)
            if not isinstance(refused.error, Locked):
                raise
            job.blocked.append(refused.error)

    def _unless_committed(self, job: Job, key: bytes) -> None:
        committed = job.view.fate(key, job.request.start_ts).committed
        if committed is not None:
            raise Committed(committed.commit_ts)

    def _may_have_committed(self, refused: Refused, request: Prewrite) -> bool:
        error = refused.error
        if isinstance(error, WriteConflict):
            return error.conflict_commit_ts > request.start_ts
        return isinstance(error, Locked | Abort)

    def _prewrite_key(self, job: Job, position: int, mutation: Mutation, key: bytes) -> None:
        request, view = job.request, job.view
        action = self._action(request, position, mutation)
        if mutation.kind in (MutationKind.INSERT, CHECK_NOT_EXISTS):
            job.memory.raise_max_ts(request.start_ts)
        lock = view.lock(key)
        if lock is not None:
            self._check_lock(request, position, action, key, lock)
            if lock.kind is not LockKind.PESSIMISTIC:
                self._locked_before(job, lock)
                return
        elif action is DO_PESSIMISTIC_CHECK:
            self._amend(view, key, request)
        was_read = self._check_records(request, view, key, mutation, action)
        if mutation.kind is CHECK_NOT_EXISTS:
            self._checked_only(job)
            return
        try:
            self._check_assertion(request, view, key, mutation, was_read)
        except Refused as refused:
            job.assertion = job.assertion or refused
        self._put(job, mutation, key, lock)

    def _action(
        self, request: Prewrite, position: int, mutation: Mutation
    ) -> PessimisticAction | None:
        """None in an optimistic transaction."""
        if not request.for_update_ts:
            return None
        if len(request.pessimistic_actions) != len(request.mutations):
            raise Refused(Abort("a pessimistic prewrite needs one action for each mutation"))
        if mutation.kind is CHECK_NOT_EXISTS:
            raise Refused(Abort("CheckNotExists is for optimistic transactions"))
        return request.pessimistic_actions[position]

    def _check_lock(
        self,
        request: Prewrite,
        position: int,
        action: PessimisticAction | None,
        key: bytes,
        lock: Lock,
    ) -> None:
        if lock.start_ts != request.start_ts:
            if action is DO_PESSIMISTIC_CHECK:
                raise Refused(self._not_locked(key, "another's lock is there"))
            info = lock_info(key, lock)
            if request.for_update_ts:  # its client is to see to that lock at once
                info = msgspec.structs.replace(info, ttl_ms=0)
            raise Refused(Locked(info))
        if lock.kind is LockKind.PESSIMISTIC:
            if not request.for_update_ts:
                raise Refused(Abort(f"LockTypeNotMatch: {decode_key(key)!r} is not prewritten"))
            wanted = dict(request.for_update_ts_constraints).get(position)
            if wanted is not None and wanted != lock.for_update_ts:
                raise Refused(self._not_locked(key, f"for_update_ts is {lock.for_update_ts}"))

    def _locked_before(self, job: Job, lock: Lock) -> None:
        """A prewrite that came twice: the lock stays as it is."""
        if job.way is Way.ASYNC and lock.use_async_commit:
            job.commit_ts = max(job.commit_ts, lock.min_commit_ts)
        elif job.way is not Way.TWO_PHASES:
            job.fall_back()

    def _checked_only(self, job: Job) -> None:
        """Nothing is locked, so the commit need only be after this transaction's reads."""
        if job.way is not Way.TWO_PHASES:
            least = max(job.request.min_commit_ts, job.request.start_ts + 1)
            job.commit_ts = max(job.commit_ts, least)

    def _put(self, job: Job, mutation: Mutation, key: bytes, before: Lock | None) -> None:
        """Stage the lock; ``before`` is an own pessimistic one, whose promises it keeps."""
        request = job.request
        kind = LOCK_KIND[mutation.kind]
        lock = Lock(
            kind,
            request.primary,
            request.start_ts,
            request.ttl_ms,
            for_update_ts=request.for_update_ts,
            txn_size=request.txn_size,
            min_commit_ts=request.min_commit_ts,
        )
        if before is not None:
            lock = msgspec.structs.replace(
                lock,
                ttl_ms=max(lock.ttl_ms, before.ttl_ms),
                min_commit_ts=max(lock.min_commit_ts, before.min_commit_ts),
                for_update_ts=max(lock.for_update_ts, before.for_update_ts),
            )
        if kind is LockKind.PUT:
            if len(mutation.value) <= SHORT_VALUE_BYTES_MAX:
                lock = msgspec.structs.replace(lock, short_value=mutation.value)
            else:
                job.values[key] = mutation.value
        if job.way is not Way.TWO_PHASES:
            lock = self._choose_commit_ts(job, mutation, key, lock)
        job.locks[key] = lock

    def _choose_commit_ts(self, job: Job, mutation: Mutation, key: bytes, lock: Lock) -> Lock:
        """The least timestamp at which the key may be committed without asking the oracle."""
        request = job.request
        floor = max(job.memory.max_ts, lock.start_ts, lock.for_update_ts) + 1
        least = max(floor, lock.min_commit_ts)
        if request.max_commit_ts and least > request.max_commit_ts:
            self._unless_committed(job, key)  # nothing has looked yet if checks were skipped
            job.fall_back()
            return lock
        job.commit_ts = max(job.commit_ts, least)
        lock = msgspec.structs.replace(lock, min_commit_ts=least)
        if job.way is Way.ONE_PHASE:
            return lock
        is_primary = mutation.key == request.primary
        secondaries = request.secondaries if is_primary else ()
        return msgspec.structs.replace(lock, use_async_commit=True, secondaries=secondaries)

    def _written(self, job: Job) -> Decision:
        """All that is to be written, and shown to readers until it is."""
        batch = Batch()
        start_ts = job.request.start_ts
        for key, value in job.values.items():
            batch.put_value(key, start_ts, value)
        if job.way is not Way.ONE_PHASE:
            for key, lock in job.locks.items():
                batch.put_lock(key, lock)
            held = job.locks.items() if job.way is Way.ASYNC else ()
            return batch.decision(PrewriteReply(min_commit_ts=job.commit_ts), held=tuple(held))
        for key, lock in job.locks.items():
            if job.view.lock(key) is not None:
                batch.unlock(key)
            batch.put_record(
                key, job.commit_ts, committed_record(lock, start_ts, job.commit_ts)
            )
        return batch.decision(
            PrewriteReply(one_pc_commit_ts=job.commit_ts),
            held=tuple(
                (key, msgspec.structs.replace(lock, one_pc=True))
                for key, lock in job.locks.items()
            ),
        )
