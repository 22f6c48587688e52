"""Why the placement driver did not do it: our ``PdError``, gRPC's status and ``pdpb.Error``.

    PdNotLeader, PdBusy, PdUndetermined   status UNAVAILABLE: ask (another member) again
    ClusterMismatch                       status FAILED_PRECONDITION, as PD has it
    PdRegionNotFound of a look-up         an answer without region and without error, as PD has it
    all else                              ``header.error``

A status says little, so the exact error goes along in the call's trailing metadata
(:data:`DETAIL`), for our own clients.  ``header.error`` is absent on success: clients refuse an answer
that carries it, whatever its type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.cluster.messages import pd_errors as e
from splitbrain.cluster.rpc import pdpb_pb2 as pdpb
from splitbrain.cluster.rpc.fields import Field
from splitbrain.cluster.rpc.names import Names

__all__ = [
    "DETAIL",
    "FAILURE",
    "LOOK_UP_FAILURE",
    "decode_detail",
    "encode_detail",
    "status_of",
]

DETAIL = "minitikv-error-bin"
"""Key of the trailing metadata that hold the exact error."""

_UNAVAILABLE = (e.PdNotLeader, e.PdBusy, e.PdUndetermined)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(e.PdError)
_NUMBER = re.compile(r"\d+")


def status_of(error: e.PdError | None) -> tuple[str, str] | None:
    """Name of the gRPC status and its text, for an error that is told by a status."""
    if isinstance(error, _UNAVAILABLE):
        return "UNAVAILABLE", f"{type(error).__name__}: {_said(error)}"
    if isinstance(error, e.ClusterMismatch):
        text = f"mismatch cluster id, need {error.actual} but got {error.wanted}"
        return "FAILED_PRECONDITION", text
    return None


def _said(error: e.PdError) -> str:
    match error:
        case e.PdNotLeader():
            return f"the leader is {error.leader or 'unknown'}"
        case e.PdBusy():
            return error.reason
        case _:
            return "nobody can know any more whether it was done"


def encode_detail(error: e.PdError) -> bytes:
    """The exact error, for trailing metadata."""
    return _encoder.encode(error)


def decode_detail(data: bytes) -> e.PdError | None:
    """The error of ``encode_detail``'s bytes; None if they are something else."""
    try:
        error: e.PdError = _decoder.decode(data)
    except msgspec.DecodeError:
        return None
    return error


# -- errors in the header ------------------------------------------------------------------------


def _to_wire(error: e.PdError) -> pdpb.Error:
    match error:
        case e.PdNotBootstrapped():
            return pdpb.Error(
                type=pdpb.NOT_BOOTSTRAPPED, message="the cluster has no region yet"
            )
        case e.PdAlreadyBootstrapped():
            return pdpb.Error(type=pdpb.ALREADY_BOOTSTRAPPED, message="there is a region")
        case e.PdRegionNotFound():
            text = f"there is no region {error.region_id}"
            return pdpb.Error(type=pdpb.REGION_NOT_FOUND, message=text)
        case e.PdRangeNotCovered():
            return pdpb.Error(
                type=pdpb.REGIONS_NOT_CONTAIN_ALL_KEY_RANGE, message="the regions leave holes"
            )
        case e.PdStoreNotFound():
            text = f"there is no store {error.store_id}"
            return pdpb.Error(type=pdpb.UNKNOWN, message=text)
        case e.PdStoreTombstone():
            text = f"store {error.store_id} was removed"
            return pdpb.Error(type=pdpb.STORE_TOMBSTONE, message=text)
        case e.PdInvalid():
            return pdpb.Error(type=pdpb.INVALID_VALUE, message=error.message)
        case _:  # told by a status, where there is one
            return pdpb.Error(type=pdpb.UNKNOWN, message=type(error).__name__)


def _from_wire(wire: pdpb.Error) -> e.PdError:
    number = _NUMBER.search(wire.message)
    told = int(number[0]) if number else 0
    match wire.type:
        case pdpb.NOT_BOOTSTRAPPED:
            return e.PdNotBootstrapped()
        case pdpb.ALREADY_BOOTSTRAPPED:
            return e.PdAlreadyBootstrapped()
        case pdpb.REGION_NOT_FOUND:
            return e.PdRegionNotFound(region_id=told)
        case pdpb.REGIONS_NOT_CONTAIN_ALL_KEY_RANGE:
            return e.PdRangeNotCovered()
        case pdpb.STORE_TOMBSTONE:
            return e.PdStoreTombstone(store_id=told)
        case pdpb.UNKNOWN if number and "store" in wire.message:
            return e.PdStoreNotFound(store_id=told)
        case _:
            return e.PdInvalid(message=wire.message)


def _write(answer: Any, _: Names) -> Mapping[str, Any]:
    if answer.error is None:
        return {}
    return {"header": pdpb.ResponseHeader(error=_to_wire(answer.error))}


def _read(wire: Any, _: Names) -> Mapping[str, Any]:
    if not wire.header.HasField("error") or wire.header.error.type == pdpb.OK:
        return {}
    return {"error": _from_wire(wire.header.error)}


def _write_look_up(answer: Any, names: Names) -> Mapping[str, Any]:
    if isinstance(answer.error, e.PdRegionNotFound):
        return {"header": pdpb.ResponseHeader()}
    return _write(answer, names)


def _read_look_up(wire: Any, names: Names) -> Mapping[str, Any]:
    failure = _read(wire, names)
    if not failure and not wire.HasField("region"):
        return {"error": e.PdRegionNotFound()}
    return failure


FAILURE = Field(_write, _read)
"""``error`` of an answer."""
LOOK_UP_FAILURE = Field(_write_look_up, _read_look_up)
"""The same of GetRegion and its like."""
