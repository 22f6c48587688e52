"""Every engine against the reference, which tries every order."""

import doctest
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitbrain.checkers.linearizable.antichain
import splitbrain.checkers.linearizable.frontier
import splitbrain.checkers.linearizable.model
import splitbrain.checkers.linearizable.synthetic
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable import jit
from splitbrain.checkers.linearizable.antichain import Antichains, Counts
from splitbrain.checkers.linearizable.checker import decide
from splitbrain.checkers.linearizable.jit import check_jit
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.checkers.linearizable.prepare import (
    OPEN,
    Call,
    calls_of,
    is_linearization,
)
from splitbrain.checkers.linearizable.reference import check_reference
from splitbrain.checkers.linearizable.shrink import shrink
from splitbrain.checkers.linearizable.synthetic import Shape, broken, synthetic
from splitbrain.checkers.linearizable.wgl import check_wgl
from splitbrain.checkers.linearizable.zones import check_zones, zones_apply
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID
from splitbrain.env.random import Random
from splitbrain.history.history import History
from splitbrain.history.op import Op

MODEL = make_model("kv")
REFERENCE_STEPS = 20_000
FUNCTIONS = [
    ("read", "write"),
    ("read", "write"),
    ("read", "write", "cas"),
    ("read", "write", "cas", "cas", "delete"),
    ("read", "read", "cas"),
    ("read", "append"),
    ("read", "append", "write", "cas"),
    ("read", "append", "delete"),
]


def mismatched(history):
    """Failed cas without a value seen, marked as observed mismatches."""
    return History(
        Op(**{**{f: getattr(o, f) for f in o.__struct_fields__}, "ext": {"mismatch": True}})
        if o.error == "cas-mismatch" and not o.ext
        else o
        for o in history
    )


def histories(seed, calls_max):
    """A linearizable history and two broken ones, of a shape drawn from the seed."""
    stream = Random(seed).stream("differential")
    shape = Shape(
        calls=stream.randrange(1, calls_max),
        processes=stream.randrange(1, 8),
        functions=stream.choice(FUNCTIONS),
        values=stream.choice([0, 2, 3, 5]),
        crash=stream.choice([0, 0.2, 0.5]),
        refuse=0.1,
        observe=stream.random() < 0.5,
    )
    history = synthetic(stream, shape)
    if stream.random() < 0.3:
        history = mismatched(history)
    if stream.random() < 0.3:
        history = History(list(history)[: stream.randrange(len(history))])
    once = broken(stream, history)
    return history, once, broken(stream, once)


def compare(seed, calls_max):
    """All engines on the histories of one seed; returns their verdicts."""
    verdicts = []
    for number, history in enumerate(histories(seed, calls_max)):
        calls = calls_of(history, MODEL)
        expected = check_reference(calls, MODEL, Budget(60), REFERENCE_STEPS)
        if expected.verdict == UNKNOWN:
            continue  # rare, and only among the larger ones: the tests count the verdicts
        assert number > 0 or expected.verdict == VALID, f"seed {seed}: made linearizable"
        outcomes = [
            expected,
            check_wgl(calls, MODEL, Budget(60)),
            check_jit(calls, MODEL, Budget(60)),
        ]
        if zones_apply(calls, MODEL):
            outcomes.append(check_zones(calls, MODEL))
        for outcome in outcomes:
            assert outcome.verdict == expected.verdict, (
                f"seed {seed}/{number}: {outcome.engine}"
            )
            if outcome.order is not None:
                assert is_linearization(calls, outcome.order, MODEL), f"seed {seed}/{number}"
            assert all(calls[n].crashed for n in outcome.needed)
        if expected.verdict == INVALID and seed % 5 == 0:
            few, final = shrink(calls, MODEL, Budget(60))
            assert final.verdict == INVALID
            again = check_reference(few, MODEL, Budget(60), REFERENCE_STEPS)
            assert again.verdict in (INVALID, UNKNOWN)
            blamed = [calls[n] for n in outcomes[-1].blamed]
            assert not blamed or len(blamed) <= 6
        verdicts.append(expected.verdict)
    return verdicts


@pytest.fixture(params=[1, 32])
def width(request, monkeypatch):
    """A beam of one makes every search restart; the answers must not change."""
    monkeypatch.setattr(jit, "WIDTH_FIRST", request.param)
    return request.param


def test_engines_agree_on_thousands_of_small_histories(width):
    verdicts = [v for seed in range(width * 7, 3000 + width * 7) for v in compare(seed, 14)]
    assert verdicts.count(INVALID) > 1000
    assert verdicts.count(VALID) > 4000
    assert len(verdicts) > 8900


def test_engines_agree_on_some_larger_histories():
    verdicts = [v for seed in range(10_000, 10_250) for v in compare(seed, 26)]
    assert verdicts.count(INVALID) > 50
    assert len(verdicts) > 600


@pytest.mark.deep
@pytest.mark.timeout(7200)
def test_engines_agree_on_a_hundred_thousand_histories():
    decided = sum(len(compare(seed, 20)) for seed in range(20_000, 54_000))
    assert decided > 95_000


# --- histories that Hypothesis draws, and shrinks, event by event --------------------------------

ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["read", "write", "not"]), st.integers(0, 2)),
    st.tuples(st.just("cas"), st.integers(0, 2), st.integers(0, 2)),
)


TEXTS = st.sampled_from(["", "a", "b", "ab", "ba", "aa"])
GROWING = st.one_of(
    st.tuples(st.sampled_from(["read", "write", "append", "append"]), TEXTS),
    st.tuples(st.just("cas"), TEXTS, TEXTS),
)


@st.composite
def drawn_calls(draw, actions=ACTIONS):
    """Calls with arbitrary overlap and arbitrary results."""
    count = draw(st.integers(1, 7))
    places = draw(st.permutations([*range(count), *range(count)]))
    bounds = {}
    for position, number in enumerate(places):
        bounds.setdefault(number, []).append(position)
    calls = []
    for begin, end in sorted(bounds.values()):
        action = draw(actions)
        crashed = action[0] in ("write", "cas", "append") and draw(st.booleans())
        calls.append(
            Call(
                number=len(calls), begin=begin, end=OPEN if crashed else end, action=action,
                invoke=Op(index=begin, process=len(calls), type="invoke", f=action[0]),
            )
        )  # fmt: skip
    return calls


@settings(max_examples=600, deadline=None)
@given(drawn_calls(), st.sampled_from([None, 0]))
def test_engines_agree_on_drawn_calls(calls, initial):
    model = make_model("cas-register", initial=initial)
    expected = check_reference(calls, model, Budget(60)).verdict
    assert check_wgl(calls, model, Budget(60)).verdict == expected
    assert check_jit(calls, model, Budget(60)).verdict == expected
    if zones_apply(calls, model):
        assert check_zones(calls, model).verdict == expected


@settings(max_examples=600, deadline=None)
@given(drawn_calls(GROWING), st.sampled_from([None, "", "a"]))
def test_engines_agree_on_drawn_appends(calls, initial):
    model = make_model("kv", initial=initial)
    expected = check_reference(calls, model, Budget(60)).verdict
    assert check_wgl(calls, model, Budget(60)).verdict == expected
    assert check_jit(calls, model, Budget(60)).verdict == expected


@pytest.mark.parametrize("early", [("append", "b"), ("write", "b")])
@pytest.mark.parametrize("inner", [("append", "a"), ("append", "")])
def test_an_append_hides_nothing_that_was_acknowledged(early, inner):
    """The second call only adds to what there is, so the first must show in a later read."""

    def call(number, begin, end, *action):
        invoke = Op(index=begin, process=number, type="invoke", f=action[0])
        return Call(number=number, begin=begin, end=end, action=action, invoke=invoke)

    calls = [call(0, 0, 3, *early), call(1, 1, 2, *inner), call(2, 4, 5, "read", inner[1])]
    assert check_reference(calls, MODEL, Budget(5)).verdict == INVALID
    assert check_jit(calls, MODEL, Budget(5)).verdict == INVALID


def made(*spans):
    """Calls from (begin, end, action); end None for a crashed one."""
    return [
        Call(
            number=number, begin=begin, end=OPEN if end is None else end, action=action,
            invoke=Op(index=begin, process=number, type="invoke", f=action[0]),
        )
        for number, (begin, end, action) in enumerate(spans)
    ]  # fmt: skip


LINEARIZABLE = {
    # 1, write 16, then the crashed write of 1 once more, which hides 16, then the crashed cas
    "a crashed write of what is there hides another": made(
        (0, None, ("write", 1)),
        (1, None, ("cas", 1, 8)),
        (2, 3, ("read", 1)),
        (4, None, ("write", 1)),
        (5, 8, ("write", 16)),
        (6, 7, ("read", 8)),
        (9, 10, ("cas", 8, 17)),
    ),
    "what nobody asks for is what a failed cas saw: appends": made(
        (1, 5, ("append", "b")),
        (2, 3, ("append", "c")),
        (4, 7, ("not", "ab")),
        (8, 9, ("not", "cb")),
    ),
    "what nobody asks for is what a failed cas saw: a crashed cas": made(
        (0, None, ("cas", MODEL.init(), "b")),
        (1, 2, ("append", "c")),
        (3, 4, ("not", "c")),
    ),
}


@pytest.mark.parametrize("name", LINEARIZABLE)
def test_a_detour_that_only_its_absence_would_show(name):
    calls = LINEARIZABLE[name]
    assert check_reference(calls, MODEL, Budget(5)).verdict == VALID
    assert check_wgl(calls, MODEL, Budget(5)).verdict == VALID
    assert check_jit(calls, MODEL, Budget(5)).verdict == VALID


def test_ties_count_as_overlap():
    def call(number, begin, end, *action):
        invoke = Op(index=begin, process=number, type="invoke", f=action[0])
        return Call(number=number, begin=begin, end=end, action=action, invoke=invoke)

    write = call(0, 0, 5, "write", 1)
    assert check_zones([write, call(1, 5, 9, "read", MODEL.init())], MODEL).verdict == VALID
    assert check_zones([write, call(1, 6, 9, "read", MODEL.init())], MODEL).verdict == INVALID


# --- bounds --------------------------------------------------------------------------------------


HARD = Shape(calls=1500, processes=30, functions=("read", "write", "cas"), values=6, crash=0.1)


def hard_calls():
    """Thirty clients on one key, a tenth of unknown outcome, and a last read that fits no order.

    To refute it an engine has to try everything before that read.
    """
    history = synthetic(Random(3).stream("hard"), HARD)
    last = max(o.index for o in history if o.type == "ok" and o.f == "read")
    return calls_of(
        History(
            msgspec.structs.replace(o, value=77) if o.index == last else o for o in history
        ),
        MODEL,
    )


def test_a_deep_search_may_decide_what_a_wide_one_cannot():
    calls = calls_of(synthetic(Random(3).stream("hard"), HARD), MODEL)
    assert decide(calls, MODEL, "auto", Budget(60), 5_000).verdict == UNKNOWN
    outcome = decide(calls, MODEL, "auto", Budget(60))
    assert (outcome.verdict, outcome.engine) == (VALID, "wgl")
    assert is_linearization(calls, outcome.order, MODEL)


@pytest.mark.parametrize("engine", ["jit", "wgl", "reference"])
def test_time_is_obeyed(engine):
    calls = hard_calls()
    began = time.monotonic()
    outcome = decide(calls, MODEL, engine, Budget(1.0))
    spent = time.monotonic() - began
    assert (outcome.verdict, outcome.why) == (UNKNOWN, "time")
    # The reference first draws its graph of all pairs, which is not bounded by the budget.
    assert spent < (1.5 if engine != "reference" else 8.0)


@pytest.mark.parametrize("engine", ["jit", "wgl", "reference"])
def test_memory_is_obeyed(engine):
    outcome = decide(hard_calls()[:400], MODEL, engine, Budget(60, megabytes=0.5))
    assert (outcome.verdict, outcome.why) == (UNKNOWN, "memory")


@pytest.mark.parametrize("engine", ["jit", "wgl", "reference"])
def test_steps_are_obeyed(engine):
    outcome = decide(hard_calls()[:400], MODEL, engine, Budget(60), 500)
    assert (outcome.verdict, outcome.why) == (UNKNOWN, "steps")
    assert outcome.explored < 2000


def test_ten_thousand_operations_of_a_register_take_no_time():
    shape = Shape(calls=10_000, processes=30, crash=0.05)
    calls = calls_of(synthetic(Random(4).stream("long"), shape), MODEL)
    outcome = decide(calls, MODEL, "auto", Budget(5))
    assert (outcome.verdict, outcome.engine) == (VALID, "zones")


# --- parts ---------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), max_size=12))
def test_antichains_keep_the_minima(vectors):
    counts = Counts(3)
    chains = Antichains(counts)

    def pack(vector):
        packed = 0
        for which, count in enumerate(vector):
            for _ in range(count):
                packed = counts.add(packed, which)
        return packed

    def leq(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True))

    for vector in vectors:
        chains.insert("key", pack(vector))
    minima = {tuple(v) for v in vectors if not any(leq(w, v) and w != v for w in vectors)}
    assert sorted(v for _, v in chains) == sorted(pack(v) for v in minima)
    assert chains.size == len(minima)


@pytest.mark.parametrize(
    "module",
    [
        splitbrain.checkers.linearizable.antichain,
        splitbrain.checkers.linearizable.frontier,
        splitbrain.checkers.linearizable.model,
        splitbrain.checkers.linearizable.synthetic,
    ],
)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0
