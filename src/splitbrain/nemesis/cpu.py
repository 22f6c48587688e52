"""A node that gets little processor time, as by a greedy neighbour or a quota that was set too low.

It is proven by the kernel's own account of how long it held the node back, over the whole band: a
node that asked for less than its share was not held back, and shows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from splitbrain.contracts.fault import Fault, Proof
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
from splitbrain.nemesis.ledger import HOLDS, Ledger

__all__ = ["CpuFamily"]

_SEEN_NS = 20_000_000
_ROLES = ("leader", "leader", "one", "minority", "majority")


class CpuFamily:
    """start-cpu limits the targets to some hundredths of a core; stop-cpu lifts that."""

    faults = frozenset({"cpu"})

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()
        self._openings: dict[str, tuple[int, Mapping[str, tuple[str, int | None]]]] = {}
        self._limited: set[str] = set()

    def kinds(self, name: str) -> frozenset[Fault]:
        """The package's own kind."""
        return frozenset({Fault.CPU})

    def draft(self, name: str, stream: Stream) -> Draft:
        """A role, and from two to ten hundredths of a core."""
        role, cores = stream.choice(_ROLES), round(stream.uniform(0.02, 0.1), 3)
        return Draft(fault="cpu", targets=(role,), parameters={"cores": cores})

    async def start(self, act: Act) -> Outcome:
        """Limit the targets; the proof comes with the stop."""
        names = resolve_targets(self._world, act, await self._world.running.primaries())
        cores = float(act.parameters["cores"])
        self._ledger.began(act.id, "cpu", nodes=names)
        self._openings[act.id] = (self._ledger.moment, await self._held_back(names))
        self._limited.update(names)
        await gather_in_order([self._world.testbed.node(n).throttle(cores) for n in names])
        return names, act.parameters, ()

    async def stop(self, act: Act) -> Outcome:
        """Lift the limit, and read how long each was held back."""
        moment, before = self._openings.pop(act.id, (self._ledger.moment, {}))
        after = await self._held_back(act.targets)
        self._ledger.ended(act.id)
        await self._lift(act.targets)
        proofs = [
            self._proof(name, moment, before.get(name), after.get(name)) for name in act.targets
        ]
        return act.targets, act.parameters, proofs

    async def _held_back(self, names: tuple[str, ...]) -> Mapping[str, tuple[str, int | None]]:
        """For each node its incarnation, and for how long the kernel has held it back."""
        seen = await gather_in_order([self._world.testbed.node(n).observe() for n in names])
        return {n: (one.started, one.throttled_ns) for n, one in zip(names, seen, strict=True)}

    def _proof(
        self,
        name: str,
        moment: int,
        before: tuple[str, int | None] | None,
        after: tuple[str, int | None] | None,
    ) -> Proof:
        if before is None or after is None or before[0] != after[0]:
            other = self._ledger.disturbance((name,), HOLDS, since=moment)
            return Proof(target=name, masked=other, observed="not the same process any more")
        if before[1] is None or after[1] is None:
            return mask(
                self._world, name, (name,), None, "the kernel tells nothing", self._ledger
            )
        held_ns = after[1] - before[1]
        words = f"held back for {held_ns / 1e9:.2f} s"
        if held_ns >= _SEEN_NS:
            return Proof(target=name, effective=True, observed=words)
        other = self._ledger.disturbance((name,), HOLDS, since=moment)
        if other is not None:
            return Proof(target=name, masked=other, observed=words)
        return Proof(target=name, effective=False, observed=words)

    async def _lift(self, names: tuple[str, ...]) -> None:
        await gather_in_order([self._world.testbed.node(n).throttle(None) for n in names])
        self._limited.difference_update(names)

    async def heal(self) -> Outcome:
        """Lift every limit."""
        self._openings.clear()
        self._ledger.healed(self.faults)
        await self._lift(tuple(sorted(self._limited)))
        return (), {}, ()
