"""A channel of an SSH connection as streams of the event loop.

paramiko's own threads fill the channel's buffers and ring a bell, upon which the loop takes what is
there without waiting.  (A channel also offers a file to poll.  But that is closed with the channel,
while data for it may still arrive: then the thread of the whole connection dies of a write to a closed
file.)  Writing may wait for the other end, so it is left to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor

import paramiko

__all__ = ["LINE_BYTES_MAX", "Wire"]

LINE_BYTES_MAX = 1 << 22
_CHUNK = 1 << 16


class _Bell:
    """What a channel's buffer takes for its event: set from any thread, heard by the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hear: Callable[[], None]) -> None:
        self._loop = loop
        self._hear = hear
        self._rung = False

    def set(self) -> None:
        if not self._rung:
            self._rung = True
            with contextlib.suppress(
                RuntimeError
            ):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._heard)

    def clear(self) -> None:
        self._rung = False

    def is_set(self) -> bool:
        return self._rung

    def _heard(self) -> None:
        self._rung = False
        self._hear()


class Wire:
    """One channel; made inside an event loop.

    Attributes:
        reader: standard output, or what a forwarded socket says.
        errors: standard error.

    Args:
        writers: a thread pool of one, so that what is written keeps its order.
    """

    def __init__(self, channel: paramiko.Channel, writers: Executor) -> None:
        self.reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        self.errors = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        self._channel = channel
        self._writers = writers
        self._loop = asyncio.get_running_loop()
        self._watched = True
        self._ended = asyncio.Event()
        for buffer in (channel.in_buffer, channel.in_stderr_buffer):
            buffer.set_event(_Bell(self._loop, self._read))  # type: ignore[arg-type]

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the other end says no more; False if that took too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    def write(self, data: bytes) -> None:
        """Send in order; what cannot be sent any more is told by the end of ``reader``."""
        with contextlib.suppress(
            RuntimeError
        ):  # the pool is shut down: the connection is closed
            self._writers.submit(self._send, data)

    def write_end(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(RuntimeError):
            self._writers.submit(self._quietly, self._channel.shutdown_write)

    async def close(self) -> None:
        """Close it in both directions."""
        self._unwatch()
        with contextlib.suppress(RuntimeError):
            await self._loop.run_in_executor(self._writers, self._quietly, self._channel.close)

    def _send(self, data: bytes) -> None:
        self._quietly(lambda: self._channel.sendall(data))

    def _quietly(self, act: Callable[[], object]) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            act()

    def _read(self) -> None:
        if not self._watched:
            return
        over = self._channel.eof_received or self._channel.closed  # asked before the last look
        while self._channel.recv_ready():
            self.reader.feed_data(self._channel.recv(_CHUNK))
        while self._channel.recv_stderr_ready():
            self.errors.feed_data(self._channel.recv_stderr(_CHUNK))
        if over:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self.reader.feed_eof()
            self.errors.feed_eof()
            self._ended.set()
