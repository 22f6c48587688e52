"""The states possible before a failing call, against every linear extension of the order."""

import doctest

import msgspec
import pytest

import splitbrain.checkers.linearizable.possible as module
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import NIL, make_model
from splitbrain.checkers.linearizable.possible import possible_states, why_not
from splitbrain.checkers.linearizable.prepare import OPEN, Call, calls_of, is_linearization
from splitbrain.checkers.linearizable.reference import check_reference, real_time_order
from splitbrain.checkers.linearizable.states import states_picture
from splitbrain.checkers.linearizable.synthetic import Shape, broken, synthetic
from splitbrain.checkers.verdict import INVALID
from splitbrain.env.random import Random
from splitbrain.history.history import History
from splitbrain.history.op import Op

KV = make_model("kv")
FUNCTIONS = [
    ("read", "write"),
    ("read", "write", "write"),
    ("read", "write", "cas"),
    ("read", "write", "cas", "cas", "delete"),
    ("read", "append"),
    ("read", "append", "write", "cas"),
]


class Deque:
    """A model of another family: a queue of at most two, whose reads are nothing special."""

    name, family = "pair", None

    def init(self):
        return ()

    def step(self, state, action):
        if action[0] == "write":
            return (*state, action[1]) if len(state) < 2 else None
        if action[0] == "read":
            return state[1:] if state and state[0] == action[1] else None
        return None

    def describe(self, action):
        return f"{action[0]} {action[1]}"


def history_of(stream):
    shape = Shape(
        calls=stream.randrange(2, 13),
        processes=stream.randrange(1, 6),
        functions=stream.choice(FUNCTIONS),
        values=stream.choice([0, 2, 3]),
        crash=stream.choice([0, 0.2, 0.4]),
        observe=stream.random() < 0.5,
    )
    return broken(stream, broken(stream, synthetic(stream, shape)))


def until(calls, end):
    """The calls begun before the event ``end``; those that had not ended by it are open."""
    early = [call for call in calls if call.begin < end]
    return tuple(
        msgspec.structs.replace(call, number=n, end=call.end if call.end < end else OPEN)
        for n, call in enumerate(early)
    )


def reachable(calls, model):
    """Every state after an order that holds all completed calls, and some of the others."""
    graph = real_time_order(calls)
    before = [set(graph.predecessors(call.number)) for call in calls]
    completed = {call.number for call in calls if not call.crashed}
    seen, found, todo = set(), set(), [(frozenset(), model.init())]
    while todo:
        placed, state = node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if completed <= placed:
            found.add(state)
        for call in calls:
            if call.number not in placed and before[call.number] <= placed:
                after = model.step(state, call.action)
                if after is not None:
                    todo.append((placed | {call.number}, after))
    return found


def first_failure(calls, model):
    """The completed call at whose end the reference finds no order any more, or None."""
    for call in sorted((c for c in calls if not c.crashed), key=lambda call: call.end):
        upto = until(calls, call.end + 1)
        if check_reference(upto, model, Budget(20)).verdict == INVALID:
            return call
    return None


def compare(calls, model):
    """True if the calls are not linearizable and all that is claimed of them is so."""
    said = possible_states(calls, model, Budget(20))
    failed = first_failure(calls, model)
    if failed is None:
        assert (said.failed, said.states, said.why) == (None, (), None)
        return False
    assert said.failed == failed.number
    upto = until(calls, failed.end)
    states = [possibility.state for possibility in said.states]
    assert len(states) == len(set(states))
    assert set(states) == reachable(upto, model)
    for possibility in said.states:
        assert is_linearization(upto, possibility.order, model)
        state = model.init()
        for number in possibility.order:
            state = model.step(state, calls[number].action)
        assert state == possibility.state
        assert failed.number not in possibility.order
        assert why_not(model, possibility.state, failed.action) is not None
    return True


@pytest.mark.parametrize("seed", range(8))
def test_the_states_are_those_of_every_order(seed):
    stream = Random(seed).stream("possible")
    invalid = 0
    for _ in range(250):
        for part in KV.split(history_of(stream)).values():
            invalid += compare(calls_of(part, KV), KV)
    assert invalid >= 40, "too few broken histories to mean anything"


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 160))
def test_the_states_are_those_of_every_order_more_often(seed):
    test_the_states_are_those_of_every_order(seed)


def test_a_model_of_another_family():
    """No reduction that only registers allow is made."""
    model, invalid = Deque(), 0
    stream = Random(4).stream("possible-other")
    for _ in range(120):
        history = synthetic(stream, Shape(calls=7, processes=4, crash=0.2, values=2))
        calls = calls_of(history, KV)
        assert all(call.action[0] in ("read", "write") for call in calls)
        invalid += compare(calls, model)
    assert invalid >= 20


def call(number, begin, end, *action):
    invoke = Op(index=begin, time_ns=begin, process=number, type="invoke", f=action[0])
    return Call(number=number, begin=begin, end=end, action=action, invoke=invoke)


def test_a_hidden_write_stands_before_the_one_that_hid_it():
    calls = (
        call(0, 0, 5, "write", 1),
        call(1, 1, 6, "write", 2),
        call(2, 2, 7, "write", 3),
        call(3, 8, 9, "read", 4),
    )
    said = possible_states(calls, make_model("register"), Budget(5))
    assert said.failed == 3
    ends = {possibility.state: possibility.order for possibility in said.states}
    assert set(ends) == {1, 2, 3}
    assert all(sorted(order) == [0, 1, 2] for order in ends.values())


def test_observations_that_nobody_asked_about_are_left_out():
    """Two stale reads; a reader is told of the second alone."""
    calls = (
        call(0, 0, 1, "write", 1),
        call(1, 2, 3, "write", 2),
        call(2, 4, 5, "read", 1),
        call(3, 6, 7, "write", 3),
        call(4, 8, 9, "read", 2),
    )
    model = make_model("register")
    assert possible_states(calls, model, Budget(5)).failed == 2
    said = possible_states(calls, model, Budget(5), about={1, 3, 4})
    assert (said.failed, said.left_out) == (4, (2,))
    assert [possibility.state for possibility in said.states] == [3]
    assert possible_states(calls, model, Budget(5), about={3, 4}).failed == 4


def test_a_cas_is_never_left_out():
    """It changes the state: without it the rest would be another history."""
    calls = (call(0, 0, 1, "cas", 7, 8), call(1, 2, 3, "read", 9))
    assert possible_states(calls, make_model("cas-register"), Budget(5), about={1}).failed == 0


def test_crashed_writes_are_states_of_their_own():
    calls = (
        call(0, 0, 1, "write", 1),
        call(1, 2, OPEN, "write", 2),
        call(2, 3, OPEN, "write", 2),
        call(3, 4, OPEN, "cas", 2, 5),
        call(4, 6, 7, "read", 9),
    )
    said = possible_states(calls, make_model("cas-register"), Budget(5))
    assert {p.state: p.order for p in said.states} == {1: (0,), 2: (0, 1), 5: (0, 1, 3)}


def test_forty_writes_of_unknown_outcome_cost_little():
    calls = [call(0, 0, 1, "write", 0)]
    calls += [call(n, n + 1, OPEN, "write", n) for n in range(1, 41)]
    calls += [call(41, 60, 61, "read", "never")]
    said = possible_states(calls, make_model("register"), Budget(5))
    assert said.failed == 41
    assert len(said.states) == 41


def test_budgets_are_obeyed_and_said():
    appends = [call(n, n, 100 + n, "append", str(n)) for n in range(14)]
    model = make_model("kv")
    calls = (*appends, call(14, 90, 95, "read", "never"))
    said = possible_states(calls, model, Budget(0.05))
    assert (said.failed, said.states, said.why) == (None, (), "time")


def test_too_many_configurations_are_said(monkeypatch):
    monkeypatch.setattr(module, "CONFIGURATIONS_MAX", 100)
    appends = [call(n, n, 100 + n, "append", str(n)) for n in range(10)]
    calls = (*appends, call(10, 90, 95, "read", "never"))
    assert possible_states(calls, make_model("kv"), Budget(10)).why == "size"


@pytest.mark.parametrize(
    ("state", "action", "reason"),
    [
        (3, ("read", 5), "read 5 needs the value 5; here it is 3"),
        (NIL, ("read", "a"), 'read "a" needs the value "a"; here it is nil'),
        (3, ("cas", 2, 4), "cas 2 to 4 needs the value 2; here it is 3"),
        (2, ("not", 2), "a failed cas from 2 needs another value than 2; here it is 2"),
        (2, ("write", 2), None),
    ],
)
def test_reasons(state, action, reason):
    assert why_not(make_model("kv"), state, action) == reason


def test_reasons_of_other_models():
    assert why_not(Deque(), (1,), ("read", 2)) == "read 2 is impossible in state [1]"


def test_docstrings():
    assert doctest.testmod(module).failed == 0


# --- as a reader is told ------------------------------------------------------------------------


def told(script, model="cas-register"):
    """The picture of the one anomaly of a history of lines ``process type f value``."""
    ops = []
    for line in script.strip().splitlines():
        process, kind, f, value = line.split()
        parts = [None if part == "nil" else int(part) for part in value.split(">")]
        ops.append(
            Op(process=int(process), type=kind, f=f, value=parts if f == "cas" else parts[0],
               key="x", time_ns=len(ops) * 1_000_000)
        )  # fmt: skip
    result = LinearizableChecker(model).check(History(ops), {}, Budget(10))
    (anomaly,) = result.anomalies
    return anomaly, {name: item for name, item in anomaly.picture.items() if name != "ops"}


def test_golden_stale_read():
    anomaly, picture = told(
        """
        0 invoke write 3
        0 ok write 3
        5 invoke write 7
        5 info write 7
        1 invoke write 9
        1 ok write 9
        4 invoke read nil
        4 ok read 9
        7 invoke read nil
        7 ok read 3
        """
    )
    assert anomaly.kind == "stale-read"
    because = "read 3 needs the value 3; here it is"
    assert picture == {
        "hidden": 0, "op": 9, "scope": "whole", "calls": 5, "left_out": 0, "more_states": 0,
        "order": [[0, "3"], [4, "9"], [6, "9"]],
        "states": [
            {"state": "9", "order": [0, 4, 6], "earlier": 0, "open": [], "more_next": 0,
             "next": [{"op": 8, "what": "read 3", "why": f"{because} 9"},
                      {"op": 2, "what": "write 7", "leads": "7"}]},
            {"state": "7", "order": [0, 4, 6, 2], "earlier": 0, "more_next": 0,
             "open": [{"op": 2, "what": "write 7", "crashed": True}],
             "next": [{"op": 8, "what": "read 3", "why": f"{because} 7"}]},
        ],
        "why": [f"{because} 9", f"{because} 7"],
    }  # fmt: skip


def test_golden_lost_write():
    anomaly, picture = told(
        """
        0 invoke write 1
        0 ok write 1
        1 invoke write 2
        1 ok write 2
        2 invoke read nil
        2 ok read 1
        3 invoke read nil
        3 ok read 1
        """
    )
    assert anomaly.kind == "lost-write"
    assert picture["order"] == [[0, "1"], [2, "2"]]
    assert [state["state"] for state in picture["states"]] == ["2"]
    assert picture["why"] == ["read 1 needs the value 1; here it is 2"]
    assert (picture["op"], picture["left_out"]) in ((5, 0), (7, 1))


def test_golden_impossible_cas():
    anomaly, picture = told(
        """
        0 invoke write 3
        0 ok write 3
        1 invoke cas 2>4
        2 invoke write 2
        2 fail write 2
        1 ok cas 2>4
        """
    )
    assert anomaly.kind == "failed-write-visible"
    assert picture["states"][0]["state"] == "3"
    assert picture["why"] == ["cas 2 to 4 needs the value 2; here it is 3"]


def test_what_cannot_be_listed_says_why(monkeypatch):
    monkeypatch.setattr(module, "CONFIGURATIONS_MAX", 3)
    calls = [call(n, n, 100 + n, "append", str(n)) for n in range(6)]
    calls += [call(6, 50, 51, "read", "never")]
    picture = states_picture(calls, calls, calls, make_model("kv"), Budget(5))
    assert picture["states"] == []
    assert picture["unstated"].startswith("too many orders are possible")
    picture = states_picture(calls, calls, calls, make_model("kv"), Budget(0))
    assert "within the time" in picture["unstated"]


def test_where_the_whole_is_too_much_the_few_are_looked_at():
    """The failing call of the whole is not one that a reader is told of: a cas cannot be left out."""
    whole = (
        call(0, 0, 1, "cas", 7, 8), call(1, 2, 3, "write", 1), call(2, 4, 5, "write", 2),
        call(3, 6, 7, "read", 1),
    )  # fmt: skip
    few = tuple(msgspec.structs.replace(c, number=n) for n, c in enumerate(whole[1:]))
    picture = states_picture(whole, few, few, make_model("cas-register"), Budget(5))
    assert (picture["scope"], picture["op"], picture["calls"]) == ("few", 6, 3)
    assert picture["why"] == ["read 1 needs the value 1; here it is 2"]
