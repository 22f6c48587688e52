"""Faults of one's own, in a file given by ``--load``: a small class, or three functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import splitbrain
from splitbrain import catalog
from splitbrain.commands.run import run_spec
from splitbrain.commands.schedule import read_schedule
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.test import World
from splitbrain.errors import HarnessError, PluginError, UnknownName
from splitbrain.nemesis.packages import FamilyNemesis, make_packages
from splitbrain.results.runs import read_run

from .conftest import effects

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
        (
            "import splitbrain\nsplitbrain.fault('x', print, print, 3)",
            "own.py:2: TypeError: fault 'x': seen must be an async function of .world, node., was 3",
        ),
        (
            "import splitbrain\nsplitbrain.fault('x', print, lambda node: 1, print)",
            "own.py:2: TypeError: fault 'x': mend must be an async function of",
        ),
        (
            "import splitbrain\nsplitbrain.fault('kill', print, print, print)",
            "own.py:2: ValueError: 'kill' is the name of a bundled fault; choose another",
        ),
        (
            "import splitbrain\nsplitbrain.fault('my fault', print, print, print)",
            "own.py:2: ValueError: 'my fault' is no name for a fault",
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


# --- splitbrain.fault -----------------------------------------------------------------------------


class Marks:
    """A harm that is a mark in a set; what was called, on whom."""

    def __init__(self) -> None:
        self.hurt_now: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.failing: set[tuple[str, str]] = set()

    async def _do(self, part: str, node: str) -> None:
        self.calls.append((part, node))
        if (part, node) in self.failing:
            raise ConnectionError(f"{part} of {node}")

    async def hurt(self, world: World, node: str) -> None:
        await self._do("hurt", node)
        self.hurt_now.add(node)

    async def mend(self, world: World, node: str) -> None:
        await self._do("mend", node)
        self.hurt_now.discard(node)

    async def seen(self, world: World, node: str) -> bool:
        await self._do("seen", node)
        return node in self.hurt_now

    def did(self, part: str) -> list[str]:
        return [node for what, node in self.calls if what == part]


def with_marks(stand: Any, **replaced: Any) -> Marks:
    """The stand's nemesis, which now knows the fault ``marks`` too."""
    marks = Marks()
    parts = {"hurt": marks.hurt, "mend": marks.mend, "seen": marks.seen, **replaced}
    own = {"marks": splitbrain.fault("marks", **parts)}
    stand.nemesis = make_packages(stand.world, own)[0].nemesis
    return marks


def test_a_fault_of_three_functions_looks_hurts_looks_and_mends(sim) -> None:
    async def body(stand) -> None:
        marks = with_marks(stand)
        started = await stand.start("marks", "leader", "n4")
        assert started["targets"] == list(dict.fromkeys([await stand.leader(), "n4"]))
        assert set(effects(started)) == {True}
        assert marks.hurt_now == set(started["targets"])
        stopped = await stand.stop("marks")
        assert (stopped["targets"], set(effects(stopped))) == (started["targets"], {True})
        assert not marks.hurt_now
        parts = [part for part, node in marks.calls if node == "n4"]
        assert parts == ["seen", "hurt", "seen", "mend", "seen"]

    sim(body)


def test_what_was_there_before_or_never_came_proves_nothing(sim) -> None:
    async def nothing(world, node) -> None:
        pass

    async def body(stand) -> None:
        marks = with_marks(stand)
        marks.hurt_now.add("n1")
        (proof,) = (await stand.start("marks", "n1"))["proof"]
        assert "effective" not in proof
        assert proof["observed"] == "seen already before it was done"
        with_marks(stand, hurt=nothing)
        assert effects(await stand.start("marks", "n1", "n2")) == [False, False]
        marks = with_marks(stand, mend=nothing)
        await stand.start("marks", "n1")
        assert effects(await stand.stop("marks")) == [False]
        with pytest.raises(RuntimeError, match="marks is still seen on n1 after its mend"):
            await stand.heal()
        marks.hurt_now.clear()
        await stand.heal()

    sim(body)


def test_a_node_that_another_fault_holds_is_masked_and_left_alone(sim) -> None:
    async def body(stand) -> None:
        marks = with_marks(stand)
        await stand.start("pause", "n1")
        await stand.start("power", "n2")
        assert effects(await stand.start("marks", "n1", "n2", "n3")) == ["pause", "power", True]
        assert marks.did("hurt") == ["n3"]
        await stand.stop("marks")
        assert marks.did("mend") == ["n3"]

    sim(body)


def test_a_hurt_that_stops_the_node_itself_is_not_masked_by_that(sim) -> None:
    async def hurt(world, node) -> None:
        await world.testbed.node(node).pause()

    async def mend(world, node) -> None:
        await world.testbed.node(node).resume()

    async def seen(world, node) -> bool:
        return (await world.testbed.node(node).observe()).process == "stopped"

    async def body(stand) -> None:
        with_marks(stand, hurt=hurt, mend=mend, seen=seen)
        assert effects(await stand.start("marks", "n1")) == [True]
        assert effects(await stand.stop("marks")) == [True]

    sim(body)


def test_a_node_held_twice_is_mended_when_the_last_one_ends(sim) -> None:
    async def body(stand) -> None:
        marks = with_marks(stand)
        await stand.start("marks", "n1", "n2", id="a")
        assert effects(await stand.start("marks", "n2", "n3", id="b")) == ["marks", True]
        assert effects(await stand.stop("marks", id="a")) == [True, "marks"]
        assert marks.hurt_now == {"n2", "n3"}
        assert effects(await stand.stop("marks", id="b")) == [True, True]
        assert not marks.hurt_now
        assert sorted(marks.did("hurt")) == sorted(marks.did("mend")) == ["n1", "n2", "n3"]

    sim(body)


def test_a_paused_node_is_mended_once_it_goes_on(sim) -> None:
    async def body(stand) -> None:
        marks = with_marks(stand)
        await stand.start("marks", "n1")
        await stand.start("pause", "n1")
        marks.failing.add(("mend", "n1"))
        assert effects(await stand.stop("marks")) == ["pause"]
        marks.failing.clear()
        assert marks.hurt_now == {"n1"}
        await stand.stop("pause")
        assert not marks.hurt_now

    sim(body)


def test_healing_tries_every_node_raises_the_first_failure_and_can_be_repeated(sim) -> None:
    async def body(stand) -> None:
        marks = with_marks(stand)
        await stand.start("marks", "all")
        marks.failing |= {("mend", "n2"), ("mend", "n4"), ("seen", "n5")}
        with pytest.raises(ConnectionError, match="mend of n2"):
            await stand.heal()
        assert marks.hurt_now == {"n2", "n4"}
        marks.failing.clear()
        await stand.heal()
        assert not marks.hurt_now
        count = len(marks.calls)
        await stand.heal()
        assert len(marks.calls) == count, "nothing was open any more"
        assert effects(await stand.start("marks", "n1", id="anew")) == [True], "or held"

    sim(body)


def test_a_hurt_that_fails_half_way_is_mended_all_the_same(sim) -> None:
    async def body(stand) -> None:
        marks = with_marks(stand)
        marks.failing.add(("hurt", "n3"))
        with pytest.raises(ConnectionError, match="hurt of n3"):
            await stand.start("marks", "n2", "n3")
        assert marks.hurt_now == {"n2"}
        await stand.stop("marks")
        assert not marks.hurt_now
        assert sorted(marks.did("mend")) == ["n2", "n3"]

    sim(body)


@pytest.mark.parametrize(
    ("part", "function", "problem"),
    [
        ("seen", "async def wrong(world, node): return 1", "gave 1 for n1 where True or False"),
        (
            "hurt",
            "def wrong(world, node): pass",
            "gave None for n1 where a coroutine is needed",
        ),
    ],
)
def test_a_function_that_breaks_its_contract_is_named_with_its_file(
    sim, load, part: str, function: str, problem: str
) -> None:
    load(function)
    wrong = sys.modules["splitbrain_plugin_own"].wrong

    async def body(stand) -> None:
        with_marks(stand, **{part: wrong})
        with pytest.raises(HarnessError, match=rf"{part}=wrong \(.*own.py:1\) {problem}"):
            await stand.start("marks", "n1")

    sim(body)


def test_the_public_names_are_there_and_cost_nothing_until_they_are_used() -> None:
    program = (
        "import sys, splitbrain\n"
        "before = set(sys.modules)\n"
        "assert not [m for m in before if m.startswith('splitbrain.')], before\n"
        "assert splitbrain.fault.__module__ == 'splitbrain.nemesis.own'\n"
        "assert all(hasattr(splitbrain, name) for name in splitbrain.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
