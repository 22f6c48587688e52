"""docs/own-service.md works as printed: its commands are run, its code is that of the example."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitbrain.contracts.fault import Fault
from splitbrain.errors import SplitbrainError
from splitbrain.results.runs import Run, read_run
from splitbrain.substrates.docker import image
from splitbrain.substrates.docker.substrate import DockerSubstrate

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "examples" / "own_service"
PAGE = (ROOT / "docs" / "own-service.md").read_text()
VALID, INVALID, ATTACHED, STALE = re.findall(
    r"```\n\$ splitbrain (.*?)\n(.*?)```", PAGE, flags=re.DOTALL
)
FIGURES = re.compile(r"\d[\dT,.]*")
COUNTS = re.compile(r"under .*?:")


def run(place: Path, command: str) -> tuple[int, str, Run]:
    """What a command of the page comes to."""
    if not (place / "examples").exists():
        (place / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, "-m", "splitbrain", *shlex.split(command)],
        cwd=place,
        env={**os.environ, "XDG_STATE_HOME": str(place / "state")},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, read_run((place / "store" / "latest").resolve())


def told(recorded: Run, f: str) -> list[dict[str, object]]:
    """What was observed of each application, where it was due."""
    return [
        proof
        for op in recorded.history
        if op.f == f and "proof" in op.value
        for proof in op.value["proof"]
        if "masked" not in proof
    ]


def printed(text: str) -> str:
    """What is the same for every run of a command."""
    return FIGURES.sub("N", COUNTS.sub("under faults:", text))


@pytest.mark.processes
def test_the_service_keeps_its_promise_and_each_fault_is_proven(tmp_path: Path) -> None:
    keeps_its_promise(tmp_path, *VALID)
    history = (tmp_path / "store" / "latest" / "history.jsonl").read_text()
    shown = re.findall(r'^\{"effective".*\}$', PAGE, flags=re.MULTILINE)
    assert len(shown) == 2
    for line in shown:  # which nodes are hit first may differ
        assert line.partition(',"target"')[0] in history


def keeps_its_promise(place: Path, command: str, page: str) -> None:
    """The run is valid, and says so as the page does; every fault was felt."""
    code, stdout, recorded = run(place, command)
    assert code == 0, stdout
    assert printed(stdout) == printed(page)
    for fault in ("partition", "kill", "pause"):
        seen = [proof.get("effective") for proof in told(recorded, f"start-{fault}")]
        assert True in seen
        assert False not in seen
    assert not [op.error for op in recorded.history if op.process < 0 and op.error]


@pytest.mark.processes
def test_reads_of_an_old_copy_are_found_and_explained(tmp_path: Path) -> None:
    breaks_its_promise(tmp_path, *INVALID)


def breaks_its_promise(place: Path, command: str, page: str) -> None:
    """The run is invalid, for the reason that the page gives."""
    code, stdout, _ = run(place, command)
    assert code == 1, stdout
    # What nobody saw before it was overwritten is told as lost: that is seldom here.
    sentence = r"INVALID: a (stale read|lost write) of key \d+: .*read \w+ by process \d"
    assert re.search(sentence, stdout), stdout
    assert re.search(sentence, page)
    report = (place / "store" / "latest" / "report.html").read_text()
    assert stdout.splitlines()[1].removeprefix("INVALID: ")[:60] in report


def shorter(command: str) -> str:
    """The same faults in less time."""
    assert "--time-limit 20" in command
    return command.replace("--time-limit 20", "--time-limit 12")


class Compose:
    """A project of the example's compose file, in an image of its own, without published ports."""

    def __init__(self, place: Path, base: str) -> None:
        self.name = f"own{os.getpid()}"
        self.image = f"own-service-test-{os.getpid()}"
        shutil.copytree(PLACE, place / "composed")
        self.file = place / "composed" / "docker-compose.yml"
        text = self.file.read_text()
        self.file.write_text(re.sub(r"\n    ports: .*", "", text))
        self.environment = {
            **os.environ, "BASE_IMAGE": base, "OWN_SERVICE_IMAGE": self.image,
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }  # fmt: skip

    def __call__(self, *words: str, **environment: str) -> None:
        done = subprocess.run(
            ["docker-compose", "-p", self.name, "-f", str(self.file), *words],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def states(self) -> list[tuple[str, str, str]]:
        """Of each container its name, its id and its state."""
        form = "{{.Names}} {{.ID}} {{.State}}"
        done = subprocess.run(
            ["docker", "ps", "-a", "--filter", f"name={self.name}_", "--format", form],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return sorted(tuple(line.split()) for line in done.stdout.splitlines())  # type: ignore[misc]


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Compose]:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed: apt-get install docker-compose")
    try:
        with contextlib.closing(image.connect()) as client:
            base = image.ensure(client).tag  # whatever it is built on, it has python3
    except SplitbrainError as error:
        pytest.skip(f"docker: {error}")
    if lacking := DockerSubstrate().missing.get(Fault.PARTITION):
        pytest.skip(f"docker: {lacking}")
    it = Compose(tmp_path, base)
    try:
        yield it
    finally:
        it("down", "-t", "1", "--volumes", "--rmi", "all")


@pytest.mark.docker
@pytest.mark.processes
def test_a_compose_project_is_tested_and_stays_as_it_was(
    compose: Compose, tmp_path: Path
) -> None:
    (_, attached), (_, stale) = ATTACHED, STALE
    valid, invalid = (
        command.replace("--compose own_service", f"--compose {compose.name}")
        for command, _ in (ATTACHED, STALE)
    )
    compose("up", "--build", "-d")
    before = compose.states()
    assert [state for _, _, state in before] == ["running"] * 3
    keeps_its_promise(tmp_path, shorter(valid), attached)
    assert compose.states() == before
    compose("up", "-d", "-t", "1", OWN_SERVICE_FLAGS="--stale")
    breaks_its_promise(tmp_path, invalid, stale)


@pytest.mark.docker
@pytest.mark.processes
def test_the_service_is_tested_in_containers_that_the_run_makes(
    compose: Compose, tmp_path: Path
) -> None:
    compose("build")
    command, page = ATTACHED
    own = f"--nodes 3 --option image={compose.image}"
    command = command.replace("--compose own_service", own)
    keeps_its_promise(tmp_path, shorter(command), page)
    assert compose.states() == []


def test_the_code_of_the_page_is_that_of_the_example() -> None:
    code = (PLACE / "own_service.py").read_text()
    assert len(code.splitlines()) <= 80
    *blocks, suite = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        assert block in code
    ast.parse(suite)


def test_the_service_knows_nothing_of_splitbrain() -> None:
    text = (PLACE / "server.py").read_text()
    imported: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported
    assert imported <= sys.stdlib_module_names
    assert len(text.splitlines()) < 140


def test_the_compose_file_is_understood_and_published_on_loopback_alone() -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed: apt-get install docker-compose")
    done = subprocess.run(
        [compose, "-f", str(PLACE / "docker-compose.yml"), "config"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OWN_SERVICE_IMAGE": "another"},
    )
    assert done.returncode == 0, done.stderr
    ports = re.findall(r"- (\S+:8000)", done.stdout)
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert done.stdout.count("image: another") == 3
