"""A placement driver that never changes: every store answers it from its own configuration.

There is one region over all stores, led by whoever this store believes leads it.  Each store calls
itself the leader of PD, so a client that connects to any one of them is served by it, and finds the
others in ``GetMembers`` when it dies.  Timestamps are not given: ``Tso`` is not implemented.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc import pdpb_pb2 as pdpb
from splitbrain.cluster.rpc.names import Names

__all__ = ["StaticPd"]

VERSION = "8.5.0"
"""The TiKV release whose protocol this is; clients compare it with what they need."""


class StaticPd:
    """Answers of ``pdpb.PD``.

    Args:
        node: the store that answers.
        addresses: advertised host:port of every store, in the order of ``names``.
        leader: the name of the region's leader as far as known, or empty.
        cluster_id: told in every answer, and never changing.
    """

    def __init__(
        self,
        node: str,
        names: Names,
        addresses: Mapping[str, str],
        leader: Callable[[], str],
        cluster_id: int,
    ) -> None:
        self._node = node
        self._names = names
        self._addresses = addresses
        self._leader = leader
        self._header = pdpb.ResponseHeader(cluster_id=cluster_id)

    def methods(self) -> Mapping[str, tuple[Any, Callable[[Any], Any]]]:
        """Method name -> (class of its request, what answers it)."""
        return {
            "GetMembers": (pdpb.GetMembersRequest, self.get_members),
            "GetRegion": (pdpb.GetRegionRequest, self.get_region),
            "GetRegionByID": (pdpb.GetRegionByIDRequest, self.get_region_by_id),
            "ScanRegions": (pdpb.ScanRegionsRequest, self.scan_regions),
            "GetStore": (pdpb.GetStoreRequest, self.get_store),
            "GetAllStores": (pdpb.GetAllStoresRequest, self.get_all_stores),
        }

    def get_members(self, _: pdpb.GetMembersRequest) -> pdpb.GetMembersResponse:
        """All stores, this one as the leader."""
        members = {node: self._member(node) for node in self._names.nodes}
        own = members[self._node]
        return pdpb.GetMembersResponse(
            header=self._header, members=list(members.values()), leader=own, etcd_leader=own
        )

    def get_region(self, _: pdpb.GetRegionRequest) -> pdpb.GetRegionResponse:
        """The one region, whatever the key."""
        leader = self._names.peer(self._leader())
        return pdpb.GetRegionResponse(
            header=self._header, region=self._names.region(), leader=leader
        )

    def get_region_by_id(self, request: pdpb.GetRegionByIDRequest) -> pdpb.GetRegionResponse:
        """The one region, or an error for another id."""
        if request.region_id == m.REGION_ID:
            return self.get_region(pdpb.GetRegionRequest())
        text = f"there is no region {request.region_id}: this cluster has region {m.REGION_ID}"
        return pdpb.GetRegionResponse(header=self._error(pdpb.REGION_NOT_FOUND, text))

    def scan_regions(self, _: pdpb.ScanRegionsRequest) -> pdpb.ScanRegionsResponse:
        """The one region, whatever the range."""
        region, leader = self._names.region(), self._names.peer(self._leader())
        return pdpb.ScanRegionsResponse(
            header=self._header,
            region_metas=[region],
            leaders=[leader or metapb.Peer()],
            regions=[pdpb.Region(region=region, leader=leader)],
        )

    def get_store(self, request: pdpb.GetStoreRequest) -> pdpb.GetStoreResponse:
        """One store's address."""
        node = self._names.name_of(request.store_id)
        if node:
            return pdpb.GetStoreResponse(header=self._header, store=self._store(node))
        text = f"there is no store {request.store_id}: this cluster has {len(self._addresses)}"
        return pdpb.GetStoreResponse(header=self._error(pdpb.UNKNOWN, text))

    def get_all_stores(self, _: pdpb.GetAllStoresRequest) -> pdpb.GetAllStoresResponse:
        """Every store."""
        stores = [self._store(node) for node in self._names.nodes]
        return pdpb.GetAllStoresResponse(header=self._header, stores=stores)

    def _member(self, node: str) -> pdpb.Member:
        url = f"http://{self._addresses[node]}"
        number = self._names.id_of(node)
        return pdpb.Member(name=node, member_id=number, client_urls=[url], peer_urls=[url])

    def _store(self, node: str) -> metapb.Store:
        address = self._addresses[node]
        return metapb.Store(
            id=self._names.id_of(node),
            address=address,
            peer_address=address,
            version=VERSION,
            state=metapb.Up,
        )

    def _error(self, kind: pdpb.ErrorType, text: str) -> pdpb.ResponseHeader:
        error = pdpb.Error(type=kind, message=text)
        return pdpb.ResponseHeader(cluster_id=self._header.cluster_id, error=error)
