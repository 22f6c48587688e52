"""Did the payload arrive?  One-way probes by datagrams, and echoes.

Probes never ask the rules: a datagram with a number is sent by the agent of the one end through all
that packets of its node go through, and the agent of the other end says whether its socket received
it.  It is sent again each 40 ms, so that a lossy link is not taken for a cut one.

That goes on while the node itself is paused, for its agent is not.  Then the contract wants None, so
the node's own state, as it is observed, is asked before and after.

Our clients have no agent: for their links a socket of this process is the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from splitbrain.env.random import Random
from splitbrain.substrates.packets.client import Agent
from splitbrain.substrates.packets.clientside import ClientSide, Place
from splitbrain.substrates.packets.faults import CLIENT, Link

__all__ = ["SLACK_S", "PacketEnd", "Probing"]

SLACK_S = 2.0
"""What an agent may take beside the wait that it is asked for: a busy machine, a slow channel."""


class PacketEnd(Protocol):
    """What ``PacketNet`` must know of a node."""

    @property
    def name(self) -> str:
        """Its name, such as ``n1``."""

    @property
    def ip(self) -> str:
        """The IPv4 address from which its packets come and to which others send.

        It may change only while the node has no agent.
        """

    @property
    def agent(self) -> Agent | None:
        """The agent in its network namespace now; None while there is none."""

    @property
    def up(self) -> bool:
        """True if its program runs and is not paused, as observed."""


class Probing:
    """Probes of the links between some ends.

    Args:
        ends: the nodes by name.
        client: for each node the address from which our clients' packets arrive there.
        port: the agents' UDP port.
        secret: what the agents were given.
        nonces: numbers each probe.
    """

    def __init__(
        self,
        ends: Mapping[str, PacketEnd],
        *,
        client: Mapping[str, str],
        port: int,
        secret: str,
        nonces: Random,
    ) -> None:
        self._ends = ends
        self._client = client
        self._port = port
        self._secret = secret
        self._nonces = nonces
        self._number = 0
        self._side: ClientSide | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close our own socket."""
        if self._side is not None:
            self._side.close()
            self._side = None
            await asyncio.sleep(0)  # the transport closes its file in a callback

    async def probe(self, link: Link, timeout_s: float) -> bool | None:
        """Whether a datagram arrives within ``timeout_s``; None if it cannot be tried."""
        agents = self._ready(link)
        if agents is None:
            return None
        i, j = link
        nonce = self._nonce()
        try:
            if i == CLIENT:
                arrived = await self._from_client(j, agents[j], nonce, timeout_s)
            elif j == CLIENT:
                arrived = await self._to_client(i, agents[i], nonce, timeout_s)
            else:
                _, arrived = await asyncio.gather(
                    agents[i].ask("probe", to=j, nonce=nonce, for_s=timeout_s),
                    _seen(agents[j], nonce, timeout_s),
                )
        except OSError:  # an agent has gone
            return None
        return arrived or (False if self._ready(link) is not None else None)

    async def _from_client(self, node: str, agent: Agent, nonce: int, timeout_s: float) -> bool:
        side = await self._client_side()
        sending = asyncio.create_task(side.send_probe(self._place(node), nonce, timeout_s))
        try:
            return await _seen(agent, nonce, timeout_s)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _to_client(self, node: str, agent: Agent, nonce: int, timeout_s: float) -> bool:
        side = await self._client_side()

        async def tell() -> None:
            await agent.ask(
                "probe",
                to=CLIENT,
                nonce=nonce,
                for_s=timeout_s,
                address=self._client[node],
                port=side.port,
            )

        return await side.await_probe(self._place(node), nonce, tell, timeout_s)

    async def round_trip_ms(self, link: Link, timeout_s: float) -> float | None:
        """Of an echo, timed at the first end; None if it did not come back.

        It is sent again each quarter of a second, and each is timed by itself, so that a loss is not
        taken for a delay.
        """
        agents = self._ready(link)
        if agents is None:
            return None
        a, b = link
        if CLIENT in link:
            side = await self._client_side()
            node = b if a == CLIENT else a
            return await side.round_trip_ms(self._place(node), self._nonce(), timeout_s)
        try:
            answer = await agents[a].ask(
                "echo", to=b, wait_s=timeout_s, timeout_s=timeout_s + SLACK_S
            )
        except OSError:
            return None
        trip_ms = answer["round_trip_ms"]
        return None if trip_ms is None else float(trip_ms)

    def _ready(self, link: Link) -> Mapping[str, Agent] | None:
        """The agents of a link's nodes; None unless each of them can be probed."""
        agents = {}
        for name in link:
            if name != CLIENT:
                agent = self._ends[name].agent
                if agent is None or not agent.alive or not self._ends[name].up:
                    return None
                agents[name] = agent
        return agents

    def _nonce(self) -> int:
        self._number += 1
        return self._nonces.draw(self._number) >> 12  # JSON readers keep 52 bits

    def _place(self, node: str) -> Place:
        return self._ends[node].ip, self._port

    async def _client_side(self) -> ClientSide:
        async with self._opening:
            if self._side is None:
                self._side = await ClientSide.open(self._secret)
            return self._side


async def _seen(agent: Agent, nonce: int, wait_s: float) -> bool:
    answer = await agent.ask("seen", nonce=nonce, wait_s=wait_s, timeout_s=wait_s + SLACK_S)
    return bool(answer["seen"])
