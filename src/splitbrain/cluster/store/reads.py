"""Who waits for which read.

A linearizable read goes through three stops: *queued* until the end of the turn, so that reads which
came together share one ReadIndex round; *asked*, until a majority has confirmed that this store
still leads; *confirmed* at an index, until the state machine has applied so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from splitbrain.cluster.store.proposals import Waiting

__all__ = ["PendingReads"]


class PendingReads:
    """Waiting reads by the stop at which they are."""

    def __init__(self) -> None:
        self._queued: list[Waiting] = []
        self._asked: dict[bytes, list[Waiting]] = {}
        self._confirmed: deque[tuple[int, list[Waiting]]] = deque()
        self._rounds = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def queue(self, waiting: Waiting) -> None:
        """A read has come."""
        self._queued.append(waiting)
        self._count += 1

    @property
    def queued(self) -> bool:
        """Is there anything to ask a round for?"""
        return bool(self._queued)

    def next_round(self) -> bytes:
        """Move all queued reads into one round; returns its context."""
        self._rounds += 1
        context = self._rounds.to_bytes(8, "big")
        self._asked[context] = self._queued
        self._queued = []
        return context

    def confirmed(self, context: bytes, index: int) -> None:
        """The round may be answered once ``index`` is applied; an unknown one is passed over."""
        waiting = self._asked.pop(context, None)
        if waiting:
            self._confirmed.append((index, waiting))

    def granted(self, waiting: Waiting, index: int) -> None:
        """A read that the region's leader, elsewhere, has confirmed."""
        self._confirmed.append((index, [waiting]))
        self._count += 1

    def dropped(self, context: bytes) -> list[Waiting]:
        """The round will never be confirmed: those who are to be refused."""
        waiting = self._asked.pop(context, [])
        self._count -= len(waiting)
        return waiting

    def served(self, applied: int) -> Iterator[Waiting]:
        """Those whose answer may be computed now, with everything up to ``applied`` applied."""
        while self._confirmed and self._confirmed[0][0] <= applied:
            _, waiting = self._confirmed.popleft()
            self._count -= len(waiting)
            yield from waiting

    def drop_all(self) -> list[Waiting]:
        """Forget and return all."""
        groups = [self._queued, *self._asked.values(), *(one for _, one in self._confirmed)]
        self._queued, self._count = [], 0
        self._asked.clear()
        self._confirmed.clear()
        return [waiting for group in groups for waiting in group]
