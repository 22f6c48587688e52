"""Who may commit beside whom: overlapping writers, what was validated, and what is lawful.

**Writers.**  A key is a writer's own from when it looked for conflicts to its commit: (start_ts,
commit_ts], or (for_update_ts, commit_ts] where it had locked the key.  The interval is open at the
left: the commit timestamp of an async or one-phase commit is often the next one's start timestamp, and
that is no overlap.  Locks that wrote nothing count as writers.  Of two that overlap, the later one to
commit should have been refused; under read committed nobody promised that.

    T1   (3 ---------- 9]            T2 lost T1's update, if it had read the key:
    T2         (5 ---------- 12]     at 5 it cannot have seen it

**Serializable.**  What such a transaction read must still be the latest when it commits: keys that it
got, or that a scan gave it.  A key that appeared in a scanned range is a phantom, and lawful: nothing
locks what is not there.  Timestamps of
different keys may be equal, and then a cycle of readers and overwriters is a contradiction too.

**Lawful**, and told by name: the lost update of a pessimistic transaction that read a key without
locking it, and of read committed; write skew between transactions that asked for no more than a
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from splitbrain.checkers.transactions.timelines import Timelines, Version
from splitbrain.checkers.transactions.transactions import Gathered, Transaction, level_of

__all__ = ["Clash", "Lawful", "late_starts", "lawful", "overlaps", "overtaken"]


class Clash(msgspec.Struct, frozen=True):
    """Two transactions of which the second should not have committed, or not begun, so.

    Attributes:
        kind: ``lost-update``, ``write-overlap``, ``duplicate-commit-ts``, ``write-skew``,
            ``not-serializable`` or ``stale-snapshot``.
    """

    kind: str
    first: int
    second: int
    key: str


class Lawful(msgspec.Struct, frozen=True):
    """Something that the level allows: ``lost-update``, ``write-skew`` or ``phantom``."""

    kind: str
    first: int
    second: int
    key: str


def plain_reads(one: Transaction, lines: Timelines) -> Iterator[tuple[str, int]]:
    """The keys that a transaction read without locking them, with the timestamps of the reads."""
    for _, step in one.outside_reads():
        at = step.at or one.foot.read_ts
        if step.kind == "get":
            yield step.key, at
        elif step.kind == "scan":
            start, end, limit = step.key
            seen = [key for key, _ in step.value or ()]
            if limit and len(seen) >= limit:
                end = max(seen) + "\0"
            yield from ((key, at) for key in lines.keys_in(start, end))


def overlaps(gathered: Gathered, lines: Timelines) -> Iterator[Clash]:
    """Neighbours among a key's writers that overlap; none overlap if no neighbours do."""
    for key, writers in lines.writers.items():
        for (before, first), (commit_ts, second) in pairwise(writers):
            later = gathered.transactions[second]
            if before == commit_ts:
                yield Clash("duplicate-commit-ts", first, second, key)
            elif later.holds_from(key) < before and level_of(later) != "read-committed":
                yield Clash(_overlap_kind(later, lines, key), first, second, key)


def _overlap_kind(later: Transaction, lines: Timelines, key: str) -> str:
    read = any(
        step.kind == "lock" and step.key == key for _, step in later.outside_reads()
    ) or any(other == key for other, _ in plain_reads(later, lines))
    return "lost-update" if read and key in later.writes else "write-overlap"


def overtaken(gathered: Gathered, lines: Timelines) -> Iterator[Clash]:
    """Serializable transactions of which a read was no longer true when they committed."""
    tied: dict[int, dict[int, set[int]]] = {}
    for one, commit_ts in _serializable(gathered, lines):
        told: set[tuple[str, int]] = set()
        for key, at in plain_reads(one, lines):
            for version in lines.between(key, at, commit_ts):
                if version.writer in (-1, one.number) or (key, version.writer) in told:
                    continue
                if _phantom(one, key):
                    continue
                told.add((key, version.writer))
                if version.commit_ts < commit_ts:
                    yield Clash(
                        _skew(gathered, lines, one, version), version.writer, one.number, key
                    )
                else:
                    tied.setdefault(commit_ts, {}).setdefault(one.number, set()).add(
                        version.writer
                    )
    for edges in tied.values():
        yield from _cycles(edges)


def _serializable(gathered: Gathered, lines: Timelines) -> Iterator[tuple[Transaction, int]]:
    for one in gathered.transactions:
        commit_ts = lines.commits.get(one.number)
        if commit_ts and one.foot.isolation == "serializable":
            yield one, commit_ts


def _phantom(one: Transaction, key: str) -> bool:
    """Whether the key was read only in that a scan did not find it."""
    for _, step in one.outside_reads():
        if step.kind == "get" and step.key == key:
            return False
        if step.kind == "scan" and any(seen == key for seen, _ in step.value or ()):
            return False
    return True


def _skew(gathered: Gathered, lines: Timelines, one: Transaction, version: Version) -> str:
    other = gathered.transactions[version.writer]
    mutual = any(key in one.writes for key, _ in plain_reads(other, lines))
    return "write-skew" if mutual else "not-serializable"


def _cycles(edges: Mapping[int, set[int]]) -> Iterator[Clash]:
    """A clash for each transaction that lies on a cycle; the graphs are those of one timestamp."""
    for begin in sorted(edges):
        reached, stack = set[int](), [begin]
        while stack:
            for after in edges.get(stack.pop(), ()):
                if after not in reached:
                    reached.add(after)
                    stack.append(after)
        if begin in reached:
            partner = min(edges[begin])
            yield Clash("write-skew", partner, begin, "")


def late_starts(gathered: Gathered, lines: Timelines) -> Iterator[Clash]:
    """Transactions that began after another was acknowledged, with an older timestamp."""
    events = []
    for one in gathered.transactions:
        if not one.foot.version:
            events.append((one.invoke.index, 0, one))
        if one.end is not None and one.fate == "committed" and one.number in lines.commits:
            events.append((one.end.index, 1, one))
    newest, who = 0, -1
    for _, ended, one in sorted(events, key=lambda event: event[:2]):
        if ended:
            if lines.commits[one.number] > newest:
                newest, who = lines.commits[one.number], one.number
        elif one.foot.start_ts < newest:
            yield Clash("stale-snapshot", who, one.number, "")


def lawful(gathered: Gathered, lines: Timelines) -> Iterator[Lawful]:
    """What the levels allow and a stricter one would not."""
    for one in gathered.transactions:
        commit_ts = lines.commits.get(one.number)
        level = level_of(one)
        if not commit_ts or level == "locking":
            continue
        for key, at in plain_reads(one, lines):
            for version in lines.between(key, at, commit_ts):
                if version.writer in (-1, one.number):
                    continue
                if level == "serializable":
                    if _phantom(one, key):
                        yield Lawful("phantom", version.writer, one.number, key)
                elif key in one.writes:
                    if level != "snapshot":
                        yield Lawful("lost-update", version.writer, one.number, key)
                elif _reads_of(gathered.transactions[version.writer], one, lines):
                    yield Lawful("write-skew", version.writer, one.number, key)


def _reads_of(first: Transaction, second: Transaction, lines: Timelines) -> bool:
    """Whether ``first``, which committed earlier, read without a lock what ``second`` wrote."""
    return any(
        key in second.writes and key not in first.writes for key, _ in plain_reads(first, lines)
    )


def sentence(clash: Clash, transactions: Sequence[Transaction], lines: Timelines) -> str:
    """A clash in words."""
    from splitbrain.checkers.transactions.naming import who

    first, second = transactions[clash.first], transactions[clash.second]
    one = f"{who(first)} committed at {lines.commits.get(clash.first, 0)}"
    commit_ts = lines.commits.get(clash.second, 0)
    if clash.kind == "stale-snapshot":
        return f"{one} and was acknowledged before {who(second)} began, with an older timestamp"
    if clash.kind == "duplicate-commit-ts":
        return f"key {clash.key}: {one}, and {who(second)} at the same timestamp"
    if clash.kind in ("write-skew", "not-serializable"):
        about = f"key {clash.key}: " if clash.key else ""
        return (
            f"{about}{one}; {who(second)} had read what that changed, and committed as "
            f"serializable at {commit_ts} all the same"
        )
    held = second.holds_from(clash.key)
    return (
        f"key {clash.key}: {one}, inside the interval ({held}, {commit_ts}] of {who(second)}, "
        "which committed all the same"
    )
