"""One node as a process of some operating system, wherever that runs.

Its status is what *we* did to it (``state``); what it *is* comes from the kernel that runs it
(``observe``), so that a proof of effect never rests on the word of the injector.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.contracts.journal import Journal
from splitbrain.contracts.testbed import (
    ExecResult,
    NodeCrash,
    NodeState,
    Observation,
    Program,
)
from splitbrain.env.control import control_call
from splitbrain.errors import HarnessError, HostError, NodeFailed, Unsupported
from splitbrain.substrates.real.host import Body, Host
from splitbrain.substrates.real.logs import size_of, tail
from splitbrain.substrates.real.readings import read_clocks
from splitbrain.substrates.tools.child import describe_exit

__all__ = ["READY_S", "Keeper", "RealNode"]

READY_S = 30.0
"""How long a node may take until its control socket answers; busy machines are slow."""
_SETTLE_S = 0.1
_TEAR_S = 0.15
_SIGNAL_S = 2.0
_STOP_S = 5.0
_CRASH_LINES = 20


class Keeper(msgspec.Struct, frozen=True, kw_only=True):
    """What a node needs of its testbed.

    Attributes:
        label: the run's mark.
        crashed: told of each end that nobody ordered.
        time_ns: time since the test began.
        seed: draws the seed of a torn write from (node, incarnation).
        environment: given to every node of the run.
    """

    label: str
    journal: Journal
    crashed: Callable[[NodeCrash], None]
    time_ns: Callable[[], int]
    seed: Callable[[str, int], int]
    environment: Mapping[str, str] = {}


class RealNode:
    """A node; see ``contracts.testbed.Node``.

    A node that ends while it is *re*started is told by ``NodeFailed`` and as a crash too: what it
    found on its disk is the run's doing.
    """

    def __init__(self, name: str, host: Host, keeper: Keeper) -> None:
        self._name = name
        self._host = host
        self._paths = host.paths
        self._keeper = keeper
        self._program: Program | None = None
        self._body: Body | None = None
        self._status = "new"
        self._incarnation = 0
        self._ordered = ""
        self._log_from = 0
        self._pause_act: int | None = None
        self._throttle_act: int | None = None

    @property
    def name(self) -> str:
        """Its name, such as ``n1``."""
        return self._name

    @property
    def address(self) -> str:
        """Where it listens: host:port, for everybody."""
        return self._paths.address

    @property
    def data_dir(self) -> str:
        """Survives kills and restarts."""
        return self._paths.data_dir

    @property
    def config_dir(self) -> str:
        """Where ``Program.files`` are written."""
        return self._paths.config_dir

    @property
    def control_path(self) -> str:
        """Path of the control socket, as the program sees it."""
        return self._paths.control_path

    @property
    def python(self) -> str:
        """The interpreter there that has splitbrain."""
        return self._paths.python

    @property
    def controllable(self) -> bool:
        """True if its program opens the control socket."""
        return self._program is not None and self._program.control

    def state(self) -> NodeState:
        """What we did to it."""
        return NodeState(status=self._status, incarnation=self._incarnation)

    async def start(self, program: Program) -> None:
        """Start ``program`` and wait until its control socket answers; nothing if it runs.

        Raises:
            NodeFailed: it ended, or did not answer, with the end of its log.
            HostError: the port is taken, the program cannot be run, a file cannot be written.
        """
        self._program = program
        await self.restart()

    async def restart(self) -> None:
        """Start the remembered program again if the node is not running."""
        if self._program is None:
            raise HarnessError(f"node {self._name}: restart before any start; start it first")
        if self._body is not None and self._body.returncode is None:
            return
        body = await self._launch(self._program)
        await self._ready(body, self._program)

    async def stop(self) -> None:
        """SIGTERM; SIGKILL when it takes too long."""
        body = self._body
        if body is None or body.returncode is not None:
            return
        self._ordered = "stop"
        await body.stop(_STOP_S)
        self._settle()

    async def kill(self) -> None:
        """SIGKILL: the process is gone, all written bytes stay."""
        body = self._body
        if body is None or body.returncode is not None:
            return
        number = self._keeper.journal.intent(
            "kill", target=self._name, label=self._keeper.label, undo="", **body.mark
        )
        self._ordered = "kill"
        await body.kill()
        self._keeper.journal.done(number)
        self._settle()

    async def power(self) -> None:
        """Let the node lose what it has not fsynced, as far as it can be asked, then kill it."""
        if self.controllable and self._status == "running":
            seed = self._keeper.seed(self._name, self._incarnation)
            with contextlib.suppress(
                OSError, ValueError
            ):  # best effort: it may be hung or dead
                await self.control("tear", {"seed": seed}, timeout_s=_TEAR_S)
        await self.kill()

    async def pause(self) -> None:
        """Let the process do nothing; returns once the kernel shows it as stopped."""
        body = self._body
        if body is None or body.returncode is not None or self._status == "paused":
            return
        self._pause_act = self._keeper.journal.intent(
            "pause", target=self._name, label=self._keeper.label, undo="resume", **body.mark
        )
        self._status = "paused"
        await body.freeze()
        if self._pause_act is not None:  # it may have ended meanwhile
            self._keeper.journal.done(self._pause_act)
        await self._until(body, stopped=True)

    async def resume(self) -> None:
        """Let it go on."""
        body = self._body
        if self._status != "paused" or body is None:
            return
        self._status = "running"
        await body.thaw()
        self._pause_undone()
        await self._until(body, stopped=False)

    async def throttle(self, cores: float | None) -> None:
        """Let it have so many cores at most; None: as at its start."""
        if cores is None:
            if self._throttle_act is not None:
                await self._host.throttle(None)
                self._keeper.journal.undone(self._throttle_act)
                self._throttle_act = None
            return
        number = self._keeper.journal.intent(
            "throttle",
            target=self._name,
            label=self._keeper.label,
            cores=cores,
            undo="unthrottle",
            **(self._body.mark if self._body is not None else {}),
        )
        if self._throttle_act is not None:
            self._keeper.journal.undone(self._throttle_act)
        self._throttle_act = number
        await self._host.throttle(cores)
        self._keeper.journal.done(number)

    async def starve(self) -> None:
        """Take its memory until the kernel kills it."""
        body = self._body
        if body is None or body.returncode is not None:
            return
        number = self._keeper.journal.intent(
            "starve", target=self._name, label=self._keeper.label, undo="", **body.mark
        )
        self._ordered = "kill"
        await self._host.starve()
        self._keeper.journal.done(number)
        self._settle()

    async def exec(self, argv: Sequence[str], *, timeout_s: float = 10.0) -> ExecResult:
        """Run a command where the node lives, beside its program."""
        return await self._host.exec(argv, timeout_s=timeout_s)

    async def put(self, path: str, content: bytes) -> None:
        """Write a file where the node lives."""
        await self._host.put(path, content)

    async def get(self, path: str) -> bytes:
        """Read a file where the node lives; FileNotFoundError if there is none."""
        return await self._host.get(path)

    async def control(
        self, verb: str, arguments: Mapping[str, Any], *, timeout_s: float = 1.0
    ) -> Mapping[str, Any]:
        """Ask the node's control socket.

        Raises:
            ConnectionError: the node is down.
            TimeoutError: no answer in time.
            Unsupported: the program has no control socket.
            ValueError: the node refuses, with its own sentence.
        """
        if not self.controllable:
            raise Unsupported(
                f"node {self._name}: its program has no control socket for {verb!r}; "
                "use a system whose nodes open one, such as minitikv"
            )
        if self._body is None or self._body.returncode is not None:
            raise ConnectionRefusedError(f"node {self._name} is down")
        return await control_call(self._paths.control_file, verb, arguments, timeout_s)

    async def observe(self) -> Observation:
        """Look at the process, and at the node's clocks between two looks at ours."""
        seen = await self._body.look() if self._body is not None else None
        if seen is None:
            ended = self._body.ended_by if self._body is not None else ""
            return Observation(process="absent", ended=ended)
        if seen.stopped:
            return Observation(process="stopped", started=seen.started)
        now = Observation(
            process="running", started=seen.started, throttled_ns=seen.throttled_ns
        )
        read = await read_clocks(self.control) if self.controllable else {}
        return msgspec.structs.replace(now, **read)

    async def log_tail(self, lines: int = 20) -> Sequence[str]:
        """The last lines of the node's log, over all its incarnations."""
        return self._tail(lines, 0)

    async def _launch(self, program: Program) -> Body:
        self._log_from = size_of(self._paths.log)
        self._end_torn_line()
        environment = {**self._keeper.environment, **program.environment, **self._own()}
        self._ordered = "start"
        body = await self._host.launch(program, environment)
        self._incarnation += 1
        self._body, self._status = body, "running"
        body.on_end(lambda: self._ended(body))
        return body

    def _end_torn_line(self) -> None:
        """A kill may have torn the last event; the next one must not be joined to it."""
        path = Path(self._paths.events)
        try:
            data = path.read_bytes()[-1:] if path.exists() else b""
            if data not in (b"", b"\n"):
                with path.open("ab") as file:
                    file.write(b"\n")
        except OSError as error:
            raise HostError(
                f"node {self._name}: cannot write {path}: {error.strerror}; "
                "free space, or choose another --store"
            ) from error

    def _own(self) -> dict[str, str]:
        return {
            "SPLITBRAIN_NODE": self._name,
            "SPLITBRAIN_CONTROL": self.control_path,
            "SPLITBRAIN_EVENTS": self._paths.events_path,
        }

    async def _ready(self, body: Body, program: Program) -> None:
        """Wait until it answers; an end by our own order meanwhile is no failure."""
        deadline = time.monotonic() + (READY_S if program.control else _SETTLE_S)
        while self._ordered == "start" and body.returncode is None:
            if program.control and await self._answers():
                break
            if time.monotonic() > deadline:
                if not program.control:
                    break
                tail = self._tail(_CRASH_LINES, self._log_from)
                await self.kill()
                raise NodeFailed(
                    self._name, f"its control socket did not answer in {READY_S:.0f} s", tail
                )
            await asyncio.sleep(0.02)
        if self._ordered == "start" and body.returncode is not None:
            how = describe_exit(body.returncode)
            tail = self._tail(_CRASH_LINES, self._log_from)
            raise NodeFailed(self._name, f"ended with {how} before it was ready", tail)
        if self._ordered == "start":
            self._ordered = ""

    async def _answers(self) -> bool:
        try:
            await self.control("ping", {}, timeout_s=1.0)
        except (OSError, ValueError):
            return False
        return True

    def _ended(self, body: Body) -> None:
        """The process is gone: by our order, or by itself?"""
        if body is not self._body or body.returncode is None:
            return
        self._pause_undone()
        by_kill = body.returncode == -signal.SIGKILL
        ordered = self._ordered == "stop" or (self._ordered == "kill" and by_kill)
        self._status = "killed" if ordered else "exited"
        first = self._ordered == "start" and self._incarnation == 1
        if ordered or first:
            return  # NodeFailed tells of a first start that fails
        self._keeper.crashed(
            NodeCrash(
                node=self._name,
                time_ns=self._keeper.time_ns(),
                incarnation=self._incarnation,
                reason=describe_exit(body.returncode),
                log=self._tail(_CRASH_LINES, self._log_from),
            )
        )

    def _settle(self) -> None:
        if self._body is not None and self._body.returncode is not None:
            self._status = "killed"

    def _pause_undone(self) -> None:
        if self._pause_act is not None:
            self._keeper.journal.undone(self._pause_act)
            self._pause_act = None

    async def _until(self, body: Body, *, stopped: bool) -> None:
        """Signals act a moment later, on a busy machine a long one; ``observe`` tells the truth."""
        deadline = time.monotonic() + _SIGNAL_S
        while time.monotonic() < deadline:
            seen = await body.look()
            if seen is None or seen.stopped == stopped:
                return
            await asyncio.sleep(0.002)

    def _tail(self, lines: int, since: int) -> tuple[str, ...]:
        return tail(self._paths.log, lines, since)
