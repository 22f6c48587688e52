"""``long-fork``: two readers never see two writes in different orders.

Each key is written once.  Reads of one group of keys, sorted by how many of them were there, must each
hold all that the one before held; where two do not, each saw a write that the other missed, which no
single order of snapshots explains (parallel snapshot isolation allows it, snapshot isolation not).

An ok ``read`` of a group is a list of [key, value or null].  Anomaly: ``long-fork``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.verdict import Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["LongForkChecker"]


class LongForkChecker:
    """Judges reads of groups."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Compare each group's reads."""
        groups: dict[Any, list[tuple[frozenset[Any], Op]]] = {}
        for invoke, end in acknowledged(history, "read"):
            there = frozenset(key for key, value in end.value if value is not None)
            groups.setdefault(invoke.key, []).append((there, end))
        forks, partial = [], 0
        for group, reads in groups.items():
            reads.sort(key=lambda read: (len(read[0]), read[1].index))
            partial += sum(0 < len(there) < len(end.value) for there, end in reads)
            for (less, first), (more, second) in pairwise(reads):
                if not less <= more:
                    one, other = min(less - more), min(more - less)
                    text = (
                        f"group {group}: process {first.process} at {when(first)} saw the write of "
                        f"{one} and not that of {other}, process {second.process} at "
                        f"{when(second)} the other way round"
                    )
                    forks.append(anomaly("long-fork", text, first, second, key=group))
        count = sum(map(len, groups.values()))
        stats = {"groups": len(groups), "reads": count, "partial_reads": partial}
        return result(
            "long-fork", forks, stats, f"{count} reads of {len(groups)} groups in one order"
        )
