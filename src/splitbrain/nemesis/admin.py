"""The system's own levers as nemesis operations: transfer the leadership, start an election ..."""

from __future__ import annotations

import asyncio

from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import Act, Draft, Outcome, mask, resolve_targets

__all__ = ["AdminFamily"]

_LOOKS = 10


class AdminFamily:
    """start-admin: parameters {"action": ..., ...} are handed to ``System.admin`` for each target."""

    faults = frozenset({"admin"})

    def __init__(self, world: World) -> None:
        self._world = world

    def kinds(self, name: str) -> frozenset[Fault]:
        """None is demanded."""
        return frozenset()

    def draft(self, name: str, stream: Stream) -> Draft:
        """A leader transfer to a node drawn at random."""
        parameters = {"action": "transfer-leader", "to": stream.choice(self._world.spec.nodes)}
        return Draft(
            fault="admin",
            targets=("leader",),
            parameters=parameters,
            lasting=False,
            aimed=True,
        )

    async def start(self, act: Act) -> Outcome:
        """Do the action on each target."""
        names = resolve_targets(self._world, act, await self._world.running.primaries())
        arguments = {k: v for k, v in act.parameters.items() if k != "action"}
        action = str(act.parameters.get("action", "status"))
        proofs = []
        for name in names:
            try:
                answer = await self._world.running.admin(action, {"node": name, **arguments})
            except (ConnectionError, TimeoutError, ValueError) as error:
                proofs.append(mask(self._world, name, (name,), None, f"{action}: {error}"))
                continue
            if action == "transfer-leader":
                proofs.append(await self._transferred(name, str(arguments.get("to", ""))))
            else:
                proofs.append(Proof(target=name, observed=f"{action}: {dict(answer)}"))
        return names, act.parameters, proofs

    async def _transferred(self, name: str, to: str) -> Proof:
        """Look for a new leader for one election timeout; the old one may rightly stay."""
        leaders: tuple[str, ...] = ()
        for _ in range(_LOOKS):
            leaders = tuple(await self._world.running.primaries())
            if leaders[:1] == (to,):
                effective = True if to != name else None
                return Proof(target=name, effective=effective, observed=f"{to} leads")
            await asyncio.sleep(self._world.election_s / _LOOKS)
        seen = f"{leaders[0]} leads" if leaders else "nobody leads"
        return Proof(target=name, observed=f"{seen}, not {to}")

    async def stop(self, act: Act) -> Outcome:
        """Nothing to heal."""
        return act.targets, act.parameters, ()

    async def heal(self) -> Outcome:
        """Nothing to heal."""
        return (), {}, ()
