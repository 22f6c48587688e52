"""The bent clock: monotonic time never goes back, the inverse is exact, reset rights the wall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.env.skew import RATE_MIN, SkewedClock

MS = 1_000_000
WALL = 1_700_000_000 * 1_000 * MS

steps = st.lists(
    st.tuples(
        st.integers(0, 10_000 * MS),
        st.one_of(
            st.tuples(st.just("drift"), st.floats(-0.9, 2.0)),
            st.tuples(st.just("jump"), st.integers(-(10**12), 10**12)),
            st.tuples(st.just("strobe"), st.integers(-(10**12), 10**12)),
            st.tuples(st.just("reset"), st.none()),
        ),
    ),
    max_size=12,
)


def apply(clock: SkewedClock, now: int, act: tuple[str, object]) -> None:
    verb, value = act
    if verb == "drift":
        clock.drift(now, value)  # type: ignore[arg-type]
    elif verb == "jump":
        clock.jump(value)  # type: ignore[arg-type]
    elif verb == "strobe":
        clock.strobe(now, value, 7 * MS)  # type: ignore[arg-type]
    else:
        clock.reset(now)


def test_an_untouched_clock_shows_the_base_clocks() -> None:
    clock = SkewedClock()
    assert clock.monotonic_ns(12) == 12
    assert clock.wall_ns(12, WALL + 12) == WALL + 12
    assert SkewedClock(500).monotonic_ns(12) == 512
    assert SkewedClock(500).wall_ns(12, WALL) == WALL


def test_jumps_move_the_wall_clock_alone_and_add_up() -> None:
    clock = SkewedClock()
    clock.jump(-30 * MS)
    clock.jump(10 * MS)
    assert clock.wall_ns(5, WALL) == WALL - 20 * MS
    assert clock.monotonic_ns(5) == 5


def test_a_strobe_flips_each_period_and_ends() -> None:
    clock = SkewedClock()
    clock.strobe(100, 7, 10, until_ns=135)
    shown = [clock.wall_ns(base, 0) for base in (100, 109, 110, 119, 120, 134, 135, 145)]
    assert shown == [7, 7, 0, 0, 7, 0, 0, 0]
    clock.strobe(200, -7, 10)
    assert clock.wall_ns(200 + 2_000_000, 0) == -7
    clock.reset(300)
    assert clock.wall_ns(300, 0) == 0
    with pytest.raises(ValueError, match="period"):
        clock.strobe(0, 1, 0)


def test_drift_bends_both_clocks_piecewise() -> None:
    clock = SkewedClock()
    clock.drift(1_000 * MS, 0.1)
    clock.drift(2_000 * MS, -0.2)
    assert clock.rate == pytest.approx(-0.2)
    assert clock.monotonic_ns(2_000 * MS) == 2_100 * MS
    assert clock.monotonic_ns(3_000 * MS) == 2_900 * MS
    assert clock.wall_ns(3_000 * MS, WALL) == WALL - 100 * MS


def test_reset_rights_the_wall_clock_and_leaves_monotonic_where_it_is() -> None:
    clock = SkewedClock()
    clock.drift(0, 0.5)
    clock.jump(999)
    clock.reset(100)
    assert clock.wall_ns(100, WALL) == WALL
    assert clock.monotonic_ns(100) == 150
    assert clock.monotonic_ns(200) == 250


def test_a_clock_never_stands_still() -> None:
    with pytest.raises(ValueError, match=str(RATE_MIN)):
        SkewedClock().drift(0, -1.0)


@given(steps, st.integers(0, 10**9))
def test_monotonic_time_never_goes_back(acts, step) -> None:
    clock, now, last = SkewedClock(origin_ns=77), 0, 77
    for wait, act in acts:
        for now in (now + wait // 2, now + wait):  # noqa: B020 - time goes on
            shown = clock.monotonic_ns(now)
            assert shown >= last
            last = shown
        apply(clock, now, act)
        assert clock.monotonic_ns(now) == last
    assert clock.monotonic_ns(now + step) >= last


@given(steps, st.integers(0, 10**13))
def test_the_inverse_is_exact(acts, ahead) -> None:
    clock, now = SkewedClock(), 0
    for wait, act in acts:
        now += wait
        apply(clock, now, act)
    target = clock.monotonic_ns(now) + ahead
    base = clock.base_deadline(target)
    assert base >= now or ahead == 0
    assert clock.monotonic_ns(base) >= target
    if base > now:
        assert clock.monotonic_ns(base - 1) < target
    # One base nanosecond shows at most (1 + rate) node nanoseconds, rounded up.
    assert clock.monotonic_ns(max(base, now)) - target <= 1 + clock.rate + 1 or ahead == 0


@given(steps)
def test_wall_and_monotonic_drift_alike(acts) -> None:
    clock, now = SkewedClock(), 0
    for wait, act in acts:
        now += wait
        if act[0] == "drift":
            apply(clock, now, act)
    gain = clock.monotonic_ns(now + 12_345) - (now + 12_345)
    assert clock.wall_ns(now + 12_345, WALL) - WALL == gain
