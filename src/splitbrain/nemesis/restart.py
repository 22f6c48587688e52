"""A rolling restart: one node after the other is stopped in good order and started again."""

from __future__ import annotations

import asyncio

from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.nemesis import looks
from splitbrain.nemesis.base import Act, Draft, Outcome, down, resolve_targets
from splitbrain.nemesis.ledger import Ledger

__all__ = ["RestartFamily"]

_LOOKS = 30
_BACK_T = 3.0
"""A node is waited for so many election timeouts before the next one has its turn."""


class RestartFamily:
    """start-restart: parameters none; over when the last target is back, so it has no stop.

    A node that another fault holds is passed over.
    """

    faults = frozenset({"restart"})

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()

    def kinds(self, name: str) -> frozenset[Fault]:
        """None of the substrate's kinds: the package itself has to be shown effective."""
        return frozenset()

    def draft(self, name: str, stream: Stream) -> Draft:
        """All nodes."""
        return Draft(fault="restart", targets=("all",), lasting=False, aimed=True)

    async def start(self, act: Act) -> Outcome:
        """Restart the targets in turn, each back before the next, and look at their processes."""
        names = resolve_targets(self._world, act, await self._world.running.primaries())
        return names, act.parameters, [await self._restart(name) for name in names]

    async def stop(self, act: Act) -> Outcome:
        """Nothing to heal."""
        return act.targets, act.parameters, ()

    async def heal(self) -> Outcome:
        """Start what is not running; a node that another fault held is back already."""
        for node in self._world.testbed.nodes.values():
            await node.restart()
        return (), {}, ()

    async def _restart(self, name: str) -> Proof:
        held = down(self._world, name, self._ledger)
        if held is not None:
            return Proof(target=name, masked=held, observed=f"{name} was held by {held}")
        node = self._world.testbed.node(name)
        await node.stop()
        between = (await node.observe()).process
        await node.restart()
        if node.state().status == "running":
            await self._ledger.settle(name)
        back = await self._back(name)
        after = (await node.observe()).process
        words = f"process {between}, then {after}" + ("" if back else ", and not back in time")
        return Proof(
            target=name,
            effective=between == "absent" and after == "running",
            observed=words,
        )

    async def _back(self, name: str) -> bool:
        """Wait until the node has recovered its log and hears a leader, or leads, for 1/3 T."""
        steady = 0
        for _ in range(_LOOKS):
            status = (await looks.ask_all(self._world, "status")).get(name, {})
            steady = steady + 1 if status.get("leader") else 0
            if steady > _LOOKS / _BACK_T / 3:
                return True
            await asyncio.sleep(_BACK_T * self._world.election_s / _LOOKS)
        return False
