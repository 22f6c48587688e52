"""The random schedule keeps its promises over many seeds, and draws from its own seed alone."""

from __future__ import annotations

import random as global_random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitbrain.contracts.generator import PENDING
from splitbrain.env.random import Random, Stream
from splitbrain.harness.context import NEMESIS_ONLY, Context
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.base import Draft
from splitbrain.nemesis.rotation import rotation

SECOND = 1_000_000_000
INTERVAL = 5 * SECOND
NAMES = ("partition", "kill", "power", "pause", "clock", "network")


class Drafts:
    """Draws faults as the families do: lasting ones, and now and then one that is over at once."""

    def draft(self, name: str, stream: Stream) -> Draft:
        if name == "clock" and stream.random() < 0.5:
            return Draft(fault="clock-jump", lasting=False, parameters={"x": stream.random()})
        return Draft(fault=name, targets=("one",), parameters={"x": stream.random()})


def schedule(
    seed: int, names: tuple[str, ...], horizon_s: float = 300, ask: int = 1
) -> list[Op]:
    """The operations of a nemesis that needs no time, asked ``ask`` times for each."""
    stream = global_random.Random(0)
    generator: Any = rotation(dict.fromkeys(names, Drafts()), INTERVAL, 0, Random(seed))  # type: ignore[arg-type]
    ops: list[Op] = []
    ctx = Context.start(10, stream).restrict(NEMESIS_ONLY)
    while True:
        answers = [generator.op({}, ctx) for _ in range(ask)]
        assert all(answer == answers[0] for answer in answers), "asking twice gives one answer"
        answer = answers[0]
        if answer.op.time_ns > horizon_s * SECOND:
            return ops
        ops.append(answer.op)
        generator = answer.next.update({}, ctx, answer.op)
        ctx = ctx.at(answer.op.time_ns)


NAME_SETS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)
SEEDS = st.integers(0, 1 << 30)


@given(SEEDS, NAME_SETS)
@settings(max_examples=100, deadline=None)
def test_the_promises_of_the_rotation(seed: int, names: tuple[str, ...]) -> None:
    ops = schedule(seed, names)
    times = [op.time_ns for op in ops]
    assert times == sorted(times)
    assert all(op.process == NEMESIS for op in ops)
    open_: dict[str, Op] = {}
    seen: set[str] = set()
    order: list[str] = []
    last_end: int | None = None
    for op in ops:
        verb, fault = op.f.split("-", 1)
        id_ = op.value["id"]
        if verb == "stop":
            start = open_.pop(id_)
            assert start.value["fault"] == op.value["fault"] == fault
            lasted = op.time_ns - start.time_ns
            assert 0.5 * INTERVAL - 1 <= lasted <= INTERVAL
            last_end = op.time_ns
        else:
            assert id_ not in seen, "an id names one fault"
            seen.add(id_)
            package = "clock" if fault == "clock-jump" else fault
            if len(order) < len(names):
                assert not open_, "in the first turn nothing overlaps"
                if last_end is not None:
                    assert op.time_ns - last_end <= INTERVAL
            order.append(package)
            if not open_ and last_end is not None:
                assert 0.2 * INTERVAL - 1 <= op.time_ns - last_end <= 1.4 * INTERVAL
            if fault == "clock-jump":
                if not open_:
                    last_end = op.time_ns
            else:
                open_[id_] = op
        assert len(open_) <= 2
    assert 0.3 * INTERVAL - 1 <= times[0] <= INTERVAL
    for turn in range(len(order) // len(names)):
        part = order[turn * len(names) : (turn + 1) * len(names)]
        assert sorted(part) == sorted(names), "each has one turn before any has the next"
    assert len(open_) <= 2, "what is open at the horizon; all else has had its one stop"


def test_faults_overlap_now_and_then() -> None:
    """About three in ten faults that last, after the first turn, are met by another."""
    met = lasting = 0
    for seed in range(30):
        open_ = 0
        for op in schedule(seed, NAMES):
            if op.f.startswith("stop"):
                open_ -= 1
            elif op.f != "start-clock-jump":
                lasting += 1
                met += open_ > 0
                open_ += 1
    assert 0.1 < met / lasting < 0.35


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_schedule_is_a_function_of_the_seed(seed: int) -> None:
    once = schedule(seed, NAMES)
    assert schedule(seed, NAMES, ask=3) == once
    assert schedule(seed + 1, NAMES) != once


def test_the_schedule_takes_nothing_from_the_clients_stream() -> None:
    ctx = Context.start(10, Random(1).stream("generator")).restrict(NEMESIS_ONLY)
    before = ctx.random.getstate()
    generator: Any = rotation(dict.fromkeys(NAMES, Drafts()), INTERVAL, 0, Random(3))  # type: ignore[arg-type]
    for _ in range(50):
        answer = generator.op({}, ctx)
        generator = answer.next
    assert ctx.random.getstate() == before


def test_a_busy_nemesis_is_waited_for_and_late_operations_keep_their_order() -> None:
    generator: Any = rotation(dict.fromkeys(NAMES, Drafts()), INTERVAL, 0, Random(3))  # type: ignore[arg-type]
    ctx = Context.start(10, Random(1).stream("g")).restrict(NEMESIS_ONLY)
    assert generator.op({}, ctx.busy(NEMESIS)) is PENDING
    late = ctx.at(100 * SECOND)
    start = generator.op({}, late)
    assert (start.op.time_ns, start.op.f.split("-")[0]) == (100 * SECOND, "start")
    stop = start.next.op({}, ctx.at(start.op.time_ns))
    assert stop.op.time_ns >= start.op.time_ns + INTERVAL // 2


def test_no_packages_no_schedule() -> None:
    generator: Any = rotation({}, INTERVAL, 0, Random(3))
    ctx = Context.start(10, Random(1).stream("g"))
    assert generator.op({}, ctx) is None


@pytest.mark.parametrize("count", [1, 2, 6])
def test_every_package_comes_within_its_first_turn(count: int) -> None:
    """So a run of 2 I for each package, and one, shows every one of them."""
    for seed in range(40):
        ops = schedule(seed, NAMES[:count], horizon_s=5 * (2 * count + 1))
        begun = {op.f.removeprefix("start-").replace("clock-jump", "clock") for op in ops}
        assert begun >= set(NAMES[:count])
