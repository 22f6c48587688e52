"""What one incarnation of a simulated node sees of the world: its Env.

Whatever reaches the node comes through three doors, each of which checks that this incarnation is
still alive, holds the callback while the node is paused, and turns an exception that leaves it into
a crash: timers here, disk completions here, messages in :mod:`splitbrain.substrates.sim.node`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from splitbrain.env import Clock, Disk, DiskDone, Transport
from splitbrain.env.random import Random
from splitbrain.env.skew import SkewedClock
from splitbrain.substrates.sim.disk import SimDisk
from splitbrain.substrates.sim.links import Link
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.network import Letter, Network

__all__ = ["WALL_START_NS", "Host", "NodeTimer", "SimClock", "SimEnv", "SimTransport"]

WALL_START_NS = 1_750_000_000_000_000_000
"""True wall time when a simulation begins: always the same second of June 2025."""


class Host(Protocol):
    """What the Env needs of its node."""

    name: str
    epoch: int
    paused: bool
    held: deque[tuple[Callable[[Any], None], Any]]

    def crash(self, error: BaseException) -> None:
        """A callback has let out an exception."""

    def answer(self, token: str, message: Any) -> None:
        """Answer a client's call."""

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        """The node says something of itself."""

    def log(self, line: str) -> None:
        """The node writes to its log."""

    def deliver(self, letter: Letter) -> None:
        """A message arrives."""


class NodeTimer:
    """A pending ``call_at`` of a node."""

    __slots__ = ("base_ns", "callback", "due_ns", "pending")

    def __init__(
        self,
        callback: Callable[[], None],
        due_ns: int,
        base_ns: int,
        pending: dict[NodeTimer, None],
    ) -> None:
        self.callback: Callable[[], None] | None = callback
        self.due_ns = due_ns
        self.base_ns = base_ns
        self.pending = pending

    def cancel(self) -> None:
        """Forget the callback; harmless when it has run."""
        if self.callback is not None:
            self.callback = None
            self.pending.pop(self, None)


class SimClock:
    """The clocks and timers of one incarnation, bent by ``skew``."""

    def __init__(
        self, loop: SimLoop, host: Host, skew: SkewedClock, *, grid_ns: int = 0
    ) -> None:
        self._loop = loop
        self._host = host
        self._epoch = host.epoch
        self._grid_ns = grid_ns
        self._pending: dict[NodeTimer, None] = {}
        self.skew = skew

    def monotonic_ns(self) -> int:
        """The node's monotonic clock."""
        return self.skew.monotonic_ns(self._loop.now_ns)

    def wall_ns(self) -> int:
        """The node's wall clock."""
        now = self._loop.now_ns
        return self.skew.wall_ns(now, WALL_START_NS + now)

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> NodeTimer:
        """Run ``callback`` once ``monotonic_ns() >= when_ns``, later than this call."""
        pending = self._pending
        base_ns = self._base(when_ns)
        timer = NodeTimer(callback, when_ns, base_ns, pending)
        pending[timer] = None
        self._loop.post_ns(base_ns, self._fire, timer)
        return timer

    def _base(self, when_ns: int) -> int:
        base_ns = self.skew.base_deadline(when_ns)
        if self._grid_ns:
            base_ns = -(-base_ns // self._grid_ns) * self._grid_ns
        return base_ns

    def _fire(self, timer: NodeTimer) -> None:
        callback = timer.callback
        if callback is None or timer.base_ns > self._loop.now_ns:
            return  # cancelled, or armed again for later since its clock slowed down
        host = self._host
        if host.epoch != self._epoch:
            return
        if host.paused:
            host.held.append((self._fire, timer))
            return
        timer.callback = None
        del self._pending[timer]
        try:
            callback()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the node ends
            host.crash(error)

    def rearm(self) -> None:
        """The rate has changed: work out anew when each pending timer is due."""
        for timer in self._pending:
            base_ns = self._base(timer.due_ns)
            if base_ns != timer.base_ns:
                timer.base_ns = base_ns
                self._loop.post_ns(base_ns, self._fire, timer)


class SimTransport:
    """The sending end of a node: to peers over its links, to clients as answers to their calls."""

    def __init__(self, host: Host, network: Network, links: dict[str, Link]) -> None:
        self._host = host
        self._transmit = network.transmit
        self._links = links

    def send(self, to: str, message: Any) -> None:
        """Send a message to a peer, or the answer to the sender of a client's request."""
        link = self._links.get(to)
        if link is None:
            self._host.answer(to, message)
            return
        target = link.target
        epoch = target.epoch
        if epoch:
            self._transmit(link, target.deliver, message, epoch)
        else:
            link.sent += 1  # no connection to a dead node


class SimEnv:
    """All that one incarnation of a node may touch; see :class:`splitbrain.env.Env`."""

    def __init__(
        self,
        *,
        host: Host,
        peers: tuple[str, ...],
        clock: SimClock,
        random: Random,
        disk: SimDisk,
        transport: SimTransport,
    ) -> None:
        self.node = host.name
        self.peers = peers
        self.clock: Clock = clock
        self.random = random
        self.disk: Disk = disk
        self.transport: Transport = transport
        self._host = host
        self._epoch = host.epoch
        disk.attach(self._tell)

    def _tell(self, done: DiskDone, error: Exception | None) -> None:
        self._complete((done, error))

    def _complete(self, completion: tuple[DiskDone, Exception | None]) -> None:
        host = self._host
        if host.epoch != self._epoch:
            return
        if host.paused:
            host.held.append((self._complete, completion))
            return
        done, error = completion
        try:
            done(error)
        except (Exception, SystemExit) as failure:  # noqa: BLE001 - the node ends
            host.crash(failure)

    def event(self, kind: str, /, **fields: Any) -> None:
        """Say something of oneself."""
        self._host.event(kind, fields)

    def log(self, line: str) -> None:
        """Write to the node's log."""
        self._host.log(line)
