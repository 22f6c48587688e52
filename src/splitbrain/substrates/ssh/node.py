"""One node on a host of its own: how it is launched, hurt and looked at there.

The run's directory on the host, mode 0700, removed at the end::

    data/      what the program keeps;   config/  its files
    log        standard output and error;   events  what it says of itself
    control    its control socket, forwarded to a socket of this machine
    run/pid    {"pid": ..., "start": ...} of the program;   run/end-N  how its N-th incarnation ended
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from splitbrain.contracts.testbed import ExecResult, Program
from splitbrain.errors import HostError, Unsupported
from splitbrain.substrates.packets.client import Agent
from splitbrain.substrates.real.host import Paths, Seen
from splitbrain.substrates.real.node import Keeper, RealNode
from splitbrain.substrates.ssh.options import LIMITS_NEED
from splitbrain.substrates.ssh.place import Place
from splitbrain.substrates.ssh.shell import command_result, command_script
from splitbrain.substrates.ssh.warden import Refused

__all__ = ["RemoteHost", "SshNode"]

_END_S = 10.0


class RemoteBody:
    """One incarnation; see ``real.host.Body``."""

    def __init__(self, place: Place, incarnation: int, pid: int, start: int) -> None:
        self._place = place
        self.incarnation = incarnation
        self.pid = pid
        self._start = start
        self.returncode: int | None = None
        self.seen: Seen | None = Seen(f"{pid}:{start}", False)
        self._over = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def mark(self) -> Mapping[str, Any]:
        """The host, and the pid there."""
        return {"host": self._place.entry.place, "pid": self.pid, "start": self._start}

    def ended(self, code: int) -> None:
        """The warden says that it has ended."""
        self.returncode, self.seen = code, None
        self._over.set()
        for listener in self._listeners:
            listener()

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the event loop once it has ended."""
        if self.returncode is not None:
            asyncio.get_running_loop().call_soon(listener)
        else:
            self._listeners.append(listener)

    @property
    def ended_by(self) -> str:
        """Nobody tells."""
        return ""

    async def look(self) -> Seen | None:
        """As its host's /proc shows it."""
        if self.returncode is None:
            said = await self._place.shells.run(f"sb_look {self.pid}")
            letter, _, start = said.out.decode().strip().partition(" ")
            alive = letter not in ("", "Z", "X") and start == str(self._start)
            if self.returncode is None:
                self.seen = Seen(f"{self.pid}:{start}", letter in ("T", "t")) if alive else None
        return self.seen

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM; SIGKILL when it takes too long."""
        await self._signal("TERM")
        await self._signal("CONT")
        try:
            async with asyncio.timeout(timeout_s):
                await self._over.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the whole group."""
        await self._signal("KILL")
        try:
            async with asyncio.timeout(_END_S):
                await self._over.wait()
        except TimeoutError:
            raise HostError(
                f"host {self._place.entry.place}: pid {self.pid} did not end within {_END_S:.0f} s "
                "of SIGKILL: a disk that hangs, or the connection is lost?"
            ) from None

    async def freeze(self) -> None:
        """SIGSTOP."""
        await self._signal("STOP")

    async def thaw(self) -> None:
        """SIGCONT."""
        await self._signal("CONT")

    async def _signal(self, name: str) -> None:
        if self.returncode is not None:
            return
        said = await self._place.shells.run(f"sb_signal {self.pid} {self._start} {name}")
        if said.code and self.returncode is None and await self.look() is not None:
            why = said.err.decode(errors="replace").strip()
            raise HostError(f"host {self._place.entry.place}: cannot signal {self.pid}: {why}")


class RemoteHost:
    """The place of one node; see ``real.host.Host``.

    Args:
        place: the open host.
        paths: of the node.
        port: where its program listens.
    """

    def __init__(
        self, name: str, place: Place, paths: Paths, keeper: Keeper, *, port: int
    ) -> None:
        self.name = name
        self.place = place
        self.paths = paths
        self.body: RemoteBody | None = None
        self._keeper = keeper
        self._port = port
        self._incarnation = 0
        self._ends: dict[int, int] = {}
        self._commands = 0
        self._server: asyncio.Server | None = None

    async def prepare(self) -> None:
        """Let the control socket's file of this machine lead to the one there."""
        self._server = await asyncio.start_unix_server(
            self._forward, path=self.paths.control_file, backlog=64
        )

    async def launch(self, program: Program, environment: Mapping[str, str]) -> RemoteBody:
        """Carry splitbrain there if the program needs it, and run the program under a keeper."""
        if self.paths.python in program.argv:
            await self.place.install()
        number = self.place.intend(
            "start-remote", self.name, argv=list(program.argv), undo="end-remote"
        )
        self._incarnation += 1
        files = program.files.items()
        try:
            told = await self.place.warden.ask(
                "launch",
                argv=list(program.argv),
                environment=dict(environment),
                files={k: base64.b64encode(data).decode() for k, data in files},
                port=self._port,
                incarnation=self._incarnation,
            )
        except Refused as error:
            self.place.undone(number)
            raise HostError(f"node {self.name}: {error}") from error
        body = RemoteBody(self.place, self._incarnation, int(told["pid"]), int(told["start"]))
        body.on_end(lambda: self.place.undone(number))
        self._keeper.journal.done(number, pid=body.pid, start=told["start"])
        self.body = body
        if body.incarnation in self._ends:
            body.ended(self._ends[body.incarnation])
        return body

    def hear_end(self, incarnation: int, code: int) -> None:
        """The warden tells an end; of a short life before its launch has come to its own end here."""
        self._ends[incarnation] = code
        if self.body is not None and self.body.incarnation == incarnation:
            self.body.ended(code)

    async def throttle(self, cores: float | None) -> None:
        """Refused.

        Raises:
            Unsupported: if there is something to limit.
        """
        if cores is not None:
            raise Unsupported(f"node {self.name}: {LIMITS_NEED}")

    async def starve(self) -> None:
        """Refused.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(f"node {self.name}: {LIMITS_NEED}")

    async def exec(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Run a command in the node's data directory, and end it when it takes too long.

        Raises:
            HostError: it cannot be started, or the host is lost.
            TimeoutError: it took longer than ``timeout_s``.
        """
        self._commands += 1
        scratch = f"{self.place.directory}/run/command-{self._commands}"
        script = command_script(
            argv, self.paths.data_dir, self._keeper.label, timeout_s, scratch
        )
        began = time.monotonic()
        said = await self.place.commands.run(script, timeout_s=timeout_s + _END_S)
        late = time.monotonic() - began >= timeout_s
        return command_result(self.name, argv, said, late)

    async def put(self, path: str, content: bytes) -> None:
        """Write a file there; its directory is made if need be."""
        try:
            await self.place.connection.put(path, content)
        except FileNotFoundError:
            folder = shlex.quote(path.rpartition("/")[0])
            await self.place.shells.run(f"mkdir -p {folder}")
            await self.place.connection.put(path, content)

    async def get(self, path: str) -> bytes:
        """Read a file there."""
        return await self.place.connection.get(path)

    async def close(self) -> None:
        """Forward no more."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.paths.control_file)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection of ours, on to the control socket there, until either end closes."""
        try:
            wire = await self.place.connection.forward(self.paths.control_path)
        except (OSError, HostError):
            writer.close()
            return

        async def back() -> None:
            while data := await wire.reader.read(1 << 16):
                writer.write(data)
            writer.close()

        task = asyncio.create_task(back())
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(1 << 16):
                    wire.write(data)
        finally:
            writer.close()
            await wire.close()
            await task


class SshNode(RealNode):
    """A node with a host, and so an address, of its own."""

    def __init__(self, host: RemoteHost, keeper: Keeper) -> None:
        self.host = host
        super().__init__(host.name, host, keeper)

    @property
    def ip(self) -> str:
        """The host's address."""
        return self.host.place.address

    @property
    def agent(self) -> Agent | None:
        """On the host; None where we are not root there."""
        agent = self.host.place.agent
        return agent if agent is not None and agent.alive else None

    @property
    def up(self) -> bool:
        """It runs and is not stopped, as it was last seen."""
        seen = self.host.body.seen if self.host.body is not None else None
        return seen is not None and not seen.stopped
