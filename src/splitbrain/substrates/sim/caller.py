"""Clients in simulation: one request, one answer, as over a gRPC connection.

A call is a message from the client to the node and one back, over links of this client's own (their
name in a Cut is ``("client", node)``).  The node sees the sender as an opaque token such as
``client:7/12`` and answers to it.  As TCP would, the connection keeps the two ends honest:

- a request is taken by the node once, however often the network doubled it;
- it arrives at a dead node: refused, ``ConnectionError``, it certainly was not processed;
- the node dies while the call is open: ``EOFError``, it may have been;
- nothing comes back in time (lost, cut, paused, slow): ``TimeoutError``, it may have been, and may
  yet be: a request that lay before a paused node is handed over when the node goes on.

Refusals, resets and answers travel over the link back, so that a cut holds them up as well.  An
answer that comes too late, or a second one, is dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.links import Link
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.network import CLIENT, Letter, Network

__all__ = ["Call", "SimCaller", "Taker"]


class Taker(Protocol):
    """The node's end of a call."""

    def take(self, letter: Letter) -> None:
        """A request arrives; its letter's payload is a Call."""

    def forget(self, call: Call) -> None:
        """The client has given up."""


class Call:
    """One request under way: shared by the client, the two links and the node.

    Attributes:
        taken: it has arrived at the node, dead or alive; further copies are dropped.
    """

    __slots__ = ("_network", "_outcome", "back", "request", "taken", "token")

    def __init__(
        self,
        token: str,
        request: Any,
        outcome: asyncio.Future[Any],
        back: Link,
        network: Network,
    ) -> None:
        self.token = token
        self.request = request
        self.back = back
        self.taken = False
        self._outcome = outcome
        self._network = network

    def answer(self, message: Any) -> None:
        """Send the answer back."""
        self._network.transmit(self.back, self._on_answer, message, 0)

    def fail(self, error: Exception) -> None:
        """Send a refusal or a reset back."""
        self._network.transmit(self.back, self._on_failure, error, 0)

    def _on_answer(self, letter: Letter) -> None:
        link, _, number, sent_ns, message = letter
        if not link.cuts:
            link.arrived(number, self._network.now_ns() - sent_ns)
            if not self._outcome.done():
                self._outcome.set_result(message)

    def _on_failure(self, letter: Letter) -> None:
        if not letter[0].cuts and not self._outcome.done():
            self._outcome.set_exception(letter[4])

    def expire(self) -> None:
        """The deadline has come."""
        if not self._outcome.done():
            self._outcome.set_exception(TimeoutError(f"no answer to {self.token} in time"))

    def drop(self) -> None:
        """The client has dropped its connection."""
        if not self._outcome.done():
            self._outcome.set_exception(EOFError(f"{self.token}: the client was closed"))


class SimCaller:
    """How one client reaches nodes; see :class:`splitbrain.env.Caller`."""

    def __init__(
        self, name: str, loop: SimLoop, network: Network, nodes: dict[str, Taker]
    ) -> None:
        self._name = name
        self._loop = loop
        self._network = network
        self._nodes = nodes
        self._links: dict[str, tuple[Link, Link]] = {}
        self._open: dict[str, Call] = {}
        self._number = 0

    async def call(self, node: str, request: Any, *, timeout_s: float) -> Any:
        """Send ``request`` and wait for its answer; see the module for the exceptions."""
        there, back = self._links.get(node) or self._connect(node)
        self._number += 1
        token = f"client:{self._name}/{self._number}"
        outcome: asyncio.Future[Any] = self._loop.create_future()
        call = self._open[token] = Call(token, request, outcome, back, self._network)
        taker = self._nodes[node]
        deadline_ns = self._loop.now_ns + round(timeout_s * 1e9)
        timer = self._loop.schedule_ns(deadline_ns, call.expire)
        self._network.transmit(there, taker.take, call, 0)
        try:
            return await outcome
        finally:
            timer.cancel()
            del self._open[token]
            taker.forget(call)

    def _connect(self, node: str) -> tuple[Link, Link]:
        if node not in self._nodes:
            raise HarnessError(f"call: no node {node!r}; known: {', '.join(self._nodes)}")
        links = (
            self._network.open(CLIENT, node, None, client=self._name),
            self._network.open(node, CLIENT, None, client=self._name),
        )
        self._links[node] = links
        return links

    async def close(self) -> None:
        """Drop all connections: open calls end with EOFError."""
        for call in tuple(self._open.values()):
            call.drop()
