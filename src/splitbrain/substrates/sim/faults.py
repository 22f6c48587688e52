"""Faults of links and clocks in simulation, and the probes that show them.

A probe travels as an ordinary message over the link that it probes, and the proof is the log of the
node that received it; what was done to the link is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from splitbrain.contracts.fault import Cut, Shape
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env import Shell
from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.env import SimClock
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.network import CLIENT, Network
from splitbrain.substrates.sim.node import SimNode

__all__ = ["SimClocks", "SimNet"]

_TRIES = 5
"""Probes of one link, spread over the time allowed: loss alone must not look like a cut."""

_LOOKS = 20


class SimNet:
    """The links; see :class:`splitbrain.contracts.testbed.Net`."""

    def __init__(self, loop: SimLoop, network: Network, nodes: Mapping[str, SimNode]) -> None:
        self._loop = loop
        self._network = network
        self._nodes = nodes
        self._nonces = 0

    @property
    def counts_at_once(self) -> bool:
        """The simulator sees both ends at once."""
        return True

    async def cut(self, id: str, links: Cut) -> None:  # noqa: A002
        """Let nothing pass on these directed links."""
        self._network.cut(id, links)

    async def shape(self, id: str, links: Cut, shape: Shape) -> None:  # noqa: A002
        """Delay, lose, double ... the messages of these directed links."""
        self._network.shape(id, links, shape)

    async def heal(self, id: str | None = None) -> None:  # noqa: A002
        """End the fault of that id; all for None."""
        self._network.heal(id)

    async def counts(self) -> Mapping[tuple[str, str], LinkCount]:
        """What both ends of each link have counted."""
        return self._network.counts()

    async def reach(
        self, links: Cut, *, timeout_s: float = 0.5
    ) -> Mapping[tuple[str, str], bool | None]:
        """One-way probes; True if one of five reached the far end, None where an end is down.

        A link from or to our clients cannot be probed: None.
        """
        tried: dict[tuple[str, str], list[int]] = {(i, j): [] for i, j in links}
        for _ in range(_TRIES):
            for (i, j), nonces in tried.items():
                if CLIENT in (i, j) or self._arrived(j, nonces):
                    continue
                self._nonces += 1
                if self._node(i).probe(self._node(j), self._nonces):
                    nonces.append(self._nonces)
            for _ in range(_LOOKS // _TRIES):
                await asyncio.sleep(timeout_s / _LOOKS)
                if all(self._arrived(j, nonces) for (_, j), nonces in tried.items()):
                    break
        return {(i, j): self._verdict(i, j, nonces) for (i, j), nonces in tried.items()}

    def _arrived(self, to: str, nonces: list[int]) -> bool:
        return any(nonce in self._node(to).probes for nonce in nonces)

    def _verdict(self, i: str, j: str, nonces: list[int]) -> bool | None:
        if self._arrived(j, nonces):
            return True
        if not nonces or not all(self._alive(end) for end in (i, j)):
            return None
        return False

    def _alive(self, name: str) -> bool:
        node = self._node(name)
        return bool(node.epoch) and not node.stopped

    def _node(self, name: str) -> SimNode:
        node = self._nodes.get(name)
        if node is None:
            raise HarnessError(f"probe: no node {name!r}; known: {', '.join(self._nodes)}")
        return node

    async def round_trip_ms(self, a: str, b: str, *, timeout_s: float = 5.0) -> float | None:
        """An echo from a to b and back; None if none of three came back in time."""
        here, there = self._node(a), self._node(b)
        sent: dict[int, int] = {}
        for _ in range(3):
            self._nonces += 1
            if not here.probe(there, self._nonces, echo=True):
                return None
            sent[self._nonces] = self._loop.now_ns
            for _ in range(_LOOKS):
                await asyncio.sleep(timeout_s / 3 / _LOOKS)
                for nonce, sent_ns in sent.items():
                    if nonce in here.probes:
                        return (here.probes[nonce] - sent_ns) / 1e6
        return None


class SimClocks:
    """Faults of the nodes' clocks; see :class:`splitbrain.contracts.testbed.ClockFaults`.

    Each is an act of the node itself, as over its control socket: ConnectionError from a dead node,
    TimeoutError from a paused one.  A node that is started again has right clocks.
    """

    def __init__(self, loop: SimLoop, nodes: Mapping[str, SimNode]) -> None:
        self._loop = loop
        self._nodes = nodes

    async def jump(self, node: str, delta_ms: float) -> None:
        """Add ``delta_ms`` to the wall clock, once."""
        await self._nodes[node].ask(lambda _, clock: clock.skew.jump(round(delta_ms * 1e6)))

    async def strobe(self, node: str, delta_ms: float, period_ms: float) -> None:
        """Let the wall clock flip by ``delta_ms`` and back, until ``reset``."""

        def act(_: Shell, clock: SimClock) -> None:
            delta_ns, period_ns = round(delta_ms * 1e6), round(period_ms * 1e6)
            clock.skew.strobe(self._loop.now_ns, delta_ns, period_ns)

        await self._nodes[node].ask(act)

    async def drift(self, node: str, rate: float) -> None:
        """Let both clocks run at (1 + rate) times the true speed, until ``reset``."""

        def act(_: Shell, clock: SimClock) -> None:
            clock.skew.drift(self._loop.now_ns, rate)
            clock.rearm()

        await self._nodes[node].ask(act)

    async def reset(self, node: str) -> None:
        """Right wall clock, right speed."""

        def act(_: Shell, clock: SimClock) -> None:
            clock.skew.reset(self._loop.now_ns)
            clock.rearm()

        await self._nodes[node].ask(act)
