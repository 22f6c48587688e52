"""Every transactional workload on the database in memory: valid if it is right, found if it is not."""

from __future__ import annotations

from typing import Any

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.compose import compose
from splitbrain.checkers.sound import result_problems
from splitbrain.checkers.verdict import INVALID, VALID, Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Random
from splitbrain.errors import RequestError
from splitbrain.history.history import History
from splitbrain.workloads.bank import bank
from splitbrain.workloads.lock import lock
from splitbrain.workloads.long_fork import long_fork
from splitbrain.workloads.monotonic import monotonic
from splitbrain.workloads.queue import queue
from splitbrain.workloads.snapshots import snapshot_reads, versioned
from splitbrain.workloads.txn_micros import append, txn_kv, wr
from splitbrain.workloads.txn_set import txn_set
from splitbrain.workloads.write_skew import write_skew

from .memory import Database
from .stage import run_workload

MAKERS = {
    "append": append,
    "wr": wr,
    "txn-kv": txn_kv,
    "bank": bank,
    "long-fork": long_fork,
    "monotonic": monotonic,
    "write-skew": write_skew,
    "snapshot-reads": snapshot_reads,
    "versioned": versioned,
    "lock": lock,
    "queue": queue,
    "txn-set": txn_set,
}
PROMISING = ("long-fork", "lock", "queue")
"""Those that refuse levels at which updates may be lost."""

LEVELS: dict[str, dict[str, Any]] = {
    "optimistic": {},
    "serializable": {"isolation": "serializable"},
    "locking": {"txn-mode": "pessimistic"},
    "both": {"txn-mode": "both"},
    "mixed": {"txn-mode": "pessimistic", "locking-reads": False},
    "read-committed": {"isolation": "read-committed"},
}


def made(name: str, **options: Any) -> Workload:
    workload = MAKERS[name](TestSpec(workload=name, options=options))
    assert (workload.name, workload.vocabulary) == (name, "txn")
    return workload


def played(
    name: str, options: dict[str, Any], *, seed: int, ops: int = 150, **database: Any
) -> tuple[History, Result]:
    workload = made(name, **options)
    there = Database(Random(seed).stream("database"), **database)
    history = run_workload(workload, there, seed=seed, ops=ops)
    result = compose(workload.checkers).check(history, {}, Budget(20))
    assert not result_problems(result, history)
    return history, result


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", MAKERS)
def test_a_correct_database_is_valid_and_not_vacuous(name: str, level: str) -> None:
    if name in PROMISING and level in ("mixed", "read-committed"):
        with pytest.raises(RequestError, match="may lawfully be lost"):
            made(name, **LEVELS[level])
        return
    for seed in range(3):
        history, result = played(name, LEVELS[level], seed=seed, unknown_chance=0.04 * seed)
        assert result.verdict == VALID, (seed, result.summary, result.undecided)
        succeeded = {op.f for op in history if op.type == "ok"}
        assert succeeded >= {*made(name).functions, "dump"}
        answers = made(name).answers
        refused = {op.error.split(":")[0] for op in history if op.type == "fail" and op.error}
        assert refused <= answers, refused - answers


def test_write_skew_is_seen_under_snapshots_named_as_allowed_and_nowhere_else() -> None:
    seen = dict.fromkeys(LEVELS, 0)
    for level in seen:
        for seed in range(4):
            _, result = played("write-skew", LEVELS[level], seed=seed, ops=250)
            assert result.verdict == VALID
            stats = result.checkers["write-skew"].stats
            seen[level] += stats["both_off"]
            assert stats.get("lawful", {}).get("write-skew", 0) == stats["both_off"]
            if stats["both_off"]:
                assert "allows" in result.checkers["write-skew"].summary
    assert seen["optimistic"] > 3
    assert seen["serializable"] == seen["locking"] == 0


def test_a_bank_of_pessimistic_transactions_without_locking_reads_loses_money_lawfully() -> (
    None
):
    wrong = 0
    for seed in range(4):
        _, result = played("bank", LEVELS["mixed"], seed=seed, ops=250)
        assert result.verdict == VALID, result.summary
        wrong += result.checkers["bank"].stats["wrong_totals"]
    assert wrong > 10


@pytest.mark.parametrize(
    ("name", "level", "sin", "kinds"),
    [
        ("bank", "optimistic", "no-conflict-check", {"wrong-total"}),
        ("bank", "optimistic", "half", {"wrong-total"}),
        ("bank", "locking", "locks-shared", {"wrong-total"}),
        ("long-fork", "optimistic", "stale", {"long-fork"}),
        ("monotonic", "optimistic", "no-conflict-check", {"duplicate-value"}),
        ("monotonic", "locking", "stale-lock-read", {"duplicate-value"}),
        ("write-skew", "serializable", "no-validation", {"write-skew"}),
        ("snapshot-reads", "optimistic", "future", {"fractured-read"}),
        ("snapshot-reads", "optimistic", "half", {"fractured-read"}),
        ("versioned", "optimistic", "stale", {"version-changed"}),
        ("lock", "optimistic", "no-conflict-check", {"two-holders"}),
        ("queue", "optimistic", "no-conflict-check", {"duplicate-element", "lost-element"}),
        ("txn-set", "optimistic", "lost-ack", {"lost-element", "lost"}),
    ],
)
def test_a_broken_database_is_found_by_the_workload_s_own_checker(
    name: str, level: str, sin: str, kinds: set[str]
) -> None:
    own = next(iter(made(name).checkers))
    found: set[str] = set()
    also = 0
    for seed in range(6):
        _, result = played(name, LEVELS[level], seed=seed, ops=300, sins=(sin,), sin_chance=0.5)
        part = result.checkers[own]
        found |= {anomaly.kind for anomaly in part.anomalies}
        also += part.verdict == result.checkers["timestamps"].verdict == INVALID
    assert found & kinds, found
    assert also, "the replay saw it too"


@pytest.mark.parametrize("name", ["append", "wr", "txn-kv"])
def test_the_replay_finds_what_lists_and_registers_show(name: str) -> None:
    for sin in ("no-conflict-check", "stale", "half", "lost-ack", "ghost", "early-commit-ts"):
        verdicts = {
            played(name, {}, seed=seed, sins=(sin,), sin_chance=0.5)[1].verdict
            for seed in range(3)
        }
        assert INVALID in verdicts, sin
