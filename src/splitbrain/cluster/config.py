"""What one store is told at start: a frozen record, JSON both ways.

Protocol times are TiKV's divided by about three (heartbeat 1 s, election timeout T = 3 s, lease
2 s), and ``scale`` multiplies all of them; a third gives T = 1 s.  Everything that makes rare
windows wider without changing a promise is a knob, and :data:`KNOBS` names each as ``--option``
does.

    >>> config = StoreConfig(node="n1", nodes=("n1", "n2", "n3"), scale=0.5)
    >>> config.election_timeout_s, round(config.lease_drift_bound, 3)
    (1.5, 0.137)
    >>> StoreConfig.from_json(config.to_json()) == config
    True
    >>> config.with_options({"snapshot-every": 50}).snapshot_every
    50
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.cluster.raft.types import ASSERTIONS, RaftConfig
from splitbrain.errors import RequestError, UnknownName

__all__ = ["KNOBS", "LEASE_MARGIN", "StoreConfig", "lease_drift_bound"]

LEASE_MARGIN = 1.1
"""A follower's promise must outlast the lease by a tenth, whatever the clocks do."""

KNOBS: Mapping[str, str] = {
    "lease-reads": "serve reads from the leader's lease instead of a ReadIndex round",
    "entries-per-append": "entries in one append message",
    "inflight": "append messages with entries on their way to one follower",
    "snapshot-every": "applied entries between two snapshots",
    "snapshot-tail": "entries kept in memory behind a snapshot, for followers a little behind",
    "slow-apply-ms": "up to so long between commit and apply, drawn anew for each batch",
    "slow-commit-ms": "delay of messages that only tell followers what is committed",
    "election-timeouts": "fixed timeouts in units of T, such as n1=1.0,n2=1.5, or *=1.2 for all",
    "assertions-off": "Raft assertions that must not stop a node, joined by commas",
    "max-pending": "requests that a store holds at once before it says that it is busy",
    "max-entry-bytes": "largest write",
    "split-keys": "stored keys of a region above which it asks PD for a split; 0: never",
}
"""Options of a store by their command-line name: what they do."""

_LEAST: Mapping[str, float] = {
    "entries_per_append": 1,
    "inflight": 1,
    "max_pending": 1,
    "snapshot_every": 1,
    "snapshot_tail": 0,
    "split_keys": 0,
    "slow_apply_ms": 0,
    "slow_commit_ms": 0,
}


def lease_drift_bound(election_s: float, tick_s: float, lease_s: float) -> float:
    """The largest clock drift d under which a lease read is safe; not positive: none is.

    The leader's clock may run slow by d while the followers' run fast by d.  A follower that has
    just heard the leader refuses to vote for (election - tick) / (1 + d) of true time; a lease
    lasts lease / (1 - d).  Safe while the first is more than 1.1 times the second.
    """
    promise, lease = election_s - tick_s, LEASE_MARGIN * lease_s
    return (promise - lease) / (promise + lease)


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One store's configuration.

    Attributes:
        node: own name.
        nodes: names of all stores; a store's id is its position here, from 1.
        scale: multiplies heartbeat_s, election_s and lease_s.
        heartbeat_s: between two heartbeats, before scaling.
        election_s: lower bound of the randomised election timeout, before scaling.
        lease_s: how long a confirmed heartbeat allows local reads, before scaling.
        ticks_per_election: at least 30, so that a tick is at most 1/30 of the timeout.
        mode: ``raw`` or ``txn``; a request of the other kind gets MismatchMode.
        pd: names of the members of the placement driver; without any nothing is sent.
        store_heartbeat_s: between a store's heartbeats to PD, before scaling.
        region_heartbeat_s: between those of a region when nothing changes, before scaling.
        first_stores: which stores hold the first region at the beginning; empty: all.
        bugs: seeded bugs, by name.
        election_timeouts: node (or ``*``) -> fixed timeout in units of T, at least 1.
        others: see :data:`KNOBS`.
    """

    node: str
    nodes: tuple[str, ...]
    scale: float = 1.0
    heartbeat_s: float = 1.0
    election_s: float = 3.0
    lease_s: float = 2.0
    ticks_per_election: int = 30
    mode: str = "raw"
    first_stores: tuple[str, ...] = ()
    pd: tuple[str, ...] = ()
    store_heartbeat_s: float = 1.0
    region_heartbeat_s: float = 6.0
    split_keys: int = 0
    bugs: tuple[str, ...] = ()
    lease_reads: bool = False
    entries_per_append: int = 64
    inflight: int = 256
    snapshot_every: int = 10_000
    snapshot_tail: int = 1_000
    slow_apply_ms: float = 0.0
    slow_commit_ms: float = 0.0
    election_timeouts: Mapping[str, float] = {}
    assertions_off: tuple[str, ...] = ()
    max_pending: int = 10_000
    max_entry_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        if self.node not in self.nodes:
            raise RequestError(f"node {self.node!r} is not one of {', '.join(self.nodes)}")
        if self.ticks_per_election < 30:
            raise RequestError(f"ticks_per_election {self.ticks_per_election} must be >= 30")
        for field, least in _LEAST.items():
            if getattr(self, field) < least:
                raise RequestError(f"{field} {getattr(self, field)} must be at least {least}")
        for name in self.assertions_off:
            if name not in ASSERTIONS:
                raise UnknownName("assertion", name, ASSERTIONS)
        for name in self.first_stores:
            if name not in self.nodes:
                raise RequestError(
                    f"first store {name!r} is not one of {', '.join(self.nodes)}"
                )
        self._check_times()

    def _check_times(self) -> None:
        if self.scale <= 0:
            raise RequestError(f"scale {self.scale} must be positive")
        for node, factor in self.election_timeouts.items():
            if node != "*" and node not in self.nodes:
                raise UnknownName("node in election-timeouts", node, self.nodes)
            if factor < 1:
                raise RequestError(f"election-timeouts: {node}={factor} must be at least 1")
        if self.lease_reads and self.lease_drift_bound <= 0:
            raise RequestError(
                f"lease-reads: a lease of {self.lease_s} s is unsafe with an election timeout of "
                f"{self.election_s} s even on perfect clocks; shorten lease_s"
            )

    @property
    def election_timeout_s(self) -> float:
        """T: the lower bound of the randomised election timeout, scaled."""
        return self.election_s * self.scale

    @property
    def tick_ns(self) -> int:
        """Length of one Raft tick."""
        return int(self.election_timeout_s * 1e9) // self.ticks_per_election

    @property
    def lease_drift_bound(self) -> float:
        """See :func:`lease_drift_bound`; scaling does not change it."""
        tick_s = self.election_s / self.ticks_per_election
        return lease_drift_bound(self.election_s, tick_s, self.lease_s)

    @property
    def founders(self) -> tuple[str, ...]:
        """The stores that hold the first region at the beginning."""
        return self.first_stores or self.nodes

    @property
    def store_id(self) -> int:
        """This store's number on the wire."""
        return self.nodes.index(self.node) + 1

    def raft(self) -> RaftConfig:
        """What the Raft core is told."""
        ticks = self.ticks_per_election
        fixed = self.election_timeouts.get(self.node, self.election_timeouts.get("*"))
        return RaftConfig(
            node=self.node,
            voters=self.nodes,
            election_ticks=ticks,
            heartbeat_ticks=max(1, round(ticks * self.heartbeat_s / self.election_s)),
            election_timeout_ticks=None if fixed is None else round(fixed * ticks),
            max_entries_per_append=self.entries_per_append,
            max_inflight=self.inflight,
            lease_reads=self.lease_reads,
            lease_ns=int(self.lease_s * self.scale * 1e9),
            tick_ns=self.tick_ns,
            assertions_off=frozenset(self.assertions_off),
        )

    def with_options(self, options: Mapping[str, str | int | float | bool]) -> StoreConfig:
        """This configuration with :data:`KNOBS` set; options of other names are passed over.

        Raises:
            RequestError: a value that is not of the option's kind.
        """
        changes: dict[str, Any] = {}
        for name, value in options.items():
            if name in KNOBS:
                field = name.replace("-", "_")
                changes[field] = _convert(name, value, getattr(self, field))
        raw = msgspec.to_builtins(self) | changes
        return msgspec.convert(raw, StoreConfig)

    def to_json(self) -> bytes:
        """One line of JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> StoreConfig:
        """The configuration of ``to_json``'s bytes."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise RequestError(f"store configuration: {error}; see StoreConfig") from error


def _convert(name: str, value: str | int | float | bool, like: Any) -> Any:
    """``value`` as the kind of thing that ``like`` is."""
    try:
        if isinstance(like, tuple):
            return [part for part in str(value).split(",") if part]
        if isinstance(like, Mapping):
            pairs = [part.split("=") for part in str(value).split(",") if part]
            return {node: float(factor) for node, factor in pairs}
        if isinstance(like, bool):
            return msgspec.convert(value, bool, strict=False)
        return msgspec.convert(value, type(like), strict=False)
    except (ValueError, msgspec.ValidationError) as error:
        raise RequestError(
            f"option {name}={value!r} is not a {type(like).__name__}: {KNOBS[name]}"
        ) from error
