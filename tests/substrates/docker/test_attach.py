"""Containers that were there before a test: hurt like any node, and afterwards what they were."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Testbed
from splitbrain.errors import HostError, RequestError, SplitbrainError, UnknownName, Unsupported
from splitbrain.substrates.docker.agents import elsewhere
from splitbrain.substrates.docker.attached import node_names
from splitbrain.substrates.docker.finding import choose
from splitbrain.substrates.docker.substrate import DockerSubstrate

from .conftest import DockerTool, faults_file, in_force, wait_for
from .project import KILLED, NODES, OWN, PORT, Project

ANYTHING = Program(name="whatever it runs", argv=("false",))
LINKS = tuple(itertools.permutations(NODES, 2))


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


@pytest.mark.processes
def test_one_that_somebody_else_starts_is_told(project: Project, case: Any) -> None:
    async def body(testbed: Any) -> None:
        await testbed.node("n2").kill()
        project.containers["n2"].start()
        with pytest.raises(HostError, match=r"somebody has started .* policy: always"):
            await testbed.node("n2").restart()

    run(case, body)
    project.assert_as_before("n2")


def test_a_process_that_is_not_the_containers_gets_no_agent(project: Project) -> None:
    one, other = (project.inspect()[node] for node in ("n1", "n2"))
    assert elsewhere(one["Id"], one["State"]["Pid"]) == ""
    assert "is not that of container" in elsewhere(one["Id"], other["State"]["Pid"])
    assert "is not that of container" in elsewhere(one["Id"], os.getpid())


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
    labels: tuple[str, ...] = (),
    **host: Any,
) -> dict[str, Any]:
    """As ``docker inspect`` tells of one."""
    given = {"one": "10.0.0.2"} if networks is None else networks
    return {
        "Id": "f00",
        "Name": "/c",
        "State": {"Status": status},
        "Config": {
            "ExposedPorts": {port: {} for port in ports},
            "Labels": dict.fromkeys(labels, "x"),
        },
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
        (container(AutoRemove=True), container(), "started with --rm"),
        (container(labels=("io.kubernetes.pod.uid",)), container(), "an orchestrator"),
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
