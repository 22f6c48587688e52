"""Our end of the warden on a host: it launches, and tells what the program writes and how it ends.

What it says of the log and the events is written to files of this machine, the events with their times
on our clock; a torn line waits for its rest, so the file here only ever has whole ones.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.errors import HostError
from splitbrain.substrates.ssh.clock import Reading, ahead_ns, moved
from splitbrain.substrates.ssh.wire import Wire

__all__ = ["Refused", "Warden", "append"]

_READINGS = 7


class Refused(HostError):
    """The warden answered, and does not do what it was asked for."""


class _Line(msgspec.Struct):
    n: int = -1
    ok: dict[str, Any] | None = None
    error: str = ""
    push: str = ""
    data: str = ""
    incarnation: int = 0
    code: int = 0


class Warden:
    """One warden; inside an event loop only.

    Args:
        place: the host, for messages.
        log: file of this machine for what the program prints.
        events: file of this machine for what the program says of itself.
        ended: told of each end: the incarnation and its exit code.
    """

    def __init__(
        self,
        place: str,
        wire: Wire,
        *,
        log: str,
        events: str,
        ended: Callable[[int, int], None],
    ) -> None:
        self._place = place
        self._wire = wire
        self._log = log
        self._events = events
        self._told_end = ended
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._over = ""
        self._rest = b""
        self._waiting[0] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read(), name=f"warden of {place}")
        self.ahead_ns = 0
        self.doubt_ns = 0

    async def ready(self) -> None:
        """Wait until it serves, then compare the clocks.

        Raises:
            HostError: another run has the host, or the warden cannot run there.
        """
        await self._answer(0, self._waiting[0], 20.0)
        await self.compare_clocks()

    async def compare_clocks(self) -> None:
        """Learn how far the host's monotonic clock is ahead of ours."""
        readings = []
        for _ in range(_READINGS):
            before = time.monotonic_ns()
            answer = await self.ask("clock")
            after = time.monotonic_ns()
            readings.append(Reading(before, int(answer["monotonic_ns"]), after))
        self.ahead_ns, self.doubt_ns = ahead_ns(readings)

    async def ask(
        self, verb: str, *, timeout_s: float = 20.0, **arguments: Any
    ) -> Mapping[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            Refused: it does not do that.
            HostError: it has ended, or does not answer in time.
        """
        if self._over:
            raise HostError(f"host {self._place}: {self._over}")
        self._number += 1
        number = self._number
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._wire.write(msgspec.json.encode({"n": number, "verb": verb, **arguments}) + b"\n")
        return await self._answer(number, future, timeout_s)

    async def close(self) -> None:
        """Let it end, once it has told all."""
        self._wire.write_end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.wait((self._task,))
        self._task.cancel()
        await self._wire.close()

    async def _answer(
        self, number: int, future: asyncio.Future[Mapping[str, Any]], timeout_s: float
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise HostError(f"host {self._place}: no answer in {timeout_s:.0f} s") from None
        finally:
            self._waiting.pop(number, None)

    async def _read(self) -> None:
        how = "the connection is lost"
        try:
            while line := await self._wire.reader.readline():
                self._take(msgspec.json.decode(line, type=_Line))
        except (msgspec.MsgspecError, ValueError) as error:
            how = f"its warden says nonsense: {error}"
        except OSError as error:
            how = f"cannot write {error.filename}: {error.strerror}"
        said = (await self._wire.errors.read()).decode(errors="replace").split("\n")
        complaint = [one for one in said if one.strip()][-1:]
        self._over = f"{how}: {complaint[0]}" if complaint else how
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(HostError(f"host {self._place}: {self._over}"))

    def _take(self, line: _Line) -> None:
        if line.push == "log":
            append(self._log, base64.b64decode(line.data))
        elif line.push == "events":
            *whole, self._rest = (self._rest + base64.b64decode(line.data)).split(b"\n")
            text = b"".join(moved(one, self.ahead_ns) + b"\n" for one in whole)
            append(self._events, text)
        elif line.push == "end":
            self._told_end(line.incarnation, line.code)
        else:
            future = self._waiting.get(line.n)
            if future is None or future.done():
                return
            if line.ok is not None:
                future.set_result(line.ok)
            else:
                future.set_exception(Refused(f"host {self._place}: {line.error}"))


def append(path: str, data: bytes) -> None:
    """Add to a file of this machine."""
    with Path(path).open("ab") as file:
        file.write(data)
