"""``index.html``: a drill on one page, complete in itself, offline, readable without JavaScript.

At the top what the whole came to; then the matrix of what was tested against what was done to it;
then every scenario, worst first, with its figures, its seeds, each run's sentence, the link to its
report and the command that runs it again; then earlier drills of the same name.  The script adds
search, sorting, filters and copying, and nothing that the page needs.

The page shares the report's style, its escaping and its policy that lets no request leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from splitbrain.results.drill.earlier import Earlier
from splitbrain.results.drill.record import STATUSES, DrillRecord
from splitbrain.results.drill.rows import matrix_of, rows_of
from splitbrain.results.drill.words import FIGURES, counts_line, headline, outcome, symbol
from splitbrain.results.report.template import environment, resource, script_hash

__all__ = ["index_page"]

_HERE = "splitbrain.results.drill"
_TONES = {"passed": "valid", "failed": "invalid", "error": "invalid"}
_SHORT = {"lost": "lost", "recovery_s": "recovery", "outage_s": "outage"}


def index_page(record: DrillRecord, earlier: Sequence[Earlier] = ()) -> str:
    """The page as text; the same record gives the same page, byte for byte."""
    rows = rows_of(record, earlier)
    whole = outcome(record)
    script = resource("index.js", _HERE)
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            {
                "record": record,
                "tone": _TONES.get(whole, "unknown"),
                "outcome": whole,
                "symbol": symbol,
                "headline": headline(record),
                "counts": counts_line(record),
                "rows": rows,
                "matrix": matrix_of(rows),
                "figures": [(_SHORT.get(name, "available"), FIGURES[name]) for name in FIGURES],
                "statuses": _present(rows),
                "earlier": [
                    (one, [(s, n) for s in STATUSES if (n := one.count(s))])
                    for one in reversed(earlier)
                ],
                "style": Markup(_style()),  # noqa: S704 - our own files
                "script": Markup(script),  # noqa: S704 - our own file
                "script_hash": script_hash(script),
            }
        )
    )


def _present(rows: Sequence[Any]) -> list[tuple[str, int]]:
    """Statuses that some row has, worst first, and how many have it."""
    found = [row.status for row in rows]
    return [(status, found.count(status)) for status in STATUSES if status in found]


@cache
def _style() -> str:
    return f"{resource('report.css')}\n{resource('index.css', _HERE)}"


@cache
def _environment() -> jinja2.Environment:
    """The report's environment, whose finalizer makes every text visible, with our templates."""
    loaders = [
        jinja2.PackageLoader(_HERE),
        jinja2.PackageLoader("splitbrain.results.report"),
    ]
    return environment().overlay(loader=jinja2.ChoiceLoader(loaders))
