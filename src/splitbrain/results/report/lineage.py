"""Which operation of a key wrote what which other saw: the raw material of its version history.

A read belongs to the version whose value it saw: to the one that a given order says, where the read
is part of that order; else, if several wrote the same value, to the last that was over before the
read began, or had at least begun before it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from splitbrain.results.report.intervals import Interval
from splitbrain.results.text import value_text

__all__ = ["NEVER", "Version", "applies", "end_of", "lineage", "observed"]

NEVER: Final = 1 << 62
_BEFORE: Final = -1
_WRITES: Final = frozenset({"write", "put", "cas", "delete"})
_READS: Final = frozenset({"read", "get"})


def applies(line: Sequence[Interval]) -> bool:
    """Whether these are operations of a register."""
    return bool(line) and all(i.begin.f in _WRITES or i.begin.f in _READS for i in line)


class Version:
    """A version and the operations that saw it; moments are indexes of events.

    ``sure`` are those of ``sights`` that can have seen no other version of the same value.
    """

    def __init__(self, value: Any, write: Interval | None, *, phantom: bool = False) -> None:
        self.value = value
        self.write = write
        self.phantom = phantom
        self.sights: list[Interval] = []
        self.sure: list[Interval] = []
        self.lost_to: Interval | None = None

    @property
    def begin(self) -> int:
        """Index of the invocation of its write."""
        return self.write.begin.index if self.write is not None else _BEFORE

    @property
    def acknowledged(self) -> int:
        """Index of the event that says that it happened, or NEVER."""
        if self.write is None:
            return NEVER if self.phantom else _BEFORE
        end = self.write.end
        return end.index if end is not None and end.type == "ok" else NEVER

    @property
    def known(self) -> int:
        """Index of the first event that shows it: it was acknowledged, or seen."""
        return min([self.acknowledged, *(end_of(sight) for sight in self.sure)])

    @property
    def low(self) -> int:
        """The lower bound of its zone."""
        return min(self.known, max([self.begin, *(s.begin.index for s in self.sights)]))


def end_of(interval: Interval) -> int:
    """The index of its completion; NEVER if it has none."""
    return interval.end.index if interval.end is not None else NEVER


def _written(interval: Interval) -> Any:
    f, value = interval.begin.f, interval.begin.value
    if f == "delete":
        return None
    if f == "cas":
        return value[1] if _is_pair(value) else None
    return value


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def observed(interval: Interval) -> tuple[bool, Any]:
    """Whether it saw a value, and which: an ok read, an ok cas, a failure that tells."""
    end, f = interval.end, interval.begin.f
    if end is None:
        return False, None
    if end.type == "ok" and f in _READS:
        return True, end.value
    if end.type == "ok" and f == "cas" and _is_pair(interval.begin.value):
        return True, interval.begin.value[0]
    if end.type == "fail" and end.ext is not None and "observed" in end.ext:
        return True, end.ext["observed"]
    return False, None


def lineage(line: Sequence[Interval], order: Sequence[int]) -> list[Version]:
    """Every version, each with those who saw it."""
    initial = Version(None, None)
    made: dict[int, Version] = {}
    by_value: dict[str, list[Version]] = {value_text(None): [initial]}
    for interval in line:
        if interval.begin.f in _WRITES:
            version = made[interval.begin.index] = Version(_written(interval), interval)
            by_value.setdefault(value_text(version.value), []).append(version)
    told = _told_by(order, made, initial)
    phantoms: dict[str, Version] = {}
    for interval in line:
        saw, value = observed(interval)
        if not saw:
            continue
        text = value_text(value)
        found = told.get(interval.begin.index)
        some = by_value.get(text, ())
        sure = found is not None and value_text(found.value) == text
        if not sure:
            found = _by_value(interval, some)
        if found is None:
            found = phantoms.setdefault(text, Version(value, None, phantom=True))
        found.sights.append(interval)
        if sure or len(some) <= 1:
            found.sure.append(interval)
    kept = [
        v for v in made.values() if v.sights or v.write is None or v.write.outcome != "fail"
    ]
    first = [initial] if initial.sights or not kept else []
    return sorted([*first, *kept, *phantoms.values()], key=lambda v: (v.low, v.begin))


def _told_by(
    order: Sequence[int], made: dict[int, Version], initial: Version
) -> dict[int, Version]:
    """The version that each operation of the order saw."""
    now: Version | None = None
    told: dict[int, Version] = {}
    for index in order:
        if now is not None:
            told[index] = now
        now = made.get(index, now)
    return told


def _by_value(interval: Interval, some: Sequence[Version]) -> Version | None:
    """The last of these that had begun, those that may have happened before those refused."""
    others = [version for version in some if version.write is not interval]
    early = [version for version in others if version.begin < end_of(interval)] or others
    happened = [v for v in early if v.write is None or v.write.outcome != "fail"] or early
    # What had ended before the read began is likelier than what was still going on.
    over = [v for v in happened if v.acknowledged < interval.begin.index]
    some = over or happened
    return some[-1] if some else None
