"""The states before a failing call, as data for a reader: ``possible`` put into words.

    {"op": 2079, "scope": "whole", "calls": 168, "left_out": 2,
     "states": [{"state": "1041", "order": [2008, 2038], "earlier": 166, "open": [],
                 "next": [{"op": 2078, "what": "read 1017",
                           "why": "read 1017 needs the value 1017; here it is 1041"}]}],
     "more_states": 0,
     "order": [[2008, "1031"], [2038, "1041"]],
     "why": ["read 1017 needs the value 1017; here it is 1041"]}

``op`` is the end of the call that nothing explains, every other number the index of an invocation.
``scope`` says of which calls this is true: ``whole`` of all of the object's (but for ``left_out``
observations, which fit as little and would have ended the search before the call that the
explanation names), ``few`` of those alone that are shown.  A state's ``order`` is the end of one
order that leaves it, ``earlier`` counts what comes before that, ``open`` names those in it that
were not known to have happened yet.  ``next`` has, for each call that might come next, ``why`` it
cannot or the state that it ``leads`` to.  The picture's ``order`` is that of the first state, each
call with the state after it.

Where no states are to be had, ``states`` is empty and ``unstated`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.model import Model, show
from splitbrain.checkers.linearizable.possible import (
    Possibilities,
    Possibility,
    possible_states,
    why_not,
)
from splitbrain.checkers.linearizable.prepare import OPEN, Call

__all__ = ["STATES_MAX", "states_picture"]

STATES_MAX: Final = 10
SECONDS: Final = 2.0
WITNESS_MAX: Final = 8
ORDER_MAX: Final = 60
NEXT_MAX: Final = 8
TEXT_MAX: Final = 200

UNSTATED: Final[Mapping[str | None, str]] = {
    "time": "the states could not be found within the time left for explaining",
    "size": "too many orders are possible to list the states that they leave",
    None: "no single call is at fault where the states could be listed",
}


def states_picture(
    calls: Sequence[Call],
    few: Sequence[Call],
    shown: Sequence[Call],
    model: Model,
    budget: Budget,
) -> dict[str, Any]:
    """The fields told above.

    Args:
        calls: of the object, numbered by their places.
        few: the same, or those to which it was shrunk, numbered anew.
        shown: the calls that a reader sees: the failing call is one of them.
        model: the object.
        budget: at most SECONDS of it are spent.
    """
    budget = budget.part(SECONDS)
    named = {call.invoke.index for call in shown}
    for scope, some in (("whole", calls), ("few", few)):
        about = {call.number for call in some if call.invoke.index in named}
        found = possible_states(some, model, budget, about)
        if found.failed in about:
            return _told(scope, some, found, model)
    why = "time" if budget.exceeded() else found.why
    return {"states": [], "unstated": UNSTATED[why]}


def _told(
    scope: str, calls: Sequence[Call], found: Possibilities, model: Model
) -> dict[str, Any]:
    assert found.failed is not None, "the caller has looked"
    failed = calls[found.failed]
    shown = found.states[:STATES_MAX]
    reasons = [why_not(model, possibility.state, failed.action) for possibility in shown]
    end = failed.completion.index if failed.completion is not None else failed.invoke.index
    return {
        "op": end,
        "scope": scope,
        "calls": sum(1 for call in calls if call.begin < failed.end),
        "left_out": len(found.left_out),
        "states": [_state(possibility, calls, failed, model) for possibility in shown],
        "more_states": len(found.states) - len(shown),
        "order": _line(shown[0].order, calls, model) if shown else [],
        "why": [_short(reason) for reason in reasons if reason is not None],
    }


def _state(
    possibility: Possibility, calls: Sequence[Call], failed: Call, model: Model
) -> dict[str, Any]:
    state, order = possibility.state, possibility.order
    waiting = [
        call
        for call in calls
        if call.begin < failed.end <= call.end and call.number not in set(order)
    ]
    waiting.sort(key=lambda call: (call is not failed, call.end, call.begin))
    once = {call.action: call for call in reversed(waiting)}
    once[failed.action] = failed
    following = [call for call in waiting if once[call.action] is call]
    return {
        "state": _short(show(state)),
        "order": [calls[number].invoke.index for number in order[-WITNESS_MAX:]],
        "earlier": max(0, len(order) - WITNESS_MAX),
        "open": [
            {
                "op": calls[number].invoke.index,
                "what": _short(model.describe(calls[number].action)),
                "crashed": calls[number].end == OPEN,
            }
            for number in order
            if calls[number].end >= failed.end
        ][:NEXT_MAX],
        "next": [_next(call, state, model) for call in following[:NEXT_MAX]],
        "more_next": max(0, len(following) - NEXT_MAX),
    }


def _next(call: Call, state: Any, model: Model) -> dict[str, Any]:
    told = {"op": call.invoke.index, "what": _short(model.describe(call.action))}
    reason = why_not(model, state, call.action)
    if reason is not None:
        return {**told, "why": _short(reason)}
    return {**told, "leads": _short(show(model.step(state, call.action)))}


def _line(order: Sequence[int], calls: Sequence[Call], model: Model) -> list[list[Any]]:
    """The end of an order, each call with the state that it leaves."""
    state, line = model.init(), []
    for number in order:
        state = model.step(state, calls[number].action)
        line.append([calls[number].invoke.index, state])
    return [[index, _short(show(state))] for index, state in line[-ORDER_MAX:]]


def _short(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
