"""Transactional operations, both ways: ``messages.txn`` and their messages in ``kvrpcpb``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain.cluster.messages import txn as t
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc.contexts import CONTEXT
from splitbrain.cluster.rpc.fields import (
    Codec,
    Field,
    Refused,
    Shape,
    choice,
    custom,
    many,
    member,
    named,
    part,
    parts,
    refuse,
    same,
)
from splitbrain.cluster.rpc.key_errors import KEY_ERROR, LOCK, ONE_FAILURE, SEVERAL_FAILURES

__all__ = ["TXN"]

START = named("start_ts", "start_version")
RANGE = (named("start", "start_key"), named("end", "end_key"))
PAIR = Shape(t.Pair, kvrpcpb.KvPair, *same("key", "value", "commit_ts"), KEY_ERROR)
PAIRS = parts("pairs", PAIR)
LOCKS = parts("locks", LOCK)


def _request(kind: type[Any], wire: Any, *fields: Field) -> Shape:
    return Shape(kind, wire, CONTEXT, *fields)


def _answer(kind: type[Any], wire: Any, *fields: Field) -> Shape:
    several = "errors" in wire.DESCRIPTOR.fields_by_name
    return Shape(kind, wire, *fields, failure=SEVERAL_FAILURES if several else ONE_FAILURE)


def _codec(name: str, request: Shape, answer: Shape, *, prefix: str = "Kv") -> Codec:
    return Codec(f"/tikvpb.Tikv/{prefix}{name}", request, answer, name)


# -- what has a form of its own ------------------------------------------------------------------

_VALUE = custom(
    lambda reply: {"value": reply.value or b"", "not_found": reply.value is None},
    lambda wire: {"value": None if wire.not_found else wire.value},
)

_MUTATION = Shape(
    t.Mutation,
    kvrpcpb.Mutation,
    choice("kind", t.MutationKind, "op"),
    *same("key", "value"),
    choice("assertion", t.Assertion),
)

_ACTIONS = custom(
    lambda request: {"pessimistic_actions": [int(one) for one in request.pessimistic_actions]},
    lambda wire: {
        "pessimistic_actions": tuple(
            member(t.PessimisticAction, one) for one in wire.pessimistic_actions
        )
    },
)

_Constraint = kvrpcpb.PrewriteRequest.ForUpdateTSConstraint
_CONSTRAINTS = custom(
    lambda request: {
        "for_update_ts_constraints": [
            _Constraint(index=index, expected_for_update_ts=expected)
            for index, expected in request.for_update_ts_constraints
        ]
    },
    lambda wire: {
        "for_update_ts_constraints": tuple(
            (one.index, one.expected_for_update_ts) for one in wire.for_update_ts_constraints
        )
    },
)

_TXNS = custom(
    lambda request: {
        "txn_infos": [kvrpcpb.TxnInfo(txn=start, status=end) for start, end in request.txns]
    },
    lambda wire: {"txns": tuple((info.txn, info.status) for info in wire.txn_infos)},
)


def _write_keys(request: Any) -> Mapping[str, Any]:
    """What is locked: each key is a mutation, and "must be absent" its assertion."""
    mutations = [
        kvrpcpb.Mutation(
            op=kvrpcpb.PessimisticLock,
            key=key,
            assertion=kvrpcpb.NotExist if absent else kvrpcpb.NoAssertion,
        )
        for key, absent in request.keys
    ]
    return {"mutations": mutations}


def _read_keys(wire: Any) -> Mapping[str, Any]:
    for mutation in wire.mutations:
        if mutation.op != kvrpcpb.PessimisticLock:
            raise Refused(
                f"a pessimistic lock request locks exclusively; op {mutation.op} does not"
            )
    keys = tuple((one.key, one.assertion == kvrpcpb.NotExist) for one in wire.mutations)
    return {"keys": keys}


def _write_values(reply: Any) -> Mapping[str, Any]:
    """The values, or else which keys are there, or else neither."""
    if reply.values:
        return {
            "values": [value or b"" for value in reply.values],
            "not_founds": [value is None for value in reply.values],
        }
    return {"not_founds": [not found for found in reply.found]}


def _read_values(wire: Any) -> Mapping[str, Any]:
    found = tuple(not absent for absent in wire.not_founds)
    if not wire.values:
        return {"found": found}
    if found and len(found) != len(wire.values):
        raise Refused(f"{len(wire.values)} values, of which {len(found)} may be absent")
    here = found or (True,) * len(wire.values)
    values = tuple(
        value if there else None for value, there in zip(wire.values, here, strict=True)
    )
    return {"values": values, "found": found}


# -- reads ---------------------------------------------------------------------------------------

_READS = (
    _codec(
        "Get",
        _request(t.Get, kvrpcpb.GetRequest, *same("key", "version", "need_commit_ts")),
        _answer(t.GetReply, kvrpcpb.GetResponse, _VALUE, *same("commit_ts")),
    ),
    _codec(
        "BatchGet",
        _request(
            t.BatchGet,
            kvrpcpb.BatchGetRequest,
            many("keys"),
            *same("version", "need_commit_ts"),
        ),
        _answer(t.BatchGetReply, kvrpcpb.BatchGetResponse, PAIRS),
    ),
    _codec(
        "Scan",
        _request(
            t.Scan,
            kvrpcpb.ScanRequest,
            *RANGE,
            *same("version", "limit", "reverse", "key_only"),
            refuse("sample_step", "minitikv samples no scans: leave sample_step unset"),
        ),
        _answer(t.ScanReply, kvrpcpb.ScanResponse, PAIRS),
    ),
    _codec(
        "ScanLock",
        _request(t.ScanLock, kvrpcpb.ScanLockRequest, *RANGE, *same("max_version", "limit")),
        _answer(t.ScanLockReply, kvrpcpb.ScanLockResponse, LOCKS),
    ),
)

# -- the two phases ------------------------------------------------------------------------------

_PHASES = (
    _codec(
        "Prewrite",
        _request(
            t.Prewrite,
            kvrpcpb.PrewriteRequest,
            parts("mutations", _MUTATION),
            named("primary", "primary_lock"),
            START,
            named("ttl_ms", "lock_ttl"),
            *same("for_update_ts", "txn_size", "min_commit_ts", "max_commit_ts"),
            *same("use_async_commit", "try_one_pc", "skip_constraint_check"),
            _ACTIONS,
            _CONSTRAINTS,
            many("secondaries"),
            choice("assertion_level", t.AssertionLevel),
        ),
        _answer(
            t.PrewriteReply,
            kvrpcpb.PrewriteResponse,
            *same("min_commit_ts", "one_pc_commit_ts"),
        ),
    ),
    _codec(
        "Commit",
        _request(
            t.Commit,
            kvrpcpb.CommitRequest,
            many("keys"),
            START,
            named("commit_ts", "commit_version"),
        ),
        _answer(t.CommitReply, kvrpcpb.CommitResponse, named("commit_ts", "commit_version")),
    ),
    _codec(
        "BatchRollback",
        _request(t.BatchRollback, kvrpcpb.BatchRollbackRequest, many("keys"), START),
        _answer(t.BatchRollbackReply, kvrpcpb.BatchRollbackResponse),
    ),
)

# -- what becomes of others' transactions --------------------------------------------------------

_RESOLVING = (
    _codec(
        "Cleanup",
        _request(t.Cleanup, kvrpcpb.CleanupRequest, *same("key", "current_ts"), START),
        _answer(t.CleanupReply, kvrpcpb.CleanupResponse, named("commit_ts", "commit_version")),
    ),
    _codec(
        "CheckTxnStatus",
        _request(
            t.CheckTxnStatus,
            kvrpcpb.CheckTxnStatusRequest,
            named("primary", "primary_key"),
            *same("lock_ts", "caller_start_ts", "current_ts"),
            *same("rollback_if_not_exist", "force_sync_commit"),
            *same("resolving_pessimistic_lock", "verify_is_primary"),
        ),
        _answer(
            t.CheckTxnStatusReply,
            kvrpcpb.CheckTxnStatusResponse,
            named("ttl_ms", "lock_ttl"),
            named("commit_ts", "commit_version"),
            choice("action", t.Action),
            part("lock", LOCK, "lock_info"),
        ),
    ),
    _codec(
        "CheckSecondaryLocks",
        _request(
            t.CheckSecondaryLocks, kvrpcpb.CheckSecondaryLocksRequest, many("keys"), START
        ),
        _answer(
            t.CheckSecondaryLocksReply,
            kvrpcpb.CheckSecondaryLocksResponse,
            LOCKS,
            *same("commit_ts"),
        ),
    ),
    _codec(
        "ResolveLock",
        _request(
            t.ResolveLock,
            kvrpcpb.ResolveLockRequest,
            START,
            named("commit_ts", "commit_version"),
            _TXNS,
            many("keys"),
        ),
        _answer(t.ResolveLockReply, kvrpcpb.ResolveLockResponse),
    ),
    _codec(
        "TxnHeartBeat",
        _request(
            t.TxnHeartBeat,
            kvrpcpb.TxnHeartBeatRequest,
            named("primary", "primary_lock"),
            START,
            named("ttl_ms", "advise_lock_ttl"),
        ),
        _answer(t.TxnHeartBeatReply, kvrpcpb.TxnHeartBeatResponse, named("ttl_ms", "lock_ttl")),
    ),
)

# -- pessimistic locks ---------------------------------------------------------------------------

_FORCE = "minitikv locks no key past a conflict: leave force and wake_up_mode unset"
_LOCKING = (
    _codec(
        "PessimisticLock",
        _request(
            t.PessimisticLock,
            kvrpcpb.PessimisticLockRequest,
            custom(_write_keys, _read_keys),
            named("primary", "primary_lock"),
            START,
            named("ttl_ms", "lock_ttl"),
            named("wait_ms", "wait_timeout"),
            *same("for_update_ts", "is_first_lock", "return_values", "check_existence"),
            *same("lock_only_if_exists", "min_commit_ts"),
            refuse("force", _FORCE),
            refuse("wake_up_mode", _FORCE),
        ),
        _answer(
            t.PessimisticLockReply,
            kvrpcpb.PessimisticLockResponse,
            custom(_write_values, _read_values),
        ),
    ),
    _codec(
        "PessimisticRollback",
        _request(
            t.PessimisticRollback,
            kvrpcpb.PessimisticRollbackRequest,
            many("keys"),
            START,
            *same("for_update_ts"),
        ),
        _answer(t.PessimisticRollbackReply, kvrpcpb.PessimisticRollbackResponse),
        prefix="KV",  # sic: TiKV's name
    ),
)

TXN: Sequence[Codec] = (*_READS, *_PHASES, *_RESOLVING, *_LOCKING)
"""Every transactional method that carries one of our structs."""
