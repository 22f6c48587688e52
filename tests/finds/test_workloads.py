"""set, unique-ids, kv and weaker promises: the correct cluster keeps them, seeded bugs break them.

Appends and elements go by compare-and-swap, which a leader decides when it applies, so a bug that
acknowledges too early (ack-on-append) shows in plain writes alone: in kv, and not in set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitbrain import catalog as names
from splitbrain.contracts.spec import TestSpec
from splitbrain.systems.minitikv.bugs import BUGS

CATALOG = names.builtin()
WORKLOADS = ("set", "unique-ids", "kv")

Trial = Callable[[TestSpec, str], Any]
"""The fixture ``trial``."""


def spec_of(workload: str, seed: int, bug: str = "", **changes: Any) -> TestSpec:
    """A spec with the bug's own faults and options, or with all faults."""
    fields: dict[str, Any] = {"workload": workload, "substrate": "sim", "seed": seed}
    if bug:
        known = BUGS[bug]
        fields |= {"nemesis": known.nemesis, **known.spec, "bugs": (bug,)}
        changes["options"] = {**known.options, **changes.get("options", {})}
    spec = TestSpec(**{**fields, **changes})
    return (
        spec
        if bug
        else msgspec.structs.replace(spec, nemesis=names.inside_model(spec, CATALOG))
    )


@pytest.mark.parametrize(
    ("workload", "seed"),
    [
        pytest.param(workload, seed, marks=[] if seed <= 2 else [pytest.mark.deep])
        for workload in WORKLOADS
        for seed in range(1, 31)
    ],
)
def test_the_correct_cluster_is_valid_under_all_faults(
    workload: str, seed: int, trial: Trial
) -> None:
    catch = trial(spec_of(workload, seed), "")
    assert catch.verdict == "valid", catch.result.summary
    stats = catch.result.checkers["stats"].stats
    assert stats["total"]["ok"] > 1000
    assert catch.result.stats == ({} if workload == "unique-ids" else {"lost": 0})


FOUND = [
    ("set", "quorum-off-by-one", 1, {}, "lost-element"),
    ("set", "local-leader-read", 2, {"time_limit_s": 20.0}, "stale-element"),
    ("set", "timeout-is-fail", 3, {"time_limit_s": 20.0}, "phantom-element"),
    ("unique-ids", "quorum-off-by-one", 1, {}, "duplicate-id"),
    ("kv", "local-leader-read", 2, {"time_limit_s": 20.0}, "not-linearizable"),
    ("kv", "ack-on-append", 1, {"time_limit_s": 20.0}, "not-linearizable"),
]


@pytest.mark.parametrize(("workload", "bug", "seed", "changes", "kind"), FOUND)
def test_a_bug_is_found_and_its_control_is_valid(
    workload: str, bug: str, seed: int, changes: dict[str, Any], kind: str, trial: Trial
) -> None:
    spec = spec_of(workload, seed, bug, **changes)
    catch = trial(spec, bug)
    assert catch.verdict == "invalid"
    assert kind in catch.kinds
    assert catch.probe > 0
    if workload == "set":
        lost = catch.result.stats["lost"]
        assert lost == catch.result.checkers["set"].stats["lost_count"]
        assert lost == catch.result.checkers["availability"].stats["lost"]
        assert (lost > 0) == (kind == "lost-element")
    control = trial(msgspec.structs.replace(spec, bugs=()), bug)
    assert control.verdict == "valid", control.result.summary


@pytest.mark.parametrize("promise", ["bounded-staleness", "eventual"])
def test_a_linearizable_cluster_keeps_weaker_promises(promise: str, trial: Trial) -> None:
    catch = trial(spec_of("register", 3, options={"promise": promise}, time_limit_s=40.0), "")
    assert catch.verdict == "valid", catch.result.summary
    assert catch.result.checkers["staleness"].stats["stale"] == 0
    told = catch.result.checkers["convergence"].stats
    assert told["compared"] == told["keys"] > 5
    assert "lost" not in catch.result.stats  # neither checker can tell


@pytest.mark.parametrize(
    ("bug", "seed", "bound_s", "verdict"),
    [
        ("local-leader-read", 2, 0.05, "invalid"),
        ("local-leader-read", 2, 0.5, "valid"),
        ("ack-on-append", 1, 0.5, "invalid"),
        ("ack-on-append", 1, 60, "valid"),
    ],
)
def test_stale_reads_are_judged_by_the_bound(
    bug: str, seed: int, bound_s: float, verdict: str, trial: Trial
) -> None:
    options = {"promise": "bounded-staleness", "staleness-bound": bound_s}
    catch = trial(spec_of("register", seed, bug, options=options, time_limit_s=30.0), bug)
    assert catch.verdict == verdict, catch.result.summary
    assert catch.kinds == ({"stale-beyond-bound"} if verdict == "invalid" else set())
    assert catch.result.checkers["staleness"].stats["stale"] > 0
