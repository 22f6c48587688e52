"""The verdict as one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.report import ReportData
from splitbrain.results.sentence import verdict_sentence

GetSample = Callable[[str], ReportData]
SECOND = 1_000_000_000


def sentence(data: ReportData) -> str:
    return verdict_sentence(data.result, data.history, data.spec, data.faults)


def stale(history_end_s: float = 13.0, heal_s: float | None = None) -> tuple[Result, History]:
    cut = [[a, b] for n in ("n1", "n3") for a, b in (("n2", n), (n, "n2"))]
    value = {"id": "p", "targets": ["n2"], "parameters": {"cut": cut}}

    def nemesis(at_s: float, f: str) -> Op:
        return Op(time_ns=int(at_s * SECOND), process=NEMESIS, type="info", f=f, value=value)

    def client(at_s: float, process: int, kind: str, f: str, seen: object = None) -> Op:
        return Op(
            time_ns=int(at_s * SECOND),
            process=process,
            type=kind,
            f=f,
            key=17,
            value=seen,  # type: ignore[arg-type]
        )

    events = [
        nemesis(1.0, "start-partition"), nemesis(1.1, "start-partition"),
        client(12.0, 4, "invoke", "write", 9), client(12.02, 4, "ok", "write", 9),
        client(12.4, 7, "invoke", "read"), client(12.41, 7, "ok", "read", 3),
    ]  # fmt: skip
    if heal_s is not None:
        events += [nemesis(heal_s, "stop-partition"), nemesis(heal_s, "stop-partition")]
    history = History(sorted(events, key=lambda op: op.time_ns))
    ops = tuple(op.index for op in history if op.process != NEMESIS and op.type == "ok")
    anomaly = Anomaly(
        kind="stale-read", key=17, ops=ops,
        explanation="process 7 read 3 at 12.41 s although 9 had been written by 12.02 s. More.",
    )  # fmt: skip
    result = Result(verdict="invalid", summary="not linearizable", anomalies=(anomaly,))
    return result, history


SPEC = TestSpec(workload="register", nodes=("n1", "n2", "n3"))


def test_invalid_says_what_when_and_under_which_fault() -> None:
    result, history = stale()
    assert verdict_sentence(result, history, SPEC) == (
        "INVALID: a stale read of key 17: process 7 read 3 at 12.41 s although 9 had been written "
        "by 12.02 s; n2 was cut off from the others."
    )


def test_a_fault_that_ended_shortly_before_is_named() -> None:
    result, history = stale(heal_s=10.0)
    assert verdict_sentence(result, history, SPEC).endswith(
        "; n2 was cut off from the others until 2.02 s before."
    )


def test_a_fault_long_past_is_not_named() -> None:
    result, history = stale(heal_s=3.0)
    assert verdict_sentence(result, history, SPEC).endswith("written by 12.02 s.")


def test_without_a_history_the_anomaly_still_speaks() -> None:
    result, _ = stale()
    assert "although 9 had been written" in verdict_sentence(result)


def test_a_key_in_the_explanation_is_not_said_twice() -> None:
    anomaly = Anomaly(kind="lost-write", key="k", explanation="key k: write 5 was lost")
    result = Result(verdict="invalid", summary="", anomalies=(anomaly, anomaly))
    assert verdict_sentence(result) == "INVALID: a lost write of key k: write 5 was lost."


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (Result(verdict="valid", summary="linearizable"), "VALID: linearizable."),
        (Result(verdict="valid", summary=""), "VALID: nothing was found."),
        (Result(verdict="invalid", summary="a checker said so"), "INVALID: a checker said so."),
        (Result(verdict="unknown", summary="no write ever succeeded", reason="vacuous"),
         "UNKNOWN: vacuous: no write ever succeeded."),
        (Result(verdict="unknown", summary="", reason="budget"),
         "UNKNOWN: the checker's budget was spent before it could decide."),
        (Result(verdict="unknown", summary=""), "UNKNOWN: no reason was given."),
        (Result(verdict="unknown", summary="", checkers={
            "a": Result(verdict="valid", summary="fine"),
            "b": Result(verdict="unknown", summary="2 keys left", reason="budget")}),
         "UNKNOWN: budget: 2 keys left."),
    ],
)  # fmt: skip
def test_each_verdict_has_its_sentence(result: Result, told: str) -> None:
    assert verdict_sentence(result) == told


def test_valid_counts_what_was_done(sample: GetSample) -> None:
    data = sample("valid")
    done = sum(op.type == "ok" for op in data.history)
    assert sentence(data) == (
        f"VALID: {done:,} successful operations on 5 nodes in 60.00 s under 4 kills, 4 partitions "
        "and 4 pauses: every one of 20 keys is linearizable."
    )


@pytest.mark.parametrize(
    "name", ["valid", "stale-read", "lost-write", "node-crash", "unknown", "empty"]
)
def test_the_word_is_the_verdict_that_was_given(sample: GetSample, name: str) -> None:
    data = sample(name)
    for verdict in ("valid", "invalid", "unknown"):
        result = msgspec.structs.replace(data.result, verdict=verdict)
        assert verdict_sentence(result, data.history).startswith(f"{verdict.upper()}: ")


def test_a_full_stop_inside_a_value_does_not_end_it() -> None:
    told = 'read "a. b" by process 1 at 3.000 s saw a value that nobody wrote'
    anomaly = Anomaly(kind="phantom-read", explanation=f"{told}. More in the report")
    result = Result(verdict="invalid", summary="", anomalies=(anomaly,))
    assert verdict_sentence(result) == f"INVALID: a phantom read: {told}."


def test_it_is_one_line_whatever_the_explanation_holds() -> None:
    anomaly = Anomaly(kind="odd\u202e", explanation="first\nline\x00 and\r\nmore")
    told = verdict_sentence(Result(verdict="invalid", summary="", anomalies=(anomaly,)))
    assert "\n" not in told
    assert "\u202e" not in told
    assert "\x00" not in told


@pytest.mark.parametrize(
    ("kind", "key", "told"),
    [
        ("not-linearizable", 3, "a history of key 3 that no order explains"),
        ("not-linearizable", None, "a history that no order explains"),
        ("stale-beyond-bound", 3, "a read of key 3 older than the bound allows"),
        ("lost-element", 3, "a lost element of key 3"),
        ("divergence", None, "a divergence"),
    ],
)
def test_every_kind_makes_a_noun(kind: str, key: Any, told: str) -> None:
    found = Anomaly(kind=kind, key=key, explanation="so it is")
    result = Result(verdict="invalid", summary="s", anomalies=(found,))
    assert verdict_sentence(result) == f"INVALID: {told}: so it is."
