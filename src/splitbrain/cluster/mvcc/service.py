"""The one entry for all transactional requests; :mod:`.engine` says what a store owes it.

A transaction by hand: it locks its key, learns a commit timestamp, and commits.

    >>> from splitbrain.cluster.messages.txn import Mutation, MutationKind
    >>> from splitbrain.cluster.storage.columns import Columns
    >>> mvcc, state, memory = Mvcc(), Columns(), Memory()
    >>> def serve(request):
    ...     decision = mvcc.decide(request, state, memory, mvcc.keys_of(request, state))
    ...     state.apply(decision.writes)
    ...     return decision.reply
    >>> put = Mutation(MutationKind.PUT, b"k", b"v")
    >>> serve(Prewrite((put,), primary=b"k", start_ts=10)).errors
    ()
    >>> mvcc.read(Get(b"k", version=11), state, memory).error.lock.start_ts
    10
    >>> serve(Commit((b"k",), start_ts=10, commit_ts=12)).error
    >>> [mvcc.read(Get(b"k", version=at), state, memory).value for at in (11, 12)]
    [None, b'v']

**Seams.**  Each rule is a small method of :class:`Mvcc`, which is stacked from one class for each
kind of request (``Rollbacks``, ``Commits``, ``Statuses``, ``PessimisticLocks``, ``Constraints``,
``Prewrites``; ``Reads``, ``Garbage``).  A seeded bug is a subclass of it that overrides one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from splitbrain.cluster.messages.txn import (
    BatchGet,
    BatchRollback,
    BatchRollbackReply,
    CheckSecondaryLocks,
    CheckSecondaryLocksReply,
    CheckTxnStatus,
    CheckTxnStatusReply,
    Cleanup,
    CleanupReply,
    Commit,
    CommitReply,
    Get,
    PessimisticLock,
    PessimisticRollback,
    PessimisticRollbackReply,
    Prewrite,
    ResolveLock,
    ResolveLockReply,
    Scan,
    ScanLock,
    TxnAnswer,
    TxnHeartBeat,
    TxnHeartBeatReply,
)
from splitbrain.cluster.mvcc.codec import TS_MAX, decode_key
from splitbrain.cluster.mvcc.commit import resolved
from splitbrain.cluster.mvcc.engine import Batch, Decision, Reader, Refused
from splitbrain.cluster.mvcc.gc import Garbage
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.prewrite import Prewrites
from splitbrain.cluster.mvcc.reads import Reads
from splitbrain.cluster.mvcc.view import View

__all__ = ["READS", "Mvcc", "WriteRequest", "below_safe_point", "needs_max_ts"]

READS = (Get, BatchGet, Scan, ScanLock)
"""Requests for ``read``; all others are for ``decide``."""

WriteRequest: TypeAlias = (
    Prewrite
    | Commit
    | BatchRollback
    | Cleanup
    | CheckTxnStatus
    | CheckSecondaryLocks
    | ResolveLock
    | TxnHeartBeat
    | PessimisticLock
    | PessimisticRollback
)
REFUSAL: dict[type, Callable[..., TxnAnswer]] = {
    Commit: CommitReply,
    BatchRollback: BatchRollbackReply,
    Cleanup: CleanupReply,
    CheckTxnStatus: CheckTxnStatusReply,
    CheckSecondaryLocks: CheckSecondaryLocksReply,
    ResolveLock: ResolveLockReply,
    TxnHeartBeat: TxnHeartBeatReply,
    PessimisticRollback: PessimisticRollbackReply,
}


class Mvcc(Prewrites, Reads, Garbage):
    """All rules together; it has no state, and one serves any number of regions."""

    def probes(self) -> Mapping[str, int]:
        """How often the changed path of each seeded bug ran; correct rules have none."""
        return {}

    def keys_of(self, request: WriteRequest, reader: Reader) -> tuple[bytes, ...]:
        """Users' keys to latch before ``decide``; sorted, each once.

        ResolveLock and PessimisticRollback without keys are for all of a transaction's locks in the
        region: they are looked up here.  Locks that come while the latches are waited for are not
        this request's: it never promised to find a prewrite that was still on its way.
        """
        if isinstance(request, Prewrite):
            keys = [mutation.key for mutation in request.mutations]
        elif isinstance(request, PessimisticLock):
            keys = [key for key, _ in request.keys]
        elif isinstance(request, CheckTxnStatus | TxnHeartBeat):
            keys = [request.primary]
        elif isinstance(request, Cleanup):
            keys = [request.key]
        elif request.keys:
            keys = list(request.keys)
        elif isinstance(request, ResolveLock):
            decided = resolved(request)
            locks = View(reader).locks()
            keys = [decode_key(key) for key, lock in locks if lock.start_ts in decided]
        elif isinstance(request, PessimisticRollback):
            locks = View(reader).locks()
            keys = [decode_key(key) for key, lock in locks if self._drops(lock, request)]
        else:
            keys = []
        return tuple(sorted(set(keys)))

    def decide(
        self,
        request: WriteRequest,
        reader: Reader,
        memory: Memory,
        keys: tuple[bytes, ...],
    ) -> Decision:
        """What becomes of ``request``; ``keys`` are those of ``keys_of``, latched."""
        view, batch = View(reader), Batch()
        if isinstance(request, Prewrite):
            return self._prewrite(request, view, memory)
        if isinstance(request, PessimisticLock):
            return self._pessimistic_lock(request, view, memory)
        try:
            reply = self._dispatch(request, view, memory, batch, keys)
        except Refused as refused:
            return Decision(refusal(request, refused))
        return batch.decision(reply)

    def _dispatch(
        self,
        request: Any,
        view: View,
        memory: Memory,
        batch: Batch,
        keys: tuple[bytes, ...],
    ) -> TxnAnswer:
        match request:
            case Commit():
                return self._commit(request, view, batch)
            case BatchRollback():
                return self._batch_rollback(request, view, batch)
            case Cleanup():
                return self._cleanup(request, view, memory, batch)
            case CheckTxnStatus():
                return self._check_txn_status(request, view, memory, batch)
            case CheckSecondaryLocks():
                return self._check_secondary_locks(request, view, memory, batch)
            case ResolveLock():
                return self._resolve(request, view, batch, keys)
            case TxnHeartBeat():
                return self._heart_beat(request, view, batch)
            case PessimisticRollback():
                return self._pessimistic_rollback(request, view, batch, keys)
        raise TypeError(f"not a transactional write: {request!r}")


def refusal(request: WriteRequest, refused: Refused) -> TxnAnswer:
    """The answer that tells an error."""
    if isinstance(request, PessimisticRollback):
        return PessimisticRollbackReply((refused.error,))
    return REFUSAL[type(request)](error=refused.error)


def needs_max_ts(request: WriteRequest) -> bool:
    """Whether the store must have a fresh ``max_ts`` for the region before it decides this.

    If it has none since it was elected (or merged a region in), its answer is the region error
    MaxTimestampNotSynced.
    """
    return isinstance(request, Prewrite) and (request.use_async_commit or request.try_one_pc)


def below_safe_point(request: object, safe_point: int) -> bool:
    """Whether a read is of a version that may be garbage.

    The newest version at or below the safe point is kept, so a read at the safe point itself is
    served.  Nothing here refuses: that is for the store to do, by KeyError's abort.
    """
    if isinstance(request, Get | BatchGet | Scan):
        return request.version < min(safe_point, TS_MAX)
    return False
