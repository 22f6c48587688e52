"""The correct cluster under all faults, by many seeds: valid, never vacuous, each run repeatable.

``make test`` runs ten of the two hundred, ``make deep`` all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import Order, Told, differences, start, told, twice

pytestmark = pytest.mark.timeout(1200)  # minutes of simulation; a busy machine needs its time

WORKLOADS = ("register", "cas-register")
SHARES = [tuple(range(start, start + 5)) for start in range(1, 101, 5)]
"""The hundred seeds, five for each test."""


def check_shares(tmp_path: Path, workload: str, seeds: tuple[int, ...]) -> None:
    order = Order(
        store=str(tmp_path / "runs"),
        workload=workload,
        seeds=seeds,
        megabytes=seeds[0] % 64 + 1,
    )
    first, second = twice(order)
    assert sorted(first) == sorted(seeds)
    assert [one.summary for one in first.values() if one.verdict != "valid"] == []
    # Not vacuous: clients at 100 operations a second got most of a minute's answers under faults.
    assert [
        one.summary for one in first.values() if one.succeeded < 2000 or one.faults < 4
    ] == []
    assert differences(first, second) == []


@pytest.mark.parametrize("seeds", SHARES[:1], ids=str)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_all_faults_by_seed(tmp_path: Path, workload: str, seeds: tuple[int, ...]) -> None:
    check_shares(tmp_path, workload, seeds)


@pytest.mark.deep
@pytest.mark.parametrize("seeds", SHARES[1:], ids=str)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_all_faults_by_every_seed(
    tmp_path: Path, workload: str, seeds: tuple[int, ...]
) -> None:
    check_shares(tmp_path, workload, seeds)


def quiet(tmp_path: Path, seeds: tuple[int, ...], time_limit_s: float) -> list[Told]:
    order = Order(
        store=str(tmp_path / "runs"),
        workload="register",
        seeds=seeds,
        nemesis=(),
        time_limit_s=time_limit_s,
    )
    return list(told(start(order, "0")).values())


def check_quiet(runs: list[Told]) -> None:
    for one in runs:
        assert one.verdict == "valid", one.summary
        assert len(one.elected) == 1, (one.seed, one.elected)
        assert one.disturbed == (), one.seed


def test_without_faults_nobody_stands_for_election_again(tmp_path: Path) -> None:
    check_quiet(quiet(tmp_path, (1, 2, 3, 4, 5), 15))


@pytest.mark.deep
@pytest.mark.parametrize("decade", range(10))
def test_without_faults_nobody_stands_for_election_again_by_every_seed(
    tmp_path: Path, decade: int
) -> None:
    check_quiet(quiet(tmp_path, tuple(range(10 * decade + 1, 10 * decade + 11)), 60))


def test_an_election_would_be_seen(tmp_path: Path) -> None:
    order = Order(
        store=str(tmp_path / "runs"),
        workload="register",
        seeds=(1,),
        nemesis=("kill",),
        time_limit_s=40,
    )
    (one,) = told(start(order, "0")).values()
    assert len(one.elected) > 1
    assert one.disturbed
