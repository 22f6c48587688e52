"""A tool that dies anywhere leaves on its hosts only what ``heal`` ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain.substrates.heal import heal
from splitbrain.substrates.journal import FAIL_AT, FAIL_BEFORE, read_acts
from splitbrain.substrates.ssh.heal import clear_hosts

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(400)]

DRIVER = Path(__file__).with_name("driver.py")


class Driven:
    """One run of the driver with a state directory of its own."""

    def __init__(self, lab, directory: Path, *arguments: str, **hooks: str) -> None:
        directory.mkdir()
        self.lab = lab
        self.label = f"heal-{os.getpid()}-{directory.parent.name}-{directory.name}"
        self.run = directory / "run"
        self.run.mkdir()
        self.state = str(directory / "state" / "splitbrain" / "runs")
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(self.run), self.label, lab.hosts(2), *arguments],
            env={**os.environ, "XDG_STATE_HOME": str(directory / "state"), **hooks},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> int:
        _, errors = self.process.communicate(timeout=120)
        assert "Traceback" not in errors, errors
        return self.process.returncode

    @property
    def acts(self) -> list[Mapping[str, Any]]:
        """What it did to hosts, as heal is told."""
        acts = read_acts(str(self.run / "journal.jsonl")).values()
        return [act.fields for act in acts if "login" in act.fields and not act.undone]

    def kill(self) -> None:
        assert self.process.stdout.readline() == "ready\n"
        self.process.kill()
        self.end()

    def assert_clean(self) -> None:
        assert self.lab.leftovers() == []
        assert list(Path(self.state).glob("*")) == []


@pytest.fixture
def drive(ssh_home, tmp_path):
    """Starts drivers, and leaves nothing of them."""
    started: list[Driven] = []

    def start(name: str, *arguments: str, **hooks: str) -> Driven:
        started.append(Driven(ssh_home, tmp_path / name, *arguments, **hooks))
        return started[-1]

    yield start
    for driven in started:
        if driven.process.poll() is None:
            driven.process.kill()
            driven.process.communicate()
        heal(driven.state)


def until_rules_are_gone(lab, number: int) -> None:
    """The agent notices its channel's end by itself: a dead man's switch."""
    for _ in range(100):
        if "SPLITBRAIN" not in lab.on(number, "iptables -S"):
            return
        time.sleep(0.1)
    raise AssertionError(lab.on(number, "iptables -S"))


def test_heal_ends_a_paused_node_and_what_else_is_there(drive, ssh_home) -> None:
    driven = drive("one", "wait")
    assert driven.process.stdout.readline() == "ready\n"
    assert "SPLITBRAIN-IN" in ssh_home.on(1, "iptables -S")
    assert " T" in ssh_home.on(0, "ps -o comm,stat -C sleep")
    alive = heal(driven.state)
    assert alive.alive == (driven.label,)
    assert " T" in ssh_home.on(0, "ps -o comm,stat -C sleep"), "left alone while its tool lives"
    driven.process.kill()
    driven.end()
    until_rules_are_gone(ssh_home, 1)
    assert " T" in ssh_home.on(0, "ps -o comm,stat -C sleep")
    # On this machine alone ``heal`` itself would find what runs in containers, and end it from here.
    cleared, left = clear_hosts(driven.label, driven.acts)
    assert left == ()
    first, second = (
        cleared[f"{user}@{address}"]
        for user, address in zip(("root", "tester"), ssh_home.addresses, strict=False)
    )
    assert len(first.ended) == 2, "the program and its keeper"
    assert len(first.removed) == len(second.removed) == 1
    assert ssh_home.leftovers() == []
    assert heal(driven.state).healed == (driven.label,)
    driven.assert_clean()
    assert heal(driven.state).lines() == ("nothing to heal",)


def test_rules_that_an_agent_could_not_remove_are_removed(drive, ssh_home) -> None:
    driven = drive("one", "wait")
    driven.kill()
    until_rules_are_gone(ssh_home, 1)
    ssh_home.on(1, "iptables -N SPLITBRAIN-IN; iptables -I INPUT 1 -j SPLITBRAIN-IN")
    assert heal(driven.state).left == ()
    driven.assert_clean()


def test_a_host_that_cannot_be_reached_stays_to_be_healed(drive, ssh_home) -> None:
    driven = drive("one", "wait")
    driven.kill()
    ssh_home.on(1, "iptables -I INPUT 1 -p tcp --dport 22 -j REJECT --reject-with tcp-reset")
    report = heal(driven.state)
    assert report.healed == ()
    (left,) = report.left
    assert f"tester@{ssh_home.addresses[1]}" in left
    assert driven.label in left
    ssh_home.on(1, "iptables -D INPUT 1")
    again = heal(driven.state)
    assert again.healed == (driven.label,)
    driven.assert_clean()


def test_the_next_run_heals_quietly(drive, tmp_path, ssh_home) -> None:
    first = drive("one", "wait")
    first.kill()
    (tmp_path / "next").mkdir()
    subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path / "next"), "next", ssh_home.hosts(2)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "one" / "state")},
        check=True,
        capture_output=True,
    )
    first.assert_clean()


def die_at(drive, hook: str, number: int) -> None:
    driven = drive(f"{hook[-14:]}{number}", **{hook: str(number)})
    assert driven.end() == -9
    report = heal(driven.state)
    assert report.left == ()
    assert report.healed == (driven.label,)
    driven.assert_clean()


def records_of_a_whole_run(drive) -> list[dict]:
    whole = drive("whole")
    assert whole.end() == 0
    whole.assert_clean()
    lines = (whole.run / "journal.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


def test_the_tool_dies_as_it_takes_hosts_and_starts_a_program(drive) -> None:
    records = records_of_a_whole_run(drive)
    acts = {record["n"]: record["act"] for record in records if record["record"] == "intent"}
    assert set(acts.values()) >= {"use-host", "start-remote", "pause", "fault-links"}
    hosts = [number for number, it in enumerate(records) if it.get("act") == "use-host"]
    (done,) = [
        number
        for number, it in enumerate(records)
        if it["record"] == "done" and acts[it["n"]] == "start-remote"
    ]
    for hook, number in ((FAIL_AT, hosts[-1] + 1), (FAIL_AT, done), (FAIL_BEFORE, done + 1)):
        die_at(drive, hook, number)


@pytest.mark.deep
def test_the_tool_dies_at_every_write_of_the_journal(drive) -> None:
    for number in range(len(records_of_a_whole_run(drive)) + 1):
        die_at(drive, FAIL_AT, number)
