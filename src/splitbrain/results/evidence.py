"""Anomalies of a composed result, in one list: the worst evidence first, none twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.op import Op

__all__ = ["Finding", "findings", "leaves", "pick"]


class Finding(NamedTuple):
    """One anomaly and the name of the checker that found it."""

    checker: str
    anomaly: Anomaly


def leaves(result: Result, name: str = "") -> Iterator[tuple[str, Result]]:
    """Every part of ``result`` that is not itself composed, named by its path: ``keys/linear``."""
    if not result.checkers:
        yield name, result
    for part, inner in result.checkers.items():
        yield from leaves(inner, f"{name}/{part}" if name else part)


def findings(result: Result) -> tuple[Finding, ...]:
    """All anomalies, parts before the whole that may repeat them."""
    found: list[Finding] = []
    seen: set[tuple[str, str, tuple[int, ...]]] = set()
    for name, part in [*leaves(result), *_composed(result)]:
        for anomaly in part.anomalies:
            identity = (anomaly.kind, anomaly.explanation, tuple(anomaly.ops))
            if identity not in seen:
                seen.add(identity)
                found.append(Finding(name, anomaly))
    return tuple(found)


def _composed(result: Result, name: str = "") -> Iterator[tuple[str, Result]]:
    if result.checkers:
        yield name, result
        for part, inner in result.checkers.items():
            yield from _composed(inner, f"{name}/{part}" if name else part)


def pick(history: Sequence[Op], indexes: Iterable[int]) -> dict[int, Op]:
    """The ops of those indexes that the history holds (its positions may differ from indexes)."""
    wanted = dict.fromkeys(indexes)
    found: dict[int, Op] = {}
    for index in wanted:
        if 0 <= index < len(history) and history[index].index == index:
            found[index] = history[index]
    missing = wanted.keys() - found.keys()
    if missing:
        found.update({op.index: op for op in history if op.index in missing})
    return {index: found[index] for index in wanted if index in found}
