"""To whom a request believes to speak, and how it wants to be served."""

from __future__ import annotations

import enum

import msgspec

__all__ = [
    "CONF_VERSION",
    "HERE",
    "REGION_ID",
    "REGION_VERSION",
    "Context",
    "Isolation",
    "ReplicaRead",
]

REGION_ID = 1
"""The region over all stores with which a cluster begins."""
CONF_VERSION = 1
REGION_VERSION = 1


class Isolation(enum.IntEnum):
    """What a read may see; the numbers are kvrpcpb.IsolationLevel's."""

    SNAPSHOT = 0
    READ_COMMITTED = 1


class ReplicaRead(enum.IntEnum):
    """Which replica may serve a read, and what it owes the reader."""

    LEADER = 0
    """Linearizable: the leader, by ReadIndex or lease."""
    FOLLOWER = 1
    """Linearizable: any replica, after a ReadIndex that it asks of the leader."""
    STALE = 2
    """Any replica, of the version asked for, once that is below the region's safe timestamp."""
    EVENTUAL = 3
    """Any replica, from what it has applied.  Ours: TiKV's protocol has no such read."""


class Context(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Zero means "not said", and is not checked.

    Attributes:
        region_id: region of the key.
        conf_version: membership part of the region's epoch; not checked for reads and writes.
        version: range part of the epoch; must be equal, a newer client is refused too.
        store_id: which store is meant.
        peer_id: id of the region's peer on that store.
        term: not 0 only from a caller that wants StaleCommand when the term has moved on.
        isolation: of transactional reads.
        replica_read: see there.
        resolved_locks: start timestamps whose locks a read passes over: rolled back, pushed beyond
            the read, or committed after it.
        committed_locks: start timestamps whose locks a read takes for committed before it.
        is_retry: the client may have sent this before.
        cluster_id: of the cluster that is meant.
    """

    region_id: int = REGION_ID
    conf_version: int = CONF_VERSION
    version: int = REGION_VERSION
    store_id: int = 0
    peer_id: int = 0
    term: int = 0
    isolation: Isolation = Isolation.SNAPSHOT
    replica_read: ReplicaRead = ReplicaRead.LEADER
    resolved_locks: tuple[int, ...] = ()
    committed_locks: tuple[int, ...] = ()
    is_retry: bool = False
    cluster_id: int = 0


HERE = Context()
"""The context of a client that knows the one region and names no store."""
