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

from splitbrain.results.left_out import left_out_lines
from splitbrain.results.report import cards, leaders, problems, tables
from splitbrain.results.report.data import ReportData
from splitbrain.results.report.frame import OUTCOMES
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.over_time import over_time
from splitbrain.results.report.page import Page, prepare
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


def build_report(data: ReportData) -> str:
    """The page as text: complete in itself, no request leaves it.

    It opens from a file, without network and without JavaScript.  The same data gives the same
    page, byte for byte.
    """
    page = prepare(data)
    context = _context(page)
    return environment().get_template("report.html.j2").render(context)


def write_report(path: str | Path, data: ReportData) -> Path:
    """Build the page and put it at ``path`` in one step: a reader sees the old page or the new one."""
    target = Path(path)
    text = build_report(data).encode("utf-8", errors="backslashreplace")
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
        **_problems(page),  # last: it tells of parts above that failed
    }


def _top(page: Page) -> dict[str, Any]:
    """The verdict, and the anomalies or the reasons behind it."""
    data = page.data
    facts = data.facts
    return {
        "verdict": data.result.verdict,
        "word": data.result.verdict.upper(),
        "headline": page.part("The sentence", lambda: _headline(data), data.result.summary),
        "title": page.part(
            "The title",
            lambda: verdict_sentence(data.result, data.history, data.spec, data.faults),
            data.result.verdict,
        ),
        "spec": data.spec,
        "version": str(facts.get("version") or ""),
        "run": str(facts.get("run") or ""),
        "outside": page.part("The fault model", lambda: _outside(facts), []),
        "left_out": page.part("Faults left out", lambda: left_out_lines(data.spec), []),
        "commands": page.part("The commands", lambda: _commands(page), []),
        "numbers": _numbers(page),
        "length": span(page.horizon_ns) if page.horizon_ns > 0 and not page.timeless else "",
        "timeless": page.timeless,
        "doubts": page.part("The reasons", lambda: tables.doubts(data.result), []),
        "cards": page.part(
            "The anomalies",
            lambda: cards.cards_of(page.found, _for_cards(page), _card_context(page)),
            [],
        ),
        "found": page.found,
    }  # fmt: skip


def _card_context(page: Page) -> cards.Context:
    data = page.data
    return cards.Context(
        data.history, page.bands, data.log_tails, page.horizon_ns, page.nodes, page.timeless,
        data.log_lines, data.events,
    )  # fmt: skip


def _for_cards(page: Page) -> Sequence[Interval]:
    """All operations; of a large run those that a card may show: of its keys, and around it."""
    frame = page.frame
    if len(frame) <= _CARD_ROWS_MAX:
        return list(frame)
    shown = page.found[: cards.CARDS_MAX]
    own = frame.rows_of([i for finding in shown for i in finding.anomaly.ops])
    near = np.union1d(
        frame.near(own, _CARD_ROWS_MAX // max(1, len(own)), same_key=True),
        frame.near(own, _NEAR, same_key=False),
    )
    return [frame[row] for row in near.tolist()]


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
    data, bands = page.data, page.bands
    return {
        "tiles": page.part("Counts", lambda: tables.tiles(data.result, bands, reigns), []),
        "fault_counts": page.part(
            "Counts of faults", lambda: tables.fault_counts(data.result, bands, data.legend), []
        ),
        "fault_rows": page.part(
            "The fault table", lambda: tables.fault_rows(bands, data.history, page.nodes), []
        ),
    }


def _rest(page: Page) -> dict[str, Any]:
    data = page.data
    return {
        "checkers": page.part("Checkers", lambda: tables.checker_rows(data.result), []),
        "stats": page.part(
            "Figures", lambda: tables.figures(data.result.stats), tables.Figures()
        ),
        "log_tails": data.log_tails,
        "spec_rows": page.part("The test", lambda: tables.spec_rows(data.spec), []),
        "time_rows": page.part("Times", lambda: tables.time_rows(data.facts), []),
        "fact_rows": page.part("Facts", lambda: tables.fact_rows(data.facts, _SHOWN_FACTS), []),
    }


def _headline(data: ReportData) -> str:
    text = headline(data.result, data.history, data.spec, data.faults)
    return text[:1].upper() + text[1:]


def _outside(facts: Mapping[str, Any]) -> list[str]:
    names = facts.get("outside") or ()
    return [str(name) for name in ([names] if isinstance(names, str) else names)]


def _commands(page: Page) -> list[tuple[str, str]]:
    facts = page.data.facts
    found = [("Run it again", str(facts["command"]))] if facts.get("command") else []
    more = facts.get("commands") or {}
    return [*found, *((str(name), str(command)) for name, command in more.items())]


@cache
def _script() -> str:
    body = "\n".join(resource(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'
