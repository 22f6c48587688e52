"""From a history that is not linearizable to a few calls that are not, soundly.

To drop an arbitrary call may *make* a violation: without the write, its read is a phantom.  So only
steps are taken that keep every linearizable history linearizable, whence: if what is left is not
linearizable, neither was the whole.

- Cut after the first completion that could not be explained: calls still open then are crashed.
- Begin at a write: what had ended before a finished blind write began is behind it in every order,
  and what it left is overwritten.  (If no finished read or cas that is kept might precede it.)
- Drop observations (reads, "not v"): they change nothing.
- Drop a value with all that touches it, that is with all that writes or reads it, and with each
  value that some cas makes of it: the register then holds its previous value a little longer, and
  nobody who is left looks.  (Not if a "not v" or an append is left, which might look.)
- Drop crashed calls that can explain nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.jit import check_jit, useful_crashed
from splitbrain.checkers.linearizable.model import Model
from splitbrain.checkers.linearizable.prepare import OPEN, Call, Outcome
from splitbrain.checkers.verdict import INVALID

__all__ = ["cut", "shrink"]

OBSERVING = ("read", "not")
FEW = 3
Calls = tuple[Call, ...]


def shrink(calls: Sequence[Call], model: Model, budget: Budget) -> tuple[Calls, Outcome]:
    """Few calls of a violation of the register family, and what the engine says of those.

    Call numbers are given anew; ``invoke.index`` still names the event.  When the budget ends, what
    has been reached so far is returned: it is not linearizable either, if ``calls`` are not.
    """
    current = _renumbered(calls)
    outcome = check_jit(current, model, budget)
    if outcome.verdict != INVALID:
        return current, outcome

    def still(candidate: Iterable[Call]) -> bool:
        nonlocal current, outcome
        fewer = _renumbered(candidate)
        if budget.exceeded() or len(fewer) >= len(current):
            return False
        found = check_jit(fewer, model, budget)
        if found.verdict != INVALID:
            return False
        current, outcome = fewer, found
        return True

    before = len(current) + 1
    while len(current) < before and not budget.exceeded():
        before = len(current)
        still(cut(current, outcome))
        _begin_at_write(lambda: current, still)
        still(_without_useless(current))
        _drop_values(lambda: current, still)
        _drop_observations(lambda: current, still)
    return current, outcome


def _renumbered(calls: Iterable[Call]) -> Calls:
    return tuple(
        msgspec.structs.replace(call, number=number) for number, call in enumerate(calls)
    )


def cut(calls: Calls, outcome: Outcome) -> list[Call]:
    """The calls until the first completion that could not be explained, where that is known."""
    if outcome.failed_at is None:
        return list(calls)
    last = calls[outcome.failed_at].end
    kept: list[Call] = []
    for call in calls:
        if call.end <= last:
            kept.append(call)
        elif call.begin < last and call.action[0] not in OBSERVING:
            kept.append(msgspec.structs.replace(call, end=OPEN))
    return kept


def _begin_at_write(now: Callable[[], Calls], still: Callable[[Iterable[Call]], bool]) -> None:
    """Try finished blind writes, the latest first, as the beginning of all."""
    calls = now()
    for write in reversed(calls):
        if write.action[0] != "write" or write.crashed:
            continue
        kept = [call for call in calls if call.end >= write.begin]
        early = [call for call in kept if call.begin < write.end and not call.crashed]
        blind = all(call.action[0] in ("write", "append") for call in early)
        if blind and len(kept) < len(calls) and still(kept):
            return


def _without_useless(calls: Calls) -> list[Call]:
    useful = set(useful_crashed(calls))
    return [call for call in calls if not call.crashed or call.action in useful]


def _drop_values(now: Callable[[], Calls], still: Callable[[Iterable[Call]], bool]) -> None:
    if any(call.action[0] in ("not", "append") for call in now()):
        return
    if len(now()) <= FEW:
        return  # fewer would no longer tell a reader what it was that got in the way
    for value in dict.fromkeys(call.action[-1] for call in now()):
        gone = _led_to(value, now())
        still(call for call in now() if not gone.intersection(call.action[1:]))


def _led_to(value: Any, calls: Calls) -> set[Any]:
    """The value and all that chains of cas make of it."""
    found = {value}
    grew = True
    while grew:
        grew = False
        for call in calls:
            kind = call.action[0]
            if kind == "cas" and call.action[1] in found and call.action[2] not in found:
                found.add(call.action[2])
                grew = True
    return found


def _drop_observations(
    now: Callable[[], Calls], still: Callable[[Iterable[Call]], bool]
) -> None:
    """Chunks of observations, half as large each time (Zeller's ddmin, observations only)."""
    observations = [c.invoke.index for c in now() if c.action[0] in OBSERVING]
    size = len(observations)
    while size >= 1:
        for start in range(0, len(observations), size):
            gone = set(observations[start : start + size])
            still(call for call in now() if call.invoke.index not in gone)
        size //= 2
