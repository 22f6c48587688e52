"""The pure part of the proxies: when may which byte pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.env.random import Random
from splitbrain.substrates.proxy.messages import Flow
from splitbrain.substrates.proxy.shaping import END, RESET, Pipe


def pipe(**flow: object) -> Pipe:
    made = Pipe(Random(7).stream("jitter"))
    made.shape(Flow(**flow), 0.0)
    return made


def test_a_clean_pipe_passes_at_once() -> None:
    clean = pipe()
    clean.put(b"a", 1.0)
    assert clean.waiting == 1
    assert clean.take(1.0) == [b"a"]
    assert clean.waiting == 0
    assert clean.due(1.0) is None


def test_delayed_chunks_overlap() -> None:
    delayed = pipe(delay_ms=50)
    for at in (1.0, 1.01, 1.02):
        delayed.put(b"x", at)
    assert delayed.take(1.049) == []
    assert delayed.due(1.049) == pytest.approx(1.05)
    assert delayed.take(1.0701) == [b"xxx"], "three chunks took 70 ms, not 150"


def test_jitter_keeps_the_order_and_stays_in_its_bounds() -> None:
    jittery = pipe(delay_ms=10, jitter_ms=40)
    for number in range(100):
        jittery.put(bytes([number]), number / 1000)
    got = b""
    passed = []
    for tick in range(200):
        now = tick / 1000
        for chunk in jittery.take(now):
            passed += [(number, now) for number in chunk]
            got += chunk
    assert got == bytes(range(100))
    lates = [now - number / 1000 for number, now in passed]
    assert min(lates) >= 0.010
    assert max(lates) <= 0.0511
    assert max(lates) - min(lates) > 0.01


def test_a_rate_spreads_bytes_evenly() -> None:
    slow = pipe(rate_kbps=80)  # 10 kB a second
    slow.put(bytes(5000), 0.0)
    assert slow.waiting == 5000
    assert sum(map(len, slow.take(0.1))) == pytest.approx(1000, abs=300)
    assert sum(map(len, slow.take(0.3))) == pytest.approx(2000, abs=300)
    slow.take(0.51)
    assert slow.waiting == 0
    slow.put(b"x" * 100, 2.0)
    assert slow.due(2.0) == pytest.approx(2.01), "an idle link saves up nothing"


def test_what_is_held_passes_at_once_when_the_hold_ends() -> None:
    held = pipe(hold=True)
    held.put(b"ab", 1.0)
    held.put(b"c", 2.0)
    held.put(END, 3.0)
    assert held.take(100.0) == []
    assert held.due(100.0) is None
    held.shape(Flow(), 100.0)
    assert held.take(100.0) == [b"abc", END]


def test_healing_a_delay_lets_pass_what_it_kept() -> None:
    delayed = pipe(delay_ms=10_000)
    delayed.put(b"a", 0.0)
    delayed.put(RESET, 0.0)
    delayed.shape(Flow(), 1.0)
    delayed.put(b"never before the end", 1.0)
    assert delayed.take(1.0) == [b"a", RESET, b"never before the end"]


def test_dropping_forgets() -> None:
    held = pipe(hold=True)
    held.put(b"abc", 0.0)
    held.drop()
    held.shape(Flow(), 1.0)
    assert held.take(1.0) == []
    assert held.waiting == 0


FLOWS = st.builds(
    Flow,
    hold=st.booleans(),
    delay_ms=st.sampled_from([0.0, 5.0, 80.0]),
    jitter_ms=st.sampled_from([0.0, 30.0]),
    rate_kbps=st.sampled_from([0.0, 64.0, 1000.0]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 3000)),
        st.tuples(st.just("shape"), FLOWS),
        st.tuples(st.just("take"), st.just(None)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 9))
def test_bytes_are_only_ever_late(steps: list, seed: int) -> None:
    """Whatever is done to it, a pipe neither loses, doubles, changes nor reorders a byte."""
    subject = Pipe(Random(seed).stream("jitter"))
    sent, got, now = b"", [], 0.0
    for what, argument in steps:
        now += 0.013
        if what == "put":
            data = bytes((len(sent) + i) % 251 for i in range(argument))
            sent += data
            subject.put(data, now)
        elif what == "shape":
            subject.shape(argument, now)
        else:
            got += subject.take(now)
        assert subject.waiting == len(sent) - sum(map(len, got))
    subject.put(END, now)
    subject.shape(Flow(), now)
    got += subject.take(now)
    assert got[-1] is END
    assert b"".join(got[:-1]) == sent
