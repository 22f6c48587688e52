"""Runs in containers that end badly: killed, interrupted, refused half-way; and what they leave."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from splitbrain.history.jsonl import read_history

from .conftest import Bystander, DockerTool, faults_file, in_force, nemesis_ops, wait_for
from .host_state import HostState, Made

pytestmark = [pytest.mark.processes, pytest.mark.docker]
RUN = "run register --on docker --nodes 3 --seed 1 --time-limit 120 --rate 30".split()  # noqa: SIM905

HALVES = {"cut": [["n1", "n2"], ["n2", "n1"], ["n1", "n3"], ["n3", "n1"]]}
EVERY: tuple[tuple[float, str, tuple[str, ...], dict[str, Any]], ...] = (
    (0.5, "delay", ("all",), {"delay_ms": 20.0, "jitter_ms": 5.0}),
    (0.6, "loss", ("all",), {"loss": 0.1}),
    (0.7, "partition", (), HALVES),
    (0.8, "clock-jump", ("n3",), {"delta_ms": 3_600_000.0}),
    (0.9, "disk-slow", ("n3",), {"extra_ms": 20.0}),
    (1.0, "kill", ("n2",), {}),
    (1.1, "pause", ("n1",), {}),
)
"""One more each tenth of a second, until all are in force."""


def started(tool: DockerTool, *faults: Any) -> tuple[Any, Path, Made]:
    """A run on which all of these faults are in force."""
    path = faults_file(tool.directory / "faults.jsonl", *faults)
    child = tool.start(*RUN, "--faults", path)
    run = tool.run_directory()
    wanted = {fault for _, fault, _, _ in faults}

    def ready() -> bool:
        assert child.poll() is None, child.communicate()
        return wanted <= set(in_force(run))

    wait_for(ready, f"{wanted} to be in force")
    return child, run, tool.made()


def healed(tool: DockerTool, made: Made) -> str:
    done = tool.call("heal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.left(tool.client) == []
    assert tool.links() == []
    return str(done.stdout)


def judged(tool: DockerTool, run: Path) -> None:
    """What was recorded can be read and judged."""
    if (run / "history.jsonl").exists():
        read_history(run / "history.jsonl")
    done = tool.call("check", run)
    assert "Traceback" not in done.stderr
    assert done.returncode == 3, done.stdout + done.stderr
    assert "UNKNOWN: unfinished" in done.stdout


def test_killed_under_every_fault_at_once_heal_undoes_all(
    tool: DockerTool, host: HostState, bystander: Bystander
) -> None:
    child, run, made = started(tool, *EVERY)
    host.assert_same()
    bystander.assert_untouched()
    statuses = {
        it["Names"][0][-2:]: it["State"]
        for it in tool.client.api.containers(all=True)
        if it["Id"] in made.containers
    }
    assert statuses == {"n1": "paused", "n2": "exited", "n3": "running"}, nemesis_ops(run)
    child.kill()
    child.wait()
    assert made.left(tool.client), "a killed tool cannot remove its containers"
    words = healed(tool, made)
    assert "removed container" in words
    assert ": healed" in words
    host.assert_same()
    bystander.assert_untouched()
    judged(tool, run)
    assert "nothing to heal" in healed(tool, made)


@pytest.mark.deep
@pytest.mark.parametrize("fault", EVERY, ids=lambda it: it[1])
def test_killed_under_one_fault_heal_undoes_it(
    fault: Any, tool: DockerTool, host: HostState
) -> None:
    child, run, made = started(tool, fault)
    child.kill()
    child.wait()
    healed(tool, made)
    host.assert_same()
    judged(tool, run)


def test_a_signal_under_every_fault_heals_and_leaves_nothing(
    tool: DockerTool, host: HostState, bystander: Bystander
) -> None:
    child, run, made = started(tool, *EVERY)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=90)
    assert "Traceback" not in err, err
    assert child.returncode == 3, out + err
    assert "UNKNOWN: unfinished" in out
    assert made.left(tool.client) == []
    assert tool.links() == []
    assert json.loads((run / "result.json").read_text())["reason"] == "unfinished"
    assert any(op["f"] == "heal-all" or op["f"].startswith("stop-") for op in nemesis_ops(run))
    host.assert_same()
    bystander.assert_untouched()


def killed_at(tool: DockerTool, hook: str, number: int) -> None:
    """A run that ends itself at one journal record, at its end if need be; and what is done then."""
    path = faults_file(tool.directory / "faults.jsonl", *EVERY)
    words = (*RUN, "--time-limit", "3", "--faults", path)
    child = tool.start(*words, **{hook: str(number)})
    made = tool.made()
    while child.poll() is None:
        made.look()
    assert child.returncode == -signal.SIGKILL, child.communicate()
    made.look()
    healed(tool, made)
    done = tool.call("check", tool.run_directory())
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [3, 12, 30])
def test_killed_at_a_journal_record_all_can_be_undone(number: int, tool: DockerTool) -> None:
    killed_at(tool, "SPLITBRAIN_FAIL_AT_JOURNAL", number)


@pytest.mark.deep
@pytest.mark.parametrize(
    "hook", ["SPLITBRAIN_FAIL_AT_JOURNAL", "SPLITBRAIN_FAIL_BEFORE_JOURNAL"]
)
@pytest.mark.parametrize("number", range(1, 51))
def test_killed_at_each_journal_record_all_can_be_undone(
    number: int, hook: str, tool: DockerTool
) -> None:
    killed_at(tool, hook, number)
