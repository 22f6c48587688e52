"""Did the payload arrive?  One-way probes of a link, made by none of those who cut it.

A *node link* i to j: i is told to send a message with a number over its ordinary data link; j is
asked whether it has seen that number.  i repeats it now and then, for a transport may drop what it
was given while it was dialling anew.  An end that is dead or stopped (by /proc, not by our books),
or whose control socket does not answer, gives None.

A *client link*: a new HTTP/2 connection through the node's client proxy, as gRPC's are, carries a
preface, settings of an odd length, and a ping.

- The ping's answer came: both directions pass.
- It did not.  The payload has arrived if the kernel shows a connection, new since the probe began,
  that received just as many bytes as were sent.
- The answering direction is blocked if the payload arrived and no byte came back.  Where the
  payload did not arrive nothing was ever sent back, so nothing can be said: None.
- A negative answer needs a counter-check: a ping to the node itself, past the proxy, must be
  answered; else None (the node is dead, paused, or speaks no HTTP/2).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import msgspec

from splitbrain.substrates.local.node import LocalNode
from splitbrain.substrates.real.places import HOST
from splitbrain.substrates.tools.sockdiag import Received, received

__all__ = ["ClientProbe", "probe_client", "probe_link"]

_POLL_S = (0.005, 0.01, 0.02, 0.04)
_REPEAT_S = 0.1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _ACK = 4, 6, 1


async def probe_link(
    sender: LocalNode, receiver: LocalNode, nonce: int, timeout_s: float
) -> bool | None:
    """Send a numbered message from one node to the other; did it arrive within ``timeout_s``?"""
    if not (_up(sender) and _up(receiver)):
        return None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    repeat, step, tried = 0.0, 0, False
    try:
        while True:
            now = loop.time()
            if now >= repeat:
                wait_s = max(0.0, deadline - now)
                await _ask(
                    sender,
                    "probe-send",
                    {"to": receiver.name, "nonce": nonce, "wait_s": wait_s},
                )
                repeat, tried = loop.time() + _REPEAT_S, True
            answer = await _ask(receiver, "probe-seen", {"nonce": nonce})
            if answer.get("seen"):
                return True
            if tried and loop.time() >= deadline:
                break
            await asyncio.sleep(_POLL_S[min(step, len(_POLL_S) - 1)])
            step += 1
    except (OSError, ValueError):
        return None
    return False if _up(sender) and _up(receiver) else None


async def _ask(node: LocalNode, verb: str, arguments: dict[str, object]) -> dict[str, object]:
    return dict(await node.control(verb, arguments, timeout_s=1.0))


def _up(node: LocalNode) -> bool:
    return node.controllable and node.process_state == "running"


class ClientProbe(msgspec.Struct, frozen=True):
    """What a probe through a client proxy showed: each None if it could not be told.

    Attributes:
        arrived: bytes passed from our client to the node.
        answered: bytes passed from the node to our client.
    """

    arrived: bool | None
    answered: bool | None


async def probe_client(
    node: LocalNode, port: int | None, nonce: int, timeout_s: float
) -> ClientProbe:
    """Probe the links between our clients and ``node`` through the client proxy at ``port``.

    A node that has none is dialled directly.
    """
    if node.process_state != "running":
        return ClientProbe(None, None)
    own = int(node.address.rpartition(":")[2])
    before = {one.peer_port for one in _received(own)}
    ping = _Ping(nonce)
    async with ping.sent(port or own, timeout_s):
        arrived = ping.acknowledged or any(
            one.peer_port not in before and one.bytes_received == len(ping.payload)
            for one in _received(own)
        )
    if ping.acknowledged:
        return ClientProbe(True, True)
    check = _Ping(nonce + 1)
    async with check.sent(own, max(timeout_s, 0.5)):
        if not check.acknowledged:
            return ClientProbe(None, None)
    if ping.came_back:
        return ClientProbe(arrived, True)
    return ClientProbe(arrived, False if arrived else None)


def _received(port: int) -> tuple[Received, ...]:
    try:
        return received(port)
    except OSError:
        return ()


class _Ping:
    """One HTTP/2 connection with one ping."""

    def __init__(self, nonce: int) -> None:
        self._data = struct.pack("!Q", nonce & (2**64 - 1))
        # Settings that nobody knows, and so ignores (RFC 9113, 6.5.2), make the length ours.
        settings = b"".join(struct.pack("!HI", 0xF000 + i, i) for i in range(20 + nonce % 97))
        self.payload = _PREFACE + _frame(_SETTINGS, 0, settings) + _frame(_PING, 0, self._data)
        self.came_back = False
        self.acknowledged = False

    @contextlib.asynccontextmanager
    async def sent(self, port: int, timeout_s: float) -> AsyncIterator[None]:
        """Send it, wait for the answer or the time, then keep the connection for the body."""
        writer: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError):  # TimeoutError is one: no answer is an outcome
                async with asyncio.timeout(timeout_s):
                    reader, writer = await asyncio.open_connection(HOST, port)
                    writer.write(self.payload)
                    await self._listen(reader)
            yield
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        answer = _frame(_PING, _ACK, self._data)
        seen = b""
        while data := await reader.read(1 << 14):
            self.came_back = True
            seen = (seen + data)[-(1 << 16) :]
            if answer in seen:
                self.acknowledged = True
                return


def _frame(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("!I", len(body))[1:] + struct.pack("!BBI", kind, flags, 0) + body
