"""What a step of the Raft core costs: a group of five that agrees on writes and reads, no faults.

    python benchmarks/raft_steps.py [operations]

Everything is in memory; disks and network are instant.  Prints processor time; never asserts.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter, deque

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import Message, MessageKind, RaftConfig, Restored

NAMES = ("a", "b", "c", "d", "e")


class Group:
    def __init__(self) -> None:
        self.rafts = {
            name: Raft(RaftConfig(node=name, voters=NAMES), Restored(), random.Random(name))
            for name in NAMES
        }
        self.wire: deque[Message] = deque()
        self.steps = 0
        self.readys = 0
        self.kinds: Counter[str] = Counter()

    def pump(self, raft: Raft) -> None:
        while raft.has_ready():
            ready = raft.ready()
            self.readys += 1
            self.wire.extend(ready.messages)
            self.wire.extend(ready.after_persist)
            raft.persisted(ready.number)
            if ready.committed:
                raft.applied(ready.committed[-1].index)

    def settle(self) -> None:
        while self.wire:
            message = self.wire.popleft()
            raft = self.rafts[message.to]
            raft.step(message, 0)
            self.steps += 1
            self.kinds[MessageKind(message.kind).name.lower()] += 1
            self.pump(raft)


def measure(name: str, operations: int, *, read: bool) -> None:
    group = Group()
    leader = group.rafts["a"]
    leader.campaign()
    group.pump(leader)
    group.settle()
    group.steps = group.readys = 0
    group.kinds.clear()
    start = time.process_time()
    for number in range(operations):
        if read:
            leader.read_index(b"%d" % number, 0)
        else:
            leader.propose(b"x" * 64)
        group.pump(leader)
        group.settle()
    seconds = time.process_time() - start
    print(
        f"{name}: {operations / seconds:,.0f} operations/s, "
        f"{group.steps / operations:.1f} messages and {group.readys / operations:.1f} readys each, "
        f"{seconds / group.steps * 1e6:.2f} us per message (step, ready, persisted, applied)"
    )


def ticks(count: int) -> None:
    group = Group()
    leader = group.rafts["a"]
    leader.campaign()
    group.pump(leader)
    group.settle()
    start = time.process_time()
    for number in range(count):
        for raft in group.rafts.values():
            raft.tick(number)
            if raft.has_ready():
                group.pump(raft)
        group.settle()
    seconds = time.process_time() - start
    print(f"idle ticks: {seconds / count / len(NAMES) * 1e6:.2f} us per tick and node")


if __name__ == "__main__":
    amount = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    measure("writes", amount, read=False)
    measure("reads ", amount, read=True)
    ticks(amount)
