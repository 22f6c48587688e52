"""A fault of one's own: a small class in a file given by ``--load``."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitbrain import catalog
from splitbrain.commands.run import run_spec
from splitbrain.commands.schedule import read_schedule
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import HarnessError, PluginError, UnknownName
from splitbrain.nemesis.packages import FamilyNemesis
from splitbrain.results.runs import read_run

OWN = '''
"""Leaders that change without need."""

import asyncio

from splitbrain.contracts.fault import Proof
from splitbrain.nemesis.base import Draft, resolve_targets


class Unrest:
    faults = frozenset({"unrest"})

    def __init__(self, world):
        self.world = world

    def kinds(self, name):
        return frozenset()

    def draft(self, name, stream):
        return Draft(fault="unrest", targets=("one",))

    async def start(self, act):
        before = await self.world.running.primaries()
        (to,) = resolve_targets(self.world, act, before, exclude=before)
        await self.world.running.admin(ACTION, {"node": before[0], "to": to})
        await asyncio.sleep(1)
        after = await self.world.running.primaries()
        return (to,), {}, [Proof(target=to, effective=after[:1] == [to], observed=str(after))]

    async def stop(self, act):
        return act.targets, {}, ()

    async def heal(self):
        return (), {}, ()


NEMESES = {"turmoil": Unrest}
'''


@pytest.fixture
def load(tmp_path: Path):
    def load(text: str) -> catalog.Catalog:
        path = tmp_path / "own.py"
        path.write_text(text)
        return catalog.load([str(path)], catalog.builtin())

    return load


SPEC = TestSpec(workload="register", substrate="sim", nemesis=("turmoil",), time_limit_s=25)


@pytest.mark.parametrize(
    ("action", "verdict"), [("transfer-leader", "valid"), ("status", "unknown")]
)
def test_a_fault_of_ones_own_takes_its_turns_and_must_be_proven(
    load, tmp_path: Path, action: str, verdict: str
) -> None:
    names = load(OWN.replace("ACTION", repr(action)))
    done = run_spec(SPEC, names, tmp_path / "store")
    assert done.verdict == verdict, done.sentence
    if verdict == "unknown":
        assert done.result.reason == "no-effect"
        return
    faults = read_run(done.directory).faults
    assert {fault.f for fault in faults} == {"start-unrest", "stop-unrest"}
    # What came of it is a schedule, as of any other fault.
    schedule = read_schedule(str(done.directory / "faults.jsonl"), SPEC, names)
    again = msgspec.structs.replace(SPEC, nemesis=(), schedule=schedule)
    repeated = read_run(run_spec(again, names, tmp_path / "store").directory).faults
    assert [(f.f, f.targets) for f in repeated] == [(f.f, f.targets) for f in faults]


def test_without_its_file_it_is_unknown() -> None:
    with pytest.raises(UnknownName, match="turmoil"):
        catalog.resolve(SPEC, catalog.builtin())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NEMESES = {'x': 3}", r"own.py:1: NEMESES\['x'\] is not callable"),
        (
            "class X: pass\nNEMESES = {'x': X}",
            r"own.py:2: NEMESES\['x'\] has no frozenset faults",
        ),
    ],
)
def test_a_mistake_is_named_by_file_and_line(load, text: str, problem: str) -> None:
    with pytest.raises(PluginError, match=problem):
        load(text)


def test_two_families_of_one_fault_are_refused() -> None:
    class Twin:
        faults = frozenset({"kill"})

    with pytest.raises(HarnessError, match="two families know the fault 'kill'"):
        FamilyNemesis([Twin(), Twin()])  # type: ignore[list-item]
