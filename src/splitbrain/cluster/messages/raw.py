"""Raw operations: what a client of a raw cluster asks, and what it gets."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.context import HERE, Context
from splitbrain.cluster.messages.region_errors import RegionError

__all__ = [
    "RawAnswer",
    "RawBatchAnswer",
    "RawBatchDelete",
    "RawBatchDeleteReply",
    "RawBatchGet",
    "RawBatchGetReply",
    "RawBatchPut",
    "RawBatchPutReply",
    "RawBatchRequest",
    "RawBatchScan",
    "RawBatchScanReply",
    "RawCas",
    "RawCasReply",
    "RawDelete",
    "RawDeleteRange",
    "RawDeleteRangeReply",
    "RawDeleteReply",
    "RawGet",
    "RawGetReply",
    "RawPut",
    "RawPutReply",
    "RawRequest",
    "RawScan",
    "RawScanReply",
]


class RawGet(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read one key, linearizably."""

    key: bytes
    context: Context = HERE


class RawGetReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``value`` is None if the key is absent."""

    value: bytes | None = None
    error: RegionError | None = None


class RawPut(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Set one key."""

    key: bytes
    value: bytes
    context: Context = HERE


class RawPutReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawDelete(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Remove one key, if it is there."""

    key: bytes
    context: Context = HERE


class RawDeleteReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawCas(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Set the key to ``value`` (None: remove it) if it now is ``previous`` (None: absent)."""

    key: bytes
    previous: bytes | None
    value: bytes | None
    context: Context = HERE


class RawCasReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``previous`` is what the key was when the comparison was made."""

    succeed: bool = False
    previous: bytes | None = None
    error: RegionError | None = None


class RawScan(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read up to ``limit`` keys in [start, end) in ascending order; empty ``end`` is unbounded.

    All pairs are of one moment (one region, one state machine).

    With ``reverse``, from ``start`` (not included; empty: nothing is below it) downwards to ``end``
    (included), in descending order, as TiKV has it.  With ``key_only`` all values are empty.
    """

    start: bytes
    end: bytes = b""
    limit: int = 256
    context: Context = HERE
    reverse: bool = False
    key_only: bool = False


class RawScanReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Pairs of key and value."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()
    error: RegionError | None = None


# -- several keys of one region ------------------------------------------------------------------


class RawBatchGet(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read several keys of one region, all at one moment."""

    keys: tuple[bytes, ...]
    context: Context = HERE


class RawBatchGetReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Pairs of those that are there, in the order asked."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()
    error: RegionError | None = None


class RawBatchPut(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Set several keys of one region, all or none; of two values for one key the last counts."""

    pairs: tuple[tuple[bytes, bytes], ...]
    context: Context = HERE


class RawBatchPutReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawBatchDelete(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Remove several keys of one region, all or none."""

    keys: tuple[bytes, ...]
    context: Context = HERE


class RawBatchDeleteReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawDeleteRange(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Remove all keys of [start, end), which lies in one region."""

    start: bytes
    end: bytes
    context: Context = HERE


class RawDeleteRangeReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawBatchScan(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """RawScan of several ranges of one region, up to ``each_limit`` keys of each."""

    ranges: tuple[tuple[bytes, bytes], ...]
    each_limit: int = 256
    context: Context = HERE
    reverse: bool = False
    key_only: bool = False


class RawBatchScanReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Pairs of all ranges, one range after the other."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()
    error: RegionError | None = None


RawRequest: TypeAlias = RawGet | RawPut | RawDelete | RawCas | RawScan
RawAnswer: TypeAlias = RawGetReply | RawPutReply | RawDeleteReply | RawCasReply | RawScanReply

RawBatchRequest: TypeAlias = (
    RawBatchGet | RawBatchPut | RawBatchDelete | RawDeleteRange | RawBatchScan
)
RawBatchAnswer: TypeAlias = (
    RawBatchGetReply
    | RawBatchPutReply
    | RawBatchDeleteReply
    | RawDeleteRangeReply
    | RawBatchScanReply
)
