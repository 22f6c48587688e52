"""Small shells to try the simulator on, and a bench that opens a testbed and runs a test in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Site
from splitbrain.env import Env, Shell
from splitbrain.env.random import Random
from splitbrain.substrates.sim import SimSubstrate
from splitbrain.substrates.sim.testbed import SimTestbed

MS = 1_000_000
PLAIN = {"sim-order": "time", "sim-delay-ms": 1.0, "sim-jitter-ms": 0.0, "sim-fsync-ms": 1.0}


class Say(msgspec.Struct, frozen=True):
    """A word from somebody."""

    word: str


class Toy:
    """A shell that does nothing; others override what they need."""

    def __init__(self, env: Env) -> None:
        self.env = env

    def start(self) -> None:
        return None

    def on_message(self, sender: str, message: Any) -> None:
        return None

    def status(self) -> Mapping[str, Any]:
        return {}

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ValueError(f"unknown verb {verb!r}")


class EchoShell(Toy):
    """Answers what it is asked; ``crash`` makes it fail, ``silence`` gets no answer."""

    def on_message(self, sender: str, message: Say) -> None:
        self.env.event("heard", sender=sender, word=message.word)
        if message.word == "crash":
            raise AssertionError("told to crash")
        if message.word.startswith("tell "):
            _, to, word = message.word.split(" ", 2)
            self.env.transport.send(to, Say(word))
        elif message.word != "silence" and sender.startswith("client:"):
            self.env.transport.send(sender, Say(f"{self.env.node}: {message.word}"))

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if verb == "fall":
            raise RuntimeError("fell")
        if verb == "say":
            for to in arguments["to"]:
                for word in arguments["words"]:
                    self.env.transport.send(to, Say(word))
            return {"said": len(arguments["words"])}
        return super().control(verb, arguments)


class CounterShell(Toy):
    """Counts on disk: ``add`` appends a byte and answers once it is durable, ``get`` counts them."""

    def start(self) -> None:
        self.count = len(self.env.disk.read("count"))
        self.env.event("recovered", count=self.count)

    def on_message(self, sender: str, message: Say) -> None:
        if message.word == "get":
            self.env.transport.send(sender, Say(str(self.count)))
            return
        self.env.disk.append("count", b"x")
        self.count += 1
        count = self.count
        if message.word == "add":
            self.env.disk.fsync(
                "count", lambda error: self.env.transport.send(sender, Say(str(error or count)))
            )

    def status(self) -> Mapping[str, Any]:
        return {"count": self.count}


class TickShell(Toy):
    """Notes its monotonic clock at each tick of 10 ms, for ever."""

    def start(self) -> None:
        self.ticks: list[int] = []
        self._arm()

    def _arm(self) -> None:
        self.due = self.env.clock.monotonic_ns() + 10 * MS
        self.env.clock.call_at(self.due, self._tick)

    def _tick(self) -> None:
        now = self.env.clock.monotonic_ns()
        assert now >= self.due, "a timer fired early"
        self.ticks.append(now)
        self.env.event("tick", late_ns=now - self.due)
        self._arm()

    def status(self) -> Mapping[str, Any]:
        return {"ticks": len(self.ticks)}


class Bench:
    """One testbed with the same program on every node."""

    def __init__(self, testbed: SimTestbed, events: list[Mapping[str, Any]]) -> None:
        self.testbed = testbed
        self.events = events

    def heard(self, node: str) -> list[str]:
        """Words that the node's shell has been given, in order."""
        return [e["word"] for e in self.events if e["kind"] == "heard" and e["node"] == node]

    async def ask(
        self, node: str, word: str, *, timeout_s: float = 1.0, client: str = "c"
    ) -> str:
        answer: Say = await self.testbed.caller(client).call(
            node, Say(word), timeout_s=timeout_s
        )
        return answer.word

    async def say(self, node: str, to: list[str], words: list[str]) -> None:
        await self.testbed.node(node).control("say", {"to": to, "words": words})


def site(
    nodes: tuple[str, ...] = ("n1", "n2", "n3"),
    seed: int = 1,
    options: Mapping[str, Any] = PLAIN,
    events: list[Mapping[str, Any]] | None = None,
    directory: str | None = None,
) -> Site:
    spec = TestSpec(
        workload="toy", substrate="sim", nodes=nodes, seed=seed, options=dict(options)
    )
    return Site(
        spec=spec,
        directory=directory,
        label="test",
        random=Random(seed),
        journal=NullJournal(),
        events=(events if events is not None else []).append,
    )


def on_bench(
    build: Callable[[Env], Shell],
    test: Callable[[Bench], Awaitable[Any]],
    **how: Any,
) -> Any:
    """Run ``test`` against started nodes and return what it returns."""
    substrate = SimSubstrate()
    events: list[Mapping[str, Any]] = []

    async def main() -> Any:
        testbed = await substrate.open(site(events=events, **how))
        for node in testbed.nodes.values():
            await node.start(Program(name="toy", build=build))
        try:
            return await test(Bench(testbed, events))
        finally:
            await testbed.close()

    return substrate.run(main)
