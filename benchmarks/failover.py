"""How long nothing succeeds after a kill of the leader, in units of the election timeout T = 1 s.

    python benchmarks/failover.py [--on local|sim] [--kills 10] [--seed 1]

Ten workers at 100 operations a second go on all the while; the leader is killed again and again and
comes back 4 s later.  A gap lasts from the moment at which the kill was asked for to the first success
of any client after another leader was elected, so it holds the kill itself, the silence until a
follower's timeout, the vote, the new leader's first entry and the clients' way to it.  A timeout is
drawn from [T, 2 T): the expected least of four of them is 1.2 T.  Target: median at most 2.5 T, none
over 5 T.  In sim the times are virtual; on local they are the machine's, and a loaded one is late.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from splitbrain import catalog as names
from splitbrain.commands.run import run_spec
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.history.history import History
from splitbrain.results.runs import read_run

SECOND = 1_000_000_000
FIRST_S, PERIOD_S, DOWN_S = 6.0, 8.0, 4.0

PLAIN: Mapping[str, str | int | float | bool] = {
    "sim-delay-ms": 0.5,
    "sim-jitter-ms": 1.0,
    "sim-fsync-ms": 0.5,
    "sim-order": "time",
    "entries-per-append": 64,
    "inflight": 256,
    "snapshot-every": 10_000,
    "snapshot-tail": 1_000,
    "slow-apply-ms": 0.0,
    "slow-commit-ms": 0.0,
    "election-timeouts": "",
}
"""No knob is drawn from the seed: equal election timeouts, for one, make votes split."""


def kills_of_the_leader(count: int) -> tuple[ScheduledFault, ...]:
    """A kill every eight seconds, and its restart."""
    schedule: list[ScheduledFault] = []
    for number in range(count):
        at_s, id_ = FIRST_S + PERIOD_S * number, f"kill-{number + 1}"
        kill = ScheduledFault(
            time_ns=int(at_s * SECOND), f="start-kill", targets=("leader",), id=id_
        )
        restart = ScheduledFault(time_ns=int((at_s + DOWN_S) * SECOND), f="stop-kill", id=id_)
        schedule += [kill, restart]
    return tuple(schedule)


def spec_of(substrate: str, seed: int, kills: int) -> TestSpec:
    """The run that is measured."""
    return TestSpec(
        workload="register",
        substrate=substrate,
        seed=seed,
        time_limit_s=FIRST_S + PERIOD_S * kills,
        schedule=kills_of_the_leader(kills),
        options=PLAIN,
    )


def gaps_s(history: History, events: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds without success after each kill of a leader; infinite where none came any more."""
    elected = [event["time_ns"] for event in events if event["kind"] == "leader"]
    succeeded = [op.time_ns for op in history if op.process >= 0 and op.type == "ok"]
    gaps = []
    for completion in history:
        begun = history.invocation(completion.index)
        if completion.f != "start-kill" or begun is None:
            continue  # another operation, or the invocation itself
        kill = history[begun]
        value = completion.value
        if value["parameters"].get("leader") not in value["targets"]:
            continue  # nobody led just then
        leader_ns = min((at for at in elected if at > kill.time_ns), default=None)
        success_ns = min(
            (at for at in succeeded if leader_ns is not None and at > leader_ns), default=None
        )
        gap = float("inf") if success_ns is None else (success_ns - kill.time_ns) / SECOND
        gaps.append(gap)
    return gaps


def measure(spec: TestSpec, store: Path) -> tuple[str, list[float]]:
    """Run it: its verdict in a sentence, and its gaps."""
    finished = run_spec(spec, names.builtin(), store)
    run = read_run(finished.directory)
    return finished.sentence, gaps_s(run.history, run.events)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time without success after a leader's kill.")
    parser.add_argument("--on", choices=("local", "sim"), default="local")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as store:
        spec = spec_of(given.on, given.seed, given.kills)
        sentence, gaps = measure(spec, Path(store))
    print(f"{sentence}\nload average before: {load:.1f} on {os.cpu_count()} cores")
    if not gaps:
        raise SystemExit("no kill found a leader: no figure")
    print(f"on {given.on}, {len(gaps)} kills of the leader, gaps in T = 1 s:")
    print("  " + "  ".join(f"{gap:.2f}" for gap in gaps))
    print(
        f"  median {statistics.median(gaps):.2f} T (target at most 2.5), "
        f"longest {max(gaps):.2f} T (target at most 5)"
    )


if __name__ == "__main__":
    main()
