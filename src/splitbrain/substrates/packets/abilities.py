"""Which faults of links an agent can do where it runs, from what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.contracts.fault import Fault, Shape

__all__ = ["impossible_shape", "missing_faults"]

_QUEUED = {
    Fault.DELAY: ("delay_ms", "jitter_ms"),
    Fault.RATE: ("rate_kbps",),
    Fault.DUPLICATION: ("duplicate",),
    Fault.REORDERING: ("reorder",),
    Fault.CORRUPTION: ("corrupt",),
}


def missing_faults(hello: Mapping[str, Any]) -> Mapping[Fault, str]:
    """Of the faults of links, those that the agent cannot do, and why.

    Args:
        hello: its answer to ``hello``.

    >>> missing_faults({"missing": {}})
    {}
    >>> [str(it) for it in sorted(missing_faults({"missing": {"nfqueue": "no such protocol"}}))]
    ['corruption', 'delay', 'duplication', 'rate', 'reordering']
    """
    missing: Mapping[str, str] = hello.get("missing", {})
    faults: dict[Fault, str] = {}
    if rules := missing.get("iptables"):
        faults[Fault.PARTITION] = faults[Fault.ONE_WAY] = f"packets cannot be dropped: {rules}"
    queue = missing.get("queue-rule") or missing.get("nfqueue")
    if queue:
        why = f"packets cannot be queued (NFQUEUE): {queue}"
        faults |= dict.fromkeys(_QUEUED, why)
        if statistic := missing.get("statistic"):
            faults[Fault.LOSS] = f"{why}; nor lost by chance: {statistic}"
    return faults


def impossible_shape(shape: Shape, hello: Mapping[str, Any]) -> str:
    """Why the agent cannot do this shape; empty if it can."""
    missing = missing_faults(hello)
    for fault, fields in _QUEUED.items():
        if fault in missing and any(getattr(shape, field) for field in fields):
            return f"{fault}: {missing[fault]}"
    if shape.loss and Fault.LOSS in missing:
        return f"{Fault.LOSS}: {missing[Fault.LOSS]}"
    return ""
