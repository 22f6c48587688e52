"""What an administrator may want of the leader of PD, beyond the requests of clients.

verb             arguments
transfer-leader  to             PD's own leadership goes to that member
campaign                        this member seeks election
evict-leader     store, stop    the store shall lead nothing; stop=true: it may again
move-leader      region, to     the region's peer on that store shall lead
move-peer        region, from, to
split-region     region, keys   at these keys (hexadecimal); none: in the middle
regions                         all that are known, JSON-able
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.cluster.pd.cluster import Cluster
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.goals import Cut
from splitbrain.cluster.pd.operators import Kind, Operator
from splitbrain.cluster.pd.plans import TakeIds, move_leader, replace_peer
from splitbrain.cluster.pd.regions import RegionInfo
from splitbrain.cluster.raft.core import Raft

__all__ = ["control"]

VERBS = (
    "status",
    "dump",
    "compact",
    "transfer-leader",
    "campaign",
    "evict-leader",
    "move-leader",
    "move-peer",
    "split-region",
    "regions",
)


def control(
    config: PdConfig,
    raft: Raft,
    cluster: Cluster | None,
    now_ns: int,
    take_ids: TakeIds,
    verb: str,
    arguments: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Do it; ``started`` tells whether it was begun.

    Raises:
        ValueError: no such verb, an argument that cannot be, or this member is not the leader.
    """
    if verb == "campaign":
        return {"started": raft.campaign()}
    if verb == "transfer-leader":
        to = arguments.get("to")
        if to not in config.nodes:
            raise ValueError(f"transfer-leader: to={to!r} is no member of the placement driver")
        return {"started": raft.transfer_leader(to)}
    if verb not in VERBS:
        raise ValueError(f"unknown verb {verb!r}; known: {', '.join(VERBS)}")
    if cluster is None:
        leader = raft.leader or "nobody that it knows"
        raise ValueError(
            f"{verb}: {config.node} does not lead the placement driver, but {leader}; ask there"
        )
    if verb == "regions":
        return {"regions": [msgspec.to_builtins(info.placed()) for info in cluster.regions]}
    if verb == "evict-leader":
        store_id = int(arguments["store"])
        if cluster.stores.get(store_id) is None:
            raise ValueError(f"evict-leader: there is no store {store_id}")
        only = frozenset({store_id})
        stop = bool(arguments.get("stop"))
        cluster.evicting = cluster.evicting - only if stop else cluster.evicting | only
        return {"evicting": sorted(cluster.evicting)}
    operator = _operator(cluster, now_ns, take_ids, verb, arguments)
    return {"started": bool(cluster.plan([operator], now_ns)) if operator else False}


def _operator(
    cluster: Cluster, now_ns: int, take_ids: TakeIds, verb: str, arguments: Mapping[str, Any]
) -> Operator | None:
    info = cluster.regions.get(int(arguments["region"]))
    if info is None:
        raise ValueError(f"{verb}: there is no region {arguments['region']}")
    region = info.region
    if verb == "split-region":
        keys = tuple(bytes.fromhex(key) for key in arguments.get("keys", ()))
        goals = (Cut(region.epoch.version, keys),)
        return Operator("split-region", Kind.ADMIN, region.id, region.epoch, goals)
    to = int(arguments["to"])
    if verb == "move-leader":
        if region.peer_on(to) is None:
            raise ValueError(f"move-leader: region {region.id} has no peer on store {to}")
        return move_leader("move-leader", Kind.ADMIN, info, to)
    return _move_peer(cluster, now_ns, take_ids, info, int(arguments["from"]), to)


def _move_peer(
    cluster: Cluster, now_ns: int, take_ids: TakeIds, info: RegionInfo, source: int, to: int
) -> Operator | None:
    old = info.region.peer_on(source)
    view = cluster.view(now_ns, take_ids)
    if old is None or not view.suits(to, info):
        raise ValueError(
            f"move-peer: region {info.region.id} has no peer on store {source}, or store {to} has "
            f"one, or is not up"
        )
    return replace_peer(view, "move-peer", Kind.ADMIN, info, old, to)
