"""From ``ReportData`` to one HTML page.

Each part of the page is made on its own.  A part that fails leaves a line that says so in its place;
the verdict, which stands in the data, is printed as it was given whatever happens elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import jinja2
import msgspec
from markupsafe import Markup

from splitbrain.history.op import Op
from splitbrain.results.bands import Application, bands_of, describe
from splitbrain.results.evidence import Finding, findings, pick
from splitbrain.results.report import cards, embed, scatter, strips, tables
from splitbrain.results.report.advice import advice_for
from splitbrain.results.report.axis import ms, number, ticks_s
from splitbrain.results.report.data import ReportData
from splitbrain.results.report.intervals import (
    Interval,
    intervals_of,
    lanes_of,
    ordered_by_event,
    owners_of,
)
from splitbrain.results.sentence import headline, verdict_sentence
from splitbrain.results.text import count, plural, span, visible

__all__ = ["build_report", "write_report"]

T = TypeVar("T")

_STYLES = ("report.css", "cards.css")
_SCRIPTS = ("data.js", "charts.js", "operations.js", "page.js")
_SHOWN_FACTS = ("command", "commands", "outside", "run", "times", "version")


class _Page(msgspec.Struct, kw_only=True):
    """What several parts need, made once."""

    data: ReportData
    intervals: Sequence[Interval]
    bands: Sequence[Application]
    found: Sequence[Finding]
    workers: dict[int, int]
    horizon_ns: int
    problems: list[str]
    timeless: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """The testbed's nodes, if they are known."""
        return self.data.spec.nodes if self.data.spec else ()

    def part(self, name: str, make: Callable[[], T], instead: Any) -> T:
        """``make()``; if it fails, ``instead``, and a line on the page."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - a picture never costs the verdict
            self.problems.append(f"{name} could not be shown: {type(error).__name__}: {error}")
            return cast(T, instead)


def build_report(data: ReportData) -> str:
    """The page as text: complete in itself, no request leaves it.

    It opens from a file, without network and without JavaScript.  The same data gives the same
    page, byte for byte.
    """
    page = _prepare(data)
    context = _context(page)
    return _environment().get_template("report.html.j2").render(context)


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


def _prepare(data: ReportData) -> _Page:
    page = _Page(
        data=data, intervals=(), bands=(), found=findings(data.result), workers={}, horizon_ns=0,
        problems=[],
    )  # fmt: skip
    page.bands = page.part("Faults", lambda: bands_of(data.history, data.faults), ())
    ordered = ordered_by_event(data.history)
    page.timeless = ordered is not None
    shown = data.history if ordered is None else ordered
    page.intervals = page.part("Operations", lambda: intervals_of(shown), [])
    page.horizon_ns = _horizon_ns(shown, page.bands, data.events)
    concurrency = data.spec.concurrency if data.spec else 0
    page.workers = lanes_of(page.intervals, concurrency, page.horizon_ns)
    return page


def _horizon_ns(
    history: Sequence[Op], bands: Sequence[Application], events: Sequence[Any]
) -> int:
    moments = [history[-1].time_ns] if len(history) else [0]
    moments += [band.end_ns or band.start_ns for band in bands]
    moments += [event["time_ns"] for event in events if isinstance(event.get("time_ns"), int)]
    return max(moments)


def _suspects(page: _Page) -> list[Interval]:
    indexes = [
        index for finding in page.found[: cards.CARDS_MAX] for index in finding.anomaly.ops
    ]
    owners = owners_of(page.intervals, indexes)
    return list({interval.begin.index: interval for interval in owners.values()}.values())


def _moments(page: _Page) -> list[tuple[int, str, int]]:
    """When each anomaly showed: the time of the last of its operations."""
    shown = page.found[: cards.CARDS_MAX]
    ops = pick(page.data.history, {i for finding in shown for i in finding.anomaly.ops})
    times = {i: i * 1_000_000_000 if page.timeless else op.time_ns for i, op in ops.items()}
    return [
        (card, finding.anomaly.kind.replace("-", " "), max(own))
        for card, finding in enumerate(shown, start=1)
        if (own := [times[i] for i in finding.anomaly.ops if i in times])
    ]


def _drawn(page: _Page, reigns: Sequence[strips.Reign]) -> list[strips.Strip]:
    nodes, bands, horizon_ns = page.nodes, page.bands, page.horizon_ns
    made = [
        page.part(
            "The lane of anomalies",
            lambda: strips.anomaly_strip(_moments(page), horizon_ns),
            None,
        ),
        page.part("The fault lane", lambda: strips.fault_strip(bands, horizon_ns), None),
        page.part(
            "The lane of leaders",
            lambda: strips.leader_strip(reigns, nodes, bands, horizon_ns),
            None,
        ),
        page.part(
            "The rate", lambda: strips.rate_strip(page.intervals, bands, horizon_ns), None
        ),
        *page.part(
            "Latency", lambda: scatter.latency_strips(page.intervals, bands, horizon_ns), []
        ),
        page.part(
            "The timeline",
            lambda: scatter.timeline_strip(
                page.intervals, page.workers, bands, horizon_ns, _suspects(page)
            ),
            None,
        ),
    ]
    clocked = ("rate", "latency")
    return [
        strip
        for strip in made
        if strip is not None and not (page.timeless and strip.name.startswith(clocked))
    ]


def _embedded(page: _Page) -> tuple[str, int]:
    suspects = {interval.begin.index for interval in _suspects(page)}
    near = [i for i, interval in enumerate(page.intervals) if interval.begin.index in suspects]
    kept = embed.choose(page.intervals, near)
    return embed.pack(kept, page.workers), len(kept)


def _numbers(page: _Page) -> dict[str, int]:
    tally = {"ok": 0, "fail": 0, "info": 0}
    for interval in page.intervals:
        tally[interval.outcome] += 1
    return {"all": len(page.intervals), **tally}


def _context(page: _Page) -> dict[str, Any]:
    reigns = page.part(
        "Leaders", lambda: strips.reigns(page.data.events, page.bands, page.horizon_ns), []
    )
    script = _script()
    return {
        **_top(page),
        **_over_time(page, reigns),
        **_fault_part(page, reigns),
        **_rest(page),
        "style": Markup("\n".join(_resource(name) for name in _STYLES)),  # noqa: S704 - our own
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": _hash(script),
        "problems": page.problems,
    }


def _top(page: _Page) -> dict[str, Any]:
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
        "commands": page.part("The commands", lambda: _commands(page), []),
        "numbers": _numbers(page),
        "length": span(page.horizon_ns) if page.horizon_ns > 0 and not page.timeless else "",
        "timeless": page.timeless,
        "doubts": page.part("The reasons", lambda: tables.doubts(data.result), []),
        "cards": page.part(
            "The anomalies",
            lambda: cards.cards_of(page.found, page.intervals, _card_context(page)),
            [],
        ),
        "found": page.found,
    }  # fmt: skip


def _card_context(page: _Page) -> cards.Context:
    data = page.data
    return cards.Context(
        data.history, page.bands, data.log_tails, page.horizon_ns, page.nodes, page.timeless,
        data.log_lines, data.events,
    )  # fmt: skip


def _over_time(page: _Page, reigns: Sequence[strips.Reign]) -> dict[str, Any]:
    length_ms = max(ms(page.horizon_ns), 0.001)
    packed, kept = page.part("Search", lambda: _embedded(page), ("", 0))
    return {
        "strips": _drawn(page, reigns),
        "end_ms": length_ms,
        "ticks": ticks_s(length_ms / 1e3, 8),
        "packed": packed,
        "kept": kept,
        "meta": embed.script_json(_meta(page, length_ms)),
    }


def _fault_part(page: _Page, reigns: Sequence[strips.Reign]) -> dict[str, Any]:
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


def _rest(page: _Page) -> dict[str, Any]:
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


def _commands(page: _Page) -> list[tuple[str, str]]:
    facts = page.data.facts
    found = [("Run it again", str(facts["command"]))] if facts.get("command") else []
    more = facts.get("commands") or {}
    return [*found, *((str(name), str(command)) for name, command in more.items())]


def _meta(page: _Page, length_ms: float) -> dict[str, Any]:
    """What the script needs beside the operations."""
    names = strips.fault_names(page.bands)
    return {
        "end": length_ms,
        "timeless": page.timeless,
        "rows": sorted(set(page.workers.values())),
        "bands": [
            [
                float(number(ms(band.start_ns))),
                float(number(ms(band.until_ns(page.horizon_ns)))),
                names.index(band.fault) % 8,
                visible(describe(band, page.nodes)),
            ]
            for band in page.bands
        ],
        "suspects": sorted({i.begin.index for i in _suspects(page)}),
    }


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    body = "\n".join(_resource(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Every text that a template prints passes through here, then through HTML's escaping."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("splitbrain.results.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    environment.filters["percent"] = lambda part, whole: number(100 * part / whole)
    environment.filters["number"] = number
    environment.filters["seconds"] = lambda time_ns: f"{time_ns / 1e9:,.3f} s"
    environment.globals["plural"] = plural
    environment.globals["advice_for"] = advice_for
    return environment
