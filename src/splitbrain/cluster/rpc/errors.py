"""Our region errors and TiKV's ``errorpb.Error``, both ways.

TiKV says some refusals in an answer's text field ``error`` rather than as a region error; so is the
wrong mode said here.  What comes back without a field that we know becomes ``OtherError``, which says
nothing about a write's fate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import errorpb_pb2 as errorpb
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc.fields import Field, Shape, named, same
from splitbrain.cluster.rpc.metas import REGION
from splitbrain.cluster.rpc.names import Names

__all__ = [
    "RAW_FAILURE",
    "RAW_FAILURE_WITHOUT_TEXT",
    "mode_of_text",
    "region_error_from_wire",
    "region_error_to_wire",
    "text_of_mode",
]

_MODE = "a request of another kind was sent to a cluster in mode "
_LIMIT = re.compile(r"limit of (\d+) bytes")

_PLAIN: Mapping[str, Shape] = {
    "stale_command": Shape(m.StaleCommand, errorpb.StaleCommand),
    "server_is_busy": Shape(m.ServerIsBusy, errorpb.ServerIsBusy, *same("reason")),
    "store_not_match": Shape(
        m.StoreNotMatch,
        errorpb.StoreNotMatch,
        named("wanted", "request_store_id"),
        named("actual", "actual_store_id"),
    ),
    "mismatch_peer_id": Shape(
        m.PeerNotMatch,
        errorpb.MismatchPeerId,
        named("wanted", "request_peer_id"),
        named("actual", "store_peer_id"),
    ),
    "region_not_found": Shape(m.RegionNotFound, errorpb.RegionNotFound, *same("region_id")),
    "key_not_in_region": Shape(
        m.KeyNotInRegion,
        errorpb.KeyNotInRegion,
        *same("key", "region_id"),
        named("start", "start_key"),
        named("end", "end_key"),
    ),
    "region_not_initialized": Shape(
        m.RegionNotInitialized, errorpb.RegionNotInitialized, *same("region_id")
    ),
    "max_timestamp_not_synced": Shape(m.MaxTimestampNotSynced, errorpb.MaxTimestampNotSynced),
    "read_index_not_ready": Shape(
        m.ReadIndexNotReady, errorpb.ReadIndexNotReady, *same("region_id", "reason")
    ),
    "data_is_not_ready": Shape(
        m.DataIsNotReady, errorpb.DataIsNotReady, *same("region_id", "peer_id", "safe_ts")
    ),
    "undetermined_result": Shape(
        m.UndeterminedResult, errorpb.UndeterminedResult, *same("message")
    ),
}
"""Errors of which every field has its own place, by their field in ``errorpb.Error``."""
_FIELD_OF = {shape.kind: field for field, shape in _PLAIN.items()}


def text_of_mode(mode: str) -> str:
    """How a client is told that it speaks to a cluster of another mode."""
    return _MODE + mode


def mode_of_text(text: str) -> m.MismatchMode | None:
    """The error that ``text_of_mode`` told; None if the text is another."""
    return m.MismatchMode(mode=text.removeprefix(_MODE)) if text.startswith(_MODE) else None


# -- to the wire ---------------------------------------------------------------------------------


def region_error_to_wire(error: m.RegionError, names: Names) -> errorpb.Error:
    """The ``errorpb.Error`` that tells ``error``."""
    match error:
        case m.MismatchMode():
            return errorpb.Error(message=text_of_mode(error.mode))
        case m.OtherError():
            return errorpb.Error(message=error.message)
        case m.NotLeader():
            told: dict[str, Any] = {"not_leader": _not_leader(error, names)}
        case m.EpochNotMatch():
            told = {"epoch_not_match": _epoch_to_wire(error, names)}
        case m.EntryTooLarge():
            large = errorpb.RaftEntryTooLarge(region_id=error.region_id, entry_size=error.size)
            told = {"raft_entry_too_large": large}
        case _:
            field = _FIELD_OF[type(error)]
            told = {field: _PLAIN[field].to_wire(error, names)}
    return errorpb.Error(message=_text(error), **told)


def _text(error: m.RegionError) -> str:
    if isinstance(error, m.EntryTooLarge):
        return f"entry of {error.size} bytes exceeds the limit of {error.limit} bytes"
    return type(error).__name__


def _not_leader(error: m.NotLeader, names: Names) -> errorpb.NotLeader:
    store_id = names.id_of(error.leader)
    leader = None
    if store_id:
        leader = metapb.Peer(id=error.peer_id or store_id, store_id=store_id)
    return errorpb.NotLeader(region_id=error.region_id, leader=leader)


def _epoch_to_wire(error: m.EpochNotMatch, names: Names) -> errorpb.EpochNotMatch:
    """Without a list of regions: the one that a cluster has before its first split."""
    regions = [REGION.to_wire(region, names) for region in error.regions]
    if not regions and (error.conf_version or error.version):
        regions = [names.region(error.conf_version, error.version)]
    return errorpb.EpochNotMatch(current_regions=regions)


# -- from the wire -------------------------------------------------------------------------------


def region_error_from_wire(wire: errorpb.Error, names: Names) -> m.RegionError:
    """What an ``errorpb.Error`` tells."""
    said = [field.name for field, _ in wire.ListFields() if field.name != "message"]
    match said[0] if said else "":
        case "":
            return mode_of_text(wire.message) or m.OtherError(message=wire.message)
        case "not_leader":
            told = wire.not_leader
            leader = names.name_of(told.leader.store_id)
            peer_id = told.leader.id if leader else 0
            return m.NotLeader(leader=leader, region_id=told.region_id, peer_id=peer_id)
        case "epoch_not_match":
            return _epoch_from_wire(wire.epoch_not_match, names)
        case "raft_entry_too_large":
            limit = _LIMIT.search(wire.message)
            large = wire.raft_entry_too_large
            return m.EntryTooLarge(
                size=large.entry_size,
                limit=int(limit[1]) if limit else 0,
                region_id=large.region_id,
            )
        case field if field in _PLAIN:
            error: m.RegionError = _PLAIN[field].from_wire(getattr(wire, field), names)
            return error
        case other:
            return m.OtherError(message=f"{other}: {wire.message}")


def _epoch_from_wire(wire: errorpb.EpochNotMatch, names: Names) -> m.EpochNotMatch:
    """The first of the list is the region that was asked; an empty list tells nothing."""
    regions = tuple(REGION.from_wire(region, names) for region in wire.current_regions)
    if not regions:
        return m.EpochNotMatch(conf_version=0, version=0)
    epoch = regions[0].epoch
    return m.EpochNotMatch(epoch.conf_version, epoch.version, regions)


# -- a raw answer's failure ----------------------------------------------------------------------


def _write(answer: Any, names: Names) -> Mapping[str, Any]:
    if isinstance(answer.error, m.MismatchMode):
        return {"error": text_of_mode(answer.error.mode)}
    return _write_without_text(answer, names)


def _write_without_text(answer: Any, names: Names) -> Mapping[str, Any]:
    if answer.error is None:
        return {}
    return {"region_error": region_error_to_wire(answer.error, names)}


def _read(wire: Any, names: Names) -> Mapping[str, Any]:
    if wire.error and not wire.HasField("region_error"):
        return {"error": mode_of_text(wire.error) or m.OtherError(message=wire.error)}
    return _read_without_text(wire, names)


def _read_without_text(wire: Any, names: Names) -> Mapping[str, Any]:
    if not wire.HasField("region_error"):
        return {}
    return {"error": region_error_from_wire(wire.region_error, names)}


RAW_FAILURE = Field(_write, _read)
"""``error`` of a raw answer."""
RAW_FAILURE_WITHOUT_TEXT = Field(_write_without_text, _read_without_text)
"""The same where the message has no text field: of scans and batches of reads."""
