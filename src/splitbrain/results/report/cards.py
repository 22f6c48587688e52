"""Anomaly cards: one finding with all that is needed to believe it.

What a checker may put into ``Anomaly.picture`` for a card (all optional, any other name is shown as it
is):

``op``          index of the event that cannot be
``states``      possible states before it: text, other values, or ``{"state": ..., "why": ...}``
``impossible``  what was tried next: ``{"op": index, "state": ..., "why": ...}``
``why``         the same as sentences
``hidden``      how many more operations are involved
``order``       indexes in the order that explains the history up to there
``node``, ``log``  for a node crash: which node, and its last lines
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from splitbrain.history.op import Op
from splitbrain.results.bands import Application, describe
from splitbrain.results.evidence import Finding, pick
from splitbrain.results.report import picture
from splitbrain.results.report.embed import script_json
from splitbrain.results.report.intervals import Interval, owned, owners_of
from splitbrain.results.sentence import circumstances
from splitbrain.results.text import clock, key_text, shorten, span, value_text

__all__ = ["Card", "Row", "cards_of", "row_of"]

CARDS_MAX = 30
_ROWS_MAX = 60
_NEIGHBOURS = 8
_VALUE_MAX = 240
_KNOWN = {
    "op",
    "ops",
    "states",
    "impossible",
    "why",
    "hidden",
    "order",
    "node",
    "log",
    "time_ns",
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a table, as text."""

    index: int
    events: str
    time: str
    took: str
    process: int
    node: str
    f: str
    key: str
    value: str
    full: str
    outcome: str
    error: str
    culprit: bool = False
    anchor: bool = True


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A state, or a step that was tried from it, and why it leads nowhere."""

    state: str
    op: int | None = None
    what: str = ""
    why: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One anomaly, ready for the template."""

    number: int
    kind: str
    key: str | None
    checker: str
    explanation: str
    around: str
    faults: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    more_rows: int = 0
    picture: Markup | None = None
    states: tuple[State, ...] = ()
    impossible: tuple[State, ...] = ()
    order: tuple[int, ...] = ()
    node: str | None = None
    log: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    json: Markup = Markup("[]")


def _result_text(interval: Interval) -> str:
    argument, end = interval.begin.value, interval.end
    before = "" if argument is None else value_text(argument)
    if end is None or end is interval.begin or end.value == argument:
        if argument is None and end is not None and end.type == "ok":
            return "null"
        return before
    after = value_text(end.value)
    return (
        f"{before} \u2192 {after}"
        if before
        else f"\u2192 {after}"
        if end.value is not None
        else ""
    )


def row_of(interval: Interval, culprit: int | None = None, *, timeless: bool = False) -> Row:
    """An operation as a row: argument, arrow, result; without times if the history has none."""
    begin, end = interval.begin, interval.end
    full = _result_text(interval)
    last = end.index if end is not None else None
    return Row(
        index=begin.index,
        events=f"{begin.index}"
        if last in (None, begin.index)
        else f"{begin.index}\u2013{last}",
        time="" if timeless else clock(begin.time_ns),
        took="no answer"
        if end is None
        else ""
        if timeless
        else span(end.time_ns - begin.time_ns),
        process=begin.process,
        node=interval.node or "",
        f=begin.f,
        key="" if interval.key is None else key_text(interval.key),
        value=shorten(full, _VALUE_MAX),
        full=full if len(full) > _VALUE_MAX else "",
        outcome=interval.outcome,
        error=(end.error or "") if end is not None else "",
        culprit=culprit is not None and culprit in (begin.index, last),
    )


class _Keys:
    """Operations of each key that has an anomaly, in order: where neighbours are looked up."""

    def __init__(self, intervals: Sequence[Interval], keys: Iterable[Any]) -> None:
        wanted = {key_text(key) for key in keys}
        self._by_key: dict[str, list[Interval]] = {}
        self._all = intervals
        texts: dict[Any, str] = {}
        for interval in intervals if wanted else ():
            key = interval.key
            text = texts.get(key) if isinstance(key, str | int) else key_text(key)
            if text is None:
                text = texts[key] = key_text(key)
            if text in wanted:
                self._by_key.setdefault(text, []).append(interval)

    def around(self, evidence: Sequence[Interval], key: Any) -> list[Interval]:
        """Up to ``_NEIGHBOURS`` operations on either side of each piece of evidence."""
        line = self._all if key is None else self._by_key.get(key_text(key), [])
        own = {i.begin.index for i in evidence}
        found: dict[int, Interval] = {}
        for place, interval in enumerate(line):
            if interval.begin.index in own:
                for near in line[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS + 1]:
                    found[near.begin.index] = near
        return list(found.values())


def _state(item: Any) -> State:
    if not isinstance(item, Mapping):
        return State(state=key_text(item))
    op = item.get("op")
    return State(
        state=value_text(item["state"]) if "state" in item else "",
        op=op if isinstance(op, int) else None,
        what=str(item.get("what", "")),
        why=str(item.get("why", "")),
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _reasoning(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a card that say why nothing fits."""
    return {
        "states": tuple(_state(item) for item in _listed(data.get("states"))[:20]),
        "impossible": (
            *(_state(item) for item in _listed(data.get("impossible"))[:40]),
            *(State(state="", what=str(why)) for why in _listed(data.get("why"))[:40]),
        ),
        "order": tuple(i for i in _listed(data.get("order"))[:200] if isinstance(i, int)),
    }


class _Context(NamedTuple):
    """What every card may need of the run."""

    history: Sequence[Op]
    bands: Sequence[Application]
    log_tails: Mapping[str, Sequence[str]]
    horizon_ns: int
    nodes: Sequence[str]
    timeless: bool


def _card(
    number: int,
    finding: Finding,
    owners: Mapping[int, Interval],
    keys: _Keys,
    context: _Context,
) -> Card:
    history, bands, log_tails, horizon_ns, nodes, timeless = context
    anomaly = finding.anomaly
    data = anomaly.picture if isinstance(anomaly.picture, Mapping) else {}
    evidence = owned(owners, anomaly.ops)
    op = data.get("op")
    culprit = op if isinstance(op, int) else None
    key = anomaly.key if anomaly.key is not None else (evidence[0].key if evidence else None)
    window = picture.window_of(evidence, horizon_ns) if evidence else (0, 0)
    held = [
        b
        for b in bands
        if evidence and b.start_ns < window[1] and b.until_ns(horizon_ns) > window[0]
    ]
    hidden, node = data.get("hidden"), data.get("node")
    node = node if isinstance(node, str) else None
    log = _listed(data.get("log")) or list(log_tails.get(node or "", ()))
    events = {i for e in evidence for i in (e.begin.index, e.end.index if e.end else -1)}
    indexes = sorted(events | set(anomaly.ops))
    return Card(
        number=number,
        kind=anomaly.kind.replace("-", " ").replace("_", " "),
        key=None if anomaly.key is None else key_text(anomaly.key),
        checker=finding.checker,
        explanation=anomaly.explanation,
        around=circumstances(anomaly, history, bands, nodes),
        faults=tuple(
            f"{describe(b, nodes)}, {clock(b.start_ns)} to "
            f"{clock(b.end_ns) if b.end_ns is not None else 'the end'}"
            for b in held[:6]
        ),
        rows=tuple(row_of(i, culprit, timeless=timeless) for i in evidence[:_ROWS_MAX]),
        more_rows=max(0, len(evidence) - _ROWS_MAX)
        + (hidden if isinstance(hidden, int) else 0),
        picture=picture.draw(
            evidence[:_ROWS_MAX],
            keys.around(evidence[:_ROWS_MAX], key),
            bands,
            horizon_ns,
            culprit,
            unit="" if timeless else " s",
        ),
        **_reasoning(data),
        node=node,
        log=tuple(str(line) for line in log[-40:]),
        extra=tuple(
            (str(name), shorten(value_text(value), 600))
            for name, value in data.items()
            if name not in _KNOWN
        ),
        json=script_json(
            [msgspec.to_builtins(op, enc_hook=repr) for op in pick(history, indexes).values()]
        ),
    )


def cards_of(
    found: Sequence[Finding],
    intervals: Sequence[Interval],
    history: Sequence[Op],
    bands: Sequence[Application],
    log_tails: Mapping[str, Sequence[str]],
    horizon_ns: int,
    nodes: Sequence[str] = (),
    timeless: bool = False,
) -> list[Card]:
    """Cards of the first ``CARDS_MAX`` findings."""
    shown = found[:CARDS_MAX]
    keys = _Keys(intervals, [f.anomaly.key for f in shown if f.anomaly.key is not None])
    owners = owners_of(intervals, (index for f in shown for index in f.anomaly.ops))
    context = _Context(history, bands, log_tails, horizon_ns, nodes, timeless)
    made = [
        _card(number, finding, owners, keys, context)
        for number, finding in enumerate(shown, start=1)
    ]
    return _anchored(made)


def _anchored(made: Sequence[Card]) -> list[Card]:
    """Cards in which each operation is the target of its link once, in the first that shows it."""
    seen: set[int] = set()
    out = []
    for card in made:
        rows = []
        for row in card.rows:
            rows.append(msgspec.structs.replace(row, anchor=row.index not in seen))
            seen.add(row.index)
        out.append(msgspec.structs.replace(card, rows=tuple(rows)))
    return out
