"""The state machine against a dict."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster import config, messages
from splitbrain.cluster.storage import kv
from splitbrain.cluster.storage.kv import (
    Cas,
    Delete,
    KvState,
    Outcome,
    Put,
    decode_command,
    encode_command,
)

keys = st.sampled_from([b"", b"a", b"b", b"bb", b"c\xff", b"\xff"])
values = st.sampled_from([b"", b"1", b"2"])
maybe = st.none() | values
commands = st.one_of(
    st.builds(Put, keys, values), st.builds(Delete, keys), st.builds(Cas, keys, maybe, maybe)
)


def dumb(state: dict[bytes, bytes], command) -> Outcome:
    if isinstance(command, Put):
        state[command.key] = command.value
    elif isinstance(command, Delete):
        state.pop(command.key, None)
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
    state, model = KvState(), {}
    for command in script:
        assert decode_command(encode_command(command)) == command
        assert state.apply(command) == dumb(model, command)
    assert len(state) == len(model)
    assert all(state.get(key) == model.get(key) for key in model)
    inside = sorted((k, v) for k, v in model.items() if k >= start and (not end or k < end))
    assert list(state.scan(start, end, limit=limit)) == inside[:limit]
    below = sorted(((k, v) for k, v in model.items() if end <= k < start), reverse=True)
    assert list(state.scan(start, end, limit=limit, reverse=True)) == below[:limit]


@given(st.lists(commands, max_size=40))
def test_a_snapshot_depends_on_the_state_alone_and_restores_it(script):
    state, model = KvState(), {}
    for command in script:
        state.apply(command)
        dumb(model, command)
    straight = KvState()
    for key in sorted(model, reverse=True):
        straight.apply(Put(key, model[key]))
    assert straight.snapshot() == state.snapshot()
    copy = KvState()
    copy.apply(Put(b"old", b"old"))
    copy.restore(state.snapshot())
    assert dict(copy.scan(b"", limit=100)) == model
    assert copy.digest() == state.digest()
    copy.apply(Put(b"new", b"new"))
    assert copy.digest() != state.digest()


def test_no_bytes_are_the_empty_state():
    state = KvState()
    state.apply(Put(b"k", b"v"))
    state.restore(b"")
    assert len(state) == 0


def test_examples_in_docstrings():
    for module in (kv, messages, config):
        assert doctest.testmod(module).failed == 0
