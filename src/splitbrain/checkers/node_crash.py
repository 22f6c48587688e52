"""A node that ended without being told to, or whose own assertion failed, is a bug found.

The harness records such an end as an event of the nemesis's process: f ``node-crash``, type info,
``node`` the node, value {"exit": status, "reason": words, "log": [last lines]}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import INVALID, VALID, Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

__all__ = ["NODE_CRASH", "NodeCrashChecker"]

NODE_CRASH = "node-crash"
"""The event's f, and the anomaly's kind."""

LOG_LINES_MAX = 20


class NodeCrashChecker:
    """Invalid if any node crashed by itself: one anomaly of kind ``node-crash`` each."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Look for events ``node-crash``."""
        crashes = [op for op in history if op.process == NEMESIS and op.f == NODE_CRASH]
        if not crashes:
            return Result(verdict=VALID, summary="no node crashed by itself")
        anomalies = tuple(_anomaly(op) for op in crashes)
        more = f" (and {len(crashes) - 1} more)" if len(crashes) > 1 else ""
        nodes: dict[str, int] = {}
        for op in crashes:
            name = op.node or "?"
            nodes[name] = nodes.get(name, 0) + 1
        return Result(
            verdict=INVALID,
            summary=anomalies[0].explanation + more,
            anomalies=anomalies,
            stats={"crashes": dict(sorted(nodes.items()))},
        )


def _anomaly(op: Op) -> Anomaly:
    value: Mapping[str, Any] = op.value if isinstance(op.value, Mapping) else {}
    reason = value.get("reason") or "no reason given"
    log = [str(line) for line in value.get("log") or ()][-LOG_LINES_MAX:]
    status = value.get("exit")
    left = "" if status is None else f" (exit status {status})"
    return Anomaly(
        kind=NODE_CRASH,
        explanation=f"node {op.node} crashed by itself at {op.time_ns / 1e9:.3f} s"
        f"{left}: {reason}",
        ops=(op.index,),
        picture={"node": op.node, "time_ns": op.time_ns, "exit": status, "log": log},
    )
