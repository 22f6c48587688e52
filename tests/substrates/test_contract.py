"""One suite for all substrates: what ``contracts.testbed`` promises, tried with a toy program.

Only contracts are used here: nothing of any one substrate.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from splitbrain.contracts.fault import Cut, Fault, Shape
from splitbrain.contracts.testbed import Testbed
from splitbrain.errors import SplitbrainError, Unsupported

pytestmark = pytest.mark.processes


def links_of(names) -> Cut:
    return tuple((a, b) for a in names for b in names if a != b)


async def reached(testbed: Testbed, links: Cut | None = None, *, timeout_s: float = 0.4):
    return await testbed.net.reach(links or links_of(testbed.nodes), timeout_s=timeout_s)


async def assert_cut(testbed: Testbed, cut: Cut) -> None:
    """Exactly these links are cut."""
    seen = await reached(testbed)
    assert seen == {link: link not in cut for link in links_of(testbed.nodes)}


def test_starts_observes_and_answers(case) -> None:
    async def body(testbed: Testbed) -> None:
        assert list(testbed.nodes) == list(case.nodes)
        for node in testbed.nodes.values():
            assert node.state().status == "running"
            assert node.state().incarnation == 1
            seen = await node.observe()
            assert seen.process == "running"
            assert seen.started != ""
            assert seen.monotonic_ns is not None
            assert "ticks" in await node.control("status", {})
        seen = await reached(testbed, timeout_s=3)
        assert seen == dict.fromkeys(links_of(testbed.nodes), True)
        assert set(testbed.links("n1")) == {"n2", "n3"}
        assert testbed.crashes() == ()
        with pytest.raises(SplitbrainError, match="n9"):
            testbed.node("n9")

    case.run(body)


def test_time_goes_on(case) -> None:
    async def body(testbed: Testbed) -> None:
        before = testbed.time_ns()
        assert before >= 0
        await reached(testbed)
        assert testbed.time_ns() >= before

    case.run(body)


def test_kill_and_restart(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n2")
        await reached(testbed, timeout_s=3)
        first = (await node.observe()).started
        await node.kill()
        assert node.state().status == "killed"
        assert (await node.observe()).process == "absent"
        with pytest.raises(ConnectionError):
            await node.control("status", {})
        seen = await reached(testbed)
        assert {link for link, ok in seen.items() if ok is None} == {
            link for link in links_of(testbed.nodes) if "n2" in link
        }
        await node.kill()
        await node.restart()
        assert node.state().status == "running"
        assert node.state().incarnation == 2
        assert (await node.observe()).started not in ("", first)
        await node.restart()
        assert node.state().incarnation == 2, "a running node is not started again"
        assert await reached(testbed, timeout_s=2) == dict.fromkeys(
            links_of(testbed.nodes), True
        )
        assert testbed.crashes() == ()

    case.run(body)


def test_pause_and_resume(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n1")
        await reached(testbed, timeout_s=3)
        before = await node.observe()
        await node.pause()
        assert node.state().status == "paused"
        seen = await node.observe()
        assert seen.process == "stopped"
        assert seen.started == before.started
        assert seen.monotonic_ns is None
        with pytest.raises(TimeoutError):
            await node.control("status", {}, timeout_s=0.1)
        assert (await reached(testbed))["n2", "n1"] is None
        await node.pause()
        await node.resume()
        await node.resume()
        assert node.state().status == "running"
        assert (await node.observe()).process == "running"
        assert (await reached(testbed, timeout_s=3))["n2", "n1"] is True

    case.run(body)


def test_a_paused_node_can_be_killed(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n1")
        await node.pause()
        await node.kill()
        assert (await node.observe()).process == "absent"
        await node.resume()
        assert node.state().status == "killed"
        await node.restart()
        assert (await node.observe()).process == "running"

    case.run(body)


def test_power_ends_the_node(case) -> None:
    case.power = True

    async def body(testbed: Testbed) -> None:
        node = testbed.node("n1")
        await node.control("write", {"text": "kept.", "sync": True})
        while not (await node.control("status", {}))["synced"]:
            await reached(testbed, (("n2", "n3"),))
        await node.control("write", {"text": "lost"})
        await node.power()
        assert node.state().status == "killed"
        assert (await node.observe()).process == "absent"
        await node.restart()
        text = (await node.control("read", {}))["text"]
        assert text.startswith("kept.")
        assert text != "kept.lost"

    case.run(body)


def test_files_go_in_and_come_out(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n2")
        path = str(PurePosixPath(node.data_dir) / "planted") if node.data_dir else "planted"
        content = bytes(range(256)) * 9
        with pytest.raises(FileNotFoundError):
            await node.get(path)
        await node.put(path, content)
        assert await node.get(path) == content
        await node.kill()
        assert await node.get(path) == content, "also of a dead node"
        await node.put(path, b"less")
        await node.restart()
        assert await node.get(path) == b"less"

    case.run(body)


def test_a_command_runs_beside_the_program(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n1")
        if not case.real:
            with pytest.raises(Unsupported, match="simulation"):
                await node.exec(["true"])
            return
        told = await node.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (told.code, told.out, told.err) == (3, b"out\n", b"err\n")
        with pytest.raises(TimeoutError):
            await node.exec(["sleep", "60"], timeout_s=0.2)
        assert any("toy started" in line for line in await node.log_tail())

    case.run(body)


def test_stop_is_no_crash(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n3")
        await node.stop()
        await node.stop()
        assert (await node.observe()).process == "absent"
        assert testbed.crashes() == ()

    case.run(body)


def test_a_node_that_ends_by_itself_is_told_once(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n3")
        with pytest.raises((ConnectionError, TimeoutError, ValueError, AssertionError)):
            await node.control("crash", {})
        crashes = []
        for _ in range(500):  # an engine may take its time to tell
            crashes += testbed.crashes()
            if crashes:
                break
            await reached(testbed, (("n1", "n2"),))
        (crash,) = crashes
        assert crash.node == "n3"
        assert crash.incarnation == 1
        assert crash.reason
        assert 0 < crash.time_ns <= testbed.time_ns()
        assert any("told to crash" in line for line in (crash.reason, *crash.log))
        assert node.state().status == "exited"
        assert (await node.observe()).process == "absent"
        assert testbed.crashes() == ()
        await node.kill()
        assert testbed.crashes() == ()
        await node.restart()
        assert node.state().incarnation == 2
        assert (await node.observe()).process == "running"

    case.run(body)


def both(one, other) -> Cut:
    pairs = [(a, b) for a in one for b in other]
    return tuple(pairs + [(b, a) for a, b in pairs])


SHAPES = {
    "halves": both(["n1", "n2"], ["n3", "n4", "n5"]),
    "alone": both(["n1"], ["n2", "n3", "n4", "n5"]),
    "bridge": both(["n1", "n2"], ["n4", "n5"]),
    "ring": tuple(
        (f"n{i + 1}", f"n{j + 1}") for i in range(5) for j in range(5) if (j - i) % 5 in (2, 3)
    ),
    "deaf": tuple((f"n{i}", "n1") for i in range(2, 6)),
    "mute": tuple(("n1", f"n{i}") for i in range(2, 6)),
    "one link": (("n4", "n2"),),
    "all": links_of([f"n{i + 1}" for i in range(5)]),
}


@pytest.mark.parametrize("mode", ["hold", "reset"])
def test_every_shape_of_partition(case, mode: str) -> None:
    case.nodes = ("n1", "n2", "n3", "n4", "n5")
    case.options["cut-mode"] = mode

    async def body(testbed: Testbed) -> None:
        assert all((await reached(testbed, timeout_s=3)).values())
        for name, cut in SHAPES.items():
            if mode == "reset" and name not in ("bridge", "deaf", "one link"):
                continue
            await testbed.net.cut(name, cut)
            await assert_cut(testbed, cut)
            await testbed.net.heal(name)
            seen = await reached(testbed, timeout_s=2)
            assert all(seen.values()), f"{name} is healed"

    case.run(body)


def test_faults_of_different_ids_add_up(case) -> None:
    async def body(testbed: Testbed) -> None:
        net = testbed.net
        assert all((await reached(testbed, timeout_s=3)).values())
        await net.cut("a", (("n1", "n2"),))
        await net.cut("b", (("n1", "n2"), ("n3", "n1")))
        await assert_cut(testbed, (("n1", "n2"), ("n3", "n1")))
        await net.heal("a")
        await assert_cut(testbed, (("n1", "n2"), ("n3", "n1")))
        await net.heal("a")
        await net.heal("never heard of")
        await net.heal("b")
        assert all((await reached(testbed, timeout_s=2)).values())
        await net.cut("a", both(["n1"], ["n2"]))
        await net.cut("c", both(["n2"], ["n3"]))
        await net.heal()
        assert all((await reached(testbed, timeout_s=2)).values())

    case.run(body)


def test_a_restarted_node_is_still_cut(case) -> None:
    async def body(testbed: Testbed) -> None:
        assert all((await reached(testbed, timeout_s=3)).values())
        await testbed.net.cut("a", both(["n1"], ["n2", "n3"]))
        await testbed.node("n1").kill()
        await testbed.node("n1").restart()
        await assert_cut(testbed, both(["n1"], ["n2", "n3"]))

    case.run(body)


def test_delay_is_seen_by_an_echo(case) -> None:
    async def body(testbed: Testbed) -> None:
        net = testbed.net
        assert all((await reached(testbed, timeout_s=3)).values())
        before = await net.round_trip_ms("n1", "n2")
        assert before is not None
        await net.shape("d", both(["n1"], ["n2"]), Shape(delay_ms=60, jitter_ms=10))
        during = await net.round_trip_ms("n1", "n2")
        other = await net.round_trip_ms("n1", "n3")
        await net.heal("d")
        after = await net.round_trip_ms("n1", "n2")
        assert during is not None
        assert other is not None
        assert after is not None
        assert during >= before + 60
        assert during >= 120
        assert max(other, after) < 100

    case.run(body)


def test_no_echo_comes_back_over_a_cut(case) -> None:
    async def body(testbed: Testbed) -> None:
        await testbed.net.cut("a", (("n2", "n1"),))
        assert await testbed.net.round_trip_ms("n1", "n2", timeout_s=0.3) is None

    case.run(body)


def test_counts_grow(case) -> None:
    async def body(testbed: Testbed) -> None:
        before = (await testbed.net.counts())["n1", "n2"]
        await reached(testbed, (("n1", "n2"), ("n2", "n1")), timeout_s=3)
        await testbed.net.round_trip_ms("n1", "n2")
        after = (await testbed.net.counts())["n1", "n2"]
        assert after.sent > before.sent
        assert after.received > before.received

    case.run(body)


def test_clocks_jump_drift_and_are_reset(case) -> None:
    async def body(testbed: Testbed) -> None:
        node = testbed.node("n1")

        async def ahead_ms() -> float:
            seen = await node.observe()
            assert seen.wall_ns is not None
            return (seen.wall_ns - seen.base_wall_ns) / 1e6

        start = await ahead_ms()
        await testbed.clock.jump("n1", 500)
        assert await ahead_ms() - start == pytest.approx(500, abs=20)
        await testbed.clock.jump("n1", -2000)
        assert await ahead_ms() - start == pytest.approx(-1500, abs=20)
        await testbed.clock.reset("n1")
        assert await ahead_ms() == pytest.approx(start, abs=20)
        await testbed.clock.drift("n1", 0.5)
        first = await node.observe()
        await reached(testbed, (("n1", "n2"),))
        await testbed.net.cut("wait", (("n2", "n3"),))
        await reached(testbed, (("n2", "n3"),), timeout_s=0.3)
        last = await node.observe()
        assert first.monotonic_ns is not None
        assert last.monotonic_ns is not None
        speed = (last.monotonic_ns - first.monotonic_ns) / (last.base_ns - first.base_ns)
        assert speed == pytest.approx(1.5, abs=0.1)
        await testbed.clock.reset("n1")

    case.run(body)


def test_events_come_with_times_of_the_test(case) -> None:
    async def body(testbed: Testbed) -> None:
        await testbed.node("n1").kill()
        await testbed.node("n1").restart()

    case.run(body)
    started = [event for event in case.events if event["kind"] == "started"]
    assert sorted(event["node"] for event in started) == ["n1", "n1", "n2", "n3"]
    assert all(0 <= event["time_ns"] < 60e9 for event in started)


def test_every_fault_is_supported_or_explained(case) -> None:
    supports, missing = case.substrate.supports, case.substrate.missing
    assert supports | set(missing) == set(Fault)
    assert not supports & set(missing)
    assert all(len(reason) > 10 for reason in missing.values())


def test_closing_twice_is_closing_once(case) -> None:
    async def body(testbed: Testbed) -> None:
        await testbed.node("n1").pause()
        await testbed.net.cut("a", both(["n2"], ["n3"]))
        await testbed.close()
        for node in testbed.nodes.values():
            assert (await node.observe()).process == "absent"

    case.run(body)
