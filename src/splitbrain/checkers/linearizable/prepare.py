"""From events to calls: intervals on the axis of event indexes, each with an action.

A call lasts from the index of its invocation to that of its completion.  Indexes, not times: the
order in which the harness saw events is total, and two calls are ordered only if one was seen to
end before the other was seen to begin.  A call whose outcome is unknown ends at OPEN, later than
everything, and need not happen at all.  Crashed reads, and failures that observed nothing, say
nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from splitbrain.checkers.linearizable.model import Action, Model
from splitbrain.history.history import History
from splitbrain.history.op import Op

__all__ = ["OPEN", "Call", "Outcome", "calls_of", "is_linearization"]

OPEN: Final = 1 << 62
"""The end of a call that may yet happen."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on one object.

    Attributes:
        number: place among the calls of its key, which are ordered by ``begin``.
        begin: index of the invocation.
        end: index of the completion, or OPEN.
        action: what it did, or would do.
        invoke: the invocation.
        completion: the completion, if there is one.
    """

    number: int
    begin: int
    end: int
    action: Action
    invoke: Op
    completion: Op | None = None

    @property
    def crashed(self) -> bool:
        """Whether nobody knows if it happened."""
        return self.end == OPEN


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's answer for the calls of one key.

    Attributes:
        verdict: as in a Result.
        engine: who answered.
        order: for valid, where the engine has it: call numbers in an order that the model accepts.
        needed: for valid, numbers of the crashed calls that it takes to explain the history.
        blamed: for invalid, numbers of calls that cannot be explained together, if known.
        failed_at: for invalid, number of the call at whose completion no order was left, if known.
        states: for invalid, the states that were possible before ``failed_at``, if known.
        explored: steps or configurations looked at.
        why: for unknown, which bound ended the search.
    """

    verdict: str
    engine: str
    order: tuple[int, ...] | None = None
    needed: tuple[int, ...] = ()
    blamed: tuple[int, ...] = ()
    failed_at: int | None = None
    states: tuple[Any, ...] = ()
    explored: int = 0
    why: str | None = None


def calls_of(history: History, model: Model) -> tuple[Call, ...]:
    """The calls of one key's history, ordered by invocation.

    Raises:
        RequestError: the model does not know a function, or a value is not as it should be.
    """
    calls: list[Call] = []
    for invoke, completion in history.invocations():
        action = model.action(invoke, completion)
        if action is None:
            continue
        known = completion is not None and completion.type != "info"
        end = completion.index if completion is not None and known else OPEN
        calls.append(
            Call(
                number=len(calls),
                begin=invoke.index,
                end=end,
                action=action,
                invoke=invoke,
                completion=completion,
            )
        )
    return tuple(calls)


def is_linearization(calls: Sequence[Call], order: Sequence[int], model: Model) -> bool:
    """Whether ``order`` holds every completed call, respects real time, and suits the model.

    >>> is_linearization((), (), model=None)
    True
    """
    placed = set(order)
    if len(placed) != len(order):
        return False
    if any(call.number not in placed and not call.crashed for call in calls):
        return False
    earliest_end = OPEN
    for number in reversed(order):
        if earliest_end < calls[number].begin:
            return False
        earliest_end = min(earliest_end, calls[number].end)
    if not order:
        return True
    state: Any = model.init()
    for number in order:
        state = model.step(state, calls[number].action)
        if state is None:
            return False
    return True
