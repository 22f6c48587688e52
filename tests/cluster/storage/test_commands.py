"""What commands do to a state, against a dict."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster import config, messages
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.storage import commands as commands_module
from splitbrain.cluster.storage.columns import Column, Columns
from splitbrain.cluster.storage.commands import (
    Batch,
    Cas,
    Delete,
    DeleteRange,
    Outcome,
    Put,
    decode_command,
    encode_command,
    execute,
    outside,
    raw_pairs,
)

keys = st.sampled_from([b"", b"a", b"b", b"bb", b"c\xff", b"\xff"])
values = st.sampled_from([b"", b"1", b"2"])
maybe = st.none() | values
commands = st.one_of(
    st.builds(Put, keys, values),
    st.builds(Delete, keys),
    st.builds(Cas, keys, maybe, maybe),
    st.builds(DeleteRange, keys, keys),
    st.lists(st.tuples(st.just(Column.RAW), keys, maybe), max_size=3).map(
        lambda writes: Batch(tuple(writes))
    ),
)


def dumb(state: dict[bytes, bytes], command) -> Outcome:
    if isinstance(command, Put):
        state[command.key] = command.value
    elif isinstance(command, Delete):
        state.pop(command.key, None)
    elif isinstance(command, DeleteRange):
        for key in list(state):
            if command.start <= key and (not command.end or key < command.end):
                del state[key]
    elif isinstance(command, Batch):
        for _, key, value in command.writes:
            state.pop(key, None) if value is None else state.update({key: value})
    else:
        was = state.get(command.key)
        if was == command.previous:
            if command.value is None:
                state.pop(command.key, None)
            else:
                state[command.key] = command.value
        return Outcome(was == command.previous, was)
    return Outcome(True, None)


@given(st.lists(commands, max_size=40), keys, keys, st.integers(0, 4))
def test_it_does_what_a_dict_does(script, start, end, limit):
    state, model = Columns(), {}
    for command in script:
        assert decode_command(encode_command(command)) == command
        assert execute(state, command) == dumb(model, command)
    assert len(state) == len(model)
    assert all(state.get(Column.RAW, key) == model.get(key) for key in model)
    inside = sorted((k, v) for k, v in model.items() if k >= start and (not end or k < end))
    assert list(raw_pairs(state, start, end, limit=limit)) == inside[:limit]
    below = sorted(((k, v) for k, v in model.items() if end <= k < start), reverse=True)
    assert list(raw_pairs(state, start, end, limit=limit, reverse=True)) == below[:limit]


@given(st.lists(commands, max_size=40))
def test_a_snapshot_depends_on_the_state_alone_and_restores_it(script):
    state, model = Columns(), {}
    for command in script:
        execute(state, command)
        dumb(model, command)
    straight = Columns()
    for key in sorted(model, reverse=True):
        execute(straight, Put(key, model[key]))
    assert straight.snapshot() == state.snapshot()
    copy = Columns()
    execute(copy, Put(b"old", b"old"))
    copy.restore(state.snapshot())
    assert dict(copy.scan(Column.RAW)) == model
    assert copy.digest() == state.digest()
    execute(copy, Put(b"new", b"new"))
    assert copy.digest() != state.digest()


@given(commands, keys, keys)
def test_a_command_is_inside_a_region_if_it_can_change_nothing_outside(command, start, end):
    region = Region(1, start, end)
    touched = dict.fromkeys(sorted([b"", b"a", b"b", b"bb", b"c\xff", b"\xff"]), b"old")
    if isinstance(command, DeleteRange):
        beyond = bool(end) and (not command.end or command.end > end)
        expected = beyond or not region.covers(command.start)
    else:
        after = dict(touched)
        named = (
            [one[1] for one in command.writes] if isinstance(command, Batch) else [command.key]
        )
        dumb(after, command)
        changed = [key for key in touched if after.get(key) != touched[key]]
        assert all(key in named for key in changed)
        expected = not all(region.covers(key) for key in named)
    assert (outside(command, region) is not None) is expected


def test_no_bytes_are_the_empty_state():
    state = Columns()
    execute(state, Put(b"k", b"v"))
    state.restore(b"")
    assert len(state) == 0


def test_examples_in_docstrings():
    for one in (commands_module, messages, config):
        assert doctest.testmod(one).failed == 0
