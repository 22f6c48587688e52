"""Others' locks: what became of their transactions, and finishing what those left behind.

The primary key of a transaction decides over it, so its store is asked (CheckTxnStatus):

    answer                              meaning
    commit_ts > 0                       committed: final
    all 0                               rolled back (perhaps just now, its TTL being over): final
    ttl_ms > 0                          alive; with MIN_COMMIT_TS_PUSHED it will commit after the
                                        reader who asks, who may pass by
    ttl_ms > 0, an async commit         alive, if its TTL is not over by the oracle's time; else all
                                        its other keys are asked (CheckSecondaryLocks): committed if
                                        each is prewritten, rolled back if one never will be
    TxnNotFound                         its primary is not prewritten YET: alive until the TTL of the
                                        lock in hand is over; then asked again with
                                        rollback_if_not_exist, which sees to it that it never will be
    undecided actions                   nothing is known of the transaction, but the pessimistic lock
                                        in hand guards nothing any more

What is final is remembered, and locks of such transactions are finished: ResolveLock, by keys if the
transaction is small, else in the whole region; pessimistic locks by PessimisticRollback.

Seams for seeded bugs: ``_ask_primary`` (who never asks it finishes what lives), ``_not_found``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from splitbrain.cluster.client.access import Access, together
from splitbrain.cluster.client.backoff import Patience
from splitbrain.cluster.client.regions import Place
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
    PessimisticRollback,
    ResolveLock,
)
from splitbrain.cluster.mvcc.codec import TS_MAX, physical_ms
from splitbrain.errors import Definite

__all__ = ["Resolver", "Status"]

_REMEMBERED_MAX = 2048
_SMALL_TXN_KEYS = 512
_UNDECIDED = (Action.LOCK_NOT_EXIST_DO_NOTHING, Action.TTL_EXPIRE_PESSIMISTIC_ROLLBACK)


class Status(msgspec.Struct, frozen=True):
    """What is known of a transaction.

    Attributes:
        final: committed at ``commit_ts``, or (0) rolled back.
        undecided: not final, but a pessimistic lock of it may be dropped.
        pushed: alive, and will commit after the reader who asked.
        left_ms: alive for so long, unless it is prolonged.
    """

    final: bool = False
    commit_ts: int = 0
    undecided: bool = False
    pushed: bool = False
    left_ms: int = 0
    others: tuple[bytes, ...] = ()
    """Of an async commit that was decided here: all its keys."""


class _FellBack(Exception):
    """An async commit has a lock that is not one: it is a commit in two phases."""


class Resolver:
    """One client's.

    Attributes:
        probes: how often the changed path of each seeded bug of this class ran.
    """

    def __init__(self, access: Access, probes: dict[str, int] | None = None) -> None:
        self._access = access
        self._final: OrderedDict[int, Status] = OrderedDict()
        self.probes = {} if probes is None else probes

    async def resolve(
        self, locks: Iterable[LockInfo], caller_ts: int, patience: Patience
    ) -> dict[int, Status]:
        """The status of each lock's transaction; those that are final are finished in background.

        ``caller_ts``: as of when the caller reads; 0: it writes, and pushes nobody.
        """
        statuses: dict[int, Status] = {}
        done: list[tuple[LockInfo, Status]] = []
        for lock in sorted(locks, key=lambda lock: (lock.start_ts, lock.key)):
            status = await self.status(lock, caller_ts, patience)
            statuses[lock.start_ts] = status
            if status.final or status.undecided:
                done.append((lock, status))
        if done and caller_ts:
            self._access.background.start(self.finish(done, self._access.patience()))
        elif done:
            await self.finish(done, patience)
        return statuses

    async def status(self, lock: LockInfo, caller_ts: int, patience: Patience) -> Status:
        """What has become of the lock's transaction."""
        known = self._final.get(lock.start_ts)
        if known is not None:
            return known
        now_ts = await self._access.pd.timestamp(patience)
        status = await self._ask_primary(lock, caller_ts, now_ts, patience)
        if status.final:
            self._final[lock.start_ts] = status
            if len(self._final) > _REMEMBERED_MAX:
                self._final.popitem(last=False)
        return status

    # -- asking ------------------------------------------------------------------------------

    async def _ask_primary(
        self, lock: LockInfo, caller_ts: int, now_ts: int, patience: Patience
    ) -> Status:
        expired, sync, mark = _left_ms(lock.start_ts, lock.ttl_ms, now_ts) < 0, False, False
        while True:
            request = CheckTxnStatus(
                lock.primary,
                lock.start_ts,
                caller_ts,
                TS_MAX if lock.ttl_ms == 0 else now_ts,
                rollback_if_not_exist=mark,
                force_sync_commit=sync,
                resolving_pessimistic_lock=lock.kind is LockKind.PESSIMISTIC,
                verify_is_primary=True,
            )
            reply = await self._access.ask(lock.primary, request, patience)
            if isinstance(reply.error, TxnNotFound):
                status = self._not_found(lock, expired, now_ts)
                if status is not None:
                    return status
                mark = True
                continue
            if reply.error is not None:
                return self._refused(lock, reply)
            try:
                return await self._judge(lock, reply, now_ts, sync, patience)
            except _FellBack:
                sync = True

    def _not_found(self, lock: LockInfo, expired: bool, now_ts: int) -> Status | None:
        """Nothing is at the primary.  None: ask again, so that nothing ever will be."""
        if expired or lock.ttl_ms == 0:
            return None
        return Status(left_ms=_left_ms(lock.start_ts, lock.ttl_ms, now_ts))

    def _refused(self, lock: LockInfo, reply: CheckTxnStatusReply) -> Status:
        if not isinstance(reply.error, PrimaryMismatch):
            raise Definite("primary-refused", f"{reply.error}")
        # The transaction has another primary by now: this lock was asked for in vain.
        return Status(undecided=lock.kind is LockKind.PESSIMISTIC, left_ms=lock.ttl_ms)

    async def _judge(
        self,
        lock: LockInfo,
        reply: CheckTxnStatusReply,
        now_ts: int,
        sync: bool,
        patience: Patience,
    ) -> Status:
        if reply.action in _UNDECIDED:
            return Status(undecided=True)
        if reply.ttl_ms == 0:
            return Status(final=True, commit_ts=reply.commit_ts)
        left_ms = _left_ms(lock.start_ts, reply.ttl_ms, now_ts)
        primary = reply.lock
        if primary is not None and primary.use_async_commit and not sync:
            if left_ms >= 0:
                return Status(left_ms=left_ms)
            return await self._ask_secondaries(primary, patience)
        pushed = reply.action is Action.MIN_COMMIT_TS_PUSHED
        return Status(pushed=pushed, left_ms=max(0, left_ms))

    async def _ask_secondaries(self, primary: LockInfo, patience: Patience) -> Status:
        """An async commit is committed if and only if all its keys are prewritten."""

        async def ask(
            place: Place, keys: list[bytes], own: Patience
        ) -> tuple[list[bytes], CheckSecondaryLocksReply]:
            request = CheckSecondaryLocks(tuple(keys), primary.start_ts)
            reply = await self._access.sender.send(request, place, own)
            if reply.error is not None:
                raise Definite("secondaries-refused", f"{reply.error}")
            return keys, reply

        keys = primary.secondaries
        replies = await self._access.by_region(keys, patience, ask) if keys else []
        everything = (primary.key, *keys)
        commit_ts = primary.min_commit_ts
        for asked, reply in replies:
            if any(not lock.use_async_commit for lock in reply.locks):
                raise _FellBack
            if len(reply.locks) < len(asked):
                return Status(final=True, commit_ts=reply.commit_ts, others=everything)
            commit_ts = max(commit_ts, *(lock.min_commit_ts for lock in reply.locks))
        return Status(final=True, commit_ts=commit_ts, others=everything)

    # -- finishing ---------------------------------------------------------------------------

    async def finish(self, done: Sequence[tuple[LockInfo, Status]], patience: Patience) -> None:
        """Remove these locks: of each transaction what was met, or all in the region."""
        by_txn: dict[tuple[int, bool], list[tuple[LockInfo, Status]]] = {}
        for lock, status in done:
            pessimistic = lock.kind is LockKind.PESSIMISTIC
            by_txn.setdefault((lock.start_ts, pessimistic), []).append((lock, status))
        await together(
            self._drop(locks, patience.fork())
            if pessimistic
            else self._finish(locks, patience.fork())
            for (_, pessimistic), locks in by_txn.items()
        )

    async def _finish(
        self, locks: Sequence[tuple[LockInfo, Status]], patience: Patience
    ) -> None:
        start_ts, status = locks[0][0].start_ts, locks[0][1]
        if not status.final:
            return
        large = max(lock.txn_size for lock, _ in locks) >= _SMALL_TXN_KEYS
        met = tuple(lock.key for lock, _ in locks)

        async def finish(place: Place, keys: list[bytes], own: Patience) -> None:
            asked = () if large else tuple(keys)
            request = ResolveLock(start_ts, status.commit_ts, keys=asked)
            await self._access.sender.send(request, place, own)

        await self._access.by_region(
            tuple(dict.fromkeys(met + status.others)), patience, finish
        )

    async def _drop(self, locks: Sequence[tuple[LockInfo, Status]], patience: Patience) -> None:
        start_ts = locks[0][0].start_ts
        newest = max(lock.for_update_ts for lock, _ in locks)

        async def drop(place: Place, keys: list[bytes], own: Patience) -> None:
            request = PessimisticRollback(tuple(keys), start_ts, newest)
            await self._access.sender.send(request, place, own)

        await self._access.by_region([lock.key for lock, _ in locks], patience, drop)


def _left_ms(start_ts: int, ttl_ms: int, now_ts: int) -> int:
    """How long a lock is still respected; negative: it is no more."""
    return physical_ms(start_ts) + ttl_ms - physical_ms(now_ts)
