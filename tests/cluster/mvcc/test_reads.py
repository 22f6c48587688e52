"""What readers see: rules one by one, and every kind of read against point reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.cluster.messages.context import Context, Isolation, ReplicaRead
from splitbrain.cluster.messages.key_errors import Locked
from splitbrain.cluster.messages.txn import (
    BatchGet,
    Get,
    MutationKind,
    Pair,
    Prewrite,
    Scan,
    ScanLock,
)
from splitbrain.cluster.mvcc.codec import TS_MAX
from splitbrain.cluster.mvcc.service import below_safe_point

from .bench import Bench, put

DELETE, LOCK = MutationKind.DELETE, MutationKind.LOCK


@pytest.fixture
def bench() -> Bench:
    """k: written at 12, deleted at 22, guarded at 32; locked by 40."""
    bench = Bench()
    bench.write(10, 12, b"k")
    bench.write(20, 22, mutations=(put(b"k", kind=DELETE),))
    bench.write(30, 32, mutations=(put(b"k", kind=LOCK),))
    bench.prewrite(40, b"p", b"k", min_commit_ts=41)
    return bench


@pytest.mark.parametrize(
    ("at", "value"), [(11, None), (12, b"v"), (21, b"v"), (22, None), (39, None)]
)
def test_the_newest_data_at_or_before(bench: Bench, at: int, value: bytes | None) -> None:
    reply = bench.get(b"k", at)
    assert (reply.value, reply.error) == (value, None)
    assert reply.commit_ts == (12 if value else 0)


def test_a_lock_that_may_be_committed_below_is_in_the_way(bench: Bench) -> None:
    assert bench.get(b"k", 40).error is None  # min_commit_ts is above
    assert bench.get(b"k", 41).error.lock.start_ts == 40
    assert bench.get(b"k", 41, resolved_locks=(40,)).error is None
    assert bench.get(b"k", 41, isolation=Isolation.READ_COMMITTED).error is None


def test_a_lock_that_began_just_then_is_in_the_way_one_that_began_later_is_not() -> None:
    bench = Bench()
    bench.prewrite(40, b"k")
    assert bench.get(b"k", 39).error is None
    assert bench.get(b"k", 40).error is not None
    assert bench.ask(ScanLock(39)).locks == ()
    assert [lock.start_ts for lock in bench.ask(ScanLock(40)).locks] == [40]
    scan = Scan(b"", b"", 50, context=Context(committed_locks=(40,)))
    assert bench.ask(scan).pairs == (Pair(b"k", b"v"),)


def test_a_lock_known_to_be_committed_gives_its_value(bench: Bench) -> None:
    assert bench.get(b"k", 50, committed_locks=(40,)).value == b"v"
    asked = Get(b"k", 50, Context(committed_locks=(40,)), need_commit_ts=True)
    assert bench.ask(asked).error.lock.start_ts == 40
    bench.write(60, 61, b"d")
    bench.prewrite(70, mutations=(put(b"d", kind=DELETE),))
    assert bench.get(b"d", 80, committed_locks=(70,)).value is None


def test_the_newest_at_a_primary_need_not_wait(bench: Bench) -> None:
    assert bench.get(b"p", TS_MAX).error is None
    assert bench.get(b"k", TS_MAX).error is not None
    assert bench.memory.max_ts == 0
    bench.prewrite(50, b"q", use_async_commit=True)
    assert bench.get(b"q", TS_MAX).error is not None


@pytest.mark.parametrize("kind", ["lock", "pessimistic"])
def test_locks_that_write_nothing_are_passed(kind: str) -> None:
    bench = Bench()
    if kind == "lock":
        bench.prewrite(10, mutations=(put(b"k", kind=LOCK),))
    else:
        bench.lock(10, b"k")
    assert bench.get(b"k", 20).error is None


def test_a_read_leaves_its_mark_unless_it_is_stale() -> None:
    bench = Bench()
    bench.get(b"k", 9, replica_read=ReplicaRead.STALE)
    assert bench.memory.max_ts == 0
    bench.get(b"k", 9)
    assert bench.memory.max_ts == 9
    bench.ask(ScanLock(max_version=11))
    bench.ask(Scan(b"", b"", 10))
    assert bench.memory.max_ts == 11


def test_a_lock_in_memory_refuses_the_whole_request() -> None:
    bench = Bench()
    bench.write(5, 6, b"a")
    request = Prewrite((put(b"m"),), b"m", 10, use_async_commit=True)
    bench.memory.hold(bench.decide(request).held)
    assert bench.get(b"m", 9).error is None
    assert bench.get(b"a", 20).error is None
    lock = bench.get(b"m", 20).error.lock
    assert (lock.start_ts, lock.min_commit_ts) == (10, 11)
    for asked in (
        BatchGet((b"a", b"m"), 20),
        Scan(b"", b"", 20),
        Scan(b"", b"", 20, reverse=True),
    ):
        reply = bench.ask(asked)
        assert reply.error == Locked(lock)
        assert reply.pairs == (Pair(b"", error=Locked(lock)),)
    assert bench.ask(Scan(b"", b"m", 20)).pairs[0].key == b"a"
    assert bench.ask(Scan(b"m", b"", 20, reverse=True)).error is None
    assert bench.ask(ScanLock(10)).error == Locked(lock)
    assert bench.ask(ScanLock(9)).error is None
    assert bench.get(b"m", 20, isolation=Isolation.READ_COMMITTED).error is None
    assert bench.get(b"m", 20, committed_locks=(10,)).error is not None
    assert bench.get(b"m", 20, resolved_locks=(10,)).error is None
    follower = bench.mvcc.read(Get(b"m", 20), bench.state)
    assert follower.error is None
    assert bench.mvcc.observe(Get(b"m", 20), bench.memory) == Locked(lock)


def test_a_read_is_nothing_to_decide() -> None:
    bench = Bench()
    with pytest.raises(TypeError, match="not a transactional write: Get"):
        bench.mvcc.decide(Get(b"k", 1), bench.state, bench.memory, ())  # type: ignore[arg-type]


def test_which_reads_are_below_the_safe_point() -> None:
    assert below_safe_point(Get(b"k", 9), 10)
    assert not below_safe_point(Get(b"k", 10), 10)
    assert below_safe_point(Scan(b"", b"", 9), 10)
    assert not below_safe_point(ScanLock(9), 10)
    assert not below_safe_point(Get(b"k", TS_MAX), 10)


KEYS = [b"", b"a", b"a\0", b"ab", b"b", b"eightlet", b"eightletters", b"\xff"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(["put", "long", "delete", "guard", "locked", "rolled back"]),
    ),
    max_size=14,
)


def made(steps: list[tuple[bytes, str]]) -> Bench:
    bench = Bench()
    for number, (key, what) in enumerate(steps, 1):
        start_ts = number * 10
        kind = {"delete": DELETE, "guard": LOCK}.get(what, MutationKind.PUT)
        value = b"%d" % number * (200 if what == "long" else 1)
        if bench.prewrite(start_ts, mutations=(put(key, value, kind),)).errors:
            continue
        if what == "rolled back":
            bench.roll_back(start_ts, key)
        elif what != "locked":
            bench.commit(start_ts, start_ts + 5, key)
    return bench


@settings(max_examples=300, deadline=None)
@given(
    STEPS,
    st.integers(0, 150),
    st.sampled_from(KEYS),
    st.sampled_from(KEYS),
    st.integers(1, 9),
    st.booleans(),
)
def test_scans_and_batches_are_many_gets(
    steps: list[tuple[bytes, str]], at: int, low: bytes, high: bytes, limit: int, reverse: bool
) -> None:
    bench = made(steps)
    expected = []
    for key in sorted(KEYS):
        reply = bench.get(key, at)
        if reply.error is not None or reply.value is not None:
            expected.append(
                Pair(key, reply.value or b"", error=reply.error, commit_ts=reply.commit_ts)
            )
    inside = [one for one in expected if low <= one.key and (not high or one.key < high)]
    if reverse:
        found = bench.ask(Scan(high, low, at, limit, reverse=True))
        inside.reverse()
    else:
        found = bench.ask(Scan(low, high, at, limit))
    assert list(found.pairs) == inside[:limit]
    names = bench.ask(Scan(b"", b"", at, 99, key_only=True)).pairs
    assert [one.key for one in names] == [one.key for one in expected]
    assert not any(one.value for one in names)
    assert list(bench.ask(BatchGet(tuple(sorted(KEYS)), at)).pairs) == expected
    locks = bench.ask(ScanLock(at, low, high, limit)).locks
    there = [key for key in sorted(KEYS) if low <= key and (not high or key < high)]
    held = [(key, bench.locked(key)) for key in there]
    assert [lock.key for lock in locks] == [
        key for key, lock in held if lock is not None and lock.start_ts <= at
    ][:limit]
