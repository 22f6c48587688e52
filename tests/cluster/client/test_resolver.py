"""Others' locks: what each answer of their primary means, and what is done with the lock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from splitbrain.cluster.client.options import TxnOptions
from splitbrain.cluster.client.resolver import Status
from splitbrain.cluster.messages import txn as t
from splitbrain.cluster.messages.key_errors import (
    Locked,
    LockInfo,
    LockKind,
    PrimaryMismatch,
    TxnNotFound,
)
from splitbrain.cluster.messages.txn import Action
from splitbrain.cluster.mvcc.codec import TS_MAX
from splitbrain.errors import Definite

from .scripted import Scripted, client

NOW_MS = 1_000
FRESH = (NOW_MS - 10) << 18
OLD = (NOW_MS - 500) << 18


def lock(start_ts: int = FRESH, **fields: Any) -> LockInfo:
    return LockInfo(b"x", b"a", start_ts, **{"ttl_ms": 100, **fields})


def asynchronous(start_ts: int, *secondaries: bytes, min_commit_ts: int = 7) -> LockInfo:
    return LockInfo(
        b"a",
        b"a",
        start_ts,
        ttl_ms=100,
        use_async_commit=True,
        secondaries=secondaries,
        min_commit_ts=min_commit_ts,
    )


def status_of(met: LockInfo, answers: dict[type, list[Any]], caller_ts: int = 0) -> Any:
    """(status, what was sent); a list's last answer is for ever."""

    def script(node: str, request: Any) -> Any:
        left = answers[type(request)]
        return left.pop(0) if len(left) > 1 else left[0]

    network = Scripted(script)

    async def main() -> Any:
        one = client(network)
        return await one.resolver.status(met, caller_ts, one.access.patience())

    return asyncio.run(main()), network


CHECK = t.CheckTxnStatus
NOT_FOUND = t.CheckTxnStatusReply(error=TxnNotFound(FRESH, b"a"))
PESSIMISTIC = LockKind.PESSIMISTIC


def one_answer(met: LockInfo, reply: t.CheckTxnStatusReply, caller_ts: int = 0) -> Status:
    status, _ = status_of(met, {CHECK: [reply]}, caller_ts)
    found: Status = status
    return found


def test_final_answers() -> None:
    assert one_answer(lock(), t.CheckTxnStatusReply(commit_ts=9)) == Status(True, 9)
    assert one_answer(lock(), t.CheckTxnStatusReply()) == Status(True, 0)
    expired = t.CheckTxnStatusReply(action=Action.TTL_EXPIRE_ROLLBACK)
    assert one_answer(lock(OLD), expired) == Status(True, 0)


def test_what_lives_is_waited_for_not_longer_than_it_may_live() -> None:
    assert one_answer(lock(), t.CheckTxnStatusReply(ttl_ms=100)) == Status(left_ms=90)
    pushed = t.CheckTxnStatusReply(ttl_ms=100, action=Action.MIN_COMMIT_TS_PUSHED)
    assert one_answer(lock(), pushed, 5) == Status(pushed=True, left_ms=90)


@pytest.mark.parametrize(
    "action", [Action.LOCK_NOT_EXIST_DO_NOTHING, Action.TTL_EXPIRE_PESSIMISTIC_ROLLBACK]
)
def test_undecided_answers_are_not_final(action: Action) -> None:
    reply = t.CheckTxnStatusReply(action=action)
    assert one_answer(lock(OLD, kind=PESSIMISTIC), reply) == Status(undecided=True)


def test_a_missing_primary_is_alive_until_the_ttl_is_over() -> None:
    status, network = status_of(lock(), {CHECK: [NOT_FOUND]})
    assert status == Status(left_ms=90)
    assert [r.rollback_if_not_exist for _, r in network.sent] == [False]


def test_a_missing_primary_is_then_marked_so_that_it_never_comes() -> None:
    marked = t.CheckTxnStatusReply(action=Action.LOCK_NOT_EXIST_ROLLBACK)
    status, network = status_of(lock(OLD), {CHECK: [NOT_FOUND, marked]})
    assert status == Status(True, 0)
    assert [r.rollback_if_not_exist for _, r in network.sent] == [False, True]


def test_a_lock_without_ttl_is_over_at_once() -> None:
    _, network = status_of(lock(ttl_ms=0), {CHECK: [t.CheckTxnStatusReply()]})
    assert network.sent[0][1].current_ts == TS_MAX


def test_a_lock_taken_under_another_primary() -> None:
    mismatch = t.CheckTxnStatusReply(error=PrimaryMismatch(lock()))
    assert one_answer(lock(kind=PESSIMISTIC), mismatch).undecided
    assert not one_answer(lock(), mismatch).undecided


def secondaries(*replies: t.CheckSecondaryLocksReply, start_ts: int = OLD) -> Any:
    primary = asynchronous(start_ts, b"b", b"x")
    check = t.CheckTxnStatusReply(ttl_ms=100, lock=primary)
    forced = t.CheckTxnStatusReply(action=Action.TTL_EXPIRE_ROLLBACK)
    answers = {CHECK: [check, forced], t.CheckSecondaryLocks: list(replies)}
    return status_of(lock(start_ts), answers)


def one_lock(key: bytes, min_commit_ts: int, **fields: Any) -> t.CheckSecondaryLocksReply:
    fields = {"use_async_commit": True, **fields}
    return t.CheckSecondaryLocksReply(
        (LockInfo(key, b"a", OLD, min_commit_ts=min_commit_ts, **fields),)
    )


def test_an_async_commit_that_lives_is_left_alone() -> None:
    status, network = secondaries(one_lock(b"b", 8), start_ts=FRESH)
    assert status == Status(left_ms=90)
    assert network.kinds() == ["CheckTxnStatus"]


def test_an_async_commit_is_committed_at_the_largest_timestamp_of_its_locks() -> None:
    status, network = secondaries(one_lock(b"b", 8), one_lock(b"x", 9))
    assert (status.final, status.commit_ts) == (True, 9)
    assert status.others == (b"a", b"b", b"x")
    assert network.kinds() == ["CheckTxnStatus", "CheckSecondaryLocks", "CheckSecondaryLocks"]


def test_an_async_commit_of_which_a_key_will_never_be_locked_is_rolled_back() -> None:
    status, _ = secondaries(one_lock(b"b", 8), t.CheckSecondaryLocksReply())
    assert (status.final, status.commit_ts) == (True, 0)


def test_an_async_commit_of_which_a_key_is_committed_is_committed_then() -> None:
    status, _ = secondaries(one_lock(b"b", 8), t.CheckSecondaryLocksReply(commit_ts=11))
    assert (status.final, status.commit_ts) == (True, 11)


def test_an_async_commit_that_fell_back_is_decided_by_its_primary() -> None:
    status, network = secondaries(one_lock(b"b", 8, use_async_commit=False), one_lock(b"x", 9))
    assert (status.final, status.commit_ts) == (True, 0)
    checks = [r.force_sync_commit for _, r in network.sent if isinstance(r, CHECK)]
    assert checks == [False, True]


def test_a_final_status_is_asked_for_once() -> None:
    network = Scripted(lambda node, request: t.CheckTxnStatusReply(commit_ts=9))

    async def main() -> None:
        one = client(network)
        for _ in range(3):
            assert (await one.resolver.status(lock(), 0, one.access.patience())).commit_ts == 9

    asyncio.run(main())
    assert len(network.sent) == 1


# -- readers and writers -------------------------------------------------------------------------


class Stores:
    """Blocks everybody by one lock until it is resolved, or is named as passed."""

    def __init__(self, met: LockInfo, status: t.CheckTxnStatusReply) -> None:
        self.met = met
        self.status = status
        self.resolved: list[Any] = []
        self.read: Any = None

    def __call__(self, node: str, request: Any) -> Any:
        if isinstance(request, t.CheckTxnStatus):
            return self.status
        if isinstance(request, t.ResolveLock | t.PessimisticRollback):
            self.resolved.append(request)
            drop = isinstance(request, t.PessimisticRollback)
            return t.PessimisticRollbackReply() if drop else t.ResolveLockReply()
        if isinstance(request, t.Prewrite):
            blocked = () if self.resolved else (Locked(self.met),)
            return t.PrewriteReply(blocked)
        if isinstance(request, t.Commit):
            return t.CommitReply()
        self.read = request.context
        passed = request.context.resolved_locks + request.context.committed_locks
        if self.met.start_ts in passed:
            return t.GetReply(b"v")
        return t.GetReply(error=Locked(self.met))


def read(stores: Stores, **options: Any) -> Scripted:
    network = Scripted(stores)

    async def main() -> None:
        one = client(network, **options)
        txn = await one.begin()
        assert await txn.get(b"x") == b"v"
        await one.access.background.idle()

    asyncio.run(main())
    return network


@pytest.mark.parametrize(
    ("reply", "passed", "taken"),
    [
        (t.CheckTxnStatusReply(), True, False),
        (t.CheckTxnStatusReply(commit_ts=FRESH + 5), False, True),
        (t.CheckTxnStatusReply(commit_ts=2_000 << 18), True, False),
        (
            t.CheckTxnStatusReply(ttl_ms=100, action=Action.MIN_COMMIT_TS_PUSHED),
            True,
            False,
        ),
    ],
)
def test_a_reader_passes_by(reply: Any, passed: bool, taken: bool) -> None:
    stores = Stores(lock(), reply)
    network = read(stores)
    assert stores.read.resolved_locks == ((FRESH,) if passed else ())
    assert stores.read.committed_locks == ((FRESH,) if taken else ())
    assert network.slept == []
    final = reply.ttl_ms == 0
    assert [r.commit_ts for r in stores.resolved] == ([reply.commit_ts] if final else [])


def test_a_reader_waits_for_what_lives_and_gives_up_in_time() -> None:
    stores = Stores(lock(ttl_ms=1 << 30), t.CheckTxnStatusReply(ttl_ms=1 << 30))
    with pytest.raises(Definite) as error:
        read(stores)
    assert error.value.code == "lock-timeout"


def write(stores: Stores) -> Scripted:
    network = Scripted(stores)

    async def main() -> None:
        one = client(network)
        txn = await one.begin(TxnOptions(heartbeat_s=1e9))
        await txn.put(b"x", b"v")
        await txn.commit()
        await one.access.close()

    asyncio.run(main())
    return network


def test_a_writer_finishes_what_is_left_over() -> None:
    stores = Stores(lock(), t.CheckTxnStatusReply(commit_ts=FRESH + 5))
    network = write(stores)
    done = stores.resolved[0]
    assert (done.start_ts, done.commit_ts, done.keys) == (FRESH, FRESH + 5, (b"x",))
    check = next(r for _, r in network.sent if isinstance(r, CHECK))
    assert check.caller_start_ts == 0  # a writer pushes nobody


def test_a_large_transaction_is_finished_in_the_whole_region() -> None:
    stores = Stores(lock(txn_size=1_000), t.CheckTxnStatusReply())
    write(stores)
    assert stores.resolved[0].keys == ()


def test_a_pessimistic_lock_is_dropped() -> None:
    undecided = t.CheckTxnStatusReply(action=Action.LOCK_NOT_EXIST_DO_NOTHING)
    stores = Stores(lock(OLD, kind=PESSIMISTIC, for_update_ts=77), undecided)
    network = write(stores)
    drop = stores.resolved[0]
    assert (drop.keys, drop.start_ts, drop.for_update_ts) == ((b"x",), OLD, 77)
    check = next(r for _, r in network.sent if isinstance(r, CHECK))
    assert check.resolving_pessimistic_lock
