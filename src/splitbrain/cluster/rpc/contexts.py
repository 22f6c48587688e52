"""To whom a request speaks: our ``Context`` and ``kvrpcpb.Context``, and what both refuse."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages.context import Isolation, ReplicaRead
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc.fields import Field, Refused, member
from splitbrain.cluster.rpc.names import Names

__all__ = ["CONTEXT"]


def _write(request: Any, _: Names) -> Mapping[str, Any]:
    return {"context": _wire(request.context)}


@lru_cache(maxsize=256)
def _wire(context: m.Context) -> Any:
    """A context's message, which is never changed: requests to one peer share it."""
    peer = None
    if context.store_id or context.peer_id:
        peer = metapb.Peer(id=context.peer_id, store_id=context.store_id)
    if context.replica_read is ReplicaRead.EVENTUAL:
        raise Refused("TiKV's protocol has no eventual read")
    return kvrpcpb.Context(
        region_id=context.region_id,
        region_epoch=metapb.RegionEpoch(conf_ver=context.conf_version, version=context.version),
        peer=peer,
        term=context.term,
        isolation_level=int(context.isolation),  # type: ignore[arg-type]
        replica_read=context.replica_read is ReplicaRead.FOLLOWER,
        stale_read=context.replica_read is ReplicaRead.STALE,
        resolved_locks=context.resolved_locks,
        committed_locks=context.committed_locks,
        is_retry_request=context.is_retry,
        cluster_id=context.cluster_id,
    )


def _read(request: Any, _: Names) -> Mapping[str, Any]:
    wire = request.context
    if wire.api_version not in (kvrpcpb.V1, kvrpcpb.V1TTL):
        raise Refused("minitikv speaks API version 1 only: open the client without a keyspace")
    context = m.Context(
        region_id=wire.region_id,
        conf_version=wire.region_epoch.conf_ver,
        version=wire.region_epoch.version,
        store_id=wire.peer.store_id,
        peer_id=wire.peer.id,
        term=wire.term,
        isolation=Isolation(member(Isolation, wire.isolation_level)),
        replica_read=_replica_read(wire),
        resolved_locks=tuple(wire.resolved_locks),
        committed_locks=tuple(wire.committed_locks),
        is_retry=wire.is_retry_request,
        cluster_id=wire.cluster_id,
    )
    return {"context": context}


def _replica_read(wire: Any) -> ReplicaRead:
    if wire.stale_read:
        return ReplicaRead.STALE
    return ReplicaRead.FOLLOWER if wire.replica_read else ReplicaRead.LEADER


CONTEXT = Field(_write, _read)
"""The field ``context`` of a request."""
