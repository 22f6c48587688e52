"""The replicated log as one node holds it in memory, and how much of it is safe.

Indexes run from 1.  ``offset`` is the last index that was compacted away (0: none)::

    offset      applied   applying     commit     stable          last
      |  entries ...|         |           |          |              |
      v             v         v           v          v              v
     [4] 5  6  7    8    9   10   11  12  13   14   15   16  17    18

``applied``: told by the shell.  ``applying``: handed out for apply.  ``commit``: known to be on a
majority.  ``stable``: the prefix of *this* log that is durable here.  ``handed`` (not drawn) is the
last index given to the shell to be written.

Durability arrives late and out of step with truncation.  Each write in flight is remembered as
(number, last index) and *clipped* when a suffix that it wrote is cut off; so a late ``persisted``
never claims an index whose entry has been replaced since, not even if a third leader puts the very
same entry back (it is written a second time, by a later write: until that one is durable, a crash
may show the log as the second leader left it).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from splitbrain.cluster.raft.types import Entry, RaftPanic, SnapshotMeta

__all__ = ["RaftLog"]

UNKNOWN = -1
"""Term of an index that is compacted or not there."""


class RaftLog:
    """Entries, and the marks above.  Nothing here sends or decides."""

    __slots__ = (
        "_assertions_off",
        "_writes",
        "applied",
        "applying",
        "commit",
        "entries",
        "handed",
        "last",
        "offset",
        "offset_term",
        "stable",
    )

    def __init__(
        self, meta: SnapshotMeta, entries: Sequence[Entry], assertions_off: frozenset[str]
    ) -> None:
        self.entries: list[Entry] = list(entries)
        self.offset = meta.index
        self.offset_term = meta.term
        self.last = meta.index + len(self.entries)
        self.stable = self.handed = self.last
        self.commit = self.applying = self.applied = meta.index
        self._assertions_off = assertions_off
        self._writes: deque[list[int]] = deque()
        for number, entry in enumerate(self.entries, meta.index + 1):
            if entry.index != number:
                raise ValueError(f"stored log has entry {entry.index} in the place of {number}")

    def recover(self, commit: int, applied: int) -> None:
        """Take over what storage says of commit and apply; for the start only."""
        self._check(
            applied >= self.offset,
            "applied-not-consecutive",
            f"state machine is at {applied}, but the log begins after {self.offset}",
        )
        self.commit_to(max(commit, applied))
        self.applied = self.applying = max(applied, self.offset)

    def term(self, index: int) -> int:
        """Term of the entry at ``index``, or UNKNOWN."""
        offset = self.offset
        if index > offset:
            return self.entries[index - offset - 1].term if index <= self.last else UNKNOWN
        return self.offset_term if index == offset else UNKNOWN

    def last_term(self) -> int:
        """Term of the last entry."""
        return self.entries[-1].term if self.entries else self.offset_term

    def append(self, entry: Entry) -> None:
        """Put ``entry``, whose index is ``last + 1``, at the end."""
        self.entries.append(entry)
        self.last += 1

    def extend(self, entries: Sequence[Entry]) -> None:
        """Put entries, the first of which has index ``last + 1``, at the end."""
        self.entries.extend(entries)
        self.last += len(entries)

    def truncate(self, first: int) -> None:
        """Cut off ``first`` and all after it, because a leader's log has another entry there."""
        self._check(
            first > self.commit,
            "conflict-below-commit",
            f"entry {first} is to be replaced, but {self.commit} is committed",
        )
        del self.entries[first - self.offset - 1 :]
        self.last = first - 1
        self._clip(self.last)
        if self.handed > self.last:
            self.handed = self.last

    def check_committed(self, before: int, term: int, entries: Sequence[Entry]) -> None:
        """No leader's log may differ from this one where this one is committed.

        ``truncate`` alone would not notice: an append that begins below ``commit`` is only
        acknowledged, and one that begins at or above it cannot reach down.
        """
        places = [(before, term), *((entry.index, entry.term) for entry in entries)]
        for index, theirs in places:
            own = self.term(index)
            if index <= self.commit and own not in (theirs, UNKNOWN):
                self._check(
                    False,
                    "conflict-below-commit",
                    f"{index} is committed with term {own}, a leader has term {theirs} there",
                )

    def slice(self, first: int, max_entries: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries from ``first`` on, within both limits; one always fits."""
        start = first - self.offset - 1
        chosen = self.entries[start : start + max_entries]
        size = 0
        for count, entry in enumerate(chosen):
            size += len(entry.data)
            if size > max_bytes and count:
                return tuple(chosen[:count])
        return tuple(chosen)

    def agree_before(self, index: int, term: int) -> tuple[int, int]:
        """Largest place at or before ``index`` whose term is at most ``term``, and its term.

        Both sides use it to skip a whole term of a diverged log in one exchange: at a place with a
        greater term the logs cannot agree, as terms never fall along a log.
        """
        index = min(index, self.last)
        while index > self.offset and self.entries[index - self.offset - 1].term > term:
            index -= 1
        return index, max(self.term(index), 0)

    def commit_to(self, index: int) -> None:
        """Raise ``commit``; it never falls."""
        if index > self.commit:
            if index > self.last:
                self._check(
                    False,
                    "commit-beyond-last",
                    f"{index} is committed, but the log ends at {self.last}: entries were lost",
                )
                index = max(self.commit, self.last)
            self.commit = index

    def take_unwritten(self, number: int) -> tuple[Entry, ...]:
        """Entries not yet handed out to be written; remember the write under ``number``."""
        first = self.handed
        if first == self.last:
            return ()
        self.handed = self.last
        self._writes.append([number, self.last])
        return tuple(self.entries[first - self.offset :])

    def take_committed(self, limit: int) -> tuple[Entry, ...]:
        """The next entries to apply: committed and durable here."""
        first = self.applying
        until = min(self.commit, self.stable, first + limit)
        if until <= first:
            return ()
        self._check(
            first >= self.offset,
            "applied-not-consecutive",
            f"{first + 1} is next to apply, but the log begins after {self.offset}",
        )
        self.applying = until
        return tuple(self.entries[first - self.offset : until - self.offset])

    def persisted(self, number: int) -> bool:
        """All writes up to ``number`` are durable; True if ``stable`` moved."""
        writes = self._writes
        before = self.stable
        while writes and writes[0][0] <= number:
            last = writes.popleft()[1]
            if last > self.stable:
                self.stable = last
        return self.stable > before

    def note_applied(self, index: int) -> None:
        """The shell has applied everything up to ``index``."""
        self._check(
            self.applied <= index <= self.applying,
            "applied-not-consecutive",
            f"{index} is applied after {self.applied}, {self.applying} was handed out",
        )
        self.applied = index

    def restore(self, meta: SnapshotMeta, number: int) -> None:
        """Replace everything by a snapshot; it is written by Ready ``number``.

        Of the old log only the committed prefix is what the snapshot holds, so durability of
        anything later is forgotten.
        """
        self._clip(min(self.commit, meta.index))
        self.entries = []
        self.offset = self.last = self.handed = meta.index
        self.offset_term = meta.term
        self.commit = self.applying = meta.index
        self._writes.append([number, meta.index])

    def compact(self, index: int) -> None:
        """Forget entries up to and including ``index``."""
        if index > self.offset:
            self.offset_term = self.term(index)
            del self.entries[: index - self.offset]
            self.offset = index

    def _clip(self, last: int) -> None:
        """No write, done or in flight, says anything of indexes after ``last`` any more."""
        if self.stable > last:
            self.stable = last
        for write in self._writes:
            if write[1] > last:
                write[1] = last

    def _check(self, holds: bool, name: str, detail: str) -> None:
        if not holds and name not in self._assertions_off:
            raise RaftPanic(name, detail)
