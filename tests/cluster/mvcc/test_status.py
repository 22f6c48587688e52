"""CheckTxnStatus, CheckSecondaryLocks, TxnHeartBeat."""

from __future__ import annotations

from splitbrain.cluster.messages.key_errors import LockKind, PrimaryMismatch, TxnNotFound
from splitbrain.cluster.messages.txn import (
    Action,
    CheckSecondaryLocks,
    CheckTxnStatusReply,
    TxnHeartBeat,
)
from splitbrain.cluster.mvcc.codec import TS_MAX

from .bench import MS, Bench


def test_a_lock_lives_up_to_and_with_its_last_millisecond() -> None:
    bench = Bench()
    bench.prewrite(10 * MS + 7, b"p", ttl_ms=5)
    reply = bench.status(b"p", 10 * MS + 7, current_ts=15 * MS + 99)
    assert (reply.ttl_ms, reply.action) == (5, Action.NO_ACTION)
    reply = bench.status(b"p", 10 * MS + 7, current_ts=16 * MS)
    assert (reply.ttl_ms, reply.commit_ts) == (0, 0)
    assert reply.action is Action.TTL_EXPIRE_ROLLBACK
    assert bench.records(b"p") == [(10 * MS + 7, "R*")]
    assert bench.status(b"p", 10 * MS + 7).action is Action.NO_ACTION
    assert bench.memory.max_ts == 16 * MS


def test_rolling_back_what_has_expired_collapses() -> None:
    bench = Bench()
    bench.roll_back(5, b"p")
    bench.prewrite(10, b"p", ttl_ms=1)
    bench.status(b"p", 10, current_ts=9 * MS)
    assert bench.records(b"p") == [(10, "R*")]


def test_a_reader_pushes_the_commit_out_of_its_way() -> None:
    bench = Bench()
    bench.prewrite(10, b"p", min_commit_ts=11)
    early = bench.status(b"p", 10, caller_start_ts=10)
    assert early.action is Action.MIN_COMMIT_TS_PUSHED  # as it was
    assert early.lock.min_commit_ts == 11
    pushed = bench.status(b"p", 10, caller_start_ts=20, current_ts=15)
    assert (pushed.action, pushed.lock.min_commit_ts) == (Action.MIN_COMMIT_TS_PUSHED, 21)
    assert bench.status(b"p", 10, caller_start_ts=22, current_ts=30).lock.min_commit_ts == 30
    assert bench.status(b"p", 10, caller_start_ts=0).action is Action.NO_ACTION
    newest = bench.status(b"p", 10, caller_start_ts=TS_MAX)
    assert newest.action is Action.MIN_COMMIT_TS_PUSHED
    assert newest.lock.min_commit_ts == 30
    assert bench.memory.max_ts == 30
    assert bench.commit(10, 29, b"p").error.min_commit_ts == 30


def test_who_may_not_be_pushed_is_not() -> None:
    bench = Bench()
    bench.prewrite(10, b"p", min_commit_ts=0)
    reply = bench.status(b"p", 10, caller_start_ts=20)
    assert (reply.action, reply.lock.min_commit_ts) == (Action.NO_ACTION, 0)


def test_a_finished_transaction() -> None:
    bench = Bench()
    bench.write(10, 12, b"p")
    assert bench.status(b"p", 10) == CheckTxnStatusReply(commit_ts=12)
    bench.prewrite(20, b"p")
    assert bench.status(b"p", 10) == CheckTxnStatusReply(commit_ts=12)
    bench.roll_back(20, b"p")
    assert bench.status(b"p", 20) == CheckTxnStatusReply()


def test_a_transaction_of_which_nothing_is_there() -> None:
    bench = Bench()
    assert bench.status(b"p", 10).error == TxnNotFound(10, b"p")
    reply = bench.status(b"p", 10, rollback_if_not_exist=True, resolving_pessimistic_lock=True)
    assert reply.action is Action.LOCK_NOT_EXIST_DO_NOTHING
    assert bench.records(b"p") == []
    reply = bench.status(b"p", 10, rollback_if_not_exist=True)
    assert reply == CheckTxnStatusReply(action=Action.LOCK_NOT_EXIST_ROLLBACK)
    assert bench.records(b"p") == [(10, "R*")]
    assert bench.prewrite(10, b"p").errors


def test_the_mark_of_a_missing_primary_collapses_nothing() -> None:
    bench = Bench()
    bench.roll_back(5, b"p")
    bench.status(b"p", 10, rollback_if_not_exist=True)
    assert bench.records(b"p") == [(10, "R*"), (5, "R")]


def test_an_expired_pessimistic_primary() -> None:
    bench = Bench()
    late = {"current_ts": 50 * MS}
    bench.lock(10 * MS, b"p", ttl_ms=5)
    reply = bench.status(b"p", 10 * MS, resolving_pessimistic_lock=True, **late)
    assert reply.action is Action.TTL_EXPIRE_PESSIMISTIC_ROLLBACK
    assert bench.records(b"p") == []
    assert bench.locked(b"p") is None
    bench.lock(10 * MS, b"p", ttl_ms=5)
    assert bench.status(b"p", 10 * MS, **late).action is Action.TTL_EXPIRE_ROLLBACK
    assert bench.records(b"p") == [(10 * MS, "R*")]


def test_a_key_that_is_not_the_primary() -> None:
    bench = Bench()
    bench.prewrite(10, b"s", primary=b"p")
    bench.lock(20, b"t", primary=b"p")
    asked = {"verify_is_primary": True, "rollback_if_not_exist": True}
    assert isinstance(bench.status(b"s", 10, **asked).error, PrimaryMismatch)
    assert bench.status(b"s", 10).ttl_ms > 0
    resolving = bench.status(b"t", 20, resolving_pessimistic_lock=True, **asked)
    assert isinstance(resolving.error, PrimaryMismatch)
    assert bench.status(b"t", 20, verify_is_primary=True).error == TxnNotFound(20, b"t")
    assert bench.kind(b"t") is LockKind.PESSIMISTIC
    assert bench.status(b"t", 20, **asked).action is Action.LOCK_NOT_EXIST_ROLLBACK
    assert bench.locked(b"t") is None
    assert bench.records(b"t") == [(20, "R*")]


def test_an_async_primary_is_left_alone_unless_forced() -> None:
    bench = Bench()
    bench.prewrite(10 * MS, b"p", b"s", use_async_commit=True, secondaries=(b"s",), ttl_ms=1)
    late = {"current_ts": 99 * MS, "caller_start_ts": 98 * MS}
    reply = bench.status(b"p", 10 * MS, **late)
    assert reply.action is Action.NO_ACTION
    assert reply.lock.secondaries == (b"s",)
    assert reply.lock.min_commit_ts == 10 * MS + 1
    reply = bench.status(b"p", 10 * MS, force_sync_commit=True, **late)
    assert reply.action is Action.TTL_EXPIRE_ROLLBACK


def test_secondaries_that_are_all_there() -> None:
    bench = Bench()
    bench.prewrite(10, b"p", b"s", b"t", use_async_commit=True, secondaries=(b"s", b"t"))
    reply = bench.ask(CheckSecondaryLocks((b"s", b"t"), 10))
    assert [lock.key for lock in reply.locks] == [b"s", b"t"]
    assert bench.memory.max_ts == 10
    bench.commit(10, 20, b"t")
    assert bench.ask(CheckSecondaryLocks((b"s", b"t"), 10)).commit_ts == 20
    assert bench.kind(b"s") is LockKind.PUT


def test_a_secondary_that_is_not_there_never_will_be() -> None:
    bench = Bench()
    bench.roll_back(5, b"t")
    bench.prewrite(10, b"p", b"s", use_async_commit=True, secondaries=(b"s", b"t", b"u"))
    reply = bench.ask(CheckSecondaryLocks((b"s", b"t", b"u"), 10))
    assert (reply.locks, reply.commit_ts) == ((), 0)
    assert bench.records(b"t") == [(10, "R*")]
    assert bench.records(b"u") == []
    assert bench.prewrite(10, b"t", use_async_commit=True).errors
    assert bench.decide(CheckSecondaryLocks((b"t",), 10)).writes == ()


def test_a_pessimistic_secondary_is_not_prewritten() -> None:
    bench = Bench()
    bench.lock(10, b"s", primary=b"p")
    assert bench.ask(CheckSecondaryLocks((b"s",), 10)).locks == ()
    assert bench.locked(b"s") is None
    assert bench.records(b"s") == [(10, "R*")]


def test_a_heart_beat_only_prolongs() -> None:
    bench = Bench()
    bench.prewrite(10, b"p", b"s", ttl_ms=50)
    assert bench.ask(TxnHeartBeat(b"p", 10, 80)).ttl_ms == 80
    assert bench.ask(TxnHeartBeat(b"p", 10, 60)).ttl_ms == 80
    assert bench.decide(TxnHeartBeat(b"p", 10, 60)).writes == ()
    assert bench.ask(TxnHeartBeat(b"s", 10, 60)).ttl_ms == 60
    assert bench.ask(TxnHeartBeat(b"p", 11, 60)).error == TxnNotFound(11, b"p")
    bench.commit(10, 12, b"p", b"s")
    assert bench.ask(TxnHeartBeat(b"p", 10, 60)).error == TxnNotFound(10, b"p")
