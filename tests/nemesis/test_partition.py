"""Shapes of partitions: what each promises, over many draws."""

from __future__ import annotations

from itertools import pairwise

import pytest

from splitbrain.env.random import Random
from splitbrain.nemesis.partition import SHAPES

NODES = ("n1", "n2", "n3", "n4", "n5")


def reachable(cut: set[tuple[str, str]], node: str, nodes: tuple[str, ...] = NODES) -> set[str]:
    """Who can exchange payload both ways with ``node``, itself included."""
    return {
        other
        for other in nodes
        if other == node or ((node, other) not in cut and (other, node) not in cut)
    }


def draws(shape: str, nodes: tuple[str, ...] = NODES, leader: str | None = "n3"):  # type: ignore[no-untyped-def]
    for seed in range(40):
        yield set(SHAPES[shape](nodes, Random(seed).stream("test"), leader))


NEED_FOUR = ("bridge", "majorities-ring")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (shape, size)
        for shape in SHAPES
        for size in (3, 5, 7)
        if size > 3 or shape not in NEED_FOUR
    ],
)
def test_a_cut_joins_existing_nodes_and_is_never_empty(shape: str, size: int) -> None:
    nodes = tuple(f"n{i + 1}" for i in range(size))
    for cut in draws(shape, nodes):
        assert cut
        assert all(i in nodes and j in nodes and i != j for i, j in cut)


@pytest.mark.parametrize("shape", [name for name in SHAPES if not name.startswith("one-way")])
def test_two_way_cuts_are_symmetric(shape: str) -> None:
    for cut in draws(shape):
        assert cut == {(j, i) for i, j in cut}


def test_halves_leave_a_majority_and_a_minority() -> None:
    for cut in draws("halves"):
        assert sorted({len(reachable(cut, node)) for node in NODES}) == [2, 3]


def test_the_leader_alone() -> None:
    for cut in draws("isolate-leader"):
        assert reachable(cut, "n3") == {"n3"}
        assert all(len(reachable(cut, node)) == 4 for node in NODES if node != "n3")


def test_the_leader_in_a_minority() -> None:
    for cut in draws("leader-in-minority"):
        assert len(reachable(cut, "n3")) == 2


def test_a_bridge_sees_all_and_the_others_see_it() -> None:
    for cut in draws("bridge"):
        seen = {node: reachable(cut, node) for node in NODES}
        bridges = [node for node in NODES if len(seen[node]) == 5]
        assert len(bridges) == 1
        assert all(
            bridges[0] in seen[node] and len(seen[node]) == 3
            for node in NODES
            if node not in bridges
        )


def test_in_a_ring_each_sees_another_majority() -> None:
    for cut in draws("majorities-ring"):
        seen = [frozenset(reachable(cut, node)) for node in NODES]
        assert all(len(majority) == 3 for majority in seen)
        assert len(set(seen)) == 5


@pytest.mark.parametrize("size", range(4, 26))
def test_a_ring_of_any_size_leaves_each_a_majority_of_its_own(size: int) -> None:
    nodes = tuple(f"n{i + 1}" for i in range(size))
    for cut in draws("majorities-ring", nodes):
        seen = {frozenset(reachable(cut, node, nodes)) for node in nodes}
        assert len(seen) == size
        least = size // 2 + 1
        assert all(least <= len(majority) <= least + 1 for majority in seen)


def test_one_way_cuts_leave_the_other_way() -> None:
    for shape in ("one-way-in", "one-way-out"):
        for cut in draws(shape):
            assert not cut & {(j, i) for i, j in cut}
            ends = {j for _, j in cut} if shape == "one-way-in" else {i for i, _ in cut}
            assert len(ends) == 1


def test_without_a_known_leader_some_node_is_taken() -> None:
    taken = {frozenset(cut) for cut in draws("isolate-leader", leader=None)}
    assert len(taken) == 5


def test_shapes_are_drawn_from_the_stream_alone() -> None:
    for shape in SHAPES:
        assert list(draws(shape)) == list(draws(shape))
    assert any(a != b for a, b in pairwise(draws("halves")))
