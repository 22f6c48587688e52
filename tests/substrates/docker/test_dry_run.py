"""What a dry run prints for containers: each command, and nothing is done."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from .conftest import DockerTool, faults_file
from .project import KILLED, NODES, OWN, Project

pytestmark = pytest.mark.docker


@pytest.mark.processes
def test_a_dry_run_changes_nothing_and_its_lines_do_what_a_run_does(
    project: Project, tool: DockerTool
) -> None:
    path = faults_file(tool.directory / "faults.jsonl", *KILLED)
    done = tool.call(
        *("run", "own-kv", "--system", "own-service", "--load", OWN / "own_service.py"),
        *("--on", "docker", "--compose", project.name, "--faults", path, "--dry-run"),
    )
    assert done.returncode == 0, done.stderr
    assert project.inspect() == project.before
    assert not tool.store.exists()
    assert tool.links() == []
    # Agents and copies of logs go on beside the rest; what is left is done by a shell.
    lines = [line for line in done.stdout.splitlines() if not line.endswith("&")]
    (heal,) = [at for at, line in enumerate(lines) if line.endswith("  heal")]

    def shell(part: list[str]) -> None:
        subprocess.run(["sh", "-e"], input="\n".join(part) + "\n", text=True, check=True)

    shell(lines[:heal])
    assert [project.state(node) for node in NODES] == ["paused", "running", "exited"]
    address = project.before["n1"]["NetworkSettings"]["Networks"][project.network.name]
    assert f"-s {address['IPAddress']}/32 -j DROP" in project.rules("n2")
    shell(lines[heal:])
    project.assert_as_before("n3")


def test_a_dry_run_of_own_containers_tells_of_each_that_is_made(
    client: Any, tool: DockerTool
) -> None:
    words = "run register --on docker --nodes 3 --seed 1 --time-limit 30 --nemesis all"
    done = tool.call(*words.split(), "--option", "memory=256m", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["spec"]["seed"] == 1
    acts: dict[str, list[str]] = {}
    for line in told["commands"]:
        first = line.split()
        if first[0] == "docker":
            key = " ".join(first[1 : 3 if first[1] in ("network", "volume") else 2])
            acts.setdefault(key, []).append(line)
    for make, remove in (
        ("create", "rm"),
        ("volume create", "volume rm"),
        ("network create", "network rm"),
    ):
        names = [line.split()[-1] for line in acts[remove]]
        assert len(acts[make]) == len(names) == (1 if "network" in make else 3)
        assert all(any(f" {name}" in line for line in acts[make]) for name in names)
    assert all("--memory 268435456" in line for line in acts["create"])
    assert len(acts["pause"]) == len(acts["unpause"])
    marked = {"label": "splitbrain.run=dry-run"}
    assert (
        client.api.networks(filters=marked)
        == client.api.containers(all=True, filters=marked)
        == []
    )
    assert not client.api.volumes(filters=marked)["Volumes"]
    assert not tool.store.exists()
    assert tool.links() == []
