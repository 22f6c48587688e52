"""Composition, counts, node crashes, budgets."""

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.compose import compose, merge
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.node_crash import NodeCrashChecker
from splitbrain.checkers.stats import StatsChecker
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result, worst
from splitbrain.errors import HarnessError, RequestError
from splitbrain.history.history import History
from splitbrain.history.op import Op


class Fixed:
    def __init__(self, verdict, **fields):
        self.result = Result(verdict=verdict, summary=f"says {verdict}", **fields)

    def check(self, history, options, budget):
        return self.result


class Crashing:
    def check(self, history, options, budget):
        raise KeyError("oops")


def check(checker, ops=()):
    return checker.check(History(ops), {}, Budget(5))


def test_worst():
    assert worst([UNKNOWN, INVALID, VALID]) == INVALID
    assert worst([VALID, UNKNOWN]) == UNKNOWN


def test_compose_keeps_the_worst_and_everybodys_evidence():
    bad = Fixed(INVALID, anomalies=(Anomaly(kind="stale-read", explanation="e"),), kernel="k")
    result = check(compose({"a": Fixed(VALID), "b": Fixed(UNKNOWN, reason="budget"), "c": bad}))
    assert result.verdict == INVALID
    assert result.summary == "says invalid"
    assert [a.kind for a in result.anomalies] == ["stale-read"]
    assert list(result.checkers) == ["a", "b", "c"]
    assert result.kernel == "k"
    assert result.reason is None


def test_a_crash_is_unknown_with_its_traceback_and_hides_nothing():
    result = check(compose({"x": Crashing(), "y": Fixed(VALID)}))
    assert (result.verdict, result.reason) == (UNKNOWN, "checker-crashed")
    assert "KeyError" in result.checkers["x"].stats["traceback"]
    assert "crashed" in result.summary
    found = (Anomaly(kind="stale-read", explanation="e"),)
    bad = Fixed(INVALID, anomalies=found)
    assert check(compose({"x": Crashing(), "y": bad})).verdict == INVALID


class Answers:
    def __init__(self, answer):
        self.answer = answer

    def check(self, history, options, budget):
        return self.answer


EVIDENCE = (Anomaly(kind="stale-read", explanation="e", ops=(0,)),)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "it returned None, not a Result"),
        ({"valid?": True}, "not a Result"),
        (Result(verdict="fine", summary="s"), "'fine' is none of valid"),  # type: ignore[arg-type]
        (Result(verdict=INVALID, summary="s"), "invalid without an anomaly"),
        (Result(verdict=UNKNOWN, summary="s"), "unknown without a reason"),
        (Result(verdict=VALID, summary="s", stats={"a": object()}), "stats cannot be written"),
        (
            Result(
                verdict=INVALID,
                summary="s",
                anomalies=(Anomaly(kind="", explanation="", ops=(7,), key=object()),),
            ),
            "does not hold: 7",
        ),
        (
            Result(
                verdict=VALID,
                summary="s",
                checkers={"inner": Result(verdict=INVALID, summary="s")},
            ),
            "part inner: invalid without an anomaly",
        ),
    ],
)
def test_an_answer_that_is_none_is_told_and_whose_it_is(answer, told):
    ops = [Op(process=0, type="invoke", f="read")]
    broken = Answers(answer)
    with pytest.raises(HarnessError) as caught:
        check(compose({"theirs": broken, "y": Fixed(VALID)}), ops)
    assert told in str(caught.value)
    assert "checker theirs, Answers (" in str(caught.value)
    assert "test_verdicts.py:" in str(caught.value)
    result = check(compose({"theirs": broken, "y": Fixed(INVALID, anomalies=EVIDENCE)}), ops)
    assert (result.verdict, result.anomalies) == (INVALID, EVIDENCE)
    assert result.checkers["theirs"].reason == "broken-contract"


def test_all_that_is_wrong_is_told_at_once():
    anomaly = Anomaly(kind="", explanation="", ops=(7, 8), key=object())
    broken = Result(verdict=INVALID, summary="s", anomalies=(anomaly,), stats={"a": object()})
    with pytest.raises(HarnessError) as caught:
        check(compose({"one": Answers(broken), "two": Answers(None)}))
    for told in ("no kind", "no explanation", "does not hold: 7, 8", "key of anomaly 0",
                 "stats cannot", "checker two"):  # fmt: skip
        assert told in str(caught.value)


def test_a_malformed_request_is_passed_on():
    ops = [Op(process=0, type="invoke", f="frobnicate")]
    with pytest.raises(RequestError, match="frobnicate"):
        check(compose({"l": LinearizableChecker("register")}), ops)


def test_a_malformed_request_does_not_hide_an_anomaly():
    ops = [Op(process=0, type="invoke", f="frobnicate")]
    anomaly = Anomaly(kind="node-crash", explanation="n1 crashed")
    bad = Fixed(INVALID, anomalies=(anomaly,))
    for parts in ({"l": LinearizableChecker("register"), "n": bad},
                  {"n": bad, "l": LinearizableChecker("register")}):  # fmt: skip
        result = check(compose(parts), ops)
        assert (result.verdict, result.anomalies) == (INVALID, (anomaly,))
        assert "frobnicate" in result.checkers["l"].summary


def test_nothing_to_check():
    assert merge({}).verdict == VALID
    assert check(compose({})).summary == "nothing to check"


def test_stats():
    ops = [
        Op(process=0, type="invoke", f="read"),
        Op(process=1, type="invoke", f="write", value=1),
        Op(process=-1, type="info", f="start-kill"),
        Op(process=0, type="ok", f="read", value=1),
        Op(process=1, type="fail", f="write", value=1, error="no-leader: n1"),
        Op(process=0, type="invoke", f="read"),
    ]
    result = check(StatsChecker(), ops)
    assert result.verdict == VALID
    assert result.stats["total"] == {"invoke": 3, "ok": 1, "fail": 1, "info": 1}
    assert result.stats["by_f"]["read"] == {"invoke": 2, "ok": 1, "fail": 0, "info": 1}
    assert result.stats["errors"] == {"no-leader": 1}
    assert "3 operations" in result.summary


def test_node_crash():
    assert check(NodeCrashChecker()).verdict == VALID
    log = [f"line {n}" for n in range(50)]
    ops = [
        Op(process=-1, type="info", f="start-kill", node="n1"),
        Op(process=-1, type="info", f="node-crash", node="n2", time_ns=12_410_000_000,
           value={"exit": 1, "log": log, "reason": "commit beyond the last index"}),
        Op(process=-1, type="info", f="node-crash", node="n2", time_ns=13_000_000_000),
    ]  # fmt: skip
    result = check(NodeCrashChecker(), ops)
    assert result.verdict == INVALID
    first = result.anomalies[0]
    assert first.kind == "node-crash"
    assert first.ops == (1,)
    assert first.explanation == (
        "node n2 crashed by itself at 12.410 s (exit status 1): commit beyond the last index"
    )
    assert first.picture["log"][-1] == "line 49"
    assert len(first.picture["log"]) == 20
    assert result.stats["crashes"] == {"n2": 2}
