"""Pulling a system's lever until its effect is seen, and the proof of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from splitbrain.contracts.fault import Proof
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.nemesis import looks
from splitbrain.nemesis.base import Act
from splitbrain.nemesis.ledger import HOLDS, LINKS, Ledger

__all__ = ["Hands"]

_LOOKS = 20
_ROUND_T = 2.0
"""One attempt is looked at so often, and for so many election timeouts."""

Do = Callable[[], Awaitable[Any]]
Look = Callable[[], Awaitable[str | None]]


class Hands:
    """Acts through ``RunningSystem.admin``; sees through ``looks``."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger

    def store(self, node: str) -> int:
        """The store's number: nodes are numbered from 1."""
        return self._world.spec.nodes.index(node) + 1

    def other(self, act: Act, names: tuple[str, ...], than: str, stream: Stream) -> str | None:
        """``parameters["to"]`` if it can be, else one drawn; None: there is none."""
        able = [name for name in names if name != than]
        to = act.parameters.get("to")
        drawn = stream.choice(able) if able else None
        return to if to in able else drawn

    async def admin(self, action: str, node: str, **arguments: Any) -> None:
        """Have the node do it."""
        await self._world.running.admin(action, {"node": node, **arguments})

    async def pd(self, action: str, **arguments: Any) -> None:
        """Have the leader of the placement driver do it; nothing while there is none."""
        leader = looks.pd_leader(await looks.members(self._world))
        if leader is not None:
            await self.admin(action, leader, **arguments)

    async def listed(self) -> set[int]:
        """The regions that the placement driver knows."""
        leader = looks.pd_leader(await looks.members(self._world))
        if leader is None:
            return set()
        node = self._world.testbed.node(leader)
        try:
            answer = await node.control("pd-regions", {})
        except (ConnectionError, TimeoutError, ValueError):
            return set()
        return {int(region[0]) for region, *_ in answer["regions"]}

    async def attempt(self, do: Do) -> None:
        """What is seen afterwards counts, not what is answered."""
        with suppress(ConnectionError, TimeoutError, ValueError):
            await do()

    async def until(self, do: Do, seen: Look, *, rounds: int = 2) -> str | None:
        """Do it and look until it shows; do it again after a while. The words of what was seen."""
        for _ in range(rounds):
            await self.attempt(do)
            for _ in range(_LOOKS):
                found = await seen()
                if found is not None:
                    return found
                await asyncio.sleep(_ROUND_T * self._world.election_s / _LOOKS)
        return None

    def proof(self, target: str, effective: bool | None, words: str) -> Proof:
        """A proof; what did not show is masked if another fault is in force anywhere."""
        why = None if effective else self._hindered()
        return Proof(
            target=target,
            effective=None if why else effective,
            masked=why,
            observed=words,
        )

    def _hindered(self) -> str | None:
        nodes = self._world.spec.nodes
        links = ((i, j) for i in nodes for j in nodes if i != j)
        held = self._ledger.disturbance(nodes, HOLDS)
        if held is not None:
            return held
        return next(
            (why for link in links if (why := self._ledger.disturbance(link, LINKS))), None
        )
