"""Which stores live, as their heartbeats tell the leader of PD.

A store's *state* (up, offline, tombstone) is what is wanted of it, and lasts.  Its *liveness* is
what its silence says, and only this leader thinks so: a new one begins by believing that every store
has just spoken, or it would replace all of them before their next heartbeat.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from splitbrain.cluster.messages.pd_types import StoreMeta, StoreState, StoreStats
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.state import PdState

__all__ = ["Liveness", "Stores"]

NOTHING_SAID = StoreStats()


class Liveness(enum.StrEnum):
    """How long a store has been silent."""

    LIVE = "live"
    DISCONNECTED = "disconnected"
    """Gets nothing new, and is expected back."""
    DOWN = "down"
    """What it holds is to be replaced."""


class Stores:
    """What one leader has heard of stores; who they are is in the replicated state."""

    def __init__(self, config: PdConfig, state: PdState, now_ns: int) -> None:
        self._config = config
        self._state = state
        self._since_ns = now_ns
        self._heard_ns: dict[int, int] = {}
        self._stats: dict[int, StoreStats] = {}

    def heartbeat(self, store_id: int, stats: StoreStats, now_ns: int) -> None:
        """It has spoken."""
        self._heard_ns[store_id] = now_ns
        self._stats[store_id] = stats

    def heard(self, store_id: int) -> bool:
        """Has it spoken to this leader?"""
        return store_id in self._heard_ns

    def get(self, store_id: int) -> StoreMeta | None:
        """What it is."""
        return self._state.stores.get(store_id)

    def stats(self, store_id: int) -> StoreStats:
        """What it said last."""
        return self._stats.get(store_id, NOTHING_SAID)

    def all(self) -> Iterator[StoreMeta]:
        """Every store, in the order of their ids."""
        for store_id in sorted(self._state.stores):
            yield self._state.stores[store_id]

    def liveness(self, store_id: int, now_ns: int) -> Liveness:
        """From its silence alone."""
        silent_ns = now_ns - self._heard_ns.get(store_id, self._since_ns)
        if silent_ns > self._config.store_down_ns:
            return Liveness.DOWN
        if silent_ns > self._config.store_disconnected_ns:
            return Liveness.DISCONNECTED
        return Liveness.LIVE

    def usable(self, now_ns: int) -> list[int]:
        """Those that are up and live: sources and targets of every move for balance."""
        return [
            store.id
            for store in self.all()
            if store.state is StoreState.UP and self.liveness(store.id, now_ns) is Liveness.LIVE
        ]
