"""Drills in small: scenarios without a file, and a run function that only pretends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitbrain.checkers.verdict import Anomaly, Result, Verdict
from splitbrain.commands.drill.matrix import Drill, Scenario
from splitbrain.commands.run import Finished
from splitbrain.contracts.spec import TestSpec


def scenario(name: str = "s", *, seeds: tuple[int, ...] = (1,), **fields: Any) -> Scenario:
    """A scenario on sim; ``time_limit_s`` and ``substrate`` go to its spec."""
    spec_fields = {
        key: fields.pop(key)
        for key in ("time_limit_s", "substrate", "bugs", "workload")
        if key in fields
    }
    spec = TestSpec(**{"workload": "register", "substrate": "sim", **spec_fields})
    return Scenario(name=name, line=fields.pop("line", 1), spec=spec, seeds=seeds, **fields)


def drill_of(*scenarios: Scenario) -> Drill:
    return Drill(name="d", path=Path("d.toml"), scenarios=scenarios)


def finished_run(
    spec: TestSpec,
    store: Path,
    verdict: Verdict = "valid",
    *,
    kinds: tuple[str, ...] = (),
    stats: dict[str, Any] | None = None,
    interrupted: bool = False,
) -> Finished:
    anomalies = tuple(Anomaly(kind=kind, explanation="x") for kind in kinds)
    parts = {
        "linearizable": Result(verdict=verdict, summary="s", anomalies=anomalies),
        "availability": Result(verdict="valid", summary="s", stats=stats or {}),
    }
    result = Result(verdict=verdict, summary="s", checkers=parts)
    return Finished(
        spec=spec,
        directory=store / spec.workload / str(spec.seed),
        result=result,
        sentence=f"{verdict.upper()}: s",
        operations=10,
        seconds=1.0,
        again=f"splitbrain run ... --seed {spec.seed}",
        interrupted=interrupted,
    )


@pytest.fixture(name="make", scope="session")
def make_fixture() -> Any:
    """The makers above, for tests that cannot import a conftest."""

    class Make:
        scenario: Callable[..., Scenario] = staticmethod(scenario)
        drill: Callable[..., Drill] = staticmethod(drill_of)
        finished: Callable[..., Finished] = staticmethod(finished_run)

    return Make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a drill's file."""

    def to(text: str, name: str = "some.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return to
