"""What is wrong with a read, in a word and in a sentence.

The first of these that fits:

    internal            it contradicts what the transaction itself had written
    insert-over-value   an insert succeeded although the key was there
    aborted-read        the value is one of a transaction that failed
    intermediate-read   the value is one that its transaction overwrote before it committed
    future-read         the value was committed after the read's timestamp
    fractured-read      of one transaction's writes it saw some, and not this one
    half-transaction    nobody ever saw this write of an acknowledged transaction; others of it were
    lost-write          nobody ever saw any write of that transaction
    stale-read          the value was once right
    garbage-read        nobody wrote the value
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.linearizable.model import show
from splitbrain.checkers.transactions.reads import BadRead, Reads
from splitbrain.checkers.transactions.timelines import Timelines, Version
from splitbrain.checkers.transactions.transactions import Transaction
from splitbrain.checkers.verdict import Anomaly

__all__ = ["Naming", "who"]


def who(one: Transaction) -> str:
    """A transaction, as sentences call it."""
    return f"{one.invoke.f} of process {one.invoke.process} (start {one.foot.start_ts})"


class Naming:
    """Names bad reads, with all that is known of the history."""

    def __init__(
        self, transactions: Sequence[Transaction], lines: Timelines, reads: Reads
    ) -> None:
        self._transactions = transactions
        self._lines = lines
        self._met = reads.met
        self._writers: dict[tuple[str, Any], Transaction] = {}
        for one in transactions:
            for key, value in one.writes.items():
                # An aborted writer is named only where no other wrote that value.
                if one.fate != "aborted" or (key, value) not in self._writers:
                    self._writers[key, value] = one
        self._passing = {
            (key, value): one
            for one in transactions
            for key, values in one.passing.items()
            for value in values
        }

    def anomaly(self, bad: BadRead) -> Anomaly:
        """The anomaly of a bad read."""
        reader = self._transactions[bad.reader]
        kind, why, ops = self._named(bad)
        end = reader.invoke if reader.end is None else reader.end
        text = f"{who(reader)} saw {show(bad.seen)} at {when(end)}"
        if bad.at:
            text += f", reading as of {bad.at}"
        if kind == "insert-over-value":
            text = f"{who(reader)} inserted key {bad.key} at {when(end)}"
        return Anomaly(
            kind=kind,
            explanation=f"key {bad.key}: {text}; {why}",
            ops=tuple(sorted({*reader.ops, *ops})),
            key=bad.key,
            picture=self._picture(bad),
        )

    def _named(self, bad: BadRead) -> tuple[str, str, Sequence[int]]:
        if bad.word == "internal":
            own = show(None if bad.due is None else bad.due.value)
            return "internal", f"it had itself left {own} there", ()
        if bad.word == "insert":
            return "insert-over-value", f"but the key held {self._version(bad.due)}", ()
        seen = self._seen_version(bad)
        if seen is not None:
            if bad.at and seen.commit_ts > bad.at:
                ops = self._ops(seen)
                return "future-read", f"that was committed only at {seen.commit_ts}", ops
            return self._stale(bad)
        return self._uncommitted(bad)

    def _seen_version(self, bad: BadRead) -> Version | None:
        """The version that was seen: by its timestamp, else the nearest of its value."""
        line = self._lines.versions.get(bad.key, ())
        if bad.observed:
            return next((v for v in line if v.commit_ts == bad.observed), None)
        alike = [version for version in line if version.value == bad.seen]
        if bad.seen is None:
            alike.insert(0, Version(0, -1, None))
        past = [version for version in alike if version.commit_ts <= bad.at]
        return past[-1] if past else alike[0] if alike else None

    def _stale(self, bad: BadRead) -> tuple[str, str, Sequence[int]]:
        due = bad.due or Version(0, -1, None)
        why = f"but the key held {self._version(due)}"
        if due.writer < 0:
            return "stale-read", why, ()
        writer = self._transactions[due.writer]
        ops = self._ops(due)
        others = [key for key in writer.writes if key != bad.key]
        saw = [key for key in others if bad.reader in self._met.get((key, due.commit_ts), ())]
        if saw:
            return "fractured-read", f"{why}, whose write of key {saw[0]} it did see", ops
        if (bad.key, due.commit_ts) in self._met or self._in_dump(bad.key, due.commit_ts):
            return "stale-read", why, ops
        if writer.fate == "committed":
            if any((key, due.commit_ts) in self._met for key in others):
                return "half-transaction", f"{why}, a write that nobody ever saw", ops
            return "lost-write", f"{why}, a transaction that nobody ever saw", ops
        return "stale-read", why, ops

    def _uncommitted(self, bad: BadRead) -> tuple[str, str, Sequence[int]]:
        passing = self._passing.get((bad.key, bad.seen))
        if passing is not None:
            why = f"a value that {who(passing)} overwrote before it committed"
            return "intermediate-read", why, passing.ops
        writer = self._writers.get((bad.key, bad.seen))
        if writer is not None and writer.fate == "aborted":
            return "aborted-read", f"which {who(writer)} wrote, and that failed", writer.ops
        if writer is not None:
            why = f"which {who(writer)} wrote, and no store holds it as committed"
            return "aborted-read", why, writer.ops
        return "garbage-read", "nobody wrote that", ()

    def _in_dump(self, key: str, commit_ts: int) -> bool:
        return any(
            record.key == key and record.commit_ts == commit_ts
            for _, part in self._lines.parts
            for record in part.writes
        )

    def _version(self, version: Version | None) -> str:
        if version is None or not version.commit_ts:
            return "nothing yet"
        by = ""
        if version.writer >= 0:
            by = f" by {who(self._transactions[version.writer])}"
        return f"{show(version.value)}, committed at {version.commit_ts}{by}"

    def _ops(self, version: Version) -> Sequence[int]:
        return self._transactions[version.writer].ops if version.writer >= 0 else ()

    def _picture(self, bad: BadRead) -> Mapping[str, Any]:
        """The versions around the read's timestamp."""
        line = self._lines.versions.get(bad.key, ())
        near = [v for v in line if v.commit_ts <= bad.at][-3:]
        near += [v for v in line if v.commit_ts > bad.at][:2]
        reader = self._transactions[bad.reader]
        return {
            "op": reader.ops[-1],
            "at": bad.at,
            "seen": show(bad.seen),
            "versions": [[v.commit_ts, show(v.value)] for v in near],
        }
