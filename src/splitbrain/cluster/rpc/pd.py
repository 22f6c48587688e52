"""A placement driver that never changes: every store answers it from its own configuration.

There is one region over all stores, led by whoever this store believes leads it.  Each store calls
itself the leader of PD, so a client that connects to any one of them is served by it, and finds the
others in ``GetMembers`` when it dies.  Timestamps and ids are not given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splitbrain.cluster.messages import pd
from splitbrain.cluster.messages.context import REGION_ID
from splitbrain.cluster.messages.pd_errors import PdRegionNotFound, PdStoreNotFound
from splitbrain.cluster.messages.pd_types import PdMember, PdRegion, StoreMeta
from splitbrain.cluster.messages.region import Peer, Region
from splitbrain.cluster.rpc.names import Names

__all__ = ["StaticPd"]


class StaticPd:
    """Answers some of ``messages.pd``'s requests.

    Args:
        node: the store that answers.
        names: all stores.
        leader: the name of the region's leader as far as known, or empty.
    """

    def __init__(self, node: str, names: Names, leader: Callable[[], str]) -> None:
        self._node = node
        self._names = names
        self._leader = leader

    def answer(self, request: Any) -> Any:
        """The answer; None: it knows none for such a request."""
        match request:
            case pd.GetMembers():
                ids = {node: self._names.id_of(node) for node in self._names.nodes}
                members = tuple(PdMember(node, number) for node, number in ids.items())
                return pd.GetMembersReply(members, self._node)
            case pd.GetClusterInfo():
                return pd.GetClusterInfoReply(bootstrapped=True)
            case pd.GetRegion():
                return pd.GetRegionReply(self._region())
            case pd.GetPrevRegion():  # the one region is the first
                return pd.GetRegionReply(error=PdRegionNotFound(key=request.key))
            case pd.GetRegionById():
                return self._region_by_id(request.region_id)
            case pd.ScanRegions():
                return pd.ScanRegionsReply((self._region(),))
            case pd.BatchScanRegions():
                return pd.BatchScanRegionsReply((self._region(),))
            case pd.GetStore():
                return self._store(request.store_id)
            case pd.GetAllStores():
                numbers = range(1, len(self._names.nodes) + 1)
                return pd.GetAllStoresReply(tuple(self._meta(number) for number in numbers))
            case _:
                return None

    def _region(self) -> PdRegion:
        """The one region, whatever the key; each store's peer has the store's number."""
        numbers = range(1, len(self._names.nodes) + 1)
        peers = tuple(Peer(number, number) for number in numbers)
        leading = self._names.id_of(self._leader())
        leader = Peer(leading, leading) if leading else None
        return PdRegion(Region(REGION_ID, peers=peers), leader)

    def _region_by_id(self, region_id: int) -> pd.GetRegionReply:
        if region_id == REGION_ID:
            return pd.GetRegionReply(self._region())
        return pd.GetRegionReply(error=PdRegionNotFound(region_id))

    def _store(self, store_id: int) -> pd.GetStoreReply:
        if self._names.name_of(store_id):
            return pd.GetStoreReply(self._meta(store_id))
        return pd.GetStoreReply(error=PdStoreNotFound(store_id))

    def _meta(self, store_id: int) -> StoreMeta:
        return StoreMeta(store_id, self._names.name_of(store_id))
