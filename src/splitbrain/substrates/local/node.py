"""One node as a process of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from splitbrain.contracts.testbed import ExecResult, Program
from splitbrain.errors import HostError, Unsupported
from splitbrain.substrates.real.host import Paths, Seen, write_files
from splitbrain.substrates.real.node import Keeper, RealNode
from splitbrain.substrates.real.places import HOST, HeldPort, Places
from splitbrain.substrates.tools.child import Child, spawn

__all__ = ["LIMITS_NEED", "LocalNode"]

LIMITS_NEED = "processor time and memory are limited by a cgroup of one's own; use --on docker"


class LocalBody:
    """A child process, in a session of its own; see ``real.host.Body``."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def mark(self) -> Mapping[str, Any]:
        """Its pid."""
        return {"pid": self._child.pid}

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._child.returncode

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the event loop once the process has ended."""
        self._child.on_end(listener)

    @property
    def ended_by(self) -> str:
        """Nobody tells."""
        return ""

    def look_now(self) -> Seen | None:
        """As /proc shows it."""
        process = self._child.look()
        if process is None:
            return None
        return Seen(f"{process.pid}:{process.start}", process.state in ("T", "t"))

    async def look(self) -> Seen | None:
        """As /proc shows it."""
        return self.look_now()

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM; SIGKILL when it takes too long."""
        self._child.signal(signal.SIGTERM)
        self._child.signal(signal.SIGCONT)
        if not await self._child.ended(timeout_s):
            await self._child.kill()

    async def kill(self) -> None:
        """SIGKILL to the whole group."""
        await self._child.kill()

    async def freeze(self) -> None:
        """SIGSTOP."""
        self._child.signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        """SIGCONT."""
        self._child.signal(signal.SIGCONT)


class LocalHost:
    """The place of one node in the run's directories; see ``real.host.Host``."""

    def __init__(self, name: str, port: HeldPort, places: Places, keeper: Keeper) -> None:
        self._name = name
        self._port = port
        self._keeper = keeper
        self.paths = Paths(
            address=f"{HOST}:{port.number}",
            data_dir=places.data(name),
            config_dir=places.config(name),
            control_path=places.control(name),
            events_path=places.events(name),
            python=sys.executable,
            log=places.log(name),
            events=places.events(name),
            control_file=places.control(name),
        )
        self.body: LocalBody | None = None

    async def launch(self, program: Program, environment: Mapping[str, str]) -> LocalBody:
        """Start the program's process."""
        self._port.check_free(self._name)
        write_files(self._name, self.paths.config_dir, program.files)
        child = spawn(
            program.argv,
            target=self._name,
            label=self._keeper.label,
            journal=self._keeper.journal,
            environment=environment,
            log=self.paths.log,
        )
        self.body = LocalBody(child)
        return self.body

    async def throttle(self, cores: float | None) -> None:
        """Refused.

        Raises:
            Unsupported: if there is something to limit.
        """
        if cores is not None:
            raise Unsupported(f"node {self._name}: {LIMITS_NEED}")

    async def starve(self) -> None:
        """Refused.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(f"node {self._name}: {LIMITS_NEED}")

    async def exec(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Run a command in the node's data directory, and end it when it takes too long.

        Raises:
            HostError: it cannot be started.
            TimeoutError: it took longer than ``timeout_s``.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.paths.data_dir,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise HostError(
                f"node {self._name}: cannot run {argv[0]!r}: {error.strerror}; is it installed?"
            ) from error
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        return ExecResult(code=process.returncode or 0, out=out, err=err)

    async def put(self, path: str, content: bytes) -> None:
        """Write a file."""
        target = Path(path)
        write_files(self._name, str(target.parent), {target.name: content})

    async def get(self, path: str) -> bytes:
        """Read a file."""
        return await asyncio.to_thread(Path(path).read_bytes)


class LocalNode(RealNode):
    """A node whose process can be looked at without waiting."""

    def __init__(self, name: str, port: HeldPort, places: Places, keeper: Keeper) -> None:
        self._place = LocalHost(name, port, places, keeper)
        super().__init__(name, self._place, keeper)

    @property
    def process_state(self) -> str:
        """``running``, ``stopped`` or ``absent``, by /proc and not by our books."""
        seen = self._place.body.look_now() if self._place.body is not None else None
        if seen is None:
            return "absent"
        return "stopped" if seen.stopped else "running"
