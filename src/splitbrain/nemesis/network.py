"""Faults of links that still work: delay, loss, duplication, reordering.

They are probabilistic, so they are proven over their whole band: what both ends of the links
counted at the start is compared with what they counted at the stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.contracts.fault import Cut, Fault, Proof, Shape
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import Act, Draft, Outcome, down, resolve_targets

__all__ = ["NetworkFamily"]

_KINDS = {
    "delay": Fault.DELAY,
    "loss": Fault.LOSS,
    "duplication": Fault.DUPLICATION,
    "reordering": Fault.REORDERING,
}
_SENT_MIN = 30
"""Fewer messages than this say nothing about a probability."""

Counts = Mapping[tuple[str, str], LinkCount]


def _sum(before: Counts, after: Counts, links: Cut) -> LinkCount:
    """What was counted on ``links`` between two readings, over all of them."""
    total = dict.fromkeys(("sent", "received", "duplicates", "reordered", "lateness_ns"), 0)
    for link in links:
        first, last = before.get(link, LinkCount()), after.get(link, LinkCount())
        for name in total:
            total[name] += getattr(last, name) - getattr(first, name)
    return LinkCount(**total)


def _told(names: tuple[str, ...], links: Cut) -> str:
    """What a proof is about: the nodes, or the links if no node was named."""
    return ",".join(names or (f"{i}->{j}" for i, j in links))


class NetworkFamily:
    """start-delay, -loss, -duplication, -reordering on all links of the targets; and their stops.

    A schedule may name directed links instead: parameters {"links": [["n1", "n3"]], ...}.
    """

    faults = frozenset(_KINDS)

    def __init__(self, world: World) -> None:
        self._world = world
        self._available = [name for name, kind in _KINDS.items() if kind in world.faults]
        self._before: dict[str, tuple[Counts, float]] = {}

    def kinds(self, name: str) -> frozenset[Fault]:
        """All that are possible here, or the one that the package is named after."""
        if name in _KINDS:
            return frozenset({_KINDS[name]})
        return frozenset(_KINDS[fault] for fault in self._available)

    def draft(self, name: str, stream: Stream) -> Draft:
        """One kind at a moderate size, on the links of some nodes."""
        fault = name if name in _KINDS else stream.choice(self._available)
        election_ms = self._world.election_s * 1000
        sizes: dict[str, Any] = {
            "delay": {
                "delay_ms": round(election_ms * stream.uniform(0.02, 0.3), 1),
                "jitter_ms": round(election_ms * stream.uniform(0.0, 0.2), 1),
            },
            "loss": {"loss": round(stream.uniform(0.05, 0.3), 3)},
            "duplication": {"duplicate": round(stream.uniform(0.1, 0.5), 3)},
            "reordering": {"reorder": round(stream.uniform(0.1, 0.5), 3)},
        }
        target = stream.choice(("all", "minority", "leader", "one"))
        return Draft(fault=fault, targets=(target,), parameters=sizes[fault])

    def _links(self, names: tuple[str, ...], parameters: Mapping[str, Any]) -> Cut:
        nodes = self._world.spec.nodes
        given = parameters.get("links")
        if given is not None:
            return tuple((str(i), str(j)) for i, j in given)
        links = [(i, j) for i in nodes for j in nodes if i != j and (i in names or j in names)]
        if parameters.get("clients"):
            links += [("client", node) for node in names] + [(node, "client") for node in names]
        return tuple(links)

    async def start(self, act: Act) -> Outcome:
        """Shape the links; the proof of all but delay comes with the stop."""
        names = act.targets
        if "links" not in act.parameters:
            names = resolve_targets(self._world, act, await self._world.running.primaries())
        links = self._links(names, act.parameters)
        sizes = {k: v for k, v in act.parameters.items() if k in Shape.__struct_fields__}
        net = self._world.testbed.net
        probed = await self._round_trip(links)
        self._before[act.id] = (await net.counts(), probed[1] or 0.0)
        await net.shape(act.id, links, Shape(**sizes))
        proofs: tuple[Proof, ...] = ()
        if act.fault == "delay":
            proofs = (await self._delayed(_told(names, links), probed, Shape(**sizes)),)
        return names, act.parameters, proofs

    async def _round_trip(self, links: Cut) -> tuple[tuple[str, str] | None, float | None]:
        alive = {node for node in self._world.spec.nodes if down(self._world, node) is None}
        for one, other in links:
            if one in alive and other in alive:
                trip = await self._world.testbed.net.round_trip_ms(one, other, timeout_s=2.0)
                if trip is not None:
                    return (one, other), trip
        return None, None

    async def _delayed(
        self,
        target: str,
        probed: tuple[tuple[str, str] | None, float | None],
        shape: Shape,
    ) -> Proof:
        pair, before_ms = probed
        if pair is None or before_ms is None:
            return Proof(
                target=target, masked="other faults", observed="no echo came back before"
            )
        timeout_s = 4 * (shape.delay_ms + shape.jitter_ms) / 1000 + 2.0
        after_ms = await self._world.testbed.net.round_trip_ms(*pair, timeout_s=timeout_s)
        if after_ms is None:
            return Proof(target=target, effective=None, observed="no echo came back")
        grown = after_ms - before_ms
        seen = f"echo {pair[0]}-{pair[1]} took {before_ms:.1f}, then {after_ms:.1f} ms"
        # A little less, because the echo before had its own chance delay.
        return Proof(target=target, effective=grown >= 0.9 * shape.delay_ms, observed=seen)

    async def stop(self, act: Act) -> Outcome:
        """Heal the links and compare the counts of the whole band."""
        links = self._links(act.targets, act.parameters)
        before = self._before.pop(act.id, None)
        counts = await self._world.testbed.net.counts()
        await self._world.testbed.net.heal(act.id)
        if before is None or act.fault == "delay":
            return act.targets, act.parameters, ()
        between = tuple(link for link in links if "client" not in link)
        proof = self._counted(act, _sum(before[0], counts, between))
        return act.targets, act.parameters, (proof,)

    def _counted(self, act: Act, seen: LinkCount) -> Proof:
        target = _told(act.targets, self._links(act.targets, act.parameters))
        if seen.sent < _SENT_MIN:
            return Proof(
                target=target, masked="other faults", observed=f"{seen.sent} messages sent"
            )
        if act.fault == "loss":
            lost = seen.sent - (seen.received - seen.duplicates)
            expected = seen.sent * float(act.parameters["loss"])
            words = f"{lost} of {seen.sent} lost, {expected:.0f} expected"
            return Proof(target=target, effective=lost >= expected * 0.4, observed=words)
        name = "duplicates" if act.fault == "duplication" else "reordered"
        count = getattr(seen, name)
        words = f"{count} {name} of {seen.received} received"
        return Proof(target=target, effective=count > 0, observed=words)

    async def heal(self) -> Outcome:
        """Heal every shape and cut."""
        await self._world.testbed.net.heal(None)
        self._before.clear()
        return (), {}, ()
