"""Rollback in all its forms: protected, collapsed, overlapped; cleanup, resolution."""

from __future__ import annotations

import pytest

from splitbrain.cluster.messages.key_errors import Abort, Locked, LockKind, TxnLockNotFound
from splitbrain.cluster.messages.txn import (
    Cleanup,
    MutationKind,
    PessimisticAction,
    PessimisticRollback,
    ResolveLock,
)
from splitbrain.cluster.mvcc.codec import encode_key, versioned
from splitbrain.cluster.storage.columns import Column

from .bench import MS, Bench, put

LOCKED = (PessimisticAction.DO_PESSIMISTIC_CHECK,)


def test_only_a_primarys_record_is_protected() -> None:
    bench = Bench()
    bench.prewrite(10, b"p", b"s")
    bench.roll_back(10, b"p", b"s", b"never")
    assert bench.records(b"p") == [(10, "R*")]
    assert bench.records(b"s") == bench.records(b"never") == [(10, "R")]
    bench.roll_back(10, b"p", b"s", b"never")
    assert bench.records(b"s") == [(10, "R")]


def test_an_unprotected_record_makes_room_for_the_next() -> None:
    bench = Bench()
    for start_ts in (10, 20):
        bench.roll_back(start_ts, b"k")
    assert bench.records(b"k") == [(20, "R")]
    bench.prewrite(30, b"k")
    bench.roll_back(30, b"k")
    assert bench.records(b"k") == [(30, "R*")]
    bench.roll_back(40, b"k")
    assert bench.records(b"k") == [(40, "R"), (30, "R*")]
    bench.roll_back(5, b"k")
    assert bench.records(b"k")[-1] == (5, "R")


def test_a_late_pessimistic_lock_finds_the_protected_record() -> None:
    """Were it collapsed, the transaction could lock and commit after all."""
    bench = Bench()
    bench.lock(10, b"k")
    bench.prewrite(10, b"k", for_update_ts=10, pessimistic_actions=LOCKED)
    bench.roll_back(10, b"k")
    bench.roll_back(20, b"k")
    assert bench.lock(10, b"k", at=30).errors[0].reason.startswith("PessimisticLockRolledBack")


def test_where_a_record_of_another_stands_in_the_place() -> None:
    bench = Bench()
    bench.write(10, 15, b"k")
    bench.write(20, 21, mutations=(put(b"k", kind=MutationKind.LOCK),))
    bench.write(30, 31, b"k")
    bench.write(40, 41, b"k")
    bench.roll_back(15, b"k")
    assert bench.records(b"k")[-1] == (15, "P")
    bench.ask(Cleanup(b"k", 15))
    record = bench.record(b"k", 15)
    assert record.has_overlapped_rollback
    assert record.gc_fence == 31
    assert [bench.get(b"k", at).value for at in (15, 30)] == [b"v", b"v"]
    # a replica that had collected the record already gets it back: it must not come to life
    for commit_ts in (21, 31, 41):
        bench.state.apply([(Column.WRITE, versioned(encode_key(b"k"), commit_ts), None)])
    assert bench.get(b"k", 30).value == b"v"
    assert bench.get(b"k", 31).value is None
    assert bench.commit(15, 50, b"k").error == TxnLockNotFound(b"k")
    assert bench.ask(Cleanup(b"k", 15)).error is None


def test_what_is_committed_cannot_be_rolled_back() -> None:
    bench = Bench()
    bench.write(10, 12, b"k")
    error = bench.roll_back(10, b"k").error
    assert isinstance(error, Abort)
    assert error.reason.startswith("Committed")
    assert bench.ask(Cleanup(b"k", 10)).commit_ts == 12
    assert bench.records(b"k") == [(12, "P")]


def test_a_lock_beside_the_own_commit_record_is_impossible() -> None:
    bench = Bench()
    bench.write(10, 12, b"k")
    bench.prewrite(10, b"k", skip_constraint_check=True)
    with pytest.raises(AssertionError, match="10 is committed at b'k'"):
        bench.roll_back(10, b"k")


def test_cleanup_respects_a_lock_that_lives_and_never_collapses() -> None:
    bench = Bench()
    bench.roll_back(5 * MS, b"k")
    bench.prewrite(10 * MS, b"p", b"k", ttl_ms=3)
    assert isinstance(bench.ask(Cleanup(b"k", 10 * MS, 13 * MS)).error, Locked)
    assert bench.ask(Cleanup(b"k", 10 * MS, 14 * MS)).error is None
    assert bench.records(b"k") == [(10 * MS, "R"), (5 * MS, "R")]
    assert bench.memory.max_ts == 10 * MS
    bench.ask(Cleanup(b"k", 20 * MS))
    assert bench.records(b"k")[0] == (20 * MS, "R*")


def test_resolving_by_scan_and_by_keys() -> None:
    bench = Bench()
    bench.prewrite(10, b"a", b"b", b"c")
    bench.prewrite(20, b"d")
    bench.prewrite(30, b"e")
    request = ResolveLock(txns=((10, 15), (20, 0)))
    assert bench.mvcc.keys_of(request, bench.state) == (b"a", b"b", b"c", b"d")
    assert bench.ask(ResolveLock(10, 15, keys=(b"b",))).error is None
    assert bench.ask(request).error is None
    assert [bench.records(key) for key in (b"a", b"b", b"c")] == [[(15, "P")]] * 3
    assert bench.records(b"d") == [(20, "R*")]
    assert bench.kind(b"e") is LockKind.PUT
    assert bench.decide(request).writes == ()
    assert bench.ask(ResolveLock(10, 15, keys=(b"a",))).error is None
    assert bench.ask(ResolveLock(40, 45, keys=(b"a",))).error == TxnLockNotFound(b"a")
    assert bench.ask(ResolveLock(40, 0, keys=(b"a",))).error is None
    assert bench.records(b"a")[0] == (40, "R")


def test_resolving_touches_only_what_was_latched() -> None:
    bench = Bench()
    bench.prewrite(10, b"a")
    keys = bench.mvcc.keys_of(ResolveLock(10, 0), bench.state)
    bench.prewrite(10, b"b", primary=b"a")
    bench.roll_back(10, b"a")
    bench.prewrite(20, b"a")
    decision = bench.mvcc.decide(ResolveLock(10, 0), bench.state, bench.memory, keys)
    assert decision.writes == ()


@pytest.mark.parametrize("keys", [(), (b"a", b"b", b"c", b"d")])
def test_a_pessimistic_rollback_drops_its_own_pessimistic_locks(
    keys: tuple[bytes, ...],
) -> None:
    bench = Bench()
    bench.lock(10, b"a", at=15)
    bench.lock(10, b"b", at=25)
    bench.lock(11, b"c", at=15)
    bench.lock(10, b"d", at=15)
    bench.prewrite(10, b"d", for_update_ts=15, pessimistic_actions=LOCKED)
    assert bench.ask(PessimisticRollback(keys, 10, 20)).errors == ()
    left = [bench.locked(key) is not None for key in (b"a", b"b", b"c", b"d")]
    assert left == [False, True, True, True]
    assert bench.records(b"a") == []
