"""Which answer goes with which request; all can carry an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.cluster.messages import pd, pd_gc, pd_stores
from splitbrain.cluster.messages.pd_errors import PdError

__all__ = ["ANSWER", "PD_MESSAGES", "refusal"]

ANSWER: Mapping[type, type] = {
    pd.GetMembers: pd.GetMembersReply,
    pd.GetClusterInfo: pd.GetClusterInfoReply,
    pd.Tso: pd.TsoReply,
    pd.AllocId: pd.AllocIdReply,
    pd.GetRegion: pd.GetRegionReply,
    pd.GetPrevRegion: pd.GetRegionReply,
    pd.GetRegionById: pd.GetRegionReply,
    pd.ScanRegions: pd.ScanRegionsReply,
    pd.BatchScanRegions: pd.BatchScanRegionsReply,
    pd.ScatterRegion: pd.ScatterRegionReply,
    pd.WatchTopology: pd.WatchTopologyReply,
    pd.GetStore: pd.GetStoreReply,
    pd.GetAllStores: pd.GetAllStoresReply,
    pd.SetStoreState: pd.SetStoreStateReply,
    pd_gc.GetGcSafePoint: pd_gc.GetGcSafePointReply,
    pd_gc.UpdateGcSafePoint: pd_gc.UpdateGcSafePointReply,
    pd_gc.UpdateServiceGcSafePoint: pd_gc.UpdateServiceGcSafePointReply,
    pd_gc.GetGcState: pd_gc.GetGcStateReply,
    pd_stores.Bootstrap: pd_stores.BootstrapReply,
    pd_stores.PutStore: pd_stores.PutStoreReply,
    pd_stores.StoreHeartbeat: pd_stores.StoreHeartbeatReply,
    pd_stores.RegionHeartbeat: pd_stores.RegionHeartbeatReply,
    pd_stores.AskSplit: pd_stores.AskSplitReply,
    pd_stores.ReportSplit: pd_stores.ReportSplitReply,
}
"""The class of each request's answer."""

PD_MESSAGES = frozenset(ANSWER) | {pd.PdRaftBatch}
"""What a process that also runs a store hands to its member of PD."""


def refusal(request: Any, error: PdError) -> Any:
    """The answer that says no."""
    return ANSWER[type(request)](error=error)
