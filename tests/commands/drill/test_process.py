"""Whole drills as processes, as a CI job starts them: no terminal, a step summary, signals, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

WaitFor = Callable[..., None]

CHECKED = """
name = "ci"
[defaults]
on = "sim"
time-limit = 5
nemesis-interval = 1
[[scenario]]
name = "registers"
workload = ["register", "cas-register"]
nemesis = "partition"
seeds = [1, 2]
accept = { lost = 0, recovery-seconds = 15, outage-seconds = 20, availability = 0.3 }
[[scenario]]
name = "a planted bug"
workload = "register"
nemesis = "partition"
time-limit = 20
bugs = ["ack-on-append"]
expect = "invalid"
kinds = ["stale-read", "lost-write"]
seeds = [1]
"""

LONG = """
[defaults]
on = "sim"
workload = "register"
[[scenario]]
name = "first"
time-limit = 2
[[scenario]]
name = "endless"
time-limit = 100000
seeds = [7, 8]
[[scenario]]
name = "last"
"""


def drill_json(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "drill.json").read_text())
    return found


def latest(tool: Any, name: str) -> Path:
    found: Path = (tool.store / "drills" / name / "latest").resolve()
    return found


def test_a_drill_in_a_ci_job(tool: Any, write: Callable[..., Path]) -> None:
    summary = tool.directory / "summary.md"
    done = tool.call(
        "drill", write(CHECKED), "--json", "--archive", "failed.tar.gz", "--deadline", "5m",
        GITHUB_STEP_SUMMARY=str(summary), GITHUB_ACTIONS="true", CI="true", TERM="dumb",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["name"], row["exit"]) == ("ci", 0)
    assert row["verdicts"] == {"valid": 4, "invalid": 1, "unknown": 0, "error": 0}
    assert row["counts"]["passed"] == 3
    assert [one["status"] for one in row["scenarios"]] == ["passed"] * 3
    figures = row["scenarios"][0]["runs"][0]["figures"]
    assert set(figures) == {"lost", "recovery_s", "outage_s", "availability"}
    lines = [line for line in done.stderr.splitlines() if "/5 passed" in line]
    assert len(lines) == 5, "one plain line a run"
    assert "\x1b" not in done.stderr
    directory = latest(tool, "ci")
    assert drill_json(directory)["finished"]
    for scenario in row["scenarios"]:
        for run in scenario["runs"]:
            assert (tool.directory / run["directory"] / "report.html").is_file()
            assert str(directory / "runs") in str((tool.directory / run["directory"]).resolve())
    assert not (tool.directory / "seeds.toml").exists()
    totals = ElementTree.parse(directory / "junit.xml").getroot().attrib
    assert [totals[key] for key in ("tests", "failures", "errors", "skipped")] == [
        "5",
        "0",
        "0",
        "0",
    ]
    assert "a planted bug" in summary.read_text()
    page = (directory / "index.html").read_text()
    for run in row["scenarios"][0]["runs"]:
        assert f"runs/register/{Path(run['directory']).name}/report.html" in page
    with tarfile.open(tool.directory / "failed.tar.gz") as archive:
        names = archive.getnames()
    for page in ("drill.json", "index.html", "junit.xml"):
        assert f"ci-{directory.name}/{page}" in names
    assert not any("/runs/" in name for name in names), "nothing failed"


def test_a_bug_that_is_removed_fails_the_drill(tool: Any, write: Callable[..., Path]) -> None:
    text = CHECKED[: CHECKED.index("[[scenario]]")]
    text += CHECKED[CHECKED.index('[[scenario]]\nname = "a planted') :]
    path = write(text.replace('bugs = ["ack-on-append"]\n', ""))
    done = tool.call("drill", path, "--archive", "failed.zip")
    assert done.returncode == 1
    assert "1/1 failed  a planted bug  seed 1: valid" in done.stdout
    assert "expected invalid: VALID: " in done.stdout
    assert "again  splitbrain run register --on sim" in done.stdout
    assert "drill ci: 1 failed in " in done.stdout
    assert '1 = { verdict = "valid"' in (tool.directory / "seeds.toml").read_text()
    with zipfile.ZipFile(tool.directory / "failed.zip") as archive:
        names = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
    assert {"report.html", "history.jsonl", "spec.json", "result.json", "n1.log"} <= names
    again = tool.call("drill", path, "--dry-run", "--json")
    (scenario,) = json.loads(again.stdout)["scenarios"]
    assert (scenario["repeated"], scenario["seeds"]) == ([1], [])


def begun(tool: Any, wait_for: WaitFor, child: subprocess.Popen[str]) -> Path:
    """Wait until the first scenario is done and the endless one is going on."""

    def going() -> bool:
        assert child.poll() is None
        directory = latest(tool, "some")
        return (directory / "drill.json").exists() and any(
            one["name"] == "endless" and one.get("status") == "running"
            for one in drill_json(directory)["scenarios"]
        )

    wait_for(going, "the second scenario", 60)
    directory = latest(tool, "some")
    runs = directory / "runs" / "register"
    wait_for(lambda: len(list(runs.glob("*/history.jsonl"))) == 2, "its history")
    history = max(runs.glob("*/history.jsonl"))
    wait_for(lambda: history.stat().st_size > 100_000, "some hundred events")
    return directory


def test_killed_half_way_it_leaves_what_was_done(
    tool: Any, write: Callable[..., Path], wait_for: WaitFor
) -> None:
    child = tool.start("drill", write(LONG))
    directory = begun(tool, wait_for, child)
    child.kill()
    child.communicate()
    record = drill_json(directory)
    assert not record.get("finished", False)
    first, endless, last = record["scenarios"]
    assert first["status"] == "passed"
    assert endless["status"] == "running"
    assert last.get("status", "pending") == "pending"
    (run,) = first["runs"]
    assert (tool.directory / run["directory"] / "report.html").is_file()
    suites = list(ElementTree.parse(directory / "junit.xml").getroot().iter("testsuite"))
    assert len(suites[0].findall("testcase")) == 1
    assert "first" in (directory / "index.html").read_text()
    again = tool.call("prune", "--keep-runs", "1", "--keep-size", "0")
    assert "a drill that is not finished; left alone" in again.stderr
    assert directory.is_dir()


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_the_rest_is_skipped(
    which: signal.Signals, tool: Any, write: Callable[..., Path], wait_for: WaitFor
) -> None:
    child = tool.start("drill", write(LONG), "--archive", "failed.tar.gz", "--unknown", "warn")
    directory = begun(tool, wait_for, child)
    child.send_signal(which)
    out, err = child.communicate(timeout=60)
    assert "Traceback" not in err
    assert child.returncode == 3, err
    record = drill_json(directory)
    assert record["finished"]
    first, endless, last = record["scenarios"]
    assert first["status"] == "passed"
    assert (endless["status"], endless["runs"][0]["reason"]) == ("unknown", "unfinished")
    assert endless["why"] == "interrupted: 1 of 2 seeds were not run"
    assert (last["status"], last["why"][:11]) == ("skipped", "interrupted")
    assert "UNKNOWN: unfinished" in out
    with tarfile.open(tool.directory / "failed.tar.gz") as archive:
        assert any(name.endswith("/history.jsonl") for name in archive.getnames())
    assert not (tool.directory / "seeds.toml").exists()


def test_a_second_signal_gives_up_and_leaves_the_outputs(
    tool: Any, write: Callable[..., Path], wait_for: WaitFor
) -> None:
    child = tool.start("drill", write(LONG))
    directory = begun(tool, wait_for, child)
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert "Traceback" not in err
    assert child.returncode == 4, err
    record = drill_json(directory)
    assert record["finished"]
    assert [one["status"] for one in record["scenarios"]] == ["passed", "error", "skipped"]
    assert record["scenarios"][1]["runs"][0]["reason"] == "Abandoned"
    assert (directory / "junit.xml").exists()


HASTY = """
import os, signal
from pathlib import Path
from splitbrain.workloads.register import register

def make(spec):
    if Path("store").exists() and not SENT:  # the run is about to begin, its handler not yet there
        SENT.append(os.kill(os.getpid(), signal.SIGINT))
    return register(spec)

SENT = []
WORKLOADS = {"hasty": make}
"""


def test_a_signal_just_before_a_run_ends_it_too(tool: Any, write: Callable[..., Path]) -> None:
    write(HASTY, "hasty.py")
    text = '[[scenario]]\nname = "a"\nworkload = "hasty"\nload = "hasty.py"\non = "sim"\n'
    done = tool.call("drill", write(text + "time-limit = 100000\nseeds = [1, 2]\n"))
    assert done.returncode == 3, done.stderr
    assert "UNKNOWN: unfinished" in done.stdout
    (scenario,) = drill_json(latest(tool, "some"))["scenarios"]
    assert scenario["why"] == "interrupted: 1 of 2 seeds were not run"


def test_drills_at_once_never_collide(tool: Any, write: Callable[..., Path]) -> None:
    path = write(LONG[: LONG.index('[[scenario]]\nname = "endless"')])
    children = [tool.start("drill", path, "--json", "--keep-runs", "1") for _ in range(3)]
    rows = []
    for child in children:
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        rows.append(json.loads(out))
    directories = {row["directory"] for row in rows}
    assert len(directories) == 3
    assert all(row["counts"]["passed"] == 1 for row in rows)
    latest_name = os.readlink(tool.store / "drills" / "some" / "latest")
    assert latest_name in {Path(name).name for name in directories}
    assert tool.call("prune").returncode == 2
    pruned = tool.call("prune", "--keep-runs", "1")
    assert pruned.returncode == 0
    assert " removed, " in pruned.stdout.splitlines()[-1]
    kept = {path.name for path in (tool.store / "drills" / "some").iterdir()}
    assert latest_name in kept, "what latest points to"
    assert len(kept) in (2, 3), "the link, its drill, and the newest if that is another"


@pytest.mark.deep
@pytest.mark.processes
def test_the_smoke_drill_passes_in_five_minutes(tool: Any) -> None:
    smoke = Path(__file__).parents[3] / "drills" / "smoke.toml"
    done = tool.call(
        "drill", smoke, "--json", "--seeds", "seeds.toml", "--deadline", "5m", timeout_s=400
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["counts"]["passed"] == len(row["scenarios"])
