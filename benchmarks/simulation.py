"""How many seconds of a five-node cluster at 100 operations a second one second of simulation holds.

    python benchmarks/simulation.py [--seconds 60] [--seeds 3] [--profile]

Target: at least 15 simulated seconds a second of wall time on one core.  The first two lines are the
simulation alone (harness, clients, five stores, network, disks; the history kept in memory), without
faults and under all of them; the third is a whole ``splitbrain run``: files, verdict and report too.
``--profile`` prints the functions that took most time in the first.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from splitbrain import catalog as names
from splitbrain.commands.run import run_spec
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site
from splitbrain.env.random import Random
from splitbrain.harness.driver import run_test
from splitbrain.harness.record import MemoryRecorder

CATALOG = names.builtin()


def simulate(spec: TestSpec) -> int:
    """Run it without files; the operations that were invoked."""
    test = names.resolve(spec, CATALOG)
    recorder = MemoryRecorder()
    site = Site(
        spec=spec,
        directory=None,
        label="benchmark",
        random=Random(spec.seed),
        journal=NullJournal(),
        events=recorder.event,
        power="power" in spec.nemesis,
    )
    return test.substrate.run(lambda: run_test(test, site, recorder)).ops


def whole(spec: TestSpec) -> int:
    """``splitbrain run``; the operations that were invoked."""
    with tempfile.TemporaryDirectory() as store:
        return run_spec(spec, CATALOG, Path(store)).operations


def show(what: str, specs: list[TestSpec], run: Callable[[TestSpec], int]) -> None:
    """One line."""
    wall, cpu = time.perf_counter(), time.process_time()
    operations = sum(run(spec) for spec in specs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    simulated = sum(spec.time_limit_s for spec in specs)
    print(
        f"{what:<28}{simulated / wall:>8.1f} simulated s a second of wall time"
        f"{simulated / cpu:>8.1f} of processor time{operations / cpu:>9,.0f} ops/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the simulation.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    calm = [
        TestSpec(workload="register", substrate="sim", seed=n, time_limit_s=given.seconds)
        for n in range(1, given.seeds + 1)
    ]
    everything = names.inside_model(calm[0], CATALOG)
    stormy = [msgspec.structs.replace(spec, nemesis=everything) for spec in calm]
    simulate(msgspec.structs.replace(stormy[0], time_limit_s=5))  # imports
    show("simulation, no faults", calm, simulate)
    show("simulation, all faults", stormy, simulate)
    show("run, check and report", stormy, whole)
    if given.profile:
        with cProfile.Profile() as profile:
            simulate(calm[0])
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    else:
        print("--profile shows where the time goes")


if __name__ == "__main__":
    main()
