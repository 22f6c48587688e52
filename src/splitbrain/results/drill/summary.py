r"""``summary.md``: what a drill came to, for people who read it on a CI server's page.

First the counts, then every scenario that is not as expected with its sentence, its seed and the
command that shows it again, then the others, folded.  GitHub shows at most 1 MiB of it and drops
the whole if it is longer, so that rows are left out, those that passed first, and the text says so.

Sentences hold values of systems that may be broken, or of people who mean harm: every character
that means something in Markdown or HTML is written as a numeric entity, which no parser takes for
markup, and what would become a link or call somebody by name is broken up.

    >>> escape("*k* | <b> @me")
    '&#42;k&#42; &#124; &#60;b&#62; @<!-- -->me'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from splitbrain.results.drill.cases import Case, belongs, cases_of, report_of
from splitbrain.results.drill.record import DrillRecord, ScenarioRecord
from splitbrain.results.drill.words import (
    FIGURES,
    counts_line,
    faults_text,
    figure_text,
    headline,
    long_time,
    outcome,
    symbol,
    worst_figure,
)
from splitbrain.results.text import count, plural, shorten, visible

__all__ = ["LIMIT_BYTES", "escape", "summary"]

LIMIT_BYTES = 1_000_000
"""A little less than the 1 MiB that GitHub accepts for the summary of a step."""

_SENTENCE_LENGTH = 600
_COMMAND_LENGTH = 2_000
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|~$&#!\"'^=]")
_REFERENCE = re.compile(r"@|(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_NOT_AS_EXPECTED = ("failed", "error", "unknown")


def escape(text: str) -> str:
    """``text`` in one line that Markdown and HTML show as it is."""
    text = " ".join(visible(text).split())
    text = _SPECIAL.sub(lambda match: f"&#{ord(match.group())};", text)
    return _REFERENCE.sub(lambda match: f"{match.group()}<!-- -->", text)


def summary(record: DrillRecord, limit_bytes: int = LIMIT_BYTES) -> str:
    """The text, at most ``limit_bytes`` of UTF-8 long; empty if not even the counts fit."""
    parts = _Parts(record)
    spent = len(parts.head().encode())
    bad = _take(parts.bad, limit_bytes - spent - _ROOM)
    spent += sum(len(row.encode()) + 1 for row in bad)
    good = _take(parts.good, limit_bytes - spent - _ROOM)
    text = parts.text(bad, good)
    if len(text.encode()) <= limit_bytes:
        return text
    return parts.head() if len(parts.head().encode()) <= limit_bytes else ""


_ROOM = 2_000
"""Bytes kept for headers of tables and for the lines that tell of what was left out."""


def _take(rows: Sequence[str], limit_bytes: int) -> list[str]:
    """As many rows from the start as fit."""
    taken, spent = [], 0
    for row in rows:
        spent += len(row.encode()) + 1
        if spent > limit_bytes:
            break
        taken.append(row)
    return taken


class _Parts:
    """The rows of both tables, and what stands around them."""

    def __init__(self, record: DrillRecord) -> None:
        self._record = record
        mine = [scenario for scenario in record.scenarios if belongs(scenario)]
        wrong = [one for one in mine if one.status in _NOT_AS_EXPECTED]
        wrong.sort(key=lambda scenario: _NOT_AS_EXPECTED.index(scenario.status))
        self.bad = [row for scenario in wrong for row in _bad_rows(record, scenario)]
        self.good = [_good_row(one) for one in mine if one.status not in _NOT_AS_EXPECTED]

    def head(self) -> str:
        record = self._record
        shard = f" (shard {escape(record.shard)})" if record.shard else ""
        name = f"drill {escape(record.name)}"
        lines = [
            f"## {symbol(outcome(record))} {name}{shard}: {escape(headline(record))}",
            "",
            counts_line(record),
        ]
        if not record.finished:
            lines += ["", "_The drill is not finished._"]
        if record.command:
            lines += ["", f"Run it again: {_code(record.command)}"]
        return "\n".join(lines) + "\n"

    def text(self, bad: Sequence[str], good: Sequence[str]) -> str:
        return "\n".join([self.head(), *self._bad_lines(bad), *self._good_lines(good)])

    def _bad_lines(self, bad: Sequence[str]) -> Iterator[str]:
        if not self.bad:
            return
        yield "### Not as expected"
        yield ""
        if bad:
            yield "| | scenario | seed | what was found | run it again |"
            yield "|---|---|---|---|---|"
            yield from bad
            yield ""
        left_out = len(self.bad) - len(bad)
        if left_out:
            more = plural(left_out, "more run")
            yield f"{more} not as expected: left out here for length; see index.html."
            yield ""

    def _good_lines(self, good: Sequence[str]) -> Iterator[str]:
        if not self.good:
            return
        left_out = len(self.good) - len(good)
        yield "<details>"
        yield f"<summary>{plural(len(self.good), 'other scenario')}</summary>"
        yield ""
        if good:
            names = " | ".join(_column(name) for name in FIGURES)
            yield f"| | scenario | expected | faults | runs | {names} | took |"
            yield "|---|---|---|---|---|" + "---|" * (len(FIGURES) + 1)
            yield from good
            yield ""
        if left_out:
            yield f"{count(left_out)} more left out here for length; see index.html."
            yield ""
        yield "</details>"
        yield ""


def _column(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


def _bad_rows(record: DrillRecord, scenario: ScenarioRecord) -> Iterator[str]:
    for case in cases_of(scenario):
        if case.status in _NOT_AS_EXPECTED:
            yield _bad_row(record, scenario, case)


def _bad_row(record: DrillRecord, scenario: ScenarioRecord, case: Case) -> str:
    run = case.run
    message = escape(shorten(" ".join(visible(case.message).split()), _SENTENCE_LENGTH))
    word = f" ({escape(case.kind)})" if case.status != "failed" and case.kind else ""
    report = report_of(record, run) if run else ""
    bugs = f"<br>bugs: {escape(', '.join(scenario.bugs))}" if scenario.bugs else ""
    return _row(
        f"{symbol(case.status)} {case.status}{word}",
        escape(scenario.name) + bugs,
        str(run.seed) if run else "",
        message + (f"<br>report: {_code(report)}" if report else ""),
        _code(run.again) if run and run.again else "",
    )  # fmt: skip


def _good_row(scenario: ScenarioRecord) -> str:
    figures = [worst_figure(scenario, name) for name in FIGURES]
    told = f"{symbol(scenario.status)} {scenario.status}"
    return _row(
        told + (f": {escape(scenario.why)}" if scenario.why else ""),
        escape(scenario.name),
        scenario.expect,
        escape(faults_text(scenario.nemesis)),
        str(len(scenario.runs)),
        *(
            "" if value is None else figure_text(name, value)
            for name, value in zip(FIGURES, figures, strict=True)
        ),
        long_time(scenario.seconds),
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Text to be copied; by HTML, for a table would split a code span at ``|``."""
    return f"<code>{escape(shorten(text, _COMMAND_LENGTH))}</code>"
