"""Requests of clients: what they put into the log, what they read, and what they are answered."""

from __future__ import annotations

from typing import Any, TypeAlias, get_args

from splitbrain.cluster.messages import (
    RawCas,
    RawCasReply,
    RawDelete,
    RawGet,
    RawGetReply,
    RawPut,
    RawScan,
    RawScanReply,
    RegionError,
    raw,
    txn,
)
from splitbrain.cluster.messages.raw import RawAnswer, RawRequest
from splitbrain.cluster.messages.txn import TxnAnswer, TxnRequest
from splitbrain.cluster.storage.columns import Column, Columns
from splitbrain.cluster.storage.commands import (
    Cas,
    DataCommand,
    Delete,
    Outcome,
    Put,
    raw_pairs,
)

__all__ = [
    "RAW_READS",
    "RAW_REQUESTS",
    "REPLY",
    "TXN_REQUESTS",
    "Reply",
    "Request",
    "answer_raw",
    "command_of",
    "refused",
    "reply_to",
    "size_of",
]

Request: TypeAlias = RawRequest | TxnRequest
Reply: TypeAlias = RawAnswer | TxnAnswer

RAW_REQUESTS: tuple[type, ...] = get_args(RawRequest)
TXN_REQUESTS: tuple[type, ...] = get_args(TxnRequest)
RAW_READS = (RawGet, RawScan)

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


def command_of(request: RawRequest) -> DataCommand:
    """What a raw write puts into the log."""
    version = request.context.version
    if isinstance(request, RawPut):
        return Put(request.key, request.value, version)
    if isinstance(request, RawDelete):
        return Delete(request.key, version)
    assert isinstance(request, RawCas)
    return Cas(request.key, request.previous, request.value, version)


def reply_to(request: Request, outcome: Outcome) -> Reply:
    """What the client of a raw write is told when it was applied with ``outcome``."""
    if isinstance(request, RawCas):
        return RawCasReply(outcome.succeed, outcome.previous)
    answer: Reply = REPLY[type(request)]()
    return answer


def answer_raw(request: RawRequest, state: Columns, end: bytes) -> Reply:
    """The answer of a raw read in this state of a region that ends at ``end``."""
    if isinstance(request, RawGet):
        return RawGetReply(state.get(Column.RAW, request.key))
    assert isinstance(request, RawScan)
    pairs = raw_pairs(state, request.start, request.end, limit=request.limit)
    return RawScanReply(tuple(pairs))


def size_of(request: Request) -> int:
    """Bytes of keys and values that a request puts into the log; for a raw read, of its key."""
    if isinstance(request, RawPut):
        return len(request.key) + len(request.value)
    if isinstance(request, RawCas):
        return len(request.key) + len(request.value or b"") + len(request.previous or b"")
    if isinstance(request, RawDelete | RawGet):
        return len(request.key)
    if isinstance(request, txn.Prewrite):
        return sum(len(one.key) + len(one.value) for one in request.mutations)
    return 0
