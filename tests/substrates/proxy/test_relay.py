"""Connections through a link, over real sockets in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from splitbrain.substrates.proxy.messages import Flow, LinkSpec, LinkState
from splitbrain.substrates.proxy.relay import LIMIT, Link

pytestmark = pytest.mark.processes

HOLD = LinkState(forward=Flow(hold=True))
HOLD_BACK = LinkState(backward=Flow(hold=True))


class Far:
    """The far side: keeps what it gets; echoes it where asked to."""

    def __init__(self, *, echo: bool) -> None:
        self.echo = echo
        self.got: list[bytearray] = []
        self.ended = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = bytearray()
        self.got.append(mine)
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                mine += data
                if self.echo:
                    writer.write(data)
            self.ended += 1
            writer.write_eof()
        writer.close()


class Bench:
    def __init__(self, link: Link, port: int, far: Far, server: asyncio.Server) -> None:
        self.link, self.port, self.far, self.server = link, port, far, server

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def bench(*, echo: bool = True) -> AsyncIterator[Bench]:
    far = Far(echo=echo)
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = Link(LinkSpec(name="a->b", port=port), 7)
    made = Bench(link, await link.listen(), far, server)
    try:
        yield made
    finally:
        link.set(LinkState(reset=True))
        link._server.close()
        server.close()
        for writer in far.writers:
            writer.close()
        await asyncio.sleep(0.01)


async def until(condition, timeout_s: float = 2.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds
            await asyncio.sleep(0.005)


async def nothing(reader: asyncio.StreamReader, timeout_s: float = 0.1) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), timeout_s)


def test_passes_and_counts() -> None:
    async def main() -> None:
        async with bench() as b:
            reader, writer = await b.dial()
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            counts = b.link.counts()
            assert (counts.connections, counts.open) == (1, 1)
            assert (counts.forward, counts.backward, counts.held) == (5, 5, 0)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await until(lambda: b.link.counts().open == 0)
            assert b.link.counts().forward == 5
            assert b.far.ended == 1

    asyncio.run(main())


def test_holding_forward_leaves_backward_flowing() -> None:
    async def main() -> None:
        async with bench(echo=False) as b:
            reader, writer = await b.dial()
            await until(lambda: b.far.writers)
            b.link.set(HOLD)
            writer.write(b"held")
            b.far.writers[0].write(b"free")
            assert await reader.readexactly(4) == b"free"
            await asyncio.sleep(0.1)
            assert b.far.got[0] == b""
            assert b.link.counts().held == 4
            writer.write(b", late")
            writer.write_eof()
            b.link.set(LinkState())
            await until(lambda: b.far.ended)
            assert b.far.got[0] == b"held, late"
            writer.close()

    asyncio.run(main())


def test_holding_backward_leaves_forward_flowing() -> None:
    async def main() -> None:
        async with bench() as b:
            reader, writer = await b.dial()
            await until(lambda: b.far.writers)
            b.link.set(HOLD_BACK)
            writer.write(b"hello")
            await until(lambda: b.far.got[0] == b"hello")
            await nothing(reader)
            b.link.set(LinkState())
            assert await reader.readexactly(5) == b"hello"
            writer.close()

    asyncio.run(main())


def test_a_held_new_connection_is_unknown_to_the_far_side_until_the_heal() -> None:
    async def main() -> None:
        async with bench() as b:
            b.link.set(HOLD)
            reader, writer = await b.dial()
            _, given_up = await b.dial()
            writer.write(b"patience")
            given_up.write(b"no patience")
            await until(lambda: b.link.counts().held == 19)
            given_up.close()
            await nothing(reader)
            assert b.far.got == []
            b.link.set(LinkState())
            assert await reader.readexactly(8) == b"patience"
            await asyncio.sleep(0.05)
            assert b.far.got == [b"patience"]
            writer.close()
            await until(lambda: b.link.counts().open == 0)

    asyncio.run(main())


def test_a_held_new_connection_that_is_reset_never_arrives() -> None:
    async def main() -> None:
        async with bench() as b:
            b.link.set(HOLD)
            _, writer = await b.dial()
            await until(lambda: b.link.counts().open == 1)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: RST
            writer.transport.abort()
            await until(lambda: b.link.counts().open == 0)
            b.link.set(LinkState())
            await asyncio.sleep(0.05)
            assert b.far.got == []

    asyncio.run(main())


def test_reset_ends_old_connections_and_refuses_new_ones() -> None:
    async def main() -> None:
        async with bench() as b:
            reader, writer = await b.dial()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            b.link.set(LinkState(reset=True))
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            for _ in range(3):
                late_reader, late = await b.dial()
                with contextlib.suppress(ConnectionResetError):
                    assert await late_reader.read() == b""
                late.close()
            assert b.link.counts().resets == 4
            assert len(b.far.got) == 1
            b.link.set(LinkState())
            reader, writer = await b.dial()
            writer.write(b"y")
            assert await reader.readexactly(1) == b"y"
            writer.close()

    asyncio.run(main())


def test_a_dead_far_side_resets_the_near_one() -> None:
    async def main() -> None:
        async with bench() as b:
            b.server.close()
            await b.server.wait_closed()
            reader, writer = await b.dial()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            await until(lambda: b.link.counts().open == 0)

    asyncio.run(main())


def test_the_far_side_going_is_seen_unless_both_ways_are_held() -> None:
    async def main() -> None:
        async with bench(echo=False) as b:
            reader, writer = await b.dial()
            await until(lambda: b.far.writers)
            b.link.set(LinkState(forward=Flow(hold=True), backward=Flow(hold=True)))
            b.far.writers[0].close()
            await nothing(reader)
            b.link.set(HOLD)
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


def test_a_delay_makes_late_and_not_slow() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with bench() as b:
            b.link.set(LinkState(forward=Flow(delay_ms=50), backward=Flow(delay_ms=50)))
            reader, writer = await b.dial()
            trips = []
            for _ in range(5):
                began = loop.time()
                writer.write(b"x")
                await reader.readexactly(1)
                trips.append(loop.time() - began)
            assert min(trips) >= 0.1
            assert sorted(trips)[2] < 0.2
            began = loop.time()
            for _ in range(200):
                writer.write(b"y" * 1000)
                await asyncio.sleep(0)
            await reader.readexactly(200_000)
            assert loop.time() - began < 1.0, "a sleep for each chunk would take over 10 s"
            writer.close()

    asyncio.run(main())


def test_a_rate_limits() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with bench() as b:
            b.link.set(LinkState(forward=Flow(rate_kbps=800)))  # 100 kB a second
            reader, writer = await b.dial()
            began = loop.time()
            writer.write(bytes(50_000))
            await reader.readexactly(50_000)
            assert 0.45 < loop.time() - began < 1.5
            writer.close()

    asyncio.run(main())


def test_held_bytes_are_bounded_and_all_arrive() -> None:
    async def main() -> None:
        async with bench(echo=False) as b:
            b.link.set(HOLD)
            _, writer = await b.dial()
            data = bytes(range(256)) * (1 << 16)  # 16 MiB, more than the kernel's buffers take
            sending = asyncio.ensure_future(_send(writer, data))
            await asyncio.sleep(0.3)
            assert not sending.done()
            assert LIMIT <= b.link.counts().held <= LIMIT + (1 << 18)
            b.link.set(LinkState())
            await sending
            await until(lambda: b.far.got and len(b.far.got[0]) == len(data), 10)
            assert b.far.got[0] == data
            writer.close()

    asyncio.run(main())


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_a_slow_reader_holds_up_the_writer() -> None:
    async def main() -> None:
        async with bench() as b:
            reader, writer = await b.dial()
            writer.transport.set_write_buffer_limits(high=1 << 16)
            data = bytes(range(256)) * (1 << 16)
            sending = asyncio.ensure_future(_send(writer, data))
            await asyncio.sleep(0.2)  # nobody reads the echo
            got = await reader.readexactly(len(data))
            await sending
            assert got == data
            assert b.link.counts().held == 0
            writer.close()

    asyncio.run(main())
