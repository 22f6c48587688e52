"""Where another fault explains what is seen, a proof is masked: neither effective nor denied."""

from __future__ import annotations

import asyncio

import pytest

from splitbrain.nemesis.ledger import HOLDS, LINKS, Ledger

from .conftest import Stand, effects


def both(body):
    """Each mask must hold whether or not the second fault does anything."""
    return pytest.mark.parametrize("deaf_second", [False, True])(body)


class Silenced:
    """For the time of a ``with``, the stand's nemesis acts on a testbed that takes no fault."""

    def __init__(self, stand: Stand, names: tuple[str, ...]) -> None:
        self._testbed, self._names = stand.testbed, names
        self._kept: list[tuple[object, str, object]] = []

    def __enter__(self) -> None:
        async def nothing(*_: object, **__: object) -> None:
            pass

        parts = [self._testbed.net, self._testbed.clock, *self._testbed.nodes.values()]
        for part in parts:
            for name in self._names:
                if hasattr(part, name):
                    self._kept.append((part, name, getattr(part, name)))
                    setattr(part, name, nothing)

    def __exit__(self, *_: object) -> None:
        for part, name, _ in self._kept:
            delattr(part, name)


ACTS = ("cut", "shape", "kill", "power", "pause", "jump", "strobe", "drift")


def silenced(stand: Stand, deaf: bool) -> Silenced:
    return Silenced(stand, ACTS if deaf else ())


@both
def test_pause_on_a_killed_node_and_kill_on_a_paused_one(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("kill", "n1")
        with silenced(stand, deaf_second):
            assert effects(await stand.start("pause", "n1", "n2"))[0] == "kill"
        assert effects(await stand.stop("pause"))[0] == "kill"
        assert effects(await stand.stop("kill")) == [True]
        await stand.start("pause", "n3")
        with silenced(stand, deaf_second):
            # A paused process can be killed, and that can be seen.
            assert effects(await stand.start("kill", "n3", id="b")) == [not deaf_second]

    sim(body)


@both
def test_kill_on_a_node_without_power(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("power", "n1", "n2")
        with silenced(stand, deaf_second):
            value = await stand.start("kill", "n2", "n3")
        assert effects(value) == ["power", not deaf_second]
        await stand.stop("kill")
        seen = [(await stand.testbed.node(n).observe()).process for n in ("n1", "n2", "n3")]
        assert seen == ["absent", "absent", "running"], "the other fault still holds n2"
        assert effects(await stand.stop("power")) == [True, True]

    sim(body)


def test_two_pauses_of_one_node_end_with_the_last(sim) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("pause", "n1", id="a")
        assert effects(await stand.start("pause", "n1", "n2", id="b")) == ["pause", True]
        assert effects(await stand.stop("pause", id="a")) == ["pause"]
        assert (await stand.testbed.node("n1").observe()).process == "stopped"
        assert effects(await stand.stop("pause", id="b")) == [True, True]

    sim(body)


@both
def test_a_partition_of_dead_and_paused_nodes(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("kill", "n1")
        await stand.start("pause", "n2")
        with silenced(stand, deaf_second):
            value = await stand.start("partition", "n1", "n2")
        assert set(effects(value)) == {"kill", "pause"}
        with silenced(stand, deaf_second):
            value = await stand.start("partition", "n1", "n3", id="b")
        seen = {p["target"]: e for p, e in zip(value["proof"], effects(value), strict=True)}
        assert seen["n3->n4"] is (not deaf_second)
        assert seen["n1->n4"] == "kill"
        assert seen["n2->n3"] == "pause"

    sim(body)


@both
def test_a_partition_inside_another(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("partition", "n1", id="a")
        with silenced(stand, deaf_second):
            value = await stand.start("partition", "n1", "n2", id="b")
        seen = {p["target"]: e for p, e in zip(value["proof"], effects(value), strict=True)}
        assert {seen["n1->n3"], seen["n4->n1"]} == {"partition"}
        assert {seen["n2->n3"], seen["n4->n2"]} == {not deaf_second}
        value = await stand.stop("partition", id="b")
        seen = {p["target"]: e for p, e in zip(value["proof"], effects(value), strict=True)}
        assert (seen["n1->n3"], seen["n2->n3"]) == ("partition", True)
        assert set(effects(await stand.stop("partition", id="a"))) == {True}

    sim(body)


@both
def test_a_partition_of_slow_and_lossy_links(sim, deaf_second) -> None:
    """A probe that is merely late is waited for; one in ten lost is sent again."""

    async def body(stand: Stand) -> None:
        await stand.start("delay", "all", delay_ms=300, jitter_ms=200)
        await stand.start("loss", "all", loss=0.3)
        with silenced(stand, deaf_second):
            value = await stand.start("partition", shape="isolate-leader")
        found = effects(value)
        assert found.count(not deaf_second) >= 6
        assert deaf_second not in found
        assert set(found) <= {not deaf_second, "delay", "loss"}

    sim(body)


@pytest.mark.parametrize("fault", ["clock-jump", "clock-strobe", "clock-drift"])
@both
def test_clocks_of_dead_and_paused_nodes(sim, deaf_second, fault) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("kill", "n1")
        await stand.start("pause", "n2")
        sizes = {"delta_ms": 50.0, "period_ms": 20.0, "rate": 0.1}
        with silenced(stand, deaf_second):
            value = await stand.start(fault, "n1", "n2", "n3", **sizes)
        assert effects(value) == ["kill", "pause", not deaf_second]

    sim(body)


@both
def test_clock_faults_over_each_other(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        sizes = {"delta_ms": 50.0, "period_ms": 200.0, "rate": 0.1}
        await stand.start("clock-strobe", "n1", id="a", **sizes)
        await stand.start("clock-drift", "n1", id="b", **sizes)
        with silenced(stand, deaf_second):
            assert effects(await stand.start("clock-jump", "n1", "n2", id="c", **sizes)) == [
                "clock-strobe",
                not deaf_second,
            ]
            assert effects(await stand.start("clock-strobe", "n1", id="d", **sizes)) == [
                "clock-strobe"
            ]
            assert effects(await stand.start("clock-drift", "n1", id="e", **sizes)) == [
                "clock-drift"
            ]

    sim(body)


@both
def test_a_strobe_and_a_jump_of_a_drifting_clock(sim, deaf_second) -> None:
    """The drift moves the wall clock too, by more than a small strobe does."""

    async def body(stand: Stand) -> None:
        await stand.start("clock-drift", "n1", rate=0.1)
        with silenced(stand, deaf_second):
            strobe = await stand.start("clock-strobe", "n1", delta_ms=4.0, period_ms=1024.0)
        assert effects(strobe) == [not deaf_second]
        await stand.stop("clock-strobe")
        with silenced(stand, deaf_second):
            jump = await stand.start("clock-jump", "n1", delta_ms=11.4)
        assert effects(jump) == [not deaf_second]

    sim(body)


def test_one_clock_fault_ends_and_the_other_stays(sim) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("clock-drift", "n1", rate=0.1)
        await stand.start("clock-strobe", "n1", "n2", delta_ms=4.0, period_ms=64.0)
        assert effects(await stand.stop("clock-strobe")) == ["clock-drift", True]
        node = stand.testbed.node("n1")
        first = await node.observe()
        await asyncio.sleep(1)
        last = await node.observe()
        speed = (last.monotonic_ns - first.monotonic_ns) / (last.base_ns - first.base_ns)
        assert speed == pytest.approx(1.1, abs=1e-3)

    sim(body)


def test_a_clock_is_righted_once_its_paused_node_goes_on(sim) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("clock-jump", "n1", delta_ms=5000, id="j")
        await stand.start("clock-drift", "n1", rate=0.1)
        await stand.start("pause", "n1")
        assert effects(await stand.stop("clock-drift")) == ["pause"]
        await stand.stop("pause")
        seen = await stand.testbed.node("n1").observe()
        assert seen.wall_ns == seen.base_wall_ns

    sim(body)


CHANCE = [
    ("loss", {"loss": 0.1}),
    ("duplication", {"duplicate": 0.1}),
    ("reordering", {"reorder": 0.2}),
]


@pytest.mark.parametrize(("fault", "size"), CHANCE)
@pytest.mark.parametrize("other", ["kill", "power", "pause", "partition"])
@both
def test_faults_of_chance_beside_others(sim, deaf_second, fault, size, other) -> None:
    """A killed or cut-off node loses all that is sent to it: that must not be taken for loss."""

    async def body(stand: Stand) -> None:
        await stand.load()
        other_node = await stand.other()
        with silenced(stand, deaf_second):
            await stand.start(fault, "all", **size)
        await asyncio.sleep(1)
        await stand.start(other, other_node)
        await asyncio.sleep(2)
        await stand.stop(other)
        await asyncio.sleep(1)
        assert effects(await stand.stop(fault)) == [not deaf_second]

    sim(body)


@pytest.mark.parametrize(("fault", "size"), CHANCE)
@both
def test_faults_of_chance_on_links_that_another_fault_touched(
    sim, deaf_second, fault, size
) -> None:
    async def body(stand: Stand) -> None:
        await stand.load()
        name = await stand.other()
        await stand.start("kill", name)
        with silenced(stand, deaf_second):
            await stand.start(fault, name, **size)
        await stand.stop("kill")
        await asyncio.sleep(3)
        assert effects(await stand.stop(fault)) == ["kill"], (
            "it was dead for a part of the band"
        )

    sim(body)


@both
def test_a_delay_of_dead_or_slow_links(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("kill", "n1")
        with silenced(stand, deaf_second):
            assert effects(await stand.start("delay", "n1", delay_ms=50, id="a")) == ["kill"]
            value = await stand.start("delay", "n1", "n2", delay_ms=50, id="b")
        assert effects(value) == [not deaf_second], "n2's other links can be seen"

    sim(body)


@both
def test_a_delay_over_another(sim, deaf_second) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("delay", "all", delay_ms=60, id="a")
        with silenced(stand, deaf_second):
            value = await stand.start("delay", "n1", delay_ms=50, id="b")
        assert effects(value) == ["delay"]

    sim(body)


def test_few_messages_deny_nothing(sim) -> None:
    """Nobody writes, the band is short: nothing was lost, and that says nothing."""

    async def body(stand: Stand) -> None:
        await stand.start("loss", "n1", loss=0.05)
        await asyncio.sleep(0.1)
        assert effects(await stand.stop("loss")) == [None]

    sim(body, deaf=True)


def test_the_ledger_tells_what_touched_a_link_since_a_moment() -> None:
    ledger = Ledger()
    ledger.began("k", "kill", nodes=["n1"])
    since = ledger.moment
    ledger.began("p", "partition", links=[("n2", "n3")])
    assert ledger.disturbance(("n1", "n4"), HOLDS) == "kill"
    assert ledger.disturbance(("n2", "n3"), LINKS) == "partition"
    assert ledger.disturbance(("n3", "n2"), LINKS) is None, "one way only"
    assert ledger.disturbance(("n2", "n3"), LINKS, but="p") is None
    ledger.ended("k")
    assert ledger.disturbance(("n1",), HOLDS) is None
    assert ledger.disturbance(("n1",), HOLDS, since=since) == "kill"
    assert ledger.disturbance(("n1",), HOLDS, since=ledger.moment) is None
