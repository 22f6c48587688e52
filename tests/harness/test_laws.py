"""Laws of the combinators as properties: over drawn parameters, seeds and outcomes.

Statistical bounds are six standard deviations; seeds are fixed or derandomized, so nothing flakes.
"""

import collections
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from splitbrain.contracts.generator import PENDING, Emit
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.harness.context import Context
from splitbrain.harness.generator import (
    Promise,
    any_of,
    cache,
    clients,
    concurrency_limit,
    concurrent_keys,
    cycle_times,
    delay,
    each_process,
    each_thread,
    flip_flop,
    imperfect,
    invocations,
    lazily,
    lift,
    limit,
    mix,
    nemesis,
    on_threads,
    perfect_info,
    phases,
    process_limit,
    repeat,
    reserve,
    shortest_any,
    simulate,
    stagger,
    time_limit,
    until_ok,
)

SECOND = 10**9
SEEDS = st.integers(0, 2**32)
THREADS = st.integers(1, 12)
laws = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def reads(times=None, f="read"):
    return repeat({"f": f}, times=times)


def varied(op, random):
    """Any outcome, after up to a second."""
    return int(random.random() * SECOND), replace(
        op, type=random.choice(("ok", "fail", "info"))
    )


def in_flight(history, f):
    """The most operations of that name at once."""
    open_, most = set(), 0
    for op in history:
        if op.f == f:
            open_ ^= {op.process}
            most = max(most, len(open_))
    return most


# --- choice -----------------------------------------------------------------------------------


@laws
@given(arms=st.integers(1, 6), seed=SEEDS)
def test_a_mix_gives_equal_shares(arms, seed):
    gen = mix([reads(f=str(arm)) for arm in range(arms)])
    counts = collections.Counter(op.f for op in invocations(gen, seed=seed, max_ops=2000))
    deviation = math.sqrt(2000 / arms * (1 - 1 / arms))
    assert len(counts) == arms
    assert all(abs(count - 2000 / arms) <= 6 * deviation for count in counts.values())


@laws
@given(gaps=st.lists(st.sampled_from([0.2, 0.3, 0.5, 0.7]), min_size=1, max_size=4), seed=SEEDS)
def test_any_takes_the_soonest(gaps, seed):
    """Together the arms do what each alone would do: nobody is held back by another."""
    gen = any_of([delay(gap, reads(7, f=str(n))) for n, gap in enumerate(gaps)])
    ops = invocations(gen, concurrency=10, seed=seed)
    for n, gap in enumerate(gaps):
        due = [round(k * gap * SECOND) for k in range(7)]
        assert [op.time_ns for op in ops if op.f == str(n)] == due


@laws
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=SEEDS)
def test_the_shortest_any_ends_with_the_first_that_ends(counts, seed):
    arms = [reads(count, f=str(n)) for n, count in enumerate(counts)]
    ops = invocations(shortest_any(arms), seed=seed, completion=varied)
    taken = collections.Counter(op.f for op in ops)
    ended = [n for n, count in enumerate(counts) if taken[str(n)] == count]
    assert len(ended) == 1
    assert ops[-1].f == str(ended[0])


@laws
@given(first=st.integers(0, 9), second=st.integers(0, 9), threads=THREADS)
def test_flip_flop_alternates_until_one_has_no_more(first, second, threads):
    ops = invocations(flip_flop(reads(first, "a"), reads(second, "b")), concurrency=threads)
    length = 2 * first if first <= second else 2 * second + 1
    assert [op.f for op in ops] == ["a" if n % 2 == 0 else "b" for n in range(length)]


# --- threads ----------------------------------------------------------------------------------


@laws
@given(sizes=st.lists(st.integers(1, 3), max_size=3), rest=st.integers(1, 3), seed=SEEDS)
def test_reserve_keeps_each_part_to_its_threads(sizes, rest, seed):
    parts = itertools.chain.from_iterable((n, reads(f=str(i))) for i, n in enumerate(sizes))
    threads = sum(sizes) + rest
    ops = invocations(
        clients(reserve(*parts, reads(f="rest"))),
        concurrency=threads, max_ops=60 * threads, completion=varied, seed=seed,
    )  # fmt: skip
    seen = collections.defaultdict(set)
    for op in ops:
        seen[op.f].add(op.process % threads)
    begin = 0
    for i, size in enumerate([*sizes, rest]):
        name = str(i) if i < len(sizes) else "rest"
        assert seen[name] == set(range(begin, begin + size))
        begin += size


@laws
@given(length=st.integers(1, 5), threads=THREADS, seed=SEEDS)
def test_each_thread_goes_through_its_copy_once_whatever_it_is_called(length, threads, seed):
    gen = clients(each_thread([{"f": str(n)} for n in range(length)]))
    ops = invocations(gen, concurrency=threads, completion=varied, seed=seed)
    by_thread = collections.defaultdict(list)
    for op in ops:
        by_thread[op.process % threads].append(op.f)
    assert dict(by_thread) == {t: [str(n) for n in range(length)] for t in range(threads)}


@laws
@given(length=st.integers(2, 5), threads=THREADS, seed=SEEDS)
def test_each_process_begins_its_copy_at_the_beginning(length, threads, seed):
    gen = clients(limit(80, each_process([{"f": str(n)} for n in range(length)])))
    history = simulate(gen, concurrency=threads, completion=varied, seed=seed)
    by_process, crashed = collections.defaultdict(list), set()
    for op in history:
        if op.type == "invoke":
            by_process[op.process].append(int(op.f))
        elif op.type == "info":
            crashed.add(op.process)
    assert all(steps == list(range(len(steps))) for steps in by_process.values())
    if len([op for op in history if op.type == "invoke"]) < 80:  # it ended by itself
        whole = [p for p, steps in by_process.items() if len(steps) == length]
        assert set(by_process) - crashed <= set(whole)


def test_each_process_ends_when_every_process_has_ended():
    gen = clients(each_process([{"f": "a"}, {"f": "b"}]))
    assert len(invocations(gen, concurrency=3)) == 6
    once_lost = iter(["info", *["ok"] * 20])
    ops = invocations(
        gen, concurrency=3, completion=lambda op, _: (9, replace(op, type=next(once_lost)))
    )
    assert len(ops) == 7


def test_each_process_learns_of_its_own_events():
    gen = clients(each_process(until_ok(reads())))
    for seed in range(5):
        ops = simulate(gen, concurrency=4, completion=imperfect, seed=seed)
        oks = collections.Counter(op.process for op in ops if op.type == "ok")
        assert set(oks.values()) == {1}
        assert {process % 4 for process in oks} == {0, 1, 2, 3}


# --- number and span ----------------------------------------------------------------------------


@laws
@given(most=st.integers(1, 5), threads=THREADS, seed=SEEDS)
def test_a_concurrency_limit_bounds_its_own_operations_and_uses_all_of_it(most, threads, seed):
    gen = clients(any_of(concurrency_limit(most, reads(60, "mine")), reads(60, "other")))
    history = simulate(gen, concurrency=threads, completion=varied, seed=seed)
    assert in_flight(history, "mine") == min(most, threads)
    assert sum(op.type == "invoke" and op.f == "mine" for op in history) == 60


def test_a_concurrency_limit_holds_where_events_are_not_told():
    """``mix`` tells its parts of nothing; the limit must neither break nor hang."""
    gen = clients(mix(concurrency_limit(1, reads(40, "mine")), reads(40, "other")))
    for seed in range(6):
        history = simulate(gen, concurrency=5, completion=varied, seed=seed)
        assert in_flight(history, "mine") == 1
        assert len([op for op in history if op.type == "invoke"]) == 80


def test_a_concurrency_limit_of_the_nemesis():
    """Whose operations are info when they begin, too."""
    gen = nemesis(concurrency_limit(1, reads(5, "start-kill")))
    assert len(invocations(gen, completion=varied)) == 5


def test_a_concurrency_limit_of_nothing_is_refused():
    with pytest.raises(HarnessError, match="at least 1"):
        concurrency_limit(0, reads())


@laws
@given(most=st.integers(1, 12), threads=st.integers(1, 4), seed=SEEDS)
def test_a_process_limit_bounds_the_processes(most, threads, seed):
    gen = clients(process_limit(most, reads()))
    ops = invocations(gen, concurrency=threads, completion=perfect_info, seed=seed)
    assert len({op.process for op in ops}) == most


@laws
@given(span=st.floats(0.5, 5), gap=st.floats(0.01, 0.3), late=st.floats(0, 3), threads=THREADS)
def test_a_time_limit_counts_from_its_first_operation(span, gap, late, threads):
    first = {"f": "read", "time_ns": round(late * SECOND)}
    gen = clients(time_limit(span, [first, stagger(gap, reads())]))
    ops = invocations(gen, concurrency=threads)
    begin = ops[0].time_ns
    assert begin == round(late * SECOND)
    assert ops[-1].time_ns < begin + round(span * SECOND)
    assert ops[-1].time_ns > begin + (span - 2 * gap) * SECOND - 10  # it went on to the end


@laws
@given(seed=SEEDS, threads=THREADS)
def test_until_ok_ends_after_an_ok(seed, threads):
    history = simulate(
        clients(until_ok(reads())), concurrency=threads, completion=varied, seed=seed
    )
    first_ok = next(op.index for op in history if op.type == "ok")
    assert all(op.type != "invoke" for op in history[first_ok:])


# --- pace ---------------------------------------------------------------------------------------


@laws
@given(gap=st.floats(0.001, 2), threads=THREADS, seed=SEEDS)
def test_a_stagger_has_its_mean_over_all_threads(gap, threads, seed):
    ops = invocations(
        clients(stagger(gap, reads())), concurrency=threads, max_ops=800, seed=seed
    )
    mean = (ops[-1].time_ns - ops[0].time_ns) / 799 / SECOND
    assert abs(mean - gap) <= 6 * (2 * gap / math.sqrt(12)) / math.sqrt(799) + 1e-7


@laws
@given(gap=st.floats(0.01, 2), threads=THREADS, seed=SEEDS)
def test_delay_is_exact_and_makes_up_for_what_was_late(gap, threads, seed):
    gap_ns = round(gap * SECOND)
    exact = invocations(clients(delay(gap, reads(30))), concurrency=threads, seed=seed)
    assert [op.time_ns for op in exact] == [n * gap_ns for n in range(30)]
    late = invocations(
        clients(delay(gap, reads(30))), concurrency=threads, completion=varied, seed=seed
    )
    # Never early; late only while nobody was free, and then at once.
    assert all(op.time_ns >= n * gap_ns for n, op in enumerate(late))
    if gap > 1:
        assert late[-1].time_ns == 29 * gap_ns


@laws
@given(spans=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=SEEDS)
def test_cycle_times_keeps_to_its_windows_and_its_state(spans, seed):
    numbered = [
        stagger(0.2, [{"f": str(n), "value": v} for v in range(400)]) for n in range(len(spans))
    ]
    turns = itertools.chain.from_iterable(zip(spans, numbered, strict=True))
    ops = invocations(clients(cycle_times(*turns)), concurrency=3, max_ops=150, seed=seed)
    edges = list(itertools.accumulate(spans))
    for op in ops:
        at = op.time_ns % (edges[-1] * SECOND)
        assert at < edges[int(op.f)] * SECOND
        assert at >= (edges[int(op.f)] - spans[int(op.f)]) * SECOND
    for n in range(len(spans)):
        values = [op.value for op in ops if op.f == str(n)]
        assert values == list(range(len(values)))


def test_a_cached_offer_stands_and_costs_one_question():
    asked = []

    def costly(test, ctx):
        asked.append(ctx.time_ns)
        return {"f": "scan", "time_ns": 10 * SECOND}

    busy = delay(0.01, reads(900))
    plain = invocations(clients(any_of(costly, busy)), concurrency=3, max_ops=800)
    without = len(asked)
    asked.clear()
    cached = invocations(clients(any_of(cache(1, costly), busy)), concurrency=3, max_ops=800)
    assert len(asked) <= 8 + 3
    assert without > 100 * len(asked) / 2
    assert [op.time_ns for op in cached] == [op.time_ns for op in plain]


@laws
@given(seed=SEEDS, threads=THREADS, keep=st.sampled_from([0, 0.05, 3]))
def test_a_cache_loses_and_doubles_nothing(seed, threads, keep):
    numbers = [{"f": "w", "value": n} for n in range(40)]
    gen = clients(any_of(cache(keep, stagger(0.2, numbers)), stagger(0.1, reads(60))))
    ops = invocations(gen, concurrency=threads, completion=varied, seed=seed)
    assert [op.value for op in ops if op.f == "w"] == list(range(40))
    assert len(ops) == 100


def test_a_cached_offer_is_dropped_when_it_is_too_old():
    ctx = Context.start(2, Random(1).stream("x"), nemesis=False)
    asked = []
    gen = cache(1, lambda: asked.append(1) or {"f": "r", "time_ns": 50 * SECOND})
    event = invocations({"f": "other"})[0]
    gen = gen.update({}, ctx, event)
    for time_ns, count in ((0, 1), (SECOND - 1, 1), (SECOND, 2)):
        assert isinstance(gen.op({}, ctx.at(time_ns)), Emit)
        assert len(asked) == count


# --- later ----------------------------------------------------------------------------------------


def test_a_promise_is_pending_until_it_is_kept():
    ctx = Context.start(1, Random(1).stream("x"))
    promise = Promise()
    assert lift(promise) is promise
    assert promise.op({}, ctx) is PENDING
    promise.keep([{"f": "a"}, {"f": "b"}])
    assert [op.f for op in invocations(promise)] == ["a", "b"]
    with pytest.raises(HarnessError, match="kept once"):
        promise.keep({"f": "c"})


def test_a_promise_learns_once_it_is_kept():
    promise = Promise()
    promise.keep(until_ok(reads(9)))
    assert len(invocations(on_threads({0}, promise))) == 1


def test_a_lazy_generator_is_made_once_when_its_turn_comes():
    made = []
    final = lazily(lambda: made.append(1) or until_ok(reads(9, "final")))
    ops = invocations(on_threads({0}, phases(reads(3), final)))
    assert [op.f for op in ops] == ["read"] * 3 + ["final"]
    assert made == [1]


# --- keys ---------------------------------------------------------------------------------------


@laws
@given(size=st.integers(1, 3), groups=st.integers(1, 4), keys=st.integers(1, 9), seed=SEEDS)
def test_independent_keys_have_their_threads_and_no_others(size, groups, keys, seed):
    gen = clients(concurrent_keys(size, range(keys), lambda key: reads(12)))
    threads = size * groups
    history = simulate(gen, concurrency=threads, completion=varied, seed=seed)
    begun = [op for op in history if op.type == "invoke"]
    assert collections.Counter(op.key for op in begun) == dict.fromkeys(range(keys), 12)
    open_ = collections.Counter()
    for op in history:
        open_[op.key] += 1 if op.type == "invoke" else -1
        assert open_[op.key] <= size
        assert sum(count > 0 for count in open_.values()) <= threads
    for key in range(keys):
        assert len({op.process % threads // size for op in begun if op.key == key}) == 1


# --- what every generator must be -----------------------------------------------------------------

FAMILY = st.recursive(
    st.sampled_from(["r", "w"]).map(lambda f: reads(5, f)),
    lambda inner: st.one_of(
        inner.map(lambda g: stagger(0.05, g)),
        inner.map(lambda g: delay(0.05, g)),
        inner.map(lambda g: limit(4, g)),
        inner.map(lambda g: time_limit(1, g)),
        inner.map(until_ok),
        inner.map(lambda g: concurrency_limit(2, g)),
        inner.map(lambda g: process_limit(6, g)),
        inner.map(lambda g: cache(0.1, g)),
        inner.map(lambda g: limit(20, each_process(g))),
        inner.map(each_thread),
        st.lists(inner, min_size=1, max_size=3).map(lambda gs: any_of(*gs)),
        st.lists(inner, min_size=1, max_size=3).map(lambda gs: shortest_any(*gs)),
        st.lists(inner, min_size=1, max_size=3).map(lambda gs: mix(*gs)),
        st.lists(inner, min_size=1, max_size=3).map(lambda gs: phases(*gs)),
        st.tuples(inner, inner).map(lambda gs: reserve(1, *gs)),
        st.tuples(inner, inner).map(lambda gs: flip_flop(*gs)),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(gen=FAMILY, threads=st.integers(2, 5), seed=st.integers(0, 9))
def test_any_composition_is_a_value_and_keeps_the_rules_of_processes(gen, threads, seed):
    """Run twice it gives one history; each process does one thing at a time, and none returns."""
    gen = clients(gen)
    run = lambda: simulate(gen, concurrency=threads, completion=varied, seed=seed, max_ops=150)  # noqa: E731
    history = run()
    assert history == run()
    assert [op.index for op in history] == list(range(len(history)))
    busy, gone = set(), set()
    for before, op in itertools.pairwise([None, *history]):
        assert before is None or before.time_ns <= op.time_ns
        assert op.process not in gone
        if op.type == "invoke":
            assert op.process not in busy
            busy.add(op.process)
        else:
            busy.remove(op.process)
            if op.type == "info":
                gone.add(op.process)
    if sum(op.type == "invoke" for op in history) < 150:
        assert not busy, "it ended with something in flight"
