"""Scheduled faults that a run did without, in words: for the terminal, result.json and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from splitbrain.contracts.spec import LeftOut, TestSpec
from splitbrain.results.text import plural

__all__ = ["left_out_counts", "left_out_lines"]


def _name(left: LeftOut) -> str:
    fault = left.fault.f.partition("-")[2]
    return fault if left.lacks.startswith(fault) else f"{fault} ({left.lacks})"


def left_out_counts(left_out: Iterable[LeftOut]) -> Mapping[str, int]:
    """How many of each kind of fault, such as ``{"loss": 2, "partition (one-way)": 1}``."""
    return dict(sorted(Counter(map(_name, left_out)).items()))


def left_out_lines(spec: TestSpec | None) -> list[str]:
    """A line for each reason why faults were left out; none if none were."""
    reasons: dict[str, list[LeftOut]] = {}
    for left in spec.left_out if spec is not None else ():
        reasons.setdefault(left.why, []).append(left)
    lines = []
    for why, found in reasons.items():
        named = ", ".join(f"{name} {n}\u00d7" for name, n in left_out_counts(found).items())
        lines.append(f"{plural(len(found), 'scheduled fault')} left out: {named}: {why}")
    return lines
