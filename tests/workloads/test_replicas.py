"""``--check replicas`` on whole runs in the simulator, and at the end of any workload."""

from __future__ import annotations

import pytest

from splitbrain.catalog import Catalog, builtin, resolve
from splitbrain.commands.trial import run_trial
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError, Unsupported
from splitbrain.harness.generator import invocations
from splitbrain.systems.minitikv.system import Minitikv
from splitbrain.workloads.replicas import ThenReplicas

CHECK = {"check": "replicas"}


@pytest.mark.parametrize("workload", ["set", "bank"])
def test_replicas_are_equal_after_faults(tmp_path, workload: str) -> None:
    one = run_trial(
        {
            "workload": workload,
            "nemesis": "kill,partition",
            "time_limit": 8.0,
            "options": CHECK,
        },
        store=tmp_path,
        seed=3,
    )
    part = one.result.checkers["replicas"]
    assert (one.kinds, part.verdict) == (frozenset(), "valid"), one
    assert part.stats["compared"] >= 3
    assert part.stats["skipped"] == 0
    assert part.stats["keys"] > 0
    done = [op for op in one.history if op.type == "invoke" and op.process >= 0]
    assert done[-1].f == "replicas"


def test_a_log_that_is_not_truncated_is_found_where_no_client_sees_it(tmp_path) -> None:
    """The follower keeps the entry of a deposed leader; nobody happens to read there."""
    one = run_trial(
        {
            "workload": "register",
            "nemesis": "partition",
            "rate": 200.0,
            "nemesis_interval": 2.5,
            "time_limit": 12.0,
            "bugs": ("no-conflict-truncate",),
            "options": {
                **CHECK,
                "assertions-off": "applied-not-consecutive,commit-beyond-last,"
                "conflict-below-commit",
            },
        },
        store=tmp_path,
        seed=2,
    )
    assert one.kinds == {"replica-divergence"}
    (anomaly,) = one.anomalies
    assert anomaly.key is not None
    assert len({*anomaly.picture["diff"][0]["held"].values()}) == 2


def test_it_is_asked_last_and_again_a_few_times_only() -> None:
    ops = invocations(ThenReplicas(first=None), seed=1)
    assert [op.f for op in ops] == ["replicas"] * 3  # answers without a value are none


def test_other_systems_and_other_checks_are_refused_by_a_line() -> None:
    class Other(Minitikv):
        name = "other"
        checks = frozenset[str]()

    catalog: Catalog = builtin()
    catalog.systems["other"] = Other  # type: ignore[index]
    spec = TestSpec(workload="register", system="other", substrate="sim", options=CHECK)
    with pytest.raises(Unsupported, match="--check replicas: other has no way to tell"):
        resolve(spec, catalog)
    wrong = TestSpec(workload="register", substrate="sim", options={"check": "replica"})
    with pytest.raises(RequestError, match="replicas"):
        resolve(wrong, catalog)
