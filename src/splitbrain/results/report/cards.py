"""Anomaly cards: one finding with all that is needed to believe it.

What a checker may put into ``Anomaly.picture`` for a card (all optional, any other name is shown as it
is):

``op``          index of the event that cannot be
``states``, ``impossible``, ``order``, ``why``  what was possible before it, and why nothing comes
                next: see ``states``
``hidden``      how many more operations are involved
``node``, ``log``  for a node crash: which node, and its last lines
``answers``     for a divergence: node -> what it answered last
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

from splitbrain.checkers.verdict import Anomaly
from splitbrain.history.op import Op
from splitbrain.results.bands import Application, describe
from splitbrain.results.evidence import Finding, pick
from splitbrain.results.report import picture
from splitbrain.results.report.advice import Advice, advice_for
from splitbrain.results.report.copies import edn_lines, json_lines
from splitbrain.results.report.embed import script_json
from splitbrain.results.report.evidence_text import card_text
from splitbrain.results.report.intervals import Interval, owned, owners_of
from splitbrain.results.report.nearby import Said, said_around
from splitbrain.results.report.states import Reasoning, line_of, listed, reasoning_of
from splitbrain.results.report.versions import Versions, versions_of
from splitbrain.results.sentence import circumstances
from splitbrain.results.text import clock, key_text, shorten, span, value_text

__all__ = ["CARDS_MAX", "Card", "Context", "Row", "cards_of", "row_of"]

CARDS_MAX = 30
_ROWS_MAX = 60
_NEIGHBOURS = 8
_VALUE_MAX = 240
_MOMENTS_MAX = 200
_KNOWN = frozenset(
    {"answers", "calls", "hidden", "left_out", "log", "more_states", "node", "op", "ops"}
    | {"order", "scope", "states", "impossible", "time_ns", "unstated", "why"}
)


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
    reasoning: Reasoning = Reasoning()
    versions: Versions | None = None
    said: tuple[Said, ...] = ()
    more_said: int = 0
    answers: tuple[tuple[str, str], ...] = ()
    advice: Advice | None = None
    node: str | None = None
    log: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    json: Markup = Markup("[]")
    lines: str = ""
    edn: str = ""
    text: str = ""
    before: int | None = None
    after: int | None = None
    after_of_key: int | None = None


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
        self._keyless = all(interval.key is None for interval in intervals)
        texts: dict[Any, str] = {}
        for interval in intervals if wanted else ():
            key = interval.key
            text = texts.get(key) if isinstance(key, str | int) else key_text(key)
            if text is None:
                text = texts[key] = key_text(key)
            if text in wanted:
                self._by_key.setdefault(text, []).append(interval)

    def of(self, key: Any) -> Sequence[Interval]:
        """Every operation of a key that has an anomaly; all, where no operation has a key."""
        if key is not None:
            return self._by_key.get(key_text(key), [])
        return self._all if self._keyless else []

    def around(self, evidence: Sequence[Interval], key: Any) -> list[Interval]:
        """Up to ``_NEIGHBOURS`` operations on either side of each piece of evidence."""
        line = self._all if key is None else self.of(key)
        own = {i.begin.index for i in evidence}
        found: dict[int, Interval] = {}
        for place, interval in enumerate(line):
            if interval.begin.index in own:
                for near in line[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS + 1]:
                    found[near.begin.index] = near
        return list(found.values())


class Context(NamedTuple):
    """What every card may need of the run.

    Attributes:
        log_lines: node -> lines of its log around the anomalies, with their times.
        events: what nodes said of themselves.
        timeless: the history has no times; each event counts as a second.
    """

    history: Sequence[Op]
    bands: Sequence[Application] = ()
    log_tails: Mapping[str, Sequence[str]] = {}
    horizon_ns: int = 0
    nodes: Sequence[str] = ()
    timeless: bool = False
    log_lines: Mapping[str, Sequence[tuple[int, str]]] = {}
    events: Sequence[Mapping[str, Any]] = ()


class _Case(NamedTuple):
    """One finding, and what of the run belongs to it."""

    anomaly: Anomaly
    data: Mapping[str, Any]
    evidence: Sequence[Interval]
    key: Any
    culprit: int | None
    line: Sequence[Interval]


def _card(
    number: int,
    finding: Finding,
    owners: Mapping[int, Interval],
    keys: _Keys,
    context: Context,
) -> Card:
    anomaly = finding.anomaly
    data = anomaly.picture if isinstance(anomaly.picture, Mapping) else {}
    evidence = owned(owners, anomaly.ops)
    op, hidden = data.get("op"), data.get("hidden")
    key = anomaly.key if anomaly.key is not None else (evidence[0].key if evidence else None)
    culprit = op if isinstance(op, int) else None
    case = _Case(anomaly, data, evidence, key, culprit, keys.of(key))
    said, more_said = _said(case, context)
    shown = evidence[:_ROWS_MAX]
    return Card(
        number=number,
        kind=anomaly.kind.replace("-", " ").replace("_", " "),
        key=None if anomaly.key is None else key_text(anomaly.key),
        checker=finding.checker,
        explanation=anomaly.explanation,
        around=circumstances(anomaly, context.history, context.bands, context.nodes),
        faults=_faults(evidence, context),
        rows=tuple(row_of(i, culprit, timeless=context.timeless) for i in shown),
        more_rows=max(0, len(evidence) - _ROWS_MAX)
        + (hidden if isinstance(hidden, int) else 0),
        picture=_picture(case, keys.around(shown, key), context),
        reasoning=reasoning_of(data),
        versions=_versions(case, context),
        said=tuple(said),
        more_said=more_said,
        answers=_answers(data.get("answers")),
        advice=advice_for(anomaly.kind),
        **_log(data, context),
        extra=tuple(
            (str(name), shorten(value_text(value), 600))
            for name, value in data.items()
            if name not in _KNOWN
        ),
        **_copies(case, context),
    )


def _faults(evidence: Sequence[Interval], context: Context) -> tuple[str, ...]:
    """The faults that held while the evidence was made."""
    if not evidence:
        return ()
    start_ns, stop_ns = picture.window_of(evidence, context.horizon_ns)
    held = [
        band
        for band in context.bands
        if band.start_ns < stop_ns and band.until_ns(context.horizon_ns) > start_ns
    ]
    return tuple(
        f"{describe(band, context.nodes)}, {clock(band.start_ns)} to "
        f"{clock(band.end_ns) if band.end_ns is not None else 'the end'}"
        for band in held[:6]
    )


def _picture(case: _Case, neighbours: Sequence[Interval], context: Context) -> Markup | None:
    return picture.draw(
        case.evidence[:_ROWS_MAX],
        neighbours,
        context.bands,
        context.horizon_ns,
        case.culprit,
        unit="" if context.timeless else " s",
        order=line_of(case.data),
        known={interval.begin.index: interval for interval in case.line},
    )


def _versions(case: _Case, context: Context) -> Versions | None:
    if not case.line or not case.evidence:
        return None
    order = [index for index, _ in line_of(case.data)]
    return versions_of(case.line, case.anomaly.ops, order, timeless=context.timeless)


def _said(case: _Case, context: Context) -> tuple[list[Said], int]:
    """What nodes said around the evidence; around its own time for what is no operation."""
    if context.timeless:
        return [], 0
    ops = pick(context.history, case.anomaly.ops[-_MOMENTS_MAX:])
    moments = {index: op.time_ns for index, op in ops.items()}
    if not moments:
        return [], 0
    last = case.culprit if case.culprit in moments else max(moments)
    return said_around(context.log_lines, context.events, list(moments.values()), moments[last])


def _answers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        return ()
    return tuple(
        (str(node), shorten(key_text(answer), _VALUE_MAX))
        for node, answer in list(value.items())[:_ROWS_MAX]
    )


def _log(data: Mapping[str, Any], context: Context) -> dict[str, Any]:
    node = data.get("node")
    node = node if isinstance(node, str) else None
    log = listed(data.get("log")) or list(context.log_tails.get(node or "", ()))
    return {"node": node, "log": tuple(str(line) for line in log[-40:])}


def _copies(case: _Case, context: Context) -> dict[str, Any]:
    events = {i for e in case.evidence for i in (e.begin.index, e.end.index if e.end else -1)}
    ops = list(pick(context.history, sorted(events | set(case.anomaly.ops))).values())
    return {
        "json": script_json([msgspec.to_builtins(op, enc_hook=repr) for op in ops]),
        "lines": json_lines(ops),
        "edn": edn_lines(ops),
    }


def cards_of(
    found: Sequence[Finding], intervals: Sequence[Interval], context: Context
) -> list[Card]:
    """Cards of the first ``CARDS_MAX`` findings."""
    shown = found[:CARDS_MAX]
    owners = owners_of(intervals, (index for f in shown for index in f.anomaly.ops))
    own = [f.anomaly.key for f in shown] + [interval.key for interval in owners.values()]
    keys = _Keys(intervals, [key for key in own if key is not None])
    made = [
        _card(number, finding, owners, keys, context)
        for number, finding in enumerate(shown, start=1)
    ]
    linked = _linked(_anchored(made))
    return [msgspec.structs.replace(card, text=card_text(card)) for card in linked]


def _linked(made: Sequence[Card]) -> list[Card]:
    """Cards that know the ones before and after them, and the next of the same key."""
    out = []
    for place, card in enumerate(made):
        same = [
            other.number
            for other in made[place + 1 :]
            if card.key is not None and other.key == card.key
        ]
        out.append(
            msgspec.structs.replace(
                card,
                before=card.number - 1 if place else None,
                after=card.number + 1 if place + 1 < len(made) else None,
                after_of_key=same[0] if same and same[0] != card.number + 1 else None,
            )
        )
    return out


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
