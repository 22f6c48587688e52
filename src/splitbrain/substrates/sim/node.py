"""One node of a simulated testbed: its program's incarnations, and what is done to it.

Each start builds a fresh shell over a fresh Env; what the node keeps is its disk.  The node's
``epoch`` is the number of its incarnation while that lives, and 0 while none does: everything that
is on its way to the node carries the epoch for which it was meant, and finds it gone after a kill.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.testbed import (
    ExecResult,
    NodeCrash,
    NodeState,
    Observation,
    Program,
)
from splitbrain.env import Shell
from splitbrain.env.random import Random
from splitbrain.env.skew import SkewedClock
from splitbrain.errors import NodeFailed, Unsupported
from splitbrain.substrates.sim.disk import SimDisk
from splitbrain.substrates.sim.env import WALL_START_NS, SimClock, SimEnv, SimTransport
from splitbrain.substrates.sim.inbox import Inbox
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.network import Network
from splitbrain.substrates.sim.record import Record, crash_reason

__all__ = ["LIMITS_NEED", "SimNode"]

LIMITS_NEED = "a simulated node has no processor and no memory of its own; use --on docker"

_ASK_NS = 100_000  # what a question beside the network takes


class _Ask:
    """A question put to the node beside its network, such as over a control socket."""

    __slots__ = ("act", "outcome")

    def __init__(
        self, act: Callable[[Shell, SimClock], Any], outcome: asyncio.Future[Any]
    ) -> None:
        self.act = act
        self.outcome = outcome


class SimNode(Inbox):
    """A node; see :class:`splitbrain.contracts.testbed.Node`."""

    control_path = ""
    config_dir = ""
    python = ""

    def __init__(
        self,
        name: str,
        *,
        loop: SimLoop,
        network: Network,
        disk: SimDisk,
        random: Random,
        record: Record,
        grid_ns: int = 0,
    ) -> None:
        super().__init__(name, loop, network)
        self.disk = disk
        self._random = random
        self._record = record
        self._grid_ns = grid_ns
        self._status = "new"
        self._incarnation = 0
        self._program: Program | None = None
        self._clock: SimClock | None = None
        self._asks: dict[_Ask, None] = {}

    @property
    def address(self) -> str:
        """Its name: addresses are logical in simulation."""
        return self.name

    @property
    def data_dir(self) -> str:
        """Empty: its disk is simulated."""
        return ""

    def state(self) -> NodeState:
        """What the substrate believes."""
        status = "paused" if self.stopped else self._status
        return NodeState(status=status, incarnation=self._incarnation)

    # -- life and death ----------------------------------------------------------------------

    async def start(self, program: Program) -> None:
        """Build the program's shell and start it.

        Raises:
            Unsupported: the program cannot be built in this process.
            NodeFailed: it ended in its start.
        """
        if self.epoch:
            return
        self._program = program
        error = self._begin(program)
        if error is not None:
            tail = self._record.tail(self.name, 20)
            raise NodeFailed(self.name, f"ended at its start: {crash_reason(error)}", tail)

    async def restart(self) -> None:
        """Start the remembered program again; where that fails it is a crash, told by crashes()."""
        if self.epoch or self._program is None:
            return
        error = self._begin(self._program)
        if error is not None:
            self._tell_crash(error)

    def _begin(self, program: Program) -> BaseException | None:
        """A new incarnation; the exception that ended it at once, if one did."""
        build = program.build
        if build is None:
            raise Unsupported(
                f"program {program.name!r} cannot run in simulation: it is an executable; "
                "use --on local"
            )
        self._incarnation += 1
        self.epoch = self._incarnation
        self._status = "running"
        self.log(f"-- start {self._incarnation} of {program.name}")
        # Monotonic time has another zero on each start, so that nobody can lean on it.
        origin_ns = int(self._random.fraction("origin", self._incarnation) * 1e12)
        self._clock = SimClock(self._loop, self, SkewedClock(origin_ns), grid_ns=self._grid_ns)
        env = SimEnv(
            host=self,
            peers=tuple(self._record.peers),
            clock=self._clock,
            random=self._random.child("incarnation", self._incarnation),
            disk=self.disk,
            transport=SimTransport(self, self._network, self.links),
        )
        try:
            self._shell = shell = build(env)
            shell.start()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the node ends
            self._log_crash(error)
            self._die("exited", self.disk.kill)
            return error
        return None

    def crash(self, error: BaseException) -> None:
        """An exception has left a callback: the node ends, as a process would."""
        self._log_crash(error)
        self._die("exited", self.disk.kill)
        self._tell_crash(error)

    def _log_crash(self, error: BaseException) -> None:
        for text in traceback.format_exception(error):
            for line in text.rstrip().splitlines():
                self.log(line)

    def _tell_crash(self, error: BaseException) -> None:
        self._record.crashes.append(
            NodeCrash(
                node=self.name,
                time_ns=self._record.time_ns(),
                incarnation=self._incarnation,
                reason=crash_reason(error),
                log=self._record.tail(self.name, 40),
            )
        )

    def _die(self, status: str, fate: Callable[[], None]) -> None:
        self._status = status
        self._clock = None
        self.shut()
        fate()
        asks, self._asks = self._asks, {}
        for ask in asks:
            if not ask.outcome.done():
                ask.outcome.set_exception(ConnectionResetError(f"node {self.name} ended"))

    async def stop(self) -> None:
        """End the node; in simulation there is no better order than a kill's."""
        await self.kill()

    async def kill(self) -> None:
        """The process is gone, all written bytes stay; messages on their way to it are lost."""
        if self.epoch:
            self._die("killed", self.disk.kill)

    async def power(self) -> None:
        """Kill, and bytes not synced are lost; a dead node's machine can lose its power too."""
        if self.epoch:
            self._die("killed", self.disk.power)
        elif self._incarnation:
            self.disk.power()

    async def pause(self) -> None:
        """No callback runs until ``resume``; what comes meanwhile is held in order."""
        self.hold()

    async def resume(self) -> None:
        """Run what was held, in order, before anything that comes later."""
        self.release()

    # -- beside the network ------------------------------------------------------------------

    async def ask(
        self, act: Callable[[Shell, SimClock], Any], *, timeout_s: float = 1.0
    ) -> Any:
        """Run ``act`` on the living node as one of its callbacks and return what it gives.

        ValueError from ``act`` is the node's refusal; any other exception is a crash.

        Raises:
            ConnectionError: the node is down, or ends before it has answered.
            TimeoutError: it is paused for longer than ``timeout_s``.
        """
        if not self.epoch:
            raise ConnectionRefusedError(f"node {self.name} is down")
        ask = _Ask(act, self._loop.create_future())
        self._asks[ask] = None
        self._loop.post_ns(self._loop.now_ns + _ASK_NS, self._on_ask, ask)
        try:
            async with asyncio.timeout(timeout_s):
                return await ask.outcome
        finally:
            self._asks.pop(ask, None)

    def _on_ask(self, ask: _Ask) -> None:
        if ask.outcome.done():
            return  # the node has died since, or nobody waits any more
        if self.paused:
            self.held.append((self._on_ask, ask))
            return
        assert self._shell is not None, "a living node has a shell"
        assert self._clock is not None, "a living node has a clock"
        try:
            ask.outcome.set_result(ask.act(self._shell, self._clock))
        except ValueError as refusal:
            ask.outcome.set_exception(refusal)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the node ends
            self.crash(error)

    async def control(
        self, verb: str, arguments: Mapping[str, Any], *, timeout_s: float = 1.0
    ) -> Mapping[str, Any]:
        """``status`` gives the shell's status; any other verb goes to ``Shell.control``."""

        def act(shell: Shell, _: SimClock) -> Mapping[str, Any]:
            told = shell.status() if verb == "status" else shell.control(verb, arguments)
            return msgspec.to_builtins(dict(told))  # type: ignore[no-any-return]

        answer: Mapping[str, Any] = await self.ask(act, timeout_s=timeout_s)
        return answer

    async def observe(self) -> Observation:
        """The simulator's own record, and the node's own clocks where it can be asked."""
        now = self._loop.now_ns
        seen = Observation(
            process="absent" if not self.epoch else "stopped" if self.stopped else "running",
            started=str(self._incarnation) if self.epoch else "",
            base_ns=now,
            base_wall_ns=WALL_START_NS + now,
        )
        if self._clock is None or self.stopped:
            return seen
        return msgspec.structs.replace(
            seen, monotonic_ns=self._clock.monotonic_ns(), wall_ns=self._clock.wall_ns()
        )

    # -- what it says ------------------------------------------------------------------------

    async def log_tail(self, lines: int = 20) -> Sequence[str]:
        """The last lines of its log."""
        return self._record.tail(self.name, lines)

    async def exec(self, argv: Sequence[str], *, timeout_s: float = 10.0) -> ExecResult:
        """Refused: there is no operating system here.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            f"node {self.name}: cannot run {argv[0]!r} in a simulation; "
            "use --on local, docker or ssh"
        )

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

    async def put(self, path: str, content: bytes) -> None:
        """Put a file on its disk; a flat name."""
        self.disk.plant(path, content)

    async def get(self, path: str) -> bytes:
        """Read a file of its disk."""
        if path not in self.disk.files():
            raise FileNotFoundError(f"node {self.name} has no file {path!r}")
        return self.disk.read(path)

    def log(self, line: str) -> None:
        """Write one line to its log."""
        self._record.log(self.name, line)

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        """Tell the run what the node says of itself."""
        self._record.event(self.name, kind, fields)
