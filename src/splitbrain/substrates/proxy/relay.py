"""Connections through a link: two ends, a pipe for each direction, and nothing else.

A connection that is made while the link's forward direction is held is accepted, and dialled on
only once the hold ends: the far side must not hear of it, as it would not hear of a SYN that a cut
keeps back.  If the near side gives up meanwhile, the far side never learns of it.

Bounds: a direction keeps at most ``LIMIT`` bytes; then its source is no longer read, and TCP itself
holds up the sender.  Written bytes that a slow receiver does not take count in the same way.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from splitbrain.env.random import Random
from splitbrain.substrates.proxy.messages import Counts, Flow, LinkSpec, LinkState
from splitbrain.substrates.proxy.shaping import END, RESET, Ending, Item, Pipe

__all__ = ["LIMIT", "Link"]

LIMIT = 1 << 20
"""Bytes that one direction of one connection keeps before its source is held up."""

_NO_LINGER = struct.pack("ii", 1, 0)


class _End(asyncio.Protocol):
    """One of a connection's two sockets: passes on what happens to it."""

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self.transport: asyncio.Transport | None = None
        self.out: _Direction | None = None
        """The direction that is fed by this end."""
        self.into: _Direction | None = None
        """The direction that ends here."""
        self.gone = False
        self.full = False
        """True while the transport asks us not to write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._relay.made(self)

    def data_received(self, data: bytes) -> None:
        if self.out is not None:
            self.out.feed(data)

    def eof_received(self) -> bool:
        if self._relay.gives_up(self):
            return False
        if self.out is not None:
            self.out.feed(END)
        return True  # half-closed: the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self._relay.lost(self)

    def pause_writing(self) -> None:
        self.full = True
        if self.into is not None:
            self.into.adjust()

    def resume_writing(self) -> None:
        self.full = False
        if self.into is not None:
            self.into.pump()

    def reset(self) -> None:
        """End the socket by RST, whatever waits in it."""
        if self.transport is None or self.gone:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


class _Direction:
    """Bytes from one end to the other, through a pipe."""

    def __init__(self, source: _End, target: _End, pipe: Pipe, relay: _Relay) -> None:
        self.source = source
        self.target = target
        self.pipe = pipe
        self.passed = 0
        self.ended = False
        self._relay = relay
        self._loop = relay.loop
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        source.out = self
        target.into = self

    def feed(self, item: Item) -> None:
        """The source has said something."""
        if self.target.gone:
            return
        self.pipe.put(item, self._loop.time())
        self.pump()

    def shape(self, flow: Flow) -> None:
        """Do this from now on."""
        self.pipe.shape(flow, self._loop.time())
        self.pump()

    def pump(self) -> None:
        """Pass on what may pass, arm the timer for what may pass later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport = self.target.transport
        if transport is not None and not self.target.gone and not self.target.full:
            now = self._loop.time()
            for item in self.pipe.take(now):
                self._deliver(item, transport)
            due = self.pipe.due(now)
            if due is not None:
                self._timer = self._loop.call_at(due, self.pump)
        self.adjust()

    def _deliver(self, item: Item, transport: asyncio.Transport) -> None:
        if not isinstance(item, Ending):
            self.passed += len(item)
            if not transport.is_closing():
                transport.write(item)
        elif item is RESET:
            self.ended = True
            transport.close()
        else:
            self.ended = True
            if not transport.is_closing():
                try:
                    transport.write_eof()
                except OSError:  # it was reset a moment ago, and we have not been told yet
                    transport.abort()
            self._relay.ended()

    def adjust(self) -> None:
        """Read from the source only while there is room."""
        room = self.pipe.waiting < (LIMIT if self._reading else LIMIT // 2)
        reading = room and not self.target.full
        if reading == self._reading or self.source.gone or self.source.transport is None:
            return
        self._reading = reading
        if self.source.transport.is_closing():
            return
        if reading:
            self.source.transport.resume_reading()
        else:
            self.source.transport.pause_reading()

    def close(self) -> None:
        """Drop what waits and the timer."""
        self.pipe.drop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Relay:
    """One connection through a link."""

    def __init__(self, link: Link) -> None:
        self.loop = asyncio.get_running_loop()
        self._link = link
        self._dial: asyncio.Task[None] | None = None
        self._near = _End(self)
        self._far = _End(self)
        self.forward = _Direction(self._near, self._far, Pipe(link.stream), self)
        self.backward = _Direction(self._far, self._near, Pipe(link.stream), self)

    def accept(self) -> asyncio.Protocol:
        """The end for the side that dialled."""
        return self._near

    def made(self, end: _End) -> None:
        """An end has its transport."""
        if end is self._near:
            self._link.accepted(self)
        elif self._near.gone and not self.forward.pipe.waiting:
            end.reset()
        else:
            self.forward.pump()
            self.backward.pump()

    def gives_up(self, end: _End) -> bool:
        """The near side closes before we dialled on: then the far side never hears of it."""
        return end is self._near and self._dial is None

    def lost(self, end: _End) -> None:
        """An end's connection is gone."""
        if end.into is not None:
            end.into.close()
        if end is self._near and self._far.transport is None:
            self.close()
        elif end.out is not None:
            end.out.feed(RESET)
        if self._near.gone and (self._far.gone or self._far.transport is None):
            self._link.finished(self)

    def ended(self) -> None:
        """One direction has ended in good order; both: the connection is over."""
        if self.forward.ended and self.backward.ended:
            for end in (self._near, self._far):
                if end.transport is not None:
                    end.transport.close()

    def shape(self, state: LinkState) -> None:
        """Do this from now on; dial on if that is not held any more."""
        self.forward.shape(state.forward)
        self.backward.shape(state.backward)
        if not state.forward.hold and self._far.transport is None and self._dial is None:
            self._dial = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self.loop.create_connection(
                lambda: self._far, self._link.spec.host, self._link.spec.port
            )
        except OSError:
            self._near.reset()  # as the far side would: nobody listens

    def reset(self) -> None:
        """End both sides by RST."""
        self._near.reset()
        self._far.reset()
        self.close()

    def close(self) -> None:
        """Forget everything that waits."""
        if self._dial is not None:
            self._dial.cancel()
        self.forward.close()
        self.backward.close()

    @property
    def waiting(self) -> int:
        """Bytes kept in both directions."""
        return self.forward.pipe.waiting + self.backward.pipe.waiting


class Link:
    """A listening port, where its connections lead, and what happens to them."""

    def __init__(self, spec: LinkSpec, seed: int) -> None:
        self.spec = spec
        self.state = LinkState()
        self.stream = Random(seed).stream("jitter", spec.name)
        self._relays: dict[_Relay, None] = {}
        self._server: asyncio.Server | None = None
        self._connections = self._forward = self._backward = self._resets = 0

    async def listen(self) -> int:
        """Open a free port of the loopback and return it."""
        factory: Callable[[], asyncio.Protocol] = lambda: _Relay(self).accept()  # noqa: E731
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(factory, "127.0.0.1", 0, backlog=128)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def set(self, state: LinkState) -> None:
        """Do this from now on."""
        self.state = state
        for relay in tuple(self._relays):
            if state.reset:
                self._resets += 1
                relay.reset()
            else:
                relay.shape(state)

    def accepted(self, relay: _Relay) -> None:
        """A connection has come in."""
        self._connections += 1
        self._relays[relay] = None
        if self.state.reset:
            self._resets += 1
            relay.reset()
        else:
            relay.shape(self.state)

    def finished(self, relay: _Relay) -> None:
        """A connection is over."""
        if self._relays.pop(relay, self) is self:
            return
        self._forward += relay.forward.passed
        self._backward += relay.backward.passed

    def counts(self) -> Counts:
        """What was seen so far."""
        relays = tuple(self._relays)
        return Counts(
            connections=self._connections,
            open=len(relays),
            forward=self._forward + sum(relay.forward.passed for relay in relays),
            backward=self._backward + sum(relay.backward.passed for relay in relays),
            held=sum(relay.waiting for relay in relays),
            resets=self._resets,
        )
