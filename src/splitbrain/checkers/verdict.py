"""What a checker says: three verdicts, and the evidence.

``unknown`` is an honest verdict and never reported as valid; merging keeps the worst, so that an
anomaly found by one checker is never hidden by another that gave up.

    >>> worst([VALID, UNKNOWN, VALID])
    'unknown'
    >>> worst([])
    'valid'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from splitbrain.checkers.budget import Budget
from splitbrain.history.history import History

__all__ = ["INVALID", "UNKNOWN", "VALID", "Anomaly", "Checker", "Result", "Verdict", "worst"]

Verdict = Literal["valid", "invalid", "unknown"]
VALID: Verdict = "valid"
INVALID: Verdict = "invalid"
UNKNOWN: Verdict = "unknown"

_RANK = {VALID: 0, UNKNOWN: 1, INVALID: 2}


class Anomaly(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that should not have happened.

    Attributes:
        kind: a fixed word such as ``stale-read``, ``lost-write``, ``node-crash``.
        explanation: in words, with the operations' processes, values and times.
        ops: indexes of the few operations that matter, in order.
        key: the object concerned, or None.
        picture: data for a drawing (JSON-able); its meaning belongs to the kind.
    """

    kind: str
    explanation: str
    ops: tuple[int, ...] = ()
    key: Any = None
    picture: Mapping[str, Any] | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One checker's answer.

    Attributes:
        verdict: valid, invalid or unknown.
        summary: one sentence.
        reason: for unknown, a fixed word: ``budget``, ``vacuous``, ``no-effect`` ...
        anomalies: the evidence; not empty when invalid.
        stats: figures (JSON-able).
        kernel: which engine ran, such as ``zones`` or ``wgl``.
        assumed: what was taken for granted.
        undecided: what was left open, such as keys over their budget.
        checkers: parts, by name, where this result is composed of others.
    """

    verdict: Verdict
    summary: str
    reason: str | None = None
    anomalies: tuple[Anomaly, ...] = ()
    stats: Mapping[str, Any] = {}
    kernel: str | None = None
    assumed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    checkers: Mapping[str, Result] = {}


class Checker(Protocol):
    """Judges a history and nothing else: pure, and the same answer for the same history."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Judge ``history`` within ``budget``."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of some verdicts: invalid over unknown over valid; valid if there are none."""
    return max(verdicts, key=_RANK.__getitem__, default=VALID)
