"""Why a request was not served: TiKV's region errors (``errorpb``).

Which of these say that a write certainly did not and will not happen is written at each class;
``cluster/client`` relies on it.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.context import CONF_VERSION, REGION_ID, REGION_VERSION
from splitbrain.cluster.messages.region import Region

__all__ = [
    "DataIsNotReady",
    "EntryTooLarge",
    "EpochNotMatch",
    "KeyNotInRegion",
    "MaxTimestampNotSynced",
    "MismatchMode",
    "NotLeader",
    "OtherError",
    "PeerNotMatch",
    "ReadIndexNotReady",
    "RegionError",
    "RegionNotFound",
    "RegionNotInitialized",
    "ServerIsBusy",
    "StaleCommand",
    "StoreNotMatch",
    "UndeterminedResult",
]


class NotLeader(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Only the leader serves this.  A true no: the write was never appended."""

    leader: str = ""
    """Name of the node that is leader as far as known, or empty."""
    region_id: int = REGION_ID
    peer_id: int = 0
    """The region's peer on that node; 0: not said."""


class StaleCommand(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The term has moved on.  A true no: another entry is committed in the write's place."""


class ServerIsBusy(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A queue is full.  A true no: nothing was appended."""

    reason: str = ""


class StoreNotMatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The request was for another store.  A true no."""

    wanted: int = 0
    actual: int = 0


class PeerNotMatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The request was for another peer of the region (MismatchPeerId).  A true no."""

    wanted: int = 0
    actual: int = 0


class RegionNotFound(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """No such region here.  A true no: told before anything is appended."""

    region_id: int = 0


class EpochNotMatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The region's range has changed since the client looked it up.  A true no.

    ``regions``: what is now where the client believed the region to be, as far as this store knows,
    with (conf_version, version) being the asked one's.  Empty: look it up again.
    """

    conf_version: int = CONF_VERSION
    version: int = REGION_VERSION
    regions: tuple[Region, ...] = ()


class KeyNotInRegion(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The key is outside of the region.  A true no: a write is tested as it is applied, by all."""

    key: bytes = b""
    region_id: int = 0
    start: bytes = b""
    end: bytes = b""


class RegionNotInitialized(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The peer waits for its first snapshot.  A true no."""

    region_id: int = 0


class MaxTimestampNotSynced(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A new leader has no timestamp yet from which async commit may count.  A true no."""


class ReadIndexNotReady(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The read could not be confirmed: the region changes, or nobody leads.  Told of reads only."""

    region_id: int = 0
    reason: str = ""


class DataIsNotReady(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A stale read wants more than is known to be complete here.  Told of reads only."""

    region_id: int = 0
    peer_id: int = 0
    safe_ts: int = 0


class EntryTooLarge(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The write is larger than the log takes.  A true no, and no retry will help."""

    size: int = 0
    limit: int = 0
    region_id: int = REGION_ID


class MismatchMode(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A transactional request to a raw cluster or the other way.  A true no, for good."""

    mode: str = ""
    """The mode of this cluster: ``raw`` or ``txn``."""


class UndeterminedResult(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The write was appended, and this store cannot know any more what became of it."""

    message: str = ""


class OtherError(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """What another system said and we have no word for; says nothing about the write's fate."""

    message: str = ""


RegionError: TypeAlias = (
    NotLeader
    | StaleCommand
    | ServerIsBusy
    | StoreNotMatch
    | PeerNotMatch
    | RegionNotFound
    | EpochNotMatch
    | KeyNotInRegion
    | RegionNotInitialized
    | MaxTimestampNotSynced
    | ReadIndexNotReady
    | DataIsNotReady
    | EntryTooLarge
    | MismatchMode
    | UndeterminedResult
    | OtherError
)
