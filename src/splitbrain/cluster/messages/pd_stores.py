"""What stores tell the placement driver, and what it tells them to do."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.pd_errors import PdError
from splitbrain.cluster.messages.pd_types import (
    NO_EPOCH,
    DownPeer,
    SplitIds,
    Step,
    StoreMeta,
    StoreStats,
)
from splitbrain.cluster.messages.region import Epoch, Peer, Region

__all__ = [
    "AskSplit",
    "AskSplitReply",
    "Bootstrap",
    "BootstrapReply",
    "PdStoreAnswer",
    "PdStoreRequest",
    "PutStore",
    "PutStoreReply",
    "RegionHeartbeat",
    "RegionHeartbeatReply",
    "ReportSplit",
    "ReportSplitReply",
    "StoreHeartbeat",
    "StoreHeartbeatReply",
]


class Bootstrap(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The first region and the store that makes it; of several such only one is accepted.

    ``others`` are the stores of its other peers, which may not have spoken yet.  (Ours: TiKV's first
    region has one peer.)  A client that is told of a peer must be able to learn of its store.
    """

    store: StoreMeta
    region: Region
    cluster_id: int = 0
    others: tuple[StoreMeta, ...] = ()


class BootstrapReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: PdError | None = None


class PutStore(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A store has started: its address and labels.  Its state is PD's to say and is kept."""

    store: StoreMeta
    cluster_id: int = 0


class PutStoreReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: PdError | None = None


class StoreHeartbeat(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A store lives."""

    store_id: int
    stats: StoreStats = StoreStats()
    cluster_id: int = 0


class StoreHeartbeatReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Heard, unless ``error``."""

    term: int = 0
    """Another than last time: PD has a new leader, who has heard of no region yet.  Send the
    heartbeats of all regions that this store leads, at once.
    """
    error: PdError | None = None


class RegionHeartbeat(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A region's leader tells of it: periodically, and at once when something has changed.

    Attributes:
        region: as applied.
        leader: the peer that speaks.
        term: its Raft term.
        down: peers not heard for long.
        pending: peers that are behind what the leader's log still holds.
        size_bytes: approximately.
        keys: approximately.
    """

    region: Region
    leader: Peer
    term: int = 0
    down: tuple[DownPeer, ...] = ()
    pending: tuple[Peer, ...] = ()
    size_bytes: int = 0
    keys: int = 0
    cluster_id: int = 0


class RegionHeartbeatReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """What to do next, or nothing (None); only while the region's epoch is still ``epoch``."""

    region_id: int = 0
    epoch: Epoch = NO_EPOCH
    step: Step | None = None
    error: PdError | None = None


class AskSplit(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Ids for ``count`` new regions to be split off ``region``."""

    region: Region
    count: int = 1
    cluster_id: int = 0


class AskSplitReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """One entry per new region, each with as many peer ids as ``region`` has peers."""

    ids: tuple[SplitIds, ...] = ()
    error: PdError | None = None


class ReportSplit(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A split was applied: all its parts, from left to right.  A hint: heartbeats follow."""

    regions: tuple[Region, ...]
    cluster_id: int = 0


class ReportSplitReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Heard, unless ``error``."""

    error: PdError | None = None


PdStoreRequest: TypeAlias = (
    Bootstrap | PutStore | StoreHeartbeat | RegionHeartbeat | AskSplit | ReportSplit
)
PdStoreAnswer: TypeAlias = (
    BootstrapReply
    | PutStoreReply
    | StoreHeartbeatReply
    | RegionHeartbeatReply
    | AskSplitReply
    | ReportSplitReply
)
