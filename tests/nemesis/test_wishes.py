"""The options targets, shapes and quiet: seen in real runs, and refused where they make no sense."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain import catalog as names
from splitbrain.cli import main
from splitbrain.commands.run import run_spec
from splitbrain.commands.trial import run_trial
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import TestSpec
from splitbrain.env.random import Random, Stream
from splitbrain.errors import Unsupported
from splitbrain.nemesis.base import ROLES, Draft
from splitbrain.nemesis.clock import ClockFamily
from splitbrain.nemesis.network import NetworkFamily
from splitbrain.nemesis.partition import SHAPES, PartitionFamily
from splitbrain.nemesis.process import ProcessFamily
from splitbrain.nemesis.rotation import Plan, Upcoming, Wishes
from splitbrain.substrates.sim import SimSubstrate

from .conftest import acts

CATALOG = names.builtin()
SPEC = TestSpec(workload="register", substrate="sim", nemesis=("partition", "kill"), seed=1)

# --- the schedule -------------------------------------------------------------------------------


class OwnFamily:
    """Faults whose targets are no roles, or belong to what they are."""

    def draft(self, name: str, stream: Stream) -> Draft:
        aimed = stream.random() < 0.5
        return Draft(fault=name, targets=("leader",) if aimed else ("rack-1",), aimed=aimed)


def upcoming(seed: int, wishes: Wishes, count: int = 40) -> list[Upcoming]:
    """The first faults of a rotation of all families."""
    spec = TestSpec(workload="register", nodes=("n1", "n2", "n3", "n4", "n5"))
    world: Any = SimpleNamespace(spec=spec, faults=frozenset(Fault), limits={}, election_s=1.0)
    drafts: dict[str, Any] = {
        "partition": PartitionFamily(world),
        "kill": ProcessFamily(world),
        "clock": ClockFamily(world),
        "network": NetworkFamily(world),
        "own": OwnFamily(),
    }
    plan = Plan(drafts, 5_000_000_000, Random(seed), wishes)
    return [plan.fault(number) for number in range(count)]


WISHES = st.builds(
    Wishes,
    targets=st.lists(st.sampled_from(ROLES), max_size=3).map(tuple),
    shapes=st.lists(st.sampled_from(sorted(SHAPES)), max_size=3).map(tuple),
    quiet_ns=st.none() | st.integers(1, 10**10),
)


@given(seed=st.integers(0, 1 << 30), wishes=WISHES)
@settings(deadline=None)
def test_what_is_not_wished_for_stays_as_it_was_drawn(seed: int, wishes: Wishes) -> None:
    for wished, drawn in zip(upcoming(seed, wishes), upcoming(seed, Wishes()), strict=True):
        roles = wishes.targets and drawn.package not in ("partition", "own")
        shapes = wishes.shapes and drawn.package == "partition"
        if roles:
            assert wished.draft.targets[0] in wishes.targets
            wished = _with_draft(wished, targets=drawn.draft.targets)
        if shapes:
            assert wished.draft.parameters["shape"] in wishes.shapes
            wished = _with_draft(wished, parameters=drawn.draft.parameters)
        if wishes.quiet_ns is not None:
            assert wished.quiet_ns == wishes.quiet_ns
            wished = msgspec.structs.replace(wished, quiet_ns=drawn.quiet_ns)
        assert wished == drawn


def _with_draft(one: Upcoming, **changes: Any) -> Upcoming:
    return msgspec.structs.replace(one, draft=msgspec.structs.replace(one.draft, **changes))


@given(seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=30)
def test_every_word_has_its_turn_before_any_has_the_next(seed: int) -> None:
    shapes = ("halves", "bridge", "isolate-one")
    plan = upcoming(seed, Wishes(shapes=shapes), 90)
    seen = [one.draft.parameters["shape"] for one in plan if one.package == "partition"]
    assert len(seen) == 18
    assert all(sorted(seen[at : at + 3]) == sorted(shapes) for at in range(0, 18, 3))


def test_nobody_who_does_not_ask_for_halves_in_order_gets_them() -> None:
    drawn = [one for seed in range(60) for one in upcoming(seed, Wishes())]
    shapes = {one.draft.parameters.get("shape") for one in drawn} - {None}
    assert shapes == set(SHAPES) - {"halves", "isolate-pd-leader"}


# --- real runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_has_the_shapes_targets_and_quiet_times_that_it_was_asked_for(
    tmp_path: Path, seed: int
) -> None:
    options = {"shapes": "halves, bridge", "targets": "follower", "quiet": 4}
    spec = msgspec.structs.replace(SPEC, options=options, time_limit_s=60, seed=seed)
    done = run_spec(spec, CATALOG, tmp_path)
    assert done.verdict == "valid", done.sentence
    ops = acts(done.directory)
    cuts = [(asked, made) for asked, made in ops if asked.f == "start-partition"]
    kills = [(asked, made) for asked, made in ops if asked.f == "start-kill"]
    assert {asked.value["parameters"]["shape"] for asked, _ in cuts} == {"halves", "bridge"}
    for asked, made in cuts:
        if asked.value["parameters"]["shape"] == "halves":
            first = {i for i, _ in made.value["parameters"]["cut"] if i in ("n1", "n2")}
            assert first == {"n1", "n2"}
            assert len(made.value["parameters"]["cut"]) == 2 * 2 * 3
    assert kills
    for asked, made in kills:
        assert asked.value["targets"] == ["follower"]
        (killed,) = made.value["targets"]
        assert killed != made.value["parameters"]["leader"]
    quiet_s, holding, since_ns = [], 0, 0
    for asked, _ in ops:
        start = asked.f.startswith("start-")
        if start and not holding and since_ns:
            quiet_s.append((asked.time_ns - since_ns) / 1e9)
        holding += 1 if start else -1
        since_ns = asked.time_ns
    assert len(quiet_s) > 3
    assert quiet_s == pytest.approx([4.0] * len(quiet_s))


def test_a_run_from_python_takes_them_too(tmp_path: Path) -> None:
    """As the pytest plug-in hands them on."""
    given_ = {"workload": "register", "on": "sim", "nemesis": "pause", "time_limit": 12}
    options = {"targets": "minority-third", "quiet": 0.5}
    trial = run_trial({**given_, "options": options}, store=tmp_path, seed=3)
    starts = [op for op, _ in acts(trial.directory) if op.f == "start-pause"]
    assert {tuple(op.value["targets"]) for op in starts} == {("minority-third",)}


# --- words that make no sense -------------------------------------------------------------------


def refused(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*words], prog_name="splitbrain")
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return done.exit_code, line


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("shapes=halvs,bridge", "unknown partition shape 'halvs'; did you mean halves or"),
        (
            "shapes=halves;bridge",
            "unknown partition shape 'halves;bridge'; did you mean halves",
        ),
        ("shapes=3", "unknown partition shape '3'; known: bridge, halves"),
        ("shapes=,", "one or more of random-halves, "),
        ("targets=folower", "unknown target 'folower'; did you mean follower?"),
        ("targets=n1", "unknown target 'n1'; known: all, follower, leader"),
        ("quiet=0", "a number from 0.001 to 1000000 is needed"),
        ("quiet=long", "a number from 0.001 to 1000000 is needed"),
    ],
)
def test_unknown_words_are_refused_before_the_start(option: str, said: str) -> None:
    code, line = refused("run", "register", "--on", "sim", "--option", option)
    assert line.startswith(f"splitbrain: option {option}: ")
    assert said in line
    assert code == 2


@pytest.mark.parametrize(
    ("option", "nodes", "least"),
    [
        ("shapes=bridge", 3, 4),
        ("shapes=majorities-ring", 2, 4),
        ("targets=minority-third", 3, 4),
        ("targets=follower", 1, 2),
    ],
)
def test_words_that_the_testbed_is_too_small_for_are_refused_before_the_start(
    option: str, nodes: int, least: int
) -> None:
    words = ("run", "register", "--on", "sim", "--nemesis", "partition,kill")
    code, line = refused(*words, "--nodes", str(nodes), "--option", option)
    assert f"option {option} needs {least} nodes or more, and this test has {nodes};" in line
    assert code == 4
    enough = CliRunner().invoke(
        main, [*words, "--nodes", str(least), "--option", option, "--dry-run"]
    )
    assert enough.exit_code == 0, enough.stderr


def test_one_way_shapes_need_a_substrate_that_has_them() -> None:
    class TwoWay(SimSubstrate):
        supports = SimSubstrate.supports - {Fault.ONE_WAY}

    poor = msgspec.structs.replace(CATALOG, substrates={**CATALOG.substrates, "sim": TwoWay})
    spec = msgspec.structs.replace(SPEC, options={"shapes": "halves,one-way-in"})
    said = "option shapes=one-way-in: one-way cuts are not possible on sim: choose a shape"
    with pytest.raises(Unsupported, match=said) as caught:
        names.resolve(spec, poor)
    assert caught.value.exit_code == 4
    names.resolve(msgspec.structs.replace(spec, options={"shapes": "halves"}), poor)
    names.resolve(spec, CATALOG)


def test_one_way_shapes_outside_of_the_fault_model_are_told_as_such() -> None:
    from splitbrain.systems.minitikv import Minitikv

    model = {k: v for k, v in Minitikv.fault_model.items() if k != Fault.ONE_WAY}

    class Modest(Minitikv):
        fault_model = model

    modest = msgspec.structs.replace(CATALOG, systems={**CATALOG.systems, "minitikv": Modest})
    spec = msgspec.structs.replace(SPEC, options={"shapes": "one-way-in"})
    assert names.resolve(spec, modest).outside == {Fault.ONE_WAY}
    assert Fault.ONE_WAY in names.resolve(spec, modest).faults
    for other in (
        msgspec.structs.replace(spec, options={}),
        msgspec.structs.replace(spec, nemesis=("kill",)),
    ):
        assert not names.resolve(other, modest).outside
        assert Fault.ONE_WAY not in names.resolve(other, modest).faults


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('shapes = "halvs"', "option shapes=halvs: unknown partition shape 'halvs'"),
        ('shapes = "bridge"', "option shapes=bridge needs 4 nodes or more"),
    ],
)
def test_a_drill_tells_the_line_of_the_option(tmp_path: Path, option: str, said: str) -> None:
    path = tmp_path / "d.toml"
    path.write_text(
        'name = "d"\n[[scenario]]\nname = "s"\nworkload = "register"\non = "sim"\n'
        f'nodes = 3\nnemesis = "partition"\nseeds = [1]\n\n[scenario.options]\n{option}\n'
    )
    code, line = refused("drill", str(path), "--dry-run")
    assert f"{path}:11: " in line
    assert said in line
    assert code in (2, 4)
