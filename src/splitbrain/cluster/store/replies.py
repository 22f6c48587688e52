"""Requests of clients: what they put into the log, what they read, and what they are answered."""

from __future__ import annotations

from typing import Any, TypeAlias, get_args

from splitbrain.cluster.messages import (
    RawBatchDelete,
    RawBatchGet,
    RawBatchGetReply,
    RawBatchPut,
    RawBatchScan,
    RawBatchScanReply,
    RawCas,
    RawCasReply,
    RawDelete,
    RawDeleteRange,
    RawGet,
    RawGetReply,
    RawPut,
    RawScan,
    RawScanReply,
    RegionError,
    raw,
    txn,
)
from splitbrain.cluster.messages.raw import (
    RawAnswer,
    RawBatchAnswer,
    RawBatchRequest,
    RawRequest,
)
from splitbrain.cluster.messages.txn import TxnAnswer, TxnRequest
from splitbrain.cluster.storage.columns import Column, Columns
from splitbrain.cluster.storage.commands import (
    Batch,
    Cas,
    DataCommand,
    Delete,
    DeleteRange,
    Outcome,
    Put,
    raw_pairs,
)

__all__ = [
    "RAW_READS",
    "RAW_REQUESTS",
    "REPLY",
    "TXN_REQUESTS",
    "AnyRaw",
    "Reply",
    "Request",
    "answer_raw",
    "command_of",
    "keys_read",
    "refused",
    "reply_to",
    "size_of",
]

AnyRaw: TypeAlias = RawRequest | RawBatchRequest
Request: TypeAlias = AnyRaw | TxnRequest
Reply: TypeAlias = RawAnswer | RawBatchAnswer | TxnAnswer

RAW_REQUESTS: frozenset[type] = frozenset(get_args(RawRequest) + get_args(RawBatchRequest))
TXN_REQUESTS: frozenset[type] = frozenset(get_args(TxnRequest))
RAW_READS = (RawGet, RawScan, RawBatchGet, RawBatchScan)
RAW = Column.RAW

REPLY: dict[type, Any] = {
    request: getattr(module, request.__name__ + "Reply")
    for module, requests in ((raw, RAW_REQUESTS), (txn, TXN_REQUESTS))
    for request in requests
}
"""The answer of each request."""


def refused(request: Request, error: RegionError) -> Reply:
    """The answer that says that ``request`` was not served."""
    reply = REPLY[type(request)]
    answer: Reply = (
        reply(error=error) if type(request) in RAW_REQUESTS else reply(region_error=error)
    )
    return answer


def command_of(request: AnyRaw) -> DataCommand:
    """What a raw write puts into the log."""
    version = request.context.version
    match request:
        case RawPut():
            return Put(request.key, request.value, version)
        case RawDelete():
            return Delete(request.key, version)
        case RawCas():
            return Cas(request.key, request.previous, request.value, version)
        case RawBatchPut():
            return Batch(tuple((RAW, key, value) for key, value in request.pairs), version)
        case RawBatchDelete():
            return Batch(tuple((RAW, key, None) for key in request.keys), version)
        case RawDeleteRange():
            return DeleteRange(request.start, request.end, version)
    raise AssertionError(f"{type(request).__name__} is no write")


def reply_to(request: Request, outcome: Outcome) -> Reply:
    """What the client of a raw write is told when it was applied with ``outcome``."""
    if isinstance(request, RawCas):
        return RawCasReply(outcome.succeed, outcome.previous)
    answer: Reply = REPLY[type(request)]()
    return answer


def keys_read(request: AnyRaw) -> tuple[bytes, ...]:
    """The keys that must be in the region for a read to make sense.

    Of a scan it is the first one; where it ends, or where it comes from upside down, is cut to the
    region by the state, which has no other keys.
    """
    match request:
        case RawGet():
            return (request.key,)
        case RawBatchGet():
            return request.keys
        case RawScan(reverse=False):
            return (request.start,)
        case RawBatchScan(reverse=False):
            return tuple(start for start, _ in request.ranges)
    return ()


def answer_raw(request: AnyRaw, state: Columns) -> Reply:
    """The answer of a raw read in this state."""
    match request:
        case RawGet():
            return RawGetReply(state.get(RAW, request.key))
        case RawBatchGet():
            found = ((key, state.get(RAW, key)) for key in request.keys)
            return RawBatchGetReply(
                tuple((key, value) for key, value in found if value is not None)
            )
        case RawScan():
            return RawScanReply(
                _pairs(request, state, request.start, request.end, request.limit)
            )
        case RawBatchScan():
            limit = request.each_limit
            parts = [_pairs(request, state, *bounds, limit) for bounds in request.ranges]
            return RawBatchScanReply(tuple(pair for part in parts for pair in part))
    raise AssertionError(f"{type(request).__name__} is no read")


def _pairs(
    request: RawScan | RawBatchScan, state: Columns, start: bytes, end: bytes, limit: int
) -> tuple[tuple[bytes, bytes], ...]:
    pairs = raw_pairs(state, start, end, limit=limit, reverse=request.reverse)
    return tuple((key, b"") for key, _ in pairs) if request.key_only else tuple(pairs)


def size_of(request: Request) -> int:
    """Bytes of keys and values that a request puts into the log; for a raw read, of its key."""
    match request:
        case RawPut():
            return len(request.key) + len(request.value)
        case RawCas():
            return len(request.key) + len(request.value or b"") + len(request.previous or b"")
        case RawGet() | RawDelete():
            return len(request.key)
        case RawScan():
            return len(request.start)
        case RawBatchPut():
            return sum(len(key) + len(value) for key, value in request.pairs)
        case txn.Prewrite():
            return sum(len(one.key) + len(one.value) for one in request.mutations)
    return 0
