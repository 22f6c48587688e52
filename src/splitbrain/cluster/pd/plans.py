"""From intentions to goals: add, remove, replace a peer; which store suits one.

All plans keep a majority at each step: a new peer first learns, votes only when it has caught up,
and where a voter goes as another comes both happen in one joint change (or, without joint changes,
the new one comes first).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from splitbrain.cluster.messages.pd_types import StoreMeta
from splitbrain.cluster.messages.region import Peer, PeerRole
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.goals import AddLearner, Goal, Lead, Leave, Promote, Remove, Swap
from splitbrain.cluster.pd.operators import Kind, Operator, Operators
from splitbrain.cluster.pd.regions import RegionInfo, RegionTree
from splitbrain.cluster.pd.stores import Stores

__all__ = ["TakeIds", "View", "add_peer", "move_leader", "remove_peer", "replace_peer"]

LOW_SPACE = 0.2
"""A store with a smaller part of its capacity free gets nothing new."""

TakeIds = Callable[[int], int | None]
"""``ids.Ids.take``."""


class View:
    """What checkers and schedulers look at, at one moment, with what is under way added in.

    Attributes:
        usable: stores that are up and live.
        leaders: leaderships by store, as they will be when all operators are done.
        peers: likewise peers.
        sizes: likewise bytes; a region counts at least 1, so that empty ones spread, too.
        evicting: stores that shall lead nothing.
    """

    def __init__(
        self,
        config: PdConfig,
        stores: Stores,
        regions: RegionTree,
        operators: Operators,
        evicting: frozenset[int],
        now_ns: int,
        take_ids: TakeIds,
    ) -> None:
        self.config = config
        self.stores = stores
        self.regions = regions
        self.operators = operators
        self.evicting = evicting
        self.now_ns = now_ns
        self.take_ids = take_ids
        self.usable = tuple(stores.usable(now_ns))
        self.leaders: Counter[int] = Counter()
        self.peers: Counter[int] = Counter()
        self.sizes: Counter[int] = Counter()
        for info in regions:
            self._count(info)

    def _count(self, info: RegionInfo) -> None:
        size = max(1, info.size_bytes)
        self.leaders[info.leader_store] += 1
        for peer in info.region.peers:
            self.peers[peer.store_id] += 1
            self.sizes[peer.store_id] += size
        operator = self.operators.get(info.region.id)
        if operator is not None:
            self.planned(operator, info)

    def planned(self, operator: Operator, info: RegionInfo) -> None:
        """One more operator is under way."""
        leaders, peers = operator.influence(info)
        size = max(1, info.size_bytes)
        self.leaders.update(leaders)
        self.peers.update(peers)
        self.sizes.update({store_id: size * count for store_id, count in peers.items()})

    # -- which store -----------------------------------------------------------------------------

    def suits(self, store_id: int, info: RegionInfo) -> bool:
        """May the store get a new peer of the region?"""
        if store_id not in self.usable or info.region.peer_on(store_id) is not None:
            return False
        stats = self.stores.stats(store_id)
        full = stats.capacity > 0 and stats.available < LOW_SPACE * stats.capacity
        busy = stats.is_busy or self.operators.incoming(store_id) >= self.config.store_additions
        return not full and not busy

    def crowding(self, store_id: int, others: Iterable[int]) -> tuple[int, ...]:
        """How many of ``others`` share the store's place, from the widest label to the narrowest.

        Less is better, and a wider place counts for more.  Two stores that have no such label share
        nothing.
        """
        mine = self.stores.get(store_id)
        metas = [self.stores.get(one) for one in others if one != store_id]
        labels = self.config.location_labels
        return tuple(
            sum(_share(mine, other, labels[: depth + 1]) for other in metas)
            for depth in range(len(labels))
        )

    def best_target(self, info: RegionInfo, others: Iterable[int]) -> int | None:
        """Where a new peer is best beside ``others``: away from them, on a store that has little."""
        stores = list(others)
        fits = [store_id for store_id in self.usable if self.suits(store_id, info)]
        return min(
            fits,
            key=lambda one: (self.crowding(one, stores), self.sizes[one], one),
            default=None,
        )

    def best_leader(self, info: RegionInfo, without: Iterable[int] = ()) -> int | None:
        """The voter, other than the leader, to lead instead: the one that leads least."""
        away = {info.leader_store, *without} | self.evicting
        late = {peer.id for peer in info.pending} | {one.peer.id for one in info.down}
        fits = [
            peer.store_id
            for peer in info.region.peers
            if peer.role is PeerRole.VOTER
            and peer.store_id in self.usable
            and peer.store_id not in away
            and peer.id not in late
        ]
        return min(fits, key=lambda one: (self.leaders[one], one), default=None)

    def new_peer(self, store_id: int) -> Peer | None:
        """A learner to be, with an id of its own; None if there is no id just now."""
        peer_id = self.take_ids(1)
        return None if peer_id is None else Peer(peer_id, store_id, PeerRole.LEARNER)


def _share(one: StoreMeta | None, other: StoreMeta | None, labels: tuple[str, ...]) -> bool:
    if one is None or other is None:
        return False
    return all(one.label(name) == other.label(name) != "" for name in labels)


# -- plans -----------------------------------------------------------------------------------


def _operator(name: str, kind: Kind, info: RegionInfo, *goals: Goal) -> Operator:
    return Operator(name, kind, info.region.id, info.region.epoch, goals)


def move_leader(name: str, kind: Kind, info: RegionInfo, to: int) -> Operator:
    """Let the peer on ``to`` lead."""
    return _operator(name, kind, info, Lead(to))


def add_peer(view: View, name: str, kind: Kind, info: RegionInfo, to: int) -> Operator | None:
    """One more voter on ``to``."""
    peer = view.new_peer(to)
    if peer is None:
        return None
    return _operator(name, kind, info, AddLearner(peer), Promote(to))


def remove_peer(
    view: View, name: str, kind: Kind, info: RegionInfo, peer: Peer
) -> Operator | None:
    """One peer less; another leads first, if it is the leader."""
    goals: list[Goal] = []
    if info.leader_store == peer.store_id:
        leader = view.best_leader(info)
        if leader is None:
            return None
        goals.append(Lead(leader))
    goals.append(Remove(peer))
    return _operator(name, kind, info, *goals)


def replace_peer(
    view: View, name: str, kind: Kind, info: RegionInfo, old: Peer, to: int
) -> Operator | None:
    """``old`` goes, another comes on ``to``; None if nobody could lead meanwhile, or no id."""
    handover: tuple[Goal, ...] = ()
    if info.leader_store == old.store_id:
        leader = view.best_leader(info)
        if leader is None:
            return None
        handover = (Lead(leader),)
    peer = view.new_peer(to)
    if peer is None:
        return None
    learn = AddLearner(peer)
    if old.role is not PeerRole.VOTER or not view.config.joint_changes:
        return _operator(name, kind, info, learn, Promote(to), *handover, Remove(old))
    swap = Swap((to,), (old.store_id,))
    demoted = Remove(msgspec.structs.replace(old, role=PeerRole.LEARNER))
    return _operator(name, kind, info, learn, *handover, swap, Leave(2), demoted)
