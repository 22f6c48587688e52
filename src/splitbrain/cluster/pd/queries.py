"""Questions that the leader of PD answers from what it knows, at once.

None is confirmed by a majority: a leader that was deposed without knowing answers from old news for a
while, as TiKV's does.  Routes may be old anyhow, and stores refuse what went to the wrong place; a
safe point only grows, so an old one lets less be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from splitbrain.cluster.messages import pd, pd_gc
from splitbrain.cluster.messages.pd_errors import (
    PdNotBootstrapped,
    PdRangeNotCovered,
    PdRegionNotFound,
    PdStoreNotFound,
)
from splitbrain.cluster.messages.pd_types import GcBarrier, StoreState
from splitbrain.cluster.pd.cluster import Cluster
from splitbrain.cluster.pd.regions import RegionInfo

__all__ = ["QUERIES"]


def _region(
    cluster: Cluster, info: RegionInfo | None, region_id: int, key: bytes
) -> pd.GetRegionReply:
    if not cluster.bootstrapped:
        return pd.GetRegionReply(error=PdNotBootstrapped())
    if info is None:
        return pd.GetRegionReply(error=PdRegionNotFound(region_id, key))
    return pd.GetRegionReply(info.placed())


def _get_region(cluster: Cluster, request: pd.GetRegion, now_ms: int) -> Any:
    return _region(cluster, cluster.regions.find(request.key), 0, request.key)


def _get_prev_region(cluster: Cluster, request: pd.GetPrevRegion, now_ms: int) -> Any:
    return _region(cluster, cluster.regions.previous(request.key), 0, request.key)


def _get_region_by_id(cluster: Cluster, request: pd.GetRegionById, now_ms: int) -> Any:
    return _region(cluster, cluster.regions.get(request.region_id), request.region_id, b"")


def _scan_regions(cluster: Cluster, request: pd.ScanRegions, now_ms: int) -> Any:
    if not cluster.bootstrapped:
        return pd.ScanRegionsReply(error=PdNotBootstrapped())
    found = cluster.regions.scan(request.start, request.end, limit=request.limit)
    return pd.ScanRegionsReply(tuple(info.placed() for info in found))


def _batch_scan_regions(cluster: Cluster, request: pd.BatchScanRegions, now_ms: int) -> Any:
    """In the order of the ranges; ``limit`` counts over all of them."""
    if not cluster.bootstrapped:
        return pd.BatchScanRegionsReply(error=PdNotBootstrapped())
    found: dict[int, RegionInfo] = {}
    for start, end in request.ranges:
        touched = list(cluster.regions.scan(start, end))
        if request.whole and not _covered(touched, start, end):
            return pd.BatchScanRegionsReply(error=PdRangeNotCovered())
        found.update((info.region.id, info) for info in touched)
    placed = islice(found.values(), request.limit or None)
    return pd.BatchScanRegionsReply(tuple(info.placed() for info in placed))


def _covered(touched: list[RegionInfo], start: bytes, end: bytes) -> bool:
    """Are there no holes in [start, end)?  ``touched`` are all regions that touch it, in order."""
    reached = start
    for info in touched:
        if info.region.start > reached:
            return False
        reached = info.region.end
        if not reached:
            return True
    return bool(end) and reached >= end


def _get_store(cluster: Cluster, request: pd.GetStore, now_ms: int) -> Any:
    store = cluster.stores.get(request.store_id)
    if store is None:
        return pd.GetStoreReply(error=PdStoreNotFound(request.store_id))
    return pd.GetStoreReply(store, cluster.stores.stats(store.id))


def _get_all_stores(cluster: Cluster, request: pd.GetAllStores, now_ms: int) -> Any:
    hidden = StoreState.TOMBSTONE if request.exclude_tombstone else None
    return pd.GetAllStoresReply(
        tuple(store for store in cluster.stores.all() if store.state is not hidden)
    )


def _get_cluster_info(cluster: Cluster, request: pd.GetClusterInfo, now_ms: int) -> Any:
    return pd.GetClusterInfoReply(cluster.bootstrapped)


def _get_gc_safe_point(cluster: Cluster, request: pd_gc.GetGcSafePoint, now_ms: int) -> Any:
    return pd_gc.GetGcSafePointReply(cluster.state.gc_safe_point)


def _get_gc_state(cluster: Cluster, request: pd_gc.GetGcState, now_ms: int) -> Any:
    state = cluster.state
    barriers = tuple(
        GcBarrier(one.id, one.safe_point, (one.until_ms - now_ms) // 1000)
        for one in state.alive(now_ms)
    )
    return pd_gc.GetGcStateReply(state.gc_safe_point, state.gc_safe_point, barriers)


QUERIES: Mapping[type, Callable[[Cluster, Any, int], Any]] = {
    pd.GetRegion: _get_region,
    pd.GetPrevRegion: _get_prev_region,
    pd.GetRegionById: _get_region_by_id,
    pd.ScanRegions: _scan_regions,
    pd.BatchScanRegions: _batch_scan_regions,
    pd.GetStore: _get_store,
    pd.GetAllStores: _get_all_stores,
    pd.GetClusterInfo: _get_cluster_info,
    pd_gc.GetGcSafePoint: _get_gc_safe_point,
    pd_gc.GetGcState: _get_gc_state,
}
"""Request -> its answer, from (cluster, request, the oracle's physical time)."""
