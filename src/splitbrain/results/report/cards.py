"""Anomaly cards: one finding with all that is needed to believe it.

What a checker may put into ``Anomaly.picture`` for a card (all optional, any other name is shown as it
is):

``op``          index of the event that cannot be
``states``, ``impossible``, ``order``, ``why``  what was possible before it, and why nothing comes
                next: see ``states``
``hidden``      how many more operations are involved
``node``, ``log``  for a node crash: which node, and its last lines
``answers``     for a divergence: node -> what it answered last

Cards share one room of the page.  The first ones have all of their evidence and of what is around it;
one that would take more than a third of what is left is made again, smaller (``room.LEVELS``), and
when nothing is left the rest have no cards.
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
from splitbrain.results.report.brief import NAME_MAX, brief, cut, fits
from splitbrain.results.report.copies import edn_lines, json_lines, json_script
from splitbrain.results.report.evidence_text import card_text
from splitbrain.results.report.intervals import Interval, owned, owners_of
from splitbrain.results.report.nearby import Said, said_around
from splitbrain.results.report.room import BARE, CARDS_ROOM, FULL, LEVELS, CardRoom, written
from splitbrain.results.report.rows import Row, row_of
from splitbrain.results.report.states import Reasoning, line_of, listed, reasoning_of
from splitbrain.results.report.versions import Versions, applies, versions_of
from splitbrain.results.sentence import circumstances
from splitbrain.results.text import clock, key_text, value_text

__all__ = ["CARDS_MAX", "Card", "Context", "cards_of"]

CARDS_MAX = 30
_ANSWERS_MAX = 60
_COPIED_MAX = 2_000
_LINE_MAX = 1_000
_MOMENTS_MAX = 200
_KNOWN = frozenset(
    {"answers", "calls", "hidden", "left_out", "log", "more_states", "node", "op", "ops"}
    | {"order", "scope", "states", "impossible", "time_ns", "unstated", "why"}
)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One anomaly, ready for the template.

    Attributes:
        unversioned: its versions are not told apart, for values of its key are shortened.
        smaller: it shows less than the first cards do.
    """

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
    unversioned: bool = False
    smaller: bool = False


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

    def around(self, evidence: Sequence[Interval], key: Any, each_side: int) -> list[Interval]:
        """Up to that many operations on either side of each piece of evidence."""
        line = self._all if key is None else self.of(key)
        own = {i.begin.index for i in evidence}
        found: dict[int, Interval] = {}
        for place, interval in enumerate(line):
            if interval.begin.index in own:
                for near in line[max(0, place - each_side) : place + each_side + 1]:
                    found[near.begin.index] = near
        return list(found.values())


class Context(NamedTuple):
    """What every card may need of the run.

    Attributes:
        log_lines: node -> lines of its log around the anomalies, with their times.
        events: what nodes said of themselves.
        timeless: the history has no times; each event counts as a second.
        partly: keys, as text, of which not all operations are at hand.
    """

    history: Sequence[Op]
    bands: Sequence[Application] = ()
    log_tails: Mapping[str, Sequence[str]] = {}
    horizon_ns: int = 0
    nodes: Sequence[str] = ()
    timeless: bool = False
    log_lines: Mapping[str, Sequence[tuple[int, str]]] = {}
    events: Sequence[Mapping[str, Any]] = ()
    partly: frozenset[str] = frozenset()


class _Case(NamedTuple):
    """One finding, and what of the run belongs to it."""

    anomaly: Anomaly
    data: Mapping[str, Any]
    evidence: Sequence[Interval]
    key: Any
    culprit: int | None
    line: Sequence[Interval]
    long: bool

    def shown(self, most: int) -> list[Interval]:
        """The first of the evidence, and the operation that cannot be, wherever it stands."""
        first = list(self.evidence[:most])
        last = next((i for i in self.evidence[most:] if self.is_culprit(i)), None)
        return first if last is None else [*first[: most - 1], last]

    def is_culprit(self, interval: Interval) -> bool:
        return self.culprit is not None and self.culprit in (
            interval.begin.index,
            interval.end.index if interval.end is not None else None,
        )


def _case(finding: Finding, owners: Mapping[int, Interval], keys: _Keys) -> _Case:
    anomaly = finding.anomaly
    data = anomaly.picture if isinstance(anomaly.picture, Mapping) else {}
    evidence = owned(owners, anomaly.ops)
    op = data.get("op")
    key = anomaly.key if anomaly.key is not None else (evidence[0].key if evidence else None)
    culprit = op if isinstance(op, int) else None
    line = keys.of(key)
    return _Case(anomaly, data, evidence, key, culprit, line, applies(line) and _long(line))


def _long(line: Sequence[Interval]) -> bool:
    """Whether any value is too long to be told from others here."""
    return any(
        not fits(op.value) or not fits(op.ext)
        for interval in line
        for op in (interval.begin, interval.end)
        if op is not None
    )


def _card(
    number: int, checker: str, case: _Case, keys: _Keys, context: Context, room: CardRoom
) -> Card:
    anomaly = case.anomaly
    data = brief(case.data, room.data)
    hidden = data.get("hidden")
    said, more_said = _said(case, context, room)
    shown = case.shown(room.rows)
    return Card(
        number=number,
        kind=anomaly.kind.replace("-", " ").replace("_", " "),
        key=None if anomaly.key is None else key_text(anomaly.key),
        checker=checker,
        explanation=cut(anomaly.explanation, room.sentence),
        around=cut(
            circumstances(anomaly, context.history, context.bands, context.nodes), room.sentence
        ),
        faults=tuple(cut(fault, room.sentence) for fault in _faults(case.evidence, context)),
        rows=tuple(
            row_of(i, case.culprit, timeless=context.timeless, room=room) for i in shown
        ),
        more_rows=len(case.evidence) - len(shown) + (hidden if isinstance(hidden, int) else 0),
        picture=_picture(case, shown, keys, context, room),
        reasoning=reasoning_of(data),
        versions=_versions(case, context),
        said=tuple(said),
        more_said=more_said,
        answers=_answers(data.get("answers"), room),
        advice=advice_for(anomaly.kind),
        **_log(data, context),
        extra=tuple(
            (cut(str(name), room.short), cut(value_text(value), 2 * room.short))
            for name, value in data.items()
            if name not in _KNOWN
        ),
        **_copies(case, shown, context, room),
        unversioned=case.long,
        smaller=room is not FULL,
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


def _picture(
    case: _Case, shown: Sequence[Interval], keys: _Keys, context: Context, room: CardRoom
) -> Markup | None:
    return picture.draw(
        shown,
        keys.around(shown, case.key, room.neighbours),
        context.bands,
        context.horizon_ns,
        case.culprit,
        unit="" if context.timeless else " s",
        order=line_of(case.data)[-room.rows :],
        known={interval.begin.index: interval for interval in case.line},
        title_room=room.title,
    )


def _versions(case: _Case, context: Context) -> Versions | None:
    if not case.line or not case.evidence or case.long:
        return None
    if case.key is not None and key_text(case.key) in context.partly:
        return None
    order = [index for index, _ in line_of(case.data)]
    return versions_of(case.line, case.anomaly.ops, order, timeless=context.timeless)


def _said(case: _Case, context: Context, room: CardRoom) -> tuple[list[Said], int]:
    """What nodes said around the evidence; around its own time for what is no operation."""
    if context.timeless:
        return [], 0
    ops = pick(context.history, case.anomaly.ops[-_MOMENTS_MAX:])
    moments = {index: op.time_ns for index, op in ops.items()}
    if not moments:
        return [], 0
    last = case.culprit if case.culprit in moments else max(moments)
    return said_around(
        context.log_lines, context.events, list(moments.values()), moments[last], room.said
    )


def _answers(value: Any, room: CardRoom) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        return ()
    return tuple(
        (cut(str(node), room.short), cut(key_text(brief(answer, room.short)), room.short))
        for node, answer in list(value.items())[:_ANSWERS_MAX]
    )


def _log(data: Mapping[str, Any], context: Context) -> dict[str, Any]:
    node = data.get("node")
    node = node if isinstance(node, str) else None
    log = listed(data.get("log")) or list(context.log_tails.get(node or "", ()))
    lines = [cut(str(line), _LINE_MAX) for line in log[-40:]]
    return {"node": None if node is None else cut(node, NAME_MAX), "log": tuple(lines)}


def _copies(
    case: _Case, shown: Sequence[Interval], context: Context, room: CardRoom
) -> dict[str, Any]:
    """The operations of the rows first, then the others that take part; in order."""
    some = [*shown, *case.evidence[:_COPIED_MAX]]
    events = [i for e in some for i in (e.begin.index, e.end.index if e.end else -1)]
    chosen = list(dict.fromkeys([*events, *case.anomaly.ops[:_COPIED_MAX]]))
    ops = list(pick(context.history, sorted(chosen)).values())
    return {
        "json": json_script(ops, room.copy, room.copied),
        "lines": json_lines(ops, room.copy, room.copied),
        "edn": edn_lines(ops, room.copy, room.copied),
    }


def cards_of(
    found: Sequence[Finding],
    intervals: Sequence[Interval],
    context: Context,
    room: int = CARDS_ROOM,
) -> list[Card]:
    """Cards of the first ``CARDS_MAX`` findings, as many as fit into ``room`` bytes of the page."""
    shown = found[:CARDS_MAX]
    owners = owners_of(intervals, (index for f in shown for index in f.anomaly.ops))
    own = [f.anomaly.key for f in shown] + [interval.key for interval in owners.values()]
    keys = _Keys(intervals, [key for key in own if key is not None])
    made: list[Card] = []
    for number, finding in enumerate(shown, start=1):
        case = _case(finding, owners, keys)
        for level in LEVELS:
            card = _card(number, finding.checker, case, keys, context, level)
            card = msgspec.structs.replace(card, text=card_text(card))
            size = written(card)
            if size <= (room if level is BARE else room // 3):
                break
        else:
            break
        room -= size
        made.append(card)
    return _linked(_anchored(made))


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
