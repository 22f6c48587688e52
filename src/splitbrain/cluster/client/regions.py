"""What the client believes of regions: where their bounds are, who leads, which stores there are.

The belief may be old at any time; stores refuse what does not fit, and then it is mended.  Rules
(TiKV's Go client):

- a description is taken in unless one with a larger version or conf_version of the same region, or
  a larger version of an overlapping one, is known; what it overlaps is forgotten;
- what was not used for ``idle_s`` is forgotten, so that nothing grows for ever;
- a store that failed leads nothing any more, as far as the client believes: all regions that it
  led are looked up again at their next use.

Keys and bounds are stored ones (encoded in transactional mode).  Pure: times are handed in.

    >>> from splitbrain.cluster.messages.region import Epoch
    >>> cache = RegionCache()
    >>> cache.insert(Region(1, b"", b"m", Epoch(1, 2)), None, 0), cache.insert(Region(1), None, 0)
    (True, False)
    >>> cache.find(b"a", 0).region.id, cache.find(b"x", 0)
    (1, None)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from sortedcontainers import SortedDict

from splitbrain.cluster.messages.pd_types import StoreMeta
from splitbrain.cluster.messages.region import Peer, Region

__all__ = ["Place", "RegionCache"]


class Place(msgspec.Struct, frozen=True):
    """A region as believed, and its leader, if one is known."""

    region: Region
    leader: Peer | None = None


class _Entry:
    __slots__ = ("place", "stale", "used_ns")

    def __init__(self, place: Place, now_ns: int) -> None:
        self.place = place
        self.used_ns = now_ns
        self.stale = False


class RegionCache:
    """Regions by start key, stores by id."""

    def __init__(self, *, idle_s: float = 600.0) -> None:
        self._idle_ns = int(idle_s * 1e9)
        self._entries: SortedDict = SortedDict()
        self._stores: dict[int, StoreMeta] = {}

    # -- regions -----------------------------------------------------------------------------

    def find(self, key: bytes, now_ns: int) -> Place | None:
        """The region that holds ``key``, if one is known and its belief is not stale."""
        at = self._entries.bisect_right(key) - 1
        return self._fresh(self._entries.peekitem(at)[1], key, now_ns) if at >= 0 else None

    def find_before(self, bound: bytes, now_ns: int) -> Place | None:
        """The region of the keys just below ``bound`` (empty: of the last keys there are)."""
        at = (self._entries.bisect_left(bound) if bound else len(self._entries)) - 1
        if at < 0:
            return None
        entry = self._entries.peekitem(at)[1]
        end = entry.place.region.end
        reaches = not end or (bool(bound) and bound <= end)
        return self._fresh(entry, entry.place.region.start, now_ns) if reaches else None

    def _fresh(self, entry: _Entry, key: bytes, now_ns: int) -> Place | None:
        if entry.stale or not entry.place.region.covers(key):
            return None
        if now_ns - entry.used_ns >= self._idle_ns:
            return None
        entry.used_ns = now_ns
        return entry.place

    def insert(self, region: Region, leader: Peer | None, now_ns: int) -> bool:
        """Believe this; False: something newer is believed already."""
        overlapped = list(self._overlapped(region))
        concerned = overlapped + [e for e in self._of(region.id) if e not in overlapped]
        newer = [entry for entry in concerned if self._newer(entry.place.region, region)]
        for entry in newer:
            entry.stale = False  # nobody knows better
        if newer:
            return False
        for entry in concerned:
            del self._entries[entry.place.region.start]
        self._entries[region.start] = _Entry(Place(region, leader), now_ns)
        return True

    def _newer(self, known: Region, offered: Region) -> bool:
        if known.epoch.version > offered.epoch.version:
            return True
        same = known.id == offered.id
        return same and known.epoch.conf_version > offered.epoch.conf_version

    def _overlapped(self, region: Region) -> Iterator[_Entry]:
        first = max(0, self._entries.bisect_right(region.start) - 1)
        for start in list(self._entries.islice(first)):
            if region.end and start >= region.end:
                return
            entry = self._entries[start]
            end = entry.place.region.end
            if not end or end > region.start:
                yield entry

    def _of(self, region_id: int) -> list[_Entry]:
        return [e for e in self._entries.values() if e.place.region.id == region_id]

    def drop(self, place: Place) -> None:
        """Forget this description, unless a newer one has come."""
        entry = self._entries.get(place.region.start)
        if entry is not None and entry.place.region == place.region:
            del self._entries[place.region.start]

    def leader_is(self, place: Place, leader: Peer | None) -> Place:
        """Somebody says who leads (None: not the one believed); the belief after that."""
        changed = msgspec.structs.replace(place, leader=leader)
        entry = self._entries.get(place.region.start)
        if entry is not None and entry.place.region == place.region:
            entry.place, entry.stale = changed, False
        return changed

    def __len__(self) -> int:
        return len(self._entries)

    # -- stores ------------------------------------------------------------------------------

    def put_stores(self, stores: Iterable[StoreMeta]) -> None:
        """Learn of stores."""
        self._stores.update((store.id, store) for store in stores)

    def knows_stores(self, region: Region) -> bool:
        """Is the store of every peer known?"""
        stores = self._stores
        return all(peer.store_id in stores for peer in region.peers)

    def store(self, store_id: int) -> StoreMeta | None:
        """A store, if known."""
        return self._stores.get(store_id)

    def store_of(self, node: str) -> StoreMeta | None:
        """The store on a node; of several in the course of time the youngest."""
        found = [store for store in self._stores.values() if store.node == node]
        return max(found, key=lambda store: store.id) if found else None

    def forget_store(self, store_id: int) -> None:
        """Its address or id is not what was believed."""
        self._stores.pop(store_id, None)

    def store_failed(self, store_id: int) -> None:
        """Look up all regions again that it led."""
        for entry in self._entries.values():
            leader = entry.place.leader
            if leader is not None and leader.store_id == store_id:
                entry.stale = True
