"""The proxy process: ``python -m splitbrain.substrates.proxy``.

Orders come on standard input, answers go to standard output (see ``messages``).  The process ends
when its input does, so that it never outlives the tool that leads it, however that one ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import msgspec

from splitbrain.substrates.proxy.messages import Answer, Order
from splitbrain.substrates.proxy.relay import Link


class _Server:
    """All links of one run."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    async def obey(self, line: bytes) -> Answer:
        """Carry out one order."""
        order = msgspec.json.decode(line, type=Order)
        try:
            return await self._obey(order)
        except (OSError, KeyError, ValueError) as error:
            return Answer(id=order.id, error=f"{type(error).__name__}: {error}")

    async def _obey(self, order: Order) -> Answer:
        if order.op == "open":
            ports = {}
            for spec in order.links:
                link = Link(spec, order.seed)
                ports[spec.name] = await link.listen()
                self._links[spec.name] = link
            return Answer(id=order.id, ports=ports)
        if order.op == "set":
            links = {name: self._links[name] for name in order.states}  # all known, or none set
            for name, link in links.items():
                link.set(order.states[name])
        elif order.op == "counts":
            return Answer(
                id=order.id, counts={name: link.counts() for name, link in self._links.items()}
            )
        elif order.op != "ping":
            raise ValueError(f"unknown order {order.op!r}")
        return Answer(id=order.id)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    server = _Server()
    while (line := await reader.readline()).endswith(b"\n"):
        answer = msgspec.json.encode(await server.obey(line)) + b"\n"
        os.write(1, answer)


def main() -> None:
    """Run until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the tool's, which then heals
    asyncio.run(_serve())
    # At once: connections that are still open must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
