"""All regions that PD knows of, by key and by id, and which news of them to believe.

News comes from whoever takes itself for a region's leader: also from a deposed one, late or out of
order.  Believing old news would send clients to where a key no longer is, so (as TiKV's PD):

- of the same region, nothing with a smaller ``version``, ``conf_version`` or Raft term is believed;
- nothing is believed that overlaps a region with a larger ``version``: the range was split or
  merged since.  A believed region removes all others that it overlaps.

    >>> from splitbrain.cluster.messages.region import Epoch, Region
    >>> tree = RegionTree()
    >>> tree.put(RegionInfo(Region(1)))                    # all keys
    Accepted(changed=True, removed=())
    >>> tree.put(RegionInfo(Region(2, b"", b"m", Epoch(1, 2))))   # split off: 1 is heard of next
    Accepted(changed=True, removed=(1,))
    >>> tree.put(RegionInfo(Region(1)))                    # late
    Refused(reason='overlaps region 2 of version 2')
    >>> tree.find(b"a").region.id, tree.find(b"z")
    (2, None)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec
from sortedcontainers import SortedDict

from splitbrain.cluster.messages.pd_types import DownPeer, PdRegion
from splitbrain.cluster.messages.region import Peer, Region

__all__ = ["Accepted", "Refused", "RegionInfo", "RegionTree"]


class RegionInfo(msgspec.Struct, frozen=True, array_like=True):
    """A region as its leader last told of it; see ``RegionHeartbeat``."""

    region: Region
    leader: Peer | None = None
    term: int = 0
    down: tuple[DownPeer, ...] = ()
    pending: tuple[Peer, ...] = ()
    size_bytes: int = 0
    keys: int = 0

    @property
    def leader_store(self) -> int:
        """On which store its leader is; 0 if unknown."""
        return self.leader.store_id if self.leader is not None else 0

    def lasting(self) -> RegionInfo:
        """What of it must last: the rest is only true for a while."""
        return RegionInfo(self.region, self.leader, self.term)

    def placed(self) -> PdRegion:
        """As clients are told."""
        return PdRegion(self.region, self.leader, self.pending, self.down)


class Accepted(NamedTuple):
    """News was believed.

    ``changed``: range, peers or leader are others than before; ``removed``: regions that are gone.
    """

    changed: bool
    removed: tuple[int, ...]


class Refused(NamedTuple):
    """News was old."""

    reason: str


class RegionTree:
    """Regions without overlaps, perhaps with holes."""

    def __init__(self) -> None:
        self._by_id: dict[int, RegionInfo] = {}
        self._starts: SortedDict = SortedDict()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[RegionInfo]:
        """In the order of their keys."""
        for region_id in self._starts.values():
            yield self._by_id[region_id]

    def put(self, info: RegionInfo) -> Accepted | Refused:
        """Believe ``info``, or not; logarithmic, and linear in the regions that it removes."""
        region = info.region
        old = self._by_id.get(region.id)
        if old is not None:
            reason = self._older(info, old)
            if reason:
                return Refused(reason)
        overlapped = [one.region for one in self.scan(region.start, region.end)]
        for other in overlapped:
            if other.id != region.id and other.epoch.version > region.epoch.version:
                return Refused(f"overlaps region {other.id} of version {other.epoch.version}")
        removed = tuple(other.id for other in overlapped if other.id != region.id)
        for region_id in removed:
            self.remove(region_id)
        if old is not None:
            del self._starts[old.region.start]
        self._by_id[region.id] = info
        self._starts[region.start] = region.id
        changed = old is None or (old.region, old.leader) != (region, info.leader)
        return Accepted(changed, removed)

    def _older(self, info: RegionInfo, old: RegionInfo) -> str:
        """Why ``info`` is older than what is known of the same region; empty if it is not."""
        new_epoch, epoch = info.region.epoch, old.region.epoch
        if new_epoch.version < epoch.version or new_epoch.conf_version < epoch.conf_version:
            return f"epoch {new_epoch} is behind {epoch}"
        if info.term and info.term < old.term:
            return f"term {info.term} is behind {old.term}"
        return ""

    def remove(self, region_id: int) -> None:
        """Forget one, if it is there."""
        info = self._by_id.pop(region_id, None)
        if info is not None:
            del self._starts[info.region.start]

    def get(self, region_id: int) -> RegionInfo | None:
        """By its id."""
        return self._by_id.get(region_id)

    def find(self, key: bytes) -> RegionInfo | None:
        """The one that holds ``key``; None if it lies in a hole."""
        place = self._starts.bisect_right(key) - 1
        if place < 0:
            return None
        info = self._by_id[self._starts.peekitem(place)[1]]
        return info if info.region.covers(key) else None

    def previous(self, key: bytes) -> RegionInfo | None:
        """The one that ends where the one with ``key`` begins."""
        here = self.find(key)
        if here is None:
            return None
        place = self._starts.bisect_left(here.region.start) - 1
        if place < 0:
            return None
        info = self._by_id[self._starts.peekitem(place)[1]]
        return info if info.region.end == here.region.start else None

    def scan(self, start: bytes, end: bytes = b"", *, limit: int = 0) -> Iterator[RegionInfo]:
        """Those that touch [start, end) in order, at most ``limit`` (0: all)."""
        first = self.find(start)
        low = first.region.start if first is not None else start
        keys = self._starts.irange(low, end or None, inclusive=(True, False))
        for key in list(islice(keys, limit or None)):
            yield self._by_id[self._starts[key]]
