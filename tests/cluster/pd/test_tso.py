"""The oracle alone, under any interleaving of clocks that jump, changes of leader, and saves that are
late, lost, or survive their leader.

The world around it is a list: bounds that a majority has stored.  A member that leads may append to
it; one that was deposed may not, and does not know.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.cluster.messages.pd_types import MAX_LOGICAL, compose_ts
from splitbrain.cluster.pd.ids import Ids
from splitbrain.cluster.pd.tso import MS, Tso

NODES = 3
START_MS = 1_000_000

node = st.integers(0, NODES - 1)
steps = st.one_of(
    st.tuples(st.just("elect"), node, st.booleans()),
    st.tuples(st.just("save"), node),
    st.tuples(st.just("stored"), node),
    st.tuples(st.just("jump"), node, st.integers(-90_000, 90_000)),
    st.tuples(st.just("wait"), st.integers(0, 2_500)),
    st.tuples(st.just("ask"), node, st.sampled_from([1, 2, 64, MAX_LOGICAL])),
    st.tuples(st.just("give"), node),
)


class Model:
    """Three oracles, one of which truly leads."""

    def __init__(self, tso_class=Tso):
        self.oracles = [tso_class(window_ms=1000) for _ in range(NODES)]
        self.leader = None
        self.stored = 0
        self.proposed = [None] * NODES
        self.offset_ms = [0] * NODES
        self.now_ns = 0
        self.confirmed = [[] for _ in range(NODES)]
        self.moment = 0
        self.given = []  # (first, last, asked, came)

    def clock(self, number):
        return START_MS + self.offset_ms[number] + self.now_ns // MS, self.now_ns

    def run(self, step):
        self.moment += 1
        getattr(self, "do_" + step[0])(*step[1:])

    def play(self, script):
        for step in script:
            self.run(step)
        self.check()

    def do_elect(self, number, survives):
        """``survives``: what the old leader had proposed is in the new one's log."""
        if self.leader is not None and survives and self.proposed[self.leader] is not None:
            self.stored = max(self.stored, self.proposed[self.leader])
        if self.leader == number:
            self.oracles[number].rest()
            self.confirmed[number] = []
        self.proposed[number] = None
        self.leader = number
        self.confirmed[number] = []
        self.oracles[number].lead(self.stored, *self.clock(number))

    def do_save(self, number):
        bound = self.oracles[number].wanted(*self.clock(number))
        if bound is not None:
            self.proposed[number] = bound

    def do_stored(self, number):
        """What a deposed leader proposed in vain is never stored, nor is it told so."""
        if number == self.leader and self.proposed[number] is not None:
            self.stored = max(self.stored, self.proposed[number])
            self.oracles[number].saved(self.proposed[number])
            self.proposed[number] = None

    def do_jump(self, number, milliseconds):
        self.offset_ms[number] = milliseconds

    def do_wait(self, milliseconds):
        self.now_ns += milliseconds * MS

    def do_ask(self, number, count):
        """Confirmed at once, answered later: perhaps after this leader was deposed."""
        if number == self.leader:
            self.confirmed[number].append((count, self.moment))

    def do_give(self, number):
        waiting, self.confirmed[number] = self.confirmed[number], []
        for count, asked in waiting:
            last = self.oracles[number].give(count, *self.clock(number))
            if last is None:
                self.confirmed[number].append((count, asked))
                continue
            assert last[1] <= MAX_LOGICAL
            assert last[0] < self.stored, "not below the stored bound"
            ts = compose_ts(*last)
            self.given.append((ts - count + 1, ts, asked, self.moment))

    def check(self):
        for place, (first, last, asked, _) in enumerate(self.given):
            for other_first, other_last, _, came in self.given[:place]:
                assert last < other_first or other_last < first, "given twice"
                assert came >= asked or other_last < first, "smaller than one that had come"


@given(st.lists(steps, max_size=60))
@settings(max_examples=400, deadline=None)
def test_no_interleaving_breaks_the_promise(script):
    model = Model()
    model.play([("elect", 0, False), ("save", 0), ("stored", 0), *script])


def led(saved_ms=0, wall_ms=5000):
    tso = Tso(window_ms=1000)
    tso.lead(saved_ms, wall_ms, 0)
    bound = tso.wanted(wall_ms, 0)
    assert bound is not None
    tso.saved(bound)
    return tso


def test_the_bound_is_asked_for_once_and_early():
    tso = led()
    assert tso.wanted(5000, 0) is None
    assert tso.wanted(5499, 499 * MS) is None
    assert tso.wanted(5500, 500 * MS) == 6500
    assert tso.wanted(5600, 600 * MS) is None
    tso.not_saved()
    assert tso.wanted(5600, 600 * MS) == 6600


def test_at_the_bound_it_stops_and_goes_on():
    tso = led()
    assert tso.give(1, 9000, 0) == (5999, 1)
    assert tso.give(MAX_LOGICAL - 1, 9000, 0) == (5999, MAX_LOGICAL)
    assert tso.give(1, 9000, 0) is None
    tso.saved(10_000)
    assert tso.give(1, 9000, 0) == (9000, 1)


def test_a_successor_starts_at_the_bound_whatever_its_clock():
    tso = led(saved_ms=8000, wall_ms=100)
    assert tso.give(1, 100, 0) == (8000, 1)
    assert tso.give(1, 100, 250 * MS) == (8250, 1)


def test_a_clock_that_goes_back_does_not_stop_time():
    tso = led()
    assert tso.give(1, 5300, 300 * MS) == (5300, 1)
    assert tso.give(1, 1000, 400 * MS) == (5400, 1)
    assert tso.give(1, 5410, 405 * MS) == (5410, 1)  # it leads again


def test_without_leadership_nothing_is_given():
    tso = led()
    tso.rest()
    assert tso.give(1, 6000, 0) is None
    assert tso.wanted(6000, 0) is None


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=40), st.integers(1, 20))
def test_ids_are_given_once(asks, block):
    """Against the plainest oracle: a set.  Now and then the leadership changes."""
    ids, end, seen = Ids(block), 100, set()
    for count, loses in asks:
        if loses:
            ids.drop()
        wanted = ids.wanted(count)
        if wanted is not None:
            ids.granted(end, end + wanted)
            end += wanted
        last = ids.take(count)
        assert last is not None
        got = set(range(last - count + 1, last + 1))
        assert not got & seen
        assert max(got) < end
        seen |= got


@pytest.mark.parametrize("break_it", ["_reserve", "wanted"])
def test_the_property_can_fail(break_it):
    class Broken(Tso):
        pass

    if break_it == "_reserve":
        Broken._reserve = lambda self, count: self._logical + count
    else:
        Broken.saved = lambda self, until_ms: super(Broken, self).saved(until_ms + 50_000)
    model = Model(Broken)
    script = [("elect", 0, False), ("save", 0), ("stored", 0), ("jump", 0, 20_000)]
    script += [("ask", 0, 1), ("ask", 0, 1), ("give", 0)]
    with pytest.raises(AssertionError, match=r"given twice|not below"):
        model.play(script)
