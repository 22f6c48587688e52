"""What the placement driver is asked, and what it answers (pdpb).

The meaning is TiKV's; what is ours alone says so.  Every request has ``cluster_id`` (0: not said, not
checked), every answer ``error``: None, or one of :data:`PdError`, and then nothing else in it counts.

    request                 answered by   sent by
    GetMembers              any member    client, store
    Tso                     leader, after a majority has confirmed that it still leads
    GetRegion, GetPrevRegion, GetRegionById, ScanRegions, BatchScanRegions, GetStore, GetAllStores,
    GetGcSafePoint, GetGcState, GetClusterInfo, WatchTopology
                            leader        client
    AllocId, AskSplit, Bootstrap, PutStore, SetStoreState, UpdateGcSafePoint,
    UpdateServiceGcSafePoint
                            leader, once replicated
    StoreHeartbeat, RegionHeartbeat, ReportSplit
                            leader        store
    PdRaftBatch             nobody        member to member

Stores' own requests are in ``pd_stores``, safe points in ``pd_gc``, errors in ``pd_errors``; regions,
stores, timestamps as values in ``pd_types``.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.pd_errors import PdError
from splitbrain.cluster.messages.pd_gc import PdGcAnswer, PdGcRequest
from splitbrain.cluster.messages.pd_stores import PdStoreAnswer, PdStoreRequest
from splitbrain.cluster.messages.pd_types import (
    PdMember,
    PdRegion,
    StoreMeta,
    StoreState,
    StoreStats,
)
from splitbrain.cluster.raft.types import Message as RaftMessage

__all__ = [
    "AllocId",
    "AllocIdReply",
    "BatchScanRegions",
    "BatchScanRegionsReply",
    "GetAllStores",
    "GetAllStoresReply",
    "GetClusterInfo",
    "GetClusterInfoReply",
    "GetMembers",
    "GetMembersReply",
    "GetPrevRegion",
    "GetRegion",
    "GetRegionById",
    "GetRegionReply",
    "GetStore",
    "GetStoreReply",
    "PdAnswer",
    "PdRaftBatch",
    "PdRequest",
    "ScanRegions",
    "ScanRegionsReply",
    "ScatterRegion",
    "ScatterRegionReply",
    "SetStoreState",
    "SetStoreStateReply",
    "Tso",
    "TsoReply",
    "WatchTopology",
    "WatchTopologyReply",
]


class PdRaftBatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Messages of one member's Raft core to another's, in the order of their making."""

    messages: tuple[RaftMessage, ...]


# -- members and timestamps ----------------------------------------------------------------------


class GetMembers(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Who PD is.  Every member answers."""

    cluster_id: int = 0


class GetMembersReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """All members; ``leader`` is empty while the asked one knows of none that is ready."""

    members: tuple[PdMember, ...] = ()
    leader: str = ""
    cluster_id: int = 0
    error: PdError | None = None


class GetClusterInfo(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Which service gives timestamps?  In minitikv always PD itself."""

    cluster_id: int = 0


class GetClusterInfoReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``bootstrapped`` is ours: is there a first region?"""

    bootstrapped: bool = False
    error: PdError | None = None


class Tso(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``count`` timestamps: larger than any that anybody had been given when this was sent."""

    count: int = 1
    cluster_id: int = 0


class TsoReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The LAST of the batch; the others have a ``logical`` smaller by 1, 2 .. ``count - 1``."""

    physical: int = 0
    logical: int = 0
    count: int = 0
    error: PdError | None = None


class AllocId(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``count`` ids that nobody else is ever given."""

    count: int = 1
    cluster_id: int = 0


class AllocIdReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The LAST of ``count`` consecutive ids."""

    id: int = 0
    count: int = 0
    error: PdError | None = None


# -- regions -------------------------------------------------------------------------------------


class GetRegion(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The region that holds a key, as it is stored (encoded in transactional mode)."""

    key: bytes
    cluster_id: int = 0


class GetPrevRegion(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The region just before the one that holds the key."""

    key: bytes
    cluster_id: int = 0


class GetRegionById(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The region of an id."""

    region_id: int
    cluster_id: int = 0


class GetRegionReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The answer to all three; ``region`` is None only with an error."""

    region: PdRegion | None = None
    error: PdError | None = None


class ScanRegions(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Up to ``limit`` (0: all) regions that touch [start, end), in the order of their keys."""

    start: bytes = b""
    end: bytes = b""
    limit: int = 0
    cluster_id: int = 0


class ScanRegionsReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Those that are known; there may be holes between them."""

    regions: tuple[PdRegion, ...] = ()
    error: PdError | None = None


class BatchScanRegions(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """ScanRegions of several ranges in ascending order; ``whole``: rather none than a hole."""

    ranges: tuple[tuple[bytes, bytes], ...] = ()
    limit: int = 0
    whole: bool = False
    cluster_id: int = 0


class BatchScanRegionsReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Each region once, whichever ranges it touches."""

    regions: tuple[PdRegion, ...] = ()
    error: PdError | None = None


class ScatterRegion(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Spread the peers and leaders of these regions evenly over the stores."""

    region_ids: tuple[int, ...] = ()
    cluster_id: int = 0


class ScatterRegionReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """How many regions there is anything to do for; it happens with their heartbeats."""

    started: int = 0
    error: PdError | None = None


class WatchTopology(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Tell me what changed since (term, revision), as soon as something has (ours).

    Begin with zeros, go on with the answer's.  Answered after ``wait_s`` at the latest.
    """

    term: int = 0
    revision: int = 0
    wait_s: float = 0.0
    cluster_id: int = 0


class WatchTopologyReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The changes up to (term, revision), each thing once and as it is now.

    ``whole``: this is everything that there is, and what is not in it is no more; else ``removed``
    names the regions that are gone.
    """

    term: int = 0
    revision: int = 0
    whole: bool = False
    regions: tuple[PdRegion, ...] = ()
    removed: tuple[int, ...] = ()
    stores: tuple[StoreMeta, ...] = ()
    error: PdError | None = None


# -- stores --------------------------------------------------------------------------------------


class GetStore(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """One store."""

    store_id: int
    cluster_id: int = 0


class GetStoreReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """What it is, and what it said last; ``store`` is None only with an error."""

    store: StoreMeta | None = None
    stats: StoreStats = StoreStats()
    error: PdError | None = None


class GetAllStores(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Every store."""

    exclude_tombstone: bool = False
    cluster_id: int = 0


class GetAllStoresReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """In the order of their ids."""

    stores: tuple[StoreMeta, ...] = ()
    error: PdError | None = None


class SetStoreState(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Begin to empty a store (OFFLINE), or take it back (UP); TOMBSTONE is PD's own to say."""

    store_id: int
    state: StoreState
    cluster_id: int = 0


class SetStoreStateReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: PdError | None = None


PdRequest: TypeAlias = (
    GetMembers
    | GetClusterInfo
    | Tso
    | AllocId
    | GetRegion
    | GetPrevRegion
    | GetRegionById
    | ScanRegions
    | BatchScanRegions
    | ScatterRegion
    | WatchTopology
    | GetStore
    | GetAllStores
    | SetStoreState
    | PdGcRequest
    | PdStoreRequest
)
PdAnswer: TypeAlias = (
    GetMembersReply
    | GetClusterInfoReply
    | TsoReply
    | AllocIdReply
    | GetRegionReply
    | ScanRegionsReply
    | BatchScanRegionsReply
    | ScatterRegionReply
    | WatchTopologyReply
    | GetStoreReply
    | GetAllStoresReply
    | SetStoreStateReply
    | PdGcAnswer
    | PdStoreAnswer
)
