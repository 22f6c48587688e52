"""Locks that a pessimistic transaction takes before it writes: what is asked, and what is answered."""

from __future__ import annotations

import msgspec

from splitbrain.cluster.messages.context import HERE, Context
from splitbrain.cluster.messages.key_errors import TxnError
from splitbrain.cluster.messages.region_errors import RegionError

__all__ = [
    "PessimisticLock",
    "PessimisticLockReply",
    "PessimisticRollback",
    "PessimisticRollbackReply",
]


class PessimisticLock(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Lock keys of one region before they are written; all or none.

    Attributes:
        keys: each with "must be absent".
        for_update_ts: the keys are locked (and read) as of this.
        wait_ms: how long to wait for another's lock: < 0 not at all, 0 the store's default.
        return_values: tell the values, as of for_update_ts.
        check_existence: tell whether they are there.
        lock_only_if_exists: leave absent keys unlocked.
    """

    keys: tuple[tuple[bytes, bool], ...]
    primary: bytes
    start_ts: int
    for_update_ts: int
    ttl_ms: int = 20_000
    is_first_lock: bool = False
    wait_ms: int = 0
    return_values: bool = False
    check_existence: bool = False
    lock_only_if_exists: bool = False
    min_commit_ts: int = 0
    context: Context = HERE


class PessimisticLockReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``values`` (None: absent) in the order of the keys, if asked; ``found`` likewise."""

    values: tuple[bytes | None, ...] = ()
    found: tuple[bool, ...] = ()
    errors: tuple[TxnError, ...] = ()
    region_error: RegionError | None = None


class PessimisticRollback(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Drop pessimistic locks up to ``for_update_ts``; no keys: all in the region."""

    keys: tuple[bytes, ...]
    start_ts: int
    for_update_ts: int
    context: Context = HERE


class PessimisticRollbackReply(
    msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False
):
    """Done, unless an error."""

    errors: tuple[TxnError, ...] = ()
    region_error: RegionError | None = None
