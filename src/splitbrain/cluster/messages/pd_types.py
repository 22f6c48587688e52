"""What the placement driver speaks of: timestamps, stores, regions as placed, steps of operators.

A timestamp is physical milliseconds << 18 | logical.

    >>> compose_ts(5, 7), split_ts(compose_ts(5, 7))
    (1310727, (5, 7))
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.region import Epoch, Peer, Region

__all__ = [
    "LOGICAL_BITS",
    "MAX_LOGICAL",
    "NO_EPOCH",
    "DownPeer",
    "GcBarrier",
    "PdMember",
    "PdRegion",
    "PeerChange",
    "PeerChangeKind",
    "SplitIds",
    "Step",
    "StepChangePeers",
    "StepSplit",
    "StepTransferLeader",
    "StoreMeta",
    "StoreState",
    "StoreStats",
    "compose_ts",
    "split_ts",
]

LOGICAL_BITS = 18
MAX_LOGICAL = (1 << LOGICAL_BITS) - 1


def compose_ts(physical_ms: int, logical: int) -> int:
    """The timestamp as one number."""
    return physical_ms << LOGICAL_BITS | logical


def split_ts(ts: int) -> tuple[int, int]:
    """(physical milliseconds, logical) of a timestamp."""
    return ts >> LOGICAL_BITS, ts & MAX_LOGICAL


class StoreState(enum.IntEnum):
    """What PD wants of a store; the numbers are metapb.StoreState's."""

    UP = 0
    OFFLINE = 1
    """Being emptied; may go back up until then."""
    TOMBSTONE = 2
    """Empty and gone for good."""


class StoreMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A store as PD knows it.

    Attributes:
        id: never used again.
        node: its logical name in our clusters; empty for one of another system.
        address: host:port for clients of another kind; the wire fills it in where it is empty.
        state: see there.
        labels: where it stands, as (key, value), such as ("dc", "dc1").
        version: of its program.
    """

    id: int
    node: str = ""
    address: str = ""
    state: StoreState = StoreState.UP
    labels: tuple[tuple[str, str], ...] = ()
    version: str = ""

    def label(self, key: str) -> str:
        """The value of one label, or empty."""
        return dict(self.labels).get(key, "")


class StoreStats(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a store says of its load with each heartbeat; sizes in bytes, 0 is "not said"."""

    capacity: int = 0
    available: int = 0
    region_count: int = 0
    receiving_snapshots: int = 0
    is_busy: bool = False


class DownPeer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A peer that its region's leader has not heard for so long."""

    peer: Peer
    down_s: float = 0.0


class PdRegion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A region and who leads it; ``leader`` is None where PD has never heard of one."""

    region: Region
    leader: Peer | None = None
    pending: tuple[Peer, ...] = ()
    """Peers whose log is too far behind to be served from the leader's log."""
    down: tuple[DownPeer, ...] = ()


class PdMember(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One member of PD."""

    name: str
    id: int


class GcBarrier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A service that forbids garbage collection beyond ``safe_point``; ``ttl_s`` is left of it."""

    service_id: str
    safe_point: int
    ttl_s: int


class SplitIds(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Ids for one new region: its own, and one per peer in the order of the parent's peers."""

    region_id: int
    peer_ids: tuple[int, ...]


class PeerChangeKind(enum.IntEnum):
    """One change of the peers; the numbers are eraftpb.ConfChangeType's."""

    ADD_VOTER = 0
    """A new voter, or a learner's promotion."""
    REMOVE = 1
    ADD_LEARNER = 2
    """A new learner, or a voter's demotion (in a joint change only)."""


class PeerChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What to do with one peer."""

    kind: PeerChangeKind
    peer: Peer


class StepTransferLeader(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Hand the region's leadership to ``peer``."""

    peer: Peer


class StepChangePeers(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Propose this membership change (TiKV's ChangePeerV2).

    One change is a simple one; several enter a joint configuration; none leaves it.
    """

    changes: tuple[PeerChange, ...] = ()


class StepSplit(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Split the region at these keys; without any, where the store finds best (in the middle)."""

    keys: tuple[bytes, ...] = ()


Step: TypeAlias = StepTransferLeader | StepChangePeers | StepSplit
"""What a region's leader is told to do next, valid for one epoch: see RegionHeartbeatReply."""

NO_EPOCH = Epoch(0, 0)
"""Of no region: epochs count from 1."""
