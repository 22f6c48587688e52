"""Names and roles become nodes when the fault happens, by the fault's id and the seed alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.contracts.spec import TestSpec
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.base import LEAST_NODES, Act, resolve_targets, unpack


def world(size: int = 5, seed: int = 1) -> Any:
    nodes = tuple(f"n{number + 1}" for number in range(size))
    spec = TestSpec(workload="register", nodes=nodes)
    return SimpleNamespace(spec=spec, random=Random(seed))


def resolve(
    *targets: str,
    id_: str = "a",
    primaries: tuple[str, ...] = ("n3",),
    size: int = 5,
    seed: int = 1,
) -> tuple[str, ...]:
    act = Act(id=id_, fault="kill", start=True, targets=targets, parameters={})
    return resolve_targets(world(size, seed), act, primaries)


def test_names_stay_names_and_none_is_named_twice() -> None:
    assert resolve("n2", "n1", "n2") == ("n2", "n1")
    assert resolve("leader", "n3", "n1") == ("n3", "n1")


def test_the_leader() -> None:
    assert resolve("leader", primaries=("n4", "n1")) == ("n4",)
    unknown = {resolve("leader", primaries=(), id_=str(i)) for i in range(60)}
    assert len(unknown) == 5, "any node where none is known"


def test_one_and_nothing_said() -> None:
    assert {resolve("one", id_=str(i)) for i in range(60)} == {(f"n{i}",) for i in range(1, 6)}
    assert {len(resolve(id_=str(i))) for i in range(20)} == {1}


def test_all() -> None:
    assert resolve("all", size=3) == ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("size", "minorities", "majority"),
    [(1, {1}, 1), (2, {1}, 2), (3, {1}, 2), (4, {1}, 3), (5, {1, 2}, 3), (7, {1, 2, 3}, 4)],
)
def test_minority_and_majority(size: int, minorities: set[int], majority: int) -> None:
    """A minority leaves a quorum, a majority takes it; of one or two nodes nothing can be left."""
    found = [resolve("minority", id_=str(i), size=size) for i in range(60)]
    assert {len(names) for names in found} == minorities
    assert all(len(resolve("majority", id_=str(i), size=size)) == majority for i in range(20))
    assert all(list(names) == sorted(names) for names in found)


@given(size=st.integers(1, 25), id_=st.text("ab", max_size=3))
def test_a_minority_third_is_smaller_than_a_third_and_never_empty(size: int, id_: str) -> None:
    if size < LEAST_NODES["minority-third"]:
        with pytest.raises(HarnessError, match="kill: no node is minority-third here; name a"):
            resolve("minority-third", id_=id_, size=size)
        return
    assert 0 < len(resolve("minority-third", id_=id_, size=size)) < size / 3


def test_a_minority_third_may_have_every_size_below_a_third() -> None:
    found = {len(resolve("minority-third", id_=str(i), size=10)) for i in range(60)}
    assert found == {1, 2, 3}


def test_a_follower_is_any_node_but_the_leader() -> None:
    found = {resolve("follower", id_=str(i), primaries=("n3", "n1")) for i in range(60)}
    assert found == {("n1",), ("n2",), ("n4",), ("n5",)}
    unknown = {resolve("follower", primaries=(), id_=str(i)) for i in range(60)}
    assert len(unknown) == 5, "any node where no leader is known"
    with pytest.raises(HarnessError, match="kill: no node is follower here"):
        resolve("follower", size=1, primaries=("n1",))


def test_the_same_fault_of_the_same_seed_hits_the_same_nodes() -> None:
    for target in ("one", "minority", "majority"):
        ids = [str(i) for i in range(30)]
        once = [resolve(target, id_=id_) for id_ in ids]
        assert once == [resolve(target, id_=id_) for id_ in ids]
        assert once != [resolve(target, id_=id_, seed=2) for id_ in ids]


def test_an_unknown_target_is_named_with_the_known_ones() -> None:
    with pytest.raises(HarnessError, match=r"kill: unknown target 'n9'; known: n1, .*leader"):
        resolve("n9")


def test_an_operation_that_is_no_fault_is_refused() -> None:
    with pytest.raises(HarnessError, match="'dance' is neither start-<fault> nor stop-<fault>"):
        unpack(Op(process=NEMESIS, type="invoke", f="dance", value={}))


def test_unpack() -> None:
    value = {"id": "x", "targets": ["n1"], "parameters": {"delta_ms": 5}}
    act = unpack(Op(process=NEMESIS, type="invoke", f="start-clock-jump", value=value))
    assert (act.id, act.fault, act.start, act.targets) == ("x", "clock-jump", True, ("n1",))
    assert act.parameters == {"delta_ms": 5}
