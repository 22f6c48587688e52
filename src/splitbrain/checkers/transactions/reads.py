"""Is each read what its timestamp entitles it to?

A read as of ``at`` must see the latest version committed at or before ``at``: plain reads as of the
start timestamp (or the older version asked for), locking reads as of their for_update_ts.  Under read
committed a store looks at no locks, so a read may see any version committed by then, never one that
was not committed.  A key that the transaction wrote before reads as it was written.

The latest version that nobody knows of may be one by a transaction of unknown outcome.  A read that
such a one would explain is *open*, and not an anomaly, unless a later dump shows all versions of that
key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.checkers.transactions.evidence import WRITES, Step
from splitbrain.checkers.transactions.timelines import Timelines, Version
from splitbrain.checkers.transactions.transactions import Gathered, Transaction
from splitbrain.history.history import freeze

__all__ = ["BadRead", "Reads", "judge_reads"]

NOTHING = Version(0, -1, None)
"""What a key holds before its first version."""

_FOREVER = 1 << 64


class BadRead(msgspec.Struct, frozen=True):
    """A read that saw what it should not have seen.

    Attributes:
        reader: the transaction's number; ``step`` the number of its step.
        at: the timestamp of the read.
        seen: the value, ``observed`` the commit timestamp that it was told with (0: none).
        due: the version that it should have seen; None if only the kind of the value is wrong.
        word: ``internal``, ``insert`` or "" where its value must tell.
    """

    reader: int
    step: int
    key: str
    at: int
    seen: Any
    observed: int
    due: Version | None
    word: str = ""


class Reads(msgspec.Struct, frozen=True):
    """What ``judge_reads`` found.

    Attributes:
        judged: how many reads of single keys were compared.
        bad: those that are wrong.
        open: (reader, step) of those that somebody of unknown outcome would explain.
        untimed: reads whose timestamp nobody knows.
        met: versions that reads were right to see: (key, commit_ts) -> readers.
    """

    judged: int
    bad: Sequence[BadRead]
    open: Sequence[tuple[int, int]]
    untimed: int
    met: Mapping[tuple[str, int], Sequence[int]]


def judge_reads(gathered: Gathered, lines: Timelines) -> Reads:
    """Compare every read with the versions; O(log n) each."""
    judge = _Judge(gathered, lines)
    for one in gathered.transactions:
        judge.transaction(one)
    return Reads(judge.judged, judge.bad, judge.open, judge.untimed, judge.met)


class _Judge:
    def __init__(self, gathered: Gathered, lines: Timelines) -> None:
        self.lines = lines
        self.first_untraced = min((op.index for op in gathered.untraced), default=None)
        self.judged = self.untimed = 0
        self.bad: list[BadRead] = []
        self.open: list[tuple[int, int]] = []
        self.met: dict[tuple[str, int], list[int]] = {}

    def transaction(self, one: Transaction) -> None:
        own: dict[str, Any] = {}
        for place, step in enumerate(one.foot.steps):
            if step.kind in WRITES:
                if step.kind == "insert" and step.key not in own:
                    self._insert(one, place, step)
                own[step.key] = None if step.kind == "delete" else freeze(step.value)
            elif step.kind == "scan":
                self._scan(one, place, step, own)
            elif step.kind != "guard":
                self._point(one, place, step, own)

    def _point(self, one: Transaction, place: int, step: Step, own: Mapping[str, Any]) -> None:
        value = freeze(step.value)
        if step.key in own:
            self.judged += 1
            if value != own[step.key]:
                due = Version(0, one.number, own[step.key])
                self.bad.append(
                    BadRead(one.number, place, step.key, 0, value, 0, due, "internal")
                )
            return
        at = _read_at(one, step)
        if not at:
            self.untimed += 1
            return
        self._compare(one, place, step.key, value, at, step.commit_ts)

    def _scan(self, one: Transaction, place: int, step: Step, own: Mapping[str, Any]) -> None:
        start, end, limit = step.key
        at = _read_at(one, step)
        seen = {key: freeze(value) for key, value in step.value or ()}
        if limit and len(seen) >= limit:
            end = max(seen) + "\0"
        mine = {key for key in own if start <= key and (not end or key < end)}
        for key in sorted({*self.lines.keys_in(start, end), *seen, *mine}):
            if key in own:
                self.judged += 1
                if seen.get(key) != own[key]:
                    due = Version(0, one.number, own[key])
                    bad = BadRead(one.number, place, key, 0, seen.get(key), 0, due, "internal")
                    self.bad.append(bad)
            else:
                self._compare(one, place, key, seen.get(key), at, 0)

    def _insert(self, one: Transaction, place: int, step: Step) -> None:
        """A committed insert found the key absent just before it committed."""
        commit_ts = self.lines.commits.get(one.number)
        if one.fate != "committed" or not commit_ts:
            return
        self.judged += 1
        due = self.lines.latest(step.key, commit_ts, before=True)
        if due is not None and due.value is not None:
            # Somebody of unknown outcome may have deleted it in between.
            if self._explained(one, step.key, None, commit_ts, 0, due):
                self.open.append((one.number, place))
                return
            self.bad.append(
                BadRead(one.number, place, step.key, commit_ts, None, 0, due, "insert")
            )

    def _compare(
        self, one: Transaction, place: int, key: str, value: Any, at: int, observed: int
    ) -> None:
        self.judged += 1
        due = self.lines.latest(key, at) or NOTHING
        if one.foot.isolation == "read-committed":
            if self._some_version(one, key, value, at):
                return
        elif value == due.value and observed in (0, due.commit_ts):
            self.met.setdefault((key, due.commit_ts), []).append(one.number)
            return
        if self._explained(one, key, value, at, observed, due):
            self.open.append((one.number, place))
            return
        self.bad.append(BadRead(one.number, place, key, at, value, observed, due))

    def _some_version(self, one: Transaction, key: str, value: Any, at: int) -> bool:
        line = self.lines.between(key, 0, at)
        return value is None or any(version.value == value for version in line)

    def _explained(
        self, one: Transaction, key: str, value: Any, at: int, observed: int, due: Version
    ) -> bool:
        """Whether a transaction nobody knows the end of may have left this value there."""
        end = one.invoke.index if one.end is None else one.end.index
        if self.lines.complete(key, due.commit_ts, end):
            return False
        told = observed and any(self.lines.between(key, observed - 1, observed))
        if told:  # another version than the due one, and known
            return False
        if self.first_untraced is not None and self.first_untraced < end:
            return True
        able = self.lines.unresolved.get((key, value), ())
        return any(number != one.number for number in able)


def _read_at(one: Transaction, step: Step) -> int:
    """As of when a read was asked; 0 if nobody knows."""
    if step.at:
        return step.at
    if step.kind == "lock":
        return one.foot.for_update_ts.get(step.key, 0)
    return _FOREVER if one.foot.isolation == "read-committed" else one.foot.read_ts
