"""A tool that dies anywhere leaves only what ``heal`` ends; and ``heal`` ends nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from splitbrain.substrates.heal import heal
from splitbrain.substrates.journal import (
    FAIL_AT,
    FAIL_BEFORE,
    FileJournal,
    RunLink,
    read_acts,
    state_directory,
)
from splitbrain.substrates.tools import procfs
from splitbrain.substrates.tools.private import MARK, make_private, private_path

pytestmark = pytest.mark.processes

DRIVER = Path(__file__).with_name("driver.py")
BATCH = 4


class Driven:
    """One run of the driver with a state directory of its own."""

    def __init__(self, directory: Path, *arguments: str, **hooks: str) -> None:
        directory.mkdir()
        self.label = f"heal-{os.getpid()}-{directory.parent.name}-{directory.name}"
        self.run = directory / "run"
        self.run.mkdir()
        self.home = directory / "state"
        self.state = str(self.home / "splitbrain" / "runs")
        environment = {**os.environ, "XDG_STATE_HOME": str(self.home), **hooks}
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(self.run), self.label, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def clean_up(self) -> None:
        """Whatever a failed test has left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        heal(self.state)

    def end(self) -> int:
        _, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return self.process.returncode

    @property
    def processes(self) -> list[int]:
        return [
            process.pid
            for process in procfs.processes()
            if procfs.environment_of(process.pid).get(procfs.LABEL) == self.label
        ]

    @property
    def sockets(self) -> Path:
        return Path(private_path("sockets", self.label))

    def assert_clean(self) -> None:
        assert self.processes == []
        assert not self.sockets.exists()
        assert list(Path(self.state).glob("*")) == []


@pytest.fixture
def drive(tmp_path):
    """Starts drivers, and leaves nothing of them."""
    started: list[Driven] = []

    def start(name: str, *arguments: str, **hooks: str) -> Driven:
        started.append(Driven(tmp_path / name, *arguments, **hooks))
        return started[-1]

    yield start
    for driven in started:
        driven.clean_up()


def writes_of_a_whole_run(drive) -> list[dict]:
    whole = drive("whole")
    assert whole.end() == 0
    whole.assert_clean()
    lines = (whole.run / "journal.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


def test_the_tool_dies_at_every_write_of_the_journal(drive) -> None:
    """After each record; and before each ``done``, when the act has happened unrecorded."""
    records = writes_of_a_whole_run(drive)
    assert {record["record"] for record in records} == {"intent", "done", "undone"}
    assert {record.get("act") for record in records} >= {
        "make-directory", "start-process", "pause", "fault-links", "kill",
    }  # fmt: skip
    cases = [(FAIL_AT, number) for number in range(len(records) + 1)]
    cases += [
        (FAIL_BEFORE, number + 1)
        for number, record in enumerate(records)
        if record["record"] == "done"
    ]
    ended, all_driven = 0, []
    for begin in range(0, len(cases), BATCH):
        batch = [
            drive(f"{hook[-14]}{number}", **{hook: str(number)})
            for hook, number in cases[begin : begin + BATCH]
        ]
        all_driven += batch
        for driven in batch:
            assert driven.end() == -9
            report = heal(driven.state)
            assert report.left == ()
            assert report.healed == (driven.label,)
            ended += len(report.ended)
            driven.assert_clean()
            assert heal(driven.state) == type(report)(), "healing twice is healing once"
    assert ended >= 10
    # The kernel shows a label only some moments after the start: look once more.
    for driven in all_driven:
        driven.assert_clean()


def test_heal_ends_orphans_also_paused_ones(drive) -> None:
    driven = drive("one", "wait")
    assert driven.process.stdout.readline() == "ready\n"
    (node,) = [
        pid for pid in driven.processes if "sleep" in Path(f"/proc/{pid}/comm").read_text()
    ]
    assert procfs.look(node).state == "T"
    alive = heal(driven.state)
    assert alive.alive == (driven.label,)
    assert alive.ended == ()
    assert procfs.look(node).state == "T", "a run whose tool lives is left alone"
    driven.process.kill()
    driven.end()
    report = heal(driven.state)
    assert [ended.what for ended in report.ended if ended.pid == node] == ["n1"]
    assert any(f"ended n1 (pid {node})" in line for line in report.lines())
    driven.assert_clean()


def test_the_next_run_heals_quietly(drive, tmp_path) -> None:
    first = drive("one", "wait")
    assert first.process.stdout.readline() == "ready\n"
    first.process.kill()
    first.end()
    assert first.processes
    environment = {**os.environ, "XDG_STATE_HOME": str(first.home)}
    (tmp_path / "next").mkdir()
    subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path / "next"), f"{first.label}-next"],
        env=environment,
        check=True,
        capture_output=True,
    )
    first.assert_clean()


def sleeper(label: str | None, *, session: bool = True) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if label is not None:
        environment[procfs.LABEL] = label
    process = subprocess.Popen(["sleep", "601"], env=environment, start_new_session=session)
    # Its environment is its own only once the new program runs.
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
        time.sleep(0.001)
    return process


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def dead_run(tmp_path: Path, label: str) -> FileJournal:
    """A run whose tool is gone, with a journal to write into."""
    journal = FileJournal(str(tmp_path / "journal.jsonl"), label=label)
    link = RunLink(
        label=label,
        journal=journal.path,
        pid=dead_pid(),
        start=1,
        boot=procfs.boot_id(),
        namespace=procfs.namespace(),
    )
    Path(state_directory(), f"{label}.json").write_bytes(msgspec.json.encode(link))
    return journal


def test_look_alikes_survive(tmp_path) -> None:
    label = f"run-{os.getpid()}"
    mine = {
        "journaled": sleeper(label),
        "only labelled": sleeper(label),
        "journaled, label lost": sleeper(None),
    }
    others = {
        "same command line": sleeper(None),
        "label with more behind it": sleeper(label + "0"),
        "label with less": sleeper(label[:-1]),
        "same label in a session of ours": sleeper(label, session=False),
        "recycled pid": sleeper(None),
    }
    try:
        journal = dead_run(tmp_path, label)
        for name in ("journaled", "journaled, label lost", "recycled pid"):
            process = mine.get(name) or others[name]
            start = procfs.look(process.pid).start - (name == "recycled pid")
            number = journal.intent("start-process", target=name, undo="end-process")
            journal.done(number, pid=process.pid, start=start, group=process.pid)
        journal.intent("start-process", target="never done", undo="end-process")
        foreign = tmp_path / "foreign"
        make_private(str(foreign), label + "0")
        gone = tmp_path / "own"
        make_private(str(gone), label)
        for path in (foreign, gone):
            journal.intent("make-directory", target=str(path), undo="remove-directory")
        report = heal()
        assert {ended.pid for ended in report.ended} == {p.pid for p in mine.values()}
        assert all(process.wait(5) == -9 for process in mine.values())
        assert all(process.poll() is None for process in others.values())
        assert report.removed == (str(gone),)
        assert foreign.exists()
        assert len(report.left) == 1
        assert str(foreign) in report.left[0]
        assert report.healed == ()
        again = heal()
        assert again.left == report.left
        assert again.ended == ()
    finally:
        for process in (*mine.values(), *others.values()):
            process.kill()
            process.wait()


def test_only_the_named_run_is_healed(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        dead_run(tmp_path / name, name)
    assert heal(only="a").healed == ("a",)
    assert heal().healed == ("b",)
    assert heal().lines() == ("nothing to heal",)


def test_a_run_of_an_earlier_boot_has_no_processes(tmp_path) -> None:
    process = sleeper(None)
    try:
        journal = dead_run(tmp_path, "old")
        number = journal.intent("start-process", target="n1", undo="end-process")
        journal.done(number, pid=process.pid, start=procfs.look(process.pid).start)
        me = procfs.look(os.getpid())
        link = RunLink(
            label="old", journal=journal.path, pid=me.pid, start=me.start, boot="before"
        )
        Path(state_directory(), "old.json").write_bytes(msgspec.json.encode(link))
        report = heal()
        assert report.healed == ("old",)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_run_in_another_container_is_left_alone(tmp_path) -> None:
    orphan = sleeper("elsewhere")
    try:
        journal = dead_run(tmp_path, "elsewhere")
        link = RunLink(
            label="elsewhere",
            journal=journal.path,
            pid=dead_pid(),
            start=1,
            boot=procfs.boot_id(),
            namespace="pid:[1]",
        )
        Path(state_directory(), "elsewhere.json").write_bytes(msgspec.json.encode(link))
        assert heal().alive == ("elsewhere",)
        assert orphan.poll() is None
    finally:
        orphan.kill()
        orphan.wait()


def test_a_link_that_cannot_be_read_is_told_and_kept(tmp_path) -> None:
    directory = Path(state_directory())
    directory.mkdir(parents=True)
    (directory / "torn.json").write_text('{"label":')
    newer = RunLink(label="new", journal="/nowhere", pid=1, start=1, format=99)
    (directory / "new.json").write_bytes(msgspec.json.encode(newer))
    report = heal()
    assert len(report.left) == 2
    assert len(list(directory.iterdir())) == 2


def test_a_lost_journal_does_not_matter(tmp_path) -> None:
    orphan = sleeper("lost")
    journal = dead_run(tmp_path, "lost")
    os.unlink(journal.path)
    report = heal()
    assert [ended.pid for ended in report.ended] == [orphan.pid]
    assert orphan.wait(5) == -9
    assert read_acts(journal.path) == {}


def test_a_directory_without_its_mark_is_removed_only_if_empty(tmp_path) -> None:
    journal = dead_run(tmp_path, "marks")
    empty, full, half = (tmp_path / name for name in ("empty", "full", "half"))
    for path in (empty, full, half):
        path.mkdir()
        journal.intent("make-directory", target=str(path), undo="remove-directory")
    (full / "file").write_text("somebody's")
    (half / MARK).write_text("")
    report = heal()
    assert set(report.removed) == {str(empty), str(half)}
    assert (full / "file").exists()


ORPHANED = """
import os, subprocess, sys, time
from splitbrain.substrates.heal import heal
from splitbrain.substrates.tools import procfs
leader = procfs.look(os.getpid())
if os.fork():
    os._exit(0)
while procfs.is_running(leader.pid, leader.start):
    time.sleep(0.001)
mine = subprocess.Popen(["sleep", "601"], env={**os.environ, procfs.LABEL: sys.argv[1]})
while procfs.environment_of(mine.pid).get(procfs.LABEL) != sys.argv[1]:
    time.sleep(0.001)
ended = heal().ended
print(mine.poll(), ended)
mine.kill()
"""


def test_the_healers_own_session_survives_its_leader(tmp_path) -> None:
    """As under a job runner that has let go of what it started."""
    label = f"run-{os.getpid()}"
    dead_run(tmp_path, label)
    done = subprocess.run(
        [sys.executable, "-c", ORPHANED, label],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "None ()\n"
