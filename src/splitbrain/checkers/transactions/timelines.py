"""Which transaction committed what, and when: each key's versions in the order of their timestamps.

An acknowledged transaction tells its commit timestamp.  One of unknown outcome does not, but others
may: a write record of a final dump with its start timestamp, or a read that was told the commit
timestamp of a value that only this transaction wrote:

    T7  start 10, put x 5, no answer          unknown
    T9  get x -> 5, a version of 14           so T7 committed at 14, with all that it wrote

What a dump holds of transactions that the history does not know, or what was read and could be of
several (or of one that left no footprint), is a version without a writer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.checkers.transactions.evidence import Dump, Part, WriteRecord
from splitbrain.checkers.transactions.transactions import Gathered, Transaction
from splitbrain.history.history import freeze

__all__ = ["Timelines", "Version", "timelines"]


class Version(msgspec.Struct, frozen=True):
    """A committed value of a key (None: deleted); ``writer`` is -1 where nobody knows it."""

    commit_ts: int
    writer: int
    value: Any = None


class Timelines(msgspec.Struct, frozen=True, eq=False):
    """Everything that was committed, as far as is known.

    Attributes:
        commits: transaction's number -> its commit timestamp.
        versions: of each key, ascending.
        writers: of each key, who committed it, locks too: (commit_ts, number), ascending.
        unresolved: (key, value) -> transactions that may have committed it, nobody knows when.
        ghosts: transactions that were said to have failed, and a dump's record that they committed.
        foreign: a dump's records of transactions that the history does not know.
        parts: of dumps, with the index of the dump.
        keys: those that have versions, sorted.
    """

    commits: Mapping[int, int]
    versions: Mapping[str, Sequence[Version]]
    writers: Mapping[str, Sequence[tuple[int, int]]]
    unresolved: Mapping[tuple[str, Any], Sequence[int]]
    ghosts: Sequence[tuple[int, WriteRecord]]
    foreign: Sequence[WriteRecord]
    parts: Sequence[tuple[int, Part]]
    keys: Sequence[str]

    def latest(self, key: str, at: int, *, before: bool = False) -> Version | None:
        """The latest version committed at or before ``at`` (``before``: earlier than it)."""
        line = self.versions.get(key, ())
        bisect = bisect_left if before else bisect_right
        place = bisect(line, at, key=lambda version: version.commit_ts)
        return line[place - 1] if place else None

    def between(self, key: str, after: int, until: int) -> Iterator[Version]:
        """Versions committed in (after, until], ascending."""
        line = self.versions.get(key, ())
        place = bisect_right(line, after, key=lambda version: version.commit_ts)
        while place < len(line) and line[place].commit_ts <= until:
            yield line[place]
            place += 1

    def keys_in(self, start: str, end: str) -> Sequence[str]:
        """The keys with versions in [start, end); end "" is unbounded."""
        low = bisect_left(self.keys, start)
        return self.keys[low : bisect_left(self.keys, end) if end else None]

    def complete(self, key: str, after: int, index: int) -> bool:
        """Whether a dump later than event ``index`` shows each version of the key since ``after``."""
        return any(
            part.fresh and part.holds(key) and part.safe_point <= after and when > index
            for when, part in self.parts
        )


def timelines(gathered: Gathered, dumps: Iterable[tuple[int, Dump]]) -> Timelines:
    """What was committed, from completions, dumps and reads."""
    maker = _Maker(gathered.transactions, others=bool(gathered.untraced or gathered.bare))
    parts = [(index, part) for index, dump in dumps for part in dump.parts]
    maker.from_records(record for _, part in parts for record in part.writes)
    maker.from_reads()
    return maker.made(parts)


class _Maker:
    def __init__(self, transactions: Sequence[Transaction], *, others: bool) -> None:
        self.transactions = transactions
        self.others = others
        self.commits: dict[int, int] = {}
        self.by_start: dict[int, list[Transaction]] = {}
        self.ghosts: dict[int, WriteRecord] = {}
        self.foreign: dict[tuple[str, int], WriteRecord] = {}
        self.loose: dict[tuple[str, int], Version] = {}
        for one in transactions:
            self.by_start.setdefault(one.foot.start_ts, []).append(one)
            if one.fate == "committed" and one.foot.commit_ts:
                self.commits[one.number] = one.foot.commit_ts

    def from_records(self, records: Iterable[WriteRecord]) -> None:
        for record in records:
            if record.kind == "rollback":
                continue
            writer = self._writer(record)
            if writer is None:
                self.foreign.setdefault((record.key, record.commit_ts), record)
                if record.kind != "lock":
                    value = None if record.kind == "delete" else freeze(record.value)
                    version = Version(record.commit_ts, -1, value)
                    self.loose.setdefault((record.key, record.commit_ts), version)
            elif writer.fate == "aborted":
                self.ghosts.setdefault(writer.number, record)
                self.commits.setdefault(writer.number, record.commit_ts)
            else:
                self.commits.setdefault(writer.number, record.commit_ts)

    def _writer(self, record: WriteRecord) -> Transaction | None:
        able = self.by_start.get(record.start_ts, [])
        for one in able:
            if record.key in one.writes or record.key in one.locked:
                return one
        # A serializable transaction may have locked what it only read.
        return able[0] if able and record.kind == "lock" else None

    def from_reads(self) -> None:
        """Attribute values that were read with a commit timestamp nobody has claimed."""
        known = {
            (key, self.commits[one.number])
            for one in self.transactions
            if one.number in self.commits
            for key in one.writes
        }
        known |= self.loose.keys()
        candidates = self._unresolved()
        shown = {
            (step.commit_ts, step.key): freeze(step.value)
            for one in self.transactions
            for _, step in one.outside_reads()
            if step.kind != "scan"
            and step.commit_ts
            and (step.key, step.commit_ts) not in known
        }
        for (commit_ts, key), value in sorted(shown.items(), key=lambda item: item[0]):
            if (key, commit_ts) in known:
                continue
            able = [
                number
                for number in candidates.get((key, value), ())
                if self.commits.get(number, commit_ts) == commit_ts
                and self.transactions[number].foot.start_ts < commit_ts
            ]
            if len(able) == 1 and not self.others:
                self.commits[able[0]] = commit_ts
                known |= {(other, commit_ts) for other in self.transactions[able[0]].writes}
            elif able:
                self.loose[key, commit_ts] = Version(commit_ts, -1, value)

    def _unresolved(self) -> dict[tuple[str, Any], list[int]]:
        found: dict[tuple[str, Any], list[int]] = {}
        for one in self.transactions:
            if one.fate != "aborted" and one.number not in self.commits:
                for key, value in one.writes.items():
                    found.setdefault((key, value), []).append(one.number)
        return found

    def made(self, parts: Sequence[tuple[int, Part]]) -> Timelines:
        versions: dict[str, list[Version]] = {}
        writers: dict[str, list[tuple[int, int]]] = {}
        for number, commit_ts in self.commits.items():
            one = self.transactions[number]
            for key, value in one.writes.items():
                versions.setdefault(key, []).append(Version(commit_ts, number, value))
            for key in (*one.writes, *one.locked):
                writers.setdefault(key, []).append((commit_ts, number))
        for (key, _), version in self.loose.items():
            versions.setdefault(key, []).append(version)
        for line in versions.values():
            line.sort(key=lambda version: (version.commit_ts, version.writer))
        for each in writers.values():
            each.sort()
        return Timelines(
            commits=self.commits,
            versions=versions,
            writers=writers,
            unresolved=self._unresolved(),
            ghosts=sorted(self.ghosts.items(), key=lambda item: item[0]),
            foreign=list(self.foreign.values()),
            parts=parts,
            keys=sorted(versions),
        )
