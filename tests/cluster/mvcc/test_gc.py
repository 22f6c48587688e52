"""Garbage: what goes, what stays, and that nobody above the safe point can tell."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.cluster.messages.txn import MutationKind
from splitbrain.cluster.mvcc.gc import live_digest
from splitbrain.cluster.storage.columns import Column, Columns

from .bench import Bench, put

DELETE, LOCK = MutationKind.DELETE, MutationKind.LOCK


def collect(bench: Bench, safe_point: int, keys_max: int = 1024) -> int:
    start: bytes | None = b""
    rounds = 0
    while start is not None:
        found = bench.mvcc.collect(bench.state, safe_point, start=start, keys_max=keys_max)
        bench.state.apply(found.writes)
        start = found.resume
        rounds += 1
    return rounds


def test_of_each_key_the_newest_put_stays() -> None:
    bench = Bench()
    bench.write(10, 12, mutations=(put(b"k", b"x" * 300),))
    bench.write(20, 22, mutations=(put(b"k", b"y" * 300),))
    bench.write(30, 32, mutations=(put(b"k", kind=LOCK),))
    bench.status(b"k", 34, rollback_if_not_exist=True)
    bench.write(40, 42, mutations=(put(b"k", b"z" * 300),))
    collect(bench, 41)
    assert bench.records(b"k") == [(42, "P"), (22, "P")]
    assert bench.state.count(Column.DEFAULT) == 2
    collect(bench, 42)
    assert bench.records(b"k") == [(42, "P")]
    assert bench.get(b"k", 50).value == b"z" * 300


def test_a_delete_goes_with_all_below_it() -> None:
    bench = Bench()
    bench.write(10, 12, b"k")
    bench.write(20, 22, mutations=(put(b"k", kind=DELETE),))
    collect(bench, 21)
    assert bench.records(b"k") == [(22, "D"), (12, "P")]
    collect(bench, 22)
    assert bench.records(b"k") == []


def test_it_goes_on_where_it_stopped() -> None:
    bench = Bench()
    for number, key in enumerate((b"a", b"b", b"c"), 1):
        bench.write(10 * number, 10 * number + 1, key)
        bench.write(10 * number + 2, 10 * number + 3, key)
    assert collect(bench, 100, keys_max=1) == 4
    assert bench.state.count(Column.WRITE) == 3


KEYS = [b"a", b"b"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(["put", "long", "delete", "guard", "rolled back"]),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 130), st.integers(0, 130))
def test_no_read_at_or_above_the_safe_point_can_tell(
    steps: list[tuple[bytes, str]], earlier: int, safe_point: int
) -> None:
    bench = Bench()
    for number, (key, what) in enumerate(steps, 1):
        start_ts, kind = number * 10, {"delete": DELETE, "guard": LOCK}.get(what)
        value = b"%d" % number * (200 if what == "long" else 1)
        bench.prewrite(start_ts, mutations=(put(key, value, kind or MutationKind.PUT),))
        if what == "rolled back":
            bench.roll_back(start_ts, key)
        else:
            bench.commit(start_ts, start_ts + 5, key)
    seen = {(key, at): bench.get(key, at).value for key in KEYS for at in range(0, 140, 5)}
    earlier = min(earlier, safe_point)
    whole = Columns()
    whole.restore(bench.state.snapshot())
    collect(bench, earlier)
    assert live_digest(bench.state, safe_point) == live_digest(whole, safe_point)
    collect(bench, safe_point)
    assert bench.state.digest() == live_digest(whole, safe_point)
    for (key, at), value in seen.items():
        if at >= safe_point:
            assert bench.get(key, at).value == value
    writes = list(bench.state.scan(Column.WRITE))
    assert len(writes) <= len(steps)
    assert bench.state.count(Column.DEFAULT) <= len(writes)
