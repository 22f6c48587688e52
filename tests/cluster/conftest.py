"""A world of a few stores in memory: one heap of events, disks that can lose power, links to cut.

Smaller and dumber than the simulator, so that the store is tested without it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.factory import build_store
from splitbrain.env.random import Random

MS = 1_000_000


class FakeDisk:
    """Files as written and as durable; ``later(delay_ns, callback)`` completes what was asked."""

    def __init__(self, later: Callable[[int, Callable[[], None]], None]) -> None:
        self.later = later
        self.written: dict[str, bytes] = {}
        self.durable: dict[str, bytes] = {}
        self.sync_ns = MS
        self.fail: Exception | None = None
        self.syncs = 0

    def files(self) -> tuple[str, ...]:
        return tuple(sorted(self.written))

    def read(self, name: str) -> bytes:
        return self.written.get(name, b"")

    def append(self, name: str, data: bytes) -> None:
        assert type(data) is bytes
        self.written[name] = self.written.get(name, b"") + data

    def fsync(self, name: str, done: Callable[[Exception | None], None]) -> None:
        content = self.written.get(name, b"")

        def complete() -> None:
            self.syncs += 1
            if self.fail is None:
                self.durable[name] = content
            done(self.fail)

        self.later(self.sync_ns, complete)

    def replace(self, name: str, data: bytes, done: Callable[[Exception | None], None]) -> None:
        def complete() -> None:
            self.syncs += 1
            if self.fail is None:
                self.written[name] = self.durable[name] = data
            done(self.fail)

        self.later(self.sync_ns, complete)

    def remove(self, name: str) -> None:
        self.written.pop(name, None)

    def lose_power(self, torn_bytes: int = 0) -> None:
        """Only what is durable stays, and ``torn_bytes`` of what was on its way."""
        for name, content in list(self.written.items()):
            durable = self.durable.get(name, b"")
            if content.startswith(durable):
                durable += content[len(durable) : len(durable) + torn_bytes]
            self.written[name] = self.durable[name] = durable


class World:
    """Stores on one virtual clock."""

    def __init__(
        self,
        nodes: tuple[str, ...] = ("n1", "n2", "n3"),
        *,
        seed: int = 1,
        make: Callable[[StoreConfig, Any], Any] = build_store,
        **options: Any,
    ) -> None:
        self.make = make
        self.nodes = nodes
        self.options = {"scale": 1 / 3, **options}
        self.now = 0
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.sequence = 0
        self.random = Random(seed)
        self.incarnations = dict.fromkeys(nodes, 0)
        self.stores: dict[str, Any] = {}
        self.disks = {name: FakeDisk(partial(self._later, name)) for name in nodes}
        self.cuts: set[tuple[str, str]] = set()
        self.latency_ns = MS
        self.replies: dict[str, Any] = {}
        self.events: list[tuple[str, str, Mapping[str, Any]]] = []
        self.sent = 0
        self.tokens = 0

    # time

    def at(self, when: int, callback: Callable[[], None]) -> None:
        self.sequence += 1
        heapq.heappush(self.heap, (max(when, self.now), self.sequence, callback))

    def _later(self, node: str, delay_ns: int, callback: Callable[[], None]) -> None:
        """Unless the node has died since."""
        incarnation = self.incarnations[node]

        def run() -> None:
            if self.incarnations[node] == incarnation and node in self.stores:
                callback()

        self.at(self.now + delay_ns, run)

    def run_ms(self, milliseconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        end = self.now + int(milliseconds * MS)
        while self.heap and self.heap[0][0] <= end:
            if until():
                return True
            self.now, _, callback = heapq.heappop(self.heap)
            callback()
        self.now = end
        return until()

    # nodes

    def start(self, *names: str) -> None:
        for name in names or self.nodes:
            env = self._env(name)
            config = StoreConfig(node=name, nodes=self.nodes, **self.options)
            assert name not in self.stores, f"{name} runs already"
            self.stores[name] = store = self.make(config, env)
            store.start()

    def mend(self) -> None:
        """Start the nodes that are down; join all links."""
        self.cuts.clear()
        down = [name for name in self.nodes if name not in self.stores]
        if down:
            self.start(*down)

    def _env(self, name: str) -> Any:
        def call_at(when: int, callback: Callable[[], None]) -> Any:
            dead = []

            def run() -> None:
                if not dead:
                    callback()

            self._later(name, max(0, when - self.now), run)
            return SimpleNamespace(cancel=lambda: dead.append(True))

        def event(kind: str, /, **fields: Any) -> None:
            self.events.append((name, kind, fields))

        return SimpleNamespace(
            node=name,
            peers=self.nodes,
            clock=SimpleNamespace(
                monotonic_ns=lambda: self.now, wall_ns=lambda: self.now, call_at=call_at
            ),
            random=self.random.child(name),
            disk=self.disks[name],
            transport=SimpleNamespace(send=partial(self._send, name)),
            event=event,
            log=lambda line: None,
        )

    def kill(self, *names: str) -> None:
        for name in names:
            self.stores.pop(name, None)
            self.incarnations[name] += 1

    def power(self, *names: str, torn_bytes: int = 0) -> None:
        self.kill(*names)
        for name in names:
            self.disks[name].lose_power(torn_bytes)

    # messages

    def _send(self, sender: str, to: str, message: Any) -> None:
        self.sent += 1
        if to not in self.nodes:
            assert to not in self.replies, "answered twice"
            self.replies[to] = message
        elif (sender, to) not in self.cuts:
            self.at(self.now + self.latency_ns, partial(self._deliver, sender, to, message))

    def _deliver(self, sender: str, to: str, message: Any) -> None:
        if to in self.stores:
            self.stores[to].on_message(sender, message)

    def isolate(self, name: str) -> None:
        for other in self.nodes:
            if other != name:
                self.cuts |= {(name, other), (other, name)}

    def ask(self, node: str, request: Any) -> str:
        """Send a client's request; ``replies`` gets the answer under the token returned."""
        self.tokens += 1
        token = f"client-{self.tokens}"
        self.at(self.now, partial(self._deliver, token, node, request))
        return token

    def call(self, node: str, request: Any, milliseconds: float = 5000) -> Any:
        """Ask, and run until the answer is there."""
        token = self.ask(node, request)
        self.run_ms(milliseconds, lambda: token in self.replies)
        return self.replies.get(token)

    # looks

    def leader(self, milliseconds: float = 10_000) -> str:
        """Run until some store of the highest term leads and can serve; its name."""

        def find() -> str:
            states = [(s.status(), n) for n, s in self.stores.items()]
            terms = [(one.get("term", 0), one["role"] == "leader", n) for one, n in states]
            _, leads, name = max(terms)
            status = self.stores[name].status()
            return name if leads and status["applied"] == status["last"] else ""

        assert self.run_ms(milliseconds, lambda: bool(find())), "no leader"
        return find()

    def digests(self) -> set[str]:
        return {store.control("dump", {})["digest"] for store in self.stores.values()}


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    """Makes a world."""
    return World


@pytest.fixture(scope="session")
def new_disk() -> type[FakeDisk]:
    """Makes a disk."""
    return FakeDisk
