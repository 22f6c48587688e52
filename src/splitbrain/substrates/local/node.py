"""One node as an operating-system process.

Its status is what *we* did to it (``state``); what it *is* comes from /proc (``observe``), so that a
proof of effect never rests on the word of the injector.
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
from splitbrain.contracts.testbed import NodeCrash, NodeState, Observation, Program
from splitbrain.env.control import control_call
from splitbrain.errors import HarnessError, HostError, NodeFailed, Unsupported
from splitbrain.substrates.local.places import HOST, HeldPort, Places
from splitbrain.substrates.tools.child import Child, describe_exit, spawn

__all__ = ["Keeper", "LocalNode"]

READY_S = 30.0
"""How long a node may take until its control socket answers; busy machines are slow."""
_SETTLE_S = 0.1
_TEAR_S = 0.15
_STOP_S = 5.0
_TAIL_BYTES = 1 << 16
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
    places: Places
    crashed: Callable[[NodeCrash], None]
    time_ns: Callable[[], int]
    seed: Callable[[str, int], int]
    environment: Mapping[str, str] = {}


class LocalNode:
    """A node; see ``contracts.testbed.Node``.

    A node that ends while it is *re*started is told by ``NodeFailed`` and as a crash too: what it
    found on its disk is the run's doing.
    """

    def __init__(self, name: str, port: HeldPort, keeper: Keeper) -> None:
        self._name = name
        self._port = port
        self._keeper = keeper
        self._program: Program | None = None
        self._child: Child | None = None
        self._status = "new"
        self._incarnation = 0
        self._ordered = ""
        self._log_from = 0
        self._pause_act: int | None = None

    @property
    def name(self) -> str:
        """Its name, such as ``n1``."""
        return self._name

    @property
    def address(self) -> str:
        """Where it listens: host:port, for everybody."""
        return f"{HOST}:{self._port.number}"

    @property
    def data_dir(self) -> str:
        """Survives kills and restarts."""
        return self._keeper.places.data(self._name)

    @property
    def config_dir(self) -> str:
        """Where ``Program.files`` are written."""
        return self._keeper.places.config(self._name)

    @property
    def control_path(self) -> str:
        """Path of the control socket."""
        return self._keeper.places.control(self._name)

    @property
    def controllable(self) -> bool:
        """True if its program opens the control socket."""
        return self._program is not None and self._program.control

    @property
    def process_state(self) -> str:
        """``running``, ``stopped`` or ``absent``, by /proc and not by our books."""
        process = self._child.look() if self._child is not None else None
        if process is None:
            return "absent"
        return "stopped" if process.state in ("T", "t") else "running"

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
        if self._child is not None and self._child.returncode is None:
            return
        child = self._launch(self._program)
        await self._ready(child, self._program)

    async def stop(self) -> None:
        """SIGTERM; SIGKILL when it takes too long."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        self._ordered = "stop"
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGCONT)
        if not await child.ended(_STOP_S):
            await child.kill()
        self._settle()

    async def kill(self) -> None:
        """SIGKILL: the process is gone, all written bytes stay."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        number = self._keeper.journal.intent(
            "kill", target=self._name, label=self._keeper.label, pid=child.pid, undo=""
        )
        self._ordered = "kill"
        await child.kill()
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
        """SIGSTOP; returns once the kernel shows the process as stopped."""
        child = self._child
        if child is None or child.returncode is not None or self._status == "paused":
            return
        self._pause_act = self._keeper.journal.intent(
            "pause", target=self._name, label=self._keeper.label, pid=child.pid, undo="resume"
        )
        self._status = "paused"
        child.signal(signal.SIGSTOP)
        self._keeper.journal.done(self._pause_act)
        await self._until(child, stopped=True)

    async def resume(self) -> None:
        """SIGCONT."""
        child = self._child
        if self._status != "paused" or child is None:
            return
        self._status = "running"
        child.signal(signal.SIGCONT)
        self._pause_undone()
        await self._until(child, stopped=False)

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
        if self._child is None or self._child.returncode is not None:
            raise ConnectionRefusedError(f"node {self._name} is down")
        return await control_call(self.control_path, verb, arguments, timeout_s)

    async def observe(self) -> Observation:
        """Look at /proc, and at the node's clocks between two looks at ours."""
        process = self._child.look() if self._child is not None else None
        if process is None:
            return Observation(process="absent")
        started = f"{process.pid}:{process.start}"
        if process.state in ("T", "t"):
            return Observation(process="stopped", started=started)
        read = await self._clocks() if self.controllable else {}
        return Observation(process="running", started=started, **read)

    async def _clocks(self) -> dict[str, int]:
        """The quickest of a few readings: a slow answer says little of when it was read."""
        best: dict[str, int] = {}
        shortest = 1 << 62
        for _ in range(3):
            before, wall = time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_REALTIME)
            try:
                answer = await self.control("clock-read", {}, timeout_s=0.5)
            except (OSError, ValueError):
                break
            trip = time.monotonic_ns() - before
            if trip < shortest:
                shortest = trip
                best = {
                    "base_ns": before + trip // 2,
                    "base_wall_ns": wall + trip // 2,
                    "monotonic_ns": int(answer["monotonic_ns"]),
                    "wall_ns": int(answer["wall_ns"]),
                }
            if trip < 5_000_000:
                break
        return best

    async def log_tail(self, lines: int = 20) -> Sequence[str]:
        """The last lines of the node's log, over all its incarnations."""
        return self._tail(lines, 0)

    def _launch(self, program: Program) -> Child:
        self._port.check_free(self._name)
        try:
            for name, content in program.files.items():
                path = Path(self.config_dir) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            log = Path(self._keeper.places.log(self._name))
            self._log_from = log.stat().st_size if log.exists() else 0
            self._end_torn_line()
        except OSError as error:
            raise HostError(
                f"node {self._name}: cannot write {error.filename}: {error.strerror}; "
                "free space, or choose another --store"
            ) from error
        child = spawn(
            program.argv,
            target=self._name,
            label=self._keeper.label,
            journal=self._keeper.journal,
            environment={**self._keeper.environment, **program.environment, **self._own()},
            log=str(log),
        )
        self._incarnation += 1
        self._child, self._status, self._ordered = child, "running", "start"
        child.on_end(lambda: self._ended(child))
        return child

    def _end_torn_line(self) -> None:
        """A kill may have torn the last event; the next one must not be joined to it."""
        path = Path(self._keeper.places.events(self._name))
        data = path.read_bytes()[-1:] if path.exists() else b""
        if data not in (b"", b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def _own(self) -> dict[str, str]:
        return {
            "SPLITBRAIN_NODE": self._name,
            "SPLITBRAIN_CONTROL": self.control_path,
            "SPLITBRAIN_EVENTS": self._keeper.places.events(self._name),
        }

    async def _ready(self, child: Child, program: Program) -> None:
        """Wait until it answers; an end by our own order meanwhile is no failure."""
        deadline = time.monotonic() + (READY_S if program.control else _SETTLE_S)
        while self._ordered == "start" and child.returncode is None:
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
        if self._ordered == "start" and child.returncode is not None:
            how = describe_exit(child.returncode)
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

    def _ended(self, child: Child) -> None:
        """The process is gone: by our order, or by itself?"""
        if child is not self._child or child.returncode is None:
            return
        self._pause_undone()
        by_kill = child.returncode == -signal.SIGKILL
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
                reason=describe_exit(child.returncode),
                log=self._tail(_CRASH_LINES, self._log_from),
            )
        )

    def _settle(self) -> None:
        if self._child is not None and self._child.returncode is not None:
            self._status = "killed"

    def _pause_undone(self) -> None:
        if self._pause_act is not None:
            self._keeper.journal.undone(self._pause_act)
            self._pause_act = None

    async def _until(self, child: Child, *, stopped: bool) -> None:
        """Signals act a moment later; wait for it, but not long: ``observe`` tells the truth."""
        for _ in range(50):
            process = child.look()
            if process is None or (process.state in ("T", "t")) == stopped:
                return
            await asyncio.sleep(0.002)

    def _tail(self, lines: int, since: int) -> tuple[str, ...]:
        try:
            with open(self._keeper.places.log(self._name), "rb") as file:
                end = file.seek(0, 2)
                file.seek(max(since, end - _TAIL_BYTES))
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            return ()
        return tuple(text.splitlines()[-lines:])
