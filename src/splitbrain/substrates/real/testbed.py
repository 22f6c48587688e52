"""What testbeds of real nodes share: their clocks, crashes and events, and an end that tries all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import NodeCrash, Site
from splitbrain.env import Caller
from splitbrain.errors import RequestError, UnknownName
from splitbrain.substrates.real.clocks import RealClocks, slow_disk
from splitbrain.substrates.real.events import Follower
from splitbrain.substrates.real.node import Keeper, RealNode
from splitbrain.substrates.real.places import Places

__all__ = ["RealTestbed", "flag"]

_FOLLOW_S = 0.08

N = TypeVar("N", bound=RealNode)


def flag(spec: TestSpec, name: str, *, default: bool) -> bool:
    """An option that is true or false.

    Raises:
        RequestError: it is neither.
    """
    value = spec.options.get(name, default)
    try:
        return msgspec.convert(value, bool, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(f"option {name}={value!r}: choose true or false") from error


class RealTestbed(Generic[N]):
    """The part of ``contracts.testbed.Testbed`` that is alike wherever real nodes live.

    Args:
        places: the run's directories.
        keep_data: leave the nodes' data in the run directory.
    """

    def __init__(self, site: Site, places: Places, *, keep_data: bool) -> None:
        self.site = site
        self.places = places
        self.random = site.random.child("substrate")
        self._keep_data = keep_data
        self._start_ns = time.monotonic_ns()
        self._crashes: list[NodeCrash] = []
        self._following: asyncio.Task[None] | None = None
        self._closed = False
        self._nodes: dict[str, N] = {}
        self.keeper = Keeper(
            label=site.label,
            journal=site.journal,
            crashed=self._crashes.append,
            time_ns=self.time_ns,
            seed=lambda node, incarnation: self.random.draw("tear", node, incarnation) >> 12,
            environment={"SPLITBRAIN_POWER": "1" if site.power else "0"},
        )
        self._follower = Follower(
            {name: places.events(name) for name in site.spec.nodes}, self._start_ns, site.events
        )
        self._clock = RealClocks(self._nodes, site.label, site.journal)

    def add(self, node: N) -> None:
        """One node more, in the spec's order."""
        self._nodes[node.name] = node

    def follow(self) -> None:
        """Begin to read what nodes say of themselves.

        An event ``test-start`` tells the machine's clock: logs have the time of day.
        """
        self.site.events(
            {"kind": "test-start", "time_ns": self.time_ns(), "wall_ns": time.time_ns()}
        )
        self._following = asyncio.create_task(self._follow())

    @property
    def nodes(self) -> Mapping[str, N]:
        """By name, in the spec's order."""
        return self._nodes

    @property
    def clock(self) -> RealClocks:
        """The nodes' clocks."""
        return self._clock

    def node(self, name: str) -> N:
        """One node."""
        if name not in self._nodes:
            raise UnknownName("node", name, self._nodes)
        return self._nodes[name]

    def caller(self, client: str) -> Caller | None:
        """None: clients use the network."""
        return None

    def time_ns(self) -> int:
        """CLOCK_MONOTONIC since the testbed was opened."""
        return time.monotonic_ns() - self._start_ns

    async def slow_disk(self, node: str, extra_ms: float) -> None:
        """Let each fsync of ``node`` take ``extra_ms`` longer; 0 heals."""
        await slow_disk(self.node(node), extra_ms, self.site.label, self.site.journal)

    def crashes(self) -> Sequence[NodeCrash]:
        """Nodes that ended by themselves and were not told yet; each is told once."""
        told = tuple(self._crashes)
        self._crashes.clear()
        return told

    async def close(self) -> None:
        """End every node, read the last events, remove what was made.

        All of it is tried, whatever fails; the first failure is raised at the end.
        """
        if self._closed:
            return
        self._closed = True
        failures: list[Exception] = []
        for step in self._closing():
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the rest must be closed; raised below
                failures.append(error)
        if failures:
            raise failures[0]

    def _closing(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What is to be done at the end, in this order."""
        kills = [node.kill for node in self._nodes.values()]
        return (*kills, self._unfollow, self._remove)

    async def _unfollow(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        self._follower.close()

    async def _remove(self) -> None:
        self.places.remove(keep_data=self._keep_data)

    async def _follow(self) -> None:
        while True:
            self._follower.poll()
            await asyncio.sleep(_FOLLOW_S)
