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
configuration.

What each message says is in tables: ``raw``, ``txn``, ``pd_wire``; their failures in ``errors``,
``key_errors`` and ``pd_errors``; the language of the tables in ``fields``.

What TiKV has and minitikv has not (a time to live, another column family, API version 2) raises
:class:`Refused` with the reason, which the server passes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.cluster.rpc import errorpb_pb2 as errorpb
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc.fields import NOBODY, Codec, Refused
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.raw import RAW
from splitbrain.cluster.rpc.txn import TXN

__all__ = [
    "BATCHED",
    "METHODS",
    "Codec",
    "Refused",
    "answer_from_wire",
    "answer_to_wire",
    "refusal",
    "request_from_wire",
    "request_to_wire",
]

METHODS: Mapping[type[Any], Codec] = {codec.request.kind: codec for codec in (*RAW, *TXN)}
"""Type of our request -> its method of ``tikvpb.Tikv``."""
BATCHED: Mapping[str, Codec] = {
    codec.batched: codec for codec in METHODS.values() if codec.batched
}
"""Name in a BatchCommands stream -> its method."""

_OF_REQUEST = {codec.request.wire: codec for codec in METHODS.values()}
_OF_ANSWER = {codec.answer.wire: codec for codec in METHODS.values()}
_OF_REPLY = {codec.answer.kind: codec for codec in METHODS.values()}


def request_to_wire(request: Any) -> Any:
    """The protobuf message of a request.

    Raises:
        Refused: TiKV's protocol has no such thing.
    """
    return METHODS[type(request)].request.to_wire(request, NOBODY)


def request_from_wire(wire: Any) -> Any:
    """Our request of a protobuf one.

    Raises:
        Refused: it asks for what minitikv does not have.
    """
    return _OF_REQUEST[type(wire)].request.from_wire(wire, NOBODY)


def answer_to_wire(answer: Any, names: Names) -> Any:
    """The protobuf message of an answer."""
    return _OF_REPLY[type(answer)].answer.to_wire(answer, names)


def answer_from_wire(wire: Any, names: Names) -> Any:
    """Our answer of a protobuf one, a real TiKV's too.

    Raises:
        Refused: it says what minitikv has no word for.
    """
    return _OF_ANSWER[type(wire)].answer.from_wire(wire, names)


def refusal(answer: Any, reason: str) -> Any:
    """The answer of a class that tells a refusal in words; where there is no place, a region error."""
    fields = answer.DESCRIPTOR.fields_by_name
    if "errors" in fields:
        return answer(errors=[kvrpcpb.KeyError(abort=reason)])
    if "error" not in fields:
        return answer(region_error=errorpb.Error(message=reason))
    if fields["error"].message_type is None:
        return answer(error=reason)
    return answer(error=kvrpcpb.KeyError(abort=reason))
