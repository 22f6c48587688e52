"""One node as a container: what it sees, how it is launched, hurt and looked at.

Each node is one container whose first process is the program, so that kill, pause and limits are the
engine's own.  A container's network namespace is made anew at every start, and with it the links'
faults are gone.  So the program waits at a *gate*, a small ``sh`` loop, until this node's agent has put
them back: not one packet of a restarted node passes a link that is cut.

The node's directories in the container::

    /splitbrain/data      a volume: survives kills and restarts
    /splitbrain/config    the program's files
    /splitbrain/run       the control socket, and the gate
    /splitbrain/log       standard output and error
    /splitbrain/events    what the node says of itself
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.contracts.testbed import Program
from splitbrain.errors import HostError
from splitbrain.substrates.docker.archive import unpack_to
from splitbrain.substrates.docker.body import ContainerBody
from splitbrain.substrates.docker.engine import Engine
from splitbrain.substrates.docker.limits import (
    PERIOD_US,
    limit_cpu,
    limit_memory,
    quota_us,
    starve,
)
from splitbrain.substrates.docker.names import PORT, labels, object_name, returncode
from splitbrain.substrates.docker.place import AgentFor, ContainerPlace
from splitbrain.substrates.real.host import Paths, write_files
from splitbrain.substrates.real.node import Keeper

__all__ = ["ContainerHost", "Plan"]

DATA, CONFIG, RUN_DIR = "/splitbrain/data", "/splitbrain/config", "/splitbrain/run"
LOG, EVENTS, CONTROL, GO = (
    "/splitbrain/log",
    "/splitbrain/events",
    f"{RUN_DIR}/control",
    f"{RUN_DIR}/go",
)
GATE = f'until [ -e {GO} ]; do sleep 0.01 || sleep 1; done; exec "$@" >>{LOG} 2>&1'


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a node's containers are made.

    Attributes:
        image: the default image; a Program may name another.
        network: the run's network.
        ip: the node's fixed address.
        memory: limit in bytes; 0 for none.
        cpus: cores; 0 for no limit.
        files: directory of this machine for the control socket and the gate.
        published: port of 127.0.0.1 that leads to the node; 0 for none.
    """

    image: str
    network: str
    ip: str
    memory: int = 0
    cpus: float = 0.0
    files: str
    published: int = 0


class ContainerHost(ContainerPlace):
    """A container that is made for the run, and removed with it."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        paths: Paths,
        engine: Engine,
        keeper: Keeper,
        *,
        agent_for: AgentFor,
        restored: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(
            name, plan.ip, paths, engine, keeper, agent_for=agent_for, restored=restored
        )
        self.plan = plan
        self._made_of: tuple[Program, Mapping[str, str]] | None = None
        self._acts: dict[str, int] = {}
        self._starved = False

    async def _launch(self, program: Program, environment: Mapping[str, str]) -> ContainerBody:
        """Make it if need be, start it, and open its gate once its links are cut again."""
        await asyncio.to_thread(self._shut_gate, program)
        if self._made_of != (program, environment):
            await self._create(program, environment)
        elif self._starved:
            await limit_memory(self._engine, self.container, self.plan.memory)
        self._starved = False
        await self._engine.call("start", self.container)
        state = (await self._engine.call("inspect_container", self.container))["State"]
        body = ContainerBody(self._engine, self.container, int(state["Pid"]))
        self.body = body
        if not state["Running"]:
            body.ended(returncode(int(state["ExitCode"])))
            return body
        await self._renew_agent(body)
        self._gate.touch()
        return body

    def _shut_gate(self, program: Program) -> None:
        write_files(self.name, str(Path(self.plan.files) / "config"), program.files)
        self._gate.unlink(missing_ok=True)
        Path(self.paths.control_file).unlink(missing_ok=True)  # a killed program leaves its own

    @property
    def _gate(self) -> Path:
        return Path(self.plan.files) / "run" / "go"

    async def _create(self, program: Program, environment: Mapping[str, str]) -> None:
        await self._remove_container()
        image = program.image or self.plan.image
        argv = list(program.argv) or await self._own_argv(image)
        number = self._intend("make-container", object_name(self._keeper.label, self.name))
        ours = image == self.plan.image
        try:
            made = await self._engine.call(
                "create_container",
                image,
                name=object_name(self._keeper.label, self.name),
                hostname=self.name,
                labels=dict(labels(self._keeper.label, self.name)),
                entrypoint=["sh", "-c", GATE, "sh"],
                command=argv,
                environment=dict(environment),
                user=f"{os.getuid()}:{os.getgid()}" if ours else None,
                ports=[PORT],
                host_config=self._host_config(),
                networking_config=self._networking_config(),
            )
        except FileNotFoundError as error:
            self._keeper.journal.undone(number)
            raise HostError(
                f"node {self.name}: no image {image!r} in the engine: {error}"
            ) from error
        self.container = str(made["Id"])
        self._keeper.journal.done(number, id=self.container)
        self._acts["container"] = number
        self._made_of = (program, dict(environment))

    async def _own_argv(self, image: str) -> list[str]:
        try:
            config = (await self._engine.call("inspect_image", image))["Config"]
        except FileNotFoundError as error:
            raise HostError(
                f"node {self.name}: no image {image!r} in the engine: {error}"
            ) from error
        return [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]

    def _networking_config(self) -> Any:
        api: Any = self._engine.client.api
        endpoint = api.create_endpoint_config(ipv4_address=self.plan.ip)
        return api.create_networking_config({self.plan.network: endpoint})

    def _host_config(self) -> Any:
        files, plan = Path(self.plan.files), self.plan
        return self._engine.client.api.create_host_config(
            network_mode=plan.network,
            binds=[
                f"{self._volume()}:{DATA}",
                f"{files / 'config'}:{CONFIG}",
                f"{files / 'run'}:{RUN_DIR}",
                f"{self.paths.log}:{LOG}",
                f"{self.paths.events}:{EVENTS}",
            ],
            mem_limit=plan.memory or None,
            memswap_limit=plan.memory or None,
            cpu_period=PERIOD_US if plan.cpus else None,
            cpu_quota=quota_us(plan.cpus) if plan.cpus else None,
            port_bindings={PORT: ("127.0.0.1", plan.published)} if plan.published else None,
        )

    def _volume(self) -> str:
        return object_name(self._keeper.label, self.name)

    def _intend(self, act: str, target: str) -> int:
        return self._keeper.journal.intent(
            act,
            target=target,
            label=self._keeper.label,
            engine=self._engine.url,
            undo=act.replace("make", "remove"),
        )

    async def prepare(self) -> None:
        """Make the volume, and the files that the container has from this machine."""
        async with self._turn:
            if not self._over:
                await self._prepare()

    async def _prepare(self) -> None:
        await asyncio.to_thread(self._make_files)
        self._acts["volume"] = self._intend("make-volume", self._volume())
        await self._engine.call(
            "create_volume",
            self._volume(),
            labels=dict(labels(self._keeper.label, self.name)),
        )
        self._keeper.journal.done(self._acts["volume"])

    def _make_files(self) -> None:
        for part in ("config", "run"):
            (Path(self.plan.files) / part).mkdir(parents=True, exist_ok=True)
        for path in map(Path, (self.paths.log, self.paths.events)):
            path.touch()
            path.chmod(0o666)  # an image may run its program as any user

    async def copy_data(self, to: str) -> None:
        """Copy what the node keeps to a directory of this machine."""
        stream, _ = await self._engine.call("get_archive", self._must(), f"{DATA}/.")
        packed = await asyncio.to_thread(b"".join, stream)
        await asyncio.to_thread(unpack_to, packed, to)

    async def _remove(self) -> None:
        await self._end_agent()
        await self._remove_container()
        if "volume" in self._acts:
            with contextlib.suppress(FileNotFoundError):
                await self._engine.call("remove_volume", self._volume(), force=True)
            self._keeper.journal.undone(self._acts.pop("volume"))

    async def _remove_container(self) -> None:
        if self.container:
            with contextlib.suppress(FileNotFoundError):
                await self._engine.call("remove_container", self.container, force=True)
            self._keeper.journal.undone(self._acts.pop("container"))
            self.container = ""

    async def throttle(self, cores: float | None) -> None:
        """Limit its processor time, also over restarts."""
        await limit_cpu(self._engine, self._must(), cores or self.plan.cpus)

    async def starve(self) -> None:
        """Take its memory until the kernel kills it; it has it again when it is started."""
        if self.body is not None:
            self._starved = True
            await starve(self._engine, self._must(), self.body)
