"""Shapes of partitions: what each promises, for testbeds of any size and any draw."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.nemesis.partition import NEED_FOUR, ONE_WAY, SHAPES, given_cut

Pairs = set[tuple[str, str]]

TESTBEDS = st.integers(4, 25).flatmap(
    lambda size: st.permutations([f"n{number + 1}" for number in range(size)])
)
"""At least four nodes, in any order."""
SEEDS = st.integers(0, 1 << 30)
NODES = ("n1", "n2", "n3", "n4", "n5")


def drawn(shape: str, nodes: list[str], seed: int, leader: str | None = None) -> Pairs:
    pairs = SHAPES[shape](nodes, Random(seed).stream("test"), leader)
    assert len(pairs) == len(set(pairs)), "no pair comes twice"
    return set(pairs)


def sides(cut: Pairs, nodes: list[str]) -> dict[str, frozenset[str]]:
    """Of each node: who can exchange payload both ways with it, itself included."""
    return {
        node: frozenset(
            other
            for other in nodes
            if other == node or ((node, other) not in cut and (other, node) not in cut)
        )
        for node in nodes
    }


@pytest.mark.parametrize("shape", SHAPES)
@given(size=st.integers(2, 25), seed=SEEDS)
def test_a_cut_joins_existing_nodes_and_is_never_empty(
    shape: str, size: int, seed: int
) -> None:
    nodes = [f"n{number + 1}" for number in range(size)]
    if size < 4 and shape in NEED_FOUR:
        return
    for leader in (None, nodes[-1]):
        cut = drawn(shape, nodes, seed, leader)
        assert cut
        assert all(i in nodes and j in nodes and i != j for i, j in cut)
        mirrored = {(j, i) for i, j in cut}
        assert not cut & mirrored if shape in ONE_WAY else cut == mirrored


@given(nodes=TESTBEDS, seed=SEEDS)
def test_halves_follow_the_order_of_the_nodes(nodes: list[str], seed: int) -> None:
    seen = sides(drawn("halves", nodes, seed), nodes)
    first, second = nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]
    assert all(seen[node] == set(first) for node in first)
    assert all(seen[node] == set(second) for node in second)


def test_halves_of_five_are_the_first_two_and_the_last_three() -> None:
    assert sides(drawn("halves", list(NODES), 1), list(NODES))["n1"] == {"n1", "n2"}


@given(nodes=TESTBEDS, seed=SEEDS)
def test_random_halves_are_halves_of_any_nodes(nodes: list[str], seed: int) -> None:
    seen = set(sides(drawn("random-halves", nodes, seed), nodes).values())
    size = len(nodes)
    assert sorted(len(side) for side in seen) == [size // 2, size - size // 2]


@given(nodes=TESTBEDS, seed=SEEDS, data=st.data())
def test_the_leader_or_one_alone(nodes: list[str], seed: int, data: st.DataObject) -> None:
    leader = data.draw(st.sampled_from(nodes))
    for shape, alone in (("isolate-leader", leader), ("isolate-one", None)):
        seen = sides(drawn(shape, nodes, seed, leader), nodes)
        (one,) = (node for node in nodes if len(seen[node]) == 1)
        assert alone in (None, one)
        assert all(seen[node] == set(nodes) - {one} for node in nodes if node != one)


@given(nodes=TESTBEDS, seed=SEEDS, data=st.data())
def test_the_leader_in_a_minority(nodes: list[str], seed: int, data: st.DataObject) -> None:
    leader = data.draw(st.sampled_from(nodes))
    seen = sides(drawn("leader-in-minority", nodes, seed, leader), nodes)
    assert len(seen[leader]) == (len(nodes) - 1) // 2
    assert set(seen.values()) == {seen[leader], frozenset(nodes) - seen[leader]}


@given(nodes=TESTBEDS, seed=SEEDS)
def test_a_bridge_sees_all_and_joins_two_halves(nodes: list[str], seed: int) -> None:
    seen = sides(drawn("bridge", nodes, seed), nodes)
    (bridge,) = (node for node in nodes if seen[node] == set(nodes))
    others = {side for node, side in seen.items() if node != bridge}
    one, other = sorted(others, key=len)
    assert one & other == {bridge}
    assert len(other) - len(one) <= 1


@given(nodes=TESTBEDS, seed=SEEDS)
def test_in_a_ring_each_sees_a_majority_of_its_own(nodes: list[str], seed: int) -> None:
    seen = set(sides(drawn("majorities-ring", nodes, seed), nodes).values())
    least = len(nodes) // 2 + 1
    assert len(seen) == len(nodes)
    assert all(least <= len(majority) <= least + 1 for majority in seen)


@given(nodes=TESTBEDS, seed=SEEDS)
def test_one_way_cuts_are_about_one_node(nodes: list[str], seed: int) -> None:
    deaf, mute = drawn("one-way-in", nodes, seed), drawn("one-way-out", nodes, seed)
    ((one,), (other,)) = {j for _, j in deaf}, {i for i, _ in mute}
    assert deaf == {(node, one) for node in nodes if node != one}
    assert mute == {(other, node) for node in nodes if node != other}


def test_without_a_known_leader_some_node_is_taken() -> None:
    taken = {frozenset(drawn("isolate-leader", list(NODES), seed)) for seed in range(40)}
    assert len(taken) == 5


def test_shapes_are_drawn_from_the_stream_alone() -> None:
    for shape in SHAPES:
        cuts = [drawn(shape, list(NODES), seed, "n3") for seed in range(40)]
        assert cuts == [drawn(shape, list(NODES), seed, "n3") for seed in range(40)]
        fixed = shape in ("halves", "isolate-leader", "isolate-pd-leader")
        assert any(a != b for a, b in pairwise(cuts)) != fixed


# --- cuts that are given ------------------------------------------------------------------------

LINKS = st.permutations(NODES).map(lambda nodes: (nodes[0], nodes[1]))


@given(cut=st.lists(LINKS, max_size=8), grudge=st.lists(LINKS, max_size=8))
def test_a_grudge_says_from_whom_a_node_takes_nothing(
    cut: list[Any], grudge: list[Any]
) -> None:
    by_receiver: dict[str, list[str]] = {}
    for sender, receiver in grudge:
        by_receiver.setdefault(receiver, []).append(sender)
    assert set(given_cut({"grudge": by_receiver}, NODES) or ()) == set(grudge)
    assert given_cut({"cut": cut}, NODES) == tuple(dict.fromkeys(cut))
    both = given_cut({"cut": cut, "grudge": by_receiver}, NODES)
    assert both is not None
    assert set(both) == {*cut, *grudge}
    assert len(both) == len(set(both))


def test_without_a_given_cut_the_shape_decides() -> None:
    assert given_cut({"shape": "bridge"}, NODES) is None
    assert given_cut({"cut": []}, NODES) == ()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"cut": [["n1", "m2"]]},
            "partition: unknown node in cut 'm2'; did you mean n2?",
        ),
        (
            {"grudge": {"nn3": ["n1"]}},
            "partition: unknown node in grudge 'nn3'; did you mean n3",
        ),
        (
            {"grudge": {"n1": ["xyz"]}},
            "partition: unknown node in grudge 'xyz'; known: client, n1, n2, n3, n4, n5",
        ),
        ({"grudge": {"n1": ["n1"]}}, "partition: grudge parts n1 from itself"),
        ({"cut": [["n1", "n2", "n3"]]}, r'its form is [["n1", "n2"], ...]'),
        ({"cut": 7}, r'cut is 7; its form is [["n1", "n2"], ...]'),
        ({"grudge": {"n1": "n2"}}, r'its form is {"n1": ["n2", ...], ...}'),
        ({"grudge": [["n1", "n2"]]}, r'its form is {"n1": ["n2", ...], ...}'),
    ],
)
def test_a_cut_that_is_none_is_refused_in_one_line(
    parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(HarnessError) as caught:
        given_cut(parameters, NODES)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
