"""The result of a checker that collects anomalies and figures: invalid if there is one, else valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from splitbrain.checkers.verdict import INVALID, VALID, Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["acknowledged", "anomaly", "result"]

LISTED_MAX: Final = 50


def result(
    kernel: str, anomalies: Sequence[Anomaly], stats: Mapping[str, Any], summary: str
) -> Result:
    """Invalid with the first anomaly's explanation; valid with ``summary``."""
    if not anomalies:
        return Result(verdict=VALID, summary=summary, stats=stats, kernel=kernel)
    more = f"; {len(anomalies)} anomalies" if len(anomalies) > 1 else ""
    return Result(
        verdict=INVALID,
        summary=f"{anomalies[0].explanation}{more}",
        anomalies=tuple(anomalies[:LISTED_MAX]),
        stats=stats,
        kernel=kernel,
    )


def anomaly(kind: str, text: str, *ops: Op, key: Any = None) -> Anomaly:
    """An anomaly of some events, of which the last one in the history cannot be."""
    indexes = tuple(sorted({op.index for op in ops}))
    return Anomaly(
        kind=kind, explanation=text, ops=indexes, key=key, picture={"op": indexes[-1]}
    )


def acknowledged(history: History, f: str) -> Iterator[tuple[Op, Op]]:
    """Invocations and ok completions of a function, by invocation."""
    for invoke, end in history.invocations():
        if invoke.f == f and end is not None and end.type == "ok":
            yield invoke, end
