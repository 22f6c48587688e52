"""Histories that an atomic register made, crashed calls and all: no engine may call one invalid.

Compare-and-swaps mostly ask for what is there, so that many succeed and chains of them arise, and a
crashed call may take effect long after all others of its time.  Each history is then changed a little,
and what becomes of it is for the engines to agree upon.
"""

from __future__ import annotations

from typing import Any

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable import jit
from splitbrain.checkers.linearizable.jit import check_jit
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.checkers.linearizable.prepare import OPEN, Call
from splitbrain.checkers.linearizable.wgl import check_wgl
from splitbrain.checkers.linearizable.zones import check_zones, zones_apply
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID
from splitbrain.env.random import Random, Stream
from splitbrain.history.op import Op

MODEL = make_model("kv")
NOTHING = MODEL.init()
MIXES = [
    ("read", "write", "cas"),
    ("read", "write", "cas", "cas", "not"),
    ("read", "cas"),
    ("read", "write"),
    ("read", "append", "write"),
    ("read", "append", "cas", "not"),
]
Span = tuple[float, float, tuple[Any, ...]]
"""Begin, end (OPEN if crashed), action."""


class Atomic:
    """Draws the calls of some clients of one register."""

    def __init__(self, stream: Stream) -> None:
        self.draw = stream
        self.mix = stream.choice(MIXES)
        self.values: list[Any] = [NOTHING, *range(stream.choice([2, 3, 40]))]
        if "append" in self.mix:
            self.values = [NOTHING, "", "a", "b", "ab"]
        self.crash = stream.choice([0.0, 0.2, 0.5])
        self.state: Any = NOTHING
        self.spans: list[Span] = []

    def action(self) -> tuple[Any, ...]:
        kind, value = self.draw.choice(self.mix), self.draw.choice(self.values)
        if kind == "cas":
            likely = self.draw.random() < 0.6
            return kind, self.state if likely else value, self.draw.choice(self.values)
        if kind == "append":
            return kind, "" if value is NOTHING else value
        return kind, value

    def effect(self, action: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the call does now: an observation is of what is there."""
        kind = action[0]
        if kind == "read" or (kind == "not" and action[1] == self.state):
            return "read", self.state
        after = MODEL.step(self.state, action)
        if after is None:
            return "not", action[1]  # a cas that saw a mismatch
        self.state = after
        return action

    def history(self, count: int, clients: int) -> list[Span]:
        position, late, running = 0, [], []
        while count or running:
            if late and self.draw.random() < 0.1:
                self.effect(late.pop(self.draw.randrange(len(late))))
            if count and len(running) < clients and self.draw.random() < 0.5:
                running.append(
                    [position, self.action(), False, self.draw.random() < self.crash]
                )
                count, position = count - 1, position + 1
            elif running:
                call = running[self.draw.randrange(len(running))]
                begin, action, done, crashed = call
                if not done and not (crashed and self.draw.random() < 0.5):
                    call[1], call[2] = self.effect(action), True
                    continue
                running.remove(call)
                if not crashed:
                    self.spans.append((begin, position, action))
                    position += 1
                elif action[0] not in ("read", "not"):
                    self.spans.append((begin, OPEN, action))
                    late += [] if done else [action]
        return sorted(self.spans, key=lambda span: span[0])


def changed(spans: list[Span], stream: Stream) -> list[Span]:
    """One call dropped, ended sooner, or of another argument."""
    place = stream.randrange(len(spans))
    begin, end, action = spans[place]
    rest = [*spans[:place], *spans[place + 1 :]]
    draw = stream.random()
    if draw < 0.2:
        return rest
    if draw < 0.5 and action[0] not in ("read", "not"):
        end = begin + stream.choice([0.5, 3.5, 7.5])
    elif action[0] != "append":
        values = [value for span in spans for value in span[2][1:]]
        action = (action[0], *(stream.choice(values) for _ in action[1:]))
    return sorted([*rest, (begin, end, action)], key=lambda span: span[0])


def called(spans: list[Span]) -> list[Call]:
    """Ends are made whole numbers, and kept apart from all begins."""
    moments = sorted({moment for span in spans for moment in span[:2] if moment != OPEN})
    places = {moment: place for place, moment in enumerate(moments)} | {OPEN: OPEN}
    return [
        Call(
            number=number, begin=places[begin], end=places[end], action=action,
            invoke=Op(index=places[begin], process=number, type="invoke", f=action[0]),
        )
        for number, (begin, end, action) in enumerate(spans)
    ]  # fmt: skip


def agree(seed: int) -> tuple[str, str]:
    """The verdicts on the history of a seed, and on the changed one."""
    stream = Random(seed).stream("atomic")
    spans = Atomic(stream).history(stream.randint(4, 16), stream.randint(2, 7))
    verdicts = []
    for some in (spans, changed(spans, stream) if spans else spans):
        calls = called(some)
        outcomes = [check_jit(calls, MODEL, Budget(60)), check_wgl(calls, MODEL, Budget(60))]
        if zones_apply(calls, MODEL):
            outcomes.append(check_zones(calls, MODEL))
        found = {outcome.verdict for outcome in outcomes}
        assert len(found) == 1, (seed, some, [(o.engine, o.verdict) for o in outcomes])
        assert UNKNOWN not in found
        verdicts.append(found.pop())
    assert verdicts[0] == VALID, (seed, spans)
    return verdicts[0], verdicts[1]


@pytest.mark.parametrize("width", [1, 32])
def test_what_a_register_made_is_valid(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "WIDTH_FIRST", width)
    second = [agree(seed)[1] for seed in range(width * 10_000, width * 10_000 + 4_000)]
    assert second.count(INVALID) > 500


@pytest.mark.deep
@pytest.mark.timeout(7200)
def test_what_a_register_made_is_valid_a_quarter_of_a_million_times() -> None:
    assert sum(agree(seed)[1] == INVALID for seed in range(1_000_000, 1_250_000)) > 30_000
