"""Which operations a page holds when the run has more of them than a page has room for.

Everything that is counted is counted before: rates, percentiles, availability and the drawings of the
whole run are of all operations.  What is chosen here is for search, links and zooming in, in this
order until there is no more room:

1. for each anomaly that has a card, the operations that the card shows: always all of them;
2. from the first such anomaly on, all operations around them, of the same key and of any key: an
   anomaly is surrounded whole, as if nothing were left out, or, where the room has gone to those
   before it, not at all;
3. other operations that take part in anomalies;
4. those that failed or whose outcome is unknown, and the slowest;
5. an even share of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.results.report.frame import OK, Frame
from splitbrain.results.text import count, plural

__all__ = ["LIMIT", "Sample", "choose"]

Ints = npt.NDArray[np.int64]

LIMIT = 120_000
"""Most operations that a page holds."""

_NEAR = 400
_NEAR_LEAST = 20
_NEAR_ALL = 4_000
"""Operations on one side of all pieces of one anomaly's evidence together."""

_SLOWEST_SHARE = 50


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The operations of a page.

    Attributes:
        rows: of the frame, ascending.
        even: True of those that came in by the even share: each stands for ``weight`` operations.
        weight: 1.0 if nothing was left out.
        words: what was chosen, for the page; empty if nothing was left out.
    """

    rows: Ints
    even: npt.NDArray[np.bool_]
    weight: float = 1.0
    words: str = ""


class _Choice:
    """What is kept so far, and what is told of it."""

    def __init__(self, total: int) -> None:
        self.kept = np.zeros(total, np.bool_)
        self.told: list[str] = []

    def keep(self, rows: Ints, most: int, name: str) -> None:
        """At most that many of ``rows``, evenly apart."""
        fresh = rows[~self.kept[rows]]
        chosen = fresh if len(fresh) <= most else fresh[_spread(len(fresh), most)]
        self.kept[chosen] = True
        if len(chosen):
            part = "all " if len(chosen) == len(fresh) else ""
            whole = "" if part else f" of {count(len(fresh))}"
            self.told.append(f"{part}{count(len(chosen))}{whole} {name}")

    def surround(self, frame: Frame, cases: Sequence[Sequence[int]], most: int) -> None:
        """All around each case in turn, while there is room for the whole of it."""
        before, done = int(self.kept.sum()), 0
        for rows in cases:
            around = _around(frame, rows, min(_NEAR_ALL, most // 8))
            fresh = around[~self.kept[around]]
            if int(self.kept.sum()) - before + len(fresh) > most:
                break
            self.kept[fresh] = True
            done += 1
        number = int(self.kept.sum()) - before
        if number:
            whose = (
                "those"
                if done == len(cases)
                else f"the first {plural(done, 'anomaly', 'anomalies')}"
            )
            self.told.append(f"all {count(number)} around {whose}")


def choose(
    frame: Frame,
    cases: Sequence[Sequence[int]],
    others: Sequence[int] = (),
    limit: int = LIMIT,
) -> Sample:
    """All operations, or about ``limit`` of them.

    Args:
        frame: the operations.
        cases: for each anomaly that has a card the rows that the card shows, the gravest first.
        others: further rows that take part in anomalies.
        limit: how many there may be; what the cards show is kept in any case.
    """
    total = len(frame)
    if total <= limit:
        return Sample(rows=np.arange(total), even=np.zeros(total, np.bool_))
    choice = _Choice(total)
    own = _sorted([row for case in cases for row in case])
    choice.keep(own, total, "that cards show")
    choice.surround(frame, cases, limit // 2 - len(own))
    choice.keep(_sorted(others), limit // 10, "others that take part in an anomaly")
    odd = np.flatnonzero(frame.outcome != OK)
    choice.keep(odd, limit // 5, "that failed or have no known outcome")
    slow = np.argpartition(-frame.took_ns, limit // _SLOWEST_SHARE)[: limit // _SLOWEST_SHARE]
    choice.keep(np.sort(slow), limit // _SLOWEST_SHARE, "of the slowest")
    rest = np.flatnonzero(~choice.kept)
    room = max(1, limit - int(choice.kept.sum()))
    even = np.zeros(total, np.bool_)
    even[rest[_spread(len(rest), room)]] = True
    weight = len(rest) / max(1, int(even.sum()))
    rows = np.flatnonzero(choice.kept | even)
    told = [*choice.told, f"one in {weight:.1f} of the rest"]
    return Sample(rows=rows, even=even[rows], weight=weight, words=", ".join(told))


def _around(frame: Frame, rows: Sequence[int], in_all: int) -> Ints:
    reach = min(_NEAR, max(_NEAR_LEAST, in_all // max(1, len(rows))))
    return np.union1d(
        frame.near(rows, reach, same_key=True), frame.near(rows, reach, same_key=False)
    )


def _sorted(rows: Sequence[int]) -> Ints:
    return np.unique(np.asarray(rows, np.int64))


def _spread(total: int, wanted: int) -> Ints:
    """``wanted`` places of ``total``, evenly apart."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).astype(np.int64))
