"""From ``ReportData`` to one HTML page: the template's context, and the file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from splitbrain.checkers.verdict import Result
from splitbrain.results.left_out import left_out_lines
from splitbrain.results.report import cards, leaders, problems, tables
from splitbrain.results.report.brief import NAME_MAX, cut
from splitbrain.results.report.data import ReportData
from splitbrain.results.report.frame import OUTCOMES
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.over_time import operations, over_time
from splitbrain.results.report.page import Page, prepare
from splitbrain.results.report.room import (
    CARDS_ROOM,
    PACKED_MIN,
    PAGE_MAX,
    PART_MAX,
    fit,
    last_lines,
)
from splitbrain.results.report.template import environment, resource, script_hash
from splitbrain.results.sentence import headline, verdict_sentence
from splitbrain.results.text import span

__all__ = ["build_report", "write_report"]

_STYLES = ("report.css", "cards.css")
_SCRIPTS = (
    "data.js", "view.js", "charts.js", "timeline.js", "operations.js", "anomalies.js", "page.js",
)  # fmt: skip
_SHOWN_FACTS = ("command", "commands", "outside", "run", "times", "version")
_CARD_ROWS_MAX = 50_000
_NEAR = 200
_LISTED_MAX = 500
_LINE_MAX = 300
_COMMAND_MAX = 4_000
_COUNTS_ROOM = 60_000
_SLACK = 120_000
"""For what is known only when the operations are: the script's part, words on the sample."""

_NO_OPERATIONS: Mapping[str, Any] = {"packed": "", "kept": 0, "sampled": "", "meta": "{}"}


def build_report(data: ReportData) -> str:
    """The page as text: complete in itself, no request leaves it.

    It opens from a file, without network and without JavaScript.  The same data gives the same
    page, byte for byte.  Whatever the history, it is smaller than ``room.PAGE_MAX`` bytes: the
    operations for search take what the other parts leave, and cards give way to them.
    """
    page = prepare(data)
    context = _context(page)
    rest = len(_rendered(context))
    if PAGE_MAX - rest < PACKED_MIN:
        context |= _cards(page, max(0, CARDS_ROOM - (rest + PACKED_MIN - PAGE_MAX)))
        rest = len(_rendered(context))
    context |= operations(page, max(PACKED_MIN, PAGE_MAX - rest - _SLACK))
    # Last: it tells of parts above that failed.
    return _rendered({**context, **_problems(page)}).decode()


def _rendered(context: Mapping[str, Any]) -> bytes:
    text = environment().get_template("report.html.j2").render({**_NO_OPERATIONS, **context})
    return text.encode("utf-8", errors="backslashreplace")


def write_report(path: str | Path, data: ReportData) -> Path:
    """Build the page and put it at ``path`` in one step: a reader sees the old page or the new one."""
    target = Path(path)
    text = build_report(data).encode("utf-8")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def _numbers(page: Page) -> dict[str, int]:
    tally = np.bincount(page.frame.outcome, minlength=len(OUTCOMES)).tolist()
    return {"all": len(page.frame), **dict(zip(OUTCOMES, tally, strict=True))}


def _context(page: Page) -> dict[str, Any]:
    reigns = page.part(
        "Leaders", lambda: leaders.reigns(page.data.events, page.bands, page.horizon_ns), []
    )
    script = _script()
    return {
        **_top(page),
        **over_time(page, reigns),
        **_fault_part(page, reigns),
        **_rest(page),
        "style": Markup("\n".join(resource(name) for name in _STYLES)),  # noqa: S704 - our own
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": script_hash(script),
        **_problems(page),
    }


def _top(page: Page) -> dict[str, Any]:
    """The verdict, and the anomalies or the reasons behind it."""
    data = page.data
    facts = data.facts
    return {
        "verdict": page.result.verdict,
        "word": page.result.verdict.upper(),
        "headline": page.part("The sentence", lambda: _headline(page), page.result.summary),
        "title": page.part(
            "The title",
            lambda: cut(
                verdict_sentence(page.result, data.history, data.spec, data.faults), _LINE_MAX
            ),
            page.result.verdict,
        ),
        "spec": data.spec,
        "version": cut(str(facts.get("version") or ""), _LINE_MAX),
        "run": cut(str(facts.get("run") or ""), _COMMAND_MAX),
        "outside": page.part("The fault model", lambda: _outside(facts), []),
        "left_out": page.part("Faults left out", lambda: left_out_lines(data.spec), []),
        "commands": page.part("The commands", lambda: _commands(page), []),
        "numbers": _numbers(page),
        "length": span(page.horizon_ns) if page.horizon_ns > 0 and not page.timeless else "",
        "timeless": page.timeless,
        "doubts": page.part("The reasons", lambda: fit(tables.doubts(page.result))[0], []),
        **_cards(page, CARDS_ROOM),
    }  # fmt: skip


def _cards(page: Page, room: int) -> dict[str, Any]:
    """The anomalies: cards in ``room`` bytes, a line for each of the next, the number of the rest."""

    def made() -> list[cards.Card]:
        intervals, partly = _for_cards(page)
        return cards.cards_of(page.found, intervals, _card_context(page, partly), room)

    shown = page.part("The anomalies", made, [])
    page.carded = len(shown)
    after = page.found[page.carded : page.carded + _LISTED_MAX]
    lines = [
        (cut(f.anomaly.kind, NAME_MAX), cut(f.anomaly.explanation, _LINE_MAX)) for f in after
    ]
    listed, _ = fit(lines)
    return {
        "cards": shown,
        "found": len(page.found),
        "listed": listed,
        "unlisted": len(page.found) - page.carded - len(listed),
    }


def _card_context(page: Page, partly: frozenset[str]) -> cards.Context:
    data = page.data
    return cards.Context(
        data.history, page.bands, data.log_tails, page.horizon_ns, page.nodes, page.timeless,
        data.log_lines, data.events, partly,
    )  # fmt: skip


def _for_cards(page: Page) -> tuple[Sequence[Interval], frozenset[str]]:
    """All operations; of a large run those that a card may show: of its keys, and around it.

    From the first anomaly on all operations of its key, while there is room for them; then those
    around it.  Also the keys of which not all are there.
    """
    frame = page.frame
    if len(frame) <= _CARD_ROWS_MAX:
        return list(frame), frozenset()
    wanted = np.zeros(len(frame), np.bool_)
    whole: set[int] = set()
    partly: set[int] = set()
    for number, finding in enumerate(page.found[: cards.CARDS_MAX]):
        own, case = frame.rows_of(finding.anomaly.ops), page.case(number)
        wanted[own] = True
        wanted[frame.near(case, _NEAR, same_key=False)] = True
        for key in set(frame.key[case].tolist()) - whole:
            line = np.flatnonzero(frame.key == key)
            if int(wanted.sum()) + len(line) <= _CARD_ROWS_MAX:
                wanted[line] = True
                whole.add(key)
            else:
                partly.add(key)
                wanted[frame.near(case, _NEAR, same_key=True)] = True
    partly_named = frozenset(frame.keys[key] for key in partly - whole if key >= 0)
    return [frame[row] for row in np.flatnonzero(wanted).tolist()], partly_named


def _problems(page: Page) -> dict[str, Any]:
    """What went wrong: of the system, and of the harness."""
    failures = page.part("Failures", lambda: problems.failures_of(page.frame), [])
    system = page.part("Crashes", lambda: problems.system_problems(page.found), [])
    harness = page.part(
        "Problems of the harness", lambda: problems.harness_problems(page, failures), []
    )
    return {
        "failures": [failure for failure in failures if not failure.unforeseen][:100],
        "system_problems": system,
        "harness_problems": harness,
        "missing": list(page.problems),
    }


def _fault_part(page: Page, reigns: Sequence[leaders.Reign]) -> dict[str, Any]:
    data, bands, result = page.data, page.bands, page.result
    rows, _ = page.part(
        "The fault table",
        lambda: fit(tables.fault_rows(bands, data.history, page.nodes)),
        ([], 0),
    )
    return {
        "tiles": page.part("Counts", lambda: tables.tiles(result, bands, reigns), []),
        "fault_counts": page.part(
            "Counts of faults",
            lambda: fit(tables.fault_counts(result, bands, data.legend), _COUNTS_ROOM)[0],
            [],
        ),
        "fault_rows": rows,
        "fault_total": len(bands),
    }


def _rest(page: Page) -> dict[str, Any]:
    data, result = page.data, page.result
    rows, more = page.part("Checkers", lambda: _checkers(result), ([], 0))
    return {
        "checkers": rows,
        "more_checkers": more,
        "stats": page.part("Figures", lambda: tables.figures(result.stats), tables.Figures()),
        "log_tails": page.part("Node logs", lambda: _log_tails(data.log_tails), []),
        "spec_rows": page.part("The test", lambda: fit(tables.spec_rows(data.spec))[0], []),
        "time_rows": page.part("Times", lambda: fit(tables.time_rows(data.facts))[0], []),
        "fact_rows": page.part(
            "Facts", lambda: fit(tables.fact_rows(data.facts, _SHOWN_FACTS))[0], []
        ),
    }


def _checkers(result: Result) -> tuple[list[tables.CheckerRow], int]:
    """The checkers' rows; where there are too many, those that are not valid come first."""
    rows = tables.checker_rows(result)
    kept, more = fit(rows)
    return fit(sorted(rows, key=lambda row: row.verdict == "valid")) if more else (kept, 0)


def _log_tails(tails: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str], int]]:
    """For each node its last lines, as many as fit, and how many come before them."""
    room = PART_MAX // max(1, len(tails))
    return [
        (cut(node, NAME_MAX), *last_lines([cut(line, _COMMAND_MAX) for line in lines], room))
        for node, lines in tails.items()
    ]


def _headline(page: Page) -> str:
    data = page.data
    text = headline(page.result, data.history, data.spec, data.faults)
    return cut(text[:1].upper() + text[1:], _COMMAND_MAX)


def _outside(facts: Mapping[str, Any]) -> list[str]:
    names = facts.get("outside") or ()
    listed = [names] if isinstance(names, str) else list(names)
    return [cut(str(name), NAME_MAX) for name in listed[:_LISTED_MAX]]


def _commands(page: Page) -> list[tuple[str, str]]:
    facts = page.data.facts
    found = [("Run it again", str(facts["command"]))] if facts.get("command") else []
    more = facts.get("commands") or {}
    listed = [*found, *((str(name), str(command)) for name, command in more.items())]
    return fit([(cut(n, NAME_MAX), cut(c, _COMMAND_MAX)) for n, c in listed])[0]


@cache
def _script() -> str:
    body = "\n".join(resource(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'
