"""After a kill of the leader the cluster serves again within a few election timeouts.

Measured as ``benchmarks/failover.py`` does, in virtual time; the benchmark prints the figures of a
real machine.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest

from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

T_S = 1.0

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def failover() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "failover.py"
    spec = importlib.util.spec_from_file_location("benchmark_failover", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def check_seeds(failover: ModuleType, store: Path, seeds: range, kills: int) -> None:
    gaps: list[float] = []
    for seed in seeds:
        sentence, measured = failover.measure(failover.spec_of("sim", seed, kills), store)
        assert sentence.startswith("VALID"), sentence
        assert len(measured) == kills, (seed, measured)
        gaps += measured
    # Longer than a heartbeat's silence can explain, or the kill did not hit the leader.
    assert min(gaps) > 0.5 * T_S
    assert statistics.median(gaps) <= 2.5 * T_S
    assert max(gaps) <= 5 * T_S


def test_a_killed_leader_is_replaced_in_time(failover: ModuleType, tmp_path: Path) -> None:
    check_seeds(failover, tmp_path, range(1, 6), kills=2)


@pytest.mark.deep
def test_a_killed_leader_is_replaced_in_time_by_every_seed(
    failover: ModuleType, tmp_path: Path
) -> None:
    check_seeds(failover, tmp_path, range(1, 21), kills=10)


@pytest.mark.deep
@pytest.mark.processes
def test_killed_processes_are_replaced_too(failover: ModuleType, tmp_path: Path) -> None:
    sentence, gaps = failover.measure(failover.spec_of("local", 1, 3), tmp_path)
    assert sentence.startswith("VALID"), sentence
    assert len(gaps) == 3
    # A loaded machine is late, so no wall time is asserted: each time somebody took over.
    assert max(gaps) < float("inf")


def test_a_gap_ends_with_a_success_under_another_leader(failover: ModuleType) -> None:
    second = 1_000_000_000
    value = {"id": "k", "targets": ["n1"], "parameters": {"leader": "n1"}}
    ops = [
        Op(time_ns=6 * second, process=NEMESIS, type="info", f="start-kill", value=value),
        Op(time_ns=6 * second + 1, process=0, type="invoke", f="read", key=0),
        Op(time_ns=6 * second + 2, process=0, type="ok", f="read", key=0),  # the old leader's
        Op(time_ns=6 * second + 3, process=NEMESIS, type="info", f="start-kill", value=value),
        Op(time_ns=8 * second - 1, process=0, type="invoke", f="read", key=0),
        Op(time_ns=8 * second, process=0, type="ok", f="read", key=0),
    ]
    events = [
        {"time_ns": 1 * second, "kind": "leader", "node": "n1"},
        {"time_ns": 7 * second, "kind": "leader", "node": "n2"},
    ]
    assert failover.gaps_s(History(ops), events) == [2.0]
    assert failover.gaps_s(History(ops), events[:1]) == [float("inf")]
