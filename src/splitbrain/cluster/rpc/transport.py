"""Messages between nodes over gRPC: one client stream per peer, best effort, never piled up.

    n1 ──/minitikv.Peers/Exchange──> n2      frames of n1 to n2
    n1 <──/minitikv.Peers/Exchange── n2      frames of n2 to n1, on n2's own connection

Each node dials each other one, and a stream carries one direction's payload only.  So whoever stands
between them (a proxy on the link from n1 to n2) cuts one direction, and the other one goes on.

One stream message is a MessagePack list of :class:`Frame`: all that was waiting when the last one
had been handed over.  Under load frames share messages, and an idle link adds no wait.

What happens when a link is down: the stream ends (reset at once, held bytes after the keepalive time
of a second and a half), and then all that waits is dropped, and so is whatever is sent until the
peer has accepted a new stream.  Raft sends again what still matters; old heartbeats do not.  While a
stream stands and the peer is slow, at most ``MAX_FRAMES`` or ``MAX_BYTES`` wait: beyond, the *newest*
is dropped, because in Raft's pipeline each message builds on those before it.

``Echo``, ``EchoReply`` and ``Probe`` are answered here, below the node: they measure the link, and
go the way that all messages go.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio
import msgspec

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc.options import CHANNEL
from splitbrain.env.links import LinkCounts
from splitbrain.env.real import crash

__all__ = [
    "EXCHANGE",
    "FROM",
    "INCARNATION",
    "MAX_BYTES",
    "MAX_FRAMES",
    "TO",
    "Frame",
    "GrpcTransport",
]

EXCHANGE = "/minitikv.Peers/Exchange"
FROM, TO, INCARNATION = "minitikv-from", "minitikv-to", "minitikv-incarnation"
"""Metadata of a stream: who sends, for whom it is meant, which of the sender's lives this is."""
MAX_FRAMES = 4096
MAX_BYTES = 64 << 20
_MESSAGE_BYTES = 1 << 20
_PAUSE_S = 0.05
_PROBES_KEPT = 1024

Receive = Callable[[str, Any], None]
"""Takes (sender, message) into the node, on the event loop."""


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message on a link.

    Attributes:
        number: counts the messages to this peer since the sender's process began.
        sent_ns: the sender's machine's monotonic clock.
        message: what was sent.
    """

    number: int
    sent_ns: int
    message: m.Message


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Frame])


class GrpcTransport:
    """Implements :class:`splitbrain.env.Transport` and :class:`splitbrain.env.links.Links`.

    Args:
        node: own name.
        dial: for each other node the address at which this one reaches it, through proxies or not.
        receive: takes each message for the node.
    """

    def __init__(self, node: str, dial: Mapping[str, str], receive: Receive) -> None:
        self.node = node
        self._receive = receive
        incarnation = str(time.monotonic_ns())
        self._links = {
            peer: _Link(
                address,
                ((FROM, node), (TO, peer), (INCARNATION, incarnation)),
            )
            for peer, address in dial.items()
        }
        self._received: dict[str, _Received] = {peer: _Received() for peer in dial}
        self._requests: dict[str, asyncio.Future[Any]] = {}
        self._request_number = 0
        self._nonce = 0
        self._echoes: dict[int, asyncio.Future[None]] = {}
        self._probes: dict[int, int] = {}

    def start(self) -> None:
        """Begin to dial the peers; inside a running event loop."""
        for link in self._links.values():
            link.start()

    async def close(self) -> None:
        """Drop all links and requests."""
        for future in self._requests.values():
            future.cancel()
        for link in self._links.values():
            await link.close()

    # -- env.Transport -----------------------------------------------------------------------

    def send(self, to: str, message: Any) -> None:
        """To a peer: best effort.  To the sender of a request: its answer."""
        link = self._links.get(to)
        if link is not None:
            link.send(message)
        elif (future := self._requests.get(to)) is not None and not future.done():
            future.set_result(message)

    # -- the server's side -------------------------------------------------------------------

    async def ask(self, request: Any) -> Any:
        """Hand a client's request to the node and wait for the answer that it sends."""
        self._request_number += 1
        sender = f"request:{self._request_number}"
        future = asyncio.get_running_loop().create_future()
        self._requests[sender] = future
        try:
            self._receive(sender, request)
            return await future
        finally:
            del self._requests[sender]

    def arrived(self, peer: str, incarnation: int, data: bytes) -> None:
        """Take one stream message of a peer; msgspec.DecodeError if it is not one."""
        now_ns = time.monotonic_ns()
        seen = self._received[peer]
        seen.live(incarnation)
        for frame in _decoder.decode(data):
            seen.count(frame, now_ns)
            message = frame.message
            match message:
                case m.Echo():
                    self.send(peer, m.EchoReply(nonce=message.nonce))
                case m.EchoReply():
                    echo = self._echoes.get(message.nonce)
                    if echo is not None and not echo.done():
                        echo.set_result(None)
                case m.Probe():
                    if len(self._probes) >= _PROBES_KEPT:
                        del self._probes[next(iter(self._probes))]
                    self._probes[message.nonce] = now_ns
                case _:
                    self._receive(peer, message)

    def knows(self, peer: str) -> bool:
        """Is this the name of a peer?"""
        return peer in self._links

    # -- env.links.Links ---------------------------------------------------------------------

    def probe_send(self, to: str, nonce: int, wait_s: float) -> bool:
        """Send a probe; if the link is down, as soon as it is up within ``wait_s``."""
        return self._link(to).send_when_up(m.Probe(nonce=nonce), wait_s)

    def probe_seen(self, nonce: int) -> int | None:
        """When a probe arrived here, on the machine's monotonic clock; None if it has not."""
        return self._probes.get(nonce)

    async def echo(self, to: str, timeout_s: float) -> float | None:
        """Milliseconds to a peer and back; None if nothing came back in time."""
        link = self._link(to)
        self._nonce += 1
        nonce, begun_ns = self._nonce, time.monotonic_ns()
        self._echoes[nonce] = future = asyncio.get_running_loop().create_future()
        try:
            link.send_when_up(m.Echo(nonce=nonce), timeout_s)
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return None
        finally:
            del self._echoes[nonce]
        return (time.monotonic_ns() - begun_ns) / 1e6

    def counts(self) -> Mapping[str, LinkCounts]:
        """For each peer what was sent to it and received from it."""
        return {
            peer: LinkCounts(
                sent=link.sent,
                dropped=link.dropped,
                connected=link.up,
                received=self._received[peer].frames,
                reordered=self._received[peer].reordered,
                lateness_ns=self._received[peer].lateness_ns,
            )
            for peer, link in self._links.items()
        }

    def _link(self, to: str) -> _Link:
        if to not in self._links:
            raise ValueError(f"unknown peer {to!r}; known: {', '.join(self._links)}")
        return self._links[to]


class _Received:
    """What has come from one peer."""

    __slots__ = ("frames", "incarnation", "last", "lateness_ns", "reordered")

    def __init__(self) -> None:
        self.frames = self.reordered = self.lateness_ns = self.last = self.incarnation = 0

    def live(self, incarnation: int) -> None:
        """A restarted peer numbers its messages from 1 again."""
        if incarnation > self.incarnation:
            self.incarnation, self.last = incarnation, 0

    def count(self, frame: Frame, now_ns: int) -> None:
        self.frames += 1
        self.lateness_ns += max(0, now_ns - frame.sent_ns)
        # Bytes of an old stream may still come after a new one was opened.
        if frame.number < self.last:
            self.reordered += 1
        else:
            self.last = frame.number


def _ended(task: asyncio.Task[None]) -> None:
    """A link without its task would be dead for ever, and nobody would know why."""
    if not task.cancelled() and (error := task.exception()) is not None:
        crash(error)


class _Link:
    """The way to one peer: a channel, its stream when there is one, and what waits for it."""

    def __init__(self, address: str, metadata: tuple[tuple[str, str], ...]) -> None:
        self.sent = self.dropped = 0
        self.up = False
        self._address = address
        self._metadata = metadata
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._later: list[
            tuple[int, m.Message]
        ] = []  # (deadline, probe) for when the link is up
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_ended)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def send(self, message: m.Message) -> None:
        self.sent += 1
        if not self.up:
            self.dropped += 1
            return
        frame = Frame(number=self.sent, sent_ns=time.monotonic_ns(), message=message)
        data = _encoder.encode(frame)
        if len(self._queue) >= MAX_FRAMES or self._queued_bytes + len(data) > MAX_BYTES:
            self.dropped += 1
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._wake.set()

    def send_when_up(self, message: m.Message, wait_s: float) -> bool:
        if self.up:
            self.send(message)
            return True
        now_ns = time.monotonic_ns()
        self._later = [entry for entry in self._later if entry[0] >= now_ns]
        self._later.append((now_ns + int(wait_s * 1e9), message))
        return False

    async def _run(self) -> None:
        channel: Any = grpc.aio.insecure_channel(self._address, options=CHANNEL)
        async with channel:
            stream = channel.stream_unary(EXCHANGE)
            while True:
                with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await self._exchange(stream(metadata=self._metadata, wait_for_ready=True))
                self._down()
                await asyncio.sleep(_PAUSE_S)

    async def _exchange(self, call: Any) -> None:
        """One stream, from its acceptance by the peer to its end."""
        try:
            await call.wait_for_connection()
            call.add_done_callback(lambda _: self._wake.set())
            self._now_up()
            while not call.done():
                if self._queue:
                    await call.write(self._take())
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            call.cancel()

    def _now_up(self) -> None:
        self.up = True
        now_ns = time.monotonic_ns()
        later, self._later = self._later, []
        for deadline_ns, message in later:
            if now_ns <= deadline_ns:
                self.send(message)

    def _down(self) -> None:
        self.up = False
        self.dropped += len(self._queue)
        self._queue.clear()
        self._queued_bytes = 0

    def _take(self) -> bytes:
        """One stream message of what waits: a MessagePack array of the frames' bytes."""
        batch = [self._queue.popleft()]
        size = len(batch[0])
        while self._queue and size < _MESSAGE_BYTES and len(batch) < 0xFFFF:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        self._queued_bytes -= size
        return b"\xdc" + len(batch).to_bytes(2, "big") + b"".join(batch)
