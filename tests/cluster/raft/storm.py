"""Random trouble for a :class:`World`, from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import ConfChange, ConfChangeKind, Message, Role

from .world import TICK_NS, Broken, Member, World

__all__ = ["LEASE", "Storm"]

LEASE: Mapping[str, object] = {
    "lease_reads": True,
    "check_quorum": True,
    "lease_ns": 6 * TICK_NS,
    "tick_ns": TICK_NS,
}
"""Safe for clocks that differ by up to 15 %: 9 ticks / 1.15 > 1.1 * 6 ticks / 0.85."""

OPTIONS: Mapping[str, object] = {"election_ticks": 10, "heartbeat_ticks": 3}


class Storm:
    """Rounds of one tick each: messages with delay, loss, doubling; disks with delay; faults."""

    def __init__(
        self,
        seed: int,
        *,
        size: int,
        core: type[Raft] = Raft,
        options: Mapping[str, object] | None = None,
        faults: float = 1.0,
        power: bool = True,
        drift: float = 0.0,
        calm: bool = False,
        membership: bool = False,
        joint: bool = False,
    ) -> None:
        self.stream = random.Random(f"storm/{seed}")
        draw = self.stream
        self.names = tuple("abcde"[:size])
        self.round = 0
        self.queue: list[tuple[int, int, int, Message]] = []
        self.sent = 0
        self.faults, self.power, self.calm = faults, power, calm
        self.cut: set[tuple[str, str]] = set()
        self.down_until: dict[str, int] = {}
        self.paused: dict[str, int] = {}
        self.loss = draw.choice((0.0, 0.02, 0.1, 0.25))
        self.double = draw.choice((0.0, 0.05, 0.2))
        self.slow_disk = draw.choice((0.0, 0.5, 0.9))
        self.slow_apply = draw.choice((0.0, 0.0, 0.7))
        self.rate = draw.choice((0.1, 0.5, 1.5))
        if calm:
            self.faults = self.loss = self.double = 0.0
        self.membership, self.joint, self.changes = membership, joint, 0
        self.value = 0
        self.restarts = 0
        self.leases = 0
        knobs = {
            "max_entries_per_append": draw.choice((1, 3, 64)),
            "max_inflight": draw.choice((1, 4, 256)),
            "pre_vote": draw.random() < 0.85,
            "check_quorum": draw.random() < 0.85,
        }
        if draw.random() < 0.15:
            knobs["election_timeout_ticks"] = 11
        self.world = World(
            self.names,
            seed=seed,
            core=core,
            options={**OPTIONS, **knobs, **(options or {})},
            send=self.send,
            rates={name: 1.0 + drift * draw.uniform(-1.0, 1.0) for name in self.names},
        )
        self.ticked = dict.fromkeys(self.names, 0)

    # -- the network -----------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        draw = self.stream
        if (message.sender, message.to) in self.cut or draw.random() < self.loss:
            return
        for _ in range(2 if draw.random() < self.double else 1):
            delay = 1 if draw.random() < 0.7 else draw.randrange(1, 4)
            if draw.random() < 0.01:
                delay = draw.randrange(5, 60)
            self.sent += 1
            order = draw.randrange(1 << 30)
            if self.calm:
                delay, order = 1, 0
            heapq.heappush(self.queue, (self.round + delay, order, self.sent, message))

    def deliver(self) -> None:
        queue, members = self.queue, self.world.members
        while queue and queue[0][0] <= self.round:
            message = heapq.heappop(queue)[-1]
            member = members[message.to]
            if not member.up or (message.sender, message.to) in self.cut:
                continue
            if member.name in self.paused:
                self.sent += 1
                heapq.heappush(queue, (self.paused[member.name], 0, self.sent, message))
                continue
            member.raft.step(message, member.now_ns())
            self.pump(member)

    def pump(self, member: Member) -> None:
        draw = self.stream
        if member.raft.snapshot_wanted:
            member.compact(2)
        while member.raft.has_ready():
            member.take()
            if draw.random() >= self.slow_apply:
                member.apply()
            while member.open and draw.random() >= self.slow_disk:
                member.persist()

    # -- trouble ---------------------------------------------------------------------------------

    def trouble(self) -> None:
        draw, world = self.stream, self.world
        if draw.random() < 0.03:
            member = world.members[draw.choice(self.names)]
            if member.up:
                member.compact(draw.choice((0, 2, 10)))
        if self.faults <= 0:
            return
        if draw.random() < 0.02 * self.faults:
            self.cut = self._draw_cut()
        if draw.random() < 0.015 * self.faults:
            self.crash(draw.choice(self.names))
        if draw.random() < 0.01 * self.faults:
            name = draw.choice(self.names)
            self.paused.setdefault(name, self.round + draw.choice((2, 15, 40)))
        leader = world.leader()
        if leader is not None and draw.random() < 0.01 * self.faults:
            leader.raft.transfer_leader(draw.choice(self.names))
            self.pump(leader)
        if leader is not None and self.joint and draw.random() < 0.15:
            self.changes += self._joint_change(leader) is not None
            self.pump(leader)
        elif leader is not None and self.membership and draw.random() < 0.1:
            kind = draw.choice((ConfChangeKind.ADD_VOTER, *ConfChangeKind))
            change = ConfChange(kind, draw.choice(self.names))
            if kind is ConfChangeKind.ADD_VOTER or len(leader.raft.voters) > 2:
                self.changes += leader.raft.propose_conf(change) is not None
                self.pump(leader)

    def _joint_change(self, leader: Member) -> object:
        """Leave a joint configuration, or enter one; learners are removed in between."""
        draw, raft = self.stream, leader.raft
        if raft.outgoing:
            return raft.propose_conf(joint=True)
        if raft.learners and draw.random() < 0.3:
            return raft.propose_conf(ConfChange(ConfChangeKind.REMOVE, raft.learners[0]))
        kinds = (ConfChangeKind.ADD_VOTER, ConfChangeKind.ADD_VOTER, ConfChangeKind.ADD_LEARNER)
        names = draw.sample(self.names, draw.randrange(1, 4))
        changes = [ConfChange(draw.choice(kinds), name) for name in names]
        demoted = {one.node for one in changes if one.kind is ConfChangeKind.ADD_LEARNER}
        if len(set(raft.voters) - demoted) < 2:
            return None
        return raft.propose_conf(*changes, joint=True)

    def _draw_cut(self) -> set[tuple[str, str]]:
        draw, names = self.stream, self.names
        kind = draw.random()
        leader = self.world.leader()
        if kind < 0.35:
            return set()
        if kind < 0.55 and leader is not None:
            side = {leader.name}
        else:
            side = set(draw.sample(names, draw.randrange(1, len(names))))
        cut = {(a, b) for a in names for b in names if (a in side) != (b in side)}
        if kind > 0.85:
            cut = {pair for pair in cut if pair[0] in side}  # one way
        elif kind > 0.75:
            bridge = draw.choice(names)
            cut = {pair for pair in cut if bridge not in pair}
        return cut

    def crash(self, name: str) -> None:
        draw, member = self.stream, self.world.members[name]
        if not member.up:
            return
        self.paused.pop(name, None)
        lost = self.power and draw.random() < 0.5
        member.stop(draw.randrange(len(member.unsynced) + 1) if lost else None)
        self.down_until[name] = self.round + draw.choice((1, 5, 40))
        self.restarts += 1

    # -- a run -----------------------------------------------------------------------------------

    def step(self) -> None:
        draw, world = self.stream, self.world
        self.round += 1
        world.round = self.round
        for name, until in sorted(self.down_until.items()):
            if until <= self.round:
                del self.down_until[name]
                world.members[name].start()
        for name in [name for name, until in self.paused.items() if until <= self.round]:
            del self.paused[name]
            self.leases += world.lease_read(world.members[name])  # before any tick: the worst
        self.deliver()
        for member in self.awake():
            self.tick(member)
            if member.open and draw.random() < 0.5:
                member.persist()
            if member.to_apply and draw.random() < 0.5:
                member.apply(draw.randrange(1, 5))
            self.pump(member)
        self.clients()
        self.trouble()

    def awake(self) -> list[Member]:
        return [member for member in self.world.live() if member.name not in self.paused]

    def tick(self, member: Member) -> None:
        """As many ticks as the node's own clock shows; sometimes late, never early."""
        now_ns = member.now_ns()
        due = now_ns // TICK_NS
        behind = due - self.ticked[member.name]
        self.ticked[member.name] = due
        if self.stream.random() < 0.97:
            for _ in range(min(behind, 2)):  # ticks missed in a pause are not made up for
                member.raft.tick(now_ns)

    def clients(self) -> None:
        """Every node that takes itself for the leader is asked, as clients would."""
        draw, world = self.stream, self.world
        for member in self.awake():
            if member.raft.role is not Role.LEADER:
                continue
            if draw.random() < self.rate:
                self.value += 1
                world.propose(member, b"%d" % self.value)
            if draw.random() < self.rate:
                self.value += 1
                world.read(member, b"r%d" % self.value)
            self.leases += world.lease_read(member)
            self.pump(member)

    def run(self, rounds: int) -> World:
        """Trouble for ``rounds``, then peace until all agree."""
        for _ in range(rounds):
            self.step()
        self.calm = True
        self.faults = self.loss = self.double = self.slow_disk = self.slow_apply = 0.0
        self.rate = min(self.rate, 0.1)
        self.cut = set()
        self.down_until = dict.fromkeys(self.down_until, 0)
        self.paused = dict.fromkeys(self.paused, 0)
        target = -1
        for quiet in range(900):
            self.step()
            if quiet == 60:
                target = self.world.commit_max
            if quiet > 60 and self._settled(target):
                break
        else:
            raise Broken("no-progress", f"members do not agree; {self.describe()}")
        self.world.check_end()
        return self.world

    def _settled(self, target: int) -> bool:
        """All members that the leader knows are up and have applied more than ``target``."""
        world = self.world
        leader = world.leader()
        if leader is None:
            return False
        names = leader.raft.voters + leader.raft.learners
        return all(
            world.members[name].up and world.members[name].raft.applied_index > target
            for name in names
        )

    def describe(self) -> str:
        return "; ".join(str(member.raft.status()) for member in self.world.members.values())
