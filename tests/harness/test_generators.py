"""The laws of the combinators, on simulated clients."""

import collections
import itertools
import statistics

import pytest
from msgspec.structs import replace

from splitbrain.contracts.generator import PENDING, Emit
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.harness.context import Context
from splitbrain.harness.generator import (
    any_of,
    clients,
    concat,
    concurrent_keys,
    cycle,
    cycle_times,
    delay,
    each_thread,
    f_map,
    filter,  # noqa: A004
    flip_flop,
    imperfect,
    instant,
    invocations,
    lift,
    limit,
    log,
    map,  # noqa: A004
    mix,
    nemesis,
    on_threads,
    on_update,
    once,
    perfect_info,
    phases,
    process_limit,
    repeat,
    reserve,
    sequential_keys,
    simulate,
    sleep,
    stagger,
    synchronize,
    then,
    time_limit,
    trace,
    until_ok,
)

SECOND = 10**9
READ, WRITE = {"f": "read"}, {"f": "write"}


def names(ops):
    return [op.f for op in ops]


def shape(ops):
    return [(op.time_ns, op.process, op.type, op.f) for op in ops]


def slow(seconds):
    """A completion that takes so long."""
    return lambda op, random: (round(seconds * SECOND), replace(op, type="ok"))


# --- lifting --------------------------------------------------------------------------------------


def test_nothing_yields_nothing():
    assert simulate(None) == []
    assert simulate([]) == []
    assert simulate([None, [], [None]]) == []


def test_a_mapping_is_one_operation_with_its_fields_filled_in():
    [op] = invocations(clients({"f": "cas", "key": "k", "value": [1, 2]}))
    assert (op.index, op.time_ns, op.type, op.key, op.value) == (0, 0, "invoke", "k", [1, 2])
    assert op.process in (0, 1)


def test_fields_that_are_given_are_kept():
    [op] = invocations({"f": "read", "process": 1, "time_ns": 700})
    assert (op.process, op.time_ns) == (1, 700)


def test_a_callable_is_called_for_ever_and_its_results_played_out():
    calls = itertools.count()

    def two():
        return [{"f": "a", "value": next(calls)}, {"f": "b"}]

    ops = invocations(on_threads({0}, two), max_ops=5)
    assert names(ops) == ["a", "b", "a", "b", "a"]


def test_a_callable_may_look_at_the_test_and_the_context():
    def look(test, ctx):
        return {"f": "look", "value": (test["concurrency"], ctx.time_ns, ctx.free_threads)}

    first = invocations(clients(look), concurrency=2, max_ops=1)[0]
    assert first.value == (2, 0, (0, 1))


def test_a_callable_that_gives_none_is_exhausted():
    left = iter([READ, READ, None, READ])
    assert len(invocations(on_threads({0}, lambda: next(left)))) == 2


def test_a_callable_is_not_called_while_nobody_is_free():
    calls = []

    def call():
        calls.append(1)
        return READ

    ctx = Context.start(1, Random(1).stream("x"), nemesis=False).busy(0)
    assert lift(call).op({}, ctx) is PENDING
    assert calls == []


def test_many_results_of_a_callable_do_not_nest():
    gen = lift(lambda: [READ, READ])
    ctx = Context.start(1, Random(1).stream("x"))
    for _ in range(5_000):
        gen = gen.op({}, ctx).next
    assert repr(gen).count("Concat") < 5


def test_an_iterator_is_read_as_far_as_needed_and_gives_the_same_again():
    read = []

    def numbers():
        for n in itertools.count():
            read.append(n)
            yield {"f": "write", "value": n}

    gen = lift(numbers())
    first = [op.value for op in invocations(gen, max_ops=4)]
    again = [op.value for op in invocations(gen, max_ops=4)]
    assert first == again == [0, 1, 2, 3]
    assert len(read) < 10


def test_a_list_is_copied():
    ops = [READ, WRITE]
    gen = lift(ops)
    ops.clear()
    assert names(invocations(gen)) == ["read", "write"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("read", "cannot be made a generator"),
        (7, "cannot be made a generator"),
        ({"value": 3}, "no field 'f'"),
        ({"f": "read", "vaule": 3}, "unknown field 'vaule'"),
        (lambda a: None, "takes 1 arguments"),
        ({"a", "b"}, "no fixed order"),
    ],
)
def test_what_cannot_be_lifted_is_told(wrong, said):
    with pytest.raises(HarnessError, match=said):
        lift(wrong)


@pytest.mark.parametrize(
    "endless",
    [itertools.repeat(None), list, filter(lambda op: False, repeat(READ))],
    ids=["iterator", "callable", "filter"],
)
def test_generators_that_yield_nothing_for_ever_are_told_instead_of_hanging(endless):
    with pytest.raises(HarnessError, match="in a row"):
        invocations(endless)


# --- threads ----------------------------------------------------------------------------------------


def test_on_threads_by_set_and_by_predicate():
    by_set = invocations(on_threads({0, 3}, repeat(READ, times=50)), concurrency=5)
    assert {op.process for op in by_set} == {0, 3}
    odd = on_threads(lambda thread: thread % 2 == 1, repeat(READ, times=50))
    assert {op.process for op in invocations(odd, concurrency=4)} == {-1 % 4 - 4, 1, 3}


def test_on_threads_learns_of_its_own_events_only():
    learned = set()

    def handler(this, test, ctx, event):
        learned.add((event.process % 3, ctx.threads))
        return this

    mine = on_threads({1}, on_update(handler, repeat({"f": "a"}, times=5)))
    simulate(clients(any_of(mine, repeat({"f": "b"}, times=20))), concurrency=3)
    # Threads 1's operations of the other generator are among them: an event is told by its thread.
    assert learned == {(1, (1,))}


def test_clients_and_nemesis_share_nothing():
    gen = clients(repeat(READ, times=40), repeat({"f": "start-kill"}, times=5))
    ops = simulate(gen, concurrency=3)
    assert {op.process for op in ops if op.f == "read"} == {0, 1, 2}
    mine = [op for op in ops if op.f == "start-kill"]
    assert {(op.process, op.type) for op in mine} == {(-1, "info")}
    assert len(mine) == 10
    swapped = invocations(nemesis({"f": "start-kill"}, READ), concurrency=1)
    assert {(op.f, op.process) for op in swapped} == {("start-kill", -1), ("read", 0)}


def test_threads_stay_theirs_after_a_crash():
    gen = on_threads({1}, repeat(READ, times=6))
    ops = invocations(gen, concurrency=3, completion=perfect_info)
    assert [op.process for op in ops] == [1, 4, 7, 10, 13, 16]


def test_each_thread_has_its_own_copy():
    gen = clients(each_thread([{"f": "a"}, {"f": "b"}, {"f": "c"}]))
    ops = invocations(gen, concurrency=7, completion=imperfect)
    by_thread = collections.defaultdict(list)
    for op in ops:
        by_thread[op.process % 7].append(op.f)
    assert dict(by_thread) == {thread: ["a", "b", "c"] for thread in range(7)}


def test_each_thread_sees_its_own_events_only():
    ops = simulate(
        clients(each_thread(until_ok(repeat(READ)))), concurrency=5, completion=imperfect
    )
    successes = collections.Counter(op.process % 5 for op in ops if op.type == "ok")
    assert dict(successes) == dict.fromkeys(range(5), 1)


def test_reserve_keeps_to_its_threads():
    gen = reserve(2, repeat({"f": "a"}), 3, repeat({"f": "b"}), repeat({"f": "c"}))
    ops = invocations(clients(gen), concurrency=7, max_ops=700, completion=imperfect)
    threads = collections.defaultdict(set)
    for op in ops:
        threads[op.f].add(op.process % 7)
    assert dict(threads) == {"a": {0, 1}, "b": {2, 3, 4}, "c": {5, 6}}


def test_reserve_goes_on_with_the_rest_when_a_part_is_exhausted():
    gen = reserve(1, repeat({"f": "a"}, times=2), repeat({"f": "b"}, times=9))
    counts = collections.Counter(names(invocations(clients(gen), concurrency=3)))
    assert counts == {"a": 2, "b": 9}


def test_reserve_tells_each_part_of_its_own_events():
    gen = reserve(1, until_ok(repeat({"f": "a"})), repeat({"f": "b"}, times=20))
    ops = simulate(clients(gen), concurrency=2)
    assert names(ops).count("a") == 2


@pytest.mark.parametrize("shares", [(1, READ), (0, READ, READ), ("x", READ, READ)])
def test_reserve_tells_wrong_shares(shares):
    with pytest.raises(HarnessError, match="reserve"):
        reserve(*shares)


# --- choice -------------------------------------------------------------------------------------


def test_any_of_takes_the_soonest_and_ends_when_all_have_ended():
    gen = any_of(
        delay(0.3, repeat({"f": "a"}, times=4)), delay(0.5, repeat({"f": "b"}, times=3))
    )
    ops = invocations(gen)
    assert [(op.time_ns // 10**6, op.f) for op in ops][2:] == [
        (300, "a"), (500, "b"), (600, "a"), (900, "a"), (1000, "b"),
    ]  # fmt: skip


def test_any_of_is_fair_among_equals():
    gen = any_of(repeat({"f": "a"}), repeat({"f": "b"}), repeat({"f": "c"}))
    counts = collections.Counter(names(invocations(gen, max_ops=3000)))
    assert all(900 < counts[f] < 1100 for f in "abc")


def test_mix_gives_equal_shares():
    gen = mix([repeat({"f": "a"}), repeat({"f": "b"}), lambda: {"f": "c"}, repeat({"f": "d"})])
    counts = collections.Counter(names(invocations(gen, max_ops=8000)))
    assert all(1850 < counts[f] < 2150 for f in "abcd")


def test_mix_yields_everything_of_all():
    gen = mix([{"f": "a"}] * 3, [{"f": "b"}] * 50, None)
    counts = collections.Counter(names(invocations(gen)))
    assert counts == {"a": 3, "b": 50}


def test_mix_is_not_held_up_by_a_pending_generator():
    gen = mix(synchronize(repeat({"f": "a"})), repeat({"f": "b"}))
    ops = invocations(clients(gen), concurrency=2, max_ops=50, completion=slow(1))
    assert {"b"} <= set(names(ops))
    assert len(ops) == 50


def test_flip_flop_ends_with_the_first_that_ends():
    gen = flip_flop([{"f": "a", "value": n} for n in range(9)], [{"f": "b"}] * 2)
    assert names(invocations(gen)) == ["a", "b", "a", "b", "a"]


# --- bounds -------------------------------------------------------------------------------------


def test_limit_once_repeat_cycle():
    assert len(invocations(limit(5, repeat(READ)))) == 5
    assert len(invocations(limit(5, [READ] * 3))) == 3
    assert names(invocations(once([READ, WRITE]))) == ["read"]
    assert names(invocations(repeat([READ, WRITE], times=2))) == ["read", "read"]
    assert names(invocations(cycle([READ, WRITE]), max_ops=5)) == [
        "read", "write", "read", "write", "read",
    ]  # fmt: skip
    assert names(invocations(cycle(limit(2, repeat(READ)), times=3))) == ["read"] * 6
    assert invocations(cycle(None)) == []


def test_time_limit_counts_from_its_first_operation():
    gen = concat(sleep(5), time_limit(3, delay(1, repeat(READ))))
    times = [op.time_ns // SECOND for op in invocations(on_threads({0}, gen))]
    assert times == [5, 6, 7]


def test_time_limit_ends_even_while_everybody_is_busy():
    gen = clients(time_limit(3, stagger(0.1, repeat(READ))))
    ops = simulate(gen, concurrency=2, completion=slow(10))
    assert names(ops) == ["read"] * 4
    assert max(op.time_ns for op in ops if op.type == "invoke") < 3 * SECOND


def test_process_limit_bounds_the_processes():
    gen = clients(process_limit(8, repeat(READ)))
    for completion in (perfect_info, imperfect):
        ops = invocations(gen, concurrency=3, completion=completion)
        used = {op.process for op in ops}
        assert 6 <= len(used) <= 8
    assert len(invocations(gen, concurrency=3, max_ops=500)) == 500  # nobody crashes


def test_until_ok_ends_with_the_first_success_of_its_own():
    mine = until_ok(repeat({"f": "mine"}))
    gen = clients(reserve(1, mine, repeat({"f": "other"}, times=30)))
    for seed in range(8):
        ops = simulate(gen, concurrency=3, completion=imperfect, seed=seed)
        own = [op for op in ops if op.f == "mine"]
        assert [op.type for op in own].count("ok") == 1
        assert own[-1].type == "ok"


# --- pace ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 20])
def test_stagger_is_a_global_rate_with_uniform_gaps(concurrency):
    ops = invocations(
        clients(stagger(0.01, repeat(READ))), concurrency=concurrency, max_ops=4000
    )
    gaps = [(b.time_ns - a.time_ns) / SECOND for a, b in itertools.pairwise(ops)]
    assert statistics.mean(gaps) == pytest.approx(0.01, rel=0.03)
    assert min(gaps) >= 0
    assert max(gaps) <= 0.02
    assert statistics.pstdev(gaps) == pytest.approx(0.02 / 12**0.5, rel=0.05)  # of a uniform


def test_stagger_does_not_make_up_for_lost_time():
    ops = invocations(
        on_threads({0}, stagger(0.1, repeat(READ))), max_ops=20, completion=slow(1)
    )
    gaps = [b.time_ns - a.time_ns for a, b in itertools.pairwise(ops)]
    assert min(gaps) >= SECOND


def test_delay_makes_up_for_lost_time():
    latencies = iter([3.5] + [0.0] * 20)

    def completion(op, random):
        return round(next(latencies) * SECOND), replace(op, type="ok")

    ops = invocations(on_threads({0}, delay(1, repeat(READ, times=7))), completion=completion)
    assert [op.time_ns / SECOND for op in ops] == [0, 3.5, 3.5, 3.5, 4, 5, 6]


def test_sleep_keeps_one_thread_busy_and_is_not_recorded():
    gen = clients(any_of(sleep(2), delay(1, repeat(READ, times=4))))
    ops = simulate(gen, concurrency=2, completion=instant)
    assert names(ops) == ["read"] * 8
    assert names(invocations(on_threads({0}, concat(sleep(1), READ)))) == ["read"]


def test_log_is_not_recorded():
    assert names(invocations(concat(log("here"), READ))) == ["read"]


def test_cycle_times_rotates_keeps_state_and_is_quiet_where_there_is_nothing():
    numbers = [{"f": "a", "value": n} for n in range(100)]
    gen = cycle_times(2, stagger(0.5, numbers), 3, None, 1, stagger(0.5, repeat({"f": "b"})))
    ops = [op for op in invocations(gen, max_ops=60) if op.time_ns < 18 * SECOND]
    for op in ops:
        assert op.time_ns % (6 * SECOND) // SECOND in ((0, 1) if op.f == "a" else (5,))
    assert [op.value for op in ops if op.f == "a"] == list(range(names(ops).count("a")))
    assert names(ops).count("a") > 8


def test_cycle_times_that_begins_quietly_keeps_its_start_among_other_events():
    quiet = cycle_times(5, None, 1, repeat({"f": "start-kill"}, times=2))
    gen = any_of(nemesis(quiet), clients(delay(0.1, repeat(READ, times=100))))
    kills = [op.time_ns for op in invocations(gen) if op.f == "start-kill"]
    assert kills[0] == 5 * SECOND


@pytest.mark.parametrize("turns", [(), (5,), (5, READ, 0, READ)])
def test_cycle_times_tells_wrong_turns(turns):
    with pytest.raises(HarnessError, match="cycle_times"):
        cycle_times(*turns)


# --- order ----------------------------------------------------------------------------------------


def test_phases_wait_for_everything_in_flight():
    gen = clients(
        phases(repeat({"f": "a"}, times=20), repeat({"f": "b"}, times=20), {"f": "c"})
    )
    ops = simulate(gen, concurrency=4, completion=imperfect, seed=3)
    last_a = max(op.index for op in ops if op.f == "a")
    first_b = min(op.index for op in ops if op.f == "b")
    last_b = max(op.index for op in ops if op.f == "b")
    assert last_a < first_b
    assert last_b < min(op.index for op in ops if op.f == "c")


def test_concat_does_not_wait_but_then_does():
    first, second = limit(2, repeat({"f": "a"})), {"f": "b"}
    begun = simulate(clients(concat(first, second)), concurrency=3, completion=slow(1))
    assert [op.type for op in begun[:3]] == ["invoke"] * 3
    waited = simulate(clients(then(first, second)), concurrency=3, completion=slow(1))
    assert [op.f for op in waited] == ["a"] * 4 + ["b"] * 2


def test_concat_lets_only_its_front_learn():
    gen = on_threads({0}, concat(until_ok(repeat({"f": "a"})), until_ok(repeat({"f": "b"}))))
    ops = simulate(gen, completion=imperfect, seed=5)
    assert [op.f for op in ops if op.type == "ok"] == ["a", "b"]


# --- change ----------------------------------------------------------------------------------------


def test_map_f_map_filter():
    numbers = [{"f": "w", "value": n} for n in range(6)]
    doubled = map(lambda op: replace(op, value=2 * op.value), numbers)
    kept = filter(lambda op: op.value % 4 == 0, doubled)
    ops = invocations(f_map({"w": "write"}, kept))
    assert [(op.f, op.value) for op in ops] == [("write", 0), ("write", 4), ("write", 8)]
    assert names(invocations(on_threads({0}, map(None, [sleep(1)])))) == []


def test_on_update_can_replace_what_follows():
    def handler(this, test, ctx, event):
        return [WRITE, WRITE] if event.type == "fail" else this

    fail_third = iter(["ok", "ok", "fail", "ok", "ok"])

    def completion(op, random):
        return 1, replace(op, type=next(fail_third))

    gen = on_threads({0}, on_update(handler, repeat(READ)))
    assert names(invocations(gen, completion=completion)) == ["read"] * 3 + ["write"] * 2


def test_trace_changes_nothing():
    lines = []
    plain = mix(repeat(READ, times=20), repeat(WRITE, times=20))
    traced = trace("t", plain, sink=lines.append)
    assert simulate(traced) == simulate(plain)
    assert len(lines) > 100


# --- keys ----------------------------------------------------------------------------------------


def test_concurrent_keys_give_each_group_of_threads_its_own_key():
    make = lambda key: limit(20, mix(repeat(READ), repeat(WRITE)))  # noqa: E731
    gen = clients(concurrent_keys(3, ["a", "b", "c", "d", "e"], make))
    ops = simulate(gen, concurrency=6, completion=imperfect)
    begun = invocations(gen, concurrency=6, completion=imperfect)
    assert collections.Counter(op.key for op in begun) == dict.fromkeys("abcde", 20)
    groups = {key: {op.process % 6 // 3 for op in ops if op.key == key} for key in "abcde"}
    assert all(len(group) == 1 for group in groups.values())
    assert groups["a"] != groups["b"]  # at once
    order = list(dict.fromkeys(op.key for op in begun))
    assert order[2:] == ["c", "d", "e"]
    assert set(order[:2]) == {"a", "b"}


def test_concurrent_keys_take_from_an_endless_supply():
    gen = clients(concurrent_keys(1, itertools.count(), lambda key: limit(3, repeat(READ))))
    ops = invocations(gen, concurrency=4, max_ops=300)
    counts = collections.Counter(op.key for op in ops)
    assert sorted(counts) == list(range(len(counts)))  # no key is left out
    assert set(counts.values()) - {1, 2} == {3}
    assert sum(count < 3 for count in counts.values()) <= 4


def test_a_key_that_a_group_took_but_could_not_use_yet_is_not_lost():
    def make(key):
        later = {"f": "read", "time_ns": key * SECOND}
        return [later, later] if key % 2 else limit(2, repeat(READ))

    gen = clients(concurrent_keys(1, range(20), make))
    for seed in range(5):
        ops = invocations(gen, concurrency=3, seed=seed)
        assert collections.Counter(op.key for op in ops) == dict.fromkeys(range(20), 2)


def test_a_key_s_generator_learns_of_its_own_events_only():
    gen = clients(concurrent_keys(2, "abcdefgh", lambda key: until_ok(repeat(READ))))
    for seed in range(5):
        ops = simulate(gen, concurrency=4, completion=imperfect, seed=seed)
        for key in "abcdefgh":
            assert "ok" in [op.type for op in ops if op.key == key]


def test_concurrent_keys_want_whole_groups():
    with pytest.raises(HarnessError, match="multiple of 3"):
        invocations(clients(concurrent_keys(3, "ab", lambda key: READ)), concurrency=4)


def test_sequential_keys_one_after_the_other():
    gen = clients(sequential_keys(range(4), lambda key: limit(5, repeat(READ))))
    assert [op.key for op in invocations(gen, concurrency=3)] == [n // 5 for n in range(20)]


# --- golden and general -------------------------------------------------------------------------


def test_a_small_golden_history():
    """Read it like a story; it changes only if a law or the order of draws does."""
    gen = clients(
        phases(limit(3, mix(repeat(READ), repeat(WRITE))), {"f": "final"}),
        delay(2, flip_flop({"f": "start-kill"}, {"f": "stop-kill"})),
    )
    ops = simulate(gen, concurrency=2, completion=slow(1), seed=4)
    lines = [f"{op.time_ns // SECOND} {op.process:2} {op.type:6} {op.f}" for op in ops]
    assert lines == GOLDEN.strip().splitlines()


GOLDEN = """
0  0 invoke write
0 -1 info   start-kill
0  1 invoke write
1  0 ok     write
1 -1 info   start-kill
1  1 ok     write
1  0 invoke write
2  0 ok     write
2  0 invoke final
2 -1 info   stop-kill
3  0 ok     final
3 -1 info   stop-kill
"""


@pytest.mark.parametrize(
    "gen",
    [
        stagger(0.1, mix(repeat(READ), repeat(WRITE))),
        clients(reserve(2, repeat(READ), stagger(0.2, repeat(WRITE)))),
        clients(concurrent_keys(2, range(9), lambda key: limit(9, stagger(0.1, repeat(READ))))),
        clients(each_thread(time_limit(3, stagger(0.3, repeat(READ))))),
    ],
    ids=["mix", "reserve", "keys", "each"],
)
def test_a_generator_is_a_value(gen):
    """Run twice it gives the same; another seed gives another history."""
    first = simulate(gen, concurrency=4, completion=imperfect, max_ops=80)
    assert first == simulate(gen, concurrency=4, completion=imperfect, max_ops=80)
    assert first != simulate(gen, concurrency=4, completion=imperfect, max_ops=80, seed=1)


def test_asking_twice_from_the_same_stream_gives_the_same():
    gen = lift(mix(stagger(0.1, repeat(READ)), repeat(WRITE)))
    offers = []
    for _ in range(2):
        ctx = Context.start(3, Random(9).stream("x"))
        taken = []
        following = gen
        for _ in range(30):
            offer = following.op({}, ctx)
            assert isinstance(offer, Emit)
            taken.append(offer.op)
            following = offer.next
        offers.append(taken)
    assert offers[0] == offers[1]
