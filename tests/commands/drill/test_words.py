"""The table at the end of a drill: nothing in it is cut, neither in a log nor on a narrow terminal."""

from __future__ import annotations

from typing import Any

import pytest

from splitbrain.cli_drill.words import plain_table, print_table, summary
from splitbrain.commands.drill.whole import Ended
from splitbrain.results.drill.record import DrillRecord, RunRecord, ScenarioRecord

FIGURES = {"lost": 0.0, "recovery_s": 1.25, "outage_s": 12.5, "availability": 0.875}


def run(verdict: Any, **figures: float) -> RunRecord:
    return RunRecord(
        seed=1, verdict=verdict, exit_code=0, sentence="s", figures={**FIGURES, **figures}
    )


ENDED = Ended(
    exit_code=1,
    record=DrillRecord(
        name="d",
        scenarios=(
            ScenarioRecord(
                name="registers[bold]/cas-register/local/partition+kill",
                status="failed",
                runs=(run("valid"), run("valid", outage_s=20.0), run("invalid", lost=2.0)),
            ),
            ScenarioRecord(name="later", status="skipped", why="deadline: 2 of 2 seeds"),
        ),
    ),
)


def test_in_a_log() -> None:
    header, failed, skipped = plain_table(ENDED).strip().splitlines()
    assert header.split() == [
        "status", "scenario", "expect", "runs", "lost", "recovery", "outage", "available",
    ]  # fmt: skip
    assert failed.split() == [
        "failed", "registers[bold]/cas-register/local/partition+kill", "valid", "2", "valid,",
        "1", "invalid", "2", "1.25", "s", "20", "s", "88%",
    ]  # fmt: skip
    assert "none (deadline: 2 of 2 seeds)" in skipped


def test_what_is_let_pass_is_said() -> None:
    scenarios = (
        ScenarioRecord(name="a", status="unknown"),
        ScenarioRecord(name="b", status="skipped", why="deadline: 1 of 1 seeds were not run"),
        ScenarioRecord(name="c", status="skipped", why="another shard"),
    )
    warned = Ended(exit_code=0, record=DrillRecord(name="d", scenarios=scenarios))
    assert "warning  2 left undecided" in summary(warned)
    assert "warning" not in summary(Ended(exit_code=3, record=warned.record))
    whole = DrillRecord(name="d", scenarios=scenarios[2:])
    assert "warning" not in summary(Ended(exit_code=0, record=whole))


@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(ENDED)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= columns for line in lines)
    start = lines[1].index("scenario")
    name = "".join(line[start : lines[1].index("expect")].strip() for line in lines)
    assert "registers[bold]/cas-register/local/partition+kill" in name
    (first,) = (line for line in lines if line.startswith(" failed"))
    assert all(word in first for word in ("1.25 s", "20 s", "88%"))
