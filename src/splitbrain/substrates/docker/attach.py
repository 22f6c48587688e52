"""Nodes that are containers which were there before, and are there afterwards as they were.

Nothing is made and nothing is removed.  A node's program is what its container runs: ``start`` takes
the container as it is, a kill is the engine's kill, a restart its start, and links are cut in the
container's network namespace.  At a restart that namespace is new, and the container's own entry point
runs at once: until the links' rules are back, a fraction of a second, packets may pass a cut.

What the container's owner has set stays: image, labels, networks, limits, restart policy.  An engine
does not restart, whatever the policy says, what was killed through its interface; a container that ends
by *itself* and is restarted by its policy is a crash for the test all the same.

At the end each container is again what it was: running, paused or stopped; see ``loan``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from docker import DockerClient
from splitbrain.contracts.testbed import Program, Site
from splitbrain.errors import HostError, Unsupported
from splitbrain.substrates.docker.agents import by_host
from splitbrain.substrates.docker.body import ContainerBody
from splitbrain.substrates.docker.engine import Engine, News
from splitbrain.substrates.docker.finding import PAUSED, STOPPED, Target, find
from splitbrain.substrates.docker.image import ensure
from splitbrain.substrates.docker.loan import Book
from splitbrain.substrates.docker.logs import LogCopy
from splitbrain.substrates.docker.names import returncode
from splitbrain.substrates.docker.options import Options
from splitbrain.substrates.docker.place import AgentFor, ContainerPlace, DockerNode
from splitbrain.substrates.docker.testbed import DockerTestbed, opened
from splitbrain.substrates.packets.net import PacketNet
from splitbrain.substrates.real.host import Paths
from splitbrain.substrates.real.node import Keeper

__all__ = ["AttachedTestbed", "open_attached"]

_NOT_OURS = "its limits are its owner's, and stay as they are; leave this fault out"


class AttachedBody(ContainerBody):
    """One run of a borrowed container."""

    def __init__(self, engine: Engine, book: Book, pid: int) -> None:
        super().__init__(engine, book.target.container, pid)
        self._book = book

    async def stop(self, timeout_s: float) -> None:
        """Nothing: it ran before the test, and goes on."""

    async def kill(self) -> None:
        """SIGKILL; it will be started again."""
        self._book.killing()
        await super().kill()
        await self._book.killed()


class AttachedHost(ContainerPlace):
    """A borrowed container as the place of a node."""

    def __init__(
        self,
        book: Book,
        paths: Paths,
        engine: Engine,
        keeper: Keeper,
        *,
        agent_for: AgentFor,
        restored: Callable[[str], Awaitable[None]],
    ) -> None:
        node, ip = book.target.node, book.target.ip
        super().__init__(
            node, ip, paths, engine, keeper, agent_for=agent_for, restored=restored
        )
        self.container = book.target.container
        self.book = book
        self.logs = LogCopy(engine, self.container, paths.log, time.time_ns() / 1e9)

    async def _launch(self, program: Program, environment: Mapping[str, str]) -> ContainerBody:
        """Take the container as it runs, or start it again; the program is its own."""
        if program.control:
            raise Unsupported(
                f"node {self.name}: {program.name} is given orders through a control socket, which a "
                "container that was there already does not have; test it by a System of your own"
            )
        running = bool((await self.book.state())["Running"])
        if running and self.book.holds:
            raise HostError(
                f"node {self.name}: somebody has started its container while the test held it killed; "
                f"let nobody do so for the time of a test (restart policy: "
                f"{self.book.target.policy or 'none'})"
            )
        if not running:
            await self.book.start()
        seen = await self._engine.call("inspect_container", self.container)
        body = AttachedBody(self._engine, self.book, int(seen["State"]["Pid"]))
        self.body = body
        self.logs.follow()
        if not seen["State"]["Running"]:
            body.ended(returncode(int(seen["State"]["ExitCode"])))
            return body
        networks = seen["NetworkSettings"]["Networks"]
        self.ip = str(networks[self.book.target.network]["IPAddress"])
        await self._renew_agent(body)
        return body

    async def throttle(self, cores: float | None) -> None:
        """Not to others' containers."""
        if cores is not None:
            raise Unsupported(f"node {self.name}: {_NOT_OURS}")

    async def starve(self) -> None:
        """Not to others' containers."""
        raise Unsupported(f"node {self.name}: {_NOT_OURS}")

    async def _remove(self) -> None:
        await self._end_agent()
        await self.logs.close()


class AttachedNode(DockerNode):
    """A node whose address may be another after a restart."""

    def __init__(self, host: AttachedHost, keeper: Keeper) -> None:
        super().__init__(host, keeper)
        self._port = host.book.target.port

    @property
    def address(self) -> str:
        """Where it listens now."""
        return f"{self.ip}:{self._port}"


class AttachedTestbed(DockerTestbed):
    """See ``contracts.testbed.Testbed``; made by :func:`open_attached`."""

    def __init__(self, site: Site, options: Options, engine: Engine, image: str) -> None:
        super().__init__(site, options, engine, image)
        self._books: list[Book] = []

    @property
    def key_prefix(self) -> str:
        """From the mark by which runs differ: what an earlier test wrote is none of this one's."""
        return f"sb_{self.site.label.rpartition('-')[2]}_"

    async def open(self) -> None:
        """Let every container run, and stand ready to hurt it."""
        targets = await self._targets()
        ids = [target.container for target in targets.values()]
        self._news = News(self._engine, {"container": ids}, self._hear)
        for target in targets.values():
            await self._borrow(target)
        now = await self._targets()  # one that was stopped has its address only now
        for book in self._books:
            book.target = msgspec.structs.replace(book.target, ip=now[book.target.node].ip)
            self.add(self._take(book))
        self._net = PacketNet(
            self._nodes,
            client=dict.fromkeys(self._nodes, await self._gateway()),
            random=self.random,
            label=self.site.label,
            journal=self.site.journal,
        )
        self.follow()

    async def _targets(self) -> Mapping[str, Target]:
        """By node, in the spec's order; a repeated test may find that containers have gone."""
        found = await asyncio.to_thread(find, self._engine.client, self._options)
        by_node = {target.node: target for target in found}
        missing = [name for name in self.site.spec.nodes if name not in by_node]
        if missing:
            raise HostError(
                f"no container for {', '.join(missing)} any more; there are {', '.join(by_node)}: "
                "start what is missing, or attach anew"
            )
        return {name: by_node[name] for name in self.site.spec.nodes}

    async def _borrow(self, target: Target) -> None:
        book = Book(target, self.site.journal, self.site.label, self._engine)
        self._books.append(book)
        book.borrow(image="" if by_host(self._options.packets) else self._image)
        if target.state == STOPPED:
            await book.start()
        elif target.state == PAUSED:
            await book.unpause()

    def _take(self, book: Book) -> AttachedNode:
        target = book.target
        paths = Paths(
            address=f"{target.ip}:{target.port}",
            data_dir="",
            config_dir="",
            control_path="",
            events_path="",
            python="python3",
            log=self.places.log(target.node),
            events=self.places.events(target.node),
            control_file="",
        )
        host = AttachedHost(
            book,
            paths,
            self._engine,
            self.keeper,
            agent_for=self._start_agent,
            restored=self._restored,
        )
        return AttachedNode(host, self.keeper)

    async def _gateway(self) -> str:
        network = self._books[0].target.network
        seen: Any = await self._engine.call("inspect_network", network)
        for pool in seen["IPAM"]["Config"] or ():
            if pool.get("Gateway"):
                return str(pool["Gateway"]).partition("/")[0]
        raise HostError(
            f"network {network} has no gateway, from which clients would reach its nodes; "
            "make it anew without an IPAM driver of its own"
        )

    def _closing(self) -> Sequence[Callable[[], Awaitable[None]]]:
        resumes = [node.resume for node in self._nodes.values()]
        returns = [book.give_back for book in self._books]
        return (
            *resumes,
            self._heal_net,
            self._remove_nodes,
            *returns,
            self._unfollow,
            self._give_back,
            self._remove,
        )


async def open_attached(site: Site, client: DockerClient) -> AttachedTestbed:
    """Borrow the containers that the options name; on failure each is again what it was.

    Args:
        site: where and for whom.
        client: of the engine; closed with the testbed.
    """
    engine = Engine(client)
    try:
        options = Options.of(site.spec)
        image = ""
        if not by_host(options.packets):
            image = (await asyncio.to_thread(ensure, engine.client)).tag
        testbed = AttachedTestbed(site, options, engine, image)
    except BaseException:
        engine.close()
        raise
    return await opened(testbed)
