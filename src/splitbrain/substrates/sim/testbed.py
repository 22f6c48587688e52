"""A simulated testbed: the nodes, links, disks and clocks of one test."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from splitbrain.contracts.testbed import NodeCrash, Site
from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.caller import SimCaller
from splitbrain.substrates.sim.disk import SimDisk
from splitbrain.substrates.sim.faults import SimClocks, SimNet
from splitbrain.substrates.sim.knobs import Knobs
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.network import Network
from splitbrain.substrates.sim.node import SimNode
from splitbrain.substrates.sim.record import Record

__all__ = ["SimTestbed"]

_GRID_NS = 1_000_000


class SimTestbed:
    """See :class:`splitbrain.contracts.testbed.Testbed`.

    Attributes:
        knobs: the simulator's own values in this run.
    """

    def __init__(self, loop: SimLoop, site: Site, knobs: Knobs) -> None:
        self.knobs = knobs
        self._loop = loop
        self._opened_ns = loop.now_ns
        random = site.random.child("substrate")
        names = site.spec.nodes
        grid_ns = _GRID_NS if knobs.order == "shuffled" else 0
        self._record = Record(names, self.time_ns, site.events, site.directory)
        self._network = network = Network(
            loop,
            random,
            delay_ns=round(knobs.delay_ms * 1e6),
            jitter_ns=round(knobs.jitter_ms * 1e6),
            grid_ns=grid_ns,
        )
        fsync_ns = round(knobs.fsync_ms * 1e6)
        self._nodes: dict[str, SimNode] = {}
        for name in names:
            disk = SimDisk(
                loop,
                random.child("disk", name),
                fsync_ns=fsync_ns,
                jitter_ns=fsync_ns,
                grid_ns=grid_ns,
            )
            self._nodes[name] = SimNode(
                name,
                loop=loop,
                network=network,
                disk=disk,
                random=random.child("node", name),
                record=self._record,
                grid_ns=grid_ns,
            )
        for source in self._nodes.values():
            for target in self._nodes.values():
                source.links[target.name] = network.open(source.name, target.name, target)
        self._net = SimNet(loop, network, self._nodes)
        self._clocks = SimClocks(loop, self._nodes)
        self._callers: dict[str, SimCaller] = {}

    @property
    def nodes(self) -> Mapping[str, SimNode]:
        """By name, in the spec's order."""
        return self._nodes

    @property
    def net(self) -> SimNet:
        """The links."""
        return self._net

    @property
    def clock(self) -> SimClocks:
        """The nodes' clocks."""
        return self._clocks

    def node(self, name: str) -> SimNode:
        """One node."""
        node = self._nodes.get(name)
        if node is None:
            raise HarnessError(f"no node {name!r}; known: {', '.join(self._nodes)}")
        return node

    def links(self, node: str) -> Mapping[str, str]:
        """Each other node by its name: addresses are logical in simulation."""
        return {name: name for name in self._nodes if name != node}

    def client_address(self, node: str) -> str:
        """The node's name."""
        return self.node(node).address

    def caller(self, client: str) -> SimCaller:
        """The caller of that client; a name has one, and its messages' fates go by the name."""
        caller = self._callers.get(client)
        if caller is None:
            caller = SimCaller(client, self._loop, self._network, dict(self._nodes))
            self._callers[client] = caller
        return caller

    def time_ns(self) -> int:
        """Virtual nanoseconds since the testbed was opened."""
        return self._loop.now_ns - self._opened_ns

    async def slow_disk(self, node: str, extra_ms: float) -> None:
        """Let each sync of ``node`` that begins from now on take longer; 0 heals."""
        self.node(node).disk.extra_ns = max(0, round(extra_ms * 1e6))

    async def fail_disk(self, node: str, error: str | None) -> None:
        """Let each write and sync of ``node`` meet ``error`` (``EIO``, ``ENOSPC``); None heals."""
        self.node(node).disk.error = None if error is None else getattr(errno, error)

    def crashes(self) -> Sequence[NodeCrash]:
        """Crashes that were not told yet."""
        crashes = tuple(self._record.crashes)
        self._record.crashes.clear()
        return crashes

    async def close(self) -> None:
        """Heal everything, end every node, close the logs."""
        self._network.heal(None)
        for node in self._nodes.values():
            await node.kill()
        for caller in self._callers.values():
            await caller.close()
        self._record.close()
