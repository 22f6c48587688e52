"""Links between nodes: cut and shaped by the agents in the nodes' namespaces, probed by datagrams.

**What a one-way cut does to TCP.**  A cut drops packets, of whatever kind.  If only i to j is cut, what
j sends still arrives at i, but i's acknowledgements do not arrive at j: j's connection to i goes on
for as long as its window lasts, then stands, and ends within its keepalive time; no new connection can
be made in either direction.  So over TCP a one-way cut is one-way for datagrams only: that is what a
real network does.  After the heal, an old connection that has not been given up goes on at its next
retransmission, whose waits double up to the length of the cut; a new one passes at once.

Example::

    net = PacketNet(ends, client=gateways, random=random, label=label, journal=journal)
    for name in ends:
        await net.restored(name)
    await net.cut("p1", (("n1", "n2"), ("n2", "n1")))
    assert (await net.reach((("n1", "n2"),)))["n1", "n2"] is False
    await net.heal("p1")
    await net.close()
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.fault import Cut, Shape
from splitbrain.contracts.journal import Journal
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Random
from splitbrain.errors import HostError, UnknownName, Unsupported
from splitbrain.substrates.packets.abilities import impossible_shape
from splitbrain.substrates.packets.client import Agent
from splitbrain.substrates.packets.faults import CLIENT, Link, LinkFault, Orders, fold
from splitbrain.substrates.packets.probing import SLACK_S, PacketEnd, Probing

__all__ = ["AGENT_PORT", "PacketEnd", "PacketNet"]

AGENT_PORT = 39_417
"""The agents' UDP port where nothing else is said."""

_NOWHERE = "192.0.2.1"
"""An address that nobody has (RFC 5737)."""
_RECEIVED = tuple(name for name in msgspec.structs.asdict(LinkCount()) if name != "sent")


class PacketNet:
    """See ``contracts.testbed.Net``, and this module.

    The testbed calls ``restored(node)`` for each node once its first agent is there, and again
    whenever a new agent has taken the old one's place, before the node's program runs.  A node may
    have another address then; its links' faults follow it.

    Args:
        ends: the nodes by name.
        client: for each node the address from which our clients' packets arrive there, such as the
            bridge's gateway.
        random: draws the secret, the nonces, and each agent's seed.
        label: the run's mark.
        journal: where each fault is written first.
        port: the agents' UDP port, free on each node.
        lateness: False if the nodes do not share one machine's monotonic clock.
        beat_ms: how often an agent sends to each other one.
        spare: the nodes' local TCP ports that no fault touches, such as an SSH server's.
    """

    def __init__(
        self,
        ends: Mapping[str, PacketEnd],
        *,
        client: Mapping[str, str],
        random: Random,
        label: str,
        journal: Journal,
        port: int = AGENT_PORT,
        lateness: bool = True,
        beat_ms: float = 50.0,
        spare: Sequence[int] = (),
    ) -> None:
        self._ends = ends
        self._ips = {name: end.ip for name, end in ends.items()}
        self._client = dict(client)
        self._random = random
        self._label = label
        self._journal = journal
        self._port = port
        self._lateness = lateness
        self._beat_ms = beat_ms
        self._spare = list(spare)
        self._secret = f"{label} {random.draw('secret'):x}"
        self._faults: dict[str, LinkFault] = {}
        self._acts: dict[str, int] = {}
        self._given: dict[str, tuple[Agent, Orders]] = {}
        self._hellos: dict[str, Mapping[str, Any]] = {}
        self._readings: dict[Agent, tuple[str, Mapping[str, Any]]] = {}
        self._turn = asyncio.Lock()
        self._probing = Probing(
            ends,
            client=client,
            port=port,
            secret=self._secret,
            nonces=random.child("nonce"),
        )

    @property
    def counts_at_once(self) -> bool:
        """Each agent is asked, which takes a moment."""
        return False

    @property
    def faults(self) -> Sequence[str]:
        """The ids of all faults in force."""
        return tuple(self._faults)

    # --- agents ---------------------------------------------------------------------------------

    async def restored(self, node: str) -> None:
        """Tell a fresh agent its peers, and put in force what is in force for its node.

        One network namespace has one agent at a time: a new one waits until the old one has ended.

        Raises:
            UnknownName: there is no such node.
            HostError: it has no agent, or the agent cannot do it.
        """
        if node not in self._ends:
            raise UnknownName("node", node, self._ends)
        agent = self._ends[node].agent
        if agent is None:
            raise HostError(f"node {node} has no agent in its network namespace")
        async with self._turn:
            self._hellos[node] = await _asked(agent, "hello")
            moved = self._move(node, self._ends[node].ip)
            orders = fold(self._ips, self._client, self._faults.values())[node]
            await self._order(node, agent, orders)
            await self._tell_peers(node, agent)
            if moved:
                await self._tell_others(node)

    async def _tell_peers(self, node: str, agent: Agent) -> None:
        await _asked(
            agent,
            "peers",
            self=node,
            port=self._port,
            secret=self._secret,
            peers={name: ip for name, ip in self._ips.items() if name != node},
            every_ms=self._beat_ms,
            lateness=self._lateness,
        )

    def _move(self, node: str, ip: str) -> bool:
        """Take note of the node's address; whether it is a new one."""
        if ip == self._ips[node]:
            return False
        for other in self._ips:
            if self._ips[other] == ip:  # that one is dead, and has lost its address
                self._ips[other] = _NOWHERE
        self._ips[node] = ip
        return True

    async def _tell_others(self, moved: str) -> None:
        """Cuts, shapes and probes of a node that has come back elsewhere follow it."""
        await self._apply()
        for name, (agent, _) in self._given.items():
            if name != moved and agent is self._ends[name].agent and agent.alive:
                await self._tell_peers(name, agent)

    async def close(self) -> None:
        """Close our own socket.  The agents are the testbed's to close."""
        await self._probing.close()

    # --- faults ---------------------------------------------------------------------------------

    async def cut(self, id: str, links: Cut) -> None:  # noqa: A002
        """Let no packet pass from the first to the second node of each pair.

        Raises:
            UnknownName: an end is neither a node nor ``client``.
            HostError: an agent cannot do it.
        """
        await self._add(id, LinkFault(links=tuple(links)), "drop")

    async def shape(self, id: str, links: Cut, shape: Shape) -> None:  # noqa: A002
        """Delay, lose, double ... the packets of these directed links.

        Raises:
            UnknownName: an end is neither a node nor ``client``.
            Unsupported: a kernel lacks what it takes.
            HostError: an agent cannot do it.
        """
        if why := self.impossible(shape):
            raise Unsupported(why)
        await self._add(id, LinkFault(links=tuple(links), shape=shape), "shape")

    def impossible(self, shape: Shape) -> str:
        """Why this shape is not possible on each node, with what is missing; empty if it is."""
        for node, hello in self._hellos.items():
            if why := impossible_shape(shape, hello):
                return f"not possible on {node}: {why}"
        return ""

    async def heal(self, id: str | None = None) -> None:  # noqa: A002
        """End the fault of that id; all of them for None."""
        async with self._turn:
            ended = list(self._faults) if id is None else [id] if id in self._faults else []
            for one in ended:
                del self._faults[one]
            await self._apply()
            for one in ended:
                self._journal.undone(self._acts.pop(one))

    async def _add(self, id: str, fault: LinkFault, how: str) -> None:  # noqa: A002
        self._check(fault.links)
        async with self._turn:
            number = self._journal.intent(
                "fault-links",
                target=[f"{i}->{j}" for i, j in fault.links],
                label=self._label,
                id=id,
                how=how,
                undo="end-agents",
            )
            before = self._acts.get(id)
            self._faults[id], self._acts[id] = fault, number
            await self._apply()
            self._journal.done(number)
            if before is not None:
                self._journal.undone(before)

    def _check(self, links: Cut) -> None:
        for link in links:
            for name in link:
                if name not in self._ends and name != CLIENT:
                    raise UnknownName("node", name, [*self._ends, CLIENT])
            if link[0] == link[1]:
                raise Unsupported(f"link {link[0]}->{link[1]}: a node's link to itself stays")

    async def _apply(self) -> None:
        orders = fold(self._ips, self._client, self._faults.values())
        await asyncio.gather(*(self._give(node, orders[node]) for node in self._ends))

    async def _give(self, node: str, orders: Orders) -> None:
        """Bring a node's agent up to date; one that is not there will hear it in ``restored``."""
        end = self._ends[node]
        agent = end.agent
        if agent is None or node not in self._given:
            return
        try:
            await self._order(node, agent, orders)
        except HostError:
            # An agent may go with its node's namespace while we speak to it.
            if not agent.alive and (end.agent is not agent or not end.up):
                return
            raise

    async def _order(self, node: str, agent: Agent, orders: Orders) -> None:
        held_by, held = self._given.get(node, (None, Orders()))
        if held_by is not agent:
            held = Orders()
            self._given[node] = (agent, held)
        if orders.cut_arguments() != held.cut_arguments():
            await _asked(agent, "cut", **orders.cut_arguments(), spare=self._spare)
        if orders.shape_arguments() != held.shape_arguments():
            seed = self._random.draw("shape", node) >> 12  # JSON readers keep 52 bits
            await _asked(
                agent, "shape", **orders.shape_arguments(), seed=seed, spare=self._spare
            )
        self._given[node] = (agent, orders)

    # --- observation ----------------------------------------------------------------------------

    async def reach(
        self, links: Cut, *, timeout_s: float = 0.5
    ) -> Mapping[tuple[str, str], bool | None]:
        """One-way probes, all at once; see ``probing``."""
        self._check(links)
        answers = await asyncio.gather(*(self._probing.probe(it, timeout_s) for it in links))
        return dict(zip(links, answers, strict=True))

    async def counts(self) -> Mapping[tuple[str, str], LinkCount]:
        """What both ends of each node link have counted, over all agents that a node has had.

        What an agent counted after the last reading before its end is lost with it.
        """
        await asyncio.gather(*(self._read_counts(node) for node in self._ends))
        sent: dict[Link, int] = {}
        received: dict[Link, dict[str, int]] = {}
        for name, reading in self._readings.values():
            for peer, number in reading["sent"].items():
                sent[name, peer] = sent.get((name, peer), 0) + number
            for peer, seen in reading["received"].items():
                total = received.setdefault((peer, name), dict.fromkeys(_RECEIVED, 0))
                for field in _RECEIVED:
                    total[field] += seen[field]
        return {
            (i, j): LinkCount(sent=sent.get((i, j), 0), **received.get((i, j), {}))
            for i in self._ends
            for j in self._ends
            if i != j
        }

    async def _read_counts(self, node: str) -> None:
        agent = self._ends[node].agent
        if agent is None or not agent.alive:
            return
        try:
            self._readings[agent] = (node, await agent.ask("counts", timeout_s=SLACK_S))
        except OSError:
            return

    async def round_trip_ms(self, a: str, b: str, *, timeout_s: float = 5.0) -> float | None:
        """An echo from a to b and back, timed by the agent of a; None if it did not come back.

        It is sent again each quarter of a second, and each is timed by itself, so that a loss is not
        taken for a delay.
        """
        self._check(((a, b),))
        return await self._probing.round_trip_ms((a, b), timeout_s)


async def _asked(agent: Agent, verb: str, /, **arguments: Any) -> Mapping[str, Any]:
    try:
        return await agent.ask(verb, **arguments)
    except OSError as error:
        raise HostError(f"{error}; its node's links cannot be faulted") from error
