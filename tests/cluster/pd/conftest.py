"""A small world of PD's members: wall clocks that jump, messages that are late, doubled or lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from splitbrain.cluster.messages import PdRaftBatch
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.factory import build_pd

MS = 1_000_000
EPOCH_NS = 1_700_000_000_000 * MS


class PdMembers:
    """What is PD's own in a world.

    ``order`` has of each request when it was sent and when its answer came, as numbers of moments:
    finer than the clock.
    """

    def __init__(self, *, seed: int = 1, size: int = 3, **options: Any):
        nodes = tuple(f"n{number}" for number in range(1, size + 1))
        super().__init__(nodes, seed=seed, **options)
        self.wall_offset_ns = dict.fromkeys(nodes, 0)
        self.slow_ms = 0.0
        self.loss = self.doubling = 0.0
        self.draws = self.random.stream("links")
        self.order: dict[str, tuple[int, int]] = {}
        self.moments = 0

    def start(self, *names: str) -> None:
        for name in names or self.nodes:
            config = PdConfig(node=name, nodes=self.nodes, **self.options)
            self.stores[name] = node = build_pd(config, self._env(name))
            node.start()

    def _env(self, name: str) -> Any:
        env = super()._env(name)
        env.clock.wall_ns = lambda: EPOCH_NS + self.now + self.wall_offset_ns[name]
        return env

    def ask(self, node: str, request: Any) -> str:
        token: str = super().ask(node, request)
        self.moments += 1
        self.order[token] = (self.moments, 0)
        return token

    def _send(self, sender: str, to: str, message: Any) -> None:
        if to in self.order:
            self.moments += 1
            self.order[to] = (self.order[to][0], self.moments)
        if type(message) is not PdRaftBatch:
            super()._send(sender, to, message)
            return
        if (sender, to) in self.cuts or self.draws.random() < self.loss:
            return
        for _ in range(1 + (self.draws.random() < self.doubling)):
            delay = self.latency_ns + int(self.draws.random() * self.slow_ms * MS)
            self.at(self.now + delay, partial(self._deliver, sender, to, message))

    def serving(self) -> list[str]:
        return [name for name, node in self.stores.items() if node.status().get("serves")]

    def leader(self, milliseconds: float = 20_000) -> str:
        """Run until one serves; of several, which can be for a while, the latest."""
        assert self.run_ms(milliseconds, lambda: bool(self.serving())), "nobody serves"
        return max(self.serving(), key=lambda one: self.stores[one].status()["term"])

    def ask_leader(self, request: Any, milliseconds: float = 10_000) -> Any:
        return self.call(self.leader(), request, milliseconds)


@pytest.fixture(scope="session")
def pd_world(new_world: type[Any]) -> type[Any]:
    """Makes a world of members."""
    return type("PdWorld", (PdMembers, new_world), {})
