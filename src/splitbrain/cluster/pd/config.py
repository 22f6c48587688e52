"""What one member of the placement driver is told at start.

TiKV's PD waits long before it acts (a store counts as down after half an hour); runs of minutes
would never see it do so.  Its times are shortened here, and ``scale`` multiplies all of them, as it
does those of a store.

    >>> config = PdConfig(node="n2", nodes=("n1", "n2", "n3"), scale=0.5)
    >>> config.member_id, config.tso_window_ms, config.store_down_ns
    (2, 1500, 30000000000)
    >>> config.with_options({"location-labels": "dc,rack", "snapshot-every": 9}).location_labels
    ('dc', 'rack')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.cluster.raft.types import RaftConfig
from splitbrain.errors import RequestError

__all__ = ["PD_KNOBS", "PdConfig"]

NS = 1_000_000_000

PD_KNOBS: Mapping[str, str] = {
    "replicas": "peers that each region should have",
    "location-labels": "labels from the widest to the narrowest place, joined by commas",
    "joint-changes": "replace a peer in one joint change; no: an addition, then a removal",
    "balance-leaders": "move leaderships towards stores that have fewer",
    "balance-regions": "move peers towards stores that hold less",
    "leader-tolerance": "leaderships by which stores may differ to either side of the middle",
    "region-tolerance": "likewise peers, in average regions",
    "tso-window-s": "how far the stored bound of timestamps is ahead, before scaling",
    "id-block": "ids that PD reserves at once",
    "store-down-s": "a store silent for so long is replaced, before scaling",
    "region-heartbeat-s": "between heartbeats of a region when nothing changes, before scaling",
    "pd-snapshot-every": "applied entries between two snapshots of PD's own state",
}
"""Options of PD by their command-line name: what they do."""


class PdConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One member's configuration; lengths of time are before scaling.

    Attributes:
        node: own name.
        nodes: names of all members, 1 or 3 of them; a member's id is its position, from 1.
        cluster_id: told in every answer; a request that names another is refused.
        scale: multiplies all times.
        heartbeat_s: between two heartbeats of PD's own Raft group.
        election_s: lower bound of its randomised election timeout.
        ticks_per_election: ticks in one election timeout.
        bugs: seeded bugs, by name.
        tso_window_s: how far the stored bound of timestamps is ahead.  (TiKV: 3 s)
        id_block: ids taken at once.
        pd_snapshot_every: applied entries between two snapshots of PD's own state.
        pd_snapshot_tail: entries kept behind a snapshot, for members a little behind.
        max_pending: requests held at once before PD says that it is busy.
        replicas: peers that each region should have.
        location_labels: labels from the widest to the narrowest place, such as ("dc", "rack"); two
            peers of a region should not share one.
        joint_changes: replace a peer in one joint change instead of an addition and a removal.
        balance_leaders: move leaderships towards stores that have fewer.
        balance_regions: move peers towards stores that hold less.
        leader_tolerance: leaderships by which stores may differ, to either side of the middle.
        region_tolerance: likewise peers, in units of the average region.  (TiKV: 5 and more)
        leader_operators: moves of leaderships at once.  (TiKV: 4)
        replica_operators: repairs at once.  (TiKV: 64)
        region_operators: moves for balance at once.
        store_additions: peers on their way to one store at once.
        store_heartbeat_s: between a store's heartbeats.  (TiKV: 10 s)
        region_heartbeat_s: between a region's heartbeats when nothing changes.  (TiKV: 60 s)
        store_disconnected_s: a store silent for so long gets nothing new.  (TiKV: 20 s)
        store_down_s: one silent for so long is replaced.  (TiKV: 1800 s)
        schedule_s: between two looks of the schedulers.
        fast_step_s: how long a step may take: moving a leadership, promotion, removal.
        slow_step_s: likewise adding a peer, with its snapshot.
        resend_s: a step is told again when it is not done after so long.
    """

    node: str
    nodes: tuple[str, ...]
    cluster_id: int = 1
    scale: float = 1.0
    heartbeat_s: float = 1.0
    election_s: float = 3.0
    ticks_per_election: int = 30
    bugs: tuple[str, ...] = ()
    tso_window_s: float = 3.0
    id_block: int = 1000
    pd_snapshot_every: int = 1000
    pd_snapshot_tail: int = 100
    max_pending: int = 10_000
    replicas: int = 3
    location_labels: tuple[str, ...] = ()
    joint_changes: bool = True
    balance_leaders: bool = True
    balance_regions: bool = True
    leader_tolerance: int = 1
    region_tolerance: float = 1.0
    leader_operators: int = 4
    replica_operators: int = 64
    region_operators: int = 8
    store_additions: int = 4
    store_heartbeat_s: float = 1.0
    region_heartbeat_s: float = 6.0
    store_disconnected_s: float = 6.0
    store_down_s: float = 60.0
    schedule_s: float = 1.0
    fast_step_s: float = 12.0
    slow_step_s: float = 60.0
    resend_s: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        if self.node not in self.nodes:
            raise RequestError(
                f"{self.node!r} is no member of the placement driver on {', '.join(self.nodes)}"
            )
        if self.scale <= 0 or self.tso_window_ms < 2:
            raise RequestError(f"scale {self.scale} leaves no time for a window of timestamps")
        if self.replicas < 1 or self.id_block < 1:
            raise RequestError("replicas and id_block of the placement driver must be positive")
        if self.store_disconnected_s > self.store_down_s:
            raise RequestError(
                f"a store cannot be down ({self.store_down_s} s) before it is disconnected "
                f"({self.store_disconnected_s} s)"
            )

    @property
    def member_id(self) -> int:
        """This member's number on the wire."""
        return self.nodes.index(self.node) + 1

    @property
    def tick_ns(self) -> int:
        """Length of one Raft tick."""
        return int(self.election_s * self.scale * 1e9) // self.ticks_per_election

    @property
    def tso_window_ms(self) -> int:
        """See ``tso_window_s``, scaled."""
        return int(self.tso_window_s * self.scale * 1000)

    def ns(self, seconds: float) -> int:
        """One of the times above, scaled, in nanoseconds."""
        return int(seconds * self.scale * NS)

    @property
    def store_disconnected_ns(self) -> int:
        """See ``store_disconnected_s``, scaled."""
        return self.ns(self.store_disconnected_s)

    @property
    def store_down_ns(self) -> int:
        """See ``store_down_s``, scaled."""
        return self.ns(self.store_down_s)

    def raft(self) -> RaftConfig:
        """What the Raft core is told."""
        ticks = self.ticks_per_election
        return RaftConfig(
            node=self.node,
            voters=self.nodes,
            election_ticks=ticks,
            heartbeat_ticks=max(1, round(ticks * self.heartbeat_s / self.election_s)),
            tick_ns=self.tick_ns,
        )

    def with_options(self, options: Mapping[str, str | int | float | bool]) -> PdConfig:
        """This configuration with :data:`PD_KNOBS` set; options of other names are passed over.

        Raises:
            RequestError: a value that is not of the option's kind.
        """
        changes: dict[str, Any] = {}
        for name, value in options.items():
            if name in PD_KNOBS:
                words = name == "location-labels"
                changes[name.replace("-", "_")] = str(value).split(",") if words else value
        try:
            return msgspec.convert(msgspec.to_builtins(self) | changes, PdConfig, strict=False)
        except msgspec.ValidationError as error:
            raise RequestError(f"options of the placement driver: {error}") from error
