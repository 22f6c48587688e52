"""Our clients' end of a link: a UDP socket in this process that talks to the nodes' agents.

A node's answer to it may have to pass a firewall of this machine that lets in only what was asked
for; so before a node is told to send, it is sent something from the very port that it will answer to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from splitbrain.substrates.agent.datagrams import (
    ANSWER,
    BEAT,
    ECHO,
    PROBE,
    Datagram,
    decode,
    encode,
)
from splitbrain.substrates.packets.faults import CLIENT

__all__ = ["ClientSide"]

_REPEAT_S = 0.04
_ECHO_AGAIN_S = 0.25

Place = tuple[str, int]


class ClientSide(asyncio.DatagramProtocol):
    """One socket; made by ``open``."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._waiting: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, secret: str) -> ClientSide:
        """A socket on a free port of every interface."""
        loop = asyncio.get_running_loop()
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(("", 0))
        _, side = await loop.create_datagram_endpoint(lambda: cls(secret), sock=bound)
        return side

    @property
    def port(self) -> int:
        """Its UDP port."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def close(self) -> None:
        """Receive nothing more."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        """Of asyncio."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Of asyncio."""
        datagram = decode(data, self._secret)
        if datagram is None:
            return
        future = self._waiting.get((datagram.kind, datagram.nonce))
        if future is not None and not future.done():
            future.set_result(None)

    def error_received(self, exc: Exception) -> None:
        """Of asyncio: a node refuses a datagram, which is no news here."""

    async def send_probe(self, place: Place, nonce: int, for_s: float) -> None:
        """Send the nonce to a node now, and again now and then for ``for_s`` seconds."""
        await self._repeat(PROBE, place, nonce, for_s, _REPEAT_S)

    async def await_probe(
        self, place: Place, nonce: int, tell: Callable[[], Any], timeout_s: float
    ) -> bool:
        """Whether the nonce comes from the node, once ``tell`` has told it to send it."""
        future = self._expect(PROBE, nonce)
        self._send(BEAT, place, 0)
        try:
            async with asyncio.timeout(timeout_s):
                await tell()
                await future
        except TimeoutError:
            return False
        finally:
            del self._waiting[PROBE, nonce]
        return True

    async def round_trip_ms(self, place: Place, nonce: int, timeout_s: float) -> float | None:
        """How long the quickest echo took, of some that are sent one after another."""
        loop = asyncio.get_running_loop()
        trips: list[float] = []

        async def one(number: int) -> None:
            future = self._expect(ANSWER, nonce + number)
            began = loop.time()
            self._send(ECHO, place, nonce + number)
            try:
                await future
                trips.append((loop.time() - began) * 1000)
            finally:
                del self._waiting[ANSWER, nonce + number]

        tries: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(timeout_s):
                while not trips:
                    tries.append(asyncio.create_task(one(len(tries))))
                    await asyncio.wait(
                        tries, timeout=_ECHO_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                    )
        except TimeoutError:
            return None
        finally:
            for task in tries:
                task.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
        return trips[0]

    def _expect(self, kind: int, nonce: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[kind, nonce] = future
        return future

    async def _repeat(
        self, kind: int, place: Place, nonce: int, for_s: float, every_s: float
    ) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + for_s
        while True:
            self._send(kind, place, nonce)
            if loop.time() + every_s >= until:
                return
            await asyncio.sleep(every_s)

    def _send(self, kind: int, place: Place, nonce: int) -> None:
        assert self._transport is not None
        self._transport.sendto(
            encode(Datagram(kind, CLIENT, 0, 0, 0, nonce), self._secret), place
        )
