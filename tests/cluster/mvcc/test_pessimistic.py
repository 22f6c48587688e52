"""Pessimistic locks, and waiting for them."""

from __future__ import annotations

import pytest

from splitbrain.cluster.messages.key_errors import (
    AlreadyExist,
    ConflictReason,
    Locked,
    LockKind,
    WriteConflict,
)
from splitbrain.cluster.messages.txn import MutationKind, PessimisticLock
from splitbrain.cluster.mvcc.engine import Wait
from splitbrain.cluster.mvcc.pessimistic import woken

from .bench import Bench, put


def test_what_was_written_since_is_a_conflict_of_any_kind() -> None:
    bench = Bench()
    bench.write(10, 12, b"k")
    assert not bench.lock(5, b"k", at=12).errors
    bench = Bench()
    bench.write(10, 12, mutations=(put(b"k", kind=MutationKind.LOCK),))
    error = bench.lock(5, b"k", at=11).errors[0]
    assert error == WriteConflict(b"k", 5, 10, 12, b"k", ConflictReason.PESSIMISTIC_RETRY)
    bench = Bench()
    bench.roll_back(12, b"k")
    assert isinstance(bench.lock(5, b"j", b"k", at=11).errors[0], WriteConflict)
    assert bench.locked(b"j") is None


def test_the_answer_tells_values_as_of_for_update_ts() -> None:
    bench = Bench()
    bench.write(10, 12, b"a", b"long", mutations=(put(b"a"), put(b"long", b"x" * 300)))
    reply = bench.lock(5, b"a", b"long", b"none", at=20, return_values=True)
    assert reply.values == (b"v", b"x" * 300, None)
    assert reply.found == (True, True, False)
    assert bench.memory.max_ts == 20
    reply = bench.lock(5, b"a", b"none", at=11, return_values=True)  # as it was sent first
    assert reply.values == (None, None)
    reply = bench.lock(5, b"a", b"none", at=20, check_existence=True)
    assert (reply.values, reply.found) == ((), (True, False))


def test_a_plain_lock_reads_nothing() -> None:
    bench = Bench()
    reply = bench.lock(5, b"a", at=20)
    assert (reply.values, reply.found, bench.memory.max_ts) == ((), (), 0)


def test_the_own_lock_is_renewed_by_a_later_request_only() -> None:
    bench = Bench()
    bench.lock(5, b"k", at=10, ttl_ms=500)
    bench.lock(5, b"k", at=10, ttl_ms=900)
    bench.lock(5, b"k", at=9, ttl_ms=900)
    lock = bench.locked(b"k")
    assert lock is not None
    assert (lock.for_update_ts, lock.ttl_ms) == (10, 500)
    bench.lock(5, b"k", at=11, ttl_ms=100)
    lock = bench.locked(b"k")
    assert lock is not None
    assert (lock.for_update_ts, lock.ttl_ms) == (11, 100)
    bench = Bench()
    bench.prewrite(5, b"k")
    assert bench.lock(5, b"k").errors[0].reason.startswith("LockTypeNotMatch")


def test_absent_keys() -> None:
    bench = Bench()
    bench.write(10, 12, b"k")
    asked = PessimisticLock(((b"n", True), (b"k", True)), b"n", 5, 20)
    assert bench.ask(asked).errors == (AlreadyExist(b"k"),)
    assert bench.locked(b"n") is None
    assert bench.memory.max_ts == 20
    reply = bench.lock(5, b"k", b"n", at=20, return_values=True, lock_only_if_exists=True)
    assert reply.values == (b"v", None)
    assert bench.kind(b"k") is LockKind.PESSIMISTIC
    assert bench.locked(b"n") is None


@pytest.mark.parametrize("overlapped", [False, True])
def test_a_transaction_that_was_rolled_back_locks_no_more(overlapped: bool) -> None:
    bench = Bench()
    if overlapped:
        bench.write(3, 5, b"k")
    bench.status(b"k", 5, rollback_if_not_exist=True)
    bench.write(10, 12, b"k")
    error = bench.lock(5, b"k", at=20).errors[0]
    assert error.reason.startswith("PessimisticLockRolledBack")
    assert isinstance(bench.lock(5, b"k", at=11).errors[0], WriteConflict)


@pytest.mark.parametrize(
    ("wait_ms", "limit_ms"), [(-1, None), (0, 1000), (30, 30), (5000, 1000)]
)
def test_anothers_lock_is_waited_for(wait_ms: int, limit_ms: int | None) -> None:
    bench = Bench()
    bench.prewrite(10, b"k")
    request = PessimisticLock(
        ((b"j", False), (b"k", False)), b"j", 20, 20, wait_ms=wait_ms, is_first_lock=True
    )
    decision = bench.decide(request)
    assert isinstance(decision.reply.errors[0], Locked)  # type: ignore[union-attr]
    assert decision.writes == ()
    wait = Wait(b"k", 20, 10, True, limit_ms) if limit_ms else None
    assert decision.wait == wait


def test_who_is_woken_has_to_come_again() -> None:
    request = PessimisticLock(((b"k", False),), b"p", 20, 20)
    reply = woken(request, Wait(b"k", 20, 10, False, 1000), 15)
    conflict = WriteConflict(b"k", 20, 10, 15, b"p", ConflictReason.PESSIMISTIC_RETRY)
    assert reply.errors == (conflict,)
