"""One agent, as seen from here: asked over a stream of lines, whoever carries it.

A local agent is a child process of ours::

    agent = await Agent.start(namespace_argv(pid), target="agent of n1", label=label,
                              journal=journal, log=path)
    abilities = await agent.ask("hello")
    await agent.ask("cut", **{"from": ["10.0.0.2"], "to": []})
    await agent.close()

An agent on another machine is given by what it says and a way to write to it::

    agent = Agent("agent of n1", reader, channel.sendall, close)

Requests may overlap, and answers come in any order.  When the stream ends, all requests that wait,
and all later ones, raise ConnectionError.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.journal import Journal
from splitbrain.errors import HostError
from splitbrain.substrates.tools.child import Child, describe_exit, spawn

__all__ = ["Agent", "namespace_argv"]

_CLOSE_S = 5.0
_LINE_BYTES_MAX = 1 << 22


class _Reply(msgspec.Struct):
    n: int | None = None
    ok: dict[str, Any] | None = None
    error: str = ""


def namespace_argv(pid: int) -> tuple[str, ...]:
    """The command that runs an agent, with this Python, in the network namespace of a process."""
    return (
        "nsenter",
        f"--net=/proc/{pid}/ns/net",
        sys.executable,
        "-m",
        "splitbrain.substrates.agent",
    )


class Agent:
    """One agent; inside an event loop only.

    Args:
        name: what it is to the run, for messages.
        reader: gives what it writes; its limit must be 64 KiB or more.
        write: takes the bytes of one request; may raise OSError.
        close: ends it: called once, and before the last of what it writes has been read.
    """

    def __init__(
        self,
        name: str,
        reader: asyncio.StreamReader,
        write: Callable[[bytes], object],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = name
        self._reader = reader
        self._write = write
        self._close = close
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._ended = ""
        self._closing = False
        self._task = asyncio.create_task(self._read(), name=f"read {name}")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        target: str,
        label: str,
        journal: Journal,
        log: str,
        environment: Mapping[str, str] = {},
    ) -> Agent:
        """Start an agent as a child process of ours, journaled like any other.

        Args:
            argv: see ``namespace_argv``; or one that ends in ``agent.pyz``.
            target: what it is to the run, such as ``agent of n1``.
            label: the run's mark.
            journal: where its start is written first.
            log: file for what it complains of.
            environment: added to this process's own.

        Raises:
            HostError: it cannot be started, or ends at once.
        """
        child = spawn(
            argv,
            target=target,
            label=label,
            journal=journal,
            environment=environment,
            log=log,
            pipes=True,
        )
        assert child.popen.stdin is not None
        assert child.popen.stdout is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LINE_BYTES_MAX)
        output, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), child.popen.stdout
        )
        input_, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, child.popen.stdin)

        async def close() -> None:
            input_.close()
            if not await child.ended(_CLOSE_S):
                await child.kill()
            output.close()
            await asyncio.sleep(0)  # the transports close their files in a callback

        agent = cls(target, reader, input_.write, close)
        try:
            await agent.ask("hello", timeout_s=10.0)
        except OSError as error:
            await agent.close()
            raise HostError(
                f"{target} does not start: {_why(child, error)}; see {log}"
            ) from None
        return agent

    @property
    def alive(self) -> bool:
        """True until its stream has ended or it is closed."""
        return not self._ended and not self._closing

    async def ask(
        self, verb: str, /, *, timeout_s: float = 10.0, **arguments: Any
    ) -> Mapping[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            ConnectionError: the agent has ended, or ends before it answers.
            TimeoutError: no answer in time.
            HostError: it refuses: what it said.
        """
        if not self.alive:
            raise ConnectionError(f"{self.name} {self._ended or 'is closed'}")
        self._number += 1
        n = self._number
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[n] = future
        try:
            line = msgspec.json.encode({"n": n, "verb": verb, **arguments})
            self._write(line + b"\n")
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise TimeoutError(f"{self.name} does not answer {verb!r}") from None
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionError(f"{self.name} cannot be reached: {error}") from error
        finally:
            self._waiting.pop(n, None)
            if future.done() and not future.cancelled():
                future.exception()  # seen: a late one is nobody's

    async def close(self) -> None:
        """Let it remove its rules and end.  Closing twice does nothing."""
        if self._closing:
            return
        self._closing = True
        await self._close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._end("is closed")

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                reply = msgspec.json.decode(line, type=_Reply)
                future = self._waiting.get(reply.n or 0)
                if future is None or future.done():
                    continue
                if reply.ok is not None:
                    future.set_result(reply.ok)
                else:
                    future.set_exception(HostError(f"{self.name}: {reply.error}"))
            self._end("has ended")
        except (ValueError, OSError) as error:
            self._end(f"answers nonsense: {error}")

    def _end(self, how: str) -> None:
        self._ended = self._ended or how
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self.name} {how}"))


def _why(child: Child, error: OSError) -> str:
    code = child.returncode
    return str(error) if code is None else describe_exit(code)
