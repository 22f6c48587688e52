"""Faults of whole nodes: kill, loss of power, pause."""

from __future__ import annotations

from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import Node
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import Act, Draft, Outcome, gather_in_order, mask, resolve_targets

__all__ = ["ProcessFamily"]

_ROLES = ("leader", "leader", "one", "minority", "minority", "majority", "all")


class ProcessFamily:
    """start-kill, start-power: the node is gone, stop restarts it; start-pause, stop resumes it."""

    faults = frozenset({"kill", "power", "pause"})

    def __init__(self, world: World) -> None:
        self._world = world

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
        before = {name: self._world.testbed.node(name).state().status for name in names}
        await gather_in_order(
            [self._hurt(self._world.testbed.node(n), act.fault) for n in names]
        )
        proofs = [await self._proof(name, act.fault, before[name]) for name in names]
        parameters = dict(act.parameters)
        if primaries:
            parameters["leader"] = primaries[0]
        return names, parameters, proofs

    async def stop(self, act: Act) -> Outcome:
        """Restart or resume the targets, and see them run."""
        nodes = [self._world.testbed.node(name) for name in act.targets]
        await gather_in_order([self._mend(node, act.fault) for node in nodes])
        proofs = []
        for node in nodes:
            seen = (await node.observe()).process
            proofs.append(
                mask(self._world, node.name, (node.name,), seen == "running", f"process {seen}")
            )
        return act.targets, act.parameters, proofs

    async def heal(self) -> Outcome:
        """Resume and restart whatever is not running."""
        nodes = list(self._world.testbed.nodes.values())
        await gather_in_order([node.resume() for node in nodes])
        await gather_in_order([node.restart() for node in nodes])
        return (), {}, ()

    async def _hurt(self, node: Node, fault: str) -> None:
        if fault == "kill":
            await node.kill()
        elif fault == "power":
            await node.power()
        else:
            await node.pause()

    async def _mend(self, node: Node, fault: str) -> None:
        if fault == "pause":
            await node.resume()
        else:
            await node.restart()

    async def _proof(self, name: str, fault: str, before: str) -> Proof:
        if before in ("killed", "exited"):
            return Proof(target=name, masked="kill", observed="was down already")
        if before == "paused" and fault == "pause":
            return Proof(target=name, masked="pause", observed="was paused already")
        seen = (await self._world.testbed.node(name).observe()).process
        wanted = "stopped" if fault == "pause" else "absent"
        return Proof(target=name, effective=seen == wanted, observed=f"process {seen}")
