"""Why the placement driver did not do what it was asked (pdpb's ``ErrorType``, and its silence).

All but :class:`PdUndetermined` are a true no: nothing was changed.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = [
    "ClusterMismatch",
    "PdAlreadyBootstrapped",
    "PdBusy",
    "PdError",
    "PdInvalid",
    "PdNotBootstrapped",
    "PdNotLeader",
    "PdRangeNotCovered",
    "PdRegionNotFound",
    "PdStoreNotFound",
    "PdStoreTombstone",
    "PdUndetermined",
]


class PdNotLeader(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Only the leader answers; on TiKV's wire this is gRPC's UNAVAILABLE."""

    leader: str = ""
    """Name of the member that leads as far as known, or empty."""


class PdBusy(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A queue is full, or a new leader is not ready yet; ask again."""

    reason: str = ""


class PdUndetermined(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The change was put into the log, and this member cannot know any more what became of it."""


class ClusterMismatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The request names another cluster."""

    wanted: int = 0
    actual: int = 0


class PdNotBootstrapped(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The cluster has no region yet: some store must send Bootstrap first."""


class PdAlreadyBootstrapped(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """There is a first region: another store came first."""


class PdRegionNotFound(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """No region of that id, or none known that holds the key."""

    region_id: int = 0
    key: bytes = b""


class PdRangeNotCovered(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The regions known leave holes in a range that was wanted whole."""


class PdStoreNotFound(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """No store has ever been put under that id."""

    store_id: int = 0


class PdStoreTombstone(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The store was removed for good; its id is never used again."""

    store_id: int = 0


class PdInvalid(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """An argument that cannot be; asking again will not help."""

    message: str = ""


PdError: TypeAlias = (
    PdNotLeader
    | PdBusy
    | PdUndetermined
    | ClusterMismatch
    | PdNotBootstrapped
    | PdAlreadyBootstrapped
    | PdRegionNotFound
    | PdRangeNotCovered
    | PdStoreNotFound
    | PdStoreTombstone
    | PdInvalid
)
