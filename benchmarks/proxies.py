"""What a proxy costs: throughput and round trips through the proxy process, and straight.

Prints figures; asserts nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from splitbrain.contracts.journal import NullJournal
from splitbrain.substrates.proxy.client import Proxies
from splitbrain.substrates.proxy.messages import Flow, LinkSpec, LinkState

MEGABYTES = 64
TRIPS = 3000


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo whatever comes, as long as it comes."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def megabytes_a_second(port: int) -> float:
    """Send and receive at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    chunk = bytes(1 << 16)
    began = time.perf_counter()

    async def send() -> None:
        for _ in range(MEGABYTES << 4):
            writer.write(chunk)
            await writer.drain()

    sending = asyncio.ensure_future(send())
    await reader.readexactly(MEGABYTES << 20)
    await sending
    writer.close()
    return MEGABYTES / (time.perf_counter() - began)


async def trip_us(port: int, count: int = TRIPS) -> float:
    """Mean round trip of a small message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    for _ in range(count):
        writer.write(b"x" * 100)
        await reader.readexactly(100)
    took = time.perf_counter() - began
    writer.close()
    return took / count * 1e6


async def main() -> None:
    """Straight, through a clean proxy, through one that delays."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxies = await Proxies.start(label="benchmark", journal=NullJournal(), log="/dev/null")
    through = (await proxies.open((LinkSpec(name="a", port=port),), 0))["a"]
    for name, where in (("straight", port), ("proxied", through)):
        trip, speed = await trip_us(where), await megabytes_a_second(where)
        print(f"{name:10} {trip:8.0f} us a round trip   {speed:8.0f} MB/s both ways")
    late = Flow(delay_ms=10)
    await proxies.set({"a": LinkState(forward=late, backward=late)})
    trip, speed = await trip_us(through, 50), await megabytes_a_second(through)
    print(f"{'10 ms late':10} {trip:8.0f} us a round trip   {speed:8.0f} MB/s both ways")
    await proxies.close()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
