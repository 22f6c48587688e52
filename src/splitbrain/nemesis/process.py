"""Faults of whole nodes: kill, loss of power, want of memory, pause.

They are proven by the process itself: gone, or stopped.  That a loss of power also took what was
not on the disk cannot be seen from outside, for there may have been nothing to take.
"""

from __future__ import annotations

from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import Node
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import (
    Act,
    Draft,
    Outcome,
    down,
    gather_in_order,
    mask,
    resolve_targets,
)
from splitbrain.nemesis.ledger import HOLDS, Ledger

__all__ = ["ProcessFamily"]

_ROLES = ("leader", "leader", "one", "minority", "minority", "majority", "all")
_DEAD = frozenset({"kill", "power", "oom"})
_PAUSED = frozenset({"pause"})


class ProcessFamily:
    """start-kill, -power, -oom: the node is gone, stop restarts it; start-pause, stop resumes it.

    A node that two faults hold goes on when the last of them ends.
    """

    faults = frozenset({"kill", "power", "pause", "oom"})

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()

    def kinds(self, name: str) -> frozenset[Fault]:
        """The package's own kind."""
        return frozenset({Fault(name)})

    def draft(self, name: str, stream: Stream) -> Draft:
        """A role, the leader more often than others."""
        return Draft(fault=name, targets=(stream.choice(_ROLES),))

    async def start(self, act: Act) -> Outcome:
        """Kill or pause the targets, and look at their processes."""
        primaries = await self._world.running.primaries()
        names = resolve_targets(self._world, act, primaries)
        before = {name: down(self._world, name, self._ledger) for name in names}
        self._ledger.began(act.id, act.fault, nodes=names)
        await gather_in_order(
            [self._hurt(self._world.testbed.node(n), act.fault) for n in names]
        )
        proofs = [await self._proof(name, act.fault, before[name]) for name in names]
        parameters = dict(act.parameters)
        if primaries:
            parameters["leader"] = primaries[0]
        return names, parameters, proofs

    async def stop(self, act: Act) -> Outcome:
        """Restart or resume the targets that no other fault holds, and see them run."""
        self._ledger.ended(act.id)
        rivals = _PAUSED if act.fault == "pause" else _DEAD
        nodes = [self._world.testbed.node(name) for name in act.targets]
        free = [n for n in nodes if self._ledger.disturbance((n.name,), rivals) is None]
        await gather_in_order([self._mend(node, act.fault) for node in free])
        proofs = []
        for node in nodes:
            seen = (await node.observe()).process
            words = f"process {seen}"
            proofs.append(
                mask(
                    self._world,
                    node.name,
                    (node.name,),
                    seen == "running",
                    words,
                    self._ledger,
                )
            )
        return act.targets, act.parameters, proofs

    async def heal(self) -> Outcome:
        """Resume and restart whatever is not running."""
        self._ledger.healed(HOLDS)
        nodes = list(self._world.testbed.nodes.values())
        await gather_in_order([node.resume() for node in nodes])
        await gather_in_order([node.restart() for node in nodes])
        return (), {}, ()

    async def _hurt(self, node: Node, fault: str) -> None:
        if fault == "kill":
            await node.kill()
        elif fault == "power":
            await node.power()
        elif fault == "oom":
            await node.starve()
        else:
            await node.pause()

    async def _mend(self, node: Node, fault: str) -> None:
        if fault == "pause":
            await node.resume()
        else:
            await node.restart()
        if node.state().status == "running":
            await self._ledger.settle(node.name)

    async def _proof(self, name: str, fault: str, before: str | None) -> Proof:
        """What is seen of a target that was alive; one that is already as wished is masked."""
        if before is not None and not (before == "pause" and fault != "pause"):
            return Proof(target=name, masked=before, observed=f"was held by {before} already")
        node = self._world.testbed.node(name)
        seen = await node.observe()
        if node.state().status == "exited":
            return Proof(target=name, masked="node-crash", observed="ended by itself")
        effective = seen.process == ("stopped" if fault == "pause" else "absent")
        if fault == "oom":  # by the kernel, and not by whoever else ends processes
            effective = effective and seen.ended == "out of memory"
        words = ", ".join(filter(None, (f"process {seen.process}", seen.ended)))
        return Proof(target=name, effective=effective, observed=words)
