"""Shared by the tests of the wire: a TCP proxy that cuts, nodes with a toy shell."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.pd import StaticPd
from splitbrain.cluster.rpc.server import Server
from splitbrain.cluster.rpc.translate import METHODS
from splitbrain.cluster.rpc.transport import GrpcTransport

from .processes import Cluster, find_port


class Proxy:
    """A TCP proxy in this process: passes bytes, holds them, or resets and refuses connections."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._pass = asyncio.Event()
        self._pass.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def hold(self) -> None:
        self._pass.clear()

    def release(self) -> None:
        self._pass.set()

    async def reset(self) -> None:
        """End all connections with a reset, and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        self.release()
        await self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._writers.add(sink)
            task = asyncio.create_task(self._pipe(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await self._pass.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)


class ToyNode:
    """A server and a transport around a list: requests are answered by ``answer``."""

    def __init__(
        self,
        node: str,
        addresses: Mapping[str, str],
        dial: Mapping[str, str] | None = None,
        answer: Callable[[Any], Any] = lambda _: None,
        *,
        static_pd: bool = True,
        serves: Collection[type[Any]] = tuple(METHODS),
    ) -> None:
        self.received: list[tuple[str, Any]] = []
        self._answer = answer
        names = Names(tuple(addresses), addresses)
        peers = {n: (dial or {}).get(n, a) for n, a in addresses.items() if n != node}
        self.transport = GrpcTransport(node, peers, self._receive)
        pd = StaticPd(node, names, lambda: next(iter(addresses))) if static_pd else None
        self.server = Server(addresses[node], names, self.transport, pd, 7, serves=serves)

    def _receive(self, sender: str, message: Any) -> None:
        self.received.append((sender, message))
        answer = self._answer(message)
        if answer is not None:
            self.transport.send(sender, answer)

    async def start(self) -> ToyNode:
        await self.server.start()
        self.transport.start()
        return self

    async def close(self) -> None:
        await self.transport.close()
        await self.server.close()


async def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> float:
    """Seconds until ``condition`` held."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout_s:
            raise AssertionError(f"not so after {timeout_s} s")
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


@contextlib.asynccontextmanager
async def opened(*things: Any) -> AsyncIterator[None]:
    """Close nodes and proxies, whatever the test did."""
    try:
        yield
    finally:
        for thing in things:
            await thing.close()


class Kit(msgspec.Struct, frozen=True):
    """What a test builds with."""

    opened: Callable[..., contextlib.AbstractAsyncContextManager[None]]
    find_port: Callable[[], int]
    proxy: type[Proxy]
    toy: type[ToyNode]
    wait_until: Callable[..., Any]


@pytest.fixture
def kit() -> Kit:
    return Kit(
        opened=opened, find_port=find_port, proxy=Proxy, toy=ToyNode, wait_until=wait_until
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()
