"""How fast the simulator is: callbacks, sleeps, messages between nodes, calls of clients.

    python benchmarks/simloop.py

Prints events for each second of processor time, one core.  Nothing is asserted: machines differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Site
from splitbrain.env import Env
from splitbrain.env.random import Random
from splitbrain.substrates.sim import SimSubstrate
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.testbed import SimTestbed

OPTIONS = {"sim-order": "time", "sim-delay-ms": 0.5, "sim-jitter-ms": 1.0, "sim-fsync-ms": 0.5}


class Ball(msgspec.Struct, frozen=True):
    """A message that is sent on for ever."""

    number: int


class Player:
    """Sends each message on to the next node; answers clients."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.next = env.peers[(env.peers.index(env.node) + 1) % len(env.peers)]
        self.received = 0

    def start(self) -> None:
        """Throw some balls."""
        for number in range(100):
            self.env.transport.send(self.next, Ball(number))

    def on_message(self, sender: str, message: Any) -> None:
        """On it goes."""
        self.received += 1
        self.env.transport.send(self.next if sender[0] == "n" else sender, message)

    def status(self) -> Mapping[str, Any]:
        """How many came."""
        return {"received": self.received}

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Nothing."""
        raise ValueError(verb)


class Ticker(Player):
    """Arms a timer at each timer, syncs one byte at each hundredth."""

    def start(self) -> None:
        """Arm a hundred timers."""
        for number in range(100):
            self.env.clock.call_at(self.env.clock.monotonic_ns() + number * 7919, self.tick)

    def tick(self) -> None:
        """And again."""
        self.received += 1
        if self.received % 100 == 0:
            self.env.disk.append("log", b"x")
            self.env.disk.fsync("log", lambda _: None)
        self.env.clock.call_at(self.env.clock.monotonic_ns() + 1_000_000, self.tick)


def show(what: str, count: int, seconds: float) -> None:
    """One line."""
    print(f"{what:<42}{count / seconds:>12,.0f} /s{seconds / count * 1e6:>9.2f} us each")


def callbacks(count: int = 500_000) -> None:
    """The bare loop."""
    for what, post in (("post_ns", False), ("call_later", True)):
        loop = SimLoop()
        done = loop.create_future()
        left = count

        def tick(_: Any, loop: SimLoop = loop, done: Any = done, later: bool = post) -> None:
            nonlocal left
            left -= 1
            if left > 0:
                if later:
                    loop.call_later(0.001, tick, None)
                else:
                    loop.post_ns(loop.now_ns + 1_000_000, tick, None)
            elif not done.done():
                done.set_result(None)

        for number in range(100):
            loop.post_ns(number + 1, tick, None)
        began = time.process_time()
        loop.run_until_complete(done)
        show(f"callbacks by {what}", count, time.process_time() - began)


def sleeps(count: int = 100_000) -> None:
    """Tasks that sleep."""

    async def main() -> None:
        async def one() -> None:
            for _ in range(count // 10):
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one() for _ in range(10)))

    began = time.process_time()
    SimLoop().run(main)
    show("sleeps of 10 tasks", count, time.process_time() - began)


def on_testbed(what: str, build: Callable[[Env], Player], measure: Any) -> None:
    """Run ``measure`` on five nodes; it returns how many events it counts."""
    substrate = SimSubstrate()

    async def main() -> tuple[int, float]:
        spec = TestSpec(workload="none", options=OPTIONS, time_limit_s=3600)
        random = Random(1)
        site = Site(
            spec=spec,
            directory=None,
            label="",
            random=random,
            journal=NullJournal(),
            events=print,
        )
        testbed = await substrate.open(site)
        for node in testbed.nodes.values():
            await node.start(Program(name="player", build=build))
        began = time.process_time()
        count = await measure(testbed)
        seconds = time.process_time() - began
        await testbed.close()
        return count, seconds

    show(what, *substrate.run(main))


async def received(testbed: SimTestbed) -> int:
    """Two virtual seconds of whatever the nodes do."""
    await asyncio.sleep(2)
    told = [await node.control("status", {}) for node in testbed.nodes.values()]
    return sum(each["received"] for each in told)


async def calls(testbed: SimTestbed) -> int:
    """Clients that call one after the other."""

    async def client(number: int) -> None:
        caller = testbed.caller(str(number))
        for each in range(2000):
            await caller.call(f"n{each % 5 + 1}", Ball(each), timeout_s=5)

    await asyncio.gather(*(client(number) for number in range(10)))
    return 20_000


class Quiet(Player):
    """Answers clients only."""

    def start(self) -> None:
        """Nothing."""


if __name__ == "__main__":
    callbacks()
    sleeps()
    on_testbed("messages between 5 nodes", Player, received)
    on_testbed("node timers (and a sync at each hundredth)", Ticker, received)
    on_testbed("client calls, there and back", Quiet, calls)
