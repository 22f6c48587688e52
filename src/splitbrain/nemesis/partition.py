"""Partitions: which nodes cannot speak to which.

A *cut* is a set of directed pairs.  Only links between nodes are cut; clients still reach every
node, so that a deposed leader can go on answering those who ask it.

The proof of a cut link is a probe that passed before and does not pass after.  A link on which
nothing passed before the cut shows nothing: it is masked where another fault explains that, and
without proof where none does.  Where probes would take too long, and both ends can be read at once,
the proof comes with the stop: what was sent over the link meanwhile, and did not arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.contracts.fault import Cut, Fault, Proof
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError, UnknownName
from splitbrain.nemesis.base import Act, Draft, Outcome, down, mask, resolve_targets
from splitbrain.nemesis.ledger import HOLDS, LINKS, Ledger

__all__ = ["NEED_FOUR", "ONE_WAY", "SHAPES", "PartitionFamily", "cut_between", "given_cut"]


def cut_between(one: Sequence[str], other: Sequence[str], *, both_ways: bool = True) -> Cut:
    """Every pair from ``one`` to ``other``, and back unless one-way.

    >>> cut_between(["a"], ["b", "c"], both_ways=False)
    (('a', 'b'), ('a', 'c'))
    """
    pairs = [(i, j) for i in one for j in other]
    if both_ways:
        pairs += [(j, i) for i in one for j in other]
    return tuple(pairs)


def halves(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """The first half of the nodes, in their order, and the rest: of five, two and three."""
    middle = len(nodes) // 2
    return cut_between(nodes[:middle], nodes[middle:])


def random_halves(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """Halves as those of ``halves``, drawn at random."""
    mixed = stream.sample(list(nodes), len(nodes))
    middle = len(nodes) // 2
    return cut_between(sorted(mixed[:middle]), sorted(mixed[middle:]))


def isolate_one(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """One node, drawn at random, alone."""
    one = stream.choice(list(nodes))
    return cut_between([one], [node for node in nodes if node != one])


def isolate_leader(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """The leader alone; any node where none is known."""
    one = leader or stream.choice(list(nodes))
    return cut_between([one], [node for node in nodes if node != one])


def leader_in_minority(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """The leader with as many others as still make a minority."""
    one = leader or stream.choice(list(nodes))
    rest = [node for node in nodes if node != one]
    friends = stream.sample(rest, max(0, (len(nodes) - 1) // 2 - 1))
    return cut_between([one, *sorted(friends)], [n for n in rest if n not in friends])


def bridge(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """Two groups that only one node, the bridge, can reach both of."""
    mixed = stream.sample(list(nodes), len(nodes))
    middle = len(nodes) // 2
    return cut_between(sorted(mixed[:middle]), sorted(mixed[middle + 1 :]))


def majorities_ring(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """Every node sees a majority, and no two nodes see the same one; for four nodes or more.

    In a ring each node hears as many neighbours on either side as make a majority with itself: of
    five nodes just three, of an even number sometimes one more than needed.
    """
    ring = stream.sample(list(nodes), len(nodes))
    size = len(ring)
    reach = (size // 2 + 1) // 2
    near = {(i, (i + d) % size) for i in range(size) for d in range(-reach, reach + 1)}
    pairs = [
        (ring[i], ring[j])
        for i in range(size)
        for j in range(size)
        if i != j and (i, j) not in near
    ]
    return tuple(sorted(pairs))


def one_way_in(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """One node hears nobody, but is heard."""
    one = leader if leader and stream.random() < 0.5 else stream.choice(list(nodes))
    return cut_between([node for node in nodes if node != one], [one], both_ways=False)


def one_way_out(nodes: Sequence[str], stream: Stream, leader: str | None) -> Cut:
    """One node is heard by nobody, but hears."""
    one = leader if leader and stream.random() < 0.5 else stream.choice(list(nodes))
    return cut_between([one], [node for node in nodes if node != one], both_ways=False)


Counts = Mapping[tuple[str, str], LinkCount]


class Opening(msgspec.Struct, frozen=True):
    """What the ends of all links had counted when a cut began, and the ledger's moment."""

    counts: Counts
    moment: int


Shaper = Callable[[Sequence[str], Stream, "str | None"], Cut]

SHAPES: Mapping[str, Shaper] = {
    "random-halves": random_halves,
    "isolate-one": isolate_one,
    "isolate-leader": isolate_leader,
    "leader-in-minority": leader_in_minority,
    "bridge": bridge,
    "majorities-ring": majorities_ring,
    "one-way-in": one_way_in,
    "one-way-out": one_way_out,
    "halves": halves,
    "isolate-pd-leader": isolate_leader,  # ``looks.aim`` names the node
}
"""Named shapes; ``parameters["cut"]`` gives any other by its pairs, ``["grudge"]`` by receivers."""

ONE_WAY = frozenset({"one-way-in", "one-way-out"})
NEED_FOUR = frozenset({"bridge", "majorities-ring"})
"""Shapes that fewer than four nodes cannot have."""

_PATIENCE = 4
"""A probe after the cut is waited for at least so many times longer than the one before took."""

_WEIGHTS = {
    "isolate-leader": 3,
    "leader-in-minority": 2,
    "random-halves": 2,
    "halves": 0,
    "isolate-pd-leader": 0,
}
"""How often the draw takes a shape, if not once; those of 0 come only when they are asked for."""

_CLIENT = "client"


def _resolved(act: Act, cut: Cut) -> dict[str, Any]:
    """The parameters by which the fault is repeated: of its links the cut alone tells."""
    kept = {name: value for name, value in act.parameters.items() if name != "grudge"}
    return {**kept, "cut": [list(pair) for pair in cut]}


def _proven(act: Act) -> bool:
    return bool(act.parameters.get("proof", True))


def given_cut(parameters: Mapping[str, Any], nodes: Sequence[str]) -> Cut | None:
    """The pairs that ``cut`` names, and those of ``grudge``; None if there is neither.

    A grudge is {receiver: those from whom it takes nothing}.

    >>> given_cut({"grudge": {"n1": ["n2", "n3"]}}, ["n1", "n2", "n3"])
    (('n2', 'n1'), ('n3', 'n1'))

    Raises:
        HarnessError: not of that form, or a name that is no node.
    """
    given = [key for key in _FORMS if parameters.get(key) is not None]
    pairs: dict[tuple[str, str], None] = {}
    for key in given:
        try:
            found = _pairs(key, parameters[key])
        except (AttributeError, TypeError, ValueError) as error:
            raise HarnessError(
                f"partition: {key} is {parameters[key]!r}; its form is {_FORMS[key]}"
            ) from error
        for link in found:
            _check(key, link, nodes)
        pairs.update(dict.fromkeys(found))
    return tuple(pairs) if given else None


_FORMS = {"cut": '[["n1", "n2"], ...]', "grudge": '{"n1": ["n2", ...], ...}'}


def _pairs(key: str, given: Any) -> list[tuple[str, str]]:
    """Directed pairs; fails in Python's own ways where ``given`` has not the form of ``key``."""
    if key == "cut":
        return [(i, j) for i, j in given]
    for senders in given.values():
        if isinstance(senders, str):
            raise TypeError("a name stands where a list of names is needed")
    return [(i, j) for j, senders in given.items() for i in senders]


def _check(key: str, link: tuple[str, str], nodes: Sequence[str]) -> None:
    known = (*nodes, _CLIENT)
    for end in link:
        if end not in known:
            raise HarnessError(f"partition: {UnknownName(f'node in {key}', str(end), known)}")
    if link[0] == link[1]:
        raise HarnessError(f"partition: {key} parts {link[0]} from itself")


class PartitionFamily:
    """start-partition cuts links by a shape or by given pairs; stop-partition heals them.

    The probes take their time.  A schedule in which the next step is urgent leaves them out by the
    parameter {"proof": false}; such a cut is shown only where counts can be read in no time.
    """

    faults = frozenset({"partition"})

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._ledger = ledger or Ledger()
        self._openings: dict[str, Opening] = {}
        one_way = Fault.ONE_WAY in world.faults
        self._shapes = [
            name
            for name in SHAPES
            if (one_way or name not in ONE_WAY)
            and (len(world.spec.nodes) > 3 or name not in NEED_FOUR)
            for _ in range(_WEIGHTS.get(name, 1))
        ]

    def kinds(self, name: str) -> frozenset[Fault]:
        """Partitions; one-way ones are among them but are not demanded apart."""
        return frozenset({Fault.PARTITION})

    def draft(self, name: str, stream: Stream) -> Draft:
        """A shape, those that depose the leader more often than others."""
        return Draft(fault="partition", parameters={"shape": stream.choice(self._shapes)})

    def _cut(self, act: Act, primaries: Sequence[str]) -> Cut:
        nodes = self._world.spec.nodes
        given = given_cut(act.parameters, nodes)
        if given is not None:
            return given
        if act.targets:
            names = resolve_targets(self._world, act, primaries)
            inside = [node for node in nodes if node in names]
            return cut_between(inside, [node for node in nodes if node not in inside])
        shape = act.parameters.get("shape", "random-halves")
        if shape not in SHAPES:
            raise HarnessError(str(UnknownName("partition shape", str(shape), SHAPES)))
        leader = primaries[0] if primaries else None
        return SHAPES[shape](nodes, self._world.random.stream("partition", act.id), leader)

    async def start(self, act: Act) -> Outcome:
        """Probe the links, cut them, and probe them again."""
        primaries = await self._world.running.primaries()
        cut = self._cut(act, primaries)
        net = self._world.testbed.net
        if not _proven(act):
            self._ledger.began(act.id, "partition", links=cut)
            await net.cut(act.id, cut)
            if net.counts_at_once:
                self._openings[act.id] = Opening(await net.counts(), self._ledger.moment)
            return (), _resolved(act, cut), ()
        alive = tuple(link for link in cut if not self._dead(link))
        began_ns = self._world.testbed.time_ns()
        before = await net.reach(alive, timeout_s=self._world.election_s)
        took_s = (self._world.testbed.time_ns() - began_ns) / 1e9
        self._ledger.began(act.id, "partition", links=cut)
        await net.cut(act.id, cut)
        open_ = tuple(link for link in alive if before.get(link))
        timeout_s = max(0.35 * self._world.election_s, _PATIENCE * took_s if open_ else 0.0)
        after = await net.reach(open_, timeout_s=min(timeout_s, 2 * self._world.election_s))
        proofs = [
            self._cut_off(act.id, link, before.get(link), after.get(link)) for link in cut
        ]
        parameters = _resolved(act, cut)
        if primaries:
            parameters["leader"] = primaries[0]
        return (), parameters, proofs

    def _dead(self, link: tuple[str, str]) -> bool:
        nodes = self._world.testbed.nodes
        return any(end in nodes and down(self._world, end) is not None for end in link)

    def _ends(self, link: tuple[str, str]) -> tuple[str, ...]:
        return tuple(end for end in link if end in self._world.testbed.nodes)

    def _cut_off(
        self, id_: str, link: tuple[str, str], before: bool | None, after: bool | None
    ) -> Proof:
        target = f"{link[0]}->{link[1]}"
        if before is not True:
            seen = "no probe arrived before" if before is False else "not probed"
            proof = mask(self._world, target, self._ends(link), None, seen, self._ledger)
            other = self._ledger.disturbance(link, LINKS, but=id_)
            return proof if proof.masked else Proof(target=target, masked=other, observed=seen)
        seen = {True: "a probe arrived", False: "no probe arrived", None: "not probed"}[after]
        effective = None if after is None else not after
        return mask(self._world, target, self._ends(link), effective, seen, self._ledger)

    async def stop(self, act: Act) -> Outcome:
        """Heal this cut, and probe that a new connection passes."""
        opening = self._openings.pop(act.id, None)
        counts = await self._world.testbed.net.counts() if opening is not None else {}
        await self._world.testbed.net.heal(act.id)
        self._ledger.ended(act.id)
        cut = tuple((str(i), str(j)) for i, j in act.parameters.get("cut", ()))
        if opening is not None:
            links = [self._counted(act.id, link, opening, counts) for link in cut]
            return (), act.parameters, links
        if not _proven(act):
            return (), act.parameters, ()
        alive = tuple(link for link in cut if not self._dead(link))
        reached = await self._world.testbed.net.reach(alive, timeout_s=self._world.election_s)
        return (), act.parameters, [self._healed(link, reached.get(link)) for link in cut]

    def _counted(
        self, id_: str, link: tuple[str, str], opening: Opening, counts: Counts
    ) -> Proof:
        """Whether anything that was sent while the link was cut came out of it."""
        first, last = opening.counts.get(link, LinkCount()), counts.get(link, LinkCount())
        sent, received = last.sent - first.sent, last.received - first.received
        other = self._ledger.disturbance(link, LINKS | HOLDS, since=opening.moment, but=id_)
        seen = f"{sent} sent, {received} arrived"
        target = f"{link[0]}->{link[1]}"
        if received:
            return Proof(target=target, effective=False, observed=seen)
        if other is not None:
            return Proof(target=target, masked=other, observed=seen)
        return Proof(target=target, effective=True if sent else None, observed=seen)

    def _healed(self, link: tuple[str, str], got: bool | None) -> Proof:
        target = f"{link[0]}->{link[1]}"
        other = self._ledger.disturbance(link, LINKS)
        if got is not True and other is not None:
            return Proof(target=target, masked=other, observed="no probe arrived")
        seen = {True: "a probe arrived", False: "no probe arrived", None: "not probed"}[got]
        return mask(self._world, target, self._ends(link), got, seen, self._ledger)

    async def heal(self) -> Outcome:
        """Heal every cut and shape."""
        await self._world.testbed.net.heal(None)
        self._ledger.healed(LINKS)
        self._openings.clear()
        return (), {}, ()
