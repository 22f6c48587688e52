"""How many operations of each kind came to which end.  Counts only: always valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import VALID, Result
from splitbrain.history.history import History

__all__ = ["StatsChecker"]

ENDS = ("ok", "fail", "info")


class StatsChecker:
    """Counts client operations by function and by outcome; open ones count as info.

    ``stats`` is {"total": counts, "by_f": {f: counts}, "errors": {word: number}}, where counts is
    {"invoke": n, "ok": n, "fail": n, "info": n} and an error's word is what precedes its colon.
    """

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Count."""
        by_f: dict[str, dict[str, int]] = {}
        errors: dict[str, int] = {}
        for invoke, completion in history.invocations():
            counts = by_f.setdefault(invoke.f, dict.fromkeys(("invoke", *ENDS), 0))
            counts["invoke"] += 1
            counts["info" if completion is None else completion.type] += 1
            if completion is not None and completion.error:
                word = completion.error.partition(":")[0]
                errors[word] = errors.get(word, 0) + 1
        total = {end: sum(counts[end] for counts in by_f.values()) for end in ("invoke", *ENDS)}
        return Result(
            verdict=VALID,
            summary=f"{total['invoke']} operations: {total['ok']} ok, {total['fail']} failed, "
            f"{total['info']} of unknown outcome",
            stats={
                "total": total,
                "by_f": dict(sorted(by_f.items())),
                "errors": dict(sorted(errors.items())),
            },
        )
