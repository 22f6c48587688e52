"""The real environment: clocks under faults, guarded callbacks, events, the control verbs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from splitbrain.env.links import LinkCounts
from splitbrain.env.real import RealEnv
from splitbrain.env.verbs import Verbs


class ToyShell:
    """Remembers what came in."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    def start(self) -> None:
        """Nothing."""

    def on_message(self, sender: str, message: Any) -> None:
        self.messages.append((sender, message))

    def status(self) -> Mapping[str, Any]:
        return {"role": "toy"}

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if verb != "greet":
            raise ValueError(f"unknown verb {verb!r}; known: greet")
        return {"hello": arguments["name"]}


class ToyLinks:
    """Links on which only n2 answers."""

    def __init__(self) -> None:
        self.probes: list[tuple[str, int, float]] = []

    def probe_send(self, to: str, nonce: int, wait_s: float) -> bool:
        if to not in ("n2", "n3"):
            raise ValueError(f"unknown peer {to!r}")
        self.probes.append((to, nonce, wait_s))
        return to == "n2"

    def probe_seen(self, nonce: int) -> int | None:
        return 77 if nonce == 5 else None

    async def echo(self, to: str, timeout_s: float) -> float | None:
        return 1.5 if to == "n2" else None

    def counts(self) -> Mapping[str, LinkCounts]:
        return {"n2": LinkCounts(sent=3, received=2, reordered=1, connected=True)}


def run(
    tmp_path: Path, body: Callable[[RealEnv], Coroutine[Any, Any, None]], **more: Any
) -> None:
    async def main() -> None:
        env = RealEnv(
            node="n1", peers=("n1", "n2"), data_dir=str(tmp_path / "data"), seed=1, **more
        )
        try:
            await body(env)
        finally:
            env.close()

    asyncio.run(main())


def test_timers_fire_in_time_and_not_before(tmp_path: Path) -> None:
    async def body(env: RealEnv) -> None:
        begun = env.clock.monotonic_ns()
        fired: list[int] = []
        done = asyncio.Event()
        env.clock.call_at(begun + 30_000_000, lambda: fired.append(env.clock.monotonic_ns()))
        env.clock.call_at(begun + 60_000_000, done.set)
        env.clock.call_at(begun + 40_000_000, lambda: fired.append(0)).cancel()
        env.clock.call_at(begun, lambda: fired.append(-1))
        assert fired == []
        await done.wait()
        assert fired[0] == -1
        assert len(fired) == 2
        assert fired[1] >= begun + 30_000_000

    run(tmp_path, body)


def test_a_drift_moves_timers_that_wait(tmp_path: Path) -> None:
    """Due in 10 s; the clock then runs so fast that it is 10 s later within 0.1 s."""

    async def body(env: RealEnv) -> None:
        done = asyncio.Event()
        due = env.clock.monotonic_ns() + 10_000_000_000
        env.clock.call_at(due, done.set)
        env.real_clock.drift(99.0)
        begun = time.monotonic()
        await asyncio.wait_for(done.wait(), 5)
        assert 0.09 < time.monotonic() - begun < 2
        assert env.clock.monotonic_ns() >= due

    run(tmp_path, body)


def test_a_slow_clock_holds_timers_back_until_reset(tmp_path: Path) -> None:
    async def body(env: RealEnv) -> None:
        done = asyncio.Event()
        env.real_clock.drift(-0.9)
        env.clock.call_at(env.clock.monotonic_ns() + 50_000_000, done.set)
        await asyncio.sleep(0.15)
        assert not done.is_set()
        env.real_clock.reset()
        await asyncio.wait_for(done.wait(), 0.3)

    run(tmp_path, body)


def test_jumps_act_on_the_wall_clock_alone(tmp_path: Path) -> None:
    async def body(env: RealEnv) -> None:
        monotonic, wall = env.clock.monotonic_ns(), env.clock.wall_ns()
        env.real_clock.jump(60_000_000_000)
        env.real_clock.jump(-10_000_000_000)
        assert 50_000_000_000 <= env.clock.wall_ns() - wall < 51_000_000_000
        assert env.clock.monotonic_ns() - monotonic < 1_000_000_000

    run(tmp_path, body)


def test_disk_completions_come_later_and_on_the_loop(tmp_path: Path) -> None:
    async def body(env: RealEnv) -> None:
        done: list[Exception | None] = []
        event = asyncio.Event()
        env.disk.append("log", b"abc")
        env.disk.fsync("log", done.append)
        env.disk.fsync("log", lambda _: event.set())
        assert done == []
        await asyncio.wait_for(event.wait(), 5)
        assert done == [None]

    run(tmp_path, body)


def test_events_are_lines_on_the_machines_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    async def body(env: RealEnv) -> None:
        env.real_clock.drift(1.0)
        before = time.monotonic_ns()
        env.event("leader", term=3)
        line = json.loads(path.read_text())  # there at once
        assert before <= line.pop("base_monotonic_ns") <= time.monotonic_ns()
        assert line == {"node": "n1", "kind": "leader", "term": 3}

    run(tmp_path, body, events=str(path))


def test_a_restarted_node_draws_anew(tmp_path: Path) -> None:
    draws = []

    async def body(env: RealEnv) -> None:
        draws.append(env.random.stream("raft").random())

    run(tmp_path, body)
    run(tmp_path, body)
    assert draws[0] != draws[1]


def test_messages_reach_the_attached_shell(tmp_path: Path) -> None:
    async def body(env: RealEnv) -> None:
        env.receive("n2", "too early")
        shell = ToyShell()
        env.attach(shell)
        env.receive("n2", "hello")
        assert shell.messages == [("n2", "hello")]

    run(tmp_path, body)


@pytest.mark.parametrize("how", ["timer", "message", "disk"])
def test_an_exception_in_a_callback_ends_the_process(tmp_path: Path, how: str) -> None:
    script = """
        import asyncio, sys
        from splitbrain.env.real import RealEnv

        class Shell:
            def on_message(self, sender, message):
                raise RuntimeError("a bug in a callback")

        async def main():
            env = RealEnv(node="n1", peers=("n1",), data_dir=sys.argv[1])
            shell = Shell()
            env.attach(shell)
            bug = lambda *_: shell.on_message("", "")
            if sys.argv[2] == "timer":
                env.clock.call_at(0, bug)
            elif sys.argv[2] == "disk":
                env.disk.fsync("log", bug)
            else:
                env.receive("n2", "hello")
            await asyncio.sleep(10)
            print("still here")

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "data"), how],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 70
    assert "RuntimeError: a bug in a callback" in done.stderr
    assert done.stdout == ""


# -- control verbs -------------------------------------------------------------------------------


def ask(tmp_path: Path, *calls: tuple[str, dict[str, Any]], power: bool = False) -> list[Any]:
    """What the verbs answer; a refusal's text for a ValueError."""
    answers: list[Any] = []

    async def body(env: RealEnv) -> None:
        env.attach(ToyShell())
        verbs = Verbs(env, ToyLinks())
        for verb, arguments in calls:
            try:
                answers.append(dict(await verbs.handle(verb, arguments)))
            except ValueError as error:
                answers.append(str(error))

    run(tmp_path, body, power=power)
    return answers


def test_unknown_verbs_go_to_the_shell(tmp_path: Path) -> None:
    assert ask(tmp_path, ("greet", {"name": "a"}), ("fly", {}), ("status", {})) == [
        {"hello": "a"},
        "unknown verb 'fly'; known: greet",
        {"role": "toy"},
    ]


def test_clock_verbs(tmp_path: Path) -> None:
    before, jumped, still, fast, reset = ask(
        tmp_path,
        ("clock-read", {}),
        ("clock-set", {"offset_ns": 3_600_000_000_000}),
        ("clock-set", {"strobe": {"delta_ns": 7_200_000_000_000, "period_ns": 10**12}}),
        ("clock-set", {"rate": 0.5}),
        ("clock-set", {"reset": True}),
    )
    hour = 3_600_000_000_000
    assert round((jumped["wall_ns"] - before["wall_ns"]) / hour, 2) == 1
    assert round((still["wall_ns"] - before["wall_ns"]) / hour, 2) == 3
    assert fast["monotonic_ns"] >= still["monotonic_ns"]
    assert round((reset["wall_ns"] - before["wall_ns"]) / hour, 2) == 0
    assert reset["monotonic_ns"] - before["monotonic_ns"] < 10**10


@pytest.mark.parametrize(
    ("verb", "arguments", "words"),
    [
        ("clock-set", {"rate": "fast"}, "clock-set: Expected `float"),
        ("clock-set", {"offset_ms": 3}, "offset_ms"),
        ("clock-set", {"rate": -2.0}, "rate -2.0"),
        ("disk-slow", {"extra_ms": -1}, "negative"),
        ("tear", {"seed": 1}, "power: true"),
        ("probe-send", {"to": "n9", "nonce": 1}, "unknown peer 'n9'"),
        ("probe-seen", {}, "nonce"),
        ("echo", {"to": "n3", "timeout_ms": 20}, "nothing came back from n3 within 0.02 s"),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    tmp_path: Path, verb: str, arguments: dict[str, Any], words: str
) -> None:
    (answer,) = ask(tmp_path, (verb, arguments))
    assert isinstance(answer, str)
    assert words in answer


def test_link_verbs(tmp_path: Path) -> None:
    sent, unsent, seen, unseen, echo, counts = ask(
        tmp_path,
        ("probe-send", {"to": "n2", "nonce": 1}),
        ("probe-send", {"to": "n3", "nonce": 1, "wait_s": 0.1}),
        ("probe-seen", {"nonce": 5}),
        ("probe-seen", {"nonce": 6}),
        ("echo", {"to": "n2", "timeout_s": 1}),
        ("link-counts", {}),
    )
    assert (sent["sent"], unsent["sent"]) == (True, False)
    assert seen == {"seen": True, "at_ns": 77}
    assert unseen == {"seen": False, "at_ns": None}
    assert echo["round_trip_ms"] == 1.5
    assert counts["sent"] == {"n2": 3}
    assert counts["received"]["n2"] == {
        "received": 2,
        "duplicates": 0,
        "reordered": 1,
        "lateness_ns": 0,
    }


def test_disk_verbs(tmp_path: Path) -> None:
    slow, counts, torn = ask(
        tmp_path,
        ("disk-slow", {"extra_ms": 12.5}),
        ("disk-counts", {}),
        ("tear", {"seed": 4}),
        power=True,
    )
    assert slow == {"extra_ms": 12.5}
    assert counts == {"appends": 0, "bytes": 0, "fsyncs": 0, "syncs": 0, "errors": 0}
    assert torn == {"file": "", "kept": 0, "lost": 0}
