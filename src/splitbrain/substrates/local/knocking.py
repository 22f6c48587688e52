"""Does a link carry bytes?  Probes for programs that know nothing of us and answer no questions.

A *knock* is a new connection with one to a few bytes, too few for any request, made where the sender's
own would be made: at the link's proxy.  It has arrived if

- the kernel shows a connection of the receiver's port that is new since the knock began and has
  received just so many bytes, or
- anything comes back, be it only the end of the connection: a proxy says nothing of its own.

Knocks at one port at one time have different lengths.  The receiver is none the worse: it sees a
peer that gave up in the middle of its first line.

A negative answer is worth something only if the knock would have been seen otherwise, and if the
sender's bytes do go through the proxy.  So it is given only when

- a knock at the receiver's port itself, past the proxy, is seen, and
- no process of the sender holds a connection straight to that port.  If one does, the link is not
  cut, whatever its proxy does: a program that was not told whom to dial.

Example: with ``forward.hold`` on the proxy of n1 to n2, n2's kernel never hears of the knock::

    knocks = Knocks()
    await knocks.reaches(n1, n2, proxy_port, 0.5)      # False
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator

import msgspec

from splitbrain.substrates.local.node import LocalNode
from splitbrain.substrates.local.probing import ClientProbe
from splitbrain.substrates.real.places import HOST
from splitbrain.substrates.tools import procfs
from splitbrain.substrates.tools.sockdiag import Received, dialled, received

__all__ = ["Knocks"]

_TEXT = b"PRI * HTTP/2.0"
"""Of this so many bytes are sent: to HTTP, old or new, and to whatever reads lines, a beginning."""

_POLL_S = (0.001, 0.001, 0.002, 0.004, 0.008, 0.016)
_GLANCE_S = 0.003
"""A request on a connection of its own is often over in a few milliseconds."""
_AGAIN_S = 0.05
_CHECK_S = 0.5
_LINGER_S = 0.1
"""A knock past the proxy stays so long before it hangs up: who drops callers has done so by then ..."""
_BRISK = 4
"""... if it takes no longer than this part of it to hear that one has hung up."""
_PATIENCE = 30
"""A knock through a proxy is waited for so many times as long as one past it takes ..."""
_PATIENCE_S = 3.0
"""... but no longer than that."""


class _Seen(msgspec.Struct, frozen=True):
    """What came of a knock.

    Attributes:
        arrived_ms: from sending until it was seen to have arrived; None if it was not.
        answered: something came back, or the end.
        dropped: the end, or a reset, came back before we ended our side, or so long after that it
            may have been on its way.
    """

    arrived_ms: float | None = None
    answered: bool = False
    dropped: bool = False


class Knocks:
    """Makes knocks, and sees to it that no two at one port look alike."""

    def __init__(self) -> None:
        self._lengths: dict[int, set[int]] = {}

    async def reaches(
        self, sender: LocalNode, receiver: LocalNode, port: int, timeout_s: float
    ) -> bool | None:
        """Do bytes pass from ``sender`` through the proxy at ``port`` to ``receiver``?

        None: it cannot be told, for an end is dead or stopped, or a knock would not be seen.
        """
        if not (_runs(sender) and _runs(receiver)):
            return None
        own = _port(receiver)
        past = asyncio.ensure_future(_dials_past(sender, own))
        try:
            seen, check = await self._compared(port, own, timeout_s)
            if seen.arrived_ms is not None or past.done():
                return True
        finally:
            past.cancel()
        if check.arrived_ms is None or not (_runs(sender) and _runs(receiver)):
            return None
        return False

    async def way_ms(self, receiver: LocalNode, port: int, timeout_s: float) -> float | None:
        """How long bytes take through the proxy at ``port`` to ``receiver``; None: too long."""
        if not _runs(receiver):
            return None
        return (await self._knock(port, _port(receiver), timeout_s)).arrived_ms

    async def client(self, node: LocalNode, port: int | None, timeout_s: float) -> ClientProbe:
        """Probe the links between our clients and ``node`` through its client proxy at ``port``.

        The way back is seen where a program says anything, or hangs up, once its client has.  Of
        one that drops whoever comes, before bytes do, nothing is said but that both ways pass.
        """
        if not _runs(node):
            return ClientProbe(None, None)
        own = _port(node)
        seen, check = await self._compared(port or own, own, timeout_s, hang_up=True)
        if seen.answered:
            return ClientProbe(True, True)
        if check.arrived_ms is None or (check.dropped and seen.arrived_ms is None):
            return ClientProbe(None, None)
        arrived = seen.arrived_ms is not None
        return ClientProbe(arrived, False if arrived and check.answered else None)

    async def _compared(
        self, port: int, own: int, timeout_s: float, *, hang_up: bool = False
    ) -> tuple[_Seen, _Seen]:
        """What came of a knock through a proxy, and, if that was not heard, of one past it.

        Where the second takes long the machine is busy, and the first is given time accordingly.
        """
        seen = await self._knock(port, own, timeout_s, hang_up=hang_up)
        if seen.answered or (seen.arrived_ms is not None and not hang_up):
            return seen, seen
        check = await self._knock(
            own, own, max(timeout_s, _CHECK_S), hang_up=hang_up, linger_s=_LINGER_S
        )
        patience_s = min(_PATIENCE * (check.arrived_ms or 0.0) / 1000, _PATIENCE_S)
        if patience_s > timeout_s:
            seen = await self._knock(port, own, patience_s, hang_up=hang_up)
        return seen, check

    async def _knock(
        self,
        port: int,
        own: int,
        timeout_s: float,
        *,
        hang_up: bool = False,
        linger_s: float = 0.0,
    ) -> _Seen:
        """Knock at ``port``, which leads to the port ``own``, until it is seen or time is over.

        A connection that is refused or reset is made anew.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        seen = _Seen()
        with self._length(own) as length:
            while True:
                with contextlib.suppress(OSError):  # TimeoutError is one
                    seen = await _knock_once(
                        port, own, length, deadline, linger_s if hang_up else None
                    )
                if seen.arrived_ms is not None or loop.time() + _AGAIN_S >= deadline:
                    return seen
                await asyncio.sleep(_AGAIN_S)

    @contextlib.contextmanager
    def _length(self, own: int) -> Iterator[int]:
        """The smallest odd number of bytes that no other knock at this port has now.

        Odd, because the kernel counts the end of a connection as one more byte.
        """
        taken = self._lengths.setdefault(own, set())
        length = next(n for n in itertools.count(1, 2) if n not in taken)
        taken.add(length)
        try:
            yield length
        finally:
            taken.discard(length)


async def _knock_once(
    port: int, own: int, length: int, deadline: float, linger_s: float | None
) -> _Seen:
    """One connection; with ``linger_s``, so long after it has arrived, end our side and listen.

    Raises:
        OSError: no connection, or none in time.
    """
    loop = asyncio.get_running_loop()
    before = {one.peer_port for one in _received(own)}
    async with asyncio.timeout_at(deadline):
        reader, writer = await asyncio.open_connection(HOST, port)
    back = asyncio.ensure_future(_comes_back(reader))
    try:
        began = loop.time()
        writer.write((_TEXT * (length // len(_TEXT) + 1))[:length])
        arrived = False
        for step in itertools.chain(_POLL_S, itertools.repeat(_POLL_S[-1])):
            arrived = (back.done() and back.result() is not None) or any(
                one.peer_port not in before and one.bytes_received == length
                for one in _received(own)
            )
            if arrived or back.done() or loop.time() >= deadline:
                break
            await asyncio.wait([back], timeout=step)
        took_ms = (loop.time() - began) * 1000
        if arrived and linger_s and not back.done():
            await asyncio.wait([back], timeout=linger_s)
        dropped = back.done() and not back.result()
        if arrived and linger_s is not None and not back.done():
            ended = loop.time()
            writer.write_eof()
            await asyncio.wait([back], timeout=max(0.0, deadline - ended))
            late = loop.time() - ended > linger_s / _BRISK
            dropped = back.done() and not back.result() and late
        answered = back.done() and back.result() is not None
        return _Seen(took_ms if arrived else None, answered, dropped)
    finally:
        back.cancel()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _comes_back(reader: asyncio.StreamReader) -> bytes | None:
    """The first byte that comes back, none if it is the end; None if it is a reset."""
    try:
        return await reader.read(1)
    except OSError:
        return None


async def _dials_past(sender: LocalNode, own: int) -> None:
    """Return once a process of ``sender`` is seen to be connected with the port ``own`` itself."""
    pids = await _pids(sender)
    while True:
        try:
            inodes = dialled(own)
        except OSError:
            inodes = frozenset()
        if inodes and any(inodes & _sockets(pid) for pid in pids):
            return
        await asyncio.sleep(_GLANCE_S)


async def _pids(node: LocalNode) -> tuple[int, ...]:
    """The processes of the node's session; the observation names its leader as pid:start."""
    leader = (await node.observe()).started.partition(":")[0]
    if not leader.isdigit():
        return ()
    return tuple(p.pid for p in procfs.processes() if p.session == int(leader))


def _sockets(pid: int) -> set[int]:
    """The inodes of a process's sockets."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                kind, _, inode = os.readlink(entry.path).partition(":")
                if kind == "socket":
                    found.add(int(inode[1:-1]))
    return found


def _received(port: int) -> tuple[Received, ...]:
    try:
        return received(port)
    except OSError:
        return ()


def _runs(node: LocalNode) -> bool:
    return node.process_state == "running"


def _port(node: LocalNode) -> int:
    return int(node.address.rpartition(":")[2])
