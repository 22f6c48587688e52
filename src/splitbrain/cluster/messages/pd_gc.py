"""Garbage collection: below which timestamp old versions may be gone, and who forbids more."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.pd_errors import PdError
from splitbrain.cluster.messages.pd_types import GcBarrier

__all__ = [
    "GetGcSafePoint",
    "GetGcSafePointReply",
    "GetGcState",
    "GetGcStateReply",
    "PdGcAnswer",
    "PdGcRequest",
    "UpdateGcSafePoint",
    "UpdateGcSafePointReply",
    "UpdateServiceGcSafePoint",
    "UpdateServiceGcSafePointReply",
]


class GetGcSafePoint(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Below which timestamp may old versions be gone?"""

    cluster_id: int = 0


class GetGcSafePointReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """0: none yet."""

    safe_point: int = 0
    error: PdError | None = None


class UpdateGcSafePoint(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Move the safe point forward; it stops at the lowest of the services' own."""

    safe_point: int
    cluster_id: int = 0


class UpdateGcSafePointReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Where it is now: it never goes back, and may be below what was wanted."""

    safe_point: int = 0
    error: PdError | None = None


class UpdateServiceGcSafePoint(
    msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False
):
    """Keep everything from ``safe_point`` on for ``ttl_s`` seconds; not positive: no longer."""

    service_id: str
    ttl_s: int
    safe_point: int
    cluster_id: int = 0


class UpdateServiceGcSafePointReply(
    msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False
):
    """The lowest of all; above the wanted one: refused, as what was to be kept may be gone."""

    service_id: str = ""
    ttl_s: int = 0
    min_safe_point: int = 0
    error: PdError | None = None


class GetGcState(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Safe points and those who hold them back."""

    cluster_id: int = 0


class GetGcStateReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``txn_safe_point``: no snapshot below it may be begun; here equal to ``gc_safe_point``."""

    txn_safe_point: int = 0
    gc_safe_point: int = 0
    barriers: tuple[GcBarrier, ...] = ()
    error: PdError | None = None


PdGcRequest: TypeAlias = (
    GetGcSafePoint | UpdateGcSafePoint | UpdateServiceGcSafePoint | GetGcState
)
PdGcAnswer: TypeAlias = (
    GetGcSafePointReply
    | UpdateGcSafePointReply
    | UpdateServiceGcSafePointReply
    | GetGcStateReply
)
