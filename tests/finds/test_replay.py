"""Faults as data: schedules under which a bug was found in simulation find it elsewhere, too.

``schedules/BUG.jsonl`` is the faults.jsonl of an invalid run in simulation, by the command that
``splitbrain list bugs`` prints and seed 14:

    splitbrain run register --on sim --bug ack-on-append --nemesis partition --seed 14
    splitbrain run register --on sim --bug local-leader-read --nemesis partition
        --option op-timeout=0.5 --option read-share=0.7 --seed 14

A replay names the nodes that were cut off then.  Real clocks give other leaders and other moments, so
it is tried five times, each time by another seed of the clients; without the bug all five are valid.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import msgspec
import pytest

from splitbrain import catalog as names
from splitbrain.commands.run import Finished, run_spec
from splitbrain.commands.schedule import read_schedule
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import SplitbrainError
from splitbrain.systems.minitikv.bugs import BUGS

CATALOG = names.builtin()
SCHEDULES = Path(__file__).parent / "schedules"
REPLAYED = sorted(path.stem for path in SCHEDULES.glob("*.jsonl"))
TRIES = 5

each = pytest.mark.parametrize("bug", REPLAYED)


def replay(
    bug: str, substrate: str, store: Path, seed: int, *, with_bug: bool = True
) -> Finished:
    """One run of the bug's finding spec, its random faults replaced by the recorded ones."""
    found = BUGS[bug]
    spec = TestSpec(
        workload=found.workload,
        substrate=substrate,
        bugs=(bug,) if with_bug else (),
        options=dict(found.options),
        seed=seed,
        **found.spec,
    )
    schedule = read_schedule(str(SCHEDULES / f"{bug}.jsonl"), spec, CATALOG)
    return run_spec(msgspec.structs.replace(spec, schedule=schedule), CATALOG, store)


def lacking(substrate: str) -> str:
    """Why partitions are not possible there on this machine; empty if they are."""
    if substrate not in CATALOG.substrates:
        return "no substrate of this version"
    if substrate == "docker":
        from splitbrain.substrates.docker import image

        try:
            with contextlib.closing(image.connect()) as client:
                image.ensure(client)
        except SplitbrainError as error:
            return str(error)
    missing: str = CATALOG.substrates[substrate]().missing.get(Fault.PARTITION, "")
    return missing


def kinds(finished: Finished) -> set[str]:
    parts = finished.result.checkers.values()
    return {anomaly.kind for part in parts for anomaly in part.anomalies}


def test_both_kinds_of_bug_are_replayed() -> None:
    assert {BUGS[bug].id for bug in REPLAYED} == {"R10", "R25"}


@each
def test_by_other_seeds_of_the_simulation(bug: str, tmp_path: Path) -> None:
    for seed in range(1, TRIES + 1):
        one = replay(bug, "sim", tmp_path, seed)
        if one.verdict == "invalid":
            break
    else:
        pytest.fail(f"{bug}: none of {TRIES} replays finds it in simulation")
    assert kinds(one) & set(BUGS[bug].anomalies), one.sentence
    control = replay(bug, "sim", tmp_path, seed, with_bug=False)
    assert control.verdict == "valid", control.sentence
    lines = (SCHEDULES / f"{bug}.jsonl").read_text().splitlines()
    carried = (control.directory / "faults.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in carried] == [
        json.loads(line)["id"] for line in lines
    ]


@pytest.mark.deep
@pytest.mark.parametrize(
    "substrate",
    [
        pytest.param("local", marks=pytest.mark.processes),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
@each
def test_on_real_nodes(
    bug: str, substrate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if why := lacking(substrate):
        pytest.skip(f"{substrate}: {why}")
    hunts = [replay(bug, substrate, tmp_path, seed) for seed in range(TRIES)]
    controls = [replay(bug, substrate, tmp_path, seed, with_bug=False) for seed in range(TRIES)]
    found = [one for one in hunts if one.verdict == "invalid"]
    with capsys.disabled():
        print(f"\n{bug} on {substrate}: {len(found)} of {TRIES} replays find it")
    assert found, [one.sentence for one in hunts]
    for one in found:
        assert kinds(one) & set(BUGS[bug].anomalies), one.sentence
    for control in controls:
        assert control.verdict == "valid", control.sentence
