"""Faults of disks: fsyncs that take long."""

from __future__ import annotations

from functools import partial

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import (
    Act,
    Draft,
    Outcome,
    gather_in_order,
    mask,
    resolve_targets,
)
from splitbrain.nemesis.ledger import Ledger

__all__ = ["DiskFamily"]


class DiskFamily:
    """start-disk-slow makes each fsync of the targets take longer; stop-disk-slow heals it.

    How long a fsync took is seen by nobody but the node itself, so its proofs claim nothing: a
    directed schedule uses it, and the rotation of ``--nemesis`` does not.
    """

    faults = frozenset({"disk-slow"})

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()

    def kinds(self, name: str) -> frozenset[Fault]:
        """None is demanded."""
        return frozenset()

    def draft(self, name: str, stream: Stream) -> Draft:
        """From a tenth to half of an election timeout."""
        extra_ms = round(self._world.election_s * 1000 * stream.uniform(0.1, 0.5), 1)
        return Draft(
            fault="disk-slow", targets=("minority",), parameters={"extra_ms": extra_ms}
        )

    async def start(self, act: Act) -> Outcome:
        """Slow the disks."""
        names = resolve_targets(self._world, act, await self._world.running.primaries())
        extra_ms = float(act.parameters["extra_ms"])
        await gather_in_order([self._slow(name, extra_ms) for name in names])
        proofs = [
            mask(self._world, name, (name,), None, "not seen from outside", self._ledger)
            for name in names
        ]
        return names, act.parameters, proofs

    async def stop(self, act: Act) -> Outcome:
        """Right speed again."""
        await gather_in_order([self._slow(name, 0.0) for name in act.targets])
        return act.targets, act.parameters, ()

    async def heal(self) -> Outcome:
        """Right speed everywhere."""
        await gather_in_order([self._slow(name, 0.0) for name in self._world.spec.nodes])
        return (), {}, ()

    async def _slow(self, name: str, extra_ms: float) -> None:
        try:
            await self._world.testbed.slow_disk(name, extra_ms)
        except TimeoutError:
            self._ledger.owe(
                name, partial(self._slow, name, extra_ms)
            )  # paused: once it goes on
        except ConnectionError:
            return  # a dead node comes back at right speed
