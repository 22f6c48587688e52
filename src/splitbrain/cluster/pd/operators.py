"""Operators: plans for one region, carried out step by step with its heartbeats.

An operator is made by a checker (something is wrong with the region) or a scheduler (the cluster is
not even), or by hand.  There is one per region at most; a more urgent one takes the place of another.
Each heartbeat of the region moves it: goals that are reached are passed, the next step goes back with
the answer, and again after a while if nothing happened.  It ends

    success     all goals are reached
    replaced    by one of a higher priority
    stale       somebody else changed the membership, its next goal has become impossible, or the
                store that was to get a peer is down or to be emptied
    timeout     its time is over, or no heartbeat came to begin it
    removed     the region is gone

It is not stored: a new leader of PD makes its own, and leaves a joint change that it finds.
(TiKV's PD: ``pkg/schedule/operator``.)
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from splitbrain.cluster.messages.pd_types import Step
from splitbrain.cluster.messages.region import Epoch
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.goals import AddLearner, Goal, Lead, Remove, Swap
from splitbrain.cluster.pd.regions import RegionInfo

__all__ = ["Kind", "Operator", "Operators"]

STARTS_WITHIN = 3
"""Heartbeats of the region by which it must have begun."""


class Kind(enum.IntEnum):
    """What an operator is for; the larger, the more urgent."""

    LEADER = 0
    """Leaderships are to be even."""
    REGION = 1
    """Peers are to be even."""
    ADMIN = 2
    """Somebody wants it so: scatter, evict, split."""
    REPLICA = 3
    """Something is missing, dead or too much."""


class Operator(msgspec.Struct, frozen=True):
    """A plan, as it was made: for ``region_id`` at ``epoch``."""

    name: str
    kind: Kind
    region_id: int
    epoch: Epoch
    goals: tuple[Goal, ...]

    @property
    def targets(self) -> tuple[int, ...]:
        """Stores that get a new peer."""
        return tuple(goal.peer.store_id for goal in self.goals if isinstance(goal, AddLearner))

    def influence(self, info: RegionInfo) -> tuple[Counter[int], Counter[int]]:
        """What it will change once done: (leaders, peers) by store."""
        leaders: Counter[int] = Counter()
        peers: Counter[int] = Counter()
        for goal in self.goals:
            if isinstance(goal, Lead):
                leaders[goal.store_id] += 1
                leaders[info.leader_store] -= 1
            elif (
                isinstance(goal, AddLearner) and info.region.peer_on(goal.peer.store_id) is None
            ):
                peers[goal.peer.store_id] += 1
            elif isinstance(goal, Remove) and not goal.done(info):
                peers[goal.peer.store_id] -= 1
        return leaders, peers


class _Running:
    """How far an operator is."""

    def __init__(self, operator: Operator, until_ns: int) -> None:
        self.operator = operator
        self.until_ns = until_ns
        self.at = 0
        self.started = False
        self.sent_ns: int | None = None


class Operators:
    """All that run.

    Attributes:
        ended: how many ended in which way, by ``name:way``.
    """

    def __init__(self, config: PdConfig) -> None:
        self._config = config
        self._running: dict[int, _Running] = {}
        self.ended: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Operator]:
        return (running.operator for running in self._running.values())

    def get(self, region_id: int) -> Operator | None:
        """The one of a region."""
        running = self._running.get(region_id)
        return running.operator if running is not None else None

    def room(self, kind: Kind) -> int:
        """How many more of that kind may run."""
        limit = {
            Kind.LEADER: self._config.leader_operators,
            Kind.REGION: self._config.region_operators,
        }.get(kind, self._config.replica_operators)
        return limit - sum(one.kind is kind for one in self)

    def incoming(self, store_id: int) -> int:
        """Peers on their way to a store."""
        return sum(store_id in operator.targets for operator in self)

    def add(self, operator: Operator, info: RegionInfo | None, now_ns: int) -> bool:
        """Let it run; False if the region has changed since, or has a better one."""
        if info is None or info.region.epoch != operator.epoch or self.room(operator.kind) < 1:
            return False
        running = self._running.get(operator.region_id)
        if running is not None:
            if running.operator.kind >= operator.kind:
                return False
            self._end(running, "replaced")
        start_ns = self._config.ns(STARTS_WITHIN * self._config.region_heartbeat_s)
        self._running[operator.region_id] = _Running(operator, now_ns + start_ns)
        return True

    def removed(self, region_id: int) -> None:
        """The region is gone."""
        running = self._running.get(region_id)
        if running is not None:
            self._end(running, "removed")

    def expire(self, now_ns: int) -> None:
        """End those whose time is over, whether or not their regions are heard."""
        for running in [one for one in self._running.values() if now_ns > one.until_ns]:
            self._end(running, "timeout")

    def abandon(self, stores: Iterable[int]) -> None:
        """Nothing can be put on these any more: end what would."""
        lost = set(stores)
        for running in list(self._running.values()):
            if not lost.isdisjoint(running.operator.targets):
                self._end(running, "stale")

    def next_step(self, info: RegionInfo, now_ns: int) -> Step | None:
        """The region was heard: move its operator; what its leader is to do now, if anything."""
        running = self._running.get(info.region.id)
        if running is None:
            return None
        if now_ns > running.until_ns:
            self._end(running, "timeout")
            return None
        if not running.started:
            running.started = True
            running.until_ns = now_ns + self._time_ns(running.operator)
        goals = running.operator.goals
        while running.at < len(goals) and goals[running.at].done(info):
            running.at += 1
            running.sent_ns = None
        if running.at == len(goals):
            self._end(running, "success")
            return None
        if self._foreign(running, info) or not goals[running.at].possible(info):
            self._end(running, "stale")
            return None
        resend_ns = self._config.ns(self._config.resend_s)
        if running.sent_ns is not None and now_ns - running.sent_ns < resend_ns:
            return None
        running.sent_ns = now_ns
        return goals[running.at].step(info)

    def _foreign(self, running: _Running, info: RegionInfo) -> bool:
        """Has ``conf_version`` grown by more than the operator's own goals explain?"""
        operator = running.operator
        own = sum(goal.conf_changes(info) for goal in operator.goals[: running.at + 1])
        return info.region.epoch.conf_version - operator.epoch.conf_version > own

    def _time_ns(self, operator: Operator) -> int:
        """The sum of what its goals may take, as TiKV's: a joint change counts for its roles."""
        config, seconds = self._config, 0.0
        for goal in operator.goals:
            if isinstance(goal, AddLearner):
                seconds += config.slow_step_s
            elif isinstance(goal, Swap):
                seconds += config.fast_step_s * (len(goal.promote) + len(goal.demote) + 1)
            else:
                seconds += config.fast_step_s
        return config.ns(seconds)

    def _end(self, running: _Running, how: str) -> None:
        del self._running[running.operator.region_id]
        self.ended[f"{running.operator.name}:{how}"] += 1
