"""Seeded bugs of transactions' rules: subclasses of :class:`~splitbrain.cluster.mvcc.service.Mvcc`.

A class names itself like a Raft bug does (``id``, ``name``, ``anomalies``, ``crash``) and counts how
often its changed path did what the correct one would not have done; the store shows the count among
its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from splitbrain.cluster.messages.context import Context
from splitbrain.cluster.mvcc.engine import Batch
from splitbrain.cluster.mvcc.records import Lock
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.mvcc.view import Fate, Version, View

__all__ = [
    "MVCC_BUGS",
    "CommitMissingOk",
    "CommitWithoutLock",
    "ConflictOnStart",
    "LockNoConflictCheck",
    "MinCommitTsIgnored",
    "MissingMeansRolledBack",
    "MvccBug",
    "NoConflictCheck",
    "NoRollbackMark",
    "ReadIgnoresLock",
]


class MvccBug(Mvcc):
    """What all have; see :class:`~splitbrain.cluster.bugs.raft_bugs.RaftBug`."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._probes: dict[str, int] = {}

    def probes(self) -> Mapping[str, int]:
        """How often the changed path of each bug made a difference."""
        return dict(self._probes)

    def _count(self, name: str, times: int = 1) -> None:
        if times:
            self._probes[name] = self._probes.get(name, 0) + times


class NoConflictCheck(MvccBug):
    """P01: prewrite does not mind what was committed since the transaction began.

    Two transactions read one version, and each writes its successor: the later one overwrites what it
    never saw.  The transaction's own records are still minded; without that a late repetition would
    lock again what is committed.

    Needs two writers of one key at once, and no fault.

    Probe: newer records passed over.
    """

    id = "P01"
    name = "no-conflict-check"
    anomalies = ("lost-update", "write-overlap", "not-snapshot-isolation")

    def _conflicts(self, view: View, key: bytes, newest: Version, start_ts: int) -> bool:
        self._count(NoConflictCheck.name, newest.commit_ts > start_ts)
        return view.fate(key, start_ts) != Fate()


class ConflictOnStart(MvccBug):
    """P02: a writer is a conflict by when it began, not by when it committed.

    Whoever began before this transaction and committed while it ran is missed: a lost update, and not
    a rare one.  The transaction's own records are still minded.

    Needs two writers of one key at once, and no fault.

    Probe: writers missed.
    """

    id = "P02"
    name = "conflict-on-start"
    anomalies = ("lost-update", "write-overlap", "not-snapshot-isolation")

    def _conflicts(self, view: View, key: bytes, newest: Version, start_ts: int) -> bool:
        self._count(ConflictOnStart.name, newest.record.start_ts < start_ts < newest.commit_ts)
        return newest.record.start_ts > start_ts or view.fate(key, start_ts) != Fate()


class ReadIgnoresLock(MvccBug):
    """P04: a read does not wait for locks.

    A lock below the reader's timestamp may be of a transaction that commits below it, too, and on
    other keys has already done so: the reader sees half of it.  What is written by such a reader
    overwrites the half that it missed, and no conflict is found, as that has the older timestamp.

    Needs readers among writers, and no fault.

    Probe: locks passed over.
    """

    id = "P04"
    name = "read-ignores-lock"
    anomalies = ("stale-snapshot", "fractured-read", "lost-update", "not-snapshot-isolation")

    def _blocks(self, lock: Lock, key: bytes, version: int, context: Context) -> bool:
        self._count(ReadIgnoresLock.name, super()._blocks(lock, key, version, context))
        return False


class NoRollbackMark(MvccBug):
    """P07: a primary that is not there is called rolled back, and nothing keeps it from coming.

    Its secondary is then removed.  The primary's prewrite, which was only late, finds no record
    against it: the transaction commits, and half of it is missing.

    Needs a primary's prewrite that comes later than the secondary's lock lives.

    Probe: transactions that were called rolled back without a record.
    """

    id = "P07"
    name = "no-rollback-mark"
    anomalies = ("half-transaction", "lost-write", "not-snapshot-isolation")

    def _mark_primary(
        self, view: View, batch: Batch, key: bytes, start_ts: int, fate: Fate
    ) -> None:
        self._count(NoRollbackMark.name)


class CommitWithoutLock(MvccBug):
    """P10: a commit takes whatever lock it finds for its own.

    A transaction that was rolled back as its client slept comes to commit, and finds another's lock:
    it commits the other's value under its own timestamps.

    Needs a client that is late by more than its locks live, and others at its keys.

    Probe: locks of others that were committed.
    """

    id = "P10"
    name = "commit-without-lock"
    anomalies = ("half-transaction", "foreign-commit", "lost-write", "not-snapshot-isolation")

    def _owns(self, lock: Lock, start_ts: int) -> bool:
        self._count(CommitWithoutLock.name, lock.start_ts != start_ts)
        return True


class MissingMeansRolledBack(MvccBug):
    """P12: of a primary without lock it is not looked up whether it is committed.

    Its transaction is called rolled back, and a secondary that is still locked is removed: half of an
    acknowledged transaction.

    Needs secondaries that stay locked beyond their time to live: a client cut off, or paused, after
    the primary's commit.

    Probe: commit records passed over.
    """

    id = "P12"
    name = "missing-primary-lock-means-rollback"
    anomalies = ("half-transaction", "lost-write", "not-snapshot-isolation")

    def _primary_fate(self, view: View, key: bytes, start_ts: int) -> Fate:
        found = super()._primary_fate(view, key, start_ts)
        if found.committed is None:
            return found
        self._count(MissingMeansRolledBack.name)
        return Fate()


class MinCommitTsIgnored(MvccBug):
    """P13: a commit may be below what a reader was promised.

    A reader that meets a lock raises its least commit timestamp above the own one, and passes by.
    The transaction commits below it all the same: what the reader saw was no snapshot.

    Needs a reader between a transaction's commit timestamp and its commit: delays.

    Probe: commits below the promise.
    """

    id = "P13"
    name = "min-commit-ts-ignored"
    anomalies = ("stale-snapshot", "fractured-read", "lost-update", "not-snapshot-isolation")

    def _too_early(self, lock: Lock, commit_ts: int) -> bool:
        self._count(MinCommitTsIgnored.name, super()._too_early(lock, commit_ts))
        return False


class LockNoConflictCheck(MvccBug):
    """P24: a pessimistic lock is given whatever was written since its timestamp.

    The answer tells the value as of that timestamp, and the transaction writes its successor over
    what it never saw: two-phase locking without the locking.

    Needs pessimistic transactions at one key at once, and no fault.

    Probe: locks given over newer records.
    """

    id = "P24"
    name = "lock-no-conflict-check"
    anomalies = ("lost-update", "write-overlap", "not-snapshot-isolation")

    def _written_since(self, commit_ts: int, for_update_ts: int) -> bool:
        self._count(LockNoConflictCheck.name, super()._written_since(commit_ts, for_update_ts))
        return False


class CommitMissingOk(MvccBug):
    """P30: a commit that finds no lock says yes, and does not look for a record.

    No lock and a record: committed before.  No lock and no record: rolled back, as the client was too
    late.  Both are told as success.

    Needs a client that is late by more than its locks live.

    Probe: commits of nothing.
    """

    id = "P30"
    name = "commit-missing-ok"
    anomalies = ("half-transaction", "lost-write", "not-snapshot-isolation")

    def _commit_without_lock(self, view: View, key: bytes, start_ts: int) -> int:
        committed = view.fate(key, start_ts).committed
        self._count(CommitMissingOk.name, committed is None)
        return 0 if committed is None else committed.commit_ts


MVCC_BUGS: Mapping[str, type[MvccBug]] = {
    bug.name: bug
    for bug in (
        NoConflictCheck,
        ConflictOnStart,
        ReadIgnoresLock,
        NoRollbackMark,
        CommitWithoutLock,
        MissingMeansRolledBack,
        MinCommitTsIgnored,
        LockNoConflictCheck,
        CommitMissingOk,
    )
}
"""The rules to make instead of the correct ones, by bug name."""
