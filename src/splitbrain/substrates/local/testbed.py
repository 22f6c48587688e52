"""The testbed of ``local``: everything of one run, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site
from splitbrain.errors import HostError, RequestError
from splitbrain.substrates.heal import end_labelled
from splitbrain.substrates.local.faults import CLIENT, Link
from splitbrain.substrates.local.net import CUT_MODES, LocalNet, link_name
from splitbrain.substrates.local.node import LocalNode
from splitbrain.substrates.proxy.client import Proxies
from splitbrain.substrates.proxy.messages import LinkSpec
from splitbrain.substrates.real.places import HOST, HeldPort, Places
from splitbrain.substrates.real.testbed import RealTestbed, flag

__all__ = ["LocalTestbed", "Options", "open_testbed"]

_FOLLOW_S = 0.08


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The substrate's own options, taken from ``TestSpec.options``.

    Attributes:
        proxies: ``proxies=false``: nodes dial each other directly; links cannot be faulted.
        clients: ``clients=cut``: our clients dial through proxies, so that their links can be.
        keep_data: ``keep-data=true``: leave the nodes' data in the run directory.
        cut_mode: ``cut-mode=mixed|hold|reset``: how a cut is done.
        port_base: ``port-base=N``: the first node has port N, each next one the next; 0: any.
    """

    proxies: bool = True
    clients: bool = False
    keep_data: bool = False
    cut_mode: str = "mixed"
    port_base: int = 0

    @classmethod
    def of(cls, spec: TestSpec) -> Options:
        """Those of a test; the others belong to other rooms."""
        options = cls(
            proxies=flag(spec, "proxies", default=True),
            clients=str(spec.options.get("clients", "")) == "cut",
            keep_data=flag(spec, "keep-data", default=False),
            cut_mode=str(spec.options.get("cut-mode", "mixed")),
            port_base=int(spec.options.get("port-base", 0)),
        )
        if spec.options.get("clients", "cut") != "cut":
            raise RequestError(
                f"option clients={spec.options['clients']!r}: it can be cut only"
            )
        if options.clients and not options.proxies:
            raise RequestError(
                "options clients=cut and proxies=false exclude each other: drop one"
            )
        if options.port_base and not 1024 <= options.port_base <= 65536 - len(spec.nodes):
            raise RequestError(
                f"option port-base={options.port_base}: choose one from 1024 to "
                f"{65536 - len(spec.nodes)}, so that each of {len(spec.nodes)} nodes has a port"
            )
        if options.cut_mode not in CUT_MODES:
            raise RequestError(
                f"option cut-mode={options.cut_mode!r}: choose one of {', '.join(CUT_MODES)}"
            )
        return options


class LocalTestbed(RealTestbed[LocalNode]):
    """See ``contracts.testbed.Testbed``; made by :func:`open_testbed`."""

    def __init__(self, site: Site, options: Options) -> None:
        places = Places(site.directory, site.label, site.journal, site.spec.nodes)
        super().__init__(site, places, keep_data=options.keep_data)
        self._options = options
        self._ports: list[HeldPort] = []
        self._proxies: Proxies | None = None
        for number, name in enumerate(site.spec.nodes):
            port = self._hold_port(options.port_base and options.port_base + number)
            self.add(LocalNode(name, port, places, self.keeper))
        self._net = self._make_net({})

    def _hold_port(self, wanted: int) -> HeldPort:
        """One port more; if it cannot be had, nothing of the testbed is left."""
        try:
            port = HeldPort(wanted)
        except HostError:
            for held in self._ports:
                held.close()
            self.places.remove(keep_data=True)
            raise
        self._ports.append(port)
        return port

    async def open(self) -> None:
        """Start what runs beside the nodes: the proxies, and the follower of events."""
        self.follow()
        if not self._options.proxies:
            return
        self._proxies = await Proxies.start(
            label=self.site.label,
            journal=self.site.journal,
            log=self.places.log("proxies"),
        )
        links: list[Link] = [(a, b) for a in self._nodes for b in self._nodes if a != b]
        if self._options.clients:
            links += [(CLIENT, node) for node in self._nodes]
        specs = [
            LinkSpec(name=link_name(link), port=int(self._nodes[link[1]].address.split(":")[1]))
            for link in links
        ]
        ports = await self._proxies.open(specs, self.random.draw("proxies") >> 12)
        self._net = self._make_net({link: ports[link_name(link)] for link in links})

    def _make_net(self, ports: Mapping[Link, int]) -> LocalNet:
        return LocalNet(
            self._nodes,
            self._proxies,
            ports,
            random=self.random,
            label=self.site.label,
            journal=self.site.journal,
            mode=self._options.cut_mode,
        )

    @property
    def net(self) -> LocalNet:
        """The links."""
        return self._net

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

    def _closing(self) -> Sequence[Callable[[], Awaitable[None]]]:
        kills = [node.kill for node in self._nodes.values()]
        return (
            *kills,
            self._close_proxies,
            self._sweep,
            self._unfollow,
            self._give_ports_back,
            self._remove,
        )

    async def _close_proxies(self) -> None:
        with contextlib.suppress(Exception):
            await self._net.heal()  # for the journal; the proxies' end heals links anyway
        if self._proxies is not None:
            await self._proxies.close()

    async def _sweep(self) -> None:
        """End what the nodes themselves have started."""
        await asyncio.to_thread(end_labelled, self.site.label)

    async def _give_ports_back(self) -> None:
        for port in self._ports:
            port.close()


async def open_testbed(site: Site) -> LocalTestbed:
    """Make everything but the nodes' processes; on failure nothing is left."""
    testbed = LocalTestbed(site, Options.of(site.spec))
    try:
        await testbed.open()
    except BaseException:
        await testbed.close()
        raise
    return testbed
