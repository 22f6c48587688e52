"""The bundled cluster's nodes as processes: their gRPC links under cuts, their disks under power."""

from __future__ import annotations

import asyncio
import time

import pytest

from splitbrain.contracts.fault import Shape
from splitbrain.env.random import Random
from splitbrain.systems.minitikv import Minitikv

pytestmark = pytest.mark.processes

NODES = ("n1", "n2", "n3")
LINKS = tuple((a, b) for a in NODES for b in NODES if a != b)
AROUND = (("n1", "n2"), ("n2", "n1"), ("n1", "n3"), ("n3", "n1"))


class Pace:
    """Real time."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture
def cluster(local_case):
    """Runs a body with the testbed and the running system, once it serves."""

    def run(body, **options) -> None:
        local_case.options |= {"scale": 1 / 3, **options}
        local_case.power = True

        async def with_system(testbed) -> None:
            spec = local_case.site().spec
            running = await Minitikv().start(spec, testbed, Random(7), Pace())
            await running.ready()
            await body(testbed, running)

        local_case.run(with_system, start=False)

    return run


def minus(cut):
    return {link: link not in cut for link in LINKS}


@pytest.mark.parametrize("mode", ["hold", "reset"])
def test_a_cut_link_stays_cut_and_comes_back_within_a_second(cluster, mode) -> None:
    async def body(testbed, running) -> None:
        assert await testbed.net.reach(LINKS, timeout_s=3) == minus(())
        for cut in (AROUND, (("n1", "n2"),)):
            await testbed.net.cut("a", cut)
            for _ in range(2):
                assert await testbed.net.reach(LINKS, timeout_s=0.4) == minus(cut)
                await asyncio.sleep(0.2)
            await testbed.net.heal("a")
            assert await testbed.net.reach(LINKS, timeout_s=1) == minus(())
        assert testbed.crashes() == ()

    cluster(body, **{"cut-mode": mode})


@pytest.mark.deep
@pytest.mark.parametrize("mode", ["hold", "reset"])
def test_a_link_that_was_down_for_long_is_back_within_a_second(cluster, mode) -> None:
    async def body(testbed, running) -> None:
        await testbed.net.cut("a", AROUND)
        await asyncio.sleep(25)
        assert await testbed.net.reach(LINKS, timeout_s=0.5) == minus(AROUND)
        await testbed.net.heal("a")
        assert await testbed.net.reach(LINKS, timeout_s=1) == minus(())

    cluster(body, **{"cut-mode": mode})


def test_delay_power_and_clocks(cluster) -> None:
    async def body(testbed, running) -> None:
        net = testbed.net
        await net.reach(LINKS, timeout_s=3)
        await net.shape("d", (("n1", "n2"), ("n2", "n1")), Shape(delay_ms=50))
        assert 100 <= await net.round_trip_ms("n1", "n2") < 1000
        await net.heal("d")
        assert await net.round_trip_ms("n1", "n2") < 100
        session = await running.kv("n1")
        await session.put("k", 1)
        leader = (await running.primaries())[0]
        other = next(name for name in NODES if name != leader)
        await testbed.clock.jump(other, -60_000)
        seen = await testbed.node(other).observe()
        assert (seen.wall_ns - seen.base_wall_ns) / 1e6 == pytest.approx(-60_000, abs=50)
        await testbed.slow_disk(other, 20)
        await testbed.node(leader).power()
        assert (await testbed.node(leader).observe()).process == "absent"
        await testbed.node(leader).restart()
        await running.ready()
        assert await session.get("k") == 1, "what was acknowledged was on a majority's disks"
        await session.close()
        await running.stop()
        assert testbed.crashes() == (), "an end in good order, and by power, is no crash"

    cluster(body)
