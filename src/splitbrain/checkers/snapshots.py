"""``snapshot-reads`` and ``versioned``: what one snapshot shows is one state, and it stays.

Keys of a group are always written together, with one value.  An ok ``read`` is a list of passes, each
[value of each key]: of one group, of one transaction.  Anomalies: ``fractured-read`` (two keys of one
pass differ), ``non-repeatable-read`` (two passes differ).  Where reads are read committed, both are
lawful, and counted.

An ok ``read-at`` of a key is [version, value]: what the key held at an older timestamp.  Anomaly:
``version-changed`` (two reads at the same version differ).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.linearizable.model import show
from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.history import History, freeze
from splitbrain.history.op import Op

__all__ = ["SnapshotChecker", "VersionedChecker"]


class SnapshotChecker:
    """Judges reads of groups that are written together.

    Args:
        lawful: whether reads need not be of one snapshot.
    """

    def __init__(self, *, lawful: bool = False) -> None:
        self.lawful = lawful

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Compare the values of every read."""
        reads = list(acknowledged(history, "read"))
        found = [bad for invoke, end in reads for bad in _fractures(invoke, end)]
        stats: dict[str, Any] = {"reads": len(reads), "wrong": len(found)}
        summary = f"{len(reads)} reads of groups, each of one snapshot"
        if self.lawful and found:
            stats["lawful"] = len(found)
            summary = f"{len(found)} of {len(reads)} reads of no one snapshot, which is allowed"
            found = []
        return result("snapshots", found, stats, summary)


def _fractures(invoke: Op, end: Op) -> Iterator[Anomaly]:
    passes = [freeze(each) for each in end.value]
    about = f"group {invoke.key}: process {end.process} at {when(end)}"
    for values in passes:
        if len(set(values)) > 1:
            text = f"{about} saw {show(values)} of keys that are only written together"
            yield anomaly("fractured-read", text, end, key=invoke.key)
            return
    if len(set(passes)) > 1:
        text = f"{about} saw {show(passes[0])}, and in the same transaction {show(passes[-1])}"
        yield anomaly("non-repeatable-read", text, end, key=invoke.key)


class VersionedChecker:
    """Judges reads at older versions against each other."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Compare reads of one key at one version."""
        first: dict[tuple[Any, int], tuple[Any, Op]] = {}
        found, reads = [], 0
        for invoke, end in acknowledged(history, "read-at"):
            reads += 1
            version, value = end.value
            seen, other = first.setdefault((invoke.key, version), (freeze(value), end))
            if seen != freeze(value):
                text = (
                    f"key {invoke.key} as of {version}: process {other.process} saw {show(seen)} at "
                    f"{when(other)}, process {end.process} {show(freeze(value))} at {when(end)}"
                )
                found.append(anomaly("version-changed", text, other, end, key=invoke.key))
        collected = sum(
            op.f == "read-at" and op.type == "fail" and (op.error or "").startswith("collected")
            for op in history
        )
        stats = {"reads": reads, "versions": len(first), "collected": collected}
        return result("versioned", found, stats, f"{reads} reads at older versions agree")
