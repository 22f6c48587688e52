"""The tool killed in mid-run: the history stays readable, and ``heal`` ends what it left, no more."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.history.jsonl import read_history
from splitbrain.substrates.journal import read_link
from splitbrain.substrates.tools import procfs

WaitFor = Callable[..., None]
pytestmark = pytest.mark.processes
RUN = "run register --on local --nodes 3 --seed 1 -o scale=0.2 --nemesis kill,pause".split()  # noqa: SIM905
FAST = (*RUN, "--time-limit", "30", "--nemesis-interval", "0.6")


@pytest.fixture
def lookalikes() -> Iterator[Callable[[str], list[subprocess.Popen[bytes]]]]:
    """Processes that resemble a run's and are none of its."""
    started: list[subprocess.Popen[bytes]] = []

    def start(label: str) -> list[subprocess.Popen[bytes]]:
        for argv, extra in (
            (["sleep", "600"], {procfs.LABEL: f"{label}x"}),
            (["sleep", "600"], {"OTHER": label}),
            (["sh", "-c", f"sleep 600; : {label} splitbrain.cluster"], {}),
        ):
            started.append(
                subprocess.Popen(argv, env={**os.environ, **extra}, start_new_session=True)
            )
        return started

    yield start
    for child in started:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def healed(tool: Any) -> str:
    done = tool.call("heal")
    assert done.returncode == 0, done.stdout + done.stderr
    left = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in tool.labelled()]
    assert left == [], done.stdout
    assert tool.links() == []
    return str(done.stdout)


def judged(tool: Any, run: Path) -> None:
    if (run / "history.jsonl").exists():
        read_history(run / "history.jsonl")
    done = tool.call("check", run)
    assert "Traceback" not in done.stderr
    assert done.returncode == 3, done.stdout + done.stderr
    assert "UNKNOWN: unfinished" in done.stdout


def test_a_killed_tool_leaves_a_readable_history_and_heal_ends_the_rest(
    tool: Any,
    wait_for: WaitFor,
    lookalikes: Callable[[str], list[subprocess.Popen[bytes]]],
) -> None:
    child = tool.start(*FAST)
    run = tool.run_directory()
    history = run / "history.jsonl"
    wait_for(lambda: history.exists() and b"start-pause" in history.read_bytes(), "a fault", 60)
    (link,) = tool.links()
    others = lookalikes(read_link(str(link)).label)
    wait_for(lambda: not child.poll() and tool.labelled(), "its nodes")
    child.kill()
    child.wait()
    orphans = tool.labelled()
    assert orphans, "a killed tool cannot end its nodes"
    length = len(read_history(history)[0])
    assert length > 0
    words = healed(tool)
    assert "ended n" in words
    assert ": healed" in words
    assert all(other.poll() is None for other in others), "look-alikes must survive"
    judged(tool, run)
    assert "nothing to heal" in healed(tool)


SOME = (0, 1, 3, 8, 14)
MANY = tuple(range(40))


def killed_at(tool: Any, hook: str, number: int) -> None:
    """A run that ends itself at one journal record, and what can be done after it."""
    done = tool.call(*FAST, timeout_s=60, **{hook: str(number)})
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    run = tool.run_directory()
    healed(tool)
    judged(tool, run)


@pytest.mark.parametrize("number", SOME)
def test_killed_at_a_journal_record_all_can_be_undone(number: int, tool: Any) -> None:
    killed_at(tool, "SPLITBRAIN_FAIL_AT_JOURNAL", number)


@pytest.mark.deep
@pytest.mark.parametrize(
    "hook", ["SPLITBRAIN_FAIL_AT_JOURNAL", "SPLITBRAIN_FAIL_BEFORE_JOURNAL"]
)
@pytest.mark.parametrize("number", MANY)
def test_killed_at_each_journal_record_all_can_be_undone(
    number: int, hook: str, tool: Any
) -> None:
    if not number and "BEFORE" in hook:
        pytest.skip("nothing is before the link")
    killed_at(tool, hook, number)


def test_the_next_run_heals_what_a_killed_one_left(tool: Any) -> None:
    done = tool.call(*FAST, SPLITBRAIN_FAIL_AT_JOURNAL="9")
    assert done.returncode == -signal.SIGKILL
    assert tool.labelled()
    tool.call(*RUN[:-2], "--time-limit", "1")
    assert tool.labelled() == []
    assert tool.links() == []


def test_runs_at_once_and_heal_do_not_touch_each_other(tool: Any, wait_for: WaitFor) -> None:
    words = (
        "run register --on local --nodes 3 --time-limit 7 --nemesis kill --nemesis-interval 2"
    )
    children = [tool.start(*words.split(), "--seed", seed, "--rate", "30") for seed in (1, 2)]
    wait_for(lambda: len(tool.links()) == 2, "both runs", 60)
    while any(child.poll() is None for child in children):
        done = tool.call("heal")
        assert done.returncode == 0
        assert "ended" not in done.stdout, done.stdout
        time.sleep(0.5)
    for child in children:
        out, err = child.communicate()
        assert child.returncode == 0, out + err
        assert "VALID: " in out
    assert tool.labelled() == []
    assert tool.links() == []
