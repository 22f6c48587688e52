"""Records of drills: one to look at, and random ones whose texts mean harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from splitbrain.commands.drill.matrix import Scenario
from splitbrain.commands.drill.values import Accept
from splitbrain.commands.drill.verdicts import scenario_status, skipped_why
from splitbrain.contracts.spec import TestSpec
from splitbrain.results.drill.record import (
    STATUSES,
    DrillRecord,
    RunRecord,
    ScenarioRecord,
)

HARM = (
    "<script>alert(1)</script>", "]]>", "&amp;", "\x00\x08\x1b[31m", "\ud800", "\u202egnp.exe",
    "a|b", "`x`", "**b**", "@someone", "https://example.invalid/x", "![x](data:y)", "-->", "\r\n# x",
    "</details>", "' onclick='x", '" onmouseover="x', "\ufffe\uffff", "😀", "{{ 7*7 }}", "<!-- -->",
)  # fmt: skip

FIGURES = {"lost": 0.0, "recovery_s": 3.25, "outage_s": 4.5, "availability": 0.985}
BEFORE = "store/drills/nightly"
DIRECTORY = f"{BEFORE}/20260101T000000.000"


def run_record(seed: int, verdict: Any = "valid", **given: Any) -> RunRecord:
    facts: dict[str, Any] = {
        "sentence": f"{str(verdict).upper()}: 1,234 successful operations.",
        "again": f"splitbrain run register --on sim --seed {seed}",
        "directory": f"{DIRECTORY}/runs/register/2026-{seed}",
        "seconds": 4.2,
        "operations": 1234,
        "exit_code": {"valid": 0, "invalid": 1, "unknown": 3}.get(verdict, 4),
        "figures": FIGURES,
    }
    return RunRecord(seed=seed, verdict=verdict, **{**facts, **given})


def scenario_record(name: str, *runs: RunRecord, **given: Any) -> ScenarioRecord:
    facts: dict[str, Any] = {
        "line": 3, "workload": "register", "system": "minitikv", "substrate": "sim",
        "nemesis": ("partition",), "status": "passed",
    }  # fmt: skip
    return ScenarioRecord(name=name, runs=runs, **{**facts, **given})


def nightly() -> DrillRecord:
    """A drill in which every status occurs."""
    stale = run_record(
        2, "invalid", kinds=("stale-read",),
        sentence="INVALID: a stale read of key 3: process 7 read <b>3</b> | 4.",
        figures={"lost": 2.0, "recovery_s": 1.0},
    )  # fmt: skip
    stuck = run_record(1, "unknown", reason="no-progress", sentence="UNKNOWN: no progress.")
    broken = run_record(
        1, "error", reason="HostError", directory="", sentence="port 4711 is taken", figures={}
    )
    slow = run_record(3, missed=("recovery-seconds 17.25, at most 15 accepted",))
    scenarios = [
        scenario_record(f"register/sim/{fault}", *map(run_record, range(1, 4)), nemesis=(fault,))
        for fault in ("kill", "pause", "clock")
    ]  # fmt: skip
    scenarios += [
        scenario_record("stale", run_record(1), stale, status="failed"),
        scenario_record("slow", slow, status="failed", workload="cas-register", substrate="local"),
        scenario_record("stuck", stuck, status="unknown", nemesis=("kill",), workload="cas-register"),
        scenario_record("broken", broken, status="error", substrate="local"),
        scenario_record("late", status="skipped", why="deadline: 5 of 5 seeds were not run"),
        scenario_record(
            "found by some", run_record(1), run_record(2, "invalid", kinds=("stale-read",)),
            expect="invalid", bugs=("local-leader-read",),
        ),
        scenario_record("elsewhere", status="skipped", why="another shard"),
    ]  # fmt: skip
    return DrillRecord(
        name="nightly", file="drills/nightly.toml", directory=DIRECTORY, scenarios=tuple(scenarios),
        started="2026-01-01T00:00:00Z", command="splitbrain drill drills/nightly.toml", finished=True,
    )  # fmt: skip


def texts() -> st.SearchStrategy[str]:
    plain = st.text(max_size=8)
    return st.lists(st.sampled_from(HARM) | plain, max_size=3).map(" ".join)


def some_runs() -> st.SearchStrategy[RunRecord]:
    return st.builds(
        RunRecord,
        seed=st.integers(0, 9),
        verdict=st.sampled_from(["valid", "invalid", "unknown", "error"]),
        exit_code=st.sampled_from([2, 4]),
        sentence=texts(),
        reason=st.none() | st.sampled_from(["budget", "unfinished", "no-figure"]) | texts(),
        missed=st.lists(texts(), max_size=2).map(tuple),
        kinds=st.lists(texts(), max_size=2).map(tuple),
        figures=st.dictionaries(st.sampled_from([*FIGURES, "x<y"]), st.floats(), max_size=3),
        operations=st.integers(0, 10**7),
        directory=st.just("") | texts().map(lambda text: f"{DIRECTORY}/runs/{text}"),
        seconds=st.floats(0, 1e5) | st.sampled_from([float("nan"), -1.0]),
        again=texts(),
        repeated=st.booleans(),
    )


@st.composite
def judged(draw: Any, name: str) -> ScenarioRecord:
    """A scenario whose status the drill itself has worked out."""
    expect = draw(st.sampled_from(["valid", "invalid", "unknown"]))
    limits = {"recovery_s": 2.0} if expect == "valid" and draw(st.booleans()) else {}
    found = 2 if expect == "invalid" and draw(st.booleans()) else None
    kinds = ("stale-read",) if expect == "invalid" and draw(st.booleans()) else ()
    runs = [_told(run, bool(limits)) for run in draw(st.lists(some_runs(), max_size=4))]
    left = Counter(draw(st.lists(st.sampled_from(["deadline", "interrupted"]), max_size=2)))
    if not runs and not left:
        left = Counter(["another shard"])
    scenario = Scenario(
        name=name, line=1, spec=TestSpec(workload="register"), seeds=(1,), expect=expect,
        accept=Accept(**limits), found=found, kinds=kinds,
    )  # fmt: skip
    return ScenarioRecord(
        name=name, expect=expect, runs=tuple(runs), status=scenario_status(scenario, runs, left),
        why=skipped_why(runs, left), workload=draw(texts()), bugs=(draw(texts()),),
    )  # fmt: skip


def _told(run: RunRecord, limited: bool) -> RunRecord:
    """With what the runner tells of figures: what was missed, or that one is absent."""
    import msgspec

    missed: tuple[str, ...] = ()
    reason = None if run.reason == "no-figure" else run.reason
    if limited and "recovery_s" not in run.figures:
        missed = ("no figure for recovery-seconds",)
        reason = "no-figure" if run.verdict == "valid" else reason
    elif limited and run.figures["recovery_s"] > 2.0:
        missed = ("recovery-seconds: too long",)
    return msgspec.structs.replace(run, missed=missed, reason=reason)


@st.composite
def records(draw: Any, *, honest: bool = False) -> DrillRecord:
    """Random records; ``honest``: as a drill would make them, else with any status at all."""
    names = draw(st.lists(texts(), max_size=5, unique=True))
    scenarios = [draw(judged(name)) for name in names]
    if not honest:
        import msgspec

        scenarios = [
            msgspec.structs.replace(one, status=draw(st.sampled_from(STATUSES)), why=draw(texts()))
            for one in scenarios
        ]  # fmt: skip
    return DrillRecord(
        name=draw(texts()),
        file=draw(texts()),
        directory=DIRECTORY,
        started=draw(st.sampled_from(["2026-01-01T00:00:00Z", "", "yesterday"])),
        command=draw(texts()),
        shard=draw(st.sampled_from(["", "2/4"])),
        unknown_fails=draw(st.booleans()),
        finished=draw(st.booleans()),
        scenarios=tuple(scenarios),
    )


@pytest.fixture(scope="session")
def drill() -> DrillRecord:
    """A drill in which every status occurs."""
    return nightly()


@pytest.fixture(scope="session")
def wild() -> st.SearchStrategy[DrillRecord]:
    """Records of any kind at all."""
    return records()


@pytest.fixture(scope="session")
def honest() -> st.SearchStrategy[DrillRecord]:
    """Records as a drill makes them."""
    return records(honest=True)


@pytest.fixture(scope="session")
def make_scenario() -> Callable[..., ScenarioRecord]:
    """``make_scenario(name, *runs, **fields)``."""
    return scenario_record


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunRecord]:
    """``make_run(seed, verdict, **fields)``."""
    return run_record
