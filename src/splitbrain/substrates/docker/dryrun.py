"""A testbed that does nothing and says what would be done, as lines for a shell.

Each call to the engine stands there as the command ``docker`` that does the same.  Where something is
known only while it happens, such as a process id, the line asks for it as the run does.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import (
    ExecResult,
    NodeCrash,
    NodeState,
    Observation,
    Program,
)
from splitbrain.env import Caller
from splitbrain.errors import UnknownName
from splitbrain.substrates.docker.agents import by_host
from splitbrain.substrates.docker.drylinks import DryLinks
from splitbrain.substrates.docker.image import connect, default_tag
from splitbrain.substrates.docker.names import (
    PORT,
    address_of,
    free_subnets,
    gateway_of,
    labels,
    object_name,
)
from splitbrain.substrates.docker.options import Options

__all__ = ["DryTestbed", "rehearsal"]

Say = Callable[[str], None]

LABEL = "dry-run"
FILES = "RUN/sockets"
"""Where the files of a run's nodes are, below the directory that it makes."""


class DryNode:
    """See ``contracts.testbed.Node``; a node that was not made by us is *borrowed*."""

    python = "python3"

    def __init__(self, name: str, container: str, address: str, bed: DryTestbed) -> None:
        self.name = name
        self.container = container
        self.address = address
        self.borrowed = bed.options.attached
        self.data_dir = "" if self.borrowed else "/splitbrain/data"
        self.config_dir = "" if self.borrowed else "/splitbrain/config"
        self.control_path = "" if self.borrowed else "/splitbrain/run/control"
        self.program: Program | None = None
        self.status = "new"
        self._incarnation = 0
        self._bed = bed

    def state(self) -> NodeState:
        """As it would be."""
        return NodeState(status=self.status, incarnation=self._incarnation)

    async def start(self, program: Program) -> None:
        """Say how its container is made and started."""
        self.program = program
        if self.borrowed:
            log = f"logs/{self.name}.log"
            self._bed.say(f"docker logs --follow --since NOW {self.container} >> {log} &")
            self._up(started=True)
            return
        for path in program.files:
            self._bed.say(f"# write {FILES}/{self.name}/config/{path}")
        self._bed.say(_create(self, program, self._bed))
        await self.restart()

    async def restart(self) -> None:
        """Say how it is started."""
        if self.status in ("running", "paused"):
            return
        if not self.borrowed:
            self._bed.say(f"rm -f {FILES}/{self.name}/run/go")
        self._bed.say(f"docker start {self.container}")
        self._up(started=not self.borrowed)

    def _up(self, *, started: bool) -> None:
        self.status = "running"
        self._incarnation += 1
        self._bed.net.arrive(self.name)
        if started and not self.borrowed:
            self._bed.say(f"touch {FILES}/{self.name}/run/go    # lets the program begin")

    async def stop(self) -> None:
        """Say how it is stopped; a borrowed one goes on."""
        if self.status in ("running", "paused") and not self.borrowed:
            self._bed.say(f"docker stop --time 5 {self.container}")
            self._down()

    async def kill(self) -> None:
        """Say how it is killed."""
        if self.status in ("running", "paused"):
            self._bed.say(f"docker kill --signal SIGKILL {self.container}")
            self._down()

    def _down(self) -> None:
        self.status = "killed"
        self._bed.net.leave(self.name)

    async def power(self) -> None:
        """Say how it loses power."""
        self._bed.order(self.name, "tear")
        await self.kill()

    async def pause(self) -> None:
        """Say how it is paused."""
        if self.status == "running":
            self.status = "paused"
            self._bed.say(f"docker pause {self.container}")

    async def resume(self) -> None:
        """Say how it goes on."""
        if self.status == "paused":
            self.status = "running"
            self._bed.say(f"docker unpause {self.container}")

    async def throttle(self, cores: float | None) -> None:
        """Say how its processor time is limited."""
        quota = round((cores or self._bed.options.cpus) * 100_000) or -1
        limit = f"docker update --cpu-period 100000 --cpu-quota {quota}"
        self._bed.say(f"{limit} {self.container}")

    async def starve(self) -> None:
        """Say how it is deprived of memory."""
        self._bed.say(
            f"docker update --memory LESS {self.container}    # until the kernel kills it"
        )
        self._down()

    async def control(
        self, verb: str, arguments: Mapping[str, Any], *, timeout_s: float = 1.0
    ) -> Mapping[str, Any]:
        """Nobody answers."""
        raise ConnectionRefusedError(f"node {self.name} does not run")

    async def observe(self) -> Observation:
        """As it would be."""
        shown = {"running": "running", "paused": "stopped"}.get(self.status, "absent")
        return Observation(process=shown, started=str(self._incarnation))

    async def log_tail(self, lines: int = 20) -> Sequence[str]:
        """Nothing was printed."""
        return ()

    async def exec(self, argv: Sequence[str], *, timeout_s: float = 10.0) -> ExecResult:
        """Say what would be executed; it prints nothing."""
        self._bed.say(f"docker exec {shlex.join([self.container, *argv])}")
        return ExecResult(code=0)

    async def put(self, path: str, content: bytes) -> None:
        """Say which file would be written."""
        self._bed.say(f"docker cp - {shlex.quote(f'{self.container}:{path}')}")

    async def get(self, path: str) -> bytes:
        """There is no file yet."""
        raise FileNotFoundError(f"node {self.name} does not run")


class DryClocks:
    """See ``contracts.testbed.ClockFaults``: orders to a node's control socket."""

    def __init__(self, order: Callable[[str, str], None]) -> None:
        self._order = order

    async def jump(self, node: str, delta_ms: float) -> None:
        """Say so."""
        self._order(node, f"clock-set offset {delta_ms:g} ms")

    async def strobe(self, node: str, delta_ms: float, period_ms: float) -> None:
        """Say so."""
        self._order(node, f"clock-set strobe {delta_ms:g} ms / {period_ms:g} ms")

    async def drift(self, node: str, rate: float) -> None:
        """Say so."""
        self._order(node, f"clock-set rate {rate:g}")

    async def reset(self, node: str) -> None:
        """Say so."""
        self._order(node, "clock-set reset")


class DryTestbed:
    """See ``contracts.testbed.Testbed``."""

    net: DryLinks

    def __init__(self, spec: TestSpec, options: Options, say: Say) -> None:
        self.spec = spec
        self.options = options
        self.say = say
        self.now_ns = 0
        self.nodes: dict[str, DryNode] = {}
        self.clock = DryClocks(self.order)
        self._ends: list[str] = []

    def order(self, node: str, words: str) -> None:
        """Say what a program would be told, if it takes orders."""
        program = self.node(node).program
        if program is not None and program.control:
            self.say(f"# control socket of {node}: {words}")

    def own(self) -> None:
        """Say how network and volumes are made."""
        nodes = self.spec.nodes
        network = object_name(LABEL)
        subnet = next(free_subnets(LABEL, ()))
        marks = _marks()
        self.say(
            f"docker network create --driver bridge --subnet {subnet} "
            f"--gateway {gateway_of(subnet)} {marks} {network}"
        )
        ips = {name: address_of(subnet, nodes, name) for name in nodes}
        for name in nodes:
            volume = object_name(LABEL, name)
            self.say(f"docker volume create {_marks(name)} {volume}")
            self.nodes[name] = DryNode(name, volume, f"{ips[name]}:{PORT}", self)
            self._ends.append(f"docker rm --force {volume}")
            self._ends.append(f"docker volume rm --force {volume}")
        self._ends.append(f"docker network rm {network}")
        self._link(ips, gateway_of(subnet), self.options.image or default_tag())

    def borrow(self, client: Any) -> None:
        """Look at the containers that are there, and say how each is brought to run."""
        from splitbrain.substrates.docker.finding import PAUSED, STOPPED, find

        ips, gateway = {}, ""
        for target in find(client, self.options):
            if target.state == STOPPED:
                self.say(f"docker start {target.name}")
                self._ends.append(f"docker stop --time 10 {target.name}")
            elif target.state == PAUSED:
                self.say(f"docker unpause {target.name}")
                self._ends.append(f"docker pause {target.name}")
            ips[target.node] = target.ip or f"IP-OF-{target.name}"
            address = f"{ips[target.node]}:{target.port}"
            self.nodes[target.node] = DryNode(target.node, target.name, address, self)
            pools = client.api.inspect_network(target.network)["IPAM"]["Config"] or [{}]
            gateway = pools[0].get("Gateway", "")
        self._link(ips, gateway, default_tag())

    def _link(self, ips: Mapping[str, str], gateway: str, image: str) -> None:
        from splitbrain.substrates.docker.substrate import DockerSubstrate

        self.net = DryLinks(
            self.say,
            {name: node.container for name, node in self.nodes.items()},
            ips,
            gateway,
            lambda name: self.nodes[name].status == "running",
            image="" if by_host(self.options.packets) else image,
            queue=Fault.DELAY not in DockerSubstrate().missing,
        )

    def node(self, name: str) -> DryNode:
        """One node."""
        if name not in self.nodes:
            raise UnknownName("node", name, self.nodes)
        return self.nodes[name]

    def links(self, node: str) -> Mapping[str, str]:
        """As in the run."""
        return {name: other.address for name, other in self.nodes.items() if name != node}

    def client_address(self, node: str) -> str:
        """As in the run, but for a published port, which is drawn."""
        return "127.0.0.1:PORT" if self.options.publish else self.node(node).address

    def caller(self, client: str) -> Caller | None:
        """None: clients use the network."""
        return None

    def time_ns(self) -> int:
        """The time of the schedule that has been reached."""
        return self.now_ns

    async def slow_disk(self, node: str, extra_ms: float) -> None:
        """Say so."""
        self.order(node, f"disk-slow {extra_ms:g} ms")

    def crashes(self) -> Sequence[NodeCrash]:
        """Nothing runs, so nothing ends."""
        return ()

    async def close(self) -> None:
        """Say how all is removed, or given back as it was."""
        await asyncio.gather(*(node.resume() for node in self.nodes.values()))
        await self.net.heal(None)
        for node in self.nodes.values():
            if node.borrowed:
                await node.restart()
            else:
                await node.kill()
        for line in self._ends:
            self.say(line)


def _marks(node: str = "") -> str:
    return " ".join(f"--label {name}={value}" for name, value in labels(LABEL, node).items())


def _create(node: DryNode, program: Program, bed: DryTestbed) -> str:
    from splitbrain.substrates.docker.node import CONFIG, DATA, EVENTS, GATE, LOG, RUN_DIR

    files, options = f"{FILES}/{node.name}", bed.options
    binds = {
        node.container: DATA,
        f"{files}/config": CONFIG,
        f"{files}/run": RUN_DIR,
        f"RUN/logs/{node.name}.log": LOG,
        f"RUN/events/{node.name}.jsonl": EVENTS,
    }
    own = f"$(docker inspect -f '{{{{join .Config.Entrypoint \" \"}}}}' {program.image})"
    words = [
        *("docker", "create", "--name", node.container, "--hostname", node.name),
        *(
            word
            for name, value in labels(LABEL, node.name).items()
            for word in ("--label", f"{name}={value}")
        ),
        *("--network", object_name(LABEL), "--ip", node.address.partition(":")[0]),
        *(word for source, to in binds.items() for word in ("--volume", f"{source}:{to}")),
        *(("--memory", str(options.memory)) if options.memory else ()),
        *(("--cpus", f"{options.cpus:g}") if options.cpus else ()),
        *(("--publish", f"127.0.0.1:PORT:{PORT}") if options.publish else ()),
        *(
            word
            for name, value in program.environment.items()
            for word in ("--env", f"{name}={value}")
        ),
        *("--entrypoint", "sh", program.image or options.image or default_tag()),
        *("-c", GATE, "sh"),
    ]
    return f"{shlex.join(words)} {shlex.join(program.argv) or own}"


def rehearsal(spec: TestSpec, say: Say) -> DryTestbed:
    """A testbed of this test that only says what it would do.

    Raises:
        RequestError: an option is malformed, or a container is not there.
        HostError: no engine answers, where it is asked which containers there are.
    """
    bed = DryTestbed(spec, Options.of(spec), say)
    if not bed.options.attached:
        bed.own()
        return bed
    with contextlib.closing(connect()) as client:
        bed.borrow(client)
    return bed
