"""Each fault on the simulated cluster: its effect is there and proven, gone after its stop, healed."""

from __future__ import annotations

import asyncio

import pytest

from splitbrain.errors import HarnessError
from splitbrain.nemesis.partition import SHAPES

from .conftest import NODES, Stand, effects

LINKS = tuple((i, j) for i in NODES for j in NODES if i != j)


@pytest.mark.parametrize("shape", SHAPES)
def test_partition(sim, shape: str) -> None:
    async def body(stand: Stand) -> None:
        leader = await stand.leader()
        value = await stand.start("partition", shape=shape)
        cut = {tuple(pair) for pair in value["parameters"]["cut"]}
        assert cut
        assert value["parameters"]["leader"] == leader
        assert effects(value) == [True] * len(cut)
        assert {proof["target"] for proof in value["proof"]} == {f"{i}->{j}" for i, j in cut}
        reached = await stand.testbed.net.reach(LINKS, timeout_s=0.5)
        assert reached == {link: link not in cut for link in LINKS}
        assert effects(await stand.stop("partition")) == [True] * len(cut)
        assert all((await stand.testbed.net.reach(LINKS, timeout_s=0.5)).values())

    sim(body)


@pytest.mark.parametrize("shape", ["isolate-leader", "leader-in-minority"])
def test_a_partition_may_aim_at_the_leader(sim, shape: str) -> None:
    async def body(stand: Stand) -> None:
        leader = await stand.leader()
        value = await stand.start("partition", shape=shape)
        mute = {j for i, j in value["parameters"]["cut"] if i == leader}
        assert len(mute) == (4 if shape == "isolate-leader" else 3)

    sim(body)


def test_a_partition_by_pairs_and_by_targets(sim) -> None:
    async def body(stand: Stand) -> None:
        value = await stand.start("partition", cut=[["n1", "n2"]], id="a")
        assert value["parameters"]["cut"] == [["n1", "n2"]]
        value = await stand.start("partition", "n4", "n5", id="b")
        assert {tuple(pair) for pair in value["parameters"]["cut"]} == {
            link for link in LINKS if (link[0] in ("n4", "n5")) != (link[1] in ("n4", "n5"))
        }
        await stand.stop("partition", id="b")
        leader = await stand.leader()
        value = await stand.start("partition", "leader", id="c")
        assert {i for i, _ in value["parameters"]["cut"] if i == leader} == {leader}
        assert len(value["parameters"]["cut"]) == 8
        await stand.stop("partition", id="c")
        reached = await stand.testbed.net.reach(LINKS, timeout_s=0.5)
        assert [link for link in LINKS if not reached[link]] == [("n1", "n2")]

    sim(body)


@pytest.mark.parametrize("deaf", ["leader", "follower"])
def test_a_grudge_silences_one_way_of_real_messages(sim, deaf: str) -> None:
    """The receiver takes nothing from whom it bears a grudge, and is itself heard by all."""

    async def body(stand: Stand) -> None:
        leader, other = await stand.leader(), await stand.other()
        one, from_ = (leader, other) if deaf == "leader" else (other, leader)
        value = await stand.start("partition", grudge={one: [from_]})
        assert value["parameters"] == {"cut": [[from_, one]], "leader": leader}
        assert effects(value) == [True]
        net = stand.testbed.net
        before = await net.counts()
        await asyncio.sleep(2)
        after = await net.counts()
        arrived = {key: after[key].received - before[key].received for key in after}
        assert after[from_, one].sent > before[from_, one].sent
        assert arrived[from_, one] == 0
        third = next(name for name in NODES if name not in (one, from_))
        assert all(arrived[key] > 0 for key in ((one, from_), (third, leader)))
        assert effects(await stand.stop("partition")) == [True]
        before = await net.counts()
        await asyncio.sleep(2)
        after = await net.counts()
        assert after[from_, one].received > before[from_, one].received

    sim(body)


@pytest.mark.parametrize("key", ["cut", "grudge"])
def test_a_partition_of_an_unknown_node_is_refused_and_cuts_nothing(sim, key: str) -> None:
    async def body(stand: Stand) -> None:
        given = [["n1", "n2"], ["n1", "m3"]] if key == "cut" else {"n2": ["n1"], "m3": ["n1"]}
        with pytest.raises(HarnessError, match=f"unknown node in {key} 'm3'; did you mean n3"):
            await stand.start("partition", **{key: given})
        assert all((await stand.testbed.net.reach(LINKS, timeout_s=0.5)).values())

    sim(body)


def test_a_follower_and_less_than_a_third(sim) -> None:
    async def body(stand: Stand) -> None:
        leader = await stand.leader()
        for number in range(6):
            value = await stand.start("pause", "follower", id=f"f{number}")
            (name,) = value["targets"]
            assert name != leader
            assert effects(value) == [True]
            await stand.stop("pause", id=f"f{number}")
        value = await stand.start("partition", "minority-third")
        assert len(value["parameters"]["cut"]) == 2 * 1 * 4

    sim(body)


@pytest.mark.parametrize(
    ("fault", "process"), [("kill", "absent"), ("power", "absent"), ("pause", "stopped")]
)
def test_faults_of_processes(sim, fault: str, process: str) -> None:
    async def body(stand: Stand) -> None:
        leader = await stand.leader()
        value = await stand.start(fault, "leader", "n1")
        assert value["targets"] == list(dict.fromkeys([leader, "n1"]))
        assert value["parameters"]["leader"] == leader
        assert set(effects(value)) == {True}
        for name in NODES:
            seen = (await stand.testbed.node(name).observe()).process
            assert seen == (process if name in value["targets"] else "running")
        assert set(effects(await stand.stop(fault))) == {True}
        for node in stand.testbed.nodes.values():
            assert (await node.observe()).process == "running"
        assert stand.testbed.crashes() == ()

    sim(body)


async def _wall_off_ms(stand: Stand, name: str) -> float:
    seen = await stand.testbed.node(name).observe()
    assert seen.wall_ns is not None
    return (seen.wall_ns - seen.base_wall_ns) / 1e6


async def _speed(stand: Stand, name: str) -> float:
    node = stand.testbed.node(name)
    first = await node.observe()
    await asyncio.sleep(1)
    last = await node.observe()
    assert first.monotonic_ns is not None
    assert last.monotonic_ns is not None
    return (last.monotonic_ns - first.monotonic_ns) / (last.base_ns - first.base_ns)


@pytest.mark.parametrize("delta_ms", [-288_000.0, -11.4, 11.4, 3.0, 60_000.0])
def test_a_clock_jump(sim, delta_ms: float) -> None:
    async def body(stand: Stand) -> None:
        value = await stand.start("clock-jump", "n2", "n3", delta_ms=delta_ms)
        assert effects(value) == [True, True]
        for name in NODES:
            off_ms = delta_ms if name in ("n2", "n3") else 0
            assert await _wall_off_ms(stand, name) == pytest.approx(off_ms, abs=0.01)
        await stand.heal()
        assert await _wall_off_ms(stand, "n2") == 0

    sim(body)


@pytest.mark.parametrize("period_ms", [8.0, 37.0, 1024.0])
@pytest.mark.parametrize("delta_ms", [4.0, 262_144.0])
def test_a_clock_strobe(sim, period_ms: float, delta_ms: float) -> None:
    async def body(stand: Stand) -> None:
        value = await stand.start("clock-strobe", "n2", delta_ms=delta_ms, period_ms=period_ms)
        assert effects(value) == [True]
        seen = set()
        for _ in range(40):
            seen.add(round(await _wall_off_ms(stand, "n2")))
            await asyncio.sleep(period_ms * 0.37 / 1000)
        assert seen == {0, round(delta_ms)}
        assert effects(await stand.stop("clock-strobe")) == [True]
        assert await _wall_off_ms(stand, "n2") == 0

    sim(body)


@pytest.mark.parametrize("rate", [-0.1, 0.05])
def test_a_clock_drift(sim, rate: float) -> None:
    async def body(stand: Stand) -> None:
        assert effects(await stand.start("clock-drift", "n2", rate=rate)) == [True]
        assert await _speed(stand, "n2") == pytest.approx(1 + rate, abs=1e-6)
        assert effects(await stand.stop("clock-drift")) == [True]
        assert await _speed(stand, "n2") == pytest.approx(1, abs=1e-6)
        assert await _wall_off_ms(stand, "n2") == 0

    sim(body)


def test_a_delay(sim) -> None:
    async def body(stand: Stand) -> None:
        net = stand.testbed.net
        assert effects(await stand.start("delay", "n2", delay_ms=100, jitter_ms=20)) == [True]
        assert 200 <= await net.round_trip_ms("n2", "n4") < 250
        assert await net.round_trip_ms("n3", "n4") < 100, "other links are as they were"
        await stand.stop("delay")
        assert await net.round_trip_ms("n2", "n4") < 100

    sim(body)


CHANCE = [
    ("loss", {"loss": 0.05}),
    ("loss", {"loss": 0.3}),
    ("duplication", {"duplicate": 0.1}),
    ("reordering", {"reorder": 0.1}),
]


@pytest.mark.parametrize(("fault", "size"), CHANCE)
@pytest.mark.parametrize("target", ["all", "leader"])
def test_faults_of_chance_are_proven_over_their_band(sim, fault, size, target) -> None:
    async def body(stand: Stand) -> None:
        await stand.load()
        value = await stand.start(fault, target, **size)
        assert value["proof"] == [], "nothing can be said yet"
        await asyncio.sleep(3)
        assert effects(await stand.stop(fault)) == [True]
        await asyncio.sleep(0.5)  # copies and held messages that are still on their way
        before = await stand.testbed.net.counts()
        await asyncio.sleep(2)
        after = await stand.testbed.net.counts()
        for link in LINKS:
            assert after[link].duplicates == before[link].duplicates
            assert after[link].reordered == before[link].reordered
        sent = sum(after[link].sent - before[link].sent for link in LINKS)
        received = sum(after[link].received - before[link].received for link in LINKS)
        assert sent > 500
        assert abs(sent - received) < 30, "but for those on their way"

    sim(body)


async def _put_ms(stand: Stand) -> float:
    """The quickest of some writes."""
    session = await stand.running.kv(await stand.leader())
    quickest = 1e9
    for number in range(5):
        began = stand.testbed.time_ns()
        await session.put("k", number)
        quickest = min(quickest, (stand.testbed.time_ns() - began) / 1e6)
    await session.close()
    return quickest


def test_a_slow_disk_claims_no_proof(sim) -> None:
    async def body(stand: Stand) -> None:
        usual = await _put_ms(stand)
        value = await stand.start("disk-slow", "all", extra_ms=200.0)
        assert effects(value) == [None] * 5
        assert await _put_ms(stand) >= 200 > usual
        await stand.stop("disk-slow")
        assert await _put_ms(stand) < 200

    sim(body)


def test_an_admin_action_moves_the_leadership(sim) -> None:
    async def body(stand: Stand) -> None:
        leader, other = await stand.leader(), await stand.other()
        value = await stand.start("admin", "leader", action="transfer-leader", to=other)
        assert value["targets"] == [leader]
        assert effects(value) == [True]
        assert await stand.leader() == other
        value = await stand.start("admin", "n1", action="status")
        assert effects(value) == [None]

    sim(body)


def test_heal_all_heals_all(sim) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("partition", shape="random-halves")
        await stand.start("kill", "n1")
        await stand.start("pause", "n2")
        await stand.start("clock-drift", "n3", rate=0.05)
        await stand.start("clock-jump", "n3", delta_ms=5000)
        await stand.start("delay", "all", delay_ms=50)
        await stand.start("disk-slow", "n4", extra_ms=300)
        await stand.heal()
        for node in stand.testbed.nodes.values():
            assert (await node.observe()).process == "running"
        await asyncio.sleep(2)
        assert all((await stand.testbed.net.reach(LINKS, timeout_s=0.5)).values())
        assert await stand.testbed.net.round_trip_ms("n1", "n2") < 50
        assert await _speed(stand, "n3") == pytest.approx(1, abs=1e-6)
        assert await _wall_off_ms(stand, "n3") == 0
        assert stand.testbed.node("n4").disk.extra_ns == 0  # type: ignore[attr-defined]
        await stand.heal()
        assert stand.testbed.crashes() == ()

    sim(body)


def test_nodes_that_were_paused_together_still_elect_a_leader(sim) -> None:
    """With equal election timeouts the phases of their ticks alone keep them apart."""

    async def body(stand: Stand) -> None:
        for _ in range(3):
            await stand.start("pause", "all")
            await asyncio.sleep(4)
            await stand.stop("pause")
            await stand.start("kill", "leader")
            await asyncio.sleep(8)
            assert await stand.running.primaries()
            await stand.stop("kill")
            await asyncio.sleep(2)

    sim(body, election_timeouts="*=1.5")
