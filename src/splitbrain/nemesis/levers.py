"""The system's own levers as faults: leaderships, regions and peers move while clients work.

transfer         one region's leadership goes to another of its peers
shuffle-leaders  that of every region
split            a region is cut in two, in its middle or at a random key, by the placement driver
move-peer        a region's peer is replaced by one on another store, by the placement driver
pd-transfer      the placement driver's own leadership goes to another member
evict-leader     one store leads nothing, until the stop
compact          the nodes take snapshots of their regions and cut their logs

They act through ``RunningSystem.admin`` and are proven by what the nodes say afterwards (see
``looks``), which is waited for: a leader may refuse while its peers lag, so an act is done again.
Where another fault holds a node or a link, nothing is demanded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.contracts.fault import Fault, Proof
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.errors import Unsupported
from splitbrain.nemesis import looks
from splitbrain.nemesis.base import Act, Draft, Outcome, gather_in_order, resolve_targets
from splitbrain.nemesis.hands import Hands
from splitbrain.nemesis.ledger import Ledger
from splitbrain.nemesis.looks import Seen

__all__ = ["LEVERS", "LeverFamily", "key_between", "refuse_missing_levers"]

LEVERS: Mapping[str, str] = {
    "transfer": "transfer-leader",
    "shuffle-leaders": "transfer-leader",
    "compact": "compact",
    "split": "pd-split-region",
    "move-peer": "pd-move-peer",
    "evict-leader": "pd-evict-leader",
    "pd-transfer": "pd-transfer-leader",
}
"""The faults and the admin action by which each acts; ``pd-`` ones need a placement driver."""

_LEAST = {
    "transfer": 2,
    "shuffle-leaders": 2,
    "move-peer": 4,
    "pd-transfer": 3,
    "evict-leader": 2,
}
"""Fewer nodes than these leave nothing to move, or nowhere to go."""


def refuse_missing_levers(spec: TestSpec, actions: Collection[str]) -> None:
    """Refuse (Unsupported) faults and targets by levers that the system under test has not.

    Args:
        spec: of the test; its vocabulary is that of its workload.
        actions: the system's ``admin_actions``.
    """
    asked = [*spec.nemesis, *(fault.f.removeprefix("start-") for fault in spec.schedule)]
    for name in asked:
        lever = LEVERS.get(name)
        if lever is None:
            continue
        if lever not in actions:
            raise Unsupported(f"fault {name!r}: {spec.system} has no admin action {lever!r}")
        if lever.startswith("pd-") and spec.vocabulary != "txn":
            raise Unsupported(f"fault {name!r} {_no_driver(spec)}")
        if len(spec.nodes) < _LEAST.get(name, 1):
            raise Unsupported(
                f"fault {name!r} needs {_LEAST[name]} nodes or more, and this test has "
                f"{len(spec.nodes)}; raise --nodes"
            )
        if name == "move-peer" and _everywhere(spec):
            raise Unsupported(
                "fault 'move-peer' needs a store without a peer of the region: raise --nodes, or "
                "give --option replicas=3"
            )
    words = [str(spec.options.get(name, "")) for name in ("targets", "shapes")]
    words += [word for fault in spec.schedule for word in fault.targets]
    words += [str(fault.parameters.get("shape", "")) for fault in spec.schedule]
    named = {word.strip() for joined in words for word in joined.split(",")}
    for word in sorted(named & {looks.PD_LEADER, looks.PD_SHAPE}):
        if spec.vocabulary != "txn" or "pd-transfer-leader" not in actions:
            raise Unsupported(f"{word!r} {_no_driver(spec)}")


def _everywhere(spec: TestSpec) -> bool:
    """Has each region a peer on every store? So it is with three or five, if nothing is said."""
    count = len(spec.nodes)
    return int(spec.options.get("replicas", min(5, count - 1 + count % 2))) >= count


def _no_driver(spec: TestSpec) -> str:
    return (
        f"needs a placement driver, and {spec.system} under the workload {spec.workload!r} has "
        "none; choose a workload of transactions, such as append"
    )


def key_between(start: bytes, end: bytes, share: float) -> bytes | None:
    """A stored key inside a region, this share of the way from its start; None: there is no room.

    It is text, as are all keys of workloads, and as bounds of regions are told in dumps.

    >>> key_between(b"", b"", 0.5).hex()
    '3f3f3f3f3f3f4000fe'
    >>> key_between(encode_key(b"a"), encode_key(b"a" + bytes(7)), 0.5) is None
    True
    """
    low = int.from_bytes(start[:8].ljust(8, b"\0"), "big")
    high = int.from_bytes(end[:8].ljust(8, b"\0") if end else b"\x7f" * 8, "big")
    middle = max(low, low + int((high - low) * share))
    drawn = min(middle, (1 << 64) - 1).to_bytes(8, "big")
    key = encode_key(bytes(byte & 0x7F for byte in drawn).rstrip(b"\0"))
    return key if start < key and (not end or key < end) else None


class LeverFamily:
    """start-<lever>, proven by what the nodes say before and after; only evict-leader lasts."""

    faults = frozenset(LEVERS)

    def __init__(self, world: World, ledger: Ledger | None = None) -> None:
        self._world = world
        self._hands = Hands(world, ledger or Ledger())
        self._evicted: dict[str, str] = {}
        """Nodes that are to lead nothing, by the id of their fault."""

    def kinds(self, name: str) -> frozenset[Fault]:
        """None of the substrate's kinds: the package itself has to be shown effective."""
        return frozenset()

    def draft(self, name: str, stream: Stream) -> Draft:
        """What moves where is drawn when it happens, for only then it is known what there is."""
        targets = ("all",) if name == "compact" else ()
        return Draft(fault=name, targets=targets, lasting=name == "evict-leader", aimed=True)

    async def start(self, act: Act) -> Outcome:
        """Pull the lever and look for what it should do."""
        stream = self._world.random.stream("lever", act.id)
        if act.fault == "compact":
            return await self._compact(act)
        if act.fault == "pd-transfer":
            return await self._pd_transfer(act, stream)
        seen = await self._led()
        if not seen:
            return (), act.parameters, (self._hands.proof("cluster", None, "no region is led"),)
        if act.fault == "shuffle-leaders":
            return await self._shuffle(act, seen, stream)
        region = seen.get(int(act.parameters.get("region", 0))) or stream.choice(
            [*seen.values()]
        )
        if act.fault == "transfer":
            return await self._transfer(act, region, stream)
        if act.fault == "split":
            return await self._split(act, region, stream)
        if act.fault == "move-peer":
            return await self._move_peer(act, region, stream)
        return await self._evict(act, seen, stream)

    async def _led(self) -> Mapping[int, Seen]:
        """The regions, once somebody leads one: after a kill that takes an election."""

        async def seen() -> str | None:
            return "led" if await looks.regions(self._world) else None

        await self._hands.until(lambda: looks.regions(self._world), seen)
        return await looks.regions(self._world)

    async def stop(self, act: Act) -> Outcome:
        """Let the store lead again."""
        node = self._evicted.get(act.id)
        if node is None:
            return act.targets, act.parameters, ()
        return act.targets, act.parameters, (await self._lift(act.id, node),)

    async def heal(self) -> Outcome:
        """Lift all evictions."""
        for id_, node in tuple(self._evicted.items()):
            await self._lift(id_, node)
        return (), {}, ()

    # -- leaderships -----------------------------------------------------------------------------

    async def _transfer(self, act: Act, region: Seen, stream: Stream) -> Outcome:
        to = self._hands.other(act, region.peers, region.leader, stream)
        if to is None:
            why = f"region {region.id} has one peer"
            return (
                (region.leader,),
                act.parameters,
                (self._hands.proof(region.leader, None, why),),
            )

        async def seen() -> str | None:
            now = (await looks.regions(self._world)).get(region.id)
            return f"{to} leads region {region.id}" if now and now.leader == to else None

        found = await self._hands.until(lambda: self._hand_over(region.id, to), seen)
        parameters = {**act.parameters, "region": region.id, "from": region.leader, "to": to}
        words = found or f"{region.leader} led region {region.id}, and {to} does not lead it"
        return (
            (region.leader,),
            parameters,
            (self._hands.proof(region.leader, bool(found), words),),
        )

    async def _shuffle(self, act: Act, before: Mapping[int, Seen], stream: Stream) -> Outcome:
        wanted = {
            region.id: to
            for region in before.values()
            if (to := self._hands.other(act, region.peers, region.leader, stream)) is not None
        }

        async def shuffle() -> None:
            await gather_in_order([self._hand_over(n, to) for n, to in wanted.items()])

        async def seen() -> str | None:
            now = await looks.regions(self._world)
            moved = [
                n for n in wanted if n in now and now[n].leader != before[n].leader
            ]  # another than the wanted one is as good: some peers lag
            return (
                f"{len(moved)} of {len(before)} regions have another leader" if moved else None
            )

        found = await self._hands.until(shuffle, seen)
        names = tuple(dict.fromkeys(region.leader for region in before.values()))
        words = found or f"all {len(before)} regions have the leaders that they had"
        parameters = {**act.parameters, "regions": len(before)}
        return names, parameters, (self._hands.proof(names[0], bool(found), words),)

    async def _hand_over(self, region: int, to: str) -> None:
        now = (await looks.regions(self._world)).get(region)
        if now is not None and now.leader != to:
            await self._hands.admin("transfer-leader", now.leader, region=region, to=to)

    async def _pd_transfer(self, act: Act, stream: Stream) -> Outcome:
        found = await looks.members(self._world)
        before = looks.pd_leader(found)
        to = self._hands.other(act, tuple(found), before or "", stream)
        if before is None or to is None:
            words = "no member of the placement driver leads, or none can follow"
            return (), act.parameters, (self._hands.proof("pd", None, words),)

        async def hand_over() -> None:
            now = looks.pd_leader(await looks.members(self._world))
            if now is not None:
                await self._hands.admin("pd-transfer-leader", now, to=to)

        async def seen() -> str | None:
            now = looks.pd_leader(await looks.members(self._world))
            return f"{now} leads the placement driver" if now == to else None

        done = await self._hands.until(hand_over, seen)
        parameters = {**act.parameters, "from": before, "to": to}
        words = done or f"{before} led the placement driver, and {to} does not"
        return (before,), parameters, (self._hands.proof(before, bool(done), words),)

    async def _evict(self, act: Act, before: Mapping[int, Seen], stream: Stream) -> Outcome:
        leaders = sorted({region.leader for region in before.values()})
        given = [name for name in act.targets if name in self._world.spec.nodes]
        node = given[0] if given else stream.choice(leaders)

        async def seen() -> str | None:
            now = await looks.regions(self._world)
            led = [region.id for region in now.values() if region.leader == node]
            return f"{node} leads no region" if now and not led else None

        self._evicted[act.id] = node
        done = (
            None
            if node not in leaders
            else await self._hands.until(
                lambda: self._hands.pd("pd-evict-leader", store=self._hands.store(node)),
                seen,
                rounds=3,
            )
        )
        words = done or f"{node} leads some of {len(before)} regions"
        effective = bool(done) if node in leaders else None
        return (node,), act.parameters, (self._hands.proof(node, effective, words),)

    async def _lift(self, id_: str, node: str) -> Proof:
        async def seen() -> str | None:
            found = await looks.members(self._world)
            cluster = found.get(looks.pd_leader(found) or "", {}).get("cluster")
            free = cluster is not None and self._hands.store(node) not in cluster["evicting"]
            return f"{node} may lead again" if free else None

        self._evicted.pop(id_, None)
        if node in self._evicted.values():  # another fault's still
            return self._hands.proof(node, None, f"{node} is held by another eviction")
        done = await self._hands.until(
            lambda: self._hands.pd("pd-evict-leader", store=self._hands.store(node), stop=True),
            seen,
            rounds=3,
        )
        if done is None:
            self._evicted[id_] = node  # the last heal tries again
        return self._hands.proof(node, bool(done), done or f"{node} is evicted still")

    # -- regions ---------------------------------------------------------------------------------

    async def _split(self, act: Act, region: Seen, stream: Stream) -> Outcome:
        drawn = key_between(region.start, region.end, stream.random())
        keys = act.parameters.get("keys")
        if keys is None:
            middle = stream.random() < 2 / 3 or drawn is None
            keys = [] if middle else [drawn.hex()] if drawn else []
        tries = 0

        async def cut() -> None:
            nonlocal tries, keys
            if tries and drawn is not None:  # too few keys to have a middle
                keys = [drawn.hex()]
            tries += 1
            await self._hands.pd("pd-split-region", region=region.id, keys=keys)

        async def seen() -> str | None:
            now = await looks.regions(self._world)
            parts = [r.id for r in now.values() if _within(r, region)]
            known = await self._hands.listed()
            both = len(parts) > 1 and known.issuperset(parts)
            return f"region {region.id} is now {', '.join(map(str, parts))}" if both else None

        found = await self._hands.until(cut, seen, rounds=4)
        parameters = {**act.parameters, "region": region.id, "keys": keys}
        words = found or f"region {region.id} is whole"
        return (
            (region.leader,),
            parameters,
            (self._hands.proof(region.leader, bool(found), words),),
        )

    async def _move_peer(self, act: Act, region: Seen, stream: Stream) -> Outcome:
        nodes = self._world.spec.nodes
        given = act.parameters.get("from")
        source = given if given in region.peers else stream.choice(region.peers)
        alive = await looks.ask_all(self._world, "status")
        free = tuple(n for n in nodes if n in alive and n not in region.peers)
        to = self._hands.other(act, free, "", stream)
        if to is None:
            why = f"region {region.id} has peers on all stores that answer"
            return (source,), act.parameters, (self._hands.proof(source, None, why),)

        async def move() -> None:
            stores = {"from": self._hands.store(source), "to": self._hands.store(to)}
            await self._hands.pd("pd-move-peer", region=region.id, **stores)

        async def seen() -> str | None:
            now = (await looks.regions(self._world)).get(region.id)
            moved = now is not None and to in now.peers and source not in now.peers
            return (
                f"peers of region {region.id}: {', '.join(now.peers)}"
                if moved and now
                else None
            )

        found = await self._hands.until(move, seen, rounds=4)
        parameters = {**act.parameters, "region": region.id, "from": source, "to": to}
        words = found or f"region {region.id} has not moved from {source} to {to}"
        return (source,), parameters, (self._hands.proof(source, bool(found), words),)

    async def _compact(self, act: Act) -> Outcome:
        names = resolve_targets(self._world, act, await self._world.running.primaries())
        before = await looks.ask_all(self._world, "status")
        proofs = []
        for name in names:
            was = _snapshots(before.get(name, {}))
            for number in was:
                await self._hands.attempt(
                    partial(self._hands.admin, "compact", name, region=number)
                )
            now = _snapshots((await looks.ask_all(self._world, "status")).get(name, {}))
            moved = [n for n, (at, _) in now.items() if n in was and at > was[n][0]]
            idle = all(at == applied for at, applied in was.values())
            words = f"{len(moved)} of {len(was)} regions have a newer snapshot"
            proofs.append(self._hands.proof(name, None if idle else bool(moved), words))
        return names, act.parameters, proofs


def _within(one: Seen, whole: Seen) -> bool:
    """Is one region's range part of another's?"""
    ends_before = not whole.end or (bool(one.end) and one.end <= whole.end)
    return one.start >= whole.start and ends_before


def _snapshots(status: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """By region: the index of its last snapshot, and the applied one."""
    return {
        int(number): (int(told["snapshot"]), int(told["applied"]))
        for number, told in status.get("regions", {}).items()
        if "snapshot" in told
    }
