"""The invariants that locks and write records must keep; see :mod:`.invariants`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from splitbrain.checkers.transactions.evidence import Dump, LockRecord, Part, WriteRecord
from splitbrain.checkers.transactions.transactions import Gathered, Transaction

__all__ = ["Breach", "Replica", "Seen", "invariants"]


class Breach(msgspec.Struct, frozen=True):
    """An invariant that does not hold, where, and by which operations."""

    text: str
    key: str | None = None
    ops: tuple[int, ...] = ()


class Replica(msgspec.Struct, frozen=True):
    """One region's data on one node, with the index of the dump."""

    node: str
    index: int
    part: Part

    def lines(self) -> Mapping[str, Sequence[WriteRecord]]:
        """Write records by key, ascending by commit timestamp."""
        lines: dict[str, list[WriteRecord]] = {}
        for record in self.part.writes:
            lines.setdefault(record.key, []).append(record)
        for line in lines.values():
            line.sort(key=lambda record: record.commit_ts)
        return lines


class Seen(msgspec.Struct, frozen=True):
    """Everything that invariants look at.

    Attributes:
        by_start: transactions by start timestamp; two with one timestamp are left out.
    """

    transactions: Sequence[Transaction]
    by_start: Mapping[int, Transaction]
    replicas: Sequence[Replica]

    @staticmethod
    def of(gathered: Gathered, dumps: Iterable[tuple[int, Dump]]) -> Seen:
        """From a history's transactions and dumps."""
        by_start: dict[int, Transaction] = {}
        twice: set[int] = set()
        for one in gathered.transactions:
            start_ts = one.foot.start_ts
            if start_ts in by_start:
                twice.add(start_ts)
            by_start[start_ts] = one
        for start_ts in twice:
            del by_start[start_ts]
        replicas = [Replica(dump.node, index, p) for index, dump in dumps for p in dump.parts]
        return Seen(gathered.transactions, by_start, replicas)

    def ops(self, start_ts: int, index: int) -> tuple[int, ...]:
        """Indexes of a transaction's operation, if it is known, and of a dump."""
        one = self.by_start.get(start_ts)
        return (index,) if one is None else (*one.ops, index)


Looked = tuple[str, int, Iterable[Breach]]
"""An invariant, how many things were looked at, and what broke it."""


def invariants(seen: Seen) -> Iterator[Looked]:
    """I1 to I5 and I9 to I11."""
    for replica in seen.replicas:
        lines = replica.lines()
        commits = sum(record.kind != "rollback" for record in replica.part.writes)
        yield "I1", len(replica.part.locks), _one_lock(replica)
        yield "I2", commits, _order(seen, replica, lines)
        yield "I3", len(replica.part.writes), _no_both(seen, replica, lines)
        yield "I5", commits + len(replica.part.locks), _values(seen, replica)
        if replica.part.resolved_ts:
            yield "I10", len(replica.part.locks) + 1, _locks_left(seen, replica)
    fresh = [replica for replica in seen.replicas if replica.part.fresh]
    if fresh:
        yield "I4", *_whole(seen, fresh)
    yield "I9", *_durable(seen)
    yield "I11", *_agree(seen.replicas)


def _one_lock(replica: Replica) -> Iterator[Breach]:
    held: dict[str, LockRecord] = {}
    for lock in replica.part.locks:
        other = held.setdefault(lock.key, lock)
        if other is not lock and {other.kind, lock.kind} != {"shared"}:
            text = f"{replica.node} holds locks of {other.start_ts} and {lock.start_ts}"
            yield Breach(text, lock.key, (replica.index,))


def _order(
    seen: Seen, replica: Replica, lines: Mapping[str, Sequence[WriteRecord]]
) -> Iterator[Breach]:
    for key, line in lines.items():
        commits = [record for record in line if record.kind != "rollback"]
        for record in commits:
            if record.start_ts >= record.commit_ts:
                text = f"start {record.start_ts} is not before its commit {record.commit_ts}"
                yield Breach(text, key, seen.ops(record.start_ts, replica.index))
        for before, record in pairwise(commits):
            ops = seen.ops(record.start_ts, replica.index)
            if before.commit_ts == record.commit_ts:
                text = f"two commits at {record.commit_ts}"
                yield Breach(text, key, ops)
                continue
            writer = seen.by_start.get(record.start_ts)
            if writer is None or writer.foot.isolation == "read-committed":
                continue
            since = writer.holds_from(key)
            if since < before.commit_ts:
                text = (
                    f"start {record.start_ts} committed at {record.commit_ts}, although it looked "
                    f"for conflicts as of {since} and there is a commit at {before.commit_ts}"
                )
                yield Breach(text, key, ops)


def _no_both(
    seen: Seen, replica: Replica, lines: Mapping[str, Sequence[WriteRecord]]
) -> Iterator[Breach]:
    for key, line in lines.items():
        committed = {record.start_ts: record for record in line if record.kind != "rollback"}
        rolled = {record.start_ts for record in line if record.kind == "rollback"}
        # A rollback whose place another's commit takes is kept as a mark on that one.
        rolled |= {record.commit_ts for record in line if record.overlapped_rollback}
        for start_ts in sorted(rolled & committed.keys()):
            text = f"start {start_ts} has a rollback and a commit at {committed[start_ts].commit_ts}"
            yield Breach(text, key, seen.ops(start_ts, replica.index))


def _values(seen: Seen, replica: Replica) -> Iterator[Breach]:
    for record in replica.part.writes:
        if record.kind == "put" and record.value is None:
            text = f"{replica.node} has no value for the put committed at {record.commit_ts}"
            yield Breach(text, record.key, seen.ops(record.start_ts, replica.index))
    for lock in replica.part.locks:
        if lock.kind == "put" and lock.value is None:
            text = f"{replica.node} has no value for the lock of {lock.start_ts}"
            yield Breach(text, lock.key, seen.ops(lock.start_ts, replica.index))


def _locks_left(seen: Seen, replica: Replica) -> Iterator[Breach]:
    for lock in replica.part.locks:
        if lock.start_ts <= replica.part.resolved_ts:
            text = f"{replica.node} still holds the lock of {lock.start_ts}"
            yield Breach(text, lock.key, seen.ops(lock.start_ts, replica.index))


def _whole(seen: Seen, fresh: Sequence[Replica]) -> tuple[int, list[Breach]]:
    """I4, over all regions together."""
    commits: dict[int, dict[str, tuple[int, int]]] = {}
    for replica in sorted(fresh, key=lambda replica: replica.index):
        for record in replica.part.writes:
            if record.kind != "rollback" and record.commit_ts > replica.part.safe_point:
                keys = commits.setdefault(record.start_ts, {})
                keys.setdefault(record.key, (record.commit_ts, replica.index))
    breaches: list[Breach] = []
    for start_ts, keys in sorted(commits.items()):
        told = sorted({commit_ts for commit_ts, _ in keys.values()})
        first = min(index for _, index in keys.values())
        if len(told) > 1:
            text = f"start {start_ts} has commit records of {told[0]} and {told[1]}"
            breaches.append(Breach(text, min(keys), seen.ops(start_ts, first)))
        one = seen.by_start.get(start_ts)
        primary = None if one is None else one.foot.primary
        if primary is None or primary in keys:
            continue
        if any(_lacks_primary(r, primary, start_ts, told[0], first) for r in fresh):
            text = f"start {start_ts} is committed at {told[0]}, its primary {primary} is not"
            breaches.append(Breach(text, min(keys), seen.ops(start_ts, first)))
    return len(commits), breaches


def _lacks_primary(
    replica: Replica, primary: str, start_ts: int, commit_ts: int, index: int
) -> bool:
    """Whether a replica that was asked no sooner than the secondary's has nothing of the primary."""
    part = replica.part
    if not part.holds(primary) or replica.index < index or part.safe_point >= commit_ts:
        return False
    return not any(
        lock.key == primary and lock.start_ts == start_ts and lock.async_commit
        for lock in part.locks
    )


def _durable(seen: Seen) -> tuple[int, list[Breach]]:
    """I9: a replica that had applied all lacks what was acknowledged."""
    held = [
        (
            replica,
            {(w.key, w.start_ts) for w in replica.part.writes if w.kind != "rollback"}
            | {(lock.key, lock.start_ts) for lock in replica.part.locks if lock.async_commit},
        )
        for replica in seen.replicas
        if replica.part.fresh
    ]
    looked, breaches = 0, []
    for one in seen.transactions:
        foot = one.foot
        if one.fate != "committed" or not foot.commit_ts or foot.primary is None:
            continue
        for key in sorted(one.writes) if foot.path == "async" else [foot.primary]:
            for replica, names in held:
                part = replica.part
                if not part.holds(key) or part.safe_point >= foot.commit_ts:
                    continue
                looked += 1
                if (key, foot.start_ts) not in names:
                    text = f"acknowledged as committed at {foot.commit_ts}, and not on {replica.node}"
                    breaches.append(Breach(text, key, (*one.ops, replica.index)))
    return looked, breaches


def _agree(replicas: Sequence[Replica]) -> tuple[int, list[Breach]]:
    """I11: of each region's replicas at one applied index, against the first."""
    groups: dict[tuple[int, int], list[Replica]] = {}
    for replica in replicas:
        groups.setdefault((replica.part.region, replica.part.applied), []).append(replica)
    looked, breaches = 0, []
    for (region, _), group in sorted(groups.items()):
        safe_point = max(replica.part.safe_point for replica in group)
        first = group[0]
        for other in group[1:]:
            looked += 1
            one, two = _contents(first.part, safe_point), _contents(other.part, safe_point)
            apart = sorted(one ^ two, key=repr)
            if apart:
                text = (
                    f"region {region} differs between {first.node} and {other.node} at one applied "
                    f"index, in {len(apart)} records, first {apart[0]}"
                )
                breaches.append(Breach(text, apart[0][1], (first.index, other.index)))
    return looked, breaches


def _contents(part: Part, safe_point: int) -> set[tuple[str, str, int, int, str, str]]:
    locks = {
        ("lock", x.key, x.start_ts, x.for_update_ts, x.kind, repr(x.value)) for x in part.locks
    }
    writes = {
        ("write", w.key, w.commit_ts, w.start_ts, w.kind, repr(w.value))
        for w in part.writes
        if w.commit_ts > safe_point
    }
    return locks | writes
