"""What an anomaly's picture says of states, ready for a template.

Checkers of linearizability give, for each state that was possible just before the failing call, one
order that leaves it and why each call that would have to come next cannot (``checkers.linearizable.
states``).  Others may give ``states`` as plain text or as ``{"state": ..., "why": ...}``, and
``impossible`` as ``{"op": index, "state": ..., "why": ...}``.  Whatever has another shape is left out:
a report opens in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.results.report.brief import brief, cut
from splitbrain.results.text import key_text, plural, value_text

__all__ = ["Reasoning", "State", "Step", "line_of", "listed", "reasoning_of"]

_STATES_MAX = 20
_STEPS_MAX = 40
_ORDER_MAX = 200
_TEXT_MAX = 400


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that might come next, and why it cannot (or what it leads to)."""

    op: int | None = None
    what: str = ""
    state: str = ""
    why: str = ""
    leads: str | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A possible state.

    Attributes:
        order: the end of an order that leaves it, as indexes of invocations.
        earlier: how many come before those.
        needs: operations of that order of which nobody knew yet that they had happened.
        impossible: what cannot come next.
        leads: what can, to another state of the list.
    """

    state: str = ""
    why: str = ""
    order: tuple[int, ...] = ()
    earlier: int = 0
    needs: tuple[Step, ...] = ()
    impossible: tuple[Step, ...] = ()
    leads: tuple[Step, ...] = ()
    more_next: int = 0


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """All that a card says of states.

    Attributes:
        about: of which operations it is true, as a sentence; may be empty.
        states: those that were possible.
        more_states: how many more there are.
        impossible: steps that belong to no single state.
        order: an order that explains everything before, where a checker gave only that.
        line: the order that is drawn: invocation and the state after it.
        unstated: why there are no states, if that is known.
    """

    about: str = ""
    states: tuple[State, ...] = ()
    more_states: int = 0
    impossible: tuple[Step, ...] = ()
    order: tuple[int, ...] = ()
    line: tuple[tuple[int, str], ...] = ()
    unstated: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.states or self.impossible or self.order or self.unstated)

    @property
    def witnessed(self) -> bool:
        """Whether any state comes with an order that leaves it."""
        return any(state.order or state.impossible for state in self.states)


def listed(value: Any) -> list[Any]:
    """A list's items; nothing of anything else."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in listed(value) if isinstance(item, Mapping)]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(value: Any) -> str:
    return cut(
        value if isinstance(value, str) else value_text(brief(value, _TEXT_MAX)), _TEXT_MAX
    )


def _step(item: Mapping[str, Any]) -> Step:
    op = item.get("op")
    return Step(
        op=op if isinstance(op, int) else None,
        what=_text(item.get("what", "")),
        state=_text(value_text(brief(item["state"], _TEXT_MAX))) if "state" in item else "",
        why=_text(item.get("why", "")),
        leads=_text(item["leads"]) if "leads" in item else None,
    )


def _state(item: Any) -> State:
    if not isinstance(item, Mapping):
        return State(state=cut(key_text(brief(item, _TEXT_MAX)), _TEXT_MAX))
    steps = [_step(step) for step in _mappings(item.get("next"))[:_STEPS_MAX]]
    worded = "next" in item  # by checkers.linearizable: text as it is to be shown
    state = item.get("state", "")
    return State(
        state=_text(
            state if worded or "state" not in item else value_text(brief(state, _TEXT_MAX))
        ),
        why=_text(item.get("why", "")),
        order=tuple(i for i in listed(item.get("order"))[:_ORDER_MAX] if isinstance(i, int)),
        earlier=_whole(item.get("earlier")),
        needs=tuple(_step(step) for step in _mappings(item.get("open"))[:_STEPS_MAX]),
        impossible=tuple(step for step in steps if step.leads is None),
        leads=tuple(step for step in steps if step.leads is not None),
        more_next=_whole(item.get("more_next")),
    )


def line_of(data: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """The order to be drawn, each invocation with the state that it leaves."""
    pairs = [item for item in listed(data.get("order")) if len(listed(item)) == 2]
    return tuple(
        (index, _text(state)) for index, state in pairs[-_ORDER_MAX:] if isinstance(index, int)
    )


def _about(data: Mapping[str, Any]) -> str:
    scope, calls, left_out = (data.get(name) for name in ("scope", "calls", "left_out"))
    number = plural(_whole(calls), "operation")
    if scope == "few":
        return f"Of the {number} that take part, all others left aside."
    if scope != "whole":
        return ""
    rest = ""
    if _whole(left_out):
        rest = (
            f", but for {plural(_whole(left_out), 'observation')} before it that nothing explains "
            "either"
        )
    return f"Of all {number} on the object begun by then{rest}."


def reasoning_of(data: Mapping[str, Any]) -> Reasoning:
    """What a picture says of states."""
    states = tuple(_state(item) for item in listed(data.get("states"))[:_STATES_MAX])
    told = any(state.impossible for state in states)
    whys = (
        [] if told else [Step(what=_text(why)) for why in listed(data.get("why"))[:_STEPS_MAX]]
    )
    return Reasoning(
        about=_about(data) if states else "",
        states=states,
        more_states=_whole(data.get("more_states")),
        impossible=(*(_step(i) for i in _mappings(data.get("impossible"))[:_STEPS_MAX]), *whys),
        order=tuple(i for i in listed(data.get("order"))[:_ORDER_MAX] if isinstance(i, int)),
        line=line_of(data),
        unstated=_text(data.get("unstated", "")),
    )
