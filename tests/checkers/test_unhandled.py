"""Errors by class: what is foreseen, what is not, and whose mistake it is."""

from __future__ import annotations

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.unhandled import UnhandledChecker, error_class, is_mistake
from splitbrain.checkers.verdict import Result
from splitbrain.errors import Definite, Undetermined
from splitbrain.harness.workers import one_line
from splitbrain.history.history import History
from splitbrain.history.op import Op


def judged(*errors: str, **options: str) -> Result:
    ops = []
    for number, error in enumerate(errors):
        ops.append(Op(process=number, type="invoke", f="read"))
        ops.append(Op(process=number, type="info", f="read", error=error))
    return UnhandledChecker().check(History(ops), options, Budget(5))


@pytest.mark.parametrize(
    "error",
    [
        str(Definite("cas-mismatch", "saw 3")),
        one_line(Undetermined("timeout", "no answer")),
        "no-client: Definite: refused",
        "no-client",
        "timeout: no answer within the harness's own limit",
        "interrupted: the test was ended",
        "2pc-conflict",
    ],
)
def test_codes_are_foreseen(error: str) -> None:
    assert error_class(error) is None
    assert judged(error).stats == {"unhandled": [], "harness_problems": 0}


@pytest.mark.parametrize(
    ("error", "name", "mistake"),
    [
        (one_line(KeyError("value")), "KeyError", True),
        (one_line(TypeError()), "TypeError", True),
        (f"no-client: {one_line(AttributeError('x'))}", "AttributeError", True),
        (one_line(ConnectionResetError("by peer")), "ConnectionResetError", False),
        (one_line(TimeoutError()), "TimeoutError", False),
        ("psycopg.OperationalError: gone", "psycopg.OperationalError", False),
        ("[:oops :x]", "other", False),
    ],
)
def test_exceptions_are_not(error: str, name: str, mistake: bool) -> None:
    assert error_class(error) == name
    assert is_mistake(name) == mistake


def test_groups_most_frequent_first_with_the_first_example() -> None:
    result = judged("EOFError: a", "KeyError: 'x'", "timeout", "KeyError: 'y'")
    assert result.verdict == "valid"
    assert result.stats == {
        "unhandled": [
            {"class": "KeyError", "count": 2, "example": "KeyError: 'x'", "op": 3, "harness": True},
            {"class": "EOFError", "count": 1, "example": "EOFError: a", "op": 1, "harness": False},
        ],
        "harness_problems": 2,
    }  # fmt: skip
    assert "2 by mistakes in the test itself" in result.summary


def test_as_an_option_they_fail_the_run() -> None:
    result = judged("KeyError: 'x'", unhandled="fail")
    assert result.verdict == "invalid"
    assert [(a.kind, a.ops) for a in result.anomalies] == [("unhandled-error", (1,))]
    assert judged("timeout", unhandled="fail").verdict == "valid"


def test_the_nemesis_is_not_a_client() -> None:
    ops = [Op(process=-1, type="info", f="start-kill", error="KeyError: 'n1'")]
    assert UnhandledChecker().check(History(ops), {}, Budget(5)).stats["unhandled"] == []
