"""Which operations a page holds when the run has more of them than a page has room for.

Everything that is counted is counted before: rates, percentiles, availability and the drawings of the
whole run are of all operations.  What is chosen here is for search, links and zooming in, in this
order until there is no more room:

1. the operations that take part in an anomaly;
2. those around them, of the same key and of any key: full evidence, as if nothing were left out;
3. those that failed or whose outcome is unknown, and the slowest;
4. an even share of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.results.report.frame import OK, Frame
from splitbrain.results.text import count

__all__ = ["LIMIT", "Sample", "choose"]

Ints = npt.NDArray[np.int64]

LIMIT = 120_000
"""Most operations that a page holds."""

_NEAR = 400
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


def choose(frame: Frame, evidence: Sequence[int], limit: int = LIMIT) -> Sample:
    """All operations, or ``limit`` of them; ``evidence`` are the rows that take part in anomalies."""
    total = len(frame)
    if total <= limit:
        return Sample(rows=np.arange(total), even=np.zeros(total, np.bool_))
    kept = np.zeros(total, np.bool_)
    told = []

    def keep(rows: Ints, most: int, name: str) -> None:
        fresh = rows[~kept[rows]]
        chosen = fresh if len(fresh) <= most else fresh[_spread(len(fresh), most)]
        kept[chosen] = True
        if len(chosen):
            part = "all " if len(chosen) == len(fresh) else ""
            whole = "" if part else f" of {count(len(fresh))}"
            told.append(f"{part}{count(len(chosen))}{whole} {name}")

    own = np.unique(np.asarray(evidence, np.int64))
    keep(own, limit // 4, "that take part in an anomaly")
    around = np.union1d(
        frame.near(evidence, _NEAR, same_key=True), frame.near(evidence, _NEAR, same_key=False)
    )
    keep(around, limit // 4, "around those")
    keep(
        np.flatnonzero(frame.outcome != OK), limit // 4, "that failed or have no known outcome"
    )
    slow = np.argpartition(-frame.took_ns, limit // _SLOWEST_SHARE)[: limit // _SLOWEST_SHARE]
    keep(np.sort(slow), limit // _SLOWEST_SHARE, "of the slowest")
    rest = np.flatnonzero(~kept)
    room = max(1, limit - int(kept.sum()))
    even = np.zeros(total, np.bool_)
    even[rest[_spread(len(rest), room)]] = True
    weight = len(rest) / max(1, int(even.sum()))
    rows = np.flatnonzero(kept | even)
    told.append(f"one in {weight:.1f} of the rest")
    return Sample(rows=rows, even=even[rows], weight=weight, words=", ".join(told))


def _spread(total: int, wanted: int) -> Ints:
    """``wanted`` places of ``total``, evenly apart."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).astype(np.int64))
