"""What a cluster's nodes say of its regions and of its placement driver: the proof of its own levers.

Each node is asked by its control socket, never through the system's ``admin``, by which the faults
act: a lever that does nothing changes nothing that is seen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.contracts.test import World
from splitbrain.nemesis.base import Act

__all__ = ["PD_LEADER", "PD_SHAPE", "Seen", "aim", "ask_all", "members", "pd_leader", "regions"]

PD_LEADER = "pd-leader"
"""The role: the node whose member leads the placement driver."""

PD_SHAPE = "isolate-pd-leader"
"""The shape of a partition that cuts it off."""

_ASK_S = 0.5


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One region as its leader tells of it.

    Attributes:
        leader: the node that leads it, by the newest term.
        epoch: (of the peers, of the range).
        start: first key as it is stored.
        end: the key behind the last one; empty: there is none.
        peers: the nodes that have a full peer.
    """

    id: int
    leader: str
    term: int
    epoch: tuple[int, int]
    start: bytes
    end: bytes
    peers: tuple[str, ...]


async def ask_all(world: World, verb: str) -> Mapping[str, Mapping[str, Any]]:
    """The answers of the nodes that run and answer, by node."""

    async def ask(name: str) -> Mapping[str, Any]:
        node = world.testbed.node(name)
        if node.state().status != "running":
            return {}
        try:
            return await node.control(verb, {}, timeout_s=_ASK_S)
        except (ConnectionError, TimeoutError, ValueError):
            return {}

    names = world.spec.nodes
    answers = await asyncio.gather(*map(ask, names))
    return {name: answer for name, answer in zip(names, answers, strict=True) if answer}


async def regions(world: World) -> Mapping[int, Seen]:
    """All regions that somebody leads; by number."""
    statuses, held = await ask_all(world, "status"), await ask_all(world, "regions")
    found: dict[int, Seen] = {}
    for name, answer in held.items():
        told = statuses.get(name, {}).get("regions", {})
        for region in answer["regions"]:
            number = int(region["id"])
            term = int(told.get(str(number), {}).get("term", 0))
            known = found.get(number)
            if region["role"] == "leader" and (known is None or known.term < term):
                found[number] = _seen(world, name, term, region)
    return dict(sorted(found.items()))


def _seen(world: World, name: str, term: int, region: Mapping[str, Any]) -> Seen:
    nodes = world.spec.nodes
    stores = [store for _, store, role in region.get("peers", ()) if role == "voter"]
    return Seen(
        id=int(region["id"]),
        leader=name,
        term=term,
        epoch=tuple(region.get("epoch", (0, 0))),
        start=bytes.fromhex(region.get("start", "")),
        end=bytes.fromhex(region.get("end", "")),
        peers=tuple(nodes[store - 1] for store in stores) or nodes,
    )


async def members(world: World) -> Mapping[str, Mapping[str, Any]]:
    """What the members of the placement driver say of themselves, by node."""
    statuses = await ask_all(world, "status")
    return {name: status["member"] for name, status in statuses.items() if "member" in status}


def pd_leader(found: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The node whose member leads, by the newest term; None: no member says so.

    >>> pd_leader({"n1": {"role": "leader", "term": 2}, "n2": {"role": "leader", "term": 3}})
    'n2'
    """
    leading = [(m.get("term", 0), n) for n, m in found.items() if m.get("role") == "leader"]
    return max(leading)[1] if leading else None


async def aim(world: World, act: Act) -> Act:
    """The act with the node in place of ``pd-leader``; some member where none leads."""
    shaped = not act.targets and act.parameters.get("shape") == PD_SHAPE
    if not act.start or not (shaped or PD_LEADER in act.targets):
        return act
    found = await members(world)
    if not found:
        return act
    stream = world.random.stream("pd-leader", act.id)
    name = pd_leader(found) or stream.choice(sorted(found))
    targets = act.targets or (PD_LEADER,)
    hit = tuple(name if target == PD_LEADER else target for target in targets)
    return msgspec.structs.replace(act, targets=hit)
