"""``unique-ids``: no two successful operations were given the same id.

Each ok ``generate`` returns an id.  An operation that failed or whose outcome is unknown gave its
client nothing, so whatever id it may have used up is nobody's.  The anomaly ``duplicate-id`` names
the operations that were given one id, in order.

    >>> h = History([Op(process=0, type="invoke", f="generate"),
    ...              Op(process=0, type="ok", f="generate", value=7)])
    >>> UniqueIdsChecker().check(h, {}, Budget()).stats["range"]
    [7, 7]

``stats``: attempted_count, acknowledged_count, duplicated_count, duplicated ([id, how often], the
most frequent first), range (least and greatest id, null where they cannot be compared).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.classify import when
from splitbrain.checkers.linearizable.model import show
from splitbrain.checkers.verdict import INVALID, VALID, Anomaly, Result
from splitbrain.errors import RequestError
from splitbrain.history.history import History, freeze
from splitbrain.history.op import Op

__all__ = ["UniqueIdsChecker"]

ANOMALIES_MAX: Final = 20
LISTED_MAX: Final = 48
OPS_MAX: Final = 12

Given = tuple[Op, Op]
"""An operation's invocation and its ok completion."""


class UniqueIdsChecker:
    """Judges histories of ``generate``."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Look for ids that were given twice."""
        attempted = 0
        given: dict[Any, list[Given]] = {}
        for invoke, completion in history.invocations():
            if invoke.f != "generate":
                raise RequestError(
                    f"event {invoke.index}: unique-ids has no function {invoke.f!r}; it knows "
                    "generate; choose another --model"
                )
            attempted += 1
            if completion is not None and completion.type == "ok":
                given.setdefault(freeze(completion.value), []).append((invoke, completion))
        twice = [
            sorted(each, key=lambda pair: pair[1].index)
            for each in given.values()
            if len(each) > 1
        ]
        acknowledged = sum(map(len, given.values()))
        anomalies = tuple(_duplicate(each) for each in twice[:ANOMALIES_MAX])
        often = sorted(twice, key=lambda each: -len(each))[:LISTED_MAX]
        return Result(
            verdict=INVALID if twice else VALID,
            summary=_summary(acknowledged, twice, anomalies),
            anomalies=anomalies,
            stats={
                "attempted_count": attempted,
                "acknowledged_count": acknowledged,
                "duplicated_count": len(twice),
                "duplicated": [[each[0][1].value, len(each)] for each in often],
                "range": _range([each[0][1].value for each in given.values()]),
            },
            kernel="unique-ids",
        )


def _summary(
    acknowledged: int, twice: Sequence[Sequence[Given]], anomalies: Sequence[Anomaly]
) -> str:
    if not twice:
        return f"{acknowledged} ids, no two alike"
    more = f"; {len(twice)} ids were given more than once" if len(twice) > 1 else ""
    return f"{anomalies[0].explanation}{more}"


def _duplicate(each: Sequence[Given]) -> Anomaly:
    (_, first), (_, second) = each[0], each[1]
    more = "" if len(each) == 2 else f", and {len(each) - 2} more times"
    return Anomaly(
        kind="duplicate-id",
        explanation=f"the id {show(freeze(first.value))} was given to process {first.process} at "
        f"{when(first)} and to process {second.process} at {when(second)}{more}",
        ops=tuple(op.index for pair in each[:OPS_MAX] for op in pair),
        picture={"op": second.index},
    )


def _range(ids: Sequence[Any]) -> list[Any] | None:
    numbers = all(isinstance(i, int | float) and not isinstance(i, bool) for i in ids)
    if not ids or not (numbers or all(isinstance(i, str) for i in ids)):
        return None
    return [min(ids), max(ids)]
