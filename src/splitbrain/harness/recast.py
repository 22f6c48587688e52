"""Replayed faults that follow the leader: its part is played by whoever leads now.

A schedule that was recorded names the nodes that it hit, and the leader of that moment.  On another
substrate another node leads, and a cut that isolated the leader then isolates a follower now.  With
``--option follow-leader=true`` the two change places in the fault: what was done to the leader of
then is done to the leader of now, what was done to that one is done to the other, and nobody else is
touched otherwise.

    >>> fault = {"targets": ["n1"], "parameters": {"cut": [["n1", "n2"]], "leader": "n1"}}
    >>> exchanged(fault, "n1", "n3")
    {'targets': ['n3'], 'parameters': {'cut': [['n3', 'n2']], 'leader': 'n3'}}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.nemesis import Nemesis
from splitbrain.history.op import Op

__all__ = ["FollowLeader", "exchanged"]


def exchanged(value: Any, one: str, other: str) -> Any:
    """``value`` with two names exchanged wherever they stand in it, also as keys."""
    if isinstance(value, str):
        return {one: other, other: one}.get(value, value)
    if isinstance(value, Mapping):
        return {exchanged(k, one, other): exchanged(v, one, other) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [exchanged(item, one, other) for item in value]
    return value


class FollowLeader:
    """Stands before a nemesis and recasts each start that tells who led when it was recorded.

    A stop needs nothing: it ends what its start did.

    Args:
        nemesis: carries out the operations.
        primaries: who believes to lead now, newest term first.
        nodes: names of the testbed's nodes.
    """

    def __init__(
        self,
        nemesis: Nemesis,
        primaries: Callable[[], Awaitable[Sequence[str]]],
        nodes: Sequence[str],
    ) -> None:
        self._nemesis = nemesis
        self._primaries = primaries
        self._nodes = frozenset(nodes)

    @property
    def functions(self) -> frozenset[str]:
        """Those of the nemesis."""
        return self._nemesis.functions

    async def setup(self) -> None:
        """Of the nemesis."""
        await self._nemesis.setup()

    async def invoke(self, op: Op) -> Op:
        """Carry out the operation, by other names if another node leads; by its own if nobody does."""
        value = op.value if isinstance(op.value, Mapping) else {}
        then = (value.get("parameters") or {}).get("leader")
        if op.f.startswith("start-") and then in self._nodes:
            now = next(iter(await self._primaries()), then)
            if now != then:
                cast = {
                    name: exchanged(value[name], then, now)
                    for name in ("targets", "parameters")
                }
                op = msgspec.structs.replace(op, value={**value, **cast})
        return await self._nemesis.invoke(op)

    async def teardown(self) -> None:
        """Of the nemesis."""
        await self._nemesis.teardown()
