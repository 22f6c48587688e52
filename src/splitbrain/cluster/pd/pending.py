"""Who waits for which entry of PD's log; the rules are those of ``store.proposals``.

An entry is applied (tell the outcome), overwritten by another term's (it never happened), or jumped
over by a snapshot (nobody here can know).  Losing the leadership decides nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Pending", "Waiting"]


class Waiting(NamedTuple):
    """One request, to be answered at ``sender``."""

    sender: str
    request: Any


class Pending:
    """Waiting changes by the place of their entry."""

    def __init__(self) -> None:
        self._by_index: dict[int, list[tuple[int, Waiting]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, place: tuple[int, int], waiting: Waiting) -> None:
        """``waiting``'s change was appended at ``place``: (index, term)."""
        index, term = place
        self._by_index.setdefault(index, []).append((term, waiting))
        self._count += 1

    def applied(self, index: int, term: int) -> tuple[Waiting | None, list[Waiting]]:
        """Whose entry (index, term) is, and those whose entries it has overwritten."""
        waiting = self._by_index.pop(index, ())
        self._count -= len(waiting)
        mine = next((one for proposed, one in waiting if proposed == term), None)
        return mine, [one for proposed, one in waiting if proposed != term]

    def jumped(self, index: int) -> list[Waiting]:
        """A snapshot covers everything up to ``index``: those of whom nothing is known now."""
        gone = sorted(place for place in self._by_index if place <= index)
        waiting = [one for place in gone for _, one in self._by_index.pop(place)]
        self._count -= len(waiting)
        return waiting
