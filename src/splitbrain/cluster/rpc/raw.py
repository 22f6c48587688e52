"""Raw operations, both ways: ``messages.raw`` and their messages in ``kvrpcpb``.

A time to live and another column family than the default one are refused in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc.contexts import CONTEXT
from splitbrain.cluster.rpc.errors import RAW_FAILURE, RAW_FAILURE_WITHOUT_TEXT
from splitbrain.cluster.rpc.fields import (
    Codec,
    Field,
    Refused,
    Shape,
    constant,
    custom,
    many,
    named,
    refuse,
    same,
    unwritten,
)
from splitbrain.cluster.rpc.names import Names

__all__ = ["NO_TTL", "RAW"]

NO_TTL = "minitikv keeps no time to live: leave ttl unset"


def _family(wire: Any, _: Names) -> Mapping[str, Any]:
    if wire.cf not in ("", "default"):
        raise Refused(f"minitikv has no raw column family {wire.cf!r}: leave cf unset")
    return {}


FAMILY = Field(unwritten, _family)
TTL = refuse("ttl", NO_TTL)
FOR_CAS = constant("for_cas", True)
"""A real TiKV then takes the key's latch, as minitikv does for every write."""
RANGE = (named("start", "start_key"), named("end", "end_key"))


def _pairs(field: str) -> Field:
    """Keys with their values."""

    def write(struct: Any) -> Mapping[str, Any]:
        return {field: [kvrpcpb.KvPair(key=key, value=value) for key, value in struct.pairs]}

    def read(wire: Any) -> Mapping[str, Any]:
        return {"pairs": tuple((pair.key, pair.value) for pair in getattr(wire, field))}

    return custom(write, read)


def _request(kind: type[Any], wire: Any, *fields: Field) -> Shape:
    return Shape(kind, wire, CONTEXT, FAMILY, *fields)


def _answer(kind: type[Any], wire: Any, *fields: Field) -> Shape:
    tells = "error" in wire.DESCRIPTOR.fields_by_name
    return Shape(
        kind, wire, *fields, failure=RAW_FAILURE if tells else RAW_FAILURE_WITHOUT_TEXT
    )


def _codec(name: str, request: Shape, answer: Shape, *, batched: bool = True) -> Codec:
    return Codec(f"/tikvpb.Tikv/{name}", request, answer, name if batched else "")


# -- what has a form of its own ------------------------------------------------------------------

_VALUE = custom(
    lambda reply: {"value": reply.value or b"", "not_found": reply.value is None},
    lambda wire: {"value": None if wire.not_found else wire.value},
)
_SWAP = custom(
    lambda request: {
        "value": request.value or b"",
        "delete": request.value is None,
        "previous_value": request.previous or b"",
        "previous_not_exist": request.previous is None,
    },
    lambda wire: {
        "value": None if wire.delete else wire.value,
        "previous": None if wire.previous_not_exist else wire.previous_value,
    },
)
_SWAPPED = custom(
    lambda reply: {
        "succeed": reply.succeed,
        "previous_value": reply.previous or b"",
        "previous_not_exist": reply.previous is None,
    },
    lambda wire: {
        "succeed": wire.succeed,
        "previous": None if wire.previous_not_exist else wire.previous_value,
    },
)
_RANGES = custom(
    lambda request: {
        "ranges": [
            kvrpcpb.KeyRange(start_key=start, end_key=end) for start, end in request.ranges
        ]
    },
    lambda wire: {"ranges": tuple((each.start_key, each.end_key) for each in wire.ranges)},
)

# -- the table -----------------------------------------------------------------------------------

RAW: Sequence[Codec] = (
    _codec(
        "RawGet",
        _request(m.RawGet, kvrpcpb.RawGetRequest, *same("key")),
        _answer(m.RawGetReply, kvrpcpb.RawGetResponse, _VALUE),
    ),
    _codec(
        "RawPut",
        _request(m.RawPut, kvrpcpb.RawPutRequest, *same("key", "value"), FOR_CAS, TTL),
        _answer(m.RawPutReply, kvrpcpb.RawPutResponse),
    ),
    _codec(
        "RawDelete",
        _request(m.RawDelete, kvrpcpb.RawDeleteRequest, *same("key"), FOR_CAS),
        _answer(m.RawDeleteReply, kvrpcpb.RawDeleteResponse),
    ),
    _codec(
        "RawCompareAndSwap",
        _request(m.RawCas, kvrpcpb.RawCASRequest, *same("key"), _SWAP, TTL),
        _answer(m.RawCasReply, kvrpcpb.RawCASResponse, _SWAPPED),
        batched=False,
    ),
    _codec(
        "RawScan",
        _request(
            m.RawScan, kvrpcpb.RawScanRequest, *RANGE, *same("limit", "reverse", "key_only")
        ),
        _answer(m.RawScanReply, kvrpcpb.RawScanResponse, _pairs("kvs")),
    ),
    _codec(
        "RawBatchGet",
        _request(m.RawBatchGet, kvrpcpb.RawBatchGetRequest, many("keys")),
        _answer(m.RawBatchGetReply, kvrpcpb.RawBatchGetResponse, _pairs("pairs")),
    ),
    _codec(
        "RawBatchPut",
        _request(
            m.RawBatchPut,
            kvrpcpb.RawBatchPutRequest,
            _pairs("pairs"),
            FOR_CAS,
            TTL,
            refuse("ttls", NO_TTL),
        ),
        _answer(m.RawBatchPutReply, kvrpcpb.RawBatchPutResponse),
    ),
    _codec(
        "RawBatchDelete",
        _request(m.RawBatchDelete, kvrpcpb.RawBatchDeleteRequest, many("keys"), FOR_CAS),
        _answer(m.RawBatchDeleteReply, kvrpcpb.RawBatchDeleteResponse),
    ),
    _codec(
        "RawDeleteRange",
        _request(m.RawDeleteRange, kvrpcpb.RawDeleteRangeRequest, *RANGE),
        _answer(m.RawDeleteRangeReply, kvrpcpb.RawDeleteRangeResponse),
    ),
    _codec(
        "RawBatchScan",
        _request(
            m.RawBatchScan,
            kvrpcpb.RawBatchScanRequest,
            _RANGES,
            *same("each_limit", "reverse", "key_only"),
        ),
        _answer(m.RawBatchScanReply, kvrpcpb.RawBatchScanResponse, _pairs("kvs")),
    ),
)
"""Every raw method that carries one of our structs."""
