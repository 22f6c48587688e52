"""A violation as an Anomaly: shrunk, named, told in a sentence, with data for a picture.

The picture of a violation is

- ``ops``: the few calls, each {op, process, what, begin, end, begin_ns, end_ns, outcome}, ``op``
  and ``begin`` being the index of the invocation, ``end`` that of the completion or null;
- ``states``: what the object may have held before the call that could not be explained;
- ``why``: for each call that could come next then, why it cannot;
- ``hidden``: how many calls of the shrunk history are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.classify import classify
from splitbrain.checkers.linearizable.model import Model, show
from splitbrain.checkers.linearizable.prepare import Call, Outcome
from splitbrain.checkers.linearizable.shrink import cut, shrink
from splitbrain.checkers.verdict import INVALID, Anomaly
from splitbrain.history.history import History

__all__ = ["OPS_MAX", "explain"]

OPS_MAX: Final = 12
SECONDS: Final = 5.0
STATES_MAX: Final = 10


def explain(
    key: Any,
    history: History,
    calls: Sequence[Call],
    model: Model,
    outcome: Outcome,
    budget: Budget,
) -> Anomaly:
    """Say what is wrong with the calls of ``key``, which ``outcome`` found not linearizable.

    Spends at most SECONDS, and not more than the budget has left.
    """
    budget = budget.part(SECONDS)
    few: tuple[Call, ...] = tuple(calls)
    final = outcome
    if model.family == "register":
        blamed = [calls[number] for number in outcome.blamed] or calls
        few, final = shrink(blamed, model, budget)
        if final.verdict != INVALID:
            few, final = tuple(cut(tuple(calls), outcome)), outcome
    finding = classify(few, calls, history, model)
    shown = _shown(few, finding.calls)
    about = "" if key is None else f"key {show(key)}: "
    return Anomaly(
        kind=finding.kind,
        explanation=about + finding.explanation,
        ops=tuple(sorted({index for call in shown for index in _indexes(call)})),
        key=key,
        picture={
            "ops": [_drawn(call, model) for call in shown],
            "states": [show(state) for state in final.states[:STATES_MAX]],
            "why": _why(few, final, model),
            "hidden": max(0, len(few) - len(shown)),
        },
    )


def _shown(few: Sequence[Call], named: Sequence[Call]) -> list[Call]:
    """The calls that the sentence names, then those nearest to the end, at most OPS_MAX."""
    by_index = {call.invoke.index: call for call in named}
    for call in sorted(few, key=lambda call: -call.begin):
        if len(by_index) < OPS_MAX:
            by_index.setdefault(call.invoke.index, call)
    return sorted(by_index.values(), key=lambda call: call.begin)[:OPS_MAX]


def _indexes(call: Call) -> list[int]:
    found = [call.invoke.index]
    if call.completion is not None:
        found.append(call.completion.index)
    return found


def _drawn(call: Call, model: Model) -> dict[str, Any]:
    completion = call.completion
    return {
        "op": call.invoke.index,
        "process": call.invoke.process,
        "what": model.describe(call.action),
        "begin": call.invoke.index,
        "end": None if completion is None else completion.index,
        "begin_ns": call.invoke.time_ns,
        "end_ns": None if completion is None else completion.time_ns,
        "outcome": "info" if completion is None else completion.type,
    }


def _why(few: Sequence[Call], outcome: Outcome, model: Model) -> list[str]:
    """Why the call that failed, and nothing before it, could come next."""
    failed = next((call for call in few if call.number == outcome.failed_at), None)
    if failed is None or not outcome.states:
        return []
    what = model.describe(failed.action)
    return [
        f"{what} is impossible where the value is {show(state)}"
        for state in outcome.states[:STATES_MAX]
        if model.step(state, failed.action) is None
    ]
