"""One run of a container: told by the engine's news, looked at through this machine's kernel."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from typing import Any

from splitbrain.errors import HostError
from splitbrain.substrates.docker.engine import Engine
from splitbrain.substrates.docker.names import returncode
from splitbrain.substrates.real.host import Seen
from splitbrain.substrates.tools import procfs
from splitbrain.substrates.tools.cgroups import is_frozen, throttled_ns

__all__ = ["ContainerBody"]

_END_S = 10.0


class ContainerBody:
    """One run of a container; see ``real.host.Body``."""

    def __init__(self, engine: Engine, container: str, pid: int) -> None:
        self._engine = engine
        self._container = container
        self.pid = pid
        process = procfs.look(pid) if pid else None
        self._start = process.start if process is not None else 0
        self.returncode: int | None = None
        self._over = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.ended_by = ""

    @property
    def mark(self) -> Mapping[str, Any]:
        """The container, and the pid of its first process on this machine."""
        return {"container": self._container, "pid": self.pid}

    def ended(self, code: int) -> None:
        """The engine says that it has ended; news of an earlier run may come late."""
        if self.returncode is None and self.look_now() is None:
            self.returncode = code
            self._over.set()
            for listener in self._listeners:
                listener()

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the event loop once it has ended."""
        if self.returncode is not None:
            asyncio.get_running_loop().call_soon(listener)
        else:
            self._listeners.append(listener)

    def look_now(self) -> Seen | None:
        """As this machine's kernel shows its first process and its cgroup."""
        process = procfs.look(self.pid) if self.returncode is None and self.pid else None
        if process is None or not process.alive or process.start != self._start:
            return None
        stopped = process.state in ("T", "t") or is_frozen(self.pid)
        started = f"{self._container[:12]}:{process.pid}:{process.start}"
        return Seen(started, stopped, throttled_ns(self.pid))

    async def look(self) -> Seen | None:
        """As the kernel shows it."""
        return self.look_now()

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM; SIGKILL when it takes too long."""
        await self._end("stop", timeout=max(1, round(timeout_s)))

    async def kill(self) -> None:
        """SIGKILL; the engine thaws a frozen container as well."""
        await self._end("kill", signal=signal.SIGKILL.name)

    async def _end(self, how: str, **arguments: Any) -> None:
        try:
            await self._engine.call(how, self._container, **arguments)
        except (HostError, FileNotFoundError):
            if self.look_now() is not None:
                raise
        if not await self.over(_END_S):
            await self._ask_how_it_ended()

    async def over(self, timeout_s: float) -> bool:
        """Wait for its end; False if it did not come in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def _ask_how_it_ended(self) -> None:
        """The event was lost: ask."""
        state = (await self._engine.call("inspect_container", self._container))["State"]
        if state["Running"]:
            raise HostError(
                f"container {self._container[:12]} did not end within {_END_S:.0f} s of SIGKILL: "
                "a disk that hangs?"
            )
        self.ended(returncode(int(state["ExitCode"])))

    async def freeze(self) -> None:
        """Freeze its cgroup."""
        await self._quietly("pause")

    async def thaw(self) -> None:
        """Thaw its cgroup."""
        await self._quietly("unpause")

    async def _quietly(self, method: str) -> None:
        """It may end meanwhile."""
        try:
            await self._engine.call(method, self._container)
        except (HostError, FileNotFoundError):
            if self.look_now() is not None:
                raise
