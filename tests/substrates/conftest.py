"""What tests of substrates share: a toy program for each substrate, and a testbed to try it on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.journal import Journal, NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Site, Substrate, Testbed
from splitbrain.env.random import Random
from splitbrain.errors import SplitbrainError
from splitbrain.substrates.local import LocalSubstrate

TOY = Path(__file__).with_name("toy.py")


def load_toy() -> ModuleType:
    """The toy's module, loaded once, under one name, for ``sim``."""
    name = "splitbrain_test_toy"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TOY)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class Case:
    """One substrate, with the toy on it.

    ``run`` opens a testbed, starts the toy on every node, awaits the test's body and closes it.
    """

    def __init__(self, substrate: Substrate, directory: Path) -> None:
        self.substrate = substrate
        self.directory: Path | None = directory
        self.nodes: tuple[str, ...] = ("n1", "n2", "n3")
        self.options: dict[str, Any] = {}
        # Workers of one session have test directories of the same names.
        self.label = f"test-{os.getpid()}-{directory.parent.name}-{directory.name}"
        self.journal: Journal = NullJournal()
        self.events: list[Mapping[str, Any]] = []
        self.power = False

    @property
    def real(self) -> bool:
        """False in simulation."""
        return self.substrate.name != "sim"

    def site(self) -> Site:
        return Site(
            spec=TestSpec(
                workload="none",
                substrate=self.substrate.name,
                nodes=self.nodes,
                options=self.options,
                seed=7,
            ),
            directory=None if self.directory is None else str(self.directory),
            label=self.label,
            random=Random(7),
            journal=self.journal,
            events=self.events.append,
            power=self.power,
        )

    def program(self, testbed: Testbed, name: str, **config: Any) -> Program:
        if not self.real:
            return Program(name="toy", control=True, build=load_toy().ToyShell)
        node = testbed.node(name)
        full = {
            "node": name,
            "peers": self.nodes,
            "listen": node.address,
            "links": testbed.links(name),
            "data": node.data_dir,
            "control": node.control_path,
            "power": self.power,
            **config,
        }
        return Program(
            name="toy",
            argv=(node.python, f"{node.config_dir}/toy.py", f"{node.config_dir}/toy.json"),
            files={"toy.json": json.dumps(full).encode(), "toy.py": TOY.read_bytes()},
            control=True,
        )

    def run(
        self, body: Callable[[Testbed], Awaitable[None]], *, start: bool = True, **config: Any
    ) -> None:
        async def main() -> None:
            testbed = await self.substrate.open(self.site())
            try:
                if start:
                    await asyncio.gather(
                        *(
                            testbed.node(name).start(self.program(testbed, name, **config))
                            for name in self.nodes
                        )
                    )
                await body(testbed)
            finally:
                await testbed.close()

        self.substrate.run(main)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user's own is read or written."""
    home = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return home


@pytest.fixture
def local_case(tmp_path: Path) -> Case:
    return Case(LocalSubstrate(), tmp_path / "run")


@functools.cache
def no_containers() -> str:
    """Why no test can run in containers here; empty if it can."""
    from splitbrain.substrates.docker import image
    from splitbrain.substrates.docker.substrate import DockerSubstrate

    try:
        with contextlib.closing(image.connect()) as client:
            image.ensure(client)
    except SplitbrainError as error:
        return str(error)
    return DockerSubstrate().missing.get(Fault.PARTITION, "")


def make_case(substrate: str, directory: Path) -> Case:
    """The toy on a substrate; skips, with the reason, where that is not possible here."""
    if substrate == "local":
        return Case(LocalSubstrate(), directory)
    if substrate == "docker":
        from splitbrain.substrates.docker.substrate import DockerSubstrate

        if lacking := no_containers():
            pytest.skip(f"docker: {lacking}")
        return Case(DockerSubstrate(), directory)
    from splitbrain.substrates.sim import SimSubstrate

    return Case(SimSubstrate(), directory)


@pytest.fixture(
    params=[
        "local",
        "sim",
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("ssh", marks=pytest.mark.ssh),
    ]
)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Each substrate in turn."""
    if request.param == "ssh":
        made: Case = request.getfixturevalue("ssh_case")
        return made
    return make_case(request.param, tmp_path / "run")


@pytest.fixture(scope="session")
def ssh_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Five hosts with SSH servers, for the whole session; skips, with the reason, without an engine."""
    sys.path.insert(0, str(Path(__file__).with_name("ssh")))
    from ssh_lab import Lab

    try:
        lab = Lab(tmp_path_factory.mktemp("ssh-home"))
    except SplitbrainError as error:
        pytest.skip(f"ssh: {error}")
    yield lab
    lab.close()


@pytest.fixture
def ssh_home(ssh_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lab, for a user whose home directory has its key and known hosts."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", str(ssh_lab.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return ssh_lab


@pytest.fixture
def ssh_case(ssh_home: Any, tmp_path: Path) -> Case:
    """The toy on hosts; nothing of it is left there afterwards."""
    from splitbrain.substrates.ssh.substrate import SshSubstrate

    made = Case(SshSubstrate(), tmp_path / "run")
    made.options["hosts"] = ssh_home.hosts(5)
    return made


@pytest.fixture
def docker_case(tmp_path: Path) -> Case:
    return make_case("docker", tmp_path / "run")
