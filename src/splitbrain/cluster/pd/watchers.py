"""Who waits for a change of the topology."""

from __future__ import annotations

from splitbrain.cluster.pd.pending import Waiting

__all__ = ["Watchers"]


class Watchers:
    """Requests without news, until there are or their time is over.

    All of them know the same revision of this leader: who knows another has news at once.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Waiting]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting, until_ns: int) -> None:
        """Wait until ``until_ns`` at the longest."""
        self._waiting.append((until_ns, waiting))

    def due(self, revision: int, now_ns: int) -> list[Waiting]:
        """Take those who do not know ``revision``, and those whose time is over."""
        due, left = [], []
        for until_ns, waiting in self._waiting:
            if waiting.request.revision != revision or until_ns <= now_ns:
                due.append(waiting)
            else:
                left.append((until_ns, waiting))
        self._waiting = left
        return due

    def drop(self) -> list[Waiting]:
        """Take all."""
        waiting, self._waiting = self._waiting, []
        return [one for _, one in waiting]
