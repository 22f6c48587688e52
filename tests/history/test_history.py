"""Histories: pairing, views, columns."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.history.history import History, Mispaired, freeze, renumbered
from splitbrain.history.op import Op


def op(process, kind, f="read", **fields):
    return Op(process=process, type=kind, f=f, **fields)


def sample():
    return History(
        [
            op(0, "invoke", "write", key="x", value=1, time_ns=10),
            op(-1, "info", "start-partition", value={"id": "p1"}, time_ns=11),
            op(1, "invoke", "read", key="y", time_ns=12),
            op(1, "ok", "read", key="y", value=None, time_ns=13),
            op(-1, "info", "start-partition", value={"id": "p1", "proof": []}, time_ns=14),
            op(0, "info", "write", key="x", value=1, error="timeout", time_ns=15),
            op(2, "invoke", "read", key="x", time_ns=16),
        ]
    )


def test_pairs_by_process_and_faults_by_id():
    h = sample()
    assert [h.completion(i) for i in range(7)] == [5, 4, 3, None, None, None, None]
    assert [h.invocation(i) for i in range(7)] == [None, None, None, 2, 1, 0, None]
    pairs = [(i.index, c and c.index) for i, c in h.invocations()]
    assert pairs == [(0, 5), (2, 3), (6, None)]


def test_views_keep_indexes_and_answer_for_the_whole():
    h = sample()
    x = h.by_key()["x"]
    assert [o.index for o in x] == [0, 5, 6]
    assert x[1].index == 5
    assert x[1:][0].index == 5
    assert x.at(3).key == "y"
    assert x.completion(0) == 5
    assert x.whole is h
    assert [o.index for o in h.nemesis_ops()] == [1, 4]
    assert [o.index for o in h.client_ops().filter(lambda o: o.type == "ok")] == [3]
    assert list(h.by_key()) == ["x", "y"]


def test_a_completion_without_key_goes_with_its_invocation():
    h = History([op(0, "invoke", key=[1, 2]), op(0, "ok", value=3)])
    assert {key: len(part) for key, part in h.by_key().items()} == {(1, 2): 2}


def test_columns_intern_and_keep_true_apart_from_one():
    h = History([op(0, "invoke", value=True), op(0, "ok", value=1), op(1, "invoke", value=[1])])
    c = h.columns()
    assert [c.values[i] for i in c.value] == [True, 1, [1]]
    assert c.values[c.value[0]] is True
    assert c.values[0] is None
    assert c.key.tolist() == [0, 0, 0]
    assert c.completion.tolist() == [1, -1, -1]
    assert c.type.tolist() == [0, 1, 0]
    view = h.filter(lambda o: o.index != 1).columns()
    assert view.index.tolist() == [0, 2]
    assert view.completion.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("ops", "words"),
    [
        ([op(0, "ok")], "without an open invocation"),
        ([op(0, "invoke"), op(0, "invoke")], "is open"),
        ([op(0, "invoke"), op(0, "ok", "write")], "had invoked read"),
        ([op(0, "invoke", index=3)], "index is 3, expected 0"),
    ],
)
def test_what_is_no_history_is_refused(ops, words):
    with pytest.raises(Mispaired, match=words):
        History(ops)
    with pytest.raises(ValueError):
        History(ops)


def test_a_part_becomes_whole_only_when_asked():
    part = sample()[2:4]
    with pytest.raises(Mispaired):
        History(part)
    assert [o.index for o in renumbered(part)] == [0, 1]


def test_immutable():
    with pytest.raises((AttributeError, TypeError)):
        sample()[0].value = 2
    with pytest.raises(TypeError):
        sample()[0] = op(0, "invoke")


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["ok", "fail", "info"]))))
def test_pairing_is_an_involution(steps):
    open_now, ops = set(), []
    for process, end in steps:
        ops.append(op(process, end if process in open_now else "invoke"))
        open_now ^= {process}
    h = History(ops)
    for o in h:
        if o.type == "invoke":
            done = h.completion(o.index)
            assert done is None or (
                h.invocation(done) == o.index and h[done].process == o.process
            )
            assert (done is None) == (
                o.process in open_now and all(q.process != o.process for q in h[o.index + 1 :])
            )
        else:
            assert h.completion(o.index) is None
            assert h[h.invocation(o.index)].process == o.process


def test_freeze_is_hashable_and_ordered():
    assert freeze({"b": [1], "a": {2}}) == freeze({"a": {2}, "b": (1,)})
    hash(freeze([{"a": [1, {"b": {1, 2}}]}]))


@pytest.mark.parametrize("kind", ["invoke", "ok", "fail"])
def test_a_client_may_not_call_itself_the_nemesis(kind):
    """Its operations would be left out, and what they wrote be a phantom."""
    with pytest.raises(Mispaired, match="number clients from 0"):
        History([Op(process=-1, type=kind, f="write", value=1)])


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), ([1], [True]), ({"a": 1}, [["a", 1]]), ({}, [])]
)
def test_what_json_tells_apart_stays_apart(one, other):
    assert freeze(one) != freeze(other)
    ops = [Op(process=0, type="invoke", f="read", key=one), Op(process=0, type="ok", f="read")]
    more = [Op(process=1, type="invoke", f="read", key=other)]
    assert [len(part) for part in History([*ops, *more]).by_key().values()] == [2, 1]


def test_equal_histories_have_equal_hashes_whatever_their_values():
    assert hash(sample()) == hash(sample())
    assert sample() == sample()
    assert sample() != sample()[1:]


def test_op_is_replaced_not_changed():
    h = sample()
    assert msgspec.structs.replace(h[0], value=9).value == 9
    assert h[0].value == 1
