"""Our structs and TiKV's protobuf messages, both ways; no I/O, no decisions.

    >>> from splitbrain.cluster.messages import NotLeader, RawPut, RawPutReply
    >>> names = Names(("n1", "n2"))
    >>> wire = request_to_wire(RawPut(key=b"k", value=b"v"))
    >>> request_from_wire(wire) == RawPut(key=b"k", value=b"v")
    True
    >>> answer = answer_to_wire(RawPutReply(error=NotLeader(leader="n2")), names)
    >>> answer.region_error.not_leader.leader.store_id
    2

Stores are numbers on the wire and names in our structs: store i is the i-th name of the
configuration, and the one region's peer on it has the same number.

What TiKV has and minitikv has not (a time to live, another column family, API version 2, a scan
backwards) raises :class:`Refused` with the reason, which the server passes on.  A region error for
which we have no word becomes ``OtherError``, which says nothing about a write's fate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import errorpb_pb2 as errorpb
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc.errors import error_from_wire, error_to_wire
from splitbrain.cluster.rpc.names import Names

__all__ = [
    "METHODS",
    "Method",
    "Refused",
    "answer_from_wire",
    "answer_to_wire",
    "request_from_wire",
    "request_to_wire",
]


class Refused(Exception):
    """The request asks for something that minitikv does not have; the message says what."""


class Method(msgspec.Struct, frozen=True):
    """One method of ``tikvpb.Tikv``.

    Attributes:
        path: full method path.
        request: protobuf class of the request.
        response: protobuf class of the answer.
    """

    path: str
    request: Any
    response: Any


METHODS: Mapping[type[Any], Method] = {
    m.RawGet: Method("/tikvpb.Tikv/RawGet", kvrpcpb.RawGetRequest, kvrpcpb.RawGetResponse),
    m.RawPut: Method("/tikvpb.Tikv/RawPut", kvrpcpb.RawPutRequest, kvrpcpb.RawPutResponse),
    m.RawDelete: Method(
        "/tikvpb.Tikv/RawDelete", kvrpcpb.RawDeleteRequest, kvrpcpb.RawDeleteResponse
    ),
    m.RawCas: Method(
        "/tikvpb.Tikv/RawCompareAndSwap", kvrpcpb.RawCASRequest, kvrpcpb.RawCASResponse
    ),
    m.RawScan: Method("/tikvpb.Tikv/RawScan", kvrpcpb.RawScanRequest, kvrpcpb.RawScanResponse),
}
"""Type of our request -> its method."""


# -- requests ------------------------------------------------------------------------------------


def request_to_wire(request: m.Request) -> Any:
    """The protobuf message of a request."""
    context = _context_to_wire(request.context)
    match request:
        case m.RawGet():
            return kvrpcpb.RawGetRequest(context=context, key=request.key)
        case m.RawPut():
            # for_cas: a real TiKV then takes the key's latch, as minitikv does for every write.
            return kvrpcpb.RawPutRequest(
                context=context, key=request.key, value=request.value, for_cas=True
            )
        case m.RawDelete():
            return kvrpcpb.RawDeleteRequest(context=context, key=request.key, for_cas=True)
        case m.RawCas():
            return kvrpcpb.RawCASRequest(
                context=context,
                key=request.key,
                value=request.value or b"",
                delete=request.value is None,
                previous_value=request.previous or b"",
                previous_not_exist=request.previous is None,
            )
        case m.RawScan():
            return kvrpcpb.RawScanRequest(
                context=context,
                start_key=request.start,
                end_key=request.end,
                limit=request.limit,
            )


def request_from_wire(wire: Any) -> m.Request:
    """Our request of a protobuf one.

    Raises:
        Refused: it asks for what minitikv does not have.
    """
    return _FROM_WIRE[type(wire)](wire, _context_from_wire(wire))


def _get(wire: kvrpcpb.RawGetRequest, context: m.Context) -> m.Request:
    return m.RawGet(key=wire.key, context=context)


def _put(wire: kvrpcpb.RawPutRequest, context: m.Context) -> m.Request:
    _refuse_ttl(wire.ttl)
    return m.RawPut(key=wire.key, value=wire.value, context=context)


def _delete(wire: kvrpcpb.RawDeleteRequest, context: m.Context) -> m.Request:
    return m.RawDelete(key=wire.key, context=context)


def _cas(wire: kvrpcpb.RawCASRequest, context: m.Context) -> m.Request:
    _refuse_ttl(wire.ttl)
    return m.RawCas(
        key=wire.key,
        previous=None if wire.previous_not_exist else wire.previous_value,
        value=None if wire.delete else wire.value,
        context=context,
    )


def _scan(wire: kvrpcpb.RawScanRequest, context: m.Context) -> m.Request:
    if wire.reverse:
        raise Refused("minitikv scans forwards only: leave reverse unset")
    return m.RawScan(start=wire.start_key, end=wire.end_key, limit=wire.limit, context=context)


_FROM_WIRE: Mapping[type[Any], Callable[[Any, m.Context], m.Request]] = {
    kvrpcpb.RawGetRequest: _get,
    kvrpcpb.RawPutRequest: _put,
    kvrpcpb.RawDeleteRequest: _delete,
    kvrpcpb.RawCASRequest: _cas,
    kvrpcpb.RawScanRequest: _scan,
}


def _refuse_ttl(ttl: int) -> None:
    if ttl:
        raise Refused("minitikv keeps no time to live: leave ttl unset")


def _context_to_wire(context: m.Context) -> kvrpcpb.Context:
    peer = None
    if context.store_id or context.peer_id:
        peer = metapb.Peer(id=context.peer_id, store_id=context.store_id)
    return kvrpcpb.Context(
        region_id=context.region_id,
        region_epoch=metapb.RegionEpoch(conf_ver=context.conf_version, version=context.version),
        peer=peer,
        term=context.term,
    )


def _context_from_wire(wire: Any) -> m.Context:
    context = wire.context
    if context.api_version not in (kvrpcpb.V1, kvrpcpb.V1TTL):
        raise Refused("minitikv speaks API version 1 only: open the client without a keyspace")
    if wire.cf not in ("", "default"):
        raise Refused(f"minitikv has no raw column family {wire.cf!r}: leave cf unset")
    return m.Context(
        region_id=context.region_id,
        conf_version=context.region_epoch.conf_ver,
        version=context.region_epoch.version,
        store_id=context.peer.store_id,
        peer_id=context.peer.id,
        term=context.term,
    )


# -- answers -------------------------------------------------------------------------------------


def answer_to_wire(answer: m.Answer, names: Names) -> Any:
    """The protobuf message of an answer."""
    said = error_to_wire(answer.error, names)
    match answer:
        case m.RawGetReply():
            absent = answer.value is None and answer.error is None
            return kvrpcpb.RawGetResponse(**said, value=answer.value or b"", not_found=absent)
        case m.RawPutReply():
            return kvrpcpb.RawPutResponse(**said)
        case m.RawDeleteReply():
            return kvrpcpb.RawDeleteResponse(**said)
        case m.RawCasReply():
            return kvrpcpb.RawCASResponse(
                **said,
                succeed=answer.succeed,
                previous_not_exist=answer.previous is None and answer.error is None,
                previous_value=answer.previous or b"",
            )
        case m.RawScanReply():
            pairs = [kvrpcpb.KvPair(key=key, value=value) for key, value in answer.pairs]
            if text := said.pop("error", ""):  # a scan's answer has no other place for it
                said["region_error"] = errorpb.Error(message=text)
            return kvrpcpb.RawScanResponse(**said, kvs=pairs)


def answer_from_wire(wire: Any, names: Names) -> m.Answer:
    """Our answer of a protobuf one, a real TiKV's too."""
    error = error_from_wire(wire, names)
    match wire:
        case kvrpcpb.RawGetResponse():
            absent = wire.not_found or error is not None
            return m.RawGetReply(value=None if absent else wire.value, error=error)
        case kvrpcpb.RawPutResponse():
            return m.RawPutReply(error=error)
        case kvrpcpb.RawDeleteResponse():
            return m.RawDeleteReply(error=error)
        case kvrpcpb.RawCASResponse():
            absent = wire.previous_not_exist or error is not None
            previous = None if absent else wire.previous_value
            return m.RawCasReply(succeed=wire.succeed, previous=previous, error=error)
        case kvrpcpb.RawScanResponse():
            pairs = tuple((pair.key, pair.value) for pair in wire.kvs)
            return m.RawScanReply(pairs=pairs, error=error)
        case _:
            raise AssertionError(f"no answer of ours is {type(wire).__name__}")
