"""The timestamp replay: right histories are valid, sins are found, and it equals its oracle."""

from __future__ import annotations

from collections import Counter

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.sound import result_problems
from splitbrain.checkers.transactions.evidence import dumps_of
from splitbrain.checkers.transactions.order import late_starts, overlaps, overtaken
from splitbrain.checkers.transactions.reads import judge_reads
from splitbrain.checkers.transactions.timelines import timelines
from splitbrain.checkers.transactions.timestamps import TimestampChecker
from splitbrain.checkers.transactions.transactions import gather
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Result
from splitbrain.history.history import History

from . import oracle
from .histories import played, recipe

SINS = {
    "no-conflict-check": {"lost-update", "write-overlap"},
    "stale": {"stale-read", "fractured-read", "lost-write", "half-transaction"},
    "future": {"future-read"},
    "dirty": {"aborted-read", "future-read", "intermediate-read", "stale-read"},
    "scan-misses": {"stale-read", "fractured-read", "lost-write", "half-transaction"},
    "stale-lock-read": {"stale-read", "fractured-read", "lost-write", "half-transaction"},
    "old-start": {"stale-snapshot", "lost-update", "write-overlap", "stale-read"},
    "no-validation": {"write-skew", "not-serializable"},
    "half": {"half-transaction", "fractured-read", "lost-write", "stale-read"},
    "early-commit-ts": {"stale-read", "lost-update", "write-overlap", "fractured-read"},
    "ghost": {"ghost-commit", "aborted-read"},
    "lost-ack": {"lost-write", "stale-read", "half-transaction", "fractured-read"},
    "locks-shared": {"lost-update", "write-overlap", "stale-read"},
    "intermediate": {"intermediate-read"},
    "blind-insert": {"insert-over-value"},
    "forgets-own": {"internal"},
}
"""Each sin with the anomalies that it may be told as."""


BUSY = {"processes": 5, "transactions": 9, "keys": 3, "unknown": 0.0}
FIXED = {
    "no-validation": {**BUSY, "kinds": ("serializable",)},
    "stale-lock-read": {**BUSY, "kinds": ("locking", "mixed")},
    "locks-shared": {**BUSY, "kinds": ("locking", "mixed")},
    "no-conflict-check": {**BUSY, "kinds": ("snapshot", "serializable")},
    "half": BUSY,
}
"""What brings a sin out."""


def check(history: History) -> Result:
    result = TimestampChecker().check(history, {}, Budget(20))
    assert not result_problems(result, history)
    return result


def compare(seed: int, sins: tuple[str, ...], **fixed: object) -> Result:
    """The checker's answer, once it was found to be the oracle's."""
    history, database = played(recipe(seed, sins=sins, **fixed))
    gathered = gather(history)
    lines = timelines(gathered, dumps_of(history))
    if not sins:
        true = {r.start_ts: r.commit_ts for line in database.records.values() for r in line}
        for number, commit_ts in lines.commits.items():
            assert true[gathered.transactions[number].foot.start_ts] == commit_ts
    reads = judge_reads(gathered, lines)
    told = {(bad.reader, bad.step, bad.key) for bad in reads.bad}
    due = oracle.wrong_reads(gathered, lines)
    assert told <= due
    assert {(n, step) for n, step, _ in due - told} <= set(reads.open)
    clashes = {(clash.second, clash.key) for clash in overlaps(gathered, lines)}
    assert clashes == oracle.overlapping(gathered, lines)
    assert {clash.second for clash in late_starts(gathered, lines)} == oracle.too_old(
        gathered, lines
    )
    unserializable = {clash.second for clash in overtaken(gathered, lines)}
    assert oracle.unserializable(gathered, lines) <= unserializable
    result = check(history)
    if due - {d for d in due if d[:2] in set(reads.open)} or clashes or unserializable:
        assert result.verdict == INVALID
    return result


@pytest.mark.parametrize("part", range(4))
def test_a_correct_database_is_never_invalid(part: int) -> None:
    never_invalid(range(part * 250, part * 250 + 250))


@pytest.mark.deep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(100))
def test_a_correct_database_is_never_invalid_in_100_000_histories(part: int) -> None:
    never_invalid(range(10_000 + part * 1000, 11_000 + part * 1000))


def never_invalid(seeds: range) -> None:
    verdicts = set()
    for seed in seeds:
        result = compare(seed, ())
        assert result.verdict != INVALID, (seed, result.summary)
        verdicts.add(result.verdict)
    assert verdicts == {VALID, UNKNOWN}


@pytest.mark.parametrize("sin", SINS)
def test_each_sin_is_found_by_name(sin: str) -> None:
    found: Counter[str] = Counter()
    for seed in range(50):
        result = compare(seed, (sin,), **FIXED.get(sin, {}))
        found.update({anomaly.kind for anomaly in result.anomalies})
    print(sin, found)
    assert found.keys() & SINS[sin]


# --- what levels allow -----------------------------------------------------------------------------


def allowed(*kinds: str) -> Counter[str]:
    """How many of 60 busy histories of that kind saw what their level allows; none is invalid."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        history, _ = played(recipe(seed, **{**BUSY, "kinds": kinds}))
        result = check(history)
        assert result.verdict != INVALID, (seed, result.summary)
        seen.update(result.stats["allowed"].keys())
    return seen


def test_a_pessimistic_transaction_that_reads_without_locking_may_lose_an_update() -> None:
    assert allowed("mixed")["lost-update"] > 5


def test_write_skew_is_lawful_between_snapshots_only() -> None:
    assert allowed("snapshot")["write-skew"] > 5
    assert not allowed("serializable").keys() - {"phantom"}
