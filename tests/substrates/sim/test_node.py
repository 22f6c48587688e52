"""Nodes: starts and deaths, pauses, crashes, clocks, and the way in beside the network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sim_toys import (
    MS,
    Bench,
    CounterShell,
    EchoShell,
    Say,
    TickShell,
    Toy,
    on_bench,
    site,
)

from splitbrain.contracts.testbed import Program
from splitbrain.errors import HarnessError, NodeFailed, Unsupported
from splitbrain.substrates.sim import SimSubstrate


def test_a_program_without_build_is_refused() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        await node.kill()
        with pytest.raises(Unsupported, match=r"'postgres'.*--on local"):
            await node.start(Program(name="postgres", argv=("postgres",)))

    on_bench(Toy, test)


def test_a_killed_node_keeps_what_it_wrote_and_a_powerless_one_what_it_synced() -> None:
    async def count(bench: Bench, fault: str) -> tuple[int, int]:
        node = bench.testbed.node("n1")
        for _ in range(3):
            await bench.ask("n1", "add")
        for _ in range(40):
            with pytest.raises(TimeoutError):
                await bench.ask("n1", "add without sync", timeout_s=0.01)
        assert await bench.ask("n1", "get") == "43"
        await getattr(node, fault)()
        assert node.state().status == "killed"
        await node.restart()
        assert node.state().incarnation == 2
        after = int(await bench.ask("n1", "get"))
        status = await node.control("status", {})
        assert status == {"count": after}
        return after, bench.events[-1]["count"]

    assert on_bench(CounterShell, lambda bench: count(bench, "kill")) == (43, 43)
    left = {on_bench(CounterShell, lambda b: count(b, "power"), seed=s)[0] for s in range(12)}
    assert min(left) == 3
    assert len(left) > 2


def test_acts_are_idempotent_and_states_are_told() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        await node.start(Program(name="toy", build=Toy))
        assert node.state().incarnation == 1
        await node.resume()
        await node.pause()
        await node.pause()
        assert node.state().status == "paused"
        assert (await node.observe()).process == "stopped"
        assert (await node.observe()).monotonic_ns is None
        await node.kill()
        await node.kill()
        await node.pause()
        await node.stop()
        assert node.state().status == "killed"
        assert (await node.observe()).process == "absent"
        await node.restart()
        await node.restart()
        seen = await node.observe()
        assert (seen.process, seen.started) == ("running", "2")
        assert seen.wall_ns == seen.base_wall_ns
        assert node.state().incarnation == 2
        assert bench.testbed.crashes() == ()

    on_bench(Toy, test)


def test_messages_under_way_to_a_killed_node_are_lost() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n2")
        await bench.say("n1", ["n2"], ["under way"])
        await node.kill()
        await bench.say("n1", ["n2"], ["to the dead"])
        await asyncio.sleep(0.1)
        assert bench.testbed.crashes() == ()
        await bench.say("n1", ["n2"], ["to one that is about to live"])
        await node.restart()
        await asyncio.sleep(0.1)
        await bench.say("n1", ["n2"], ["to the living"])
        await asyncio.sleep(0.1)
        assert bench.heard("n2") == ["to the living"]
        counts = await bench.testbed.net.counts()
        assert (counts["n1", "n2"].sent, counts["n1", "n2"].received) == (4, 1)

    on_bench(EchoShell, test)


def test_messages_of_a_killed_node_still_arrive() -> None:
    async def test(bench: Bench) -> None:
        await bench.say("n1", ["n2"], ["last words"])
        await bench.testbed.node("n1").kill()
        await asyncio.sleep(0.1)
        assert bench.heard("n2") == ["last words"]

    on_bench(EchoShell, test)


def test_a_paused_node_holds_all_and_goes_on_in_order() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n2")
        await node.pause()
        for number in range(20):
            await bench.say("n1", ["n2"], [f"{number}"])
            await asyncio.sleep(0.003)
        call = asyncio.create_task(bench.ask("n2", "request", timeout_s=60))
        await asyncio.sleep(5)
        assert bench.heard("n2") == []
        assert not call.done()
        await bench.say("n1", ["n2"], ["fresh"])
        await asyncio.sleep(0.001)
        # The fresh one arrives at the very instant of the resumption: behind what was held.
        await node.resume()
        assert node.state().status == "running"
        assert await call == "n2: request"
        assert bench.heard("n2") == [*map(str, range(20)), "request", "fresh"]

    on_bench(EchoShell, test)


def test_timers_and_disk_completions_wait_for_the_resumption() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        await asyncio.sleep(1)
        ticks = (await node.control("status", {}))["ticks"]
        await node.pause()
        await asyncio.sleep(1)
        assert sum(e["node"] == "n1" for e in bench.events) == ticks
        await node.resume()
        await asyncio.sleep(0.0005)
        mine = [e for e in bench.events if e["node"] == "n1"]
        assert len(mine) == ticks + 1
        assert 980 * MS < mine[-1]["late_ns"] <= 1000 * MS

    on_bench(TickShell, test)

    async def disk_test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        call = asyncio.create_task(bench.ask("n1", "add", timeout_s=60))
        await asyncio.sleep(0.0015)  # it has arrived; its sync ends half a millisecond later
        await node.pause()
        await asyncio.sleep(1)
        assert not call.done()
        await node.resume()
        assert await call == "1"

    on_bench(CounterShell, disk_test)


def test_what_was_held_is_lost_with_a_kill() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n2")
        await node.pause()
        await bench.say("n1", ["n2"], ["held"])
        call = asyncio.create_task(bench.ask("n2", "held request", timeout_s=60))
        await asyncio.sleep(1)
        await node.kill()
        with pytest.raises(EOFError):
            await call
        await node.restart()
        await asyncio.sleep(1)
        assert bench.heard("n2") == []

    on_bench(EchoShell, test)


def test_an_exception_that_leaves_a_callback_is_a_crash() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        with pytest.raises(EOFError):
            await bench.ask("n1", "crash")
        assert node.state().status == "exited"
        (crash,) = bench.testbed.crashes()
        assert (crash.node, crash.incarnation, crash.time_ns) == ("n1", 1, MS)
        assert crash.reason.startswith("AssertionError: told to crash (sim_toys.py:")
        assert any("Traceback" in line for line in crash.log)
        assert any("told to crash" in line for line in await node.log_tail(2))
        assert bench.testbed.crashes() == ()  # each is told once
        with pytest.raises(ConnectionError):
            await bench.ask("n1", "hi")
        await node.restart()
        assert await bench.ask("n1", "hi") == "n1: hi"

    on_bench(EchoShell, test)


class TimerCrash(Toy):
    def start(self) -> None:
        self.env.clock.call_at(self.env.clock.monotonic_ns() + MS, self.fall)

    def fall(self) -> None:
        raise SystemExit(3)


class DiskCrash(Toy):
    def start(self) -> None:
        self.env.disk.fsync("log", self.fall)

    def fall(self, error: Exception | None) -> None:
        raise RuntimeError("in a completion")


class StartCrash(Toy):
    def start(self) -> None:
        if self.env.disk.read("mark"):
            raise RuntimeError("cannot recover")
        self.env.disk.append("mark", b"x")


@pytest.mark.parametrize(
    ("build", "reason"), [(TimerCrash, "SystemExit: 3"), (DiskCrash, "in a completion")]
)
def test_crashes_come_from_every_door(build: Any, reason: str) -> None:
    async def test(bench: Bench) -> None:
        await asyncio.sleep(0.1)
        crashes = bench.testbed.crashes()
        assert sorted(crash.node for crash in crashes) == ["n1", "n2", "n3"]
        assert all(reason in crash.reason for crash in crashes)

    on_bench(build, test)


def test_a_start_that_fails_is_told_and_a_restart_that_fails_is_a_crash() -> None:
    def broken(env: Any) -> Any:
        raise ValueError("bad configuration")

    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        await node.kill()
        await node.restart()
        assert node.state().status == "exited"
        (crash,) = bench.testbed.crashes()
        assert "RuntimeError: cannot recover" in crash.reason
        with pytest.raises(NodeFailed, match="bad configuration") as told:
            await node.start(Program(name="broken", build=broken))
        assert any("Traceback" in line for line in told.value.log_tail)
        assert bench.testbed.crashes() == ()

    on_bench(StartCrash, test)


def test_callbacks_of_the_dead_never_run() -> None:
    async def test(bench: Bench) -> None:
        for _ in range(50):
            await asyncio.sleep(0.0123)
            for node in bench.testbed.nodes.values():
                await node.kill()
                count = len(bench.events)
                await asyncio.sleep(0.05)
                assert all(event["node"] != node.name for event in bench.events[count:])
                await node.restart()

    on_bench(TickShell, test)


def test_control_reaches_the_shell_and_says_why_it_cannot() -> None:
    async def test(bench: Bench) -> None:
        node = bench.testbed.node("n1")
        assert await node.control("say", {"to": ["n2"], "words": ["a"]}) == {"said": 1}
        with pytest.raises(ValueError, match="unknown verb 'dance'"):
            await node.control("dance", {})
        await node.pause()
        with pytest.raises(TimeoutError):
            await node.control("status", {}, timeout_s=0.5)
        await node.resume()
        await node.pause()
        held = asyncio.create_task(node.control("status", {}, timeout_s=5))
        await asyncio.sleep(1)
        await node.resume()
        assert await held == {}
        with pytest.raises(ConnectionError):
            await node.control("fall", {})
        assert "RuntimeError: fell" in bench.testbed.crashes()[0].reason
        with pytest.raises(ConnectionError):
            await node.control("status", {})

    on_bench(EchoShell, test)


def test_drift_bends_a_node_s_timers_and_both_clocks() -> None:
    async def test(bench: Bench) -> None:
        clock, node = bench.testbed.clock, bench.testbed.node("n1")

        async def ticks() -> int:
            count = len([e for e in bench.events if e["node"] == "n1"])
            await asyncio.sleep(10)
            return len([e for e in bench.events if e["node"] == "n1"]) - count

        assert await ticks() in (999, 1000)
        for rate, expected in ((0.5, 1500), (-0.5, 500)):
            await clock.drift("n1", rate)
            first = await node.observe()
            assert await ticks() == pytest.approx(expected, abs=1)
            last = await node.observe()
            true_ns = last.base_ns - first.base_ns
            assert last.monotonic_ns is not None
            assert first.monotonic_ns is not None
            ran = (last.monotonic_ns - first.monotonic_ns) / true_ns
            assert ran == pytest.approx(1 + rate, abs=1e-6)
        await clock.reset("n1")
        seen = await node.observe()
        assert seen.wall_ns == seen.base_wall_ns
        assert await ticks() in (999, 1000, 1001)
        # Armed while slow, due at once when fast: the pending timer is armed anew.
        late = [e["late_ns"] for e in bench.events if e["node"] == "n1"]
        assert max(late) <= 2
        assert bench.testbed.crashes() == ()

    on_bench(TickShell, test)


def test_jump_and_strobe_touch_the_wall_clock_alone() -> None:
    async def test(bench: Bench) -> None:
        clock, node = bench.testbed.clock, bench.testbed.node("n1")

        async def offset_ms() -> float:
            seen = await node.observe()
            assert seen.wall_ns is not None
            return (seen.wall_ns - seen.base_wall_ns) / MS

        before = await node.observe()
        await clock.jump("n1", -2500)
        assert await offset_ms() == -2500
        await clock.strobe("n1", 70, 10)
        offsets = set()
        for _ in range(20):
            await asyncio.sleep(0.007)
            offsets.add(await offset_ms())
        assert offsets == {-2500.0, -2430.0}
        after = await node.observe()
        assert before.monotonic_ns is not None
        assert after.monotonic_ns is not None
        assert after.monotonic_ns - before.monotonic_ns == after.base_ns - before.base_ns
        await clock.reset("n1")
        assert await offset_ms() == 0
        await clock.jump("n1", 5)
        await node.kill()
        with pytest.raises(ConnectionError):
            await clock.reset("n1")
        await node.restart()
        assert await offset_ms() == 0  # a dead node comes back with right clocks

    on_bench(Toy, test)


def test_slow_and_failing_disks() -> None:
    async def test(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        await bench.ask("n1", "add")
        await bench.testbed.slow_disk("n1", 300)
        before = loop.time()
        await bench.ask("n1", "add")
        assert 0.3 < loop.time() - before < 0.31
        await bench.testbed.slow_disk("n1", 0)
        await bench.testbed.fail_disk("n1", "EIO")
        assert "Input/output error" in await bench.ask("n1", "add")
        await bench.testbed.fail_disk("n1", None)
        assert await bench.ask("n1", "add") == "4"

    on_bench(CounterShell, test)


def test_logs_and_events_bear_the_test_s_time(tmp_path: Path) -> None:
    class Talker(Toy):
        def on_message(self, sender: str, message: Say) -> None:
            self.env.log(f"{sender} said {message.word}")
            self.env.event("said", word=message.word)
            self.env.transport.send(sender, message)

    async def test(bench: Bench) -> None:
        await asyncio.sleep(2)
        await bench.ask("n1", "hi")
        assert bench.events == [
            {"time_ns": 2_001 * MS, "node": "n1", "kind": "said", "word": "hi"}
        ]
        assert list(await bench.testbed.node("n1").log_tail(1)) == [
            "    2.001000 client:c/1 said hi"
        ]

    on_bench(Talker, test, directory=str(tmp_path))
    assert (tmp_path / "logs" / "n1.log").read_text().splitlines()[-1].endswith("said hi")


def test_a_testbed_is_opened_on_the_loop_of_virtual_time_only() -> None:
    with pytest.raises(HarnessError, match=r"SimSubstrate\.run"):
        asyncio.run(SimSubstrate().open(site()))


def test_the_testbed_s_names() -> None:
    async def test(bench: Bench) -> None:
        testbed = bench.testbed
        assert list(testbed.nodes) == ["n1", "n2", "n3"]
        assert testbed.links("n2") == {"n1": "n1", "n3": "n3"}
        assert testbed.client_address("n3") == "n3"
        with pytest.raises(HarnessError, match="no node 'n7'; known: n1, n2, n3"):
            testbed.node("n7")

    on_bench(Toy, test)
