"""What must be mended at the end: faults without their stop, and nodes that do not run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from splitbrain.contracts.testbed import Node, NodeCrash, Testbed
from splitbrain.errors import NodeFailed
from splitbrain.history.op import Op

__all__ = ["HEAL_ALL", "OpenFaults", "make_whole"]

HEAL_ALL = "heal-all"
"""The nemesis operation after which nothing is broken any more."""

_STEP_LIMIT_S = 30.0


class OpenFaults:
    """Which faults have begun and not ended, told by the nemesis's own operations.

    A directed schedule may begin a fault and never end it; the heal phase then asks for the stop,
    so that the history shows when it ended.

    >>> faults = OpenFaults()
    >>> value = {"id": "k1", "fault": "kill", "targets": ["n1"]}
    >>> faults.saw(Op(process=-1, type="info", f="start-kill", value=value))
    >>> faults.stops(frozenset({"start-kill", "stop-kill"}))
    [{'f': 'stop-kill', 'value': {'id': 'k1', 'fault': 'kill', 'targets': ['n1']}}]
    >>> faults.saw(Op(process=-1, type="info", f="stop-kill", value={"id": "k1"}))
    >>> faults.names
    ()
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, Mapping[str, Any]]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Kinds of the open faults, in the order in which they began."""
        return tuple(fault for fault, _ in self._open.values())

    def saw(self, op: Op) -> None:
        """A nemesis operation began (start) or ended (start, stop)."""
        verb, _, fault = op.f.partition("-")
        value = op.value if isinstance(op.value, Mapping) else {}
        if op.f == HEAL_ALL:
            self._open.clear()
        elif verb == "start" and fault:
            kept = {name: part for name, part in value.items() if name != "proof"}
            self._open[str(value.get("id", fault))] = (fault, kept)
        elif verb == "stop":
            self._open.pop(str(value.get("id", fault)), None)

    def forget_one_shots(self, functions: frozenset[str]) -> None:
        """Drop the faults that no nemesis can stop: they are over as soon as they have happened."""
        self._open = {
            name: (fault, value)
            for name, (fault, value) in self._open.items()
            if f"stop-{fault}" in functions
        }

    def stops(self, functions: frozenset[str]) -> list[dict[str, Any]]:
        """The operations that end what is still open, the last one first."""
        self.forget_one_shots(functions)
        return [
            {"f": f"stop-{fault}", "value": dict(value)}
            for fault, value in reversed(self._open.values())
        ]


async def make_whole(
    testbed: Testbed, now_ns: int
) -> tuple[Sequence[NodeCrash], Sequence[str]]:
    """Heal all links, resume and restart all nodes.

    Returns:
        Nodes whose program ended by itself when it was started again: crashes.  And, in words, what
        else did not work: a node that is merely slow to come up has not crashed.
    """
    crashes, troubles = [], []
    await _bounded(testbed.net.heal(None))
    for node in testbed.nodes.values():
        try:
            await _bounded(_revive(node))
        except NodeFailed as exc:
            reason = str(exc).splitlines()[0]
            if node.state().status == "exited":
                crashes.append(_crash(node, reason, exc.log_tail, now_ns))
            else:
                troubles.append(reason)
        except TimeoutError:
            troubles.append(f"node {node.name}: did not come up within {_STEP_LIMIT_S:g} s")
    return crashes, troubles


def _crash(node: Node, reason: str, log: tuple[str, ...], now_ns: int) -> NodeCrash:
    incarnation = node.state().incarnation
    return NodeCrash(
        node=node.name, time_ns=now_ns, incarnation=incarnation, reason=reason, log=log
    )


async def _revive(node: Node) -> None:
    status = node.state().status
    if status == "paused":
        await node.resume()
    elif status in ("killed", "exited"):
        await node.restart()


async def _bounded(step: Awaitable[None]) -> None:
    async with asyncio.timeout(_STEP_LIMIT_S):
        await step
