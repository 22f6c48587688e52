"""Faults of clocks and disks, set through the nodes' control sockets.

They live in the node's process: a node that is restarted comes back with right clocks and a disk of
right speed.  A dead node raises ``ConnectionError``, a paused one ``TimeoutError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.contracts.journal import Journal
from splitbrain.substrates.real.node import RealNode

__all__ = ["RealClocks", "slow_disk"]

_TIMEOUT_S = 2.0


class RealClocks:
    """See ``contracts.testbed.ClockFaults``."""

    def __init__(self, nodes: Mapping[str, RealNode], label: str, journal: Journal) -> None:
        self._nodes = nodes
        self._label = label
        self._journal = journal

    async def jump(self, node: str, delta_ms: float) -> None:
        """Add ``delta_ms`` to the wall clock, once."""
        await self._set(node, {"offset_ns": round(delta_ms * 1e6)})

    async def strobe(self, node: str, delta_ms: float, period_ms: float) -> None:
        """Let the wall clock flip by ``delta_ms`` and back each period."""
        strobe = {"delta_ns": round(delta_ms * 1e6), "period_ns": round(period_ms * 1e6)}
        await self._set(node, {"strobe": strobe})

    async def drift(self, node: str, rate: float) -> None:
        """Let both clocks run at (1 + rate) times the true speed."""
        await self._set(node, {"rate": rate})

    async def reset(self, node: str) -> None:
        """Right wall clock, right speed; those of a program that takes no orders always are."""
        if not self._nodes[node].controllable:
            return
        await self._set(node, {"reset": True})

    async def _set(self, node: str, arguments: Mapping[str, Any]) -> None:
        await _act(self._journal, self._label, self._nodes[node], "clock-set", arguments)


async def slow_disk(node: RealNode, extra_ms: float, label: str, journal: Journal) -> None:
    """Let each fsync of ``node`` take ``extra_ms`` longer; 0 heals."""
    if not (extra_ms or node.controllable):
        return  # nobody could have slowed it
    await _act(journal, label, node, "disk-slow", {"extra_ms": extra_ms})


async def _act(
    journal: Journal, label: str, node: RealNode, verb: str, arguments: Mapping[str, Any]
) -> None:
    # Nothing to undo by itself: it ends with the node's process, which is journaled.
    number = journal.intent(
        verb, target=node.name, label=label, arguments=dict(arguments), undo=""
    )
    await node.control(verb, arguments, timeout_s=_TIMEOUT_S)
    journal.done(number)
