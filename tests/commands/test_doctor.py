"""``splitbrain doctor`` on machines that lack something: a clear line for it, and all else as ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from splitbrain.contracts.fault import Fault

USUAL = (sys.executable, "-m", "splitbrain")
FORGET = "import sys; sys.modules.update(docker=None, requests=None)"
WITHOUT_PACKAGE = (sys.executable, "-c", f"{FORGET}; from splitbrain.cli import main; main()")


def call(
    tmp_path: Path, *words: str, tool: Sequence[str] = USUAL, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*tool, *words],
        cwd=tmp_path,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """What was said of each thing: yes or no, and the details."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = {}
    for line in done.stdout.splitlines():
        what, _, rest = line.partition("  ")
        answer, _, details = rest.strip().partition(" ")
        told[what] = (answer, details.strip())
    return told


def one_reason(told: dict[str, tuple[str, str]], words: str) -> None:
    """Docker is out of the question, which is said once; the others are as ever."""
    answer, details = told["--on docker"]
    assert answer == "no"
    assert words in details
    assert not [what for what in told if what.startswith("docker: ")]
    assert told["local: partition"] == ("yes", "")


def refused(tmp_path: Path, words: str, **how: object) -> None:
    done = call(tmp_path, "run", "register", "--on", "docker", "--time-limit", "1", **how)  # type: ignore[arg-type]
    assert done.returncode == 4
    assert done.stderr.startswith("splitbrain: ")
    assert words in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert call(tmp_path, "heal").stdout == "nothing to heal\n"


def test_no_engine(tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    words = f"no Docker engine answers at unix://{tmp_path}/nothing.sock: start it"
    one_reason(rows(call(tmp_path, "doctor", **nowhere)), words)
    refused(tmp_path, words, **nowhere)


def test_no_package(tmp_path: Path) -> None:
    words = "the Python package docker is missing: pip install 'splitbrain[docker]'"
    one_reason(rows(call(tmp_path, "doctor", tool=WITHOUT_PACKAGE)), words)
    refused(tmp_path, words, tool=WITHOUT_PACKAGE)


def test_no_permission(tmp_path: Path) -> None:
    socket = Path("/var/run/docker.sock")
    if not socket.exists() or os.environ.get("DOCKER_HOST"):
        pytest.skip("needs an engine at its usual place")
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and util-linux's setpriv, to be nobody")
    try_it = [*nobody, sys.executable, "-c", "import splitbrain.cli"]
    if subprocess.run(try_it, capture_output=True, check=False).returncode:
        pytest.skip("nobody may not read this Python here")
    told = rows(call(Path("/"), "doctor", tool=[*nobody, *USUAL], HOME=str(tmp_path)))
    one_reason(told, f"may not talk to the Docker engine at unix://{socket}: join the group")


@pytest.mark.docker
def test_an_engine(tmp_path: Path) -> None:
    told = rows(call(tmp_path, "doctor"))
    if told["--on docker"][0] == "no":
        pytest.skip(f"docker: {told['--on docker'][1]}")
    assert told["docker: engine"][0] == "yes"
    answer, details = told["docker: image"]
    assert answer == "yes" or "splitbrain image build" in details
    for fault in Fault:
        answer, details = told[f"docker: {fault}"]
        assert answer == "yes" or len(details) > 10
