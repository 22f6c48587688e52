"""What can be asked of a store from outside: acts of an administrator or of a test.

    status                                     what the store says of itself
    transfer-leader {to, [region]}             hand over a region's leadership
    campaign        {[region]}                 seek election now
    compact         {[region]}                 take a snapshot now
    dump            {[region]}                 applied index, range and digest of a region's state
    split           {key, id, peers, [region]} cut a region; the left part is the new one
    peers           {changes, [joint], [region]}   change a region's peers
    hash            {[region], [safe_point]}   start a check of a region's replicas: index and term
    hash-node       {index, term, [path], [region]}   a node of the tree that was made there
    regions                                    all regions here

``region`` is the first one if it is not said.  ``key`` is text or bytes, as the region's bounds are
compared: a transactional store encodes it.  ``peers`` are ids, in the order of the region's peers.  A
change is [kind, store, peer], kind one of add, learn, remove; with ``joint`` and no changes the joint
configuration is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from splitbrain.cluster.messages.pd_types import PeerChange, PeerChangeKind, SplitIds
from splitbrain.cluster.messages.region import Peer as PeerMeta
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.cluster.store.peer import Peer

if TYPE_CHECKING:
    from splitbrain.cluster.store.routing import Routing

__all__ = ["act"]

Answer = dict[str, Any]
Verb = Callable[["Routing", Peer, Mapping[str, Any]], Answer]

_KINDS = {
    "add": PeerChangeKind.ADD_VOTER,
    "learn": PeerChangeKind.ADD_LEARNER,
    "remove": PeerChangeKind.REMOVE,
}


def act(store: Routing, verb: str, arguments: Mapping[str, Any]) -> Answer:
    """Do one of the module's verbs, ``status`` apart.

    Raises:
        ValueError: no such verb or region, or an argument is not as it should be.
    """
    if verb == "regions":
        return {"regions": [_region(peer) for _, peer in sorted(store.peers.items())]}
    if verb not in _VERBS:
        raise ValueError(f"unknown verb {verb!r}; known: status, {', '.join(_VERBS)}, regions")
    number = int(arguments.get("region", store.first_region))
    peer = store.peers.get(number)
    if peer is None:
        raise ValueError(f"store {store.env.node} has no peer of region {number}")
    answer = _VERBS[verb](store, peer, arguments)
    store.wake(peer)
    return answer


def _region(peer: Peer) -> Answer:
    region = peer.region
    answer: Answer = {"id": peer.region_id, "peer": peer.peer_id, "role": peer.raft.role.value}
    if region is not None:
        answer |= {
            "start": region.start.hex(),
            "end": region.end.hex(),
            "epoch": [region.epoch.conf_version, region.epoch.version],
            "peers": [[one.id, one.store_id, one.role.name.lower()] for one in region.peers],
        }
    return answer


def _transfer(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    to = arguments.get("to")
    if to not in store.config.nodes:
        raise ValueError(f"transfer-leader: to={to!r} is not a store of this cluster")
    return {"started": peer.raft.transfer_leader(to)}


def _campaign(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    return {"started": peer.raft.campaign()}


def _compact(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    return {"snapshot": peer.compact()}


def _dump(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    return {
        "applied": peer.raft.applied_index,
        "digest": peer.state.digest(),
        "region": _region(peer),
    }


def _split(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    key, ids = arguments.get("key"), arguments.get("peers")
    if isinstance(key, str):
        key = key.encode()
    if not isinstance(key, bytes) or not isinstance(ids, list | tuple) or "id" not in arguments:
        raise ValueError("split: wants key (text), id (of the new region), peers (their ids)")
    if store.config.mode == "txn":
        key = encode_key(key)
    new = SplitIds(int(arguments["id"]), tuple(int(one) for one in ids))
    error = peer.split((key,), (new,))
    return {"started": error is None, "error": "" if error is None else repr(error)}


def _change(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    changes: list[PeerChange] = []
    for kind, node, peer_id in arguments.get("changes", ()):
        if kind not in _KINDS or node not in store.config.nodes:
            raise ValueError(
                f"peers: {kind!r} {node!r}: want add, learn or remove, and a store"
            )
        meta = PeerMeta(int(peer_id), store.config.nodes.index(node) + 1)
        changes.append(PeerChange(_KINDS[kind], meta))
    error = peer.change_peers(changes, joint=bool(arguments.get("joint", False)))
    return {"started": error is None, "error": "" if error is None else repr(error)}


def _hash(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    place = peer.start_check(int(arguments.get("safe_point", 0)))
    if not isinstance(place, tuple):
        return {"started": False, "error": repr(place)}
    index, term = place
    return {"started": True, "error": "", "index": index, "term": term}


def _hash_node(store: Routing, peer: Peer, arguments: Mapping[str, Any]) -> Answer:
    if "index" not in arguments or "term" not in arguments:
        raise ValueError("hash-node: wants index and term, as hash told them")
    index, term = int(arguments["index"]), int(arguments["term"])
    return peer.hash_node(index, term, str(arguments.get("path", "")))


_VERBS: dict[str, Verb] = {
    "transfer-leader": _transfer,
    "campaign": _campaign,
    "compact": _compact,
    "dump": _dump,
    "hash": _hash,
    "hash-node": _hash_node,
    "split": _split,
    "peers": _change,
}
