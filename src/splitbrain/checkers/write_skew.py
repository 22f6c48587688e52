"""``write-skew``: of each pair, at least one is on; and who may see both off.

Whoever leaves a pair first reads both, and stays if the other is off.  Two that do so at once, each by
a snapshot of its own, leave both off.  Snapshot isolation allows that: it is counted and named under
``stats.lawful``.  A serializable system does not: anomaly ``write-skew``.

An ok ``read`` of a pair is [on, on].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.verdict import Result
from splitbrain.history.history import History

__all__ = ["WriteSkewChecker"]


class WriteSkewChecker:
    """Judges reads of pairs.

    Args:
        lawful: whether the level allows write skew.
    """

    def __init__(self, *, lawful: bool) -> None:
        self.lawful = lawful

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Look for pairs of which both are off."""
        reads = list(acknowledged(history, "read"))
        found = []
        for invoke, end in reads:
            if not any(end.value):
                leaves = [
                    done
                    for first, done in acknowledged(history, "leave")
                    if first.key == invoke.key and done.index < end.index
                ][-2:]
                text = f"pair {invoke.key}: process {end.process} at {when(end)} saw both off"
                found.append(anomaly("write-skew", text, *leaves, end, key=invoke.key))
        stats = {"reads": len(reads), "both_off": len(found)}
        summary = f"{len(reads)} reads of pairs, none with both off"
        if self.lawful and found:
            summary = (
                f"write skew was seen by {len(found)} of {len(reads)} reads, which snapshot "
                "isolation allows"
            )
            return result(
                "write-skew", [], {**stats, "lawful": {"write-skew": len(found)}}, summary
            )
        return result("write-skew", found, stats, summary)
