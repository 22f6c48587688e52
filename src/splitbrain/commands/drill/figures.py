"""Figures of a run that a drill may ask for, and which of them were not reached.

The checker ``availability`` measures them; acknowledged operations lost are counted from the
anomalies.  A figure that a run does not have is absent, and a demand for it is neither reached nor
missed: the run is then undecided, never passed.

    >>> shortfalls(Accept(recovery_s=15, availability=0.5), {"recovery_s": 17.25})
    (('recovery-seconds 17.25, at most 15 accepted',), ('no figure for availability',))
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.commands.drill.values import ACCEPT_KEYS, Accept

__all__ = ["every_anomaly", "figures_of", "shortfalls"]

_MEASURED = ("recovery_s", "outage_s", "availability")
_AT_LEAST = frozenset({"availability"})


def figures_of(result: Result) -> dict[str, float]:
    """The figures that a run has."""
    stats: Mapping[str, Any] = {}
    if "availability" in result.checkers:
        stats = result.checkers["availability"].stats
    figures = {name: float(stats[name]) for name in _MEASURED if _is_figure(stats.get(name))}
    lost: Any = stats.get("lost")
    if not _is_figure(lost):
        lost = sum(anomaly.kind.startswith("lost") for anomaly in every_anomaly(result))
    return {"lost": float(lost), **figures}


def _is_figure(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def every_anomaly(result: Result) -> tuple[Anomaly, ...]:
    """The anomalies of a result, or of its parts where it has some."""
    if not result.checkers:
        return result.anomalies
    return tuple(one for part in result.checkers.values() for one in every_anomaly(part))


def shortfalls(
    accept: Accept, figures: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """One line for each figure that was not reached, and one for each that is not there."""
    missed, absent = [], []
    for key, name in ACCEPT_KEYS.items():
        limit = getattr(accept, name)
        if limit is None:
            continue
        if name not in figures:
            absent.append(f"no figure for {key}")
        elif name in _AT_LEAST and figures[name] < limit:
            missed.append(f"{key} {figures[name]:g}, at least {limit:g} demanded")
        elif name not in _AT_LEAST and figures[name] > limit:
            missed.append(f"{key} {figures[name]:g}, at most {limit:g} accepted")
    return tuple(missed), tuple(absent)
