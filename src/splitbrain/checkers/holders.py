"""``lock``: never two holders at once.

Each ok ``acquire`` of a lock has a token of its own, which its ``release`` names.  A holder certainly
holds from the completion of its acquire to the invocation of its release (or to the end, if it never
tried).  Anomaly ``two-holders``: two such spans of one lock overlap.  An acquire of unknown outcome
holds nothing for certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.found import acknowledged, anomaly, result
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.verdict import Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["HoldersChecker"]


class HoldersChecker:
    """Judges locks."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Sort the spans of each lock and compare neighbours."""
        released = {
            op.value: op.index for op in history if op.f == "release" and op.type == "invoke"
        }
        spans: dict[Any, list[tuple[int, int, Op]]] = {}
        for invoke, end in acknowledged(history, "acquire"):
            until = released.get(end.value, len(history))
            spans.setdefault(invoke.key, []).append((end.index, until, end))
        found = []
        for key, held in spans.items():
            held.sort(key=lambda span: span[0])
            last_until, last = -1, held[0][2]
            for begin, until, end in held:
                if begin < last_until:
                    text = (
                        f"lock {key}: process {last.process} held it since {when(last)} when "
                        f"process {end.process} was given it at {when(end)}"
                    )
                    found.append(anomaly("two-holders", text, last, end, key=key))
                if until > last_until:
                    last_until, last = until, end
        count = sum(map(len, spans.values()))
        stats = {"locks": len(spans), "acquired": count}
        return result("holders", found, stats, f"{count} times held, never by two at once")
