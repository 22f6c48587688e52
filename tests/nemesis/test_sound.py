"""What families answer is checked whole: sound ones pass, and each fault of the rest is told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.checkers.bands import ONE_SHOT
from splitbrain.contracts.fault import Proof
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.loading import load_module
from splitbrain.nemesis.base import ROLES, Act, Draft
from splitbrain.nemesis.packages import PACKAGES, SINGLE, make_packages
from splitbrain.nemesis.process import ProcessFamily
from splitbrain.nemesis.rotation import Rotation
from splitbrain.nemesis.sound import Sound, draft_problems, outcome_problems, sound

from .conftest import NODES

STREAM = Random(1).stream("test")

ROTTEN = """
from splitbrain.contracts.fault import Proof
from splitbrain.nemesis.base import Draft


class Rotten:
    faults = frozenset({"rot", "mould"})
    answer = ("n1", {"a": object(), 3: 4}, [Proof(target="n1", effective="yes"), 7])

    def kinds(self, name):
        return {"kill"}

    def draft(self, name, stream):
        return Draft(
            fault="rust", targets=("n1", "n9", "boss"), parameters=[], lasting=False, aimed=1
        )

    async def start(self, act):
        return self.answer

    def stop(self, act):
        return (), {}, ()

    async def heal(self):
        return None
"""


@pytest.fixture
def rotten(tmp_path: Path) -> Any:
    path = tmp_path / "rotten.py"
    path.write_text(ROTTEN)
    yield sound(load_module(path).Rotten(), NODES)
    del sys.modules["splitbrain_plugin_rotten"]


async def asked(call: Any) -> None:
    await call()


def said(call: Any) -> str:
    """What was told, on one line, of whom and where."""
    with pytest.raises(HarnessError) as info:
        asyncio.run(asked(call))
    text = str(info.value)
    assert "\n" not in text
    assert "Rotten (" in text
    assert "rotten.py:6)" in text
    return text


def test_an_outcome_s_problems_are_told_at_once_with_the_operation(rotten: Sound) -> None:
    act = Act(id="rot-1", fault="rot", start=True, targets=("one",), parameters={"x": 1})
    text = said(lambda: rotten.start(act))
    for part in (
        "broke its contract in start: ",
        "targets should be a list of names, was 'n1'",
        "parameters should have names, not 3",
        "parameters cannot be written as JSON",
        "Expected `bool | null`, got `str`",
        "proof 7: Expected `object`, got `int`",
        "asked start-rot {'id': 'rot-1', 'targets': ('one',), 'parameters': {'x': 1}}",
        "answered ('n1', {",
    ):
        assert part in text, text


def test_so_are_a_draft_s_and_kinds(rotten: Sound) -> None:
    text = said(lambda: rotten.draft("decay", STREAM))
    for part in (
        "broke its contract in draft: ",
        "fault should be one of mould, rot, was 'rust'",
        "not n9, boss",
        "parameters should be a mapping, was []",
        "aimed should be True or False, was 1",
        f"lasting should be True: only {', '.join(sorted(ONE_SHOT))} are over at once",
        "asked 'decay', answered Draft(fault='rust'",
    ):
        assert part in text, text
    assert "a frozenset of Fault should be returned, was {'kill'}" in said(
        lambda: rotten.kinds("decay")
    )


def test_so_are_a_stop_that_is_no_coroutine_and_a_heal_that_says_nothing(rotten: Sound) -> None:
    act = Act(id="rot-1", fault="rot", start=False, targets=(), parameters={})
    assert "write it as async def stop" in said(lambda: rotten.stop(act))
    text = said(rotten.heal)
    assert "(targets, parameters, proofs) should be returned, was None; asked to heal" in text


# --- what is sound passes, and each single fault is noticed -----------------------------------------

names = st.sampled_from(NODES)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
parameters = st.dictionaries(st.text(max_size=3), json, max_size=3)
proofs = st.builds(
    Proof,
    target=names,
    effective=st.sampled_from((None, True, False)),
    masked=st.none() | st.just("kill"),
    observed=st.text(max_size=3),
)
seldom = (None, 3, "n1", object(), [object()], {"n1"}, {1: object()})
outcomes = st.tuples(
    st.lists(names, max_size=3) | st.lists(names, max_size=3).map(tuple),
    parameters,
    st.lists(proofs, max_size=3) | st.lists(proofs, max_size=3).map(tuple),
)


@given(outcomes, st.integers(0, 2), st.sampled_from(seldom))
def test_one_wrong_part_of_an_outcome_is_one_problem(
    outcome: tuple[Any, ...], place: int, wrong: Any
) -> None:
    assert outcome_problems(outcome, NODES) == ()
    spoiled = (*outcome[:place], wrong, *outcome[place + 1 :])
    found = outcome_problems(spoiled, NODES)
    assert found
    assert all(
        problem.startswith(("targets", "parameters", "proof")[place]) for problem in found
    )
    assert outcome_problems(outcome[:2], NODES)


@given(
    st.builds(
        Draft,
        fault=st.sampled_from(("rot", "mould")),
        targets=st.lists(st.sampled_from((*NODES, *ROLES)), max_size=3).map(tuple),
        parameters=parameters,
    )
)
def test_a_sound_draft_passes(draft: Draft) -> None:
    assert draft_problems(draft, {"rot", "mould"}, NODES) == ()
    assert draft_problems(draft, {"rust"}, NODES)


# --- who is checked ---------------------------------------------------------------------------------


def test_bundled_families_are_checked_too_and_draw_sound_faults(
    sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(stand) -> None:
        names = (*PACKAGES, *SINGLE)
        spec = stand.world.spec
        world = msgspec.structs.replace(
            stand.world, spec=msgspec.structs.replace(spec, nemesis=names)
        )
        (package,) = make_packages(world)
        assert isinstance(package.generator, Rotation)
        seen = {package.generator.plan.fault(number).draft.fault for number in range(300)}
        assert seen >= {"kill", "partition", "clock-jump", "loss"}
        monkeypatch.setattr(ProcessFamily, "draft", lambda *_: 3)
        (package,) = make_packages(world)
        with pytest.raises(
            HarnessError, match="family ProcessFamily broke its contract in draft"
        ):
            [package.generator.plan.fault(number) for number in range(300)]

    sim(body)


@pytest.mark.parametrize(
    ("faults", "problem"),
    [
        (["rot"], r"faults should be a frozenset of names, was \['rot'\]"),
        (frozenset({3}), r"faults should be a frozenset of names, was frozenset\(\{3\}\)"),
        (frozenset({"rust"}), "faults should be those of its factory, rot, was rust"),
    ],
)
def test_what_is_no_family_is_refused_when_it_is_made(sim, faults: Any, problem: str) -> None:
    class Half:
        def __init__(self, world: Any) -> None:
            self.faults = faults
            self.start = 3

    Half.faults = frozenset({"rot"})  # type: ignore[attr-defined]

    async def body(stand) -> None:
        lacks = "it lacks kinds, draft, stop, heal; start should be callable; "
        told = rf"Half \(.*\) is no family of faults: {lacks}{problem}"
        with pytest.raises(HarnessError, match=told):
            make_packages(stand.world, {"half": Half})  # type: ignore[dict-item]

    sim(body)
