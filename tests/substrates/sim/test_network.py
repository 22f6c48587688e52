"""Links: delays, faults by id, and what the receiver counts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from sim_toys import MS, PLAIN, Bench, EchoShell, on_bench

from splitbrain.contracts.fault import Shape
from splitbrain.contracts.testbed import LinkCount
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.links import Draws, mould
from splitbrain.substrates.sim.loop import Deadlock, SimLoop
from splitbrain.substrates.sim.network import Letter, Network

WORDS = [f"w{number}" for number in range(400)]
ONE_TWO = (("n1", "n2"),)


class Wire:
    """One link of a bare network, and what came out of it."""

    def __init__(self, seed: int = 1, **how: int) -> None:
        self.loop = SimLoop()
        times = {"delay_ns": 10 * MS, "jitter_ns": 5 * MS, **how}
        self.network = Network(self.loop, Random(seed), **times)
        self.epoch = 1
        self.link = self.network.open("a", "b", self)
        self.came: list[tuple[int, int]] = []

    def arrive(self, letter: Letter) -> None:
        link, _, number, sent_ns, _ = letter
        if not link.cuts:
            link.arrived(number, self.loop.now_ns - sent_ns)
            self.came.append((number, self.loop.now_ns))

    def send(self, count: int, *, every_ns: int = MS) -> Wire:
        start = self.loop.now_ns
        for number in range(count):
            self.loop.post_ns(start + number * every_ns, self._send, None)
        return self

    def _send(self, _: None) -> None:
        self.network.transmit(self.link, self.arrive, None, 1)

    def run(self) -> list[int]:
        with contextlib.suppress(Deadlock):
            self.loop.run_forever()
        return [number for number, _ in self.came]


def test_a_quiet_link_delays_and_keeps_order() -> None:
    wire = Wire().send(500)
    assert wire.run() == list(range(1, 501))
    lateness = [when - (number - 1) * MS for number, when in wire.came]
    assert min(lateness) >= 10 * MS
    assert max(lateness) < 15 * MS + 500
    assert max(lateness) - min(lateness) > 3 * MS
    assert wire.link.count() == LinkCount(sent=500, received=500, lateness_ns=sum(lateness))


def test_a_message_s_fate_depends_on_seed_link_and_number_alone() -> None:
    def run(shape: Shape | None, seed: int = 1) -> dict[int, int]:
        wire = Wire(seed)
        if shape is not None:
            wire.network.shape(f"id of {shape}", (("a", "b"),), shape)
        wire.send(600, every_ns=100 * MS).run()
        return dict(reversed(wire.came))  # the first copy's time

    quiet, lossy = run(None), run(Shape(loss=0.3))
    assert sorted(quiet) == list(range(1, 601))
    assert 350 < len(lossy) < 500
    assert lossy == {number: when for number, when in quiet.items() if number in lossy}
    assert sorted(run(Shape(loss=0.3, delay_ms=40, duplicate=0.5))) == sorted(lossy)
    assert run(Shape(loss=0.3), seed=2).keys() != lossy.keys()


def test_draws_are_numbered_in_any_order() -> None:
    forward = [Draws(Random(1), "a").at(number) for number in range(1000)]
    draws = Draws(Random(1), "a")
    assert [draws.at(number) for number in reversed(range(1000))] == forward[::-1]
    assert 0.45 < sum(forward) / 1000 < 0.55
    assert [Draws(Random(1), "b").at(number) for number in range(3)] != forward[:3]


def test_loss_is_as_frequent_as_asked_and_shows_in_the_counts() -> None:
    wire = Wire()
    wire.network.shape("x", (("a", "b"),), Shape(loss=0.3))
    wire.send(2000).run()
    count = wire.link.count()
    assert count.sent == 2000
    assert 1300 < count.received < 1500
    assert count.duplicates == count.reordered == 0


def test_duplicates_and_reordering_are_seen_by_the_receiver() -> None:
    wire = Wire()
    wire.network.shape("x", (("a", "b"),), Shape(duplicate=0.2))
    numbers = wire.send(1000).run()
    assert sorted(set(numbers)) == list(range(1, 1001))
    assert 150 < wire.link.duplicates < 250
    assert len(numbers) == 1000 + wire.link.duplicates
    assert wire.link.reordered == 0

    wire = Wire()
    wire.network.shape("x", (("a", "b"),), Shape(reorder=0.2))
    numbers = wire.send(1000).run()
    assert sorted(numbers) == list(range(1, 1001))
    overtaken = sum(1 for i, n in enumerate(numbers) if i and n < max(numbers[:i]))
    assert 100 < wire.link.reordered == overtaken
    assert wire.link.duplicates == 0


def test_a_message_held_back_arrives_in_the_end() -> None:
    wire = Wire()
    wire.network.shape("x", (("a", "b"),), Shape(reorder=1.0))
    assert wire.send(1).run() == [1]
    assert wire.came[0][1] == 200 * MS


def test_a_corrupted_message_falls_to_its_checksum() -> None:
    wire = Wire()
    wire.network.shape("x", (("a", "b"),), Shape(corrupt=0.25))
    wire.send(1000).run()
    assert 200 < wire.link.damaged < 300
    assert wire.link.received == 1000 - wire.link.damaged


def test_a_rate_spaces_messages_and_a_long_queue_drops() -> None:
    wire = Wire(jitter_ns=0)
    wire.network.shape("x", (("a", "b"),), Shape(rate_kbps=488))  # 61 bytes: one a millisecond
    wire.send(100, every_ns=0).run()
    gaps = {b - a for (_, a), (_, b) in zip(wire.came, wire.came[1:], strict=False)}
    assert gaps == {MS}
    slow = Wire()
    slow.network.shape("x", (("a", "b"),), Shape(rate_kbps=0.488))
    assert slow.send(100, every_ns=0).run() == [1, 2, 3, 4, 5, 6]


def test_a_cut_loses_what_is_sent_and_what_is_in_flight_and_cuts_stack() -> None:
    wire = Wire(jitter_ns=0)
    wire.send(100)
    at = wire.loop.post_ns
    at(30 * MS, lambda _: wire.network.cut("p1", (("a", "b"),)), None)
    at(40 * MS, lambda _: wire.network.cut("p2", (("a", "b"),)), None)
    at(50 * MS, lambda _: wire.network.heal("p1"), None)
    at(60 * MS, lambda _: wire.network.heal("p2"), None)
    # Message n is sent at n-1 ms and arrives 10 ms later; the cut holds from 30 to 60 ms.
    assert wire.run() == [*range(1, 21), *range(62, 101)]
    assert wire.link.count().sent == 100


def test_shapes_of_several_ids_add_up() -> None:
    both = mould([Shape(delay_ms=5, loss=0.5, rate_kbps=100), Shape(delay_ms=1, rate_kbps=10)])
    assert both is not None
    assert (both.delay_ns, both.loss, both.bits_per_s) == (6 * MS, 0.5, 10_000)
    assert mould([]) is None
    wire = Wire(jitter_ns=0)
    wire.network.shape("x", (("a", "b"),), Shape(delay_ms=5))
    wire.network.shape("y", (("a", "b"),), Shape(delay_ms=7))
    wire.send(1).run()
    wire.network.heal("x")
    wire.send(1).run()
    wire.network.heal(None)
    wire.send(1).run()
    starts = [0, 22 * MS, 39 * MS]
    assert [when - start for (_, when), start in zip(wire.came, starts, strict=True)] == [
        22 * MS,
        17 * MS,
        10 * MS,
    ]


def test_a_partition_one_way_and_its_proof_by_the_receiver() -> None:
    async def test(bench: Bench) -> None:
        net = bench.testbed.net
        await net.cut("p", ONE_TWO)
        await bench.say("n1", ["n2", "n3"], ["x"])
        await bench.say("n2", ["n1"], ["y"])
        reached = await net.reach((("n1", "n2"), ("n2", "n1"), ("n1", "n3")), timeout_s=0.2)
        assert reached == {("n1", "n2"): False, ("n2", "n1"): True, ("n1", "n3"): True}
        assert (bench.heard("n1"), bench.heard("n2"), bench.heard("n3")) == (["y"], [], ["x"])
        assert await bench.ask("n2", "hi") == "n2: hi"  # clients still reach every node
        assert await net.round_trip_ms("n2", "n1", timeout_s=0.5) is None
        await net.heal("p")
        assert await net.reach(ONE_TWO) == {("n1", "n2"): True}
        assert await net.round_trip_ms("n2", "n1") == pytest.approx(2.0, abs=0.01)

    on_bench(EchoShell, test)


def test_a_cut_loses_messages_and_probes_that_are_in_flight() -> None:
    async def test(bench: Bench) -> None:
        net = bench.testbed.net
        await bench.say("n1", ["n2"], ["in flight"])
        probing = asyncio.create_task(net.reach(ONE_TWO, timeout_s=0.2))
        await asyncio.sleep(0.0005)
        await net.cut("p", ONE_TWO)
        assert await probing == {("n1", "n2"): False}
        assert bench.heard("n2") == []
        await net.heal()
        await bench.say("n1", ["n2"], ["after"])
        await asyncio.sleep(0.1)
        assert bench.heard("n2") == ["after"]

    on_bench(EchoShell, test)


def test_probes_pass_loss_and_say_none_for_dead_or_paused_ends() -> None:
    async def test(bench: Bench) -> None:
        net, node = bench.testbed.net, bench.testbed.node
        await net.shape("x", ONE_TWO, Shape(loss=0.4))
        assert await net.reach(ONE_TWO) == {("n1", "n2"): True}
        await node("n2").kill()
        assert await net.reach(ONE_TWO) == {("n1", "n2"): None}
        assert await net.round_trip_ms("n1", "n2") is None
        await node("n2").restart()
        await node("n1").pause()
        assert await net.reach(ONE_TWO) == {("n1", "n2"): None}

    on_bench(EchoShell, test)


def test_delay_shows_in_round_trips_and_in_lateness() -> None:
    async def test(bench: Bench) -> None:
        net = bench.testbed.net
        before = await net.round_trip_ms("n1", "n2")
        await net.shape("d", ONE_TWO, Shape(delay_ms=30, jitter_ms=5))
        after = await net.round_trip_ms("n1", "n2")
        assert before is not None
        assert after is not None
        assert 30 <= after - before <= 35
        counts = await net.counts()
        assert 31 * MS <= counts["n1", "n2"].lateness_ns - MS <= 36 * MS

    on_bench(EchoShell, test)


def test_client_links_are_faulted_only_when_named() -> None:
    async def test(bench: Bench) -> None:
        net = bench.testbed.net
        assert await bench.ask("n1", "hi") == "n1: hi"
        await net.cut("c", (("client", "n1"),))
        with pytest.raises(TimeoutError):
            await bench.ask("n1", "lost", timeout_s=0.1)
        with pytest.raises(TimeoutError):  # a link opened after the cut is cut as well
            await bench.ask("n1", "lost", timeout_s=0.1, client="new")
        await net.heal("c")
        await net.cut("c", (("n1", "client"),))
        with pytest.raises(TimeoutError):
            await bench.ask("n1", "heard", timeout_s=0.1)
        assert bench.heard("n1") == ["hi", "heard"]
        counts = await net.counts()
        assert counts["client", "n1"].sent == 4
        assert counts["client", "n1"].received == 2

    on_bench(EchoShell, test)


def test_a_link_to_nowhere_is_refused() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(HarnessError, match=r"n1->n9: no 'n9'; known: client, n1, n2, n3"):
            await bench.testbed.net.cut("p", (("n1", "n9"),))

    on_bench(EchoShell, test)


def test_shuffled_order_differs_from_the_order_of_sending_but_not_within_a_link() -> None:
    async def test(bench: Bench) -> list[str]:
        everyone = ["n1", "n2", "n3"]
        words = [f"{n}" for n in range(20)]
        asks = [
            bench.say(name, ["n3"], [f"{name}/{word}" for word in words]) for name in everyone
        ]
        await asyncio.gather(*asks)
        await asyncio.sleep(0.1)
        return bench.heard("n3")

    options = {**PLAIN, "sim-order": "shuffled"}
    plain = on_bench(EchoShell, test)
    shuffled = [on_bench(EchoShell, test, seed=seed, options=options) for seed in (1, 2, 1)]
    assert shuffled[0] == shuffled[2]
    assert shuffled[0] != shuffled[1]
    assert plain not in shuffled
    for order in (plain, *shuffled):
        for name in ("n1", "n2", "n3"):
            mine = [word for word in order if word.startswith(name)]
            assert mine == [f"{name}/{n}" for n in range(20)]
