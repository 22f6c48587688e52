"""``faults.jsonl`` repeats a run's faults: the same nodes at the same times."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitbrain import catalog
from splitbrain.commands.run import run_spec
from splitbrain.commands.schedule import read_schedule
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.nemesis.base import ROLES

from .conftest import acts

ALL = ("partition", "kill", "power", "pause", "clock", "network")


def starts(directory: Path) -> list[tuple[str, str, float, object, object]]:
    """Of each fault: what, id, when in ms, whom, and with what; as the history tells."""
    found = []
    for op, done in acts(directory):
        value = done.value
        parameters = {k: v for k, v in value["parameters"].items() if k != "leader"}
        ms = round(op.time_ns / 1e6, 1)
        found.append((op.f, value["id"], ms, value["targets"], parameters))
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_replay_hits_the_same_nodes_at_the_same_times(tmp_path: Path, seed: int) -> None:
    names = catalog.builtin()
    spec = TestSpec(
        workload="register", substrate="sim", nemesis=ALL, time_limit_s=70, seed=seed
    )
    first = run_spec(spec, names, tmp_path)
    assert first.verdict == "valid"
    lines = (first.directory / "faults.jsonl").read_bytes().splitlines()
    faults = [msgspec.json.decode(line, type=ScheduledFault) for line in lines]
    assert len(faults) > 12
    for fault in faults:
        assert fault.f.startswith(("start-", "stop-")), "heal-all is no fault"
        assert fault.id
        assert not set(fault.targets) & set(ROLES), "roles have become nodes"
        if "partition" in fault.f:
            assert fault.parameters["cut"]
        else:
            assert fault.targets
    assert [fault.time_ns for fault in faults] == sorted(fault.time_ns for fault in faults)

    schedule = read_schedule(str(first.directory / "faults.jsonl"), spec, names)
    again = msgspec.structs.replace(spec, nemesis=(), schedule=schedule)
    second = run_spec(again, names, tmp_path)
    assert second.verdict == "valid"
    ours, theirs = starts(second.directory), starts(first.directory)
    assert [(f, id_, whom, how) for f, id_, _, whom, how in ours] == [
        (f, id_, whom, how) for f, id_, _, whom, how in theirs
    ]
    for mine, other in zip(ours, theirs, strict=True):
        # An operation of the nemesis may take a little longer, and then the next one waits for it.
        assert mine[2] == pytest.approx(other[2], abs=1500 if mine[2] > 70_000 else 1)


def test_a_fault_that_never_ended_is_written_as_it_was_asked(tmp_path: Path) -> None:
    """The nemesis of this run breaks in its first fault."""
    names = catalog.builtin()
    fault = ScheduledFault(time_ns=3 * 10**9, f="start-kill", targets=("n9",), id="k")
    spec = TestSpec(workload="register", substrate="sim", time_limit_s=5, schedule=(fault,))
    with pytest.raises(Exception, match="unknown target 'n9'"):
        run_spec(spec, names, tmp_path)
    (directory,) = {path.parent for path in tmp_path.glob("*/*/faults.jsonl")}
    (line,) = (directory / "faults.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(line, type=ScheduledFault) == fault
