"""Many regions in bad weather: splits, changes of peers, transfers, kills, losses of power and cuts,
while clients write and read; then peace, and everything must add up.

Clients route by what some store believes of its regions, which may be long out of date.  What they saw
must be linearizable, key by key.
"""

from __future__ import annotations

from collections import Counter
from random import Random as Draws
from typing import Any

import msgspec

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.cluster import messages as m
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.pd_types import (
    PeerChange,
    PeerChangeKind,
    SplitIds,
)
from splitbrain.cluster.messages.region import Peer, PeerRole
from splitbrain.cluster.store.regions import overlap
from splitbrain.history.history import History
from splitbrain.history.op import Op

NODES = ("n1", "n2", "n3", "n4", "n5")
KEYS = tuple(b"%c" % letter for letter in b"abcdefgh")
CUTS = tuple(b"%c5" % letter for letter in b"abcdefg") + KEYS[1:]
ADD, LEARN, REMOVE = (
    PeerChangeKind.ADD_VOTER,
    PeerChangeKind.ADD_LEARNER,
    PeerChangeKind.REMOVE,
)


class Broken(AssertionError):
    """Something that must never be."""


class RegionStorm:
    """One run; all of it follows from the seed."""

    def __init__(self, new_world: Any, seed: int, **options: Any) -> None:
        self.draws = draws = Draws(f"regions/{seed}")
        knobs = draws.choice(
            (
                {},
                {"snapshot_every": 15, "snapshot_tail": draws.choice((0, 4))},
                {"slow_apply_ms": 60.0, "snapshot_every": 40},
                {"slow_apply_ms": 30.0, "entries_per_append": 1, "snapshot_tail": 0},
                {"lease_reads": True},
                {"lease_reads": True, "slow_apply_ms": 60.0},
            )
        )
        self.world = new_world(
            NODES, seed=seed, first_stores=NODES[:3], max_pending=200, **{**knobs, **options}
        )
        for disk in self.world.disks.values():
            disk.sync_ns = draws.choice((100_000, 1_000_000, 15_000_000))
        self.seen: Counter[str] = Counter()
        self.ops: list[Op] = []
        self.open: dict[str, tuple[Op, int]] = {}
        self.processes = 0
        self.values = 0
        self.ids = 100
        self.faults = True
        self.old: list[Any] = []
        self.applied: dict[tuple[int, int, int], str] = {}

    # -- clients ---------------------------------------------------------------------------------

    def believed(self, key: bytes) -> tuple[str, Any] | None:
        """A store and its idea of the key's region; leaders are preferred, but not always."""
        world, draws = self.world, self.draws
        found = []
        for name, store in world.stores.items():
            for peer in store.peers.values():
                region = peer.region
                if region is not None and region.covers(key):
                    leads = peer.raft.role.value == "leader"
                    found.append((not leads, draws.random(), name, region))
        if not found:
            return None
        _, _, name, region = draws.choice(found) if draws.random() < 0.1 else min(found)
        if draws.random() < 0.15 and self.old:
            region = draws.choice(self.old)
        elif draws.random() < 0.1:
            self.old.append(region)
        return name, region

    def invoke(self, key: bytes, f: str) -> None:
        target = self.believed(key)
        if target is None:
            return
        node, region = target
        self.processes += 1
        self.values += 1
        context = m.Context(region.id, region.epoch.conf_version, region.epoch.version)
        value = self.values if f == "write" else None
        if f == "read" and self.draws.random() < 0.4:
            node, context = self.replica(node, region, context)
        request: Any = m.RawGet(key, context)
        if f == "write":
            request = m.RawPut(key, b"%d" % self.values, context)
        token = self.world.ask(node, request)
        op = Op(process=self.processes, type="invoke", f=f, key=key.decode(), value=value)
        self.record(op)
        self.open[token] = op, self.world.now + 2_000_000_000

    def replica(self, node: str, region: Any, context: m.Context) -> tuple[str, m.Context]:
        """Some store of the region, to be read there."""
        holders = [NODES[peer.store_id - 1] for peer in region.peers]
        alive = [name for name in holders if name in self.world.stores]
        self.seen["replica-reads"] += 1
        return (
            self.draws.choice(alive) if alive else node,
            msgspec.structs.replace(context, replica_read=ReplicaRead.FOLLOWER),
        )

    def record(self, op: Op) -> None:
        self.ops.append(
            Op(
                index=len(self.ops),
                time_ns=self.world.now,
                process=op.process,
                type=op.type,
                f=op.f,
                key=op.key,
                value=op.value,
            )
        )

    def complete(self) -> None:
        """Take the answers that have come, and give up those that are overdue."""
        for token, (op, until) in list(self.open.items()):
            reply = self.world.replies.get(token)
            if reply is None and self.world.now < until:
                continue
            del self.open[token]
            type_, value = "ok", op.value
            if reply is None or isinstance(reply.error, m.UndeterminedResult):
                type_ = "info" if op.f == "write" else "fail"
            elif reply.error is not None:
                type_ = "fail"
                self.seen[type(reply.error).__name__] += 1
            elif op.f == "read":
                value = None if reply.value is None else int(reply.value)
            self.seen[f"{op.f}-{type_}"] += 1
            done = Op(process=op.process, type=type_, f=op.f, key=op.key, value=value)  # type: ignore[arg-type]
            self.record(done)

    # -- trouble ---------------------------------------------------------------------------------

    def leaders(self) -> list[tuple[Any, Any]]:
        return [
            (store, peer)
            for _, store in sorted(self.world.stores.items())
            for _, peer in sorted(store.peers.items())
            if peer.raft.role.value == "leader"
        ]

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    def admin(self) -> None:
        draws, leaders = self.draws, self.leaders()
        if not leaders:
            return
        store, peer = draws.choice(leaders)
        region = peer.region
        kind = draws.random()
        if kind < 0.35 and len({one.region_id for _, one in leaders}) < 7:
            inside = [key for key in CUTS if region.covers(key) and key != region.start]
            if inside:
                count = draws.choice((1, 1, 2))
                keys = sorted(draws.sample(inside, min(count, len(inside))))
                ids = [
                    SplitIds(self.new_id(), tuple(self.new_id() for _ in region.peers))
                    for _ in keys
                ]
                self.seen["splits"] += peer.split(keys, ids) is None
        elif kind < 0.85:
            self.seen["changes"] += self.change(peer, region)
        else:
            to = draws.choice(region.peers)
            self.seen["transfers"] += peer.raft.transfer_leader(NODES[to.store_id - 1])
        store.wake(peer)
        store.work()

    def change(self, peer: Any, region: Any) -> bool:
        draws = self.draws
        if peer.raft.outgoing:
            return peer.change_peers((), joint=True) is None
        free = [n for n in range(1, 6) if region.peer_on(n) is None]
        learners = [one for one in region.peers if one.role is PeerRole.LEARNER]
        voters = [one for one in region.peers if one.role is PeerRole.VOTER]
        kind = draws.random()
        if learners and kind < 0.3:
            return peer.change_peers([PeerChange(ADD, draws.choice(learners))]) is None
        if learners and kind < 0.5:
            changes = [PeerChange(ADD, draws.choice(learners))]
            changes.append(PeerChange(LEARN, draws.choice(voters)))
            return peer.change_peers(changes, joint=True) is None
        if learners and kind < 0.6:
            return peer.change_peers([PeerChange(REMOVE, draws.choice(learners))]) is None
        if free and kind < 0.85:
            new = Peer(self.new_id(), draws.choice(free))
            kind_ = draws.choice((ADD, LEARN, LEARN))
            return peer.change_peers([PeerChange(kind_, new)]) is None
        if len(voters) > 3:
            return peer.change_peers([PeerChange(REMOVE, draws.choice(voters))]) is None
        return False

    def fault(self) -> None:
        """One at random; the last one is mended first, more often than not."""
        world, draws = self.world, self.draws
        if draws.random() < 0.8:
            world.mend()
        alive = [name for name in NODES if name in world.stores]
        kind = draws.choice(("none", "cut", "one-way", "kill", "power", "power", "power-all"))
        self.seen[kind] += 1
        if len(alive) < 4 and kind != "none":
            return
        if kind == "cut":
            world.isolate(draws.choice(alive))
        elif kind == "one-way":
            node = draws.choice(alive)
            world.cuts |= {(other, node) for other in alive if other != node}
        elif kind == "kill":
            world.kill(draws.choice(alive))
        elif kind == "power":
            world.power(draws.choice(alive), torn_bytes=draws.randrange(300))
        elif kind == "power-all":
            world.power(*alive, torn_bytes=draws.randrange(300))
            world.start()

    # -- what must hold --------------------------------------------------------------------------

    def look(self) -> None:
        """Replicas of a region are equal where they have applied the same; leaders share no key."""
        for store in self.world.stores.values():
            for peer in store.peers.values():
                if peer.region is None:
                    continue
                raft = peer.raft
                place = (peer.region_id, raft.applied_index, raft.log.term(raft.applied_index))
                digest = f"{peer.state.digest()} {peer.region}"
                if self.applied.setdefault(place, digest) != digest:
                    raise Broken(f"replicas differ at {place}: {self.applied[place]}, {digest}")
        serving = [
            peer.region for _, peer in self.leaders() if peer.raft.lease_valid(self.world.now)
        ]
        for place, one in enumerate(serving):
            for other in serving[:place]:
                if one.id != other.id and overlap(one, other.start, other.end):
                    raise Broken(f"two leaders serve the same keys: {one}, {other}")

    def check_leaders(self) -> None:
        """One leader for each term of a region."""
        leaders: dict[tuple[int, int], str] = {}
        for node, kind, fields in self.world.events:
            if kind == "leader":
                place = (fields.get("region", 1), fields["term"])
                if leaders.setdefault(place, node) != node:
                    raise Broken(f"two leaders of region and term {place}")

    def run(self, steps: int) -> Counter[str]:
        """Trouble for ``steps`` of 20 ms, then peace, then judgement."""
        world, draws = self.world, self.draws
        world.start()
        world.run_ms(1500)
        for step in range(steps):
            if step % 70 == 69:
                self.fault()
            if draws.random() < 0.15:
                self.admin()
            for _ in range(draws.randrange(4)):
                self.invoke(draws.choice(KEYS), draws.choice(("write", "write", "read")))
            world.run_ms(20)
            self.complete()
            if step % 5 == 0:
                self.look()
        world.mend()
        for _ in range(60):
            world.run_ms(500)
            self.complete()
            self.look()
            if self.settled():
                break
        else:
            raise Broken("no peace: " + "; ".join(self.describe()))
        self.read_all()
        self.check_leaders()
        self.judge()
        return self.seen

    def settled(self) -> bool:
        """Each key has a leader, and all its peers have all that it has."""
        leaders = [peer for _, peer in self.leaders() if peer.raft.knows_all]
        for key in KEYS:
            holders = [peer for peer in leaders if peer.region.covers(key)]
            if len(holders) != 1:
                return False
        for leader in leaders:
            for meta in leader.region.peers:
                store = self.world.stores[NODES[meta.store_id - 1]]
                peer = store.peers.get(leader.region_id)
                if peer is None or peer.peer_id != meta.id or peer.region != leader.region:
                    return False
                if peer.raft.applied_index != leader.raft.applied_index:
                    return False
        self.seen["regions"] = len(leaders)
        return True

    def describe(self) -> list[str]:
        return [
            f"{name}/{peer.region_id}/{peer.peer_id}: {peer.raft.role.value} term {peer.raft.term} "
            f"applied {peer.raft.applied_index} {peer.region}"
            for name, store in sorted(self.world.stores.items())
            for peer in store.peers.values()
        ]

    def read_all(self) -> None:
        for key in KEYS:
            for _ in range(20):
                before = self.seen["read-ok"]
                self.invoke(key, "read")
                self.world.run_ms(300)
                self.complete()
                if self.seen["read-ok"] > before:
                    break
            else:
                raise Broken(f"nobody answers for {key!r}")

    def judge(self) -> None:
        result = LinearizableChecker("register").check(History(self.ops), {}, Budget(60.0))
        if result.verdict != "valid":
            raise Broken(f"{result.verdict}: {result}")
