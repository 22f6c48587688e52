"""Faults of links that still work: delay, loss, duplication, reordering.

A delay is proven by echoes, before and after.  The others are probabilistic, so they are proven over
their whole band: what both ends of the links counted at the start is compared with what they counted
at the stop, on those links that no other fault touched meanwhile, for a kill or a cut loses messages
as well.  Few messages show a fault when it is seen, but do not deny it when it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.contracts.fault import Cut, Fault, Proof, Shape
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Stream
from splitbrain.nemesis.base import Act, Draft, Outcome, down, resolve_targets
from splitbrain.nemesis.ledger import HOLDS, LINKS, Ledger

__all__ = ["NetworkFamily"]

_KINDS = {
    "delay": Fault.DELAY,
    "loss": Fault.LOSS,
    "duplication": Fault.DUPLICATION,
    "reordering": Fault.REORDERING,
}
_EXPECTED_MIN = 20
"""Where chance would hit fewer messages than this, none hit denies nothing."""
_SHARE = 0.4
"""So much of what was expected must be seen: less than that of 20 comes by chance once in 1000."""
_ECHOES = 3
_CLIENT = "client"
_PAIRS = 3

Link = tuple[str, str]
Counts = Mapping[Link, LinkCount]


class _Opening(msgspec.Struct, frozen=True):
    """What held when a band began: the counts, who lived, and the ledger's moment."""

    counts: Counts
    incarnations: Mapping[str, int]
    moment: int


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

    A schedule may name directed links instead: parameters {"links": [["n1", "n3"]], ...}.  That and
    its stop take no time.  So no echo is sent, which goes both ways anyhow; where counts can be read
    in no time either, they are the proof, also of a delay.
    """

    faults = frozenset(_KINDS)

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()
        self._available = [name for name, kind in _KINDS.items() if kind in world.faults]
        self._openings: dict[str, _Opening] = {}

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
            links += [(_CLIENT, node) for node in names] + [(node, _CLIENT) for node in names]
        return tuple(links)

    async def start(self, act: Act) -> Outcome:
        """Shape the links; the proof of all but delay comes with the stop."""
        names = act.targets
        if "links" not in act.parameters:
            names = resolve_targets(self._world, act, await self._world.running.primaries())
        links = self._links(names, act.parameters)
        sizes = {k: v for k, v in act.parameters.items() if k in Shape.__struct_fields__}
        shape = Shape(**sizes)
        net = self._world.testbed.net
        if "links" in act.parameters:
            self._ledger.began(act.id, act.fault, links=links)
            if net.counts_at_once:
                await self._open(act.id)
            await net.shape(act.id, links, shape)
            return names, act.parameters, ()
        if act.fault == "delay":
            why = self._why_unseen(links)
            pair, before_ms = await self._echo_before(links)
            self._ledger.began(act.id, act.fault, links=links)
            await net.shape(act.id, links, shape)
            target = ",".join(names)
            if pair is None or before_ms is None:
                proof = Proof(target=target, masked=why, observed="no echo came back before")
            else:
                proof = await self._delayed(target, pair, before_ms, shape)
            return names, act.parameters, (proof,)
        self._ledger.began(act.id, act.fault, links=links)
        await self._open(act.id)
        await net.shape(act.id, links, shape)
        return names, act.parameters, ()

    async def _open(self, id_: str) -> None:
        counts = await self._world.testbed.net.counts()
        self._openings[id_] = _Opening(counts, self._incarnations(), self._ledger.moment)

    def _incarnations(self) -> Mapping[str, int]:
        nodes = self._world.testbed.nodes
        return {name: node.state().incarnation for name, node in nodes.items()}

    # --- delay ----------------------------------------------------------------------------------

    def _why(self, link: Link) -> str | None:
        """The fault because of which an echo over this link tells nothing now, if there is one."""
        for way in (link, link[::-1]):
            other = self._ledger.disturbance(way, LINKS)
            if other is not None:
                return other
        held = [down(self._world, end, self._ledger) for end in link if end != _CLIENT]
        return next((why for why in held if why is not None), None)

    def _why_unseen(self, links: Cut) -> str | None:
        """The fault that explains the silence of all these links, if each has one."""
        reasons = [self._why(link) for link in links if _CLIENT not in link]
        return reasons[0] if reasons and None not in reasons else None

    async def _echo_before(self, links: Cut) -> tuple[Link | None, float | None]:
        """The quickest echo between two nodes whose links nothing else disturbs."""
        usable = [link for link in links if _CLIENT not in link and self._why(link) is None]
        for pair in usable[:_PAIRS]:
            took_ms = await self._quickest_ms(pair, self._world.election_s)
            if took_ms is not None:
                return pair, took_ms
        return None, None

    async def _quickest_ms(self, pair: Link, timeout_s: float) -> float | None:
        """Of a few echoes the quickest, for a busy machine only makes them slower."""
        net = self._world.testbed.net
        trips: list[float] = []
        for _ in range(_ECHOES):
            trip = await net.round_trip_ms(*pair, timeout_s=timeout_s)
            if trip is not None:
                trips.append(trip)
            elif not trips:
                return None
        return min(trips)

    async def _delayed(self, target: str, pair: Link, before_ms: float, shape: Shape) -> Proof:
        """Both ways are delayed, so an echo takes two delays; less than 1.5 denies the fault."""
        timeout_s = 4 * (shape.delay_ms + shape.jitter_ms) / 1000 + 2.0
        after_ms = await self._quickest_ms(pair, timeout_s)
        if after_ms is None:
            return Proof(target=target, observed="no echo came back")
        seen = f"echo {pair[0]}-{pair[1]} took {before_ms:.1f}, then {after_ms:.1f} ms"
        effective: bool | None = None
        if after_ms < 1.5 * shape.delay_ms:
            effective = False
        elif after_ms - before_ms >= shape.delay_ms:
            effective = True
        return Proof(target=target, effective=effective, observed=seen)

    # --- faults of chance -------------------------------------------------------------------------

    def _touched(self, link: Link, since: int, but: str = "") -> str | None:
        """Another fault that touched the link after the moment ``since``."""
        return self._ledger.disturbance(link, LINKS | HOLDS, since=since, but=but)

    async def stop(self, act: Act) -> Outcome:
        """Heal the links and compare the counts of the whole band."""
        opening = self._openings.pop(act.id, None)
        first, last = await self._closing_counts(act) if opening is not None else ({}, {})
        await self._world.testbed.net.heal(act.id)
        self._ledger.ended(act.id)
        if opening is None:
            return act.targets, act.parameters, ()
        links = self._links(act.targets, act.parameters)
        proof = self._counted(act, links, opening, first, last)
        return act.targets, act.parameters, (proof,)

    async def _closing_counts(self, act: Act) -> tuple[Counts, Counts]:
        """Two readings, between which what was on its way at the first one has come.

        Where no time may pass they are the same.
        """
        net = self._world.testbed.net
        first = await net.counts()
        if "links" in act.parameters:
            return first, first
        received = sum(count.received for count in first.values())
        late_s = sum(count.lateness_ns for count in first.values()) / 1e9 / max(1, received)
        await asyncio.sleep(min(0.1 * self._world.election_s, 4 * late_s + 0.002))
        return first, await net.counts()

    def _counted(
        self, act: Act, links: Cut, opening: _Opening, first: Counts, last: Counts
    ) -> Proof:
        target = _told(act.targets, links)
        incarnations = self._incarnations()
        same = {n for n, born in opening.incarnations.items() if incarnations[n] == born}
        usable, why = [], None
        for link in links:
            touched = self._touched(link, opening.moment, act.id)
            if touched is None and not set(link) <= {*same, _CLIENT}:
                touched = "node-crash"
            why = why or touched
            if touched is None and _CLIENT not in link:
                usable.append(link)
        if not usable:
            return Proof(
                target=target, masked=why, observed="no link was without another fault"
            )
        seen = _sum(opening.counts, first, tuple(usable))
        settled = _sum(opening.counts, last, tuple(usable))
        if act.fault == "delay":
            return _late(target, seen, float(act.parameters.get("delay_ms", 0.0)))
        count, least, size, word = _of_chance(act.fault, seen, settled)
        expected = seen.sent * float(act.parameters.get(size, 0.0))
        words = f"{count} of {seen.sent} {word}, {expected:.0f} expected"
        if act.fault == "reordering":
            expected /= 4  # one held back behind nothing is not overtaken
        effective: bool | None = None
        hasty = first is last and act.fault == "loss"  # what is under way looks lost
        if least > 0 and least >= _SHARE * max(expected, _EXPECTED_MIN if hasty else 0):
            effective = True
        elif expected >= _EXPECTED_MIN and count < _SHARE * expected:
            effective = False
        if effective is None and why is not None:
            return Proof(target=target, masked=why, observed=words)
        return Proof(target=target, effective=effective, observed=words)

    async def heal(self) -> Outcome:
        """Heal every shape and cut."""
        await self._world.testbed.net.heal(None)
        self._ledger.healed(LINKS)
        self._openings.clear()
        return (), {}, ()


def _late(target: str, seen: LinkCount, delay_ms: float) -> Proof:
    """By how late messages came on average; those sent before the delay began may be among them."""
    mean_ms = seen.lateness_ns / 1e6 / max(1, seen.received)
    effective: bool | None = None
    if seen.received and mean_ms >= delay_ms / 2:
        effective = True
    elif seen.received >= _EXPECTED_MIN // 4:
        effective = False
    words = f"{seen.received} messages came {mean_ms:.1f} ms after they were sent"
    return Proof(target=target, effective=effective, observed=words)


def _of_chance(fault: str, seen: LinkCount, settled: LinkCount) -> tuple[int, int, str, str]:
    """How many were hit: as counted, and at least; the parameter that gives the chance; a word.

    What is on its way when it is counted looks lost; so the lower bound of what was lost takes what
    was received a little later.
    """
    if fault == "loss":
        count = seen.sent - (seen.received - seen.duplicates)
        least = seen.sent - (settled.received - settled.duplicates)
        return count, least, "loss", "lost"
    if fault == "duplication":
        return seen.duplicates, seen.duplicates, "duplicate", "doubled"
    return seen.reordered, seen.reordered, "reorder", "overtaken"
