"""The versions of one key in the order in which they can be told: who wrote, who saw, what is odd.

A *version* is what one write, cas or delete left, or the initial value; ``lineage`` says who saw it.

A version is *known* once its write was acknowledged or somebody saw it, whichever was first.  One
version is certainly before another if it was known before the other's write began.  Where it is not
sure which of several equal versions a read saw, it is stale only if it is with each of them.  So:

- ``lost``: acknowledged and never seen, nor anything after it, by a read that ought to have seen it;
- ``stale``: a read saw a version although one certainly after it was known before the read began;
- ``fork``: the same, and another process had seen that newer version: two readers disagree;
- ``again``: a stale read of a write of unknown outcome, which may have been applied once more;
- ``refused``, ``phantom``, ``future``: seen, though its write had failed for certain, though there is
  none, or though it began only later;
- ``duplicate``: the same value was written more than once;
- ``unknown``: seen, though never acknowledged.

Rows stand in the order of the versions' zones (``checkers.linearizable.zones``): by the moment from
which a version must have been there, or the begin of its last operation if that is earlier.  What is
lost or stale stands on a second branch.  These marks explain a verdict, they never make one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from splitbrain.history.op import Op
from splitbrain.results.report.brief import brief
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.lineage import NEVER, Version, applies, end_of, lineage, observed
from splitbrain.results.text import clock, plural, value_text

__all__ = ["VersionRow", "Versions", "applies", "versions_of"]

ROWS_MAX: Final = 24
"""Rows that are shown, around the anomaly."""
VERSIONS_MAX: Final = 5_000
"""A key with more of them is not drawn."""
_VALUE_MAX: Final = 120


class Sight(msgspec.Struct, frozen=True):
    """Who saw a version: a read, or the cas that replaced it."""

    op: int
    text: str


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history.

    Attributes:
        value: the version's value, as text.
        op: index of the invocation of its write; None for the initial value or an unwritten one.
        writer: who wrote it, or ``initially``.
        outcome: ``ok``, ``info``, ``fail``, or empty.
        known: when it was acknowledged, or what else is known.
        first: the first who saw it, and ``last``, the last.
        seen: by how many.
        marks: (word, sentence) of what is odd.
        branch: on the second branch: a version that was lost, or a stale sight of one.
        beside: the second branch goes on beside it.
        culprit: it is the anomaly's own.
    """

    value: str
    op: int | None = None
    writer: str = ""
    outcome: str = ""
    known: str = ""
    first: Sight | None = None
    last: Sight | None = None
    seen: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    branch: bool = False
    beside: bool = False
    culprit: bool = False


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """The history of one key.

    Attributes:
        rows: those near the anomaly.
        earlier: how many rows before them are not shown, and ``later``, after them.
        odd: how many rows shown bear a mark that is an anomaly.
    """

    rows: tuple[VersionRow, ...]
    earlier: int = 0
    later: int = 0
    odd: int = 0


def versions_of(
    line: Sequence[Interval],
    about: Iterable[int],
    order: Sequence[int] = (),
    *,
    timeless: bool = False,
) -> Versions | None:
    """The version history of a key, or None if its operations are not those of a register.

    Args:
        line: every operation of the key, by invocation.
        about: indexes of the anomaly's events: rows near them are shown, theirs are marked.
        order: invocations in an order that explains the history up to the anomaly.
        timeless: the history has no times.
    """
    if not applies(line):
        return None
    versions = lineage(line, order)
    if len(versions) > VERSIONS_MAX:
        return None
    own = set(about)
    rows = _rows(versions, _Words(versions, own, timeless))
    rows = _beside(rows)
    marked = [n for n, row in enumerate(rows) if row.culprit] or [len(rows) - 1]
    middle = (marked[0] + marked[-1]) // 2
    start = max(0, min(middle - ROWS_MAX // 2, len(rows) - ROWS_MAX))
    shown = rows[start : start + ROWS_MAX]
    return Versions(
        rows=tuple(shown),
        earlier=start,
        later=max(0, len(rows) - start - len(shown)),
        odd=sum(1 for row in shown if row.branch or any(w in _ODD for w, _ in row.marks)),
    )


_ODD: Final = frozenset({"lost", "stale", "fork", "again", "refused", "phantom", "future"})


class _Words:
    """What is said of each version; knows them all."""

    def __init__(self, versions: Sequence[Version], own: set[int], timeless: bool) -> None:
        self.versions = versions
        self.own = own
        self.timeless = timeless
        self._copies: dict[str, list[Version]] = {}
        for version in versions:
            self._copies.setdefault(value_text(version.value), []).append(version)
        self.known = {id(version): version.known for version in versions}
        self.copies: dict[str, int] = {}
        for version in versions:
            if version.write is not None and version.write.outcome != "fail":
                text = value_text(version.value)
                self.copies[text] = self.copies.get(text, 0) + 1
        self._by_begin = sorted(versions, key=lambda v: v.begin)
        self._begins = [version.begin for version in self._by_begin]
        self._earliest = [NEVER] * (len(versions) + 1)
        for place in range(len(versions) - 1, -1, -1):
            known = self.known[id(self._by_begin[place])]
            self._earliest[place] = min(known, self._earliest[place + 1])
        self._find_lost()

    def at(self, op: Op | None) -> str:
        if op is None:
            return "an unknown time"
        return f"event {op.index}" if self.timeless else clock(op.time_ns)

    def who(self, interval: Interval) -> str:
        node = f" on {interval.node}" if interval.node else ""
        return f"process {interval.begin.process}{node}"

    def newer(self, version: Version, sight: Interval) -> list[Version]:
        """The versions certainly after this one that were known before ``sight`` began."""
        since, until = self.known[id(version)], sight.begin.index
        place = bisect_right(self._begins, since)
        if self._earliest[place] >= until:
            return []
        text = value_text(version.value)
        return [
            other
            for other in self._by_begin[place : bisect_right(self._begins, until)]
            if self.known[id(other)] < until and value_text(other.value) != text
        ]

    def _find_lost(self) -> None:
        """Where nothing that a read ought to have seen was ever seen, all of it is lost."""
        for version in self.versions:
            for sight in version.sights:
                if any(not self.newer(same, sight) for same in self._same(version, sight)):
                    continue
                hidden = self.newer(version, sight)
                for other in hidden if not any(o.sights for o in hidden) else ():
                    other.lost_to = other.lost_to or sight

    def _same(self, version: Version, sight: Interval) -> list[Version]:
        """All versions of that value that ``sight`` may have seen, if it is not sure which."""
        if sight in version.sure:
            return []
        return [
            other
            for other in self._copies.get(value_text(version.value), ())
            if other.begin < end_of(sight)
            and (other.write is None or other.write.outcome != "fail")
        ]

    def stale(self, version: Version, sight: Interval) -> Version | None:
        """The newest version, not lost, that ``sight`` ought to have seen instead."""
        if any(not self.newer(same, sight) for same in self._same(version, sight)):
            return None
        left = [other for other in self.newer(version, sight) if other.lost_to is None]
        return max(left, key=lambda other: other.begin, default=None)

    def concerns(self, *intervals: Interval | None) -> bool:
        return any(
            i is not None and bool({i.begin.index, end_of(i)} & self.own) for i in intervals
        )

    def sight(self, interval: Interval) -> Sight:
        assert interval.end is not None, "only what has ended saw something"
        return Sight(
            interval.begin.index,
            f"{self.who(interval)}, {self.at(interval.end)}",
        )


def _rows(versions: Sequence[Version], words: _Words) -> list[VersionRow]:
    """Each version at its place, and each stale sight at its own."""
    placed: list[tuple[int, VersionRow]] = []
    for version in versions:
        stale: list[tuple[Interval, Version]] = []
        fine: list[Interval] = []
        for sight in version.sights:
            missed = words.stale(version, sight)
            if missed is None:
                fine.append(sight)
            else:
                stale.append((sight, missed))
        placed.append((_place(version, fine), _row(version, fine, words)))
        placed += [
            (sight.begin.index, _stale_row(version, sight, missed, words))
            for sight, missed in stale
        ]
    placed.sort(key=lambda item: item[0])
    return [row for _, row in placed]


def _place(version: Version, fine: Sequence[Interval]) -> int:
    """Its zone's lower bound, its stale sights left aside."""
    known = min([version.acknowledged, *(end_of(sight) for sight in fine)], default=NEVER)
    return min(known, max([version.begin, *(sight.begin.index for sight in fine)]))


def _row(version: Version, fine: Sequence[Interval], words: _Words) -> VersionRow:
    write = version.write
    sights = sorted(fine, key=end_of)
    return VersionRow(
        value=_shown(version.value),
        op=write.begin.index if write is not None else None,
        writer=_writer(version, words),
        outcome=write.outcome if write is not None else "",
        known=_known(version, words),
        first=words.sight(sights[0]) if sights else None,
        last=words.sight(sights[-1]) if len(sights) > 1 else None,
        seen=plural(len(sights), "time") if sights else "never",
        marks=tuple(_marks(version, words)),
        branch=version.lost_to is not None,
        culprit=words.concerns(write) or any(words.concerns(sight) for sight in fine),
    )


def _writer(version: Version, words: _Words) -> str:
    if version.write is None:
        return "nobody" if version.phantom else "initially"
    f = version.write.begin.f
    return words.who(version.write) + (f", by {f}" if f in ("cas", "delete") else "")


def _known(version: Version, words: _Words) -> str:
    write = version.write
    if write is None:
        return ""
    if write.end is None or write.end.type == "info":
        return f"begun {words.at(write.begin)}, outcome unknown"
    if write.end.type == "fail":
        return f"refused {words.at(write.end)}"
    return f"acknowledged {words.at(write.end)}"


def _marks(version: Version, words: _Words) -> Iterable[tuple[str, str]]:
    write = version.write
    if version.lost_to is not None:
        sight = version.lost_to
        saw = _shown(observed(sight)[1])
        yield (
            "lost",
            f"nobody saw it, and {words.who(sight)} found {saw} later, at {words.at(sight.end)}",
        )
    if version.phantom:
        yield "phantom", "seen, though nobody ever tried to write it"
    if write is not None and write.outcome == "fail":
        yield "refused", "seen, though its write had certainly not happened"
    if write is not None and any(end_of(sight) < write.begin.index for sight in version.sights):
        yield "future", "seen before its write began"
    if write is not None and write.outcome == "info" and version.sights:
        yield "unknown", "it was never acknowledged, and it happened"
    if (copies := words.copies.get(value_text(version.value), 0)) > 1:
        yield "duplicate", f"written {copies} times"


def _stale_row(version: Version, sight: Interval, missed: Version, words: _Words) -> VersionRow:
    """A read that saw a version after it had been replaced."""
    seen_by = [s for s in missed.sights if end_of(s) < end_of(sight)]
    other = next((s for s in seen_by if s.begin.process != sight.begin.process), None)
    newer = _shown(missed.value)
    if version.write is not None and version.acknowledged == NEVER:
        word, text = "again", f"after {newer} had replaced it: late, or applied once more"
    elif other is not None:
        word = "fork"
        text = f"{words.who(other)} had seen {newer} at {words.at(other.end)}"
    elif missed.write is not None and missed.acknowledged < sight.begin.index:
        word = "stale"
        text = f"{newer} had been acknowledged at {words.at(missed.write.end)}"
    else:
        word, text = "stale", f"{newer} had been seen before"
    return VersionRow(
        value=_shown(version.value),
        op=version.write.begin.index if version.write is not None else None,
        writer=_writer(version, words),
        known="seen again",
        first=words.sight(sight),
        seen="",
        marks=((word, text),),
        branch=True,
        culprit=words.concerns(sight),
    )


def _shown(value: Any) -> str:
    return value_text(brief(value, _VALUE_MAX))


def _beside(rows: Sequence[VersionRow]) -> list[VersionRow]:
    """Rows of the main line that stand between two of one branch: it is drawn on beside them."""
    out = list(rows)
    last: int | None = None
    for place, row in enumerate(rows):
        if not row.branch:
            continue
        if last is not None and place - last <= 8:
            for between in range(last + 1, place):
                out[between] = msgspec.structs.replace(out[between], beside=True)
        last = place
    return out
