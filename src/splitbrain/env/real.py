"""The world of a real node process: asyncio underneath, real files, real clocks bent on demand.

    env = RealEnv(node="n1", peers=("n1", "n2"), data_dir="/run/n1", seed=7)
    env.transport = transport            # what carries messages, made with env.receive
    env.attach(shell)                    # build the shell over env first
    shell.start()

Every callback of the node goes through :meth:`RealEnv.guard`, on one event loop, so that callbacks
never overlap, and an exception that leaves one ends the process at once: its traceback goes to
stderr and the exit code is 70.  Nothing is cleaned up then, as after a crash of any other kind.

What the node says of itself (:meth:`RealEnv.event`) is one JSON line in a file, written at once:

    {"base_monotonic_ns": 81234, "node": "n1", "kind": "leader", "term": 3}

``base_monotonic_ns`` is the machine's CLOCK_MONOTONIC, untouched by clock faults, so that events of
all nodes of a machine lie on one time line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec

from splitbrain.env import Clock, Disk, Shell, Transport
from splitbrain.env.random import Random
from splitbrain.env.realclock import RealClock
from splitbrain.env.realdisk import RealDisk

__all__ = ["EXIT_CRASH", "RealEnv", "crash"]

EXIT_CRASH = 70
"""Exit code of a node whose callback raised."""


class RealEnv:
    """Implements :class:`splitbrain.env.Env`.  Made inside a running event loop.

    Args:
        node: own name.
        peers: names of all nodes, in one fixed order.
        data_dir: where the files are; made if it is missing.
        seed: of the node's random streams, which also depend on the process: a restarted node
            draws anew.
        power: keep un-fsynced bytes in the process (:mod:`splitbrain.env.realdisk`).
        events: path of the events file; empty: events are dropped.

    Raises:
        OSError: a file or directory cannot be made or written.
    """

    def __init__(
        self,
        *,
        node: str,
        peers: tuple[str, ...],
        data_dir: str,
        seed: int = 0,
        power: bool = False,
        events: str = "",
    ) -> None:
        loop = asyncio.get_running_loop()
        self.node = node
        self.peers = peers
        self.real_clock = RealClock(loop, self.guard)
        self.clock: Clock = self.real_clock
        self.random = Random(seed).child("node", node, time.monotonic_ns())
        self.real_disk = RealDisk(data_dir, self._deliver(loop), power=power)
        self.disk: Disk = self.real_disk
        self.transport: Transport = _Nowhere()
        self.shell: Shell | None = None
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._events = os.open(events, flags, 0o644) if events else None

    def attach(self, shell: Shell) -> None:
        """From now on messages go to ``shell``."""
        self.shell = shell

    def receive(self, sender: str, message: Any) -> None:
        """Hand a message to the node; those that come before ``attach`` are lost."""
        if self.shell is not None:
            shell = self.shell
            self.guard(lambda: shell.on_message(sender, message))

    def guard(self, callback: Callable[[], None]) -> None:
        """Run a callback of the node; an exception ends the process."""
        try:
            callback()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the node is dead
            crash(error)

    def event(self, kind: str, /, **fields: Any) -> None:
        """One JSON line in the events file, at once."""
        if self._events is None:
            return
        about = {"base_monotonic_ns": time.monotonic_ns(), "node": self.node, "kind": kind}
        with contextlib.suppress(OSError):  # a full disk must not end a node over its diary
            os.write(self._events, msgspec.json.encode(about | fields) + b"\n")

    def log(self, line: str) -> None:
        """One line on stderr, with the machine's time."""
        with contextlib.suppress(OSError):
            print(f"{_time_of_day()} {self.node} {line}", file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        """Finish the disk's work and close the files."""
        self.real_disk.close()
        if self._events is not None:
            os.close(self._events)
            self._events = None

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], None]:
        def deliver(callback: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended; so has the node
                loop.call_soon_threadsafe(self.guard, callback)

        return deliver


def _time_of_day() -> str:
    """The machine's time, UTC; a report sets it against the test by the event ``test-start``."""
    return f"{datetime.fromtimestamp(time.time_ns() / 1e9, tz=UTC):%H:%M:%S.%f}"


class _Nowhere:
    """The transport before there is one."""

    def send(self, to: str, message: Any) -> None:
        """Lose it."""


def crash(error: BaseException) -> NoReturn:
    """End the process as a crash: the traceback on stderr, exit code 70, nothing cleaned up."""
    with contextlib.suppress(OSError, ValueError):
        print(f"{_time_of_day()} crash: {type(error).__name__}", file=sys.stderr)  # noqa: T201
    traceback.print_exception(error)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(EXIT_CRASH)
