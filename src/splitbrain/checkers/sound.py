"""What a checker returns is checked: a verdict without evidence condemns nobody.

All that is wrong is told at once, so that the author of a plug-in mends it once.

    >>> from splitbrain.history.history import History
    >>> result_problems(Result(verdict="invalid", summary="bad"), History())
    ('invalid without an anomaly: say what should not have happened',)
    >>> result_problems(None, History())
    ('it returned None, not a Result',)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.writable import unwritable

__all__ = ["result_problems"]

_SHOWN_MAX = 200


def result_problems(result: Any, history: History) -> tuple[str, ...]:
    """In which points ``result`` breaks the contract of ``Checker.check``; none for a sound one."""
    if not isinstance(result, Result):
        return (f"it returned {repr(result)[:_SHOWN_MAX]}, not a Result",)
    return tuple(_problems(result, history))


def _problems(result: Result, history: History) -> Iterator[str]:
    if result.verdict not in (VALID, INVALID, UNKNOWN):
        yield f"the verdict {result.verdict!r} is none of valid, invalid, unknown"
    if not isinstance(result.summary, str):
        yield f"the summary must be text, not {type(result.summary).__name__}"
    if result.verdict == INVALID and not result.anomalies:
        yield "invalid without an anomaly: say what should not have happened"
    if result.verdict == UNKNOWN and not result.reason:
        yield "unknown without a reason: give a fixed word"
    indexes: set[int] | None = None
    for number, anomaly in enumerate(result.anomalies):
        if not isinstance(anomaly, Anomaly):
            yield f"anomaly {number} is a {type(anomaly).__name__}, not an Anomaly"
            continue
        if indexes is None:
            indexes = {op.index for op in history}
        yield from _anomaly_problems(number, anomaly, indexes)
    told = unwritable("stats", result.stats)
    if told is not None:
        yield told
    for name, part in result.checkers.items():
        yield from (f"part {name}: {problem}" for problem in result_problems(part, history))


def _anomaly_problems(number: int, anomaly: Anomaly, indexes: set[int]) -> Iterator[str]:
    name = f"anomaly {number}"
    if not isinstance(anomaly.kind, str) or not anomaly.kind:
        yield f"{name} has no kind: give a fixed word such as lost-write"
    if not isinstance(anomaly.explanation, str) or not anomaly.explanation:
        yield f"{name} has no explanation"
    strange = [index for index in anomaly.ops if index not in indexes]
    if strange:
        listed = ", ".join(repr(index) for index in strange[:5])
        yield f"{name} names operations that the history does not hold: {listed}"
    for what, value in (("key", anomaly.key), ("picture", anomaly.picture)):
        told = unwritable(f"the {what} of {name}", value)
        if told is not None:
            yield told
