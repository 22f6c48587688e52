"""The testbed of ``local``: everything of one run, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import NodeCrash, Site
from splitbrain.env import Caller
from splitbrain.errors import RequestError, UnknownName
from splitbrain.substrates.heal import end_labelled
from splitbrain.substrates.local.faults import CLIENT, Link
from splitbrain.substrates.local.net import CUT_MODES, LocalNet, link_name
from splitbrain.substrates.local.node import LocalNode
from splitbrain.substrates.proxy.client import Proxies
from splitbrain.substrates.proxy.messages import LinkSpec
from splitbrain.substrates.real.clocks import RealClocks, slow_disk
from splitbrain.substrates.real.events import Follower
from splitbrain.substrates.real.node import Keeper
from splitbrain.substrates.real.places import HOST, HeldPort, Places

__all__ = ["LocalTestbed", "Options", "open_testbed"]

_FOLLOW_S = 0.08


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The substrate's own options, taken from ``TestSpec.options``.

    Attributes:
        proxies: ``proxies=false``: nodes dial each other directly; links cannot be faulted.
        clients: ``clients=cut``: our clients dial through proxies, so that their links can be.
        keep_data: ``keep-data=true``: leave the nodes' data in the run directory.
        cut_mode: ``cut-mode=mixed|hold|reset``: how a cut is done.
    """

    proxies: bool = True
    clients: bool = False
    keep_data: bool = False
    cut_mode: str = "mixed"

    @classmethod
    def of(cls, spec: TestSpec) -> Options:
        """Those of a test; the others belong to other rooms."""
        options = cls(
            proxies=_flag(spec, "proxies", default=True),
            clients=str(spec.options.get("clients", "")) == "cut",
            keep_data=_flag(spec, "keep-data", default=False),
            cut_mode=str(spec.options.get("cut-mode", "mixed")),
        )
        if spec.options.get("clients", "cut") != "cut":
            raise RequestError(
                f"option clients={spec.options['clients']!r}: it can be cut only"
            )
        if options.clients and not options.proxies:
            raise RequestError(
                "options clients=cut and proxies=false exclude each other: drop one"
            )
        if options.cut_mode not in CUT_MODES:
            raise RequestError(
                f"option cut-mode={options.cut_mode!r}: choose one of {', '.join(CUT_MODES)}"
            )
        return options


def _flag(spec: TestSpec, name: str, *, default: bool) -> bool:
    value = spec.options.get(name, default)
    try:
        return msgspec.convert(value, bool, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(f"option {name}={value!r}: choose true or false") from error


class LocalTestbed:
    """See ``contracts.testbed.Testbed``; made by :func:`open_testbed`."""

    def __init__(self, site: Site, options: Options, start_ns: int) -> None:
        self._site = site
        self._options = options
        self._start_ns = start_ns
        self._crashes: list[NodeCrash] = []
        self._ports: list[HeldPort] = []
        self._proxies: Proxies | None = None
        self._following: asyncio.Task[None] | None = None
        self._closed = False
        self._random = site.random.child("substrate")
        names = site.spec.nodes
        self._places = Places(site.directory, site.label, site.journal, names)
        keeper = Keeper(
            label=site.label,
            journal=site.journal,
            crashed=self._crashes.append,
            time_ns=self.time_ns,
            seed=lambda node, incarnation: self._random.draw("tear", node, incarnation) >> 12,
            environment={"SPLITBRAIN_POWER": "1" if site.power else "0"},
        )
        self._nodes: dict[str, LocalNode] = {}
        for name in names:
            port = HeldPort()
            self._ports.append(port)
            self._nodes[name] = LocalNode(name, port, self._places, keeper)
        self._follower = Follower(
            {name: self._places.events(name) for name in names}, start_ns, site.events
        )
        self._clock = RealClocks(self._nodes, site.label, site.journal)
        self._net = self._make_net({})

    async def open(self) -> None:
        """Start what runs beside the nodes: the proxies, and the follower of events.

        An event ``test-start`` tells the machine's clock: logs have the time of day.
        """
        self._site.events(
            {"kind": "test-start", "time_ns": self.time_ns(), "wall_ns": time.time_ns()}
        )
        self._following = asyncio.create_task(self._follow())
        if not self._options.proxies:
            return
        self._proxies = await Proxies.start(
            label=self._site.label,
            journal=self._site.journal,
            log=self._places.log("proxies"),
        )
        links: list[Link] = [(a, b) for a in self._nodes for b in self._nodes if a != b]
        if self._options.clients:
            links += [(CLIENT, node) for node in self._nodes]
        specs = [
            LinkSpec(name=link_name(link), port=int(self._nodes[link[1]].address.split(":")[1]))
            for link in links
        ]
        ports = await self._proxies.open(specs, self._random.draw("proxies") >> 12)
        self._net = self._make_net({link: ports[link_name(link)] for link in links})

    def _make_net(self, ports: Mapping[Link, int]) -> LocalNet:
        return LocalNet(
            self._nodes,
            self._proxies,
            ports,
            random=self._random,
            label=self._site.label,
            journal=self._site.journal,
            mode=self._options.cut_mode,
        )

    @property
    def nodes(self) -> Mapping[str, LocalNode]:
        """By name, in the spec's order."""
        return self._nodes

    @property
    def net(self) -> LocalNet:
        """The links."""
        return self._net

    @property
    def clock(self) -> RealClocks:
        """The nodes' clocks."""
        return self._clock

    def node(self, name: str) -> LocalNode:
        """One node."""
        if name not in self._nodes:
            raise UnknownName("node", name, self._nodes)
        return self._nodes[name]

    def links(self, node: str) -> Mapping[str, str]:
        """For each other node the address that ``node`` dials: its own proxy to it."""
        return {
            other.name: self._address((node, other.name), other)
            for other in self._nodes.values()
            if other.name != node
        }

    def client_address(self, node: str) -> str:
        """The address that our clients dial: a proxy with ``clients=cut``, else the node."""
        return self._address((CLIENT, node), self.node(node))

    def _address(self, link: Link, node: LocalNode) -> str:
        port = self._net.port(link)
        return node.address if port is None else f"{HOST}:{port}"

    def caller(self, client: str) -> Caller | None:
        """None: clients use the network."""
        return None

    def time_ns(self) -> int:
        """CLOCK_MONOTONIC since the testbed was opened."""
        return time.monotonic_ns() - self._start_ns

    async def slow_disk(self, node: str, extra_ms: float) -> None:
        """Let each fsync of ``node`` take ``extra_ms`` longer; 0 heals."""
        await slow_disk(self.node(node), extra_ms, self._site.label, self._site.journal)

    def crashes(self) -> Sequence[NodeCrash]:
        """Nodes that ended by themselves and were not told yet; each is told once."""
        told = tuple(self._crashes)
        self._crashes.clear()
        return told

    async def close(self) -> None:
        """End every node and the proxies, read the last events, remove what was made.

        All of it is tried, whatever fails; the first failure is raised at the end.
        """
        if self._closed:
            return
        self._closed = True
        failures: list[Exception] = []
        for step in self._closing():
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the rest must be closed; raised below
                failures.append(error)
        if failures:
            raise failures[0]

    def _closing(self) -> Sequence[Callable[[], Awaitable[None]]]:
        kills = [node.kill for node in self._nodes.values()]
        return (*kills, self._close_proxies, self._sweep, self._unfollow, self._remove)

    async def _close_proxies(self) -> None:
        with contextlib.suppress(Exception):
            await self._net.heal()  # for the journal; the proxies' end heals links anyway
        if self._proxies is not None:
            await self._proxies.close()

    async def _sweep(self) -> None:
        """End what the nodes themselves have started."""
        await asyncio.to_thread(end_labelled, self._site.label)

    async def _unfollow(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        self._follower.close()

    async def _remove(self) -> None:
        for port in self._ports:
            port.close()
        self._places.remove(keep_data=self._options.keep_data)

    async def _follow(self) -> None:
        while True:
            self._follower.poll()
            await asyncio.sleep(_FOLLOW_S)


async def open_testbed(site: Site) -> LocalTestbed:
    """Make everything but the nodes' processes; on failure nothing is left."""
    testbed = LocalTestbed(site, Options.of(site.spec), time.monotonic_ns())
    try:
        await testbed.open()
    except BaseException:
        await testbed.close()
        raise
    return testbed
