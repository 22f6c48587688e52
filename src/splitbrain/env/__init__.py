"""What a node of the bundled cluster sees of the world.

A node is a set of pure cores inside a thin :class:`Shell`, a callback state machine over one
:class:`Env`.  Messages, timers and disk completions come in as callbacks; nothing in a node awaits.
So a node can be stopped at any event, a killed node runs none of its own code, and the simulator
pays no task per message.  The same shell runs on a virtual and on a real Env.

The contract that every Env keeps:

- Callbacks of one node never overlap, and never run inside a call that the node makes: ``send``,
  ``append``, ``fsync`` and ``call_at`` return first, the callback comes later.
- After a node is killed none of its callbacks runs again.
- An exception that leaves a callback ends the node: it is a crash, logged with its traceback.
- Times are integers in nanoseconds.  ``monotonic_ns`` never goes back; ``wall_ns`` may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from splitbrain.env.random import Random, Stream

__all__ = [
    "Caller",
    "Clock",
    "Disk",
    "DiskDone",
    "Env",
    "Pacer",
    "Random",
    "Shell",
    "Stream",
    "Timer",
    "Transport",
]

DiskDone = Callable[[Exception | None], None]
"""Called once, later, with None on success or the error that the disk reported."""


class Timer(Protocol):
    """A pending ``call_at``."""

    def cancel(self) -> None:
        """Forget the callback; harmless when it has run or was cancelled before."""


class Clock(Protocol):
    """One node's clocks, with whatever offset and drift a fault has given them."""

    def monotonic_ns(self) -> int:
        """Time since some fixed point; runs at the node's own rate, never goes back."""

    def wall_ns(self) -> int:
        """What the node believes to be the time since the epoch; may jump."""

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` once ``monotonic_ns() >= when_ns``."""


class Disk(Protocol):
    """One node's files, by flat name.

    Written bytes survive a kill; only bytes fsynced (or replaced) survive a loss of power, where
    the last un-fsynced write may be torn.  Errors of ``append`` are told by the next ``fsync``.
    """

    def files(self) -> tuple[str, ...]:
        """Names of all files, sorted."""

    def read(self, name: str) -> bytes:
        """The whole file; empty if it does not exist.  Synchronous: for recovery at start."""

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of the file, creating it; not durable until an fsync is done."""

    def fsync(self, name: str, done: DiskDone) -> None:
        """Make durable all that was appended before this call, then call ``done``."""

    def replace(self, name: str, data: bytes, done: DiskDone) -> None:
        """Atomically and durably make ``data`` the file's content, then call ``done``."""

    def remove(self, name: str) -> None:
        """Remove the file if it exists; durable with the next fsync or replace."""


class Transport(Protocol):
    """Best-effort messages: may be lost, late, doubled or out of order, never changed."""

    def send(self, to: str, message: Any) -> None:
        """Send one frozen struct to a peer's name, or to the ``sender`` of a request."""


class Env(Protocol):
    """All that a node may touch."""

    node: str
    peers: tuple[str, ...]
    """Names of all nodes of the testbed, this one included, in one fixed order."""
    clock: Clock
    random: Random
    disk: Disk
    transport: Transport

    def event(self, kind: str, /, **fields: Any) -> None:
        """Say something of oneself (leader, term, snapshot ...) for ``events.jsonl``."""

    def log(self, line: str) -> None:
        """Write one line to the node's own log."""


class Shell(Protocol):
    """What a node is, seen from its Env."""

    def start(self) -> None:
        """Recover from disk and arm the timers; called once, before all else."""

    def on_message(self, sender: str, message: Any) -> None:
        """A message has come; answers go to ``sender`` by ``env.transport.send``."""

    def status(self) -> Mapping[str, Any]:
        """A cheap JSON-able snapshot: role, term, leader, commit, applied, probe counts ..."""

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """An administrative act (transfer leader, fail point ...); ValueError on a wrong one."""


class Caller(Protocol):
    """How one client reaches nodes: a request and its one answer."""

    async def call(self, node: str, request: Any, *, timeout_s: float) -> Any:
        """Send ``request`` and wait for the answer.

        Raises:
            ConnectionError: the request certainly did not reach the node.
            TimeoutError: no answer in time; the node may still act on the request.
            EOFError: the connection ended after the request may have been sent.
        """

    async def close(self) -> None:
        """Drop all connections."""


class Pacer(Protocol):
    """Time as a client sees it: virtual in simulation."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since a fixed point."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
