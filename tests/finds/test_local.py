"""Seeded bugs are found on operating-system processes too, and their controls are valid there.

Real schedulers do not repeat themselves, so each bug gets several seeds; one that finds it is enough.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from splitbrain import catalog as names
from splitbrain.commands.demo import demo_parts
from splitbrain.commands.run import Finished, run_spec
from splitbrain.contracts.spec import TestSpec
from splitbrain.systems.minitikv.bugs import BUGS

pytestmark = pytest.mark.processes

CATALOG = names.builtin()
SEEDS = range(1, 6)

FOUND_HERE: dict[str, dict[str, Any]] = {
    "ack-on-append": {"nemesis": ("partition",)},
    # A short patience, so that faults of a few seconds make many calls time out.
    "timeout-is-fail": {"nemesis": ("partition", "pause"), "options": {"op-timeout": 0.5}},
    "no-conflict-truncate": {"nemesis": ("partition",), "rate_hz": 200.0},
    "append-no-fsync": {"nemesis": ("power",)},
    "quorum-off-by-one": {"nemesis": ("partition", "kill")},
    "local-leader-read": {
        "nemesis": ("partition",),
        "options": {"op-timeout": 0.5, "read-share": 0.7},
    },
}
"""Bug -> what the finding run needs beside its name."""


def run(tmp_path: Path, seed: int, bugs: tuple[str, ...], **fields: Any) -> Finished:
    spec = TestSpec(
        workload="register",
        substrate="local",
        bugs=bugs,
        seed=seed,
        time_limit_s=30.0,
        nemesis_interval_s=3.0,
        **fields,
    )
    return run_spec(spec, CATALOG, tmp_path)


def kinds(finished: Finished) -> set[str]:
    parts = finished.result.checkers.values()
    return {anomaly.kind for part in parts for anomaly in part.anomalies}


def test_the_demo_finds_its_bug(tmp_path: Path) -> None:
    part = demo_parts(seconds=12.0)[1]
    finished = run_spec(part.spec, CATALOG, tmp_path)
    assert finished.verdict == "invalid", finished.sentence
    assert kinds(finished) & set(BUGS["ack-on-append"].anomalies)
    assert finished.report.is_file()


@pytest.mark.deep
@pytest.mark.parametrize("bug", sorted(FOUND_HERE))
def test_it_is_found_on_processes(bug: str, tmp_path: Path) -> None:
    for seed in SEEDS:
        finished = run(tmp_path, seed, (bug,), **FOUND_HERE[bug])
        if finished.verdict == "invalid":
            assert kinds(finished) & set(BUGS[bug].anomalies), finished.sentence
            break
    else:
        pytest.fail(f"{bug}: none of the seeds {SEEDS} finds it on local")
    control = run(tmp_path, seed, (), **FOUND_HERE[bug])
    assert control.verdict == "valid", control.sentence
