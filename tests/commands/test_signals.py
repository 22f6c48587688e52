"""SIGINT and SIGTERM to a running tool: heal, check, report, exit by the verdict; twice: heal, 4."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WaitFor = Callable[..., None]
LOCAL = "run register --on local --nodes 3 --time-limit 120 --seed 1 -o scale=0.2".split()  # noqa: SIM905
SIM = "run register --on sim --time-limit 100000 --seed 1".split()  # noqa: SIM905


def history(run: Path) -> list[dict[str, Any]]:
    path = run / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def open_faults(run: Path) -> set[str]:
    """Ids of the faults that were started, whose stop was not completed."""
    begun: dict[str, int] = {}
    for op in history(run):
        if op["process"] == -1 and op["f"].startswith(("start-", "stop-")):
            begun[op["value"]["id"]] = begun.get(op["value"]["id"], 0) + 1
    # An invocation and a completion each, of the start and of the stop.
    return {id_ for id_, events in begun.items() if 2 <= events < 4}


def end_of(child: subprocess.Popen[str], wait_s: float = 60.0) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=wait_s)
    assert "Traceback" not in err, err
    return child.returncode, out, err


def nothing_is_left(tool: Any) -> None:
    assert tool.labelled() == []
    assert tool.links() == []


@pytest.mark.processes
@pytest.mark.parametrize(
    ("which", "nemesis"), [(signal.SIGINT, "partition"), (signal.SIGTERM, "kill,pause")]
)
def test_one_signal_heals_checks_and_reports(
    which: signal.Signals, nemesis: str, tool: Any, wait_for: WaitFor
) -> None:
    child = tool.start(*LOCAL, "--nemesis", nemesis, "--nemesis-interval", "1")
    run = tool.run_directory()
    wait_for(lambda: open_faults(run), "a fault in force", 60)
    assert len(tool.labelled()) >= 3
    assert len(tool.links()) == 1
    began = time.monotonic()
    child.send_signal(which)
    code, out, _ = end_of(child)
    assert code == 3
    assert "UNKNOWN: unfinished" in out
    assert time.monotonic() - began < 30
    assert not open_faults(run), "each fault was stopped, and its stop recorded"
    assert json.loads((run / "result.json").read_text())["reason"] == "unfinished"
    assert (run / "report.html").stat().st_size > 10_000
    nothing_is_left(tool)
    again = tool.call("check", run, "--json")
    assert (again.returncode, json.loads(again.stdout)["reason"]) == (3, "unfinished")


@pytest.mark.processes
def test_a_second_signal_heals_and_gives_up(tool: Any, wait_for: WaitFor) -> None:
    child = tool.start(*LOCAL, "--nemesis", "pause", "--nemesis-interval", "1")
    run = tool.run_directory()
    wait_for(lambda: open_faults(run), "a fault in force", 60)
    for _ in range(3):  # the third must not disturb the healing
        child.send_signal(signal.SIGINT)
        time.sleep(0.05)
    code, _, err = end_of(child)
    assert code == 4
    assert "splitbrain: " in err
    nothing_is_left(tool)
    assert not (run / "result.json").exists()
    assert tool.call("check", run).returncode == 3


@pytest.mark.processes
@pytest.mark.parametrize("delay_s", [0.0, 0.5])
def test_a_signal_before_the_first_operation_leaves_nothing(
    delay_s: float, tool: Any, wait_for: WaitFor
) -> None:
    child = tool.start(*LOCAL)
    wait_for(tool.links, "the run's link", 60)
    time.sleep(delay_s)
    child.send_signal(signal.SIGTERM)
    code, _, _ = end_of(child)
    assert code in (3, 4)
    nothing_is_left(tool)


def test_in_simulation_a_signal_ends_the_run_too(tool: Any, wait_for: WaitFor) -> None:
    child = tool.start(*SIM, "--test-count", "3", "--json")
    run = tool.run_directory()
    wait_for(lambda: len(history(run)) > 1000, "a thousand events")
    child.send_signal(signal.SIGINT)
    code, out, _ = end_of(child)
    row = json.loads(out)
    assert (code, row["verdict"]) == (3, "unknown")
    (only,) = row["results"]
    assert only["reason"] == "unfinished"
    assert len(list(run.parent.iterdir())) == 1, "the runs after it were not begun"
    assert (run / "report.html").exists()


def test_in_simulation_a_second_signal_gives_up(tool: Any, wait_for: WaitFor) -> None:
    child = tool.start(*SIM)
    run = tool.run_directory()
    wait_for(lambda: len(history(run)) > 5000, "some thousand events")
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    code, _, err = end_of(child)
    assert code == 4
    assert "second signal" in err or "interrupted; splitbrain check" in err
    assert tool.call("check", run).returncode == 3


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_judging_names_the_run(
    which: signal.Signals,
    invoke: Callable[..., Any],
    one_line: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from splitbrain.commands import run as module

    def slow(*_: object) -> None:
        os.kill(os.getpid(), which)
        time.sleep(5)

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    monkeypatch.setattr(module, "judge_run", slow)
    try:
        done = invoke("run", "register", "--on", "sim", "--time-limit", "2", "--json")
        # The tool is about to end: another signal must not turn its exit code into a death.
        assert [signal.getsignal(kind) for kind in kinds] == [signal.SIG_IGN] * 2
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert done.exit_code == 4
    assert "interrupted; splitbrain check store/register/" in done.stderr
    monkeypatch.undo()
