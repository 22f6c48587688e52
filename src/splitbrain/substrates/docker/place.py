"""A container as the place of a node: looked at, spoken to, its agent renewed with its namespace.

Whether the container is made for the run or was there before is for those who derive from it.
"""

from __future__ import annotations

import abc
import asyncio
import posixpath
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence

from splitbrain.contracts.testbed import ExecResult, Program
from splitbrain.errors import HostError
from splitbrain.substrates.docker.agents import elsewhere
from splitbrain.substrates.docker.archive import pack, unpack
from splitbrain.substrates.docker.body import ContainerBody
from splitbrain.substrates.docker.engine import Engine
from splitbrain.substrates.docker.names import returncode
from splitbrain.substrates.packets.client import Agent
from splitbrain.substrates.real.host import Paths
from splitbrain.substrates.real.node import Keeper, RealNode
from splitbrain.substrates.tools import procfs

__all__ = ["AgentFor", "ContainerPlace", "DockerNode"]

AgentFor = Callable[[str, str, int], Awaitable[Agent]]
"""Starts the agent of (node, container, pid) in its network namespace."""


class ContainerPlace(abc.ABC):
    """The place of one node; see ``real.host.Host``.

    Args:
        ip: the node's address.
        agent_for: starts an agent.
        restored: told once the node has a new namespace and an agent in it.
    """

    def __init__(
        self,
        name: str,
        ip: str,
        paths: Paths,
        engine: Engine,
        keeper: Keeper,
        *,
        agent_for: AgentFor,
        restored: Callable[[str], Awaitable[None]],
    ) -> None:
        self.name = name
        self.ip = ip
        self.paths = paths
        self.body: ContainerBody | None = None
        self.agent: Agent | None = None
        self.container = ""
        self._engine = engine
        self._keeper = keeper
        self._agent_for = agent_for
        self._restored = restored
        self._turn = asyncio.Lock()
        self._over = False

    async def launch(self, program: Program, environment: Mapping[str, str]) -> ContainerBody:
        """Let the container run, its links cut as they are to be."""
        async with (
            self._turn
        ):  # the end of a testbed may come while some of its nodes are launched
            if self._over:
                raise HostError(f"node {self.name}: its testbed is closed")
            return await self._launch(program, environment)

    async def remove(self) -> None:
        """Let go of the container, for good; what was made for the run goes."""
        async with self._turn:
            self._over = True
            await self._remove()

    @abc.abstractmethod
    async def _launch(self, program: Program, environment: Mapping[str, str]) -> ContainerBody:
        """Take or make the container, and start it."""

    @abc.abstractmethod
    async def _remove(self) -> None:
        """What is to be done to let go of it."""

    @abc.abstractmethod
    async def throttle(self, cores: float | None) -> None:
        """Limit its processor time, also over restarts."""

    @abc.abstractmethod
    async def starve(self) -> None:
        """Take its memory until the kernel kills it."""

    async def _renew_agent(self, body: ContainerBody) -> None:
        await self._end_agent()
        if problem := elsewhere(self.container, body.pid):
            raise HostError(f"node {self.name}: {problem}")
        self.agent = await self._agent_for(self.name, self.container, body.pid)
        await self._restored(self.name)

    async def _end_agent(self) -> None:
        if self.agent is not None:
            await self.agent.close()
            self.agent = None

    def hear(self, action: str, attributes: Mapping[str, str]) -> None:
        """The engine's news of this container."""
        if action == "oom" and self.body is not None:
            self.body.ended_by = "out of memory"
        if action == "die" and self.body is not None:
            self.body.ended(returncode(int(attributes.get("exitCode", "0"))))

    # -- commands and files ----------------------------------------------------------------------

    async def exec(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Run a command in the container.

        Raises:
            HostError: the container is down, or has no such command.
            TimeoutError: it took longer than ``timeout_s``, and was ended.
        """
        made = await self._engine.call("exec_create", self._must(), list(argv))
        running = asyncio.ensure_future(self._engine.call("exec_start", made["Id"], demux=True))
        done, _ = await asyncio.wait((running,), timeout=timeout_s)
        if not done:
            told = await self._engine.call("exec_inspect", made["Id"])
            process = procfs.look(int(told.get("Pid") or 0))
            if process is not None:
                procfs.send_signal(process.pid, process.start, signal.SIGKILL)
            await running
            raise TimeoutError(f"node {self.name}: {argv[0]!r} took over {timeout_s:g} s")
        out, err = await running
        code = int((await self._engine.call("exec_inspect", made["Id"]))["ExitCode"] or 0)
        if code in (126, 127) and b"OCI runtime" in (out or b""):
            raise HostError(f"node {self.name}: cannot run {argv[0]!r}: is it in the image?")
        return ExecResult(code=returncode(code), out=out or b"", err=err or b"")

    async def put(self, path: str, content: bytes) -> None:
        """Write a file in the container, running or not."""
        packed = pack(posixpath.basename(path), content)
        folder = posixpath.dirname(path) or "/"
        await self._engine.call("put_archive", self._must(), folder, packed)

    async def get(self, path: str) -> bytes:
        """Read a file in the container, running or not."""
        stream, _ = await self._engine.call("get_archive", self._must(), path)
        packed = await asyncio.to_thread(b"".join, stream)
        content = unpack(packed)
        if content is None:
            raise FileNotFoundError(f"node {self.name}: {path} is no file")
        return content

    def _must(self) -> str:
        if not self.container:
            raise HostError(f"node {self.name} has no container yet; start it first")
        return self.container


class DockerNode(RealNode):
    """A node with an address of its own and an agent in its network namespace."""

    def __init__(self, host: ContainerPlace, keeper: Keeper) -> None:
        self.host = host
        super().__init__(host.name, host, keeper)

    @property
    def ip(self) -> str:
        """Where its packets come from."""
        return self.host.ip

    @property
    def agent(self) -> Agent | None:
        """In the node's network namespace; None while there is none."""
        body = self.host.body
        return self.host.agent if body is not None and body.look_now() is not None else None

    @property
    def up(self) -> bool:
        """It runs and is not frozen, by the kernel's word."""
        seen = self.host.body.look_now() if self.host.body is not None else None
        return seen is not None and not seen.stopped
