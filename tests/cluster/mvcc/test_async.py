"""Async commit and commit in one phase: timestamps that the store chooses."""

from __future__ import annotations

import pytest

from splitbrain.cluster.messages.key_errors import LockKind, WriteConflict
from splitbrain.cluster.messages.txn import (
    CheckSecondaryLocks,
    MutationKind,
    PessimisticAction,
    Prewrite,
)
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.service import needs_max_ts
from splitbrain.cluster.storage.columns import Column

from .bench import Bench, put

LOCKED = PessimisticAction.DO_PESSIMISTIC_CHECK
WAYS = ({"use_async_commit": True}, {"try_one_pc": True})


def chosen(reply: object) -> int:
    return reply.min_commit_ts or reply.one_pc_commit_ts  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("way", WAYS, ids=["async", "one phase"])
def test_the_commit_is_above_every_read_and_every_demand(way: dict[str, bool]) -> None:
    assert chosen(Bench().prewrite(10, b"k", **way)) == 11
    assert chosen(Bench().prewrite(10, b"k", min_commit_ts=50, **way)) == 50
    bench = Bench()
    bench.get(b"elsewhere", 70)
    assert chosen(bench.prewrite(10, b"k", **way)) == 71
    bench = Bench()
    bench.lock(10, b"k", at=30, min_commit_ts=20)
    pessimistic = {"for_update_ts": 25, "pessimistic_actions": (LOCKED,)}
    assert chosen(bench.prewrite(10, b"k", **pessimistic, **way)) == 31
    bench = Bench()
    check = put(b"none", kind=MutationKind.CHECK_NOT_EXISTS)
    bench.memory.raise_max_ts(5)
    assert chosen(bench.prewrite(10, mutations=(check,), min_commit_ts=3, **way)) == 11


def test_only_the_primary_lists_the_others() -> None:
    bench = Bench()
    bench.prewrite(10, b"s", b"p", primary=b"p", secondaries=(b"s",), use_async_commit=True)
    one, two = bench.locked(b"s"), bench.locked(b"p")
    assert one is not None
    assert two is not None
    assert (one.use_async_commit, one.secondaries) == (True, ())
    assert (two.use_async_commit, two.secondaries) == (True, (b"s",))
    plain = Bench()
    plain.prewrite(10, b"p", b"s", secondaries=(b"s",))
    lock = plain.locked(b"p")
    assert lock is not None
    assert (lock.use_async_commit, lock.secondaries) == (False, ())


def test_the_largest_timestamp_of_the_keys_counts() -> None:
    bench = Bench()
    bench.lock(10, b"k", at=40)
    both = {"for_update_ts": 10, "pessimistic_actions": (LOCKED, PessimisticAction(0))}
    reply = bench.prewrite(10, b"k", b"l", use_async_commit=True, **both)
    assert reply.min_commit_ts == 41
    lock = bench.locked(b"l")
    assert lock is not None
    assert lock.min_commit_ts == 11


def test_one_phase_leaves_records_and_no_locks() -> None:
    bench = Bench()
    bench.lock(10, b"b")
    mutations = (put(b"a", b"x" * 300), put(b"b", kind=MutationKind.DELETE))
    actions = (PessimisticAction(0), LOCKED)
    request = Prewrite(
        mutations,
        b"a",
        10,
        try_one_pc=True,
        use_async_commit=True,
        for_update_ts=10,
        pessimistic_actions=actions,
    )
    decision = bench.decide(request)
    assert [(lock.one_pc, lock.kind) for _, lock in decision.held] == [
        (True, LockKind.PUT),
        (True, LockKind.DELETE),
    ]
    assert decision.released == (b"b",)
    reply = bench.ask(request)
    assert (reply.one_pc_commit_ts, reply.min_commit_ts) == (11, 0)
    assert bench.state.count(Column.LOCK) == 0
    assert (bench.records(b"a"), bench.records(b"b")) == ([(11, "P")], [(11, "D")])
    assert bench.get(b"a", 11).value == b"x" * 300
    assert bench.ask(request) == reply


@pytest.mark.parametrize("way", WAYS, ids=["async", "one phase"])
def test_a_commit_that_would_be_too_late_falls_back(way: dict[str, bool]) -> None:
    bench = Bench()
    bench.memory.raise_max_ts(100)
    request = Prewrite((put(b"k"), put(b"l")), b"k", 10, max_commit_ts=100, **way)
    decision = bench.decide(request)
    assert decision.held == ()
    reply = bench.ask(request)
    assert (reply.errors, reply.min_commit_ts, reply.one_pc_commit_ts) == ((), 0, 0)
    for key in (b"k", b"l"):
        lock = bench.locked(key)
        assert lock is not None
        assert (lock.use_async_commit, lock.min_commit_ts) == (False, 0)
    assert bench.commit(10, 200, b"k", b"l").error is None
    assert chosen(Bench().prewrite(10, b"k", max_commit_ts=11, **way)) == 11


def test_before_it_falls_back_it_looks_whether_it_was_committed() -> None:
    bench = Bench()
    options = {"try_one_pc": True, "skip_constraint_check": True, "max_commit_ts": 20}
    first = bench.prewrite(10, b"k", **options)
    bench.memory.raise_max_ts(50)
    assert bench.prewrite(10, b"k", **options) == first
    assert bench.locked(b"k") is None


def test_falling_back_begins_at_the_key_where_it_shows() -> None:
    bench = Bench()
    bench.prewrite(10, b"b", primary=b"a")
    reply = bench.prewrite(
        10, b"a", b"b", b"c", use_async_commit=True, secondaries=(b"b", b"c")
    )
    assert (reply.errors, reply.min_commit_ts) == ((), 0)
    kinds = {}
    for key in (b"a", b"b", b"c"):
        lock = bench.locked(key)
        assert lock is not None
        kinds[key] = lock.use_async_commit
    assert kinds == {b"a": True, b"b": False, b"c": False}
    locks = bench.ask(CheckSecondaryLocks((b"b", b"c"), 10)).locks
    assert not any(lock.use_async_commit for lock in locks)  # by which others learn of it
    bench = Bench()
    bench.prewrite(10, b"b", primary=b"a", use_async_commit=True)
    reply = bench.prewrite(10, b"a", b"b", try_one_pc=True)
    assert reply.one_pc_commit_ts == 0
    assert bench.kind(b"a") is LockKind.PUT


def test_a_repeated_async_prewrite_answers_as_before() -> None:
    bench = Bench()
    first = bench.prewrite(10, b"k", use_async_commit=True)
    bench.get(b"k", 99, resolved_locks=(10,))
    assert bench.prewrite(10, b"k", use_async_commit=True) == first
    bench.commit(10, first.min_commit_ts, b"k")
    assert bench.prewrite(10, b"k", use_async_commit=True) == first
    error = bench.prewrite(9, b"k", use_async_commit=True).errors[0]
    assert isinstance(error, WriteConflict)


def test_which_requests_need_a_fresh_max_ts() -> None:
    assert not needs_max_ts(Prewrite((), b"k", 1))
    assert needs_max_ts(Prewrite((), b"k", 1, use_async_commit=True))
    assert needs_max_ts(Prewrite((), b"k", 1, try_one_pc=True))


def test_memory_forgets_only_what_it_is_told() -> None:
    memory = Memory()
    held = Bench().decide(Prewrite((put(b"k"),), b"k", 1, use_async_commit=True)).held
    memory.hold(held)
    other = Bench().decide(Prewrite((put(b"k"),), b"k", 2, use_async_commit=True)).held
    memory.release(other)
    assert len(memory) == 1
    with pytest.raises(AssertionError, match="not latched"):
        memory.hold(other)
    memory.release(held)
    memory.release(held)
    assert len(memory) == 0
