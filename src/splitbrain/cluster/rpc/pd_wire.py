"""The placement driver's requests and answers, both ways: ``messages.pd`` and ``pdpb``.

Not on TiKV's wire, and so in no table here: what stores tell PD (it lives in their processes and goes
by their own links), ``ScatterRegion``, ``SetStoreState``, ``WatchTopology``.

The header of an answer gets its cluster id from the server (:func:`with_cluster_id`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.cluster.messages import pd, pd_gc, pd_types
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc import pdpb_pb2 as pdpb
from splitbrain.cluster.rpc.fields import (
    Codec,
    Field,
    Shape,
    constant,
    custom,
    member,
    named,
    part,
    parts,
    same,
)
from splitbrain.cluster.rpc.metas import PEER, REGION
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.pd_errors import FAILURE, LOOK_UP_FAILURE

__all__ = ["PD", "TSO", "VERSION", "with_cluster_id"]

VERSION = "8.5.0"
"""The TiKV release whose protocol this is; clients compare it with what they need."""
NO_KEYSPACE = 0xFFFFFFFF
"""TiKV's number for "no keyspace at all"."""


def with_cluster_id(wire: Any, cluster_id: int) -> Any:
    """``wire``, an answer, with its header complete."""
    wire.header.cluster_id = cluster_id
    return wire


def _header(wire: Any) -> Field:
    return Field(
        lambda request, _: {"header": wire(cluster_id=request.cluster_id)},
        lambda request, _: {"cluster_id": request.header.cluster_id},
    )


HEADER = _header(pdpb.RequestHeader)


def _request(kind: type[Any], wire: Any, *fields: Field) -> Shape:
    return Shape(kind, wire, HEADER, *fields)


def _answer(kind: type[Any], wire: Any, *fields: Field) -> Shape:
    return Shape(kind, wire, *fields, failure=FAILURE)


def _codec(name: str, request: Shape, answer: Shape) -> Codec:
    return Codec(f"/pdpb.PD/{name}", request, answer)


# -- members -------------------------------------------------------------------------------------


def _member(name: str, number: int, names: Names) -> pdpb.Member:
    url = f"http://{names.address_of(name)}"
    return pdpb.Member(name=name, member_id=number, client_urls=[url], peer_urls=[url])


def _write_members(reply: Any, names: Names) -> Mapping[str, Any]:
    members = {one.name: _member(one.name, one.id, names) for one in reply.members}
    leader = members.get(reply.leader)
    return {"members": list(members.values()), "leader": leader, "etcd_leader": leader}


def _read_members(wire: Any, _: Names) -> Mapping[str, Any]:
    return {
        "members": tuple(pd_types.PdMember(one.name, one.member_id) for one in wire.members),
        "leader": wire.leader.name,
        "cluster_id": wire.header.cluster_id,
    }


# -- stores --------------------------------------------------------------------------------------


def _store_to_wire(store: pd_types.StoreMeta, names: Names) -> metapb.Store:
    address = store.address or names.address_of(store.node or names.name_of(store.id))
    return metapb.Store(
        id=store.id,
        address=address,
        peer_address=address,
        state=int(store.state),  # type: ignore[arg-type]
        labels=[metapb.StoreLabel(key=key, value=value) for key, value in store.labels],
        version=store.version or VERSION,
    )


def _store_from_wire(wire: metapb.Store, names: Names) -> pd_types.StoreMeta:
    return pd_types.StoreMeta(
        id=wire.id,
        node=names.name_of(wire.id),
        address=wire.address,
        state=pd_types.StoreState(member(pd_types.StoreState, wire.state)),
        labels=tuple((label.key, label.value) for label in wire.labels),
        version=wire.version,
    )


_STORE = Field(
    lambda reply, names: {"store": _store_to_wire(reply.store, names)},
    lambda wire, names: {"store": _store_from_wire(wire.store, names)},
)
_STORES = Field(
    lambda reply, names: {"stores": [_store_to_wire(one, names) for one in reply.stores]},
    lambda wire, names: {"stores": tuple(_store_from_wire(one, names) for one in wire.stores)},
)

# -- regions -------------------------------------------------------------------------------------


def _leader(placed: Any, names: Names) -> Mapping[str, Any]:
    """Who leads; where PD does not know (it is new, say), some peer: a store names its leader itself.

    TiKV's client in Rust keeps a region without a leader for ever, and never asks again.
    """
    told = placed.leader or next(iter(placed.region.peers), None)
    return {} if told is None else {"leader": PEER.to_wire(told, names)}


_PLACED = Shape(
    pd_types.PdRegion,
    pdpb.Region,
    part("region", REGION, needed=True),
    Field(_leader, part("leader", PEER).read),
    parts("pending", PEER, "pending_peers"),
)


def _write_region(reply: Any, names: Names) -> Mapping[str, Any]:
    told = _PLACED.to_wire(reply.region, names)
    leader = told.leader if told.HasField("leader") else None
    return {"region": told.region, "leader": leader, "pending_peers": told.pending_peers}


def _read_region(wire: Any, names: Names) -> Mapping[str, Any]:
    return {"region": _PLACED.from_wire(wire, names)}


def _write_scan(reply: Any, names: Names) -> Mapping[str, Any]:
    """Twice, as PD does: old clients read the first two fields only."""
    regions = [_PLACED.to_wire(one, names) for one in reply.regions]
    return {
        "region_metas": [one.region for one in regions],
        "leaders": [one.leader for one in regions],
        "regions": regions,
    }


_REGION_REPLY = Shape(
    pd.GetRegionReply,
    pdpb.GetRegionResponse,
    Field(_write_region, _read_region),
    failure=LOOK_UP_FAILURE,
)
_REGIONS = parts("regions", _PLACED)
_RANGES = custom(
    lambda request: {
        "ranges": [pdpb.KeyRange(start_key=start, end_key=end) for start, end in request.ranges]
    },
    lambda wire: {"ranges": tuple((each.start_key, each.end_key) for each in wire.ranges)},
)

# -- timestamps and safe points ------------------------------------------------------------------

_STAMP = custom(
    lambda reply: {"timestamp": pdpb.Timestamp(physical=reply.physical, logical=reply.logical)},
    lambda wire: {"physical": wire.timestamp.physical, "logical": wire.timestamp.logical},
)
_SERVICE = custom(
    lambda struct: {"service_id": struct.service_id.encode(), "TTL": struct.ttl_s},
    lambda wire: {
        "service_id": wire.service_id.decode(errors="replace"),
        "ttl_s": wire.TTL,
    },
)


def _write_gc_state(reply: Any) -> Mapping[str, Any]:
    state = pdpb.GCState(
        keyspace_scope=pdpb.KeyspaceScope(keyspace_id=NO_KEYSPACE),
        txn_safe_point=reply.txn_safe_point,
        gc_safe_point=reply.gc_safe_point,
    )
    return {"gc_state": state}


_GC_STATE = custom(
    _write_gc_state,
    lambda wire: {
        "txn_safe_point": wire.gc_state.txn_safe_point,
        "gc_safe_point": wire.gc_state.gc_safe_point,
    },
)

# -- the table -----------------------------------------------------------------------------------

TSO = _codec(
    "Tso",
    _request(pd.Tso, pdpb.TsoRequest, *same("count")),
    _answer(pd.TsoReply, pdpb.TsoResponse, *same("count"), _STAMP),
)
"""A stream both ways: answers in the order of the requests."""

PD: Sequence[Codec] = (
    _codec(
        "GetMembers",
        _request(pd.GetMembers, pdpb.GetMembersRequest),
        _answer(
            pd.GetMembersReply, pdpb.GetMembersResponse, Field(_write_members, _read_members)
        ),
    ),
    _codec(
        "GetClusterInfo",
        Shape(pd.GetClusterInfo, pdpb.GetClusterInfoRequest, _header(pdpb.ResponseHeader)),
        _answer(
            pd.GetClusterInfoReply,
            pdpb.GetClusterInfoResponse,
            constant("serviceModes", [pdpb.PD_SVC_MODE]),
        ),
    ),
    _codec(
        "AllocID",
        _request(pd.AllocId, pdpb.AllocIDRequest, *same("count")),
        _answer(pd.AllocIdReply, pdpb.AllocIDResponse, *same("id", "count")),
    ),
    _codec(
        "GetRegion",
        _request(pd.GetRegion, pdpb.GetRegionRequest, named("key", "region_key")),
        _REGION_REPLY,
    ),
    _codec(
        "GetPrevRegion",
        _request(pd.GetPrevRegion, pdpb.GetRegionRequest, named("key", "region_key")),
        _REGION_REPLY,
    ),
    _codec(
        "GetRegionByID",
        _request(pd.GetRegionById, pdpb.GetRegionByIDRequest, *same("region_id")),
        _REGION_REPLY,
    ),
    _codec(
        "ScanRegions",
        _request(
            pd.ScanRegions,
            pdpb.ScanRegionsRequest,
            named("start", "start_key"),
            named("end", "end_key"),
            *same("limit"),
        ),
        _answer(
            pd.ScanRegionsReply, pdpb.ScanRegionsResponse, Field(_write_scan, _REGIONS.read)
        ),
    ),
    _codec(
        "BatchScanRegions",
        _request(
            pd.BatchScanRegions,
            pdpb.BatchScanRegionsRequest,
            _RANGES,
            *same("limit"),
            named("whole", "contain_all_key_range"),
        ),
        _answer(pd.BatchScanRegionsReply, pdpb.BatchScanRegionsResponse, _REGIONS),
    ),
    _codec(
        "GetStore",
        _request(pd.GetStore, pdpb.GetStoreRequest, *same("store_id")),
        _answer(pd.GetStoreReply, pdpb.GetStoreResponse, _STORE),
    ),
    _codec(
        "GetAllStores",
        _request(
            pd.GetAllStores,
            pdpb.GetAllStoresRequest,
            named("exclude_tombstone", "exclude_tombstone_stores"),
        ),
        _answer(pd.GetAllStoresReply, pdpb.GetAllStoresResponse, _STORES),
    ),
    _codec(
        "GetGCSafePoint",
        _request(pd_gc.GetGcSafePoint, pdpb.GetGCSafePointRequest),
        _answer(pd_gc.GetGcSafePointReply, pdpb.GetGCSafePointResponse, *same("safe_point")),
    ),
    _codec(
        "UpdateGCSafePoint",
        _request(pd_gc.UpdateGcSafePoint, pdpb.UpdateGCSafePointRequest, *same("safe_point")),
        _answer(
            pd_gc.UpdateGcSafePointReply,
            pdpb.UpdateGCSafePointResponse,
            named("safe_point", "new_safe_point"),
        ),
    ),
    _codec(
        "UpdateServiceGCSafePoint",
        _request(
            pd_gc.UpdateServiceGcSafePoint,
            pdpb.UpdateServiceGCSafePointRequest,
            _SERVICE,
            *same("safe_point"),
        ),
        _answer(
            pd_gc.UpdateServiceGcSafePointReply,
            pdpb.UpdateServiceGCSafePointResponse,
            _SERVICE,
            *same("min_safe_point"),
        ),
    ),
    _codec(
        "GetGCState",
        _request(pd_gc.GetGcState, pdpb.GetGCStateRequest),
        _answer(pd_gc.GetGcStateReply, pdpb.GetGCStateResponse, _GC_STATE),
    ),
)
"""Every method with one request and one answer that carries one of our structs."""
