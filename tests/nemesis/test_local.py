"""Each fault on real processes: its effect is there and proven, gone after its stop."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import NODES, Stand, effects

pytestmark = pytest.mark.processes

LINKS = tuple((i, j) for i in NODES[:3] for j in NODES[:3] if i != j)


async def _settled(stand: Stand) -> None:
    """Every link passes: nodes that were just started dial each other with pauses."""
    for _ in range(5):
        if all((await stand.testbed.net.reach(LINKS, timeout_s=2)).values()):
            return
    raise AssertionError("links do not come up")


def test_links_and_processes(local) -> None:
    async def body(stand: Stand) -> None:
        await _settled(stand)
        value = await stand.start("partition", shape="isolate-leader")
        cut = {tuple(pair) for pair in value["parameters"]["cut"]}
        assert effects(value) == [True] * 4
        reached = await stand.testbed.net.reach(LINKS, timeout_s=0.3)
        assert [link for link in LINKS if not reached[link]] == [x for x in LINKS if x in cut]
        assert effects(await stand.stop("partition")) == [True] * 4

        leader = await stand.leader()
        for fault, seen in (("kill", "absent"), ("power", "absent"), ("pause", "stopped")):
            value = await stand.start(fault, leader)
            assert effects(value) == [True]
            assert (await stand.testbed.node(leader).observe()).process == seen
            if fault == "kill":
                assert effects(await stand.start("pause", leader, id="p")) == ["kill"]
                assert set(effects(await stand.start("partition", leader, id="c"))) == {"kill"}
                sizes = {"delta_ms": 5000}
                assert effects(await stand.start("clock-jump", leader, **sizes)) == ["kill"]
                await stand.stop("partition", id="c")
                await stand.stop("pause", id="p")
            assert effects(await stand.stop(fault)) == [True]
            assert (await stand.testbed.node(leader).observe()).process == "running"

        await _settled(stand)
        assert effects(await stand.start("delay", "n1", delay_ms=40, jitter_ms=10)) == [True]
        assert (await stand.testbed.net.round_trip_ms("n1", "n2") or 0) >= 80
        await stand.stop("delay")
        trips = [await stand.testbed.net.round_trip_ms("n1", "n2") or 1e9 for _ in range(5)]
        assert min(trips) < 80
        assert stand.testbed.crashes() == ()

    local(body)


def test_clocks(local) -> None:
    async def body(stand: Stand) -> None:
        async def off_ms(name: str) -> float:
            seen = await stand.testbed.node(name).observe()
            assert seen.wall_ns is not None
            return (seen.wall_ns - seen.base_wall_ns) / 1e6

        value = await stand.start("clock-jump", "n1", "n2", delta_ms=60_000)
        assert effects(value) == [True, True]
        assert await off_ms("n1") == pytest.approx(60_000, abs=500)
        value = await stand.start("clock-strobe", "n3", delta_ms=30_000, period_ms=60)
        assert effects(value) == [True]
        assert effects(await stand.stop("clock-strobe")) == [True]
        assert abs(await off_ms("n3")) < 500
        value = await stand.start("clock-drift", "all", rate=0.1)
        assert effects(value) == [True] * 3
        await asyncio.sleep(1)
        assert effects(await stand.stop("clock-drift")) == [True] * 3
        assert max([abs(await off_ms(name)) for name in NODES[:3]]) < 500
        await stand.heal()

    local(body)


def test_injectors_that_do_nothing_are_denied(local) -> None:
    async def body(stand: Stand) -> None:
        await _settled(stand)
        sizes = {"delta_ms": 50, "period_ms": 40, "rate": 0.1}
        for fault in ("kill", "power", "pause"):
            assert effects(await stand.start(fault, "n1")) == [False]
            await stand.stop(fault)
        assert effects(await stand.start("partition", shape="isolate-leader")) == [False] * 4
        await stand.stop("partition")
        for fault in ("clock-jump", "clock-strobe", "clock-drift"):
            assert effects(await stand.start(fault, "n1", **sizes)) == [False]
            if fault != "clock-jump":
                await stand.stop(fault)
        # On a busy machine an echo may be slow by itself: then nothing is claimed.
        found = [
            effects(await stand.start("delay", "n1", delay_ms=300, id=str(number)))[0]
            for number in range(2)
        ]
        assert found[0] is False
        assert found[1] == "delay", "the book says that one is in force"

    local(body, deaf=True)
