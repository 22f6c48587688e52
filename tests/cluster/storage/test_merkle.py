"""Trees of hashes against plain comparison."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster.storage.columns import Column
from splitbrain.cluster.storage.merkle import ITEMS_MAX, Tree

ITEMS = st.dictionaries(
    st.tuples(st.sampled_from(Column), st.integers(0, 90).map(lambda n: b"%d" % n)),
    st.binary(max_size=2),
    max_size=200,
)


def tree(items):
    return Tree((column, key, value) for (column, key), value in items.items())


def below(one, two, path=""):
    """What differs below a path, found by descending unequal nodes alone; and the nodes looked at."""
    here, there = one.node(path), two.node(path)
    if here.hash == there.hash:
        return set(), 1
    if max(here.below, there.below) <= ITEMS_MAX:
        return set(here.items) ^ set(there.items), 1
    found, looked = set(), 1
    for digit, (left, right) in enumerate(zip(here.branches, there.branches, strict=True)):
        if left != right:
            more, count = below(one, two, f"{path}{digit:x}")
            found |= more
            looked += count
    return found, looked


@given(ITEMS, ITEMS, st.integers(0, 200))
def test_descending_finds_exactly_what_differs(base, other, share):
    """``other`` has most of the base's items, and some of its own."""
    other = {**other, **dict(list(base.items())[:share])}
    found, _ = below(tree(base), tree(other))
    assert found == {(*key, value) for key, value in base.items() ^ other.items()}


def test_one_difference_among_many_is_found_by_few_nodes():
    many = {(Column.WRITE, b"key %d" % number): b"value" for number in range(20_000)}
    for change in ({(Column.WRITE, b"key 777"): b"valuf"}, {(Column.LOCK, b"key 777"): b""}):
        found, looked = below(tree(many), tree({**many, **change}))
        assert {key for _, key, _ in found} == {b"key 777"}
        assert looked <= 6


def test_columns_keys_and_values_do_not_run_into_each_other():
    pairs = [
        ((Column.RAW, b"a"), b"bc"),
        ((Column.RAW, b"ab"), b"c"),
        ((Column.LOCK, b"a"), b"bc"),
    ]
    assert len({tree(dict([pair])).node().hash for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("path", ["g", "A", "0" * 32])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(ValueError, match="no path of a tree"):
        tree({}).node(path)
