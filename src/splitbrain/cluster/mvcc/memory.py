"""What a store knows of timestamps and keys without its log: ``max_ts`` and locks held in memory.

A transaction that commits without asking the oracle for a commit timestamp (async commit, one
phase) takes one above every timestamp at which its keys may have been read.  ``max_ts`` is the
largest of those, over the whole store.  And from the moment that its ``min_commit_ts`` is chosen to
that of its locks' application, a reader who comes with a larger timestamp sees neither locks nor
records in the columns; so the locks are held here, and readers look here FIRST.

A store that has become a region's leader (or merged one in) does not know at which timestamps its
predecessor was read.  It must raise ``max_ts`` to a fresh timestamp of the oracle before it lets
any transaction commit in such a way (see ``service.needs_max_ts``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sortedcontainers import SortedDict

from splitbrain.cluster.mvcc.codec import TS_MAX
from splitbrain.cluster.mvcc.records import Lock

__all__ = ["Memory"]


class Memory:
    """One for all regions that a store leads; it changes while requests are decided."""

    def __init__(self) -> None:
        self.max_ts = 0
        self._locks: SortedDict = SortedDict()

    def __len__(self) -> int:
        return len(self._locks)

    def raise_max_ts(self, timestamp: int) -> None:
        """Somebody has read, or looked for, something as of ``timestamp`` ("the newest": nobody)."""
        if self.max_ts < timestamp != TS_MAX:
            self.max_ts = timestamp

    def hold(self, locks: Iterable[tuple[bytes, Lock]]) -> None:
        """Show these locks to readers, from the turn on in which they were decided."""
        for key, lock in locks:
            assert key not in self._locks, "a key with a lock in memory was not latched"
            self._locks[key] = lock

    def release(self, locks: Iterable[tuple[bytes, Lock]]) -> None:
        """They are applied, or never will be here; what is not held is passed over."""
        for key, lock in locks:
            if self._locks.get(key) is lock:
                del self._locks[key]

    def get(self, key: bytes) -> Lock | None:
        """The lock held at the encoded ``key``."""
        lock: Lock | None = self._locks.get(key)
        return lock

    def locks(self, start: bytes = b"", end: bytes = b"") -> Iterator[tuple[bytes, Lock]]:
        """Locks held in [start, end), encoded, in order; empty ``end``: unbounded."""
        if self._locks:
            for key in self._locks.irange(start, end or None, inclusive=(True, False)):
                yield key, self._locks[key]
