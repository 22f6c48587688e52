"""Transactions on the correct cluster under all faults, by many seeds: valid, each run repeatable.

``make test`` runs a few of the two hundred, ``make deep`` all of them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from campaign import Order, differences, start, told, twice

pytestmark = pytest.mark.timeout(1200)

WORKLOADS = ("append", "bank", "monotonic", "register", "snapshot-reads")
OTHERS = ("wr", "txn-kv", "long-fork", "write-skew", "versioned", "lock", "queue", "txn-set")
MODES = (
    {},
    {"txn-mode": "pessimistic", "commit-path": "2pc"},
    {"txn-mode": "both", "commit-path": "async"},
    {"commit-path": "1pc", "isolation": "serializable"},
)


def order(tmp_path: Path, workload: str, seeds: tuple[int, ...], options: dict) -> Order:
    return Order(
        store=str(tmp_path / "runs"), workload=workload, seeds=seeds, options=dict(options)
    )


def check(tmp_path: Path, workload: str, seeds: tuple[int, ...], options: dict) -> None:
    """None invalid; the cut of what is answered under faults may leave one unknown, told by name."""
    runs = told(start(order(tmp_path, workload, seeds, options), "7"))
    assert sorted(runs) == sorted(seeds)
    bad = [(one.seed, one.summary) for one in runs.values() if one.verdict == "invalid"]
    assert bad == []
    unproven = [one.summary for one in runs.values() if one.verdict == "unknown"]
    assert all(text.startswith(("refused:", "no effect:")) for text in unproven), unproven
    assert len(unproven) * 5 <= len(runs)
    assert all(one.succeeded > 300 for one in runs.values())


def test_a_run_is_repeated_byte_for_byte(tmp_path: Path) -> None:
    one = order(tmp_path, "append", (2,), {"txn-mode": "both"})
    first, second = twice(msgspec.structs.replace(one, time_limit_s=25))
    assert all(run.succeeded > 300 for run in first.values())
    assert differences(first, second) == []


@pytest.mark.parametrize("workload", ["bank", "versioned"])
def test_transactions_under_all_faults(tmp_path: Path, workload: str) -> None:
    check(tmp_path, workload, (3,), {})


@pytest.mark.deep
@pytest.mark.parametrize("tens", range(4))
@pytest.mark.parametrize("workload", WORKLOADS)
def test_two_hundred_seeds(tmp_path: Path, workload: str, tens: int) -> None:
    check(tmp_path, workload, tuple(range(10 * tens + 1, 10 * tens + 11)), {})


@pytest.mark.deep
@pytest.mark.parametrize("workload", OTHERS)
def test_the_other_workloads(tmp_path: Path, workload: str) -> None:
    check(tmp_path, workload, tuple(range(1, 11)), {})


@pytest.mark.deep
@pytest.mark.parametrize("options", MODES, ids=str)
@pytest.mark.parametrize("workload", ["append", "bank"])
def test_other_kinds_of_transactions(tmp_path: Path, workload: str, options: dict) -> None:
    check(tmp_path, workload, tuple(range(41, 51)), options)
