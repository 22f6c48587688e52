"""Containers that were there before a test: hurt like any node, and afterwards what they were."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Testbed
from splitbrain.errors import HostError, RequestError, SplitbrainError, UnknownName, Unsupported
from splitbrain.substrates.docker.attached import node_names
from splitbrain.substrates.docker.finding import choose
from splitbrain.substrates.docker.image import default_tag
from splitbrain.substrates.docker.substrate import DockerSubstrate

from .conftest import DockerTool, faults_file, in_force, wait_for

OWN = Path(__file__).resolve().parents[3] / "examples" / "own_service"
NODES = ("n1", "n2", "n3")
PORT = 8000
ANYTHING = Program(name="whatever it runs", argv=("false",))
LINKS = tuple(itertools.permutations(NODES, 2))
MOVES = frozenset(
    {
        *("State/Pid", "State/StartedAt", "State/FinishedAt", "State/ExitCode"),
        *("NetworkSettings/SandboxID", "NetworkSettings/SandboxKey"),
        *(f"/{it}" for it in ("EndpointID", "IPAddress", "MacAddress")),
    }
)
"""What a container has anew after each start."""


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from flat(part, f"{path}/{name}" if path else name)
    else:
        yield path, value


class Project:
    """Three nodes of the example's service, as docker-compose would have made them."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self.network = client.networks.create(
            f"{name}_default", labels={"splitbrain.test": name}
        )
        self.containers = {node: self._make(node) for node in NODES}
        for container in self.containers.values():
            container.start()
        self.before = self.inspect()

    def _make(self, node: str) -> Any:
        api = self.client.api
        peers = ",".join(f"{it}={it}:{PORT}" for it in NODES if it != node)
        command = "python3 /server.py --listen 0.0.0.0:8000 --data /tmp --primary n1"
        marks = {
            "com.docker.compose.project": self.name,
            "com.docker.compose.service": node,
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
            "splitbrain.test": self.name,
        }
        endpoint = api.create_endpoint_config(aliases=[node])
        made = api.create_container(
            default_tag(),
            [*command.split(), "--name", node, "--peers", peers],
            name=f"{self.name}_{node}_1",
            labels=marks,
            ports=[PORT],
            user="0",
            host_config=api.create_host_config(
                binds=[f"{OWN / 'server.py'}:/server.py:ro"],
                mem_limit="256m",
                restart_policy={"Name": "always"},
                network_mode=self.network.name,
            ),
            networking_config=api.create_networking_config({self.network.name: endpoint}),
        )
        return self.client.containers.get(made["Id"])

    def inspect(self) -> dict[str, Any]:
        return {
            node: self.client.api.inspect_container(it.id)
            for node, it in self.containers.items()
        }

    def state(self, node: str) -> str:
        return str(self.inspect()[node]["State"]["Status"])

    def rules(self, node: str) -> str:
        pid = self.inspect()[node]["State"]["Pid"]
        argv = ["nsenter", f"--net=/proc/{pid}/ns/net", "iptables", "-S"]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return "\n".join(line for line in told.splitlines() if not line.startswith("-P "))

    def assert_as_before(self, *killed: str) -> None:
        """Nothing differs but what a new start of those that were killed brings."""
        now = self.inspect()
        assert now.keys() == self.before.keys()
        for node in NODES:
            one, other = dict(flat(self.before[node])), dict(flat(now[node]))
            differ = {
                key for key in one.keys() | other.keys() if one.get(key) != other.get(key)
            }
            moved = {key for key in differ if any(key.endswith(it) for it in MOVES)}
            assert differ == (moved if node in killed else set()), node
            if now[node]["State"]["Running"]:
                assert self.rules(node) == ""

    def remove(self) -> None:
        for container in self.containers.values():
            container.remove(force=True, v=True)
        self.network.remove()


@pytest.fixture
def project(client: Any) -> Iterator[Project]:
    it = Project(client, f"attach{os.getpid()}x{time.monotonic_ns() % 1000}")
    yield it
    it.remove()


@pytest.fixture
def case(docker_case: Any, project: Project) -> Any:
    """The project, whatever its containers run."""
    docker_case.options = {"compose": project.name}
    return docker_case


def nothing_was_made(client: Any, label: str) -> bool:
    return not client.containers.list(all=True, filters={"label": f"splitbrain.run={label}"})


def run(case: Any, body: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        testbed: Testbed = await case.substrate.open(case.site())
        try:
            await asyncio.gather(*(testbed.node(name).start(ANYTHING) for name in case.nodes))
            await body(testbed)
        finally:
            await testbed.close()

    case.substrate.run(main)


pytestmark = pytest.mark.docker


@pytest.mark.processes
def test_every_fault_is_felt_and_nothing_of_it_stays(project: Project, case: Any) -> None:
    async def body(testbed: Any) -> None:
        n1, n2, n3 = (testbed.node(name) for name in NODES)
        assert await testbed.net.reach(LINKS, timeout_s=5) == dict.fromkeys(LINKS, True)
        cut = (("n1", "n2"), ("n2", "n1"))
        await testbed.net.cut("p1", cut)
        await n2.pause()
        assert (await n2.observe()).process == "stopped"
        await n2.resume()
        assert "DROP" in project.rules("n2")
        old = (await n2.observe()).started
        await n2.kill()
        assert (await n2.observe()).process == "absent"
        await asyncio.sleep(1.5)  # an engine obeys a restart policy within a tenth of a second
        assert project.state("n2") == "exited"
        await n2.restart()
        assert (await n2.observe()).started not in ("", old)
        assert await testbed.net.reach(cut, timeout_s=0.3) == dict.fromkeys(cut, False)
        await testbed.net.heal("p1")
        assert await testbed.net.reach(LINKS, timeout_s=5) == dict.fromkeys(LINKS, True)
        assert (await n1.exec(["cat", "/server.py"])).out == (OWN / "server.py").read_bytes()
        with pytest.raises(Unsupported, match="stay as they are"):
            await n1.host.starve()
        # Left hurt: cut, killed, paused.
        await testbed.net.cut("p2", (("n1", "n3"),))
        await n2.kill()
        await n3.pause()

    run(case, body)
    project.assert_as_before("n2")
    assert nothing_was_made(project.client, case.label)


@pytest.mark.processes
def test_what_was_paused_or_stopped_is_so_again(project: Project, case: Any) -> None:
    project.containers["n2"].pause()
    project.containers["n3"].kill()
    assert project.state("n3") == "exited"
    project.before = project.inspect()

    async def body(testbed: Any) -> None:
        assert await testbed.net.reach(LINKS, timeout_s=5) == dict.fromkeys(LINKS, True)
        for name in NODES:
            assert (await testbed.node(name).observe()).process == "running"
        await testbed.node("n3").exec(["sh", "-c", "echo told >/proc/1/fd/1"])
        await asyncio.sleep(0.3)

    run(case, body)
    assert [project.state(node) for node in NODES] == ["running", "paused", "exited"]
    project.assert_as_before("n3")
    assert (case.directory / "logs" / "n3.log").read_text() == "told\n"


@pytest.mark.processes
def test_links_are_cut_wherever_nodes_come_back(project: Project, case: Any) -> None:
    async def body(testbed: Any) -> None:
        await testbed.net.cut("p1", (("n2", "n1"),))
        old = [testbed.node(name).address for name in ("n2", "n3")]
        await testbed.node("n2").kill()
        await testbed.node("n3").kill()
        await testbed.node("n3").restart()  # the engine gives it the first address that is free
        assert await testbed.net.reach((("n3", "n1"),), timeout_s=5) == {("n3", "n1"): True}
        await testbed.node("n2").restart()
        assert {testbed.node(name).address for name in ("n2", "n3")} == set(old)
        seen = await testbed.net.reach(LINKS, timeout_s=1)
        assert [link for link in LINKS if not seen[link]] == [("n2", "n1")]
        assert testbed.links("n1")["n2"] == testbed.client_address("n2")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(testbed.node("n2").ip, 1)
        _, writer = await asyncio.open_connection(testbed.node("n2").ip, PORT)
        writer.close()

    run(case, body)
    project.assert_as_before("n2", "n3")


KILLED: tuple[tuple[float, str, tuple[str, ...], dict[str, Any]], ...] = (
    (0.3, "partition", (), {"cut": [["n1", "n2"], ["n2", "n1"]]}),
    (0.5, "pause", ("n1",), {}),
    (0.7, "kill", ("n3",), {}),
)


@pytest.mark.processes
@pytest.mark.parametrize("packets", ["host", "container"])
def test_heal_gives_back_what_a_killed_tool_had(
    packets: str, project: Project, tool: DockerTool
) -> None:
    path = faults_file(tool.directory / "faults.jsonl", *KILLED)
    words = ["run", "own-kv", "--system", "own-service", "--load", OWN / "own_service.py"]
    names = [word for it in project.containers.values() for word in ("--container", it.name)]
    path.write_text(re.sub('"(n[123])"', rf'"{project.name}_\1_1"', path.read_text()))
    child = tool.start(
        *words, "--on", "docker", *names, "--option", f"packets={packets}",
        "--faults", path, "--time-limit", "60",
    )  # fmt: skip
    store = tool.run_directory()

    def hurt() -> bool:
        assert child.poll() is None, child.communicate()
        return set(in_force(store)) == {"partition", "pause", "kill"}

    wait_for(hurt, "all faults to be in force")
    assert [project.state(node) for node in NODES] == ["paused", "running", "exited"]
    child.kill()
    child.wait()
    done = tool.call("heal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"gave back container {project.name}_n1_1: resumed" in done.stdout
    assert f"gave back container {project.name}_n3_1: started" in done.stdout
    assert tool.links() == []
    project.assert_as_before("n3")
    assert tool.call("heal").stdout == "nothing to heal\n"


@pytest.mark.processes
def test_heal_leaves_alone_what_its_owner_has_stopped_since(
    project: Project, tool: DockerTool
) -> None:
    child = tool.start(
        *("run", "own-kv", "--system", "own-service", "--load", OWN / "own_service.py"),
        *("--on", "docker", "--compose", project.name, "--time-limit", "60"),
    )
    store = tool.run_directory()
    wait_for(lambda: (store / "history.jsonl").exists(), "the run to begin")
    child.kill()
    child.wait()
    project.containers["n1"].stop(timeout=1)
    project.containers["n2"].pause()
    assert tool.call("heal").returncode == 0
    assert [project.state(node) for node in NODES] == ["exited", "paused", "running"]


def test_names_are_looked_up_and_wrong_ones_refused(project: Project) -> None:
    def asked(**options: Any) -> tuple[str, ...]:
        return node_names(TestSpec(workload="", options=options))

    names = [it.name for it in project.containers.values()]
    assert asked(compose=project.name) == NODES
    assert asked(containers=",".join(reversed(names))) == tuple(reversed(names))
    assert asked(containers=project.containers["n1"].id[:12]) == (names[0],)
    with pytest.raises(UnknownName, match=f"did you mean {project.name}"):
        asked(compose=project.name[:-1])
    with pytest.raises(UnknownName, match=names[0]):
        asked(containers=names[0].removesuffix("_1"))
    with pytest.raises(RequestError, match="named twice"):
        asked(containers=f"{names[0]},{project.containers['n1'].id[:12]}")
    with pytest.raises(HostError, match="docker-compose -p no-such-project-0 up -d"):
        asked(compose="no-such-project-0")
    with pytest.raises(RequestError, match="use one"):
        asked(compose="a", containers="b")
    with pytest.raises(RequestError, match="leave it out"):
        asked(compose=project.name, memory="256m")


def test_faults_that_would_change_what_is_not_ours_are_refused() -> None:
    spec = TestSpec(workload="", substrate="docker", options={"compose": "x"})
    lost = DockerSubstrate().impossible(spec)
    assert {Fault.CLOCK_JUMP, Fault.DISK_SLOW, Fault.POWER} <= lost.keys()
    assert not lost.keys() & {Fault.KILL, Fault.PAUSE, Fault.PARTITION, Fault.DELAY}
    assert DockerSubstrate().impossible(TestSpec(workload="", substrate="docker")) == {}


def container(
    networks: Mapping[str, str] | None = None,
    ports: tuple[str, ...] = ("80/tcp",),
    status: str = "running",
    **host: Any,
) -> dict[str, Any]:
    """As ``docker inspect`` tells of one."""
    given = {"one": "10.0.0.2"} if networks is None else networks
    return {
        "Id": "f00",
        "Name": "/c",
        "State": {"Status": status},
        "Config": {"ExposedPorts": {port: {} for port in ports}},
        "HostConfig": {"NetworkMode": "one", **host},
        "NetworkSettings": {
            "Networks": {name: {"IPAddress": ip} for name, ip in given.items()}
        },
    }


NETWORKS = {
    "one": {"Driver": "bridge"},
    "two": {"Driver": "bridge"},
    "six": {"Driver": "bridge", "EnableIPv6": True},
    "far": {"Driver": "overlay"},
}
BOTH = {"one": "10.0.0.2", "two": "10.1.0.2"}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (container(NetworkMode="host"), container(), "no network of its own"),
        (container(NetworkMode="container:f00"), container(), "no network of its own"),
        (container(status="restarting"), container(), "is restarting"),
        (container({"two": "10.1.0.2"}), container(), "share no network .a: two; b: one"),
        (container(BOTH), container(BOTH), "share the networks one, two"),
        (container({"six": "10.2.0.2"}), container({"six": "10.2.0.3"}), "has IPv6"),
        (container({"far": "10.3.0.2"}), container({"far": "10.3.0.3"}), "driver overlay"),
        (container(ports=("80/tcp", "81/tcp")), container(), "one TCP port .80, 81"),
        (container(ports=("53/udp",)), container(), "one TCP port .none"),
    ],
)
def test_what_cannot_be_a_node_is_refused_in_words(
    first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    with pytest.raises(SplitbrainError, match=words):
        choose({"a": first, "b": second}, NETWORKS, 0)


def test_ports_networks_and_policies_are_read() -> None:
    published = {"PortBindings": {"81/tcp": None}, "RestartPolicy": {"Name": "always"}}
    one, other = choose(
        {"a": container(BOTH, ("80/tcp", "81/tcp"), **published), "b": container()}, NETWORKS, 0
    )
    assert (one.network, one.ip, one.port, one.policy) == ("one", "10.0.0.2", 81, "always")
    assert (other.port, other.policy, other.state) == (80, "", "running")
    (alone,) = choose({"a": container(ports=())}, NETWORKS, 7)
    assert alone.port == 7


# --- what would be done -----------------------------------------------------------------------


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
