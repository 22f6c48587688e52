"""Our region errors and TiKV's ``errorpb.Error``, both ways.

TiKV says some refusals in an answer's text field ``error`` rather than as a region error; so does
:func:`error_to_wire` for the wrong mode.  What comes back without a field that we know becomes
``OtherError``, which says nothing about a write's fate.
"""

from __future__ import annotations

import re
from typing import Any

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import errorpb_pb2 as errorpb
from splitbrain.cluster.rpc.names import Names

__all__ = ["error_from_wire", "error_to_wire"]

_MODE = "a request of another kind was sent to a cluster in mode "
_LIMIT = re.compile(r"limit of (\d+) bytes")


def error_to_wire(error: m.RegionError | None, names: Names) -> dict[str, Any]:
    """The field of an answer that tells ``error``: ``region_error``, ``error``, or none."""
    if error is None:
        return {}
    if isinstance(error, m.MismatchMode):
        return {"error": _MODE + error.mode}
    if isinstance(error, m.OtherError):
        return {"region_error": errorpb.Error(message=error.message)}
    return {"region_error": errorpb.Error(message=_text(error), **_field(error, names))}


def _text(error: m.RegionError) -> str:
    if isinstance(error, m.EntryTooLarge):
        return f"entry of {error.size} bytes exceeds the limit of {error.limit} bytes"
    return type(error).__name__


def _field(error: m.RegionError, names: Names) -> dict[str, Any]:
    """The one field of ``errorpb.Error`` that says which error it is."""
    match error:
        case m.NotLeader():
            leader = names.peer(error.leader)
            told = errorpb.NotLeader(region_id=m.REGION_ID, leader=leader)
            return {"not_leader": told}
        case m.StaleCommand():
            return {"stale_command": errorpb.StaleCommand()}
        case m.ServerIsBusy():
            return {"server_is_busy": errorpb.ServerIsBusy(reason=error.reason)}
        case m.StoreNotMatch():
            store = errorpb.StoreNotMatch(
                request_store_id=error.wanted, actual_store_id=error.actual
            )
            return {"store_not_match": store}
        case m.PeerNotMatch():
            peer = errorpb.MismatchPeerId(
                request_peer_id=error.wanted, store_peer_id=error.actual
            )
            return {"mismatch_peer_id": peer}
        case m.RegionNotFound():
            return {"region_not_found": errorpb.RegionNotFound(region_id=error.region_id)}
        case m.EpochNotMatch():
            current = names.region(error.conf_version, error.version)
            return {"epoch_not_match": errorpb.EpochNotMatch(current_regions=[current])}
        case m.EntryTooLarge():
            large = errorpb.RaftEntryTooLarge(region_id=m.REGION_ID, entry_size=error.size)
            return {"raft_entry_too_large": large}
        case m.UndeterminedResult():
            return {"undetermined_result": errorpb.UndeterminedResult(message=error.message)}
        case _:
            raise AssertionError(f"{type(error).__name__} has no place in errorpb.Error")


def error_from_wire(wire: Any, names: Names) -> m.RegionError | None:
    """What an answer says went wrong; None if nothing did."""
    if wire.HasField("region_error"):
        return _region_error(wire.region_error, names)
    text: str = getattr(wire, "error", "")
    return _from_text(text) if text else None


def _from_text(text: str) -> m.RegionError:
    if text.startswith(_MODE):
        return m.MismatchMode(mode=text.removeprefix(_MODE))
    return m.OtherError(message=text)


def _region_error(wire: errorpb.Error, names: Names) -> m.RegionError:
    said = [field.name for field, _ in wire.ListFields() if field.name != "message"]
    match said[0] if said else "":
        case "not_leader":
            return m.NotLeader(leader=names.name_of(wire.not_leader.leader.store_id))
        case "stale_command":
            return m.StaleCommand()
        case "server_is_busy":
            return m.ServerIsBusy(reason=wire.server_is_busy.reason)
        case "store_not_match":
            store = wire.store_not_match
            return m.StoreNotMatch(wanted=store.request_store_id, actual=store.actual_store_id)
        case "mismatch_peer_id":
            peer = wire.mismatch_peer_id
            return m.PeerNotMatch(wanted=peer.request_peer_id, actual=peer.store_peer_id)
        case "region_not_found":
            return m.RegionNotFound(region_id=wire.region_not_found.region_id)
        case "epoch_not_match":
            return _epoch(wire.epoch_not_match)
        case "raft_entry_too_large":
            limit = _LIMIT.search(wire.message)
            return m.EntryTooLarge(
                size=wire.raft_entry_too_large.entry_size, limit=int(limit[1]) if limit else 0
            )
        case "undetermined_result":
            return m.UndeterminedResult(message=wire.undetermined_result.message)
        case "":
            return _from_text(wire.message)
        case other:
            return m.OtherError(message=f"{other}: {wire.message}")


def _epoch(wire: errorpb.EpochNotMatch) -> m.RegionError:
    """Ours has one region: the first of the list; an empty list tells nothing."""
    if not wire.current_regions:
        return m.EpochNotMatch(conf_version=0, version=0)
    epoch = wire.current_regions[0].region_epoch
    return m.EpochNotMatch(conf_version=epoch.conf_ver, version=epoch.version)
