"""Names in our structs, numbers on the wire: the i-th name of the configuration is store i.

    >>> names = Names(("n1", "n2"))
    >>> names.id_of("n2"), names.name_of(1), names.name_of(9)
    (2, 'n1', '')

The first region's peer on a store has the store's number.
"""

from __future__ import annotations

from collections.abc import Mapping

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import metapb_pb2 as metapb

__all__ = ["Names"]


class Names:
    """Which store has which number: the i-th name is store i, counted from 1.

    Args:
        nodes: names in the configuration's order.
        addresses: advertised host:port of each, where they must be told.
    """

    def __init__(
        self, nodes: tuple[str, ...], addresses: Mapping[str, str] | None = None
    ) -> None:
        self.nodes = nodes
        self._addresses = addresses or {}
        self._ids = {node: number for number, node in enumerate(nodes, start=1)}

    def id_of(self, node: str) -> int:
        """A node's number; 0 for a name that is not in the configuration."""
        return self._ids.get(node, 0)

    def name_of(self, store_id: int) -> str:
        """A store's name; empty for a number that is not in the configuration."""
        return self.nodes[store_id - 1] if 1 <= store_id <= len(self.nodes) else ""

    def address_of(self, node: str) -> str:
        """A store's advertised host:port, or empty."""
        return self._addresses.get(node, "")

    def peer(self, node: str) -> metapb.Peer | None:
        """The first region's peer on a store; None for a name that is not in the configuration."""
        number = self.id_of(node)
        return metapb.Peer(id=number, store_id=number) if number else None

    def region(
        self, conf_version: int = m.CONF_VERSION, version: int = m.REGION_VERSION
    ) -> metapb.Region:
        """The region before the first split, over all keys and all stores."""
        numbers = range(1, len(self.nodes) + 1)
        return metapb.Region(
            id=m.REGION_ID,
            region_epoch=metapb.RegionEpoch(conf_ver=conf_version, version=version),
            peers=[metapb.Peer(id=number, store_id=number) for number in numbers],
        )
