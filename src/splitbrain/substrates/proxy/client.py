"""The substrate's side of the proxy process: start it, open links, say what happens on them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence

import msgspec

from splitbrain.contracts.journal import Journal
from splitbrain.errors import HarnessError, HostError
from splitbrain.substrates.proxy.messages import Answer, Counts, LinkSpec, LinkState, Order
from splitbrain.substrates.tools.child import Child, describe_exit, spawn

__all__ = ["Proxies"]

_TIMEOUT_S = 10.0


class Proxies:
    """All proxies of one run, in one child process.

    Raises (each method):
        HarnessError: the process ended, or refuses an order.
        HostError: it does not answer.
    """

    def __init__(
        self,
        child: Child,
        log: str,
        reader: asyncio.StreamReader,
        transports: tuple[asyncio.ReadTransport, asyncio.WriteTransport],
    ) -> None:
        self.child = child
        self._log = log
        self._reader = reader
        self._output, self._input = transports
        self._number = 0
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, *, label: str, journal: Journal, log: str) -> Proxies:
        """Start the process, without links."""
        child = spawn(
            (sys.executable, "-m", "splitbrain.substrates.proxy"),
            target="proxies",
            label=label,
            journal=journal,
            environment={},
            log=log,
            pipes=True,
        )
        assert child.popen.stdin is not None
        assert child.popen.stdout is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 22)
        output, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), child.popen.stdout
        )
        input_, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, child.popen.stdin)
        return cls(child, log, reader, (output, input_))

    async def open(self, links: Sequence[LinkSpec], seed: int) -> Mapping[str, int]:
        """Open a listening port for each link; their numbers by the links' names."""
        answer = await self._ask(Order(id=0, op="open", links=tuple(links), seed=seed))
        return answer.ports

    async def set(self, states: Mapping[str, LinkState]) -> None:
        """From now on these links are in these states; the others stay as they are."""
        if states:
            await self._ask(Order(id=0, op="set", states=dict(states)))

    async def counts(self) -> Mapping[str, Counts]:
        """What the proxies have seen: support for a proof, never a proof."""
        return (await self._ask(Order(id=0, op="counts"))).counts

    async def close(self) -> None:
        """Let the process end by closing its input; end it if it does not."""
        self._input.close()
        if not await self.child.ended(1.0):
            await self.child.kill()
        self._output.close()
        await asyncio.sleep(0)  # the transports close their files in a callback

    async def _ask(self, order: Order) -> Answer:
        async with self._turn:
            self._number += 1
            line = msgspec.json.encode(msgspec.structs.replace(order, id=self._number))
            self._input.write(line + b"\n")
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    answered = await self._reader.readline()
            except TimeoutError as error:
                raise HostError(
                    f"the proxy process (pid {self.child.pid}) does not answer; see {self._log}"
                ) from error
        if not answered:
            await self.child.ended(1.0)
            code = self.child.returncode
            how = "closed its output" if code is None else f"ended with {describe_exit(code)}"
            raise HarnessError(f"the proxy process {how}; see {self._log}")
        with contextlib.suppress(msgspec.MsgspecError):
            answer = msgspec.json.decode(answered, type=Answer)
            if answer.error:
                raise HarnessError(f"the proxy process refuses {order.op!r}: {answer.error}")
            return answer
        raise HarnessError(f"the proxy process answers nonsense: {answered[:80]!r}")
