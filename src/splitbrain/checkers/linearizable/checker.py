"""The linearizability checker: keys apart, the right engine for each, budgets obeyed.

Each key is an object of its own, and a history is linearizable if and only if each object's part is
(Herlihy & Wing 1990).  For each key ``auto`` takes the first engine that applies:

1. ``zones`` where each value read was written once: O(n log n);
2. ``jit`` for the register family;
3. ``wgl`` for any other model.

Two rounds: first every key with a bound on steps, so that one hard key does not hide a plain
violation in another, then the hard ones with what time there is.  For those of the register family
half of it goes to ``wgl``, which by going deep may be lucky where there is an order to be found;
``jit``, which goes wide, has the other half.  The first violation ends it:
invalid is invalid, and to explain one well is worth more than to count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.explain import explain
from splitbrain.checkers.linearizable.jit import check_jit, jit_applies
from splitbrain.checkers.linearizable.model import Model, make_model, show
from splitbrain.checkers.linearizable.prepare import Call, Outcome, calls_of
from splitbrain.checkers.linearizable.reference import check_reference
from splitbrain.checkers.linearizable.wgl import check_wgl
from splitbrain.checkers.linearizable.zones import check_zones, zones_apply
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID, Result
from splitbrain.errors import RequestError, UnknownName
from splitbrain.history.history import History

__all__ = ["ENGINES", "LinearizableChecker", "decide"]

ENGINES: Final = ("auto", "zones", "jit", "wgl", "reference")
STEPS_FIRST: Final = 20_000
KEY_SECONDS: Final = 20.0
KEYS_LISTED: Final = 500

Calls = tuple[Call, ...]


class LinearizableChecker:
    """Judges whether a history is linearizable under a model.

    Args:
        model: a model, or the name of one.
        engine: one of ENGINES.
        key_seconds: time that one key may take in the second round.

    The options ``engine`` and ``key_seconds`` of ``check``, if given, go before these.  On valid,
    ``stats["crashed_needed"]`` counts the operations of unknown outcome that must have happened to
    explain what was seen, and ``stats["needed"]`` lists the indexes of some.
    """

    def __init__(
        self, model: Model | str, *, engine: str = "auto", key_seconds: float = KEY_SECONDS
    ) -> None:
        self.model: Model = make_model(model) if isinstance(model, str) else model
        if engine not in ENGINES:
            raise UnknownName("engine", engine, ENGINES)
        self.engine = engine
        self.key_seconds = key_seconds

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Judge the client operations of ``history``."""
        engine = str(options.get("engine", self.engine))
        if engine not in ENGINES:
            raise UnknownName("engine", engine, ENGINES)
        key_seconds = float(options.get("key_seconds", self.key_seconds))
        parts = self.model.split(history)
        calls = {key: calls_of(part, self.model) for key, part in parts.items()}
        outcomes: dict[Any, Outcome] = {}
        for steps_max in (STEPS_FIRST, None):
            for key in parts:
                if key in outcomes and outcomes[key].verdict != UNKNOWN:
                    continue
                if budget.exceeded():
                    break
                outcome = decide(
                    calls[key], self.model, engine, budget.part(key_seconds), steps_max
                )
                outcomes[key] = outcome
                if outcome.verdict == INVALID:
                    return self._invalid(key, parts, calls[key], outcomes, budget)
        undecided = [
            key for key in parts if key not in outcomes or outcomes[key].verdict == UNKNOWN
        ]
        if undecided:
            return self._unknown(undecided, parts, outcomes)
        return self._valid(calls, outcomes)

    def _assumed(self) -> tuple[str, ...]:
        return (f"each key is a {self.model.name} of its own, first {show(self.model.init())}",)

    def _invalid(
        self,
        key: Any,
        parts: Mapping[Any, History],
        calls: Calls,
        outcomes: Mapping[Any, Outcome],
        budget: Budget,
    ) -> Result:
        outcome = outcomes[key]
        anomaly = explain(key, parts[key], calls, self.model, outcome, budget)
        left = sum(1 for other in parts if other not in outcomes)
        rest = f"; {_keys(left)} not looked at" if left else ""
        return Result(
            verdict=INVALID,
            summary=f"not linearizable: {anomaly.explanation}{rest}",
            anomalies=(anomaly,),
            stats=_stats(parts, outcomes) | {"keys_not_looked_at": left},
            kernel=outcome.engine,
            assumed=self._assumed(),
        )

    def _unknown(
        self,
        undecided: list[Any],
        parts: Mapping[Any, History],
        outcomes: Mapping[Any, Outcome],
    ) -> Result:
        names = [show(key) for key in undecided]
        listed = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        whole = len(parts) == 1 and undecided == [None]
        what = "the history" if whole else f"{len(names)} of {_keys(len(parts))} ({listed})"
        return Result(
            verdict=UNKNOWN,
            summary=f"undecided within the budget: {what}; allow more time, or use fewer "
            "operations per key or fewer clients at once",
            reason="budget",
            stats=_stats(parts, outcomes),
            kernel=_engines(outcomes),
            assumed=self._assumed(),
            undecided=tuple(
                f"key {name}: {outcomes[key].why if key in outcomes else 'not begun'}"
                for key, name in zip(undecided, names, strict=True)
            ),
        )

    def _valid(self, calls: Mapping[Any, Calls], outcomes: Mapping[Any, Outcome]) -> Result:
        needed = sorted(
            calls[key][number].invoke.index
            for key, outcome in outcomes.items()
            for number in outcome.needed
        )
        total = sum(len(some) for some in calls.values())
        took = f"; {len(needed)} of unknown outcome took effect" if needed else ""
        return Result(
            verdict=VALID,
            summary=f"linearizable: {total} operations on {_keys(len(calls))}{took}",
            stats=_stats(calls, outcomes)
            | {"crashed_needed": len(needed), "needed": needed[:100], "operations": total},
            kernel=_engines(outcomes),
            assumed=self._assumed(),
        )


def decide(
    calls: Calls, model: Model, engine: str, budget: Budget, steps_max: int | None = None
) -> Outcome:
    """Decide the calls of one key by an engine, or by the first that applies.

    Raises:
        RequestError: the engine asked for does not apply to these calls.
    """
    if engine in ("auto", "zones") and zones_apply(calls, model):
        return check_zones(calls, model)
    if engine == "zones":
        raise RequestError(
            "engine zones needs reads and writes only, and each value that is read written "
            "once; use --engine auto"
        )
    if engine == "jit" and not jit_applies(model):
        raise RequestError(f"engine jit does not know model {model.name}; use --engine auto")
    if engine == "auto":
        engine = "jit" if jit_applies(model) else "wgl"
        if engine == "jit" and steps_max is None:
            outcome = check_wgl(calls, model, budget.part(budget.remaining_s() / 2))
            if outcome.verdict != UNKNOWN:
                return outcome
    run: Callable[..., Outcome] = {
        "jit": check_jit,
        "wgl": check_wgl,
        "reference": check_reference,
    }[engine]
    return run(calls, model, budget, steps_max)


def _keys(number: int) -> str:
    return "1 key" if number == 1 else f"{number} keys"


def _engines(outcomes: Mapping[Any, Outcome]) -> str | None:
    return "+".join(sorted({outcome.engine for outcome in outcomes.values()})) or None


def _stats(parts: Mapping[Any, Any], outcomes: Mapping[Any, Outcome]) -> dict[str, Any]:
    engines: dict[str, int] = {}
    for outcome in outcomes.values():
        engines[outcome.engine] = engines.get(outcome.engine, 0) + 1
    return {
        "keys": len(parts),
        "engines": dict(sorted(engines.items())),
        "explored": sum(outcome.explored for outcome in outcomes.values()),
        "by_key": {
            show(key): {
                "engine": outcome.engine,
                "verdict": outcome.verdict,
                "explored": outcome.explored,
                "crashed_needed": len(outcome.needed),
            }
            for key, outcome in list(outcomes.items())[:KEYS_LISTED]
        },
    }
