"""Prewrite and commit, rule by rule."""

from __future__ import annotations

import pytest

from splitbrain.cluster.messages.context import Context
from splitbrain.cluster.messages.key_errors import (
    Abort,
    AlreadyExist,
    AssertionFailed,
    CommitTsExpired,
    ConflictReason,
    Locked,
    LockKind,
    TxnLockNotFound,
    WriteConflict,
)
from splitbrain.cluster.messages.txn import (
    Assertion,
    AssertionLevel,
    Commit,
    Mutation,
    MutationKind,
    PessimisticAction,
    PessimisticRollback,
    PrewriteReply,
)
from splitbrain.cluster.storage.columns import Column

from .bench import Bench, put

PUT, DELETE, LOCK = MutationKind.PUT, MutationKind.DELETE, MutationKind.LOCK
INSERT, CHECK = MutationKind.INSERT, MutationKind.CHECK_NOT_EXISTS
SKIP, LOCKED, CONSTRAINT = PessimisticAction
LONG = b"x" * 256


def pessimistic(action: PessimisticAction, at: int = 10, count: int = 1) -> dict[str, object]:
    return {"for_update_ts": at, "pessimistic_actions": (action,) * count}


def test_short_values_are_inlined_and_long_ones_are_not() -> None:
    bench = Bench()
    bench.prewrite(10, mutations=(put(b"s", b"y" * 255), put(b"l", LONG)))
    assert bench.state.count(Column.DEFAULT) == 1
    bench.commit(10, 12, b"s", b"l")
    assert bench.get(b"s", 12).value == b"y" * 255
    assert bench.get(b"l", 12).value == LONG
    bench.prewrite(20, mutations=(put(b"l", LONG),))
    bench.roll_back(20, b"l")
    assert bench.state.count(Column.DEFAULT) == 1


def test_all_locks_in_the_way_are_told_and_nothing_is_written() -> None:
    bench = Bench()
    bench.prewrite(10, b"a", b"b")
    reply = bench.prewrite(20, b"a", b"b", b"c")
    assert [error.lock.key for error in reply.errors] == [b"a", b"b"]
    assert bench.locked(b"c") is None
    told = bench.prewrite(20, b"a", **pessimistic(SKIP, 20)).errors[0].lock
    assert (told.start_ts, told.ttl_ms) == (10, 0)  # to be resolved at once
    bench.write(30, 31, b"z")
    assert isinstance(bench.prewrite(25, b"a", b"z").errors[0], WriteConflict)


@pytest.mark.parametrize("kind", [PUT, DELETE, LOCK])
def test_any_newer_commit_is_a_conflict(kind: MutationKind) -> None:
    bench = Bench()
    bench.write(11, 13, mutations=(put(b"k", kind=kind),))
    error = bench.prewrite(12, b"k").errors[0]
    assert (error.conflict_start_ts, error.conflict_commit_ts) == (11, 13)
    assert error.reason is ConflictReason.OPTIMISTIC
    assert not bench.prewrite(13, b"k").errors  # "at" is not "after"


def test_a_newer_rollback_of_another_is_a_conflict_and_an_own_one_is_final() -> None:
    bench = Bench()
    bench.roll_back(20, b"k")
    assert bench.prewrite(15, b"k").errors[0].conflict_commit_ts == 20
    assert bench.prewrite(20, b"k").errors[0].reason is ConflictReason.SELF_ROLLED_BACK
    assert not bench.prewrite(25, b"k").errors


def test_a_prewrite_that_comes_again() -> None:
    bench = Bench()
    bench.prewrite(10, mutations=(put(b"k", b"first"),), ttl_ms=1)
    assert not bench.prewrite(10, mutations=(put(b"k", b"second", DELETE),), ttl_ms=9).errors
    lock = bench.locked(b"k")
    assert lock is not None
    assert (lock.kind, lock.short_value, lock.ttl_ms) == (LockKind.PUT, b"first", 1)
    bench.commit(10, 12, b"k")
    assert bench.prewrite(10, b"k") == PrewriteReply()
    assert bench.locked(b"k") is None
    bench.prewrite(20, b"k")
    assert not bench.prewrite(10, b"k").errors  # behind another's lock, too
    bench.commit(20, 21, b"k")
    assert not bench.prewrite(10, b"k").errors
    assert isinstance(bench.prewrite(11, b"k").errors[0], WriteConflict)
    assert not bench.prewrite(10, b"new", b"k").errors  # then all of it has succeeded
    assert bench.locked(b"new") is None


@pytest.mark.parametrize("kind", [INSERT, CHECK])
def test_what_must_be_absent(kind: MutationKind) -> None:
    bench = Bench()
    bench.write(5, 6, b"k")
    bench.write(7, 8, mutations=(put(b"k", kind=LOCK),))
    assert bench.prewrite(10, mutations=(put(b"k", kind=kind),)).errors == (AlreadyExist(b"k"),)
    assert bench.memory.max_ts == 10
    bench.write(20, 21, mutations=(put(b"k", kind=DELETE),))
    assert not bench.prewrite(30, mutations=(put(b"k", kind=kind),)).errors
    assert bench.kind(b"k") == (LockKind.PUT if kind is INSERT else None)


def test_checks_may_be_skipped_but_locks_not() -> None:
    bench = Bench()
    bench.write(11, 13, b"k")
    assert not bench.prewrite(12, b"k", skip_constraint_check=True).errors
    assert isinstance(bench.prewrite(14, b"k", skip_constraint_check=True).errors[0], Locked)


@pytest.mark.parametrize(
    ("assertion", "there", "holds"),
    [
        (Assertion.EXIST, True, True),
        (Assertion.EXIST, False, False),
        (Assertion.NOT_EXIST, True, False),
        (Assertion.NOT_EXIST, False, True),
        (Assertion.NONE, False, True),
    ],
)
def test_assertions(assertion: Assertion, there: bool, holds: bool) -> None:
    bench = Bench()
    if there:
        bench.write(5, 6, b"k")
        bench.roll_back(7, b"k")
    mutation = Mutation(PUT, b"k", b"v", assertion)
    reply = bench.prewrite(10, mutations=(mutation,), assertion_level=AssertionLevel.FAST)
    if holds:
        assert not reply.errors
    else:
        seen = (5, 6) if there else (0, 0)
        assert reply.errors == (AssertionFailed(b"k", 10, *seen),)
    assert not bench.prewrite(10, mutations=(mutation,)).errors


def test_assertions_are_told_last_and_fast_ones_only_of_what_is_read() -> None:
    bench = Bench()
    bench.write(5, 6, b"k")
    bench.write(20, 21, b"z")
    wrong = Mutation(PUT, b"k", b"v", Assertion.NOT_EXIST)
    level = {"assertion_level": AssertionLevel.STRICT}
    errors = bench.prewrite(10, mutations=(wrong, put(b"z")), **level).errors
    assert isinstance(errors[0], WriteConflict)
    absent = Mutation(PUT, b"k", b"v", Assertion.EXIST)
    bench.lock(30, b"k")
    locked = pessimistic(LOCKED, 30)
    assert isinstance(
        bench.prewrite(30, mutations=(wrong,), **level, **locked).errors[0], AssertionFailed
    )
    level = {"assertion_level": AssertionLevel.FAST}
    skipped = {"skip_constraint_check": True, **level}
    assert not Bench().prewrite(10, mutations=(absent,), **skipped).errors
    assert not bench.prewrite(30, mutations=(wrong,), **level, **locked).errors


# -- pessimistic ---------------------------------------------------------------------------------


def test_the_own_pessimistic_lock_is_overwritten_and_its_promises_kept() -> None:
    bench = Bench()
    bench.lock(10, b"k", at=15, ttl_ms=900, min_commit_ts=77)
    assert bench.prewrite(10, b"k").errors[0].reason.startswith("LockTypeNotMatch")
    assert not bench.prewrite(10, b"k", **pessimistic(LOCKED, 12), ttl_ms=5).errors
    lock = bench.locked(b"k")
    assert lock is not None
    assert lock.kind is LockKind.PUT
    assert (lock.ttl_ms, lock.min_commit_ts, lock.for_update_ts) == (900, 77, 15)


def test_a_lost_pessimistic_lock_is_amended_if_nothing_came_between() -> None:
    bench = Bench()
    bench.write(5, 6, b"k")
    assert not bench.prewrite(10, b"k", **pessimistic(LOCKED)).errors
    assert bench.kind(b"k") is LockKind.PUT
    bench.write(20, 21, b"other")
    bench.lock(15, b"other", at=30)
    bench.ask(PessimisticRollback((), 15, 30))
    error = bench.prewrite(15, b"other", **pessimistic(LOCKED, 30)).errors[0]
    assert isinstance(error, Abort)
    assert error.reason.startswith("PessimisticLockNotFound")


def test_anothers_lock_where_the_own_should_be() -> None:
    bench = Bench()
    bench.prewrite(20, b"k")
    error = bench.prewrite(10, b"k", **pessimistic(LOCKED)).errors[0]
    assert isinstance(error, Abort)
    bench.roll_back(20, b"k")
    bench.lock(30, b"k", at=31)
    bad = {"for_update_ts_constraints": ((0, 30),)}
    good = {"for_update_ts_constraints": ((0, 31),)}
    assert bench.prewrite(30, b"k", **pessimistic(LOCKED, 31), **bad).errors
    assert not bench.prewrite(30, b"k", **pessimistic(LOCKED, 31), **good).errors


def test_a_key_that_was_never_locked_is_checked_when_sent_again_only() -> None:
    bench = Bench()
    bench.write(12, 13, b"k")
    assert not bench.prewrite(10, b"k", **pessimistic(SKIP)).errors
    bench.roll_back(10, b"k")
    bench.roll_back(20, b"k")
    again = {"context": Context(is_retry=True)}
    assert isinstance(
        bench.prewrite(11, b"k", **pessimistic(SKIP, 11), **again).errors[0], Abort
    )
    assert not bench.prewrite(9, b"k", **pessimistic(SKIP, 13), **again).errors  # "at" it
    bench.roll_back(9, b"k")
    assert not bench.prewrite(14, b"k", **pessimistic(SKIP, 14), **again).errors
    bench.commit(14, 25, b"k")
    assert not bench.prewrite(14, b"k", **pessimistic(SKIP, 14), **again).errors
    assert bench.locked(b"k") is None


def test_a_lazy_constraint_is_checked_as_an_optimistic_one() -> None:
    bench = Bench()
    bench.write(12, 13, b"k")
    error = bench.prewrite(10, b"k", **pessimistic(CONSTRAINT, 20)).errors[0]
    assert error.reason is ConflictReason.LAZY_UNIQUENESS_CHECK


def test_malformed_pessimistic_prewrites_are_refused() -> None:
    bench = Bench()
    assert (
        "one action" in bench.prewrite(10, b"a", b"b", **pessimistic(LOCKED)).errors[0].reason
    )
    check = (put(b"k", kind=CHECK),)
    errors = bench.prewrite(10, mutations=check, **pessimistic(LOCKED)).errors
    assert "CheckNotExists" in errors[0].reason


# -- commit --------------------------------------------------------------------------------------


def test_a_commit_timestamp_above_the_start_and_not_below_the_promise() -> None:
    bench = Bench()
    bench.prewrite(10, b"k", min_commit_ts=20)
    assert bench.commit(10, 10, b"k").error.reason.startswith("InvalidTxnTso")
    assert bench.commit(10, 19, b"k").error == CommitTsExpired(b"k", 10, 19, 20)
    reply = bench.commit(10, 20, b"k")
    assert (reply.error, reply.commit_ts) == (None, 20)
    again = bench.commit(10, 30, b"k")  # no matter what it says
    assert (again.error, again.commit_ts) == (None, 20)
    assert bench.records(b"k") == [(20, "P")]


def test_a_commit_without_lock_or_record_or_with_anothers() -> None:
    bench = Bench()
    bench.roll_back(10, b"k")
    assert bench.commit(10, 12, b"k").error == TxnLockNotFound(b"k")
    bench.prewrite(20, b"k")
    assert bench.commit(10, 12, b"k").error == TxnLockNotFound(b"k")
    assert bench.commit(20, 21, b"k", b"none").error == TxnLockNotFound(b"none")
    assert bench.kind(b"k") is LockKind.PUT  # all or nothing


def test_a_leftover_pessimistic_lock_is_dropped_by_the_commit() -> None:
    bench = Bench()
    bench.lock(10, b"k", b"left")
    bench.prewrite(10, b"k", **pessimistic(LOCKED))
    reply = bench.commit(10, 12, b"k", b"left")
    assert (reply.error, reply.commit_ts) == (None, 12)
    assert bench.locked(b"left") is None
    assert bench.records(b"left") == []


def test_a_record_tells_of_the_rollback_in_whose_place_it_stands() -> None:
    bench = Bench()
    bench.prewrite(10, b"k", use_async_commit=True)
    bench.status(b"k", 15, rollback_if_not_exist=True)
    bench.status(b"k", 16, rollback_if_not_exist=True)
    bench.roll_back(17, b"k")  # not protected: it may be overwritten
    lock = bench.locked(b"k")
    assert lock is not None
    assert lock.rollback_ts == (15, 16)
    assert bench.records(b"k") == [(17, "R"), (16, "R*"), (15, "R*")]
    bench.commit(10, 15, b"k")
    assert bench.records(b"k") == [(17, "R"), (16, "R*"), (15, "P+R")]
    assert isinstance(bench.prewrite(15, b"k").errors[0], WriteConflict)
    assert bench.commit(15, 20, b"k").error == TxnLockNotFound(b"k")


def test_a_lock_is_marked_only_if_it_can_be_committed_just_there() -> None:
    bench = Bench()
    bench.prewrite(10, b"plain")
    bench.prewrite(10, b"async", min_commit_ts=20, use_async_commit=True)
    for start_ts in (19, 20):
        bench.status(b"plain", start_ts, rollback_if_not_exist=True)
        bench.status(b"async", start_ts, rollback_if_not_exist=True)
    marks = {}
    for key in (b"plain", b"async"):
        lock = bench.locked(key)
        assert lock is not None
        marks[key] = lock.rollback_ts
    assert marks == {b"plain": (), b"async": (20,)}


def test_released_keys_are_named() -> None:
    bench = Bench()
    bench.prewrite(10, b"a", b"b")
    decision = bench.decide(Commit((b"b", b"a"), 10, 11))
    assert sorted(decision.released) == [b"a", b"b"]
    assert decision.held == ()
