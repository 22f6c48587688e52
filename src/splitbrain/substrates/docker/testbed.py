"""The testbed of ``docker``: a network, a container a node, an agent in each one's namespace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from docker import DockerClient
from splitbrain.contracts.testbed import Site
from splitbrain.errors import HostError
from splitbrain.substrates.docker.agents import agent_argv, by_host
from splitbrain.substrates.docker.engine import Engine, News
from splitbrain.substrates.docker.image import ensure
from splitbrain.substrates.docker.names import (
    PORT,
    RUN,
    address_of,
    free_subnets,
    gateway_of,
    labels,
    object_name,
)
from splitbrain.substrates.docker.node import (
    CONFIG,
    CONTROL,
    DATA,
    EVENTS,
    ContainerHost,
    Plan,
)
from splitbrain.substrates.docker.options import Options
from splitbrain.substrates.docker.place import DockerNode
from splitbrain.substrates.packets.client import Agent
from splitbrain.substrates.packets.net import PacketNet
from splitbrain.substrates.real.host import Paths
from splitbrain.substrates.real.places import HeldPort, Places
from splitbrain.substrates.real.testbed import RealTestbed

__all__ = ["DockerTestbed", "open_testbed", "opened"]

_TRIES = 8


class DockerTestbed(RealTestbed[DockerNode]):
    """See ``contracts.testbed.Testbed``; made by :func:`open_testbed`."""

    def __init__(self, site: Site, options: Options, engine: Engine, image: str) -> None:
        places = Places(site.directory, site.label, site.journal, site.spec.nodes)
        super().__init__(site, places, keep_data=options.keep_data)
        self._options = options
        self._engine = engine
        self._image = image
        self._made: list[ContainerHost] = []
        self._ports: dict[str, HeldPort] = {}
        self._network: tuple[str, int] | None = None
        self._news: News | None = None
        self._net: PacketNet | None = None

    async def open(self) -> None:
        """Make the network and all that stands before the first container."""
        subnet = await self._make_network()
        for name in self.site.spec.nodes:
            self.add(self._make_node(name, subnet))
        self._net = PacketNet(
            self._nodes,
            client=dict.fromkeys(self._nodes, gateway_of(subnet)),
            random=self.random,
            label=self.site.label,
            journal=self.site.journal,
        )
        self._news = News(self._engine, {"label": [f"{RUN}={self.site.label}"]}, self._hear)
        await asyncio.gather(*(host.prepare() for host in self._made))
        self.follow()

    async def _make_network(self) -> str:
        """The engine refuses a subnet that another of its networks has."""
        label, problem = self.site.label, ""
        name = object_name(label)
        number = self.site.journal.intent(
            "make-network",
            target=name,
            label=label,
            engine=self._engine.url,
            undo="remove-network",
        )
        api = self._engine.client.api
        taken = await asyncio.to_thread(_routes)
        for subnet, _ in zip(free_subnets(label, taken), range(_TRIES), strict=False):
            pool = {"Subnet": subnet, "Gateway": gateway_of(subnet)}
            try:
                made = await self._engine.call(
                    "create_network",
                    name,
                    driver="bridge",
                    ipam={"Driver": "default", "Config": [pool]},
                    labels=dict(labels(label)),
                )
            except HostError as error:
                problem = str(error)
                if "overlap" not in problem:
                    break
                continue
            self._network = (str(made["Id"]), number)
            self.site.journal.done(number, id=made["Id"], subnet=subnet)
            return subnet
        self.site.journal.undone(number)
        raise HostError(f"cannot make a network in Docker at {api.base_url}: {problem}")

    def _make_node(self, name: str, subnet: str) -> DockerNode:
        files = Path(self.places.sockets) / name
        ip = address_of(subnet, self.site.spec.nodes, name)
        if self._options.publish:
            self._ports[name] = HeldPort()
        paths = Paths(
            address=f"{ip}:{PORT}",
            data_dir=DATA,
            config_dir=CONFIG,
            control_path=CONTROL,
            events_path=EVENTS,
            python="python3",
            log=self.places.log(name),
            events=self.places.events(name),
            control_file=str(files / "run" / "control"),
        )
        plan = Plan(
            image=self._options.image or self._image,
            network=object_name(self.site.label),
            ip=ip,
            memory=self._options.memory,
            cpus=self._options.cpus,
            files=str(files),
            published=self._ports[name].number if name in self._ports else 0,
        )
        host = ContainerHost(
            name,
            plan,
            paths,
            self._engine,
            self.keeper,
            agent_for=self._start_agent,
            restored=self._restored,
        )
        self._made.append(host)
        return DockerNode(host, self.keeper)

    async def _start_agent(self, node: str, container: str, pid: int) -> Agent:
        """From this machine where we are root; else from a helper that shares the namespace."""
        argv = agent_argv(
            container,
            pid,
            image="" if by_host(self._options.packets) else self._image,
            marks=labels(self.site.label, node),
        )
        return await Agent.start(
            argv,
            label=self.site.label,
            journal=self.site.journal,
            target=f"agent of {node}",
            log=self.places.log("agents"),
        )

    async def _restored(self, node: str) -> None:
        await self.net.restored(node)

    def _hear(self, container: str, action: str, attributes: Mapping[str, str]) -> None:
        for node in self._nodes.values():
            if node.host.container == container:
                node.host.hear(action, attributes)

    @property
    def net(self) -> PacketNet:
        """The links."""
        assert self._net is not None, "not opened"
        return self._net

    def links(self, node: str) -> Mapping[str, str]:
        """For each other node its own address: packets are cut, so no proxy stands between."""
        return {name: other.address for name, other in self._nodes.items() if name != node}

    def client_address(self, node: str) -> str:
        """The node's own address; with ``publish=true`` the port of 127.0.0.1 that leads there."""
        port = self._ports.get(self.node(node).name)
        return f"127.0.0.1:{port.number}" if port is not None else self.node(node).address

    def _closing(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return (
            self._kill_all,
            self._heal_net,
            self._keep_all,
            self._remove_nodes,
            self._remove_network,
            self._unfollow,
            self._give_back,
            self._remove,
        )

    async def _kill_all(self) -> None:
        await asyncio.gather(*(node.kill() for node in self._nodes.values()))

    async def _heal_net(self) -> None:
        if self._net is not None:
            await self._net.heal(None)  # for the journal: the rules end with the namespaces
            await self._net.close()

    async def _keep_all(self) -> None:
        if not self._options.keep_data:
            return
        for host in self._made:
            if host.container:
                await host.copy_data(self.places.data(host.name))

    async def _remove_nodes(self) -> None:
        await asyncio.gather(*(node.host.remove() for node in self._nodes.values()))

    async def _remove_network(self) -> None:
        if self._network is not None:
            id_, number = self._network
            await self._engine.call("remove_network", id_)
            self.site.journal.undone(number)
            self._network = None

    async def _give_back(self) -> None:
        for port in self._ports.values():
            port.close()
        if self._news is not None:
            await self._news.close()
        self._engine.close()


def _routes() -> list[str]:
    """Networks that this machine has a route to."""
    try:
        lines = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        address, bits = (
            int.from_bytes(bytes.fromhex(it), "little") for it in (destination, mask)
        )
        parts = ".".join(str(byte) for byte in address.to_bytes(4, "big"))
        found.append(f"{parts}/{bits.bit_count()}")
    return found


T = TypeVar("T", bound=DockerTestbed)


async def open_testbed(site: Site, client: DockerClient) -> DockerTestbed:
    """Make everything but the containers; on failure nothing is left.

    Args:
        site: where and for whom.
        client: of the engine; closed with the testbed.
    """
    engine = Engine(client)
    try:
        options = Options.of(site.spec)
        image = (await asyncio.to_thread(ensure, engine.client)).tag
        testbed = DockerTestbed(site, options, engine, image)
    except BaseException:
        engine.close()
        raise
    return await opened(testbed)


async def opened(testbed: T) -> T:
    """The testbed once it is open; on failure nothing of it is left."""
    try:
        await testbed.open()
    except BaseException:
        # Why it cannot be opened is worth more than why it cannot be closed; the journal has the rest.
        with contextlib.suppress(Exception):
            await testbed.close()
        raise
    return testbed
