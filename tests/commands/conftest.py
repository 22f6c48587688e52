"""Ways to run the command line: inside this process, and as a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitbrain.cli import main
from splitbrain.substrates.tools import procfs

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """``invoke("run", "register", ...)`` in a directory and with a state directory of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], prog_name="splitbrain")

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A valid and an invalid run in simulation; copy what you change."""
    store = tmp_path_factory.mktemp("finished")
    runs = []
    for words, code in (
        ("--time-limit 4 --nemesis partition --nemesis-interval 1 --seed 3", 0),
        ("--time-limit 20 --nemesis partition --bug ack-on-append --seed 1", 1),
    ):
        where = store / str(code)
        command = f"run register --on sim --store {where} {words}"
        done = CliRunner().invoke(main, command.split())
        assert done.exit_code == code, done.output
        runs.append((where / "latest").resolve())
    return runs[0], runs[1]


@pytest.fixture
def valid_run(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "valid-run"))


@pytest.fixture
def invalid_run(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[1], tmp_path / "invalid-run"))


class Tool:
    """Starts the tool as a process; whatever it leaves is ended after the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.state = directory / "state" / "splitbrain" / "runs"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "splitbrain", *map(str, words)],
            cwd=self.directory,
            env={**self.environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(child)
        return child

    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.directory / "state")}

    def call(
        self, *words: object, timeout_s: float = 60.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        child = self.start(*words, **environment)
        out, err = child.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def run_directory(self, wait_s: float = 20.0) -> Path:
        """The newest run's, once it is there."""
        latest = self.store / "latest"
        wait_for(latest.exists, f"{latest} to appear", wait_s)
        return latest.resolve()

    def labelled(self) -> list[int]:
        """Living processes of the runs in this store, by their label in the environment."""
        runs = {f"splitbrain-{path.parent.name}-{path.name}" for path in self.store.glob("*/*")}
        found = []
        for process in procfs.processes():
            label = procfs.environment_of(process.pid).get(procfs.LABEL, "")
            run, _, token = label.rpartition("-")
            if run in runs and not set(token) - set("0123456789abcdef"):
                found.append(process.pid)
        return found

    def links(self) -> list[Path]:
        return sorted(self.state.glob("*.json"))

    def end_all(self) -> None:
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.communicate()
        for pid in self.labelled():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    it = Tool(tmp_path)
    yield it
    it.end_all()


def wait_for(what: Callable[[], object], words: str, wait_s: float = 20.0) -> None:
    deadline = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < deadline, f"waited {wait_s:g} s for {words}"
        time.sleep(0.02)


@pytest.fixture(name="wait_for")
def wait_for_fixture() -> Callable[..., None]:
    return wait_for


def one_line(done: Result | subprocess.CompletedProcess[str]) -> str:
    """What was told on stderr: one line of ours, and no traceback anywhere."""
    err = done.stderr
    assert "Traceback" not in err, err
    lines: Sequence[str] = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("splitbrain: "), err
    return lines[0].removeprefix("splitbrain: ")


@pytest.fixture(name="one_line")
def one_line_fixture() -> Callable[..., str]:
    return one_line
