"""A violation as an Anomaly: shrunk, named, told in a sentence, with data for a picture.

The picture of a violation is

- ``ops``: the few calls, each {op, process, what, begin, end, begin_ns, end_ns, outcome}, ``op``
  and ``begin`` being the index of the invocation, ``end`` that of the completion or null;
- ``hidden``: how many calls of the shrunk history are not shown;
- ``op``, ``states``, ``order``, ``scope``, ``why``: what the object may have held just before the
  call that nothing explains, and why that call cannot come next (``states``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.classify import classify
from splitbrain.checkers.linearizable.model import Model, show
from splitbrain.checkers.linearizable.prepare import Call, Outcome
from splitbrain.checkers.linearizable.shrink import cut, shrink
from splitbrain.checkers.linearizable.states import states_picture
from splitbrain.checkers.verdict import INVALID, Anomaly
from splitbrain.history.history import History

__all__ = ["OPS_MAX", "explain"]

OPS_MAX: Final = 12
SECONDS: Final = 5.0


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
            "hidden": max(0, len(few) - len(shown)),
            **states_picture(calls, few, shown, model, budget),
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
