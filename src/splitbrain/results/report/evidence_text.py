"""A card as plain text, for an issue or a chat: what the page shows, but for its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from splitbrain.results.report.brief import cut
from splitbrain.results.report.states import Reasoning, State
from splitbrain.results.report.versions import Versions
from splitbrain.results.text import clock, visible

if TYPE_CHECKING:
    from splitbrain.results.report.cards import Card
    from splitbrain.results.report.rows import Row

__all__ = ["card_text"]

_LINE_MAX = 400
_LOG_LINES_MAX = 40


def card_text(card: Card) -> str:
    """The card's lines; each part that it has under its own heading."""
    about = f" of key {card.key}" if card.key is not None else ""
    lines = [f"{card.kind}{about}", card.explanation]
    if card.around:
        lines.append(f"Faults around it: {card.around}.")
    if card.advice is not None:
        lines += [f"It means: {card.advice.means}.", f"Look at: {card.advice.look}."]
    parts = (
        ("Operations", [_row(row) for row in card.rows]),
        ("Shortened, whole in", [row.where for row in card.rows if row.where]),
        ("Possible states before it", list(_states(card.reasoning))),
        ("Versions", list(_versions(card.versions)) if card.versions else []),
        ("Answers", [f"{node}: {answer}" for node, answer in card.answers]),
        (f"End of the log of {card.node}", list(card.log)),
        (
            "Nodes said",
            [f"{clock(s.time_ns)} {s.node}: {s.text}" for s in card.said[:_LOG_LINES_MAX]],
        ),
    )
    for title, body in parts:
        if body:
            lines += ["", f"{title}:", *(f"  {line}" for line in body)]
    return "\n".join(cut(visible(line), _LINE_MAX) for line in lines)


def _row(row: Row) -> str:
    words = [f"#{row.events}", row.time, f"process {row.process}", row.node, row.f, row.value]
    end = f"{row.outcome} {row.error}".strip()
    mark = "  <- this cannot be" if row.culprit else ""
    return " ".join(word for word in words if word) + f": {end}{mark}"


def _states(reasoning: Reasoning) -> Iterator[str]:
    if reasoning.about:
        yield reasoning.about
    for state in reasoning.states:
        yield _state(state)
    if reasoning.more_states:
        yield f"and {reasoning.more_states} more states"
    for step in reasoning.impossible:
        yield " ".join(word for word in (step.what, step.state, step.why) if word)
    if reasoning.unstated:
        yield reasoning.unstated


def _state(state: State) -> str:
    order = ", ".join(f"#{index}" for index in state.order)
    before = f" after {'... ' if state.earlier else ''}{order}" if order else ""
    whys = "; ".join(step.why for step in state.impossible if step.why) or state.why
    return f"{state.state}{before}" + (f": {whys}" if whys else "")


def _versions(versions: Versions) -> Iterator[str]:
    for row in versions.rows:
        if row.marks or row.culprit:
            branch = "  | " if row.branch else ""
            marks = "; ".join(f"{word}: {text}" if text else word for word, text in row.marks)
            first = f", seen by {row.first.text}" if row.first else ""
            told = ", ".join(word for word in (row.writer, row.known) if word)
            yield f"{branch}{row.value} ({told}{first})" + (f" {marks}" if marks else "")
