"""Columns against plain dictionaries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster.storage.columns import Column, Columns, Write

KEYS = st.binary(max_size=2)
WRITES = st.lists(
    st.tuples(st.sampled_from(Column), KEYS, st.none() | st.binary(max_size=2)), max_size=30
)
Dumb = dict[Column, dict[bytes, bytes]]


def dumb(writes: list[Write]) -> Dumb:
    state: Dumb = {column: {} for column in Column}
    for column, key, value in writes:
        state[column].pop(key, None)
        if value is not None:
            state[column][key] = value
    return state


def content(state: Columns) -> Dumb:
    return {column: dict(state.scan(column)) for column in Column}


def made(writes: list[Write]) -> Columns:
    state = Columns()
    state.apply(writes)
    return state


@given(WRITES, KEYS, KEYS)
def test_reads_are_those_of_dictionaries(writes: list[Write], start: bytes, end: bytes) -> None:
    state, expected = made(writes), dumb(writes)
    assert len(state) == sum(map(len, expected.values()))
    for column in Column:
        inside = [
            pair
            for pair in sorted(expected[column].items())
            if start <= pair[0] and (not end or pair[0] < end)
        ]
        assert list(state.scan(column, start, end)) == inside
        assert list(state.scan(column, start, end, reverse=True)) == inside[::-1]
        assert state.count(column) == len(expected[column])
        for key, value in expected[column].items():
            assert state.get(column, key) == value
        assert state.get(column, b"absent") is None


@given(WRITES, st.randoms())
def test_equal_states_have_equal_bytes(writes: list[Write], shuffle: object) -> None:
    state = made(writes)
    final = [
        (column, key, value)
        for column, pairs in dumb(writes).items()
        for key, value in pairs.items()
    ]
    shuffle.shuffle(final)  # type: ignore[attr-defined]
    other = made(final)
    assert other.snapshot() == state.snapshot()
    assert other.digest() == state.digest()
    again = made([(Column.RAW, b"gone", b"")])
    again.restore(state.snapshot())
    assert content(again) == content(state)
    again.apply([(Column.RAW, b"new", b"")])
    assert again.digest() != state.digest()


def test_no_bytes_are_the_empty_state() -> None:
    state = made([(Column.LOCK, b"k", b"v")])
    state.restore(b"")
    assert len(state) == 0
    assert state.digest() == Columns().digest()


@given(WRITES, KEYS, KEYS)
def test_a_split_moves_a_range_and_a_merge_brings_it_back(
    writes: list[Write], start: bytes, end: bytes
) -> None:
    state, before = made(writes), dumb(writes)
    other = state.split_off(start, end)
    for column in Column:
        inside = {k for k in before[column] if start <= k and (not end or k < end)}
        assert set(dict(other.scan(column))) == inside
        assert set(dict(state.scan(column))) == set(before[column]) - inside
    state.merge(other)
    assert content(state) == before
    assert state.clear(start, end) == len(other)


def test_merging_what_overlaps_is_impossible() -> None:
    state = made([(Column.WRITE, b"k", b"1")])
    with pytest.raises(AssertionError, match="two regions"):
        state.merge(made([(Column.WRITE, b"k", b"2")]))
