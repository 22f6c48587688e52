"""What tests of containers share: the engine, the command line, a bystander, and a look at the host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.substrates.docker.image import connect, default_tag
from tests.commands.conftest import Tool
from tests.substrates.conftest import no_containers

from .host_state import HostState, Made
from .project import Project

NODES = ("n1", "n2", "n3")
LABEL = "splitbrain.test"


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A client of the engine; skips, with the reason, where no test can run in containers."""
    if lacking := no_containers():
        pytest.skip(f"docker: {lacking}")
    with contextlib.closing(connect()) as one:
        yield one


class DockerTool(Tool):
    """The command line, with runs in containers; whatever they leave is removed after the test."""

    def __init__(self, directory: Path, client: Any) -> None:
        super().__init__(directory)
        self.client = client

    def made(self, wait_s: float = 30.0) -> Made:
        """What the run that goes on has made so far."""
        wait_for(self.links, "the run's link", wait_s)
        (link,) = self.links()
        return Made(link)

    def end_all(self) -> None:
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.communicate()
        self.call("heal")
        super().end_all()


def wait_for(what: Callable[[], object], words: str, wait_s: float = 60.0) -> None:
    deadline = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < deadline, f"waited {wait_s:g} s for {words}"
        time.sleep(0.02)


@pytest.fixture
def tool(tmp_path: Path, client: Any) -> Iterator[DockerTool]:
    it = DockerTool(tmp_path, client)
    yield it
    it.end_all()


class Bystander:
    """Somebody else's container, network and volume, none of them a run's."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        marks = {LABEL: name}
        self.network = client.networks.create(f"{name}-net", labels=marks)
        self.volume = client.volumes.create(f"{name}-volume", labels=marks)
        self.container = client.containers.create(
            default_tag(),
            ["sleep", "600"],
            name=f"{name}-splitbrain-n1",
            hostname="n1",
            labels=marks,
            init=True,
            environment={"SPLITBRAIN_NODE": "n1"},
            volumes={f"{name}-volume": {"bind": "/splitbrain/data", "mode": "rw"}},
            network=f"{name}-net",
        )
        self.container.start()
        self.before = self._look()

    def _look(self) -> tuple[Any, ...]:
        self.container.reload()
        state = self.container.attrs["State"]
        rules = subprocess.run(
            ["nsenter", f"--net=/proc/{state['Pid']}/ns/net", "iptables-save"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        asked = [line for line in rules.splitlines() if line.startswith("-A")]
        self.network.reload()
        self.client.volumes.get(self.volume.name)
        kept = ("Pid", "StartedAt", "Status", "Paused")
        return *(state[key] for key in kept), asked, self.network.id

    def assert_untouched(self) -> None:
        """It runs on as if nothing had been."""
        assert self._look() == self.before
        assert self.before[2] == "running"

    def remove(self) -> None:
        self.container.remove(force=True)
        self.network.remove()
        self.volume.remove()


@pytest.fixture
def bystander(client: Any, tmp_path: Path) -> Iterator[Bystander]:
    it = Bystander(client, f"bystander-{os.getpid()}")
    yield it
    it.remove()


@pytest.fixture
def project(client: Any) -> Iterator[Project]:
    """Three containers that are there before the test."""
    it = Project(client, f"attach{os.getpid()}x{time.monotonic_ns() % 1000}")
    yield it
    it.remove()


@pytest.fixture
def host(client: Any) -> HostState:
    """The host before the test; only root sees all of it."""
    if os.geteuid():
        pytest.skip("needs root, to see the firewall of this machine")
    return HostState()


def faults_file(
    path: Path, *faults: tuple[float, str, tuple[str, ...], dict[str, Any]]
) -> Path:
    """A file for ``--faults``: each fault starts at its second and is never stopped."""
    lines = [
        {
            "time_ns": int(at_s * 1e9),
            "f": f"start-{fault}",
            "targets": targets,
            "parameters": parameters,
            "id": f"{fault}-{number}",
        }
        for number, (at_s, fault, targets, parameters) in enumerate(faults)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def nemesis_ops(run: Path) -> list[dict[str, Any]]:
    """What the nemesis has done so far, as the run's history has it."""
    path = run / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    ops = (json.loads(line) for line in lines if line.endswith("\n"))
    return [op for op in ops if op["process"] == -1]


def in_force(run: Path) -> list[str]:
    """The faults that have been started, by their completions."""
    starts = [op["f"] for op in nemesis_ops(run) if op["f"].startswith("start-")]
    return [f.removeprefix("start-") for f in sorted(set(starts)) if starts.count(f) > 1]
