"""Our key errors and TiKV's ``kvrpcpb.KeyError``, both ways; and how a transactional answer fails.

``retryable`` is also filled beside a conflict and a lock that is gone, for clients that know it alone.
Alone, it becomes an ``Abort`` here: what it says is for people.

A transactional request to a raw cluster is told in ``abort``, as TiKV does with its own modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import key_errors as k
from splitbrain.cluster.rpc import deadlock_pb2 as deadlock
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc.errors import (
    mode_of_text,
    region_error_from_wire,
    region_error_to_wire,
    text_of_mode,
)
from splitbrain.cluster.rpc.fields import (
    NOBODY,
    Field,
    Shape,
    choice,
    many,
    named,
    part,
    parts,
    same,
)
from splitbrain.cluster.rpc.names import Names

__all__ = [
    "KEY_ERROR",
    "LOCK",
    "ONE_FAILURE",
    "SEVERAL_FAILURES",
    "key_error_from_wire",
    "key_error_to_wire",
]

LOCK = Shape(
    k.LockInfo,
    kvrpcpb.LockInfo,
    *same("key", "txn_size", "use_async_commit", "min_commit_ts"),
    named("primary", "primary_lock"),
    named("start_ts", "lock_version"),
    named("ttl_ms", "lock_ttl"),
    choice("kind", k.LockKind, "lock_type"),
    named("for_update_ts", "lock_for_update_ts"),
    many("secondaries"),
)
"""A lock as told to others."""

_WAIT = Shape(k.WaitForEntry, deadlock.WaitForEntry, *same("txn", "wait_for_txn", "key"))

_SHAPES: Mapping[str, Shape] = {
    "conflict": Shape(
        k.WriteConflict,
        kvrpcpb.WriteConflict,
        *same("key", "start_ts", "primary", "conflict_commit_ts"),
        named("conflict_start_ts", "conflict_ts"),
        choice("reason", k.ConflictReason),
    ),
    "already_exist": Shape(k.AlreadyExist, kvrpcpb.AlreadyExist, *same("key")),
    "deadlock": Shape(
        k.Deadlock,
        kvrpcpb.Deadlock,
        *same("lock_ts", "lock_key", "deadlock_key_hash"),
        parts("wait_chain", _WAIT),
    ),
    "commit_ts_expired": Shape(
        k.CommitTsExpired,
        kvrpcpb.CommitTsExpired,
        *same("key", "start_ts", "attempted_commit_ts", "min_commit_ts"),
    ),
    "txn_not_found": Shape(
        k.TxnNotFound, kvrpcpb.TxnNotFound, *same("start_ts"), named("primary", "primary_key")
    ),
    "txn_lock_not_found": Shape(k.TxnLockNotFound, kvrpcpb.TxnLockNotFound, *same("key")),
    "primary_mismatch": Shape(
        k.PrimaryMismatch, kvrpcpb.PrimaryMismatch, part("lock", LOCK, "lock_info", needed=True)
    ),
    "assertion_failed": Shape(
        k.AssertionFailed,
        kvrpcpb.AssertionFailed,
        *same("key", "start_ts", "existing_start_ts", "existing_commit_ts"),
    ),
}
"""Errors that are a message of their own, by their field in ``kvrpcpb.KeyError``."""
_FIELD_OF = {shape.kind: field for field, shape in _SHAPES.items()}
_RETRYABLE = (k.WriteConflict, k.TxnLockNotFound)


def key_error_to_wire(error: k.TxnError) -> kvrpcpb.KeyError:
    """The ``kvrpcpb.KeyError`` that tells ``error``."""
    if isinstance(error, k.Locked):
        return kvrpcpb.KeyError(locked=LOCK.to_wire(error.lock, NOBODY))
    if isinstance(error, k.Abort):
        return kvrpcpb.KeyError(abort=error.reason)
    field = _FIELD_OF[type(error)]
    told: dict[str, Any] = {field: _SHAPES[field].to_wire(error, NOBODY)}
    retryable = type(error).__name__ if isinstance(error, _RETRYABLE) else ""
    return kvrpcpb.KeyError(retryable=retryable, **told)


def key_error_from_wire(wire: kvrpcpb.KeyError) -> k.TxnError:
    """What a ``kvrpcpb.KeyError`` tells."""
    if wire.HasField("locked"):
        return k.Locked(LOCK.from_wire(wire.locked, NOBODY))
    for field, shape in _SHAPES.items():
        if wire.HasField(field):
            error: k.TxnError = shape.from_wire(getattr(wire, field), NOBODY)
            return error
    if wire.HasField("commit_ts_too_large"):
        return k.Abort(f"commit timestamp {wire.commit_ts_too_large.commit_ts} is too large")
    return k.Abort(wire.abort or wire.retryable)


def _key_error(wire: Any, field: str) -> k.TxnError | None:
    return key_error_from_wire(getattr(wire, field)) if wire.HasField(field) else None


KEY_ERROR = Field(
    lambda pair, _: {} if pair.error is None else {"error": key_error_to_wire(pair.error)},
    lambda wire, _: {"error": _key_error(wire, "error")},
)
"""``error`` of one pair."""


# -- a transactional answer's failure ------------------------------------------------------------


def _region_error(answer: Any, names: Names) -> Mapping[str, Any]:
    return {"region_error": region_error_to_wire(answer.region_error, names)}


def _write_one(answer: Any, names: Names) -> Mapping[str, Any]:
    if isinstance(answer.region_error, m.MismatchMode):
        return {"error": kvrpcpb.KeyError(abort=text_of_mode(answer.region_error.mode))}
    if answer.region_error is not None:
        return _region_error(answer, names)
    return {} if answer.error is None else {"error": key_error_to_wire(answer.error)}


def _read_one(wire: Any, names: Names) -> Mapping[str, Any]:
    if wire.HasField("region_error"):
        return {"region_error": region_error_from_wire(wire.region_error, names)}
    if not wire.HasField("error"):
        return {}
    if mode := mode_of_text(wire.error.abort):
        return {"region_error": mode}
    return {"error": key_error_from_wire(wire.error)}


def _write_several(answer: Any, names: Names) -> Mapping[str, Any]:
    if isinstance(answer.region_error, m.MismatchMode):
        return {"errors": [kvrpcpb.KeyError(abort=text_of_mode(answer.region_error.mode))]}
    if answer.region_error is not None:
        return _region_error(answer, names)
    return (
        {"errors": [key_error_to_wire(error) for error in answer.errors]}
        if answer.errors
        else {}
    )


def _read_several(wire: Any, names: Names) -> Mapping[str, Any]:
    if wire.HasField("region_error"):
        return {"region_error": region_error_from_wire(wire.region_error, names)}
    if not wire.errors:
        return {}
    if mode := mode_of_text(wire.errors[0].abort):
        return {"region_error": mode}
    return {"errors": tuple(key_error_from_wire(error) for error in wire.errors)}


ONE_FAILURE = Field(_write_one, _read_one)
"""``region_error`` and ``error``."""
SEVERAL_FAILURES = Field(_write_several, _read_several)
"""``region_error`` and ``errors``."""
