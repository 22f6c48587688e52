"""What the leader of PD knows of the cluster: regions, stores, what changes, what is to be done.

Made anew with each leadership, from what is replicated; pure: times are handed in, ids come from a
callable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from splitbrain.cluster.messages.pd import (
    ScatterRegion,
    ScatterRegionReply,
    SetStoreState,
    WatchTopology,
    WatchTopologyReply,
)
from splitbrain.cluster.messages.pd_errors import (
    PdError,
    PdInvalid,
    PdNotBootstrapped,
    PdRegionNotFound,
    PdStoreNotFound,
    PdStoreTombstone,
)
from splitbrain.cluster.messages.pd_stores import (
    Bootstrap,
    PutStore,
    RegionHeartbeat,
    RegionHeartbeatReply,
    ReportSplit,
    ReportSplitReply,
    StoreHeartbeat,
    StoreHeartbeatReply,
)
from splitbrain.cluster.messages.pd_types import StoreState
from splitbrain.cluster.pd.checkers import check
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.operators import Kind, Operator, Operators
from splitbrain.cluster.pd.plans import TakeIds, View
from splitbrain.cluster.pd.regions import Accepted, Refused, RegionInfo, RegionTree
from splitbrain.cluster.pd.schedulers import (
    balance_leader,
    balance_region,
    evict_leaders,
    scatter,
)
from splitbrain.cluster.pd.state import Changing, PdState
from splitbrain.cluster.pd.stores import Liveness, Stores
from splitbrain.cluster.pd.topology import Topology

__all__ = ["Cluster"]


class Cluster:
    """One leadership's view.

    Attributes:
        state: what is replicated.
        regions: as heard; more, and more recent, than in ``state``.
        stores: who lives.
        topology: what changed when.
        operators: what is being done.
        evicting: stores that shall lead nothing.
        unsaved: regions to be replicated, by id: range or peers are not those of ``state``.
    """

    def __init__(self, config: PdConfig, state: PdState, term: int, now_ns: int) -> None:
        self.config = config
        self.state = state
        self.regions = RegionTree()
        for info in state.regions:
            self.regions.put(info)
        self.stores = Stores(config, state, now_ns)
        self.topology = Topology(term)
        self.operators = Operators(config)
        self.evicting: frozenset[int] = frozenset()
        self.unsaved: dict[int, RegionInfo] = {}
        self._heard: set[int] = set()
        self._since_ns = now_ns

    @property
    def bootstrapped(self) -> bool:
        """Is there a first region?"""
        return self.state.bootstrapped

    def changed(self, request: Changing) -> None:
        """``request`` was applied to ``state``."""
        if isinstance(request, Bootstrap):
            for info in self.state.regions:
                self._put(info)
        if isinstance(request, (Bootstrap, PutStore)):
            self.topology.store_changed(request.store.id)
        elif isinstance(request, SetStoreState):
            self.topology.store_changed(request.store_id)

    # -- heartbeats ------------------------------------------------------------------------------

    def store_heartbeat(self, request: StoreHeartbeat, now_ns: int) -> StoreHeartbeatReply:
        """A store lives."""
        error = self._unwelcome(request.store_id)
        if error is None:
            self.stores.heartbeat(request.store_id, request.stats, now_ns)
        return StoreHeartbeatReply(self.topology.term, error)

    def region_heartbeat(self, request: RegionHeartbeat, now_ns: int) -> RegionHeartbeatReply:
        """A region's leader tells of it, and is told what to do next."""
        region, leader = request.region, request.leader
        error = self._unwelcome(leader.store_id)
        if error is None and region.peer_on(leader.store_id) is None:
            error = PdInvalid(f"leader {leader} is no peer of region {region.id}")
        if error is not None:
            return RegionHeartbeatReply(region.id, error=error)
        info = RegionInfo(
            region,
            leader,
            request.term,
            request.down,
            request.pending,
            request.size_bytes,
            request.keys,
        )
        put = self._put(info)
        if isinstance(put, Refused):
            return RegionHeartbeatReply(region.id, error=PdInvalid(put.reason))
        self._heard.add(region.id)
        return RegionHeartbeatReply(
            region.id, region.epoch, self.operators.next_step(info, now_ns)
        )

    def report_split(self, request: ReportSplit) -> ReportSplitReply:
        """All parts of a split are known at once, so that no hole is ever seen."""
        for region in request.regions:
            known = self.regions.get(region.id)
            leader = known.leader if known is not None else None
            self._put(RegionInfo(region, leader))
        return ReportSplitReply()

    def _unwelcome(self, store_id: int) -> PdError | None:
        if not self.bootstrapped:
            return PdNotBootstrapped()
        store = self.stores.get(store_id)
        if store is None:
            return PdStoreNotFound(store_id)
        return PdStoreTombstone(store_id) if store.state is StoreState.TOMBSTONE else None

    def _put(self, info: RegionInfo) -> Accepted | Refused:
        put = self.regions.put(info)
        if isinstance(put, Refused):
            return put
        for region_id in put.removed:
            self.unsaved.pop(region_id, None)
            self.operators.removed(region_id)
            self._heard.discard(region_id)
            self.topology.region_removed(region_id)
        if put.changed:
            self.topology.region_changed(info.region.id)
            saved = self.state.regions.get(info.region.id)
            if saved is None or saved.region != info.region:
                self.unsaved[info.region.id] = info.lasting()
        return put

    # -- watching --------------------------------------------------------------------------------

    def news(self, request: WatchTopology) -> WatchTopologyReply:
        """What the watcher does not know yet; perhaps nothing."""
        topology = self.topology
        changes = topology.since(request.term, request.revision)
        if changes.whole:
            regions = tuple(info.placed() for info in self.regions)
            stores = tuple(self.stores.all())
        else:
            found = (self.regions.get(region_id) for region_id in changes.regions)
            regions = tuple(info.placed() for info in found if info is not None)
            stores = tuple(self.state.stores[store_id] for store_id in changes.stores)
        return WatchTopologyReply(
            topology.term, topology.revision, changes.whole, regions, changes.removed, stores
        )

    # -- scheduling ------------------------------------------------------------------------------

    def schedule(self, now_ns: int, take_ids: TakeIds) -> list[SetStoreState]:
        """Look for what is wrong or uneven and plan; returns changes to be replicated."""
        self.operators.expire(now_ns)
        self.operators.abandon(
            store.id
            for store in self.stores.all()
            if store.state is not StoreState.UP
            or self.stores.liveness(store.id, now_ns) is Liveness.DOWN
        )
        if not self.bootstrapped or not self._prepared(now_ns):
            return []
        view = self.view(now_ns, take_ids)
        for info in list(self.regions):
            # What an operator is in the midst of would look like something to be mended.
            idle = self.operators.get(info.region.id) is None
            if idle and self.operators.room(Kind.REPLICA) > 0:
                self._add(view, check(view, info))
        for operator in evict_leaders(view):
            self.operators.add(operator, self.regions.get(operator.region_id), now_ns)
        if self.config.balance_leaders:
            while self.operators.room(Kind.LEADER) > 0 and self._add(
                view, balance_leader(view)
            ):
                pass
        if self.config.balance_regions:
            while self.operators.room(Kind.REGION) > 0 and self._add(
                view, balance_region(view)
            ):
                pass
        return self._emptied(view)

    def view(self, now_ns: int, take_ids: TakeIds) -> View:
        """How the cluster looks now."""
        return View(
            self.config,
            self.stores,
            self.regions,
            self.operators,
            self.evicting,
            now_ns,
            take_ids,
        )

    def scatter(
        self, request: ScatterRegion, now_ns: int, take_ids: TakeIds
    ) -> ScatterRegionReply:
        """Spread the regions named."""
        for region_id in request.region_ids:
            if self.regions.get(region_id) is None:
                return ScatterRegionReply(error=PdRegionNotFound(region_id))
        view = self.view(now_ns, take_ids)
        return ScatterRegionReply(self.plan(scatter(view, request.region_ids), now_ns))

    def plan(self, operators: Iterable[Operator], now_ns: int) -> int:
        """Let these run; how many are taken."""
        return sum(
            self.operators.add(operator, self.regions.get(operator.region_id), now_ns)
            for operator in operators
        )

    def _add(self, view: View, operator: Operator | None) -> bool:
        if operator is None:
            return False
        info = self.regions.get(operator.region_id)
        if info is None or not self.operators.add(operator, info, view.now_ns):
            return False
        view.planned(operator, info)
        return True

    def _prepared(self, now_ns: int) -> bool:
        """A new leader first listens: what it has not heard of it would take for missing."""
        patience_ns = self.config.ns(2 * self.config.region_heartbeat_s)
        return now_ns - self._since_ns > patience_ns or len(self._heard) >= len(self.regions)

    def _emptied(self, view: View) -> list[SetStoreState]:
        """Stores that were being emptied and hold nothing any more.

        A tombstone is for ever, so nothing may be unknown: neither a part of the key space nor what a
        live store says that it holds.
        """
        patience_ns = self.config.ns(2 * self.config.region_heartbeat_s)
        if view.now_ns - self._since_ns <= patience_ns or not self._no_holes():
            return []
        held = {peer.store_id for info in self.regions for peer in info.region.peers}
        return [
            SetStoreState(store.id, StoreState.TOMBSTONE)
            for store in self.stores.all()
            if store.state is StoreState.OFFLINE
            and store.id not in held
            and self._says_empty(store.id, view.now_ns)
        ]

    def _says_empty(self, store_id: int, now_ns: int) -> bool:
        if self.stores.liveness(store_id, now_ns) is Liveness.DOWN:
            return True
        heard = self.stores.heard(store_id)
        return heard and self.stores.stats(store_id).region_count == 0

    def _no_holes(self) -> bool:
        reached = b""
        for info in self.regions:
            if info.region.start != reached:
                return False
            reached = info.region.end
        return not reached

    # -- a look ----------------------------------------------------------------------------------

    def status(self, now_ns: int) -> dict[str, Any]:
        """Stores and operators; JSON-able."""
        leaders: Counter[int] = Counter(info.leader_store for info in self.regions)
        peers: Counter[int] = Counter(
            peer.store_id for info in self.regions for peer in info.region.peers
        )
        return {
            "revision": self.topology.revision,
            "regions": len(self.regions),
            "stores": {
                str(store.id): {
                    "node": store.node,
                    "state": store.state.name.lower(),
                    "liveness": self.stores.liveness(store.id, now_ns).value,
                    "peers": peers[store.id],
                    "leaders": leaders[store.id],
                }
                for store in self.stores.all()
            },
            "operators": sorted(f"{one.name}:{one.region_id}" for one in self.operators),
            "ended": dict(sorted(self.operators.ended.items())),
            "evicting": sorted(self.evicting),
        }
