"""A busy little test whose every event goes into one hash; run as a program it prints the hash.

    python sim_story.py SEED MEGABYTES SIN

SIN is ``none``, or one of the three ways to lose determinism that a plug-in could find.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from sim_toys import MS, Bench, Say, Toy, on_bench

from splitbrain.contracts.fault import Shape
from splitbrain.env import Env

ALL = ("n1", "n2", "n3", "n4", "n5")


class Gossip(Toy):
    """Ticks, gossips, keeps a log, answers clients: with a little of everything."""

    sin = "none"

    def start(self) -> None:
        self.draw = self.env.random.stream("gossip")
        self.count = len(self.env.disk.read("log"))
        self.env.event("start", count=self.count, wall=self.env.clock.wall_ns())
        self._arm()

    def _arm(self) -> None:
        due = self.env.clock.monotonic_ns() + self.draw.randrange(5 * MS, 15 * MS)
        if self.sin == "clock":
            due += time.monotonic_ns() % 1000
        if self.sin == "id":
            due += id(self) // 16 % 1000
        self.env.clock.call_at(due, self._tick)

    def _tick(self) -> None:
        peers = [name for name in self.env.peers if name != self.env.node]
        if self.sin == "set":
            peers = list(set(peers))
        for number, peer in enumerate(peers):
            self.env.transport.send(peer, Say(f"{self.count}.{number}"))
        self._arm()

    def on_message(self, sender: str, message: Say) -> None:
        self.env.event("heard", sender=sender, word=message.word)
        if message.word.startswith("add"):
            self.env.disk.append("log", b"x")
            self.count += 1
            answer = Say(f"{message.word} -> {self.count}")
            self.env.disk.fsync("log", lambda _: self.env.transport.send(sender, answer))


async def story(bench: Bench) -> str:
    testbed, told = bench.testbed, []

    async def client(number: int) -> None:
        for each in range(40):
            node = ALL[(number + each) % 5]
            try:
                answer = await bench.ask(
                    node, f"add{each}", timeout_s=0.05, client=f"c{number}"
                )
            except (OSError, EOFError) as error:
                answer = type(error).__name__
            told.append((testbed.time_ns(), number, node, answer))
            await asyncio.sleep(0.01)

    async def nemesis() -> None:
        await testbed.net.cut("p", tuple((i, j) for i in ALL[:2] for j in ALL[2:]))
        lossy = Shape(loss=0.2, duplicate=0.2, reorder=0.2, corrupt=0.1, jitter_ms=3)
        await testbed.net.shape("s", tuple((i, "n5") for i in ALL), lossy)
        told.append(sorted((await testbed.net.reach((("n1", "n3"), ("n3", "n1")))).items()))
        await testbed.clock.drift("n2", 0.1)
        await testbed.clock.strobe("n3", 100, 10)
        await testbed.node("n4").pause()
        await asyncio.sleep(0.1)
        await testbed.node("n1").power()
        await testbed.node("n4").resume()
        await testbed.slow_disk("n5", 20)
        await testbed.net.heal()
        await testbed.node("n1").restart()
        told.append([repr(each) for each in (await testbed.net.counts()).items()])

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(client(number))
        group.create_task(nemesis())
    text = json.dumps([told, bench.events], sort_keys=True)
    return f"{len(bench.events)} {hashlib.sha256(text.encode()).hexdigest()}"


def run(seed: int, sin: str = "none", options: Mapping[str, Any] | None = None) -> str:
    def build(env: Env) -> Gossip:
        shell = Gossip(env)
        shell.sin = sin
        return shell

    told: str = on_bench(build, story, nodes=ALL, seed=seed, options=options or {})
    return told


if __name__ == "__main__":
    ballast = [bytearray(1000) for _ in range(int(sys.argv[2]) * 1000)]
    sys.stdout.write(run(int(sys.argv[1]), sys.argv[3]))
