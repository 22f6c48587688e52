"""Do the replicas hold the same at the end?  Judged by what an operation ``replicas`` has found.

Its ok value is a list, for each region: ``region``, ``index`` of the log at which all hashed, ``roots``
by node, ``skipped``: node to a word why it made no hash, and where roots differ ``diff``: what of which
key (``column``, ``key``, ``version``) each node ``held``, None for nothing.

Two unequal roots of one index are an anomaly.  A replica that skipped is counted and says nothing: a
region of which fewer than two replicas were compared leaves the verdict open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["DIVERGENCE", "REPLICAS", "ReplicaChecker", "is_complete"]

REPLICAS: Final = "replicas"
"""The operation."""
DIVERGENCE: Final = "replica-divergence"
KEYS_TOLD: Final = 5


def is_complete(value: Any) -> bool:
    """Whether every replica of every region was compared."""
    return bool(value) and all(one["roots"] and not one["skipped"] for one in value)


class ReplicaChecker:
    """Invalid if replicas differ at one index, by any check; the last check is counted."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Look at all answers."""
        checks = [op for op in history if op.f == REPLICAS and op.type == "ok"]
        anomalies = tuple(
            _anomaly(op, region)
            for op in checks
            for region in op.value
            if len(set(region["roots"].values())) > 1
        )
        regions = checks[-1].value if checks else []
        open_ = [one["region"] for one in regions if len(one["roots"]) < 2]
        stats = {
            "checks": len(checks),
            "regions": len(regions),
            "compared": sum(len(one["roots"]) for one in regions),
            "skipped": sum(len(one["skipped"]) for one in regions),
            "keys": sum(one.get("keys", 0) for one in regions),
        }
        if anomalies:
            more = f"; {len(anomalies)} anomalies" if len(anomalies) > 1 else ""
            summary = f"{anomalies[0].explanation}{more}"
            return Result(
                verdict=INVALID,
                summary=summary,
                anomalies=anomalies,
                stats=stats,
                kernel=REPLICAS,
            )
        if not regions or open_:
            which = f"of region {open_[0]} " if open_ else ""
            summary = f"fewer than two replicas {which}were compared"
            return Result(
                verdict=UNKNOWN,
                summary=summary,
                reason="not-compared",
                stats=stats,
                kernel=REPLICAS,
            )
        summary = (
            f"{stats['compared']} replicas of {len(regions)} regions hold the same "
            f"{stats['keys']} keys; {stats['skipped']} skipped"
        )
        return Result(verdict=VALID, summary=summary, stats=stats, kernel=REPLICAS)


def _anomaly(op: Op, region: Mapping[str, Any]) -> Anomaly:
    diff = region.get("diff") or []
    told = "; ".join(map(_words, diff[:KEYS_TOLD])) or f"roots {region['roots']}"
    count = len(diff) + region.get("more", 0)
    rest = f"; {count} differences" if count > KEYS_TOLD else ""
    return Anomaly(
        kind=DIVERGENCE,
        explanation=f"replicas of region {region['region']} differ at index {region['index']}: "
        f"{told}{rest}",
        ops=(op.index,),
        key=diff[0]["key"] if diff else None,
        picture={"op": op.index, "region": region["region"], "diff": diff[:KEYS_TOLD]},
    )


def _words(one: Mapping[str, Any]) -> str:
    at = f" at {one['version']}" if one["version"] else ""
    by: dict[Any, list[str]] = {}
    for node, value in one["held"].items():
        by.setdefault(value, []).append(node)
    held = ", ".join(
        f"{' '.join(nodes)}: {'nothing' if value is None else value}"
        for value, nodes in by.items()
    )
    return f"{one['column']} {one['key']}{at} ({held})"
