"""Clients: one answer for each request, and what each way to fail promises."""

from __future__ import annotations

import asyncio

import pytest
from sim_toys import Bench, EchoShell, Say, on_bench

from splitbrain.contracts.fault import Shape
from splitbrain.errors import HarnessError


def test_answers_find_their_calls() -> None:
    async def test(bench: Bench) -> None:
        asks = [
            bench.ask(node, f"{client}{number}", client=client)
            for number in range(20)
            for client in "ab"
            for node in ("n1", "n2")
        ]
        answers = await asyncio.gather(*asks)
        assert answers == [
            f"{node}: {client}{number}"
            for number in range(20)
            for client in "ab"
            for node in ("n1", "n2")
        ]
        senders = {event["sender"] for event in bench.events}
        assert len(senders) == 80

    on_bench(EchoShell, test)


def test_a_call_takes_two_delays() -> None:
    async def test(bench: Bench) -> None:
        await bench.ask("n1", "hi")
        assert bench.testbed.time_ns() == 2_000_000

    on_bench(EchoShell, test)


def test_refused_by_a_dead_node_certainly_not_processed() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        call = asyncio.create_task(bench.ask("n1", "under way"))
        await asyncio.sleep(0)
        await node.kill()
        with pytest.raises(ConnectionError, match="n1 is down"):
            await call
        await node.restart()
        await asyncio.sleep(1)
        assert bench.heard("n1") == []

    on_bench(EchoShell, test)


def test_a_refused_request_is_not_taken_by_its_copy() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        await bench.testbed.net.shape("d", (("client", "n1"),), Shape(duplicate=1.0))
        await node.kill()
        call = asyncio.create_task(bench.ask("n1", "x"))
        await asyncio.sleep(0.0015)  # refused at 1 ms; the copy comes at 2 ms
        await node.restart()
        with pytest.raises(ConnectionError):
            await call
        await asyncio.sleep(1)
        assert bench.heard("n1") == []
        assert await bench.ask("n1", "y") == "n1: y"
        await asyncio.sleep(1)
        assert bench.heard("n1") == ["y"]  # taken once
        assert (await bench.testbed.net.counts())["client", "n1"].duplicates == 2

    on_bench(EchoShell, test)


def test_the_death_of_the_node_ends_open_calls() -> None:
    async def test(bench: Bench) -> None:
        calls = [asyncio.create_task(bench.ask("n1", "silence", timeout_s=60)) for _ in "ab"]
        await asyncio.sleep(0.5)
        await bench.testbed.node("n1").kill()
        for call in calls:
            with pytest.raises(EOFError, match="n1 ended"):
                await call
        assert bench.testbed.time_ns() < 510_000_000
        assert bench.heard("n1") == ["silence"] * 2

    on_bench(EchoShell, test)


@pytest.mark.parametrize("in_flight", [False, True])
def test_a_reset_does_not_pass_a_cut(in_flight: bool) -> None:
    async def test(bench: Bench) -> None:
        call = asyncio.create_task(bench.ask("n1", "silence", timeout_s=5))
        await asyncio.sleep(0.5)
        if not in_flight:
            await bench.testbed.net.cut("c", (("n1", "client"),))
        await bench.testbed.node("n1").kill()
        await asyncio.sleep(0.0005)
        await bench.testbed.net.cut("c", (("n1", "client"),))
        with pytest.raises(TimeoutError):
            await call
        assert bench.testbed.time_ns() == 5_000_000_000

    on_bench(EchoShell, test)


def test_a_late_answer_is_dropped() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        await node.pause()
        with pytest.raises(TimeoutError):
            await bench.ask("n1", "first", timeout_s=0.2)
        await node.resume()
        assert await bench.ask("n1", "second") == "n1: second"
        assert bench.heard("n1") == ["first", "second"]  # it may be processed all the same

    on_bench(EchoShell, test)


def test_an_answer_to_nobody_and_a_second_answer_are_dropped() -> None:
    async def test(bench: Bench) -> None:
        assert await bench.ask("n1", "hi") == "n1: hi"
        await bench.say("n1", ["client:c/1", "client:c/99", "client:zz/1"], ["again"])
        assert await bench.ask("n1", "there") == "n1: there"
        assert bench.testbed.crashes() == ()

    on_bench(EchoShell, test)


def test_cancelled_and_closed_clients() -> None:
    async def test(bench: Bench) -> None:
        cancelled = asyncio.create_task(bench.ask("n1", "silence"))
        open_ = asyncio.create_task(bench.ask("n1", "silence"))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        await bench.testbed.caller("c").close()
        with pytest.raises(EOFError):
            await open_
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        with pytest.raises(HarnessError, match="no node 'n9'"):
            await bench.testbed.caller("c").call("n9", Say("x"), timeout_s=1)

    on_bench(EchoShell, test)


def test_an_answer_in_flight_does_not_pass_a_cut() -> None:
    async def test(bench: Bench) -> None:
        call = asyncio.create_task(bench.ask("n1", "hi", timeout_s=1))
        await asyncio.sleep(0.0015)
        assert bench.heard("n1") == ["hi"]
        await bench.testbed.net.cut("c", (("n1", "client"),))
        with pytest.raises(TimeoutError):
            await call

    on_bench(EchoShell, test)
