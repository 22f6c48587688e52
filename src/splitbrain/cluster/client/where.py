"""Where a raw session's next request goes: to the one region there is, or to that of its key.

Both have a :class:`~.route.Route`, which chooses the node; see there for why a session is bound to
one.  A session with regions has one for each, over the nodes that have a replica; where its own node
has none, it is bound to another, ever the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.outcome import region_error
from splitbrain.cluster.client.regions import Place
from splitbrain.cluster.client.route import Prefer, Route
from splitbrain.cluster.messages.context import Context
from splitbrain.cluster.messages.raw import RawBatchDelete, RawBatchGet, RawBatchPut, RawScan
from splitbrain.cluster.messages.region_errors import (
    EpochNotMatch,
    KeyNotInRegion,
    PeerNotMatch,
    RegionNotFound,
    StoreNotMatch,
)
from splitbrain.errors import Definite

__all__ = ["AnyRegion", "OneRegion"]

_MISPLACED = (EpochNotMatch, KeyNotInRegion, PeerNotMatch, RegionNotFound, StoreNotMatch)


class OneRegion:
    """The region over all stores with which a cluster begins."""

    def __init__(self, nodes: Sequence[str], node: str, prefer: Prefer, forget_ns: int) -> None:
        self.route = Route(nodes, node, prefer=prefer, forget_ns=forget_ns)

    async def find(self, request: Any, left_s: float) -> None:
        """Nothing to look for."""

    def stamped(self, request: Any, node: str) -> Any:
        """The request as it is: its context means the first region."""
        return request

    def moved(self, answer: object, node: str) -> bool:
        """Whether the region must be looked for again: never."""
        return False

    def reach(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Those of the sorted keys that the region holds: all."""
        return keys

    def edge(self, end: bytes, *, reverse: bool) -> bytes | None:
        """Where a scan that ends at ``end`` goes on beyond the region: nowhere."""
        return None


class AnyRegion:
    """The region of the key in hand, as PD and the stores tell it."""

    def __init__(
        self,
        access: Access,
        nodes: Sequence[str],
        node: str,
        prefer: Prefer,
        forget_ns: int,
    ) -> None:
        self._access = access
        self._nodes = tuple(nodes)
        self._node = node
        self._prefer = prefer
        self._forget_ns = forget_ns
        self._routes: dict[int, tuple[tuple[str, ...], Route]] = {}
        self.route = Route(nodes, node, prefer=prefer, forget_ns=forget_ns)
        self._place: Place | None = None

    async def find(self, request: Any, left_s: float) -> None:
        """Look for the region of the request's first key.

        Raises:
            OutOfPatience: in vain.
        """
        access = self._access
        patience = access.patience(left_s)
        if isinstance(request, RawScan) and request.reverse:
            self._place = await access.locate_before(request.start, patience)
        else:
            self._place = await access.locate(_first_key(request), patience)
        self.route = self._route_of(self._place)

    def _route_of(self, place: Place) -> Route:
        cache = self._access.cache
        stores = [cache.store(peer.store_id) for peer in place.region.peers]
        there = {store.node for store in stores if store is not None}
        nodes = tuple(node for node in self._nodes if node in there)
        known = self._routes.get(place.region.id)
        if known is not None and known[0] == nodes:
            return known[1]
        if not nodes:
            raise Definite("no-store", f"region {place.region.id} is on none of our nodes")
        at = self._nodes.index(self._node)
        bound = next(n for n in self._nodes[at:] + self._nodes[:at] if n in there)
        route = Route(nodes, bound, prefer=self._prefer, forget_ns=self._forget_ns)
        self._routes[place.region.id] = (nodes, route)
        return route

    def stamped(self, request: Any, node: str) -> Any:
        """The request, addressed to the region's replica on ``node``; a scan cut to the region."""
        assert self._place is not None
        region = self._place.region
        store = self._access.cache.store_of(node)
        peer = region.peer_on(store.id) if store is not None else None
        context = Context(
            region_id=region.id,
            conf_version=region.epoch.conf_version,
            version=region.epoch.version,
            store_id=0 if peer is None else peer.store_id,
            peer_id=0 if peer is None else peer.id,
        )
        request = msgspec.structs.replace(request, context=context)
        if not isinstance(request, RawScan):
            return request
        start, end = request.start, request.end
        if request.reverse:
            start = _lower(start, region.end)
            return msgspec.structs.replace(request, start=start, end=max(end, region.start))
        return msgspec.structs.replace(request, end=_lower(end, region.end))

    def moved(self, answer: object, node: str) -> bool:
        """Whether the region must be looked for again; what the answer tells is learnt."""
        cause = region_error(answer)
        if not isinstance(cause, _MISPLACED):
            return False
        assert self._place is not None
        cache = self._access.cache
        cache.drop(self._place)
        store = cache.store_of(node)
        if isinstance(cause, StoreNotMatch) and store is not None:
            cache.forget_store(store.id)
        if isinstance(cause, EpochNotMatch):
            for region in cause.regions:
                leader = region.peer_on(store.id) if store is not None else None
                cache.insert(region, leader, self._access.pacer.monotonic_ns())
        return True

    def reach(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Those of the sorted keys that the first one's region holds."""
        assert self._place is not None
        covered = self._place.region.covers
        return [key for key in keys if covered(self._access.stored(key))]

    def edge(self, end: bytes, *, reverse: bool) -> bytes | None:
        """Where a scan that ends at ``end`` goes on beyond the region just scanned."""
        assert self._place is not None
        region = self._place.region
        edge = self._access.bound(region.start if reverse else region.end)
        beyond = edge > end if reverse else not end or edge < end
        return edge if edge and beyond else None


def _first_key(request: Any) -> bytes:
    if isinstance(request, RawBatchGet | RawBatchDelete):
        return request.keys[0]
    if isinstance(request, RawBatchPut):
        return request.pairs[0][0]
    key: bytes = request.start if isinstance(request, RawScan) else request.key
    return key


def _lower(one: bytes, other: bytes) -> bytes:
    """The lower of two upper bounds; an empty one is none."""
    return min(one, other) if one and other else one or other
