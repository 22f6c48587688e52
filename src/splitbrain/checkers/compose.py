"""Several checkers as one: the worst verdict, every part's evidence.

    >>> from splitbrain.checkers.stats import StatsChecker
    >>> from splitbrain.history.history import History
    >>> compose({"stats": StatsChecker()}).check(History(), {}, Budget()).verdict
    'valid'

A part that raises is a broken checker, not a broken system: it counts as unknown, reason
``checker-crashed``, with its traceback in its stats, and never hides what others found.  A
RequestError is the caller's mistake (a model that does not know the history's functions) and is
passed on, unless another part found the history invalid.  So is what a part returned that breaks its
contract (:mod:`splitbrain.checkers.sound`): a HarnessError with all problems and whose they are.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.sound import result_problems
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Checker, Result, worst
from splitbrain.errors import HarnessError, RequestError, whose
from splitbrain.history.history import History

__all__ = ["Composed", "compose", "merge"]

TRACEBACK_MAX = 4000


class Composed:
    """Runs its parts in the order given, on one budget."""

    def __init__(self, checkers: Mapping[str, Checker]) -> None:
        self.checkers = dict(checkers)

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Judge by every part; later parts get what time earlier ones left."""
        results: dict[str, Result] = {}
        refused: RequestError | None = None
        broken: list[str] = []
        for name, checker in self.checkers.items():
            try:
                results[name] = _check_safely(name, checker, history, options, budget)
            except RequestError as error:
                refused = refused or error
                results[name] = Result(
                    verdict=UNKNOWN, summary=str(error), reason="refused-request"
                )
            problems = result_problems(results[name], history)
            if problems:
                told = f"checker {name}, {whose(checker)}, broke its contract: "
                broken.append(told + "; ".join(problems))
                results[name] = Result(
                    verdict=UNKNOWN, summary=broken[-1], reason="broken-contract"
                )
        merged = merge(results)
        if merged.verdict != INVALID:
            if refused is not None:
                raise refused
            if broken:
                raise HarnessError("; ".join(broken))
        return merged


def compose(checkers: Mapping[str, Checker]) -> Composed:
    """One checker that asks all of ``checkers``."""
    return Composed(checkers)


def merge(results: Mapping[str, Result]) -> Result:
    """One Result of several, by name: the worst verdict, in the words of the first that gave it.

    Anomalies of all parts are kept, in the order of the parts.
    """
    verdict = worst(result.verdict for result in results.values())
    first = next((result for result in results.values() if result.verdict == verdict), None)
    if first is None:
        return Result(verdict=VALID, summary="nothing to check")
    summary = first.summary
    if verdict == VALID and len(results) > 1:
        summary = "; ".join(result.summary for result in results.values())
    return Result(
        verdict=verdict,
        summary=summary,
        reason=first.reason,
        anomalies=tuple(anomaly for result in results.values() for anomaly in result.anomalies),
        kernel="+".join(dict.fromkeys(r.kernel for r in results.values() if r.kernel)) or None,
        assumed=tuple(dict.fromkeys(a for r in results.values() for a in r.assumed)),
        undecided=tuple(f"{n}: {u}" for n, r in results.items() for u in r.undecided),
        checkers=dict(results),
    )


def _check_safely(
    name: str, checker: Checker, history: History, options: Mapping[str, Any], budget: Budget
) -> Result:
    try:
        return checker.check(history, options, budget)
    except RequestError:
        raise
    except Exception as error:  # noqa: BLE001 (any bug of a checker, plug-ins included)
        return Result(
            verdict=UNKNOWN,
            summary=f"checker {name} crashed: {type(error).__name__}: {error}",
            reason="checker-crashed",
            stats={"traceback": traceback.format_exc()[-TRACEBACK_MAX:]},
        )
