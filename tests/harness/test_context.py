"""Contexts are values, and pick free threads fairly."""

import collections

import pytest

from splitbrain.env.random import Random
from splitbrain.harness.context import Context, _nth_bit, bits, thread_bit, threads_of


def stream(seed=0):
    return Random(seed).stream("test")


def test_nth_bit_is_the_nth_of_bits():
    draws = stream()
    for _ in range(500):
        mask = draws.getrandbits(draws.randint(1, 130)) or 1
        assert [_nth_bit(mask, n) for n in range(mask.bit_count())] == list(bits(mask))


def test_updates_leave_the_old_context_alone():
    ctx = Context.start(3, stream())
    busy = ctx.busy(1).busy(-1)
    assert busy.free_threads == (0, 2)
    assert busy.freed(1).free_threads == (0, 1, 2)
    assert ctx.free_threads == ctx.threads == (-1, 0, 1, 2)
    assert busy.at(7).time_ns == 7
    assert busy.time_ns == 0
    with pytest.raises(AttributeError):
        ctx.time_ns = 3


def test_restricting_narrows_threads_and_free_threads():
    ctx = Context.start(4, stream()).busy(2)
    narrow = ctx.restrict(thread_bit(2) | thread_bit(3))
    assert narrow.threads == (2, 3)
    assert narrow.free_threads == (3,)
    assert narrow.freed(0).free_threads == (3,)  # not a thread of this context
    assert threads_of(narrow.restrict(thread_bit(0)).mask) == ()


def test_a_renewed_thread_is_a_process_that_never_was():
    ctx = Context.start(3, stream()).renewed(2).renewed(2).renewed(0)
    assert [ctx.process(thread) for thread in ctx.threads] == [-1, 3, 1, 8]
    assert [ctx.thread(process) for process in (-1, 0, 3, 5, 8)] == [-1, 0, 0, 2, 2]


def test_every_free_process_has_an_equal_chance():
    ctx = Context.start(50, stream()).busy(-1)
    for thread in range(0, 50, 2):
        ctx = ctx.busy(thread)
    counts = collections.Counter(ctx.some_free_process() for _ in range(10_000))
    assert sorted(counts) == list(range(1, 50, 2))
    assert all(320 < count < 480 for count in counts.values())  # 400 expected


def test_nobody_is_free():
    ctx = Context.start(1, stream(), nemesis=False).busy(0)
    assert ctx.some_free_process() is None
