"""What a run, a scenario and a drill came to."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.commands.drill.figures import figures_of, shortfalls
from splitbrain.commands.drill.values import Accept
from splitbrain.commands.drill.verdicts import (
    ANOTHER_SHARD,
    DEADLINE,
    INTERRUPTED,
    exit_code,
    run_status,
    scenario_status,
    skipped_why,
)
from splitbrain.results.drill.record import DrillRecord, RunRecord, ScenarioRecord

CODES = {"valid": 0, "invalid": 1, "unknown": 3, "error": 4}


def run(verdict: Any, seed: int = 1, **fields: Any) -> RunRecord:
    fields.setdefault("exit_code", CODES[verdict])
    return RunRecord(seed=seed, verdict=verdict, sentence="s", **fields)


@pytest.mark.parametrize(
    ("expect", "verdict", "status"),
    [
        ("valid", "valid", "passed"),
        ("valid", "invalid", "failed"),
        ("valid", "unknown", "unknown"),
        ("invalid", "invalid", "passed"),
        ("invalid", "valid", "failed"),
        ("invalid", "unknown", "unknown"),
        ("unknown", "unknown", "passed"),
        ("unknown", "valid", "failed"),
        ("unknown", "invalid", "failed"),
        ("valid", "error", "error"),
        ("invalid", "error", "error"),
        ("unknown", "error", "error"),
    ],
)
def test_a_run(expect: str, verdict: str, status: str, make: Any) -> None:
    assert run_status(run(verdict), make.scenario(expect=expect)) == status


def test_an_invalid_of_another_kind_is_not_what_was_expected(make: Any) -> None:
    scenario = make.scenario(expect="invalid", kinds=("stale-read", "lost-write"))
    assert run_status(run("invalid", kinds=("x", "lost-write")), scenario) == "passed"
    assert run_status(run("invalid", kinds=("node-crash",)), scenario) == "failed"


FIGURES = {"lost": 0.0, "recovery_s": 15.0, "outage_s": 20.0, "availability": 0.5}


@pytest.mark.parametrize(
    ("worse", "status"),
    [
        ({}, "passed"),
        ({"lost": 1.0}, "failed"),
        ({"recovery_s": 15.01}, "failed"),
        ({"outage_s": 20.5}, "failed"),
        ({"availability": 0.49}, "failed"),
        ({"availability": None}, "unknown"),
        ({"recovery_s": None}, "unknown"),
        ({"recovery_s": None, "lost": 2.0}, "failed"),
    ],
)
def test_figures_are_demanded(worse: dict[str, Any], status: str, make: Any) -> None:
    accept = Accept(lost=0, recovery_s=15, outage_s=20, availability=0.5)
    figures = {name: value for name, value in {**FIGURES, **worse}.items() if value is not None}
    scenario = make.scenario(accept=accept)
    assert run_status(run("valid", figures=figures), scenario) == status
    missed, absent = shortfalls(accept, figures)
    assert (len(missed), len(absent)) == (
        sum(value is not None for value in worse.values()),
        sum(value is None for value in worse.values()),
    )


def test_figures_come_from_the_checker_and_from_the_anomalies() -> None:
    stats = {"availability": 0.75, "outage_s": 3, "recovery_s": None, "faults": []}
    lost = tuple(
        Anomaly(kind=kind, explanation="x")
        for kind in ("lost-write", "lost-element", "stale-read")
    )
    parts = {
        "linearizable": Result(verdict="invalid", summary="s", anomalies=lost),
        "availability": Result(verdict="valid", summary="s", stats=stats),
    }
    result = Result(verdict="invalid", summary="s", checkers=parts)
    assert figures_of(result) == {"lost": 2.0, "availability": 0.75, "outage_s": 3.0}
    told = Result(verdict="valid", summary="s", stats={"lost": 7, "outage_s": float("nan")})
    assert figures_of(
        Result(verdict="valid", summary="s", checkers={"availability": told})
    ) == {"lost": 7.0}
    assert figures_of(Result(verdict="valid", summary="s")) == {"lost": 0.0}


OPEN = st.lists(st.sampled_from(["valid", "invalid", "unknown"]), min_size=1, max_size=6)


@given(OPEN, st.integers(0, 3), st.integers(1, 9))
def test_found_by_some_seeds_is_decided_as_trying_all_ways_out_would(
    make: Any, verdicts: list[str], left: int, found: int
) -> None:
    """The slow and obvious way: let each undecided seed go either way."""
    scenario = make.scenario(expect="invalid", found=found)
    undecided = verdicts.count("unknown") + left
    outcomes = {
        verdicts.count("invalid") + sum(way) >= found
        for way in itertools.product((0, 1), repeat=undecided)
    }
    expected = {
        (True,): {"passed"},
        (False,): {"failed"},
        (False, True): {"unknown", "skipped"},
    }[tuple(sorted(outcomes))]
    runs = [run(verdict) for verdict in verdicts]
    assert scenario_status(scenario, runs, {DEADLINE: left} if left else {}) in expected
    broken = scenario_status(scenario, [*runs, run("error")], {DEADLINE: left} if left else {})
    assert broken in ("error", "failed"), "what could not be run is never passed"


@pytest.mark.parametrize(
    ("verdicts", "left", "status"),
    [
        (["valid", "valid"], 0, "passed"),
        (["valid", "invalid", "error"], 0, "failed"),
        (["valid", "unknown", "error"], 0, "error"),
        (["valid", "unknown"], 3, "unknown"),
        (["valid", "valid"], 3, "skipped"),
        ([], 3, "skipped"),
    ],
)
def test_a_scenario_is_the_worst_of_its_runs(
    verdicts: list[str], left: int, status: str, make: Any
) -> None:
    lefts = {DEADLINE: left} if left else {}
    assert scenario_status(make.scenario(), [run(one) for one in verdicts], lefts) == status


def record(*scenarios: ScenarioRecord, unknown_fails: bool = True) -> DrillRecord:
    return DrillRecord(name="d", scenarios=scenarios, unknown_fails=unknown_fails)


def told(status: Any, *runs: RunRecord, why: str = "") -> ScenarioRecord:
    return ScenarioRecord(name="s", status=status, runs=runs, why=why)


ERROR = told("error", run("valid"), run("error", exit_code=4))
MALFORMED = told("error", run("error", exit_code=2))
CUT = told("skipped", run("valid"), why=skipped_why([run("valid")], {DEADLINE: 2}))
STOPPED = told("skipped", why=skipped_why([], {INTERRUPTED: 2, DEADLINE: 1}))
OTHER = told("skipped", why=skipped_why([], {ANOTHER_SHARD: 1}))


@pytest.mark.parametrize(
    ("scenarios", "fails", "warns"),
    [
        ([], 0, 0),
        ([told("passed"), OTHER], 0, 0),
        ([told("unknown"), told("passed")], 3, 0),
        ([CUT], 3, 0),
        ([STOPPED], 3, 3),
        ([told("unknown", run("unknown", reason="unfinished"))], 3, 3),
        ([told("passed", why=STOPPED.why)], 3, 3),
        ([told("passed", why=CUT.why)], 0, 0),
        ([told("unknown"), ERROR], 4, 4),
        ([ERROR, MALFORMED], 4, 4),
        ([MALFORMED, told("unknown")], 2, 2),
        ([told("failed"), ERROR, told("unknown"), CUT], 1, 1),
    ],
)
def test_the_exit_code(scenarios: list[ScenarioRecord], fails: int, warns: int) -> None:
    assert exit_code(record(*scenarios)) == fails
    assert exit_code(record(*scenarios, unknown_fails=False)) == warns


def test_what_was_left_out_says_why() -> None:
    assert CUT.why == "deadline: 2 of 3 seeds were not run"
    assert STOPPED.why == "interrupted: 3 of 3 seeds were not run"
    assert OTHER.why == "another shard"
