"""The random runs bite: each planted bug breaks a promise within so many seeds.

Twice: once with the white box's eyes, once by the history that clients have (``judge``) alone.  All
the while the correct rules break nothing (``test_random``).
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import Lock
from splitbrain.cluster.mvcc.safe_ts import safe_ts
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.mvcc.view import Fate, Version, View
from splitbrain.cluster.storage.columns import Columns

from . import world
from .runs import run
from .world import Broken


class Bug(Mvcc):
    def __init__(self) -> None:
        self.probe = 0


class NoConflictCheck(Bug):
    """P01: prewrite does not mind newer commits; own records it minds."""

    def _conflicts(self, view: View, key: bytes, newest: Version, start_ts: int) -> bool:
        self.probe += newest.commit_ts > start_ts
        return view.fate(key, start_ts) != Fate()


class ConflictOnStart(Bug):
    """P02: who began before me is no conflict, whenever they committed."""

    def _conflicts(self, view: View, key: bytes, newest: Version, start_ts: int) -> bool:
        self.probe += newest.record.start_ts <= start_ts < newest.commit_ts
        own = view.fate(key, start_ts)
        return newest.record.start_ts > start_ts or own.committed is not None or own.rolled_back


class ReadIgnoresLock(Bug):
    """P04"""

    def _blocks(self, *arguments: Any) -> bool:
        self.probe += super()._blocks(*arguments)
        return False


class NoRollbackMark(Bug):
    """P07: a missing primary is called rolled back, and may still come."""

    def _mark_primary(self, *arguments: Any) -> None:
        self.probe += 1


class CommitWithoutLock(Bug):
    """P10: any lock is mine."""

    def _owns(self, lock: Lock, start_ts: int) -> bool:
        self.probe += lock.start_ts != start_ts
        return True


class MissingMeansRolledBack(Bug):
    """P12: a primary without lock is never looked up among the commit records."""

    def _primary_fate(self, view: View, key: bytes, start_ts: int) -> Fate:
        found = view.fate(key, start_ts)
        self.probe += found.committed is not None
        return Fate() if found.committed is not None else found


class MinCommitTsIgnored(Bug):
    """P13"""

    def _too_early(self, lock: Lock, commit_ts: int) -> bool:
        self.probe += commit_ts < lock.min_commit_ts
        return False


class GcEatsLatest(Bug):
    """P21"""

    def _keeps(self, newest: Version) -> bool:
        self.probe += super()._keeps(newest)
        return False


class LockNoConflictCheck(Bug):
    """P24: a pessimistic lock is given whatever was written since."""

    def _written_since(self, commit_ts: int, for_update_ts: int) -> bool:
        self.probe += commit_ts > for_update_ts
        return False


class CommitMissingOk(Bug):
    """P30: nothing to commit is well committed."""

    def _commit_without_lock(self, view: View, key: bytes, start_ts: int) -> int:
        self.probe += view.fate(key, start_ts).committed is None
        return 0


class NeverHeld(Bug):
    """Locks of an async commit are not shown while they are on their way."""

    def decide(self, *arguments: Any) -> Any:
        decision = super().decide(*arguments)
        self.probe += bool(decision.held)
        return msgspec.structs.replace(decision, held=())


class MaxTsForgotten(Bug):
    """Readers do not raise max_ts."""

    def read(self, request: Any, reader: Any, memory: Any = None) -> Any:
        before = memory.max_ts
        reply = super().read(request, reader, memory)
        self.probe += memory.max_ts > before
        memory.max_ts = before
        return reply


class AmendAnyway(Bug):
    """A lost pessimistic lock is replaced though the key was written since the start."""

    def _amend(self, view: View, key: bytes, request: Any) -> None:
        self.probe += 1


CASES = [
    (NoConflictCheck, "optimistic", 20),
    (ConflictOnStart, "optimistic", 40),
    (ReadIgnoresLock, "optimistic", 100),
    (NoRollbackMark, "optimistic", 2_500),
    (CommitWithoutLock, "optimistic", 250),
    (MissingMeansRolledBack, "optimistic", 150),
    (MinCommitTsIgnored, "optimistic", 500),
    (GcEatsLatest, "optimistic", 100),
    (LockNoConflictCheck, "pessimistic", 40),
    (CommitMissingOk, "optimistic", 50),
    (NeverHeld, "async", 150),
    (MaxTsForgotten, "async", 50),
    (AmendAnyway, "pessimistic", 150),
]


@pytest.mark.parametrize("white_box", [True, False], ids=["white", "black"])
@pytest.mark.parametrize(("bug", "kind", "seeds"), CASES)
def test_it_is_found(bug: type[Bug], kind: str, seeds: int, white_box: bool) -> None:
    reached = 0
    for seed in range(seeds):
        rules = bug()
        try:
            run(seed, rules, kinds=(kind,), white_box=white_box)
        except (Broken, AssertionError):
            assert rules.probe, "something else broke"
            return
        reached += rules.probe
    pytest.fail(f"not found in {seeds} runs; its path was taken {reached} times")


@pytest.mark.parametrize("forgotten", ["locks", "memory", "max_ts"])
def test_a_safe_timestamp_that_is_not_safe_is_found(
    forgotten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsafe(reader: Any, memory: Memory, timestamp: int) -> int:
        if forgotten == "locks":
            return safe_ts(Columns(), memory, timestamp)
        before, found = memory.max_ts, safe_ts(reader, memory, timestamp)
        if forgotten == "max_ts":
            memory.max_ts = before
            return found
        return safe_ts(reader, Memory(), timestamp)

    monkeypatch.setattr(world, "safe_ts", unsafe)
    for seed in range(1_500):
        try:
            run(seed, kinds=("async",))
        except Broken as broken:
            if broken.kind == "stale-read":
                return
            raise
    pytest.fail("not found")
