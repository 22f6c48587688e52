"""Who waits for which log entry, and what may be told to whom.

A write is proposed at (index, term) and then only its fate in the log counts:

- An entry with that index AND term is applied: it happened; tell its outcome.
- Another term is applied at that index: it is overwritten for good, here and everywhere.  A true no.
- A snapshot jumps over the index: nobody here can know.  Undetermined.

Between proposal and one of these, nothing may be told, whatever becomes of the leadership: after a
step-down the entry may still be in some other store's log and commit under the next leader.  So the
record stays, and is answered late or never.  (TiKV does the same; telling "not leader" at
step-down, which looks so natural, is the seeded bug dropped-proposal-says-no.)

Several may wait at one index: a leader is deposed, elected again with a shorter log, and proposes
another write in the same place, while the first still lives in another store's log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from splitbrain.cluster.messages import RegionError
from splitbrain.cluster.store.replies import Request

__all__ = ["Job", "Proposals", "Waiting"]


class Job(Protocol):
    """Who wants to know what became of an entry, where that is not simply a client's request."""

    def finished(self, error: RegionError | None) -> None:
        """It is applied and has done what it should; or it has done nothing, because of ``error``.

        ``UndeterminedResult``: nobody here can know which.
        """


class Waiting(NamedTuple):
    """One client's request, to be answered at ``sender``; or a ``job``, which does it itself."""

    sender: str
    request: Request | None
    job: Job | None = None


class Proposals:
    """Waiting writes by the place of their entry."""

    def __init__(self) -> None:
        self._by_index: dict[int, list[tuple[int, Waiting]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, index: int, term: int, waiting: Waiting) -> None:
        """``waiting``'s write was appended at (index, term)."""
        self._by_index.setdefault(index, []).append((term, waiting))
        self._count += 1

    def applied(self, index: int, term: int) -> tuple[Waiting | None, list[Waiting]]:
        """The entry (index, term) is applied.

        Returns:
            Whose write it is, if it was proposed here; and those whose writes it has overwritten.
        """
        waiting = self._by_index.pop(index, None)
        if waiting is None:
            return None, []
        self._count -= len(waiting)
        if len(waiting) == 1 and waiting[0][0] == term:  # nearly always
            return waiting[0][1], []
        mine = [one for proposed, one in waiting if proposed == term]
        assert len(mine) <= 1, f"two writes proposed at index {index}, term {term}"
        lost = [one for proposed, one in waiting if proposed != term]
        return (mine[0] if mine else None), lost

    def skipped(self, index: int) -> list[Waiting]:
        """A snapshot covers everything up to ``index``: those about whom nothing is known now."""
        gone = sorted(place for place in self._by_index if place <= index)
        return [one for place in gone for one in self._drop(place)]

    def all(self) -> Iterator[Waiting]:
        """Those who wait."""
        for places in self._by_index.values():
            yield from (one for _, one in places)

    def drop_all(self) -> list[Waiting]:
        """Forget and return all, in the order of the log."""
        return [one for place in sorted(self._by_index) for one in self._drop(place)]

    def _drop(self, index: int) -> list[Waiting]:
        waiting = self._by_index.pop(index)
        self._count -= len(waiting)
        return [one for _, one in waiting]
