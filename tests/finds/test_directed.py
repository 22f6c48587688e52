"""Bugs that random faults seldom reach are found by their schedule, whatever the seed.

The specs come from ``BUGS``, as does the command that ``splitbrain list bugs`` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from splitbrain.commands.listing import bug_command
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.system import Bug
from splitbrain.systems.minitikv.bugs import BUGS

Hunt = Callable[..., Any]
"""The fixture ``hunt``."""

DIRECTED = tuple(bug for bug in BUGS.values() if bug.schedule)
WALL_MOST_S = 60.0

each = pytest.mark.parametrize("bug", DIRECTED, ids=lambda bug: bug.name)


def seeds(usual: int, deep: int) -> pytest.MarkDecorator:
    """Seeds from 1: the first few always, all by ``make deep``."""
    numbers = [
        pytest.param(seed, marks=[] if seed <= usual else [pytest.mark.deep])
        for seed in range(1, deep + 1)
    ]
    return pytest.mark.parametrize("seed", numbers)


def quiet(bug: Bug, seed: int, hunt: Hunt) -> list[Any]:
    """A run without faults, and one for each fault that should not reveal the bug."""
    return [
        hunt(bug.name, seed, nemesis=faults) for faults in ((), *((f,) for f in bug.harmless))
    ]


def test_three_bugs_need_a_schedule() -> None:
    assert [bug.id for bug in DIRECTED] == ["R01", "R04", "R08"]


@each
def test_the_command_names_the_schedule_and_every_knob(
    bug: Bug, finding: Callable[..., TestSpec]
) -> None:
    command = bug_command(bug, seed=7)
    spec = finding(bug, 7)
    assert f"--bug {bug.name} " in command
    assert f"--faults {bug.schedule} " in command
    assert f"--nodes {len(spec.nodes)} " in command
    assert all(f"--option {name}={value} " in command for name, value in spec.options.items())


@each
@seeds(3, 20)
def test_found(bug: Bug, seed: int, hunt: Hunt) -> None:
    catch = hunt(bug.name, seed)
    assert catch.verdict == "invalid", catch.result.summary
    assert catch.kinds & set(bug.anomalies), catch.kinds
    assert catch.wall_s < WALL_MOST_S


@each
@seeds(1, 20)
def test_the_control_is_valid(bug: Bug, seed: int, hunt: Hunt) -> None:
    catch = hunt(bug.name, seed, with_bug=False)
    assert catch.verdict == "valid", catch.result.summary
    assert catch.probe == 0


@each
@seeds(1, 10)
def test_quiet(bug: Bug, seed: int, hunt: Hunt) -> None:
    for catch in quiet(bug, seed, hunt):
        assert catch.verdict == "valid", (catch.spec.nemesis, catch.result.summary)


@each
def test_the_changed_path_runs_without_faults_unless_it_needs_one(bug: Bug, hunt: Hunt) -> None:
    assert (hunt(bug.name, 1, nemesis=()).probe > 0) != bug.needs_fault


@each
def test_found_by_what_clients_saw_too(bug: Bug, hunt: Hunt) -> None:
    """Not only as an assertion of a node, in one of the first seeds."""
    seen = {"lost-write", "stale-read", "not-linearizable"}
    assert any(hunt(bug.name, seed).kinds & seen for seed in range(1, 8))
