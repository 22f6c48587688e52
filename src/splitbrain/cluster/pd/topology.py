"""What has changed since a client last asked.

Each change of a region's range, peers or leader, and of a store, has the next number: the revision.
Revisions are the leader's own; with its term they name a moment in what it has seen.  Only the
latest revision of each thing is kept: whoever asks gets each thing once, as it is now.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Changes", "Topology"]

MAX_REMOVED = 10_000
"""Regions that are gone and remembered as such; who asks from before gets everything anew."""


class Changes(NamedTuple):
    """Ids of what changed; ``whole``: of all that there is."""

    whole: bool
    regions: tuple[int, ...]
    removed: tuple[int, ...]
    stores: tuple[int, ...]


class Topology:
    """Revisions of one leadership."""

    def __init__(self, term: int) -> None:
        self.term = term
        self.revision = 1
        """Grows by one with each change; what the leader began with is revision 1."""
        self._oldest = 1
        self._regions: dict[int, int] = {}
        self._removed: dict[int, int] = {}
        self._stores: dict[int, int] = {}

    def region_changed(self, region_id: int) -> None:
        """It is another than before, or new."""
        self.revision += 1
        self._removed.pop(region_id, None)
        self._regions.pop(region_id, None)
        self._regions[region_id] = self.revision  # the latest is last

    def region_removed(self, region_id: int) -> None:
        """It is gone."""
        self.revision += 1
        self._regions.pop(region_id, None)
        self._removed.pop(region_id, None)
        self._removed[region_id] = self.revision
        if len(self._removed) > MAX_REMOVED:
            self._oldest = self._removed.pop(next(iter(self._removed)))

    def store_changed(self, store_id: int) -> None:
        """It is another than before, or new."""
        self.revision += 1
        self._stores.pop(store_id, None)
        self._stores[store_id] = self.revision

    def news(self, term: int, revision: int) -> bool:
        """Is there anything that one who knows (term, revision) does not know?"""
        return term != self.term or revision != self.revision

    def since(self, term: int, revision: int) -> Changes:
        """What one who knows (term, revision) does not know."""
        if term != self.term or not self._oldest <= revision <= self.revision:
            return Changes(True, (), (), ())
        return Changes(
            False,
            _after(self._regions, revision),
            _after(self._removed, revision),
            _after(self._stores, revision),
        )


def _after(revisions: dict[int, int], revision: int) -> tuple[int, ...]:
    """Ids with a later revision, sorted; linear in how many there are."""
    found = []
    for one in reversed(revisions):
        if revisions[one] <= revision:
            break
        found.append(one)
    return tuple(sorted(found))
