"""Words, symbols and figures that the index page and the summary share.

>>> symbol("failed"), figure_text("recovery_s", 3.2), figure_text("availability", 0.985)
('✕', '3.2 s', '98.5 %')
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from splitbrain.results.drill.cases import belongs
from splitbrain.results.drill.record import DrillRecord, ScenarioRecord, Status
from splitbrain.results.text import count, plural, span

__all__ = [
    "FIGURES",
    "counts_line",
    "faults_text",
    "figure_text",
    "headline",
    "long_time",
    "outcome",
    "symbol",
    "worst_figure",
]

_SYMBOLS: Mapping[Status, str] = MappingProxyType(
    {
        "failed": "✕",
        "error": "!",
        "unknown": "?",
        "running": "▶",
        "pending": "…",
        "skipped": "⊘",
        "passed": "✓",
    }
)
FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "lost": "acknowledged operations lost",
        "recovery_s": "longest time from a heal to the next success",
        "outage_s": "longest time without a success",
        "availability": "share of the seconds with a success",
    }
)
"""Figures of a run, in the order in which they are shown, and what each means."""


def symbol(status: Status) -> str:
    """One character, different for each status, so that colour is never needed to tell them apart."""
    return _SYMBOLS[status]


def outcome(record: DrillRecord) -> Status:
    """What the whole came to: its worst scenario; ``running`` while it goes on."""
    counts = record.counts()
    for status in ("failed", "error", "unknown"):
        if counts[status]:
            return status
    if not record.finished:
        return "running"
    mine = [scenario for scenario in record.scenarios if belongs(scenario)]
    return "skipped" if any(one.status == "skipped" for one in mine) else "passed"


def headline(record: DrillRecord) -> str:
    """What the whole came to, in a sentence."""
    counts = record.counts()
    total = sum(1 for scenario in record.scenarios if belongs(scenario))
    if not total:
        return "There is no scenario in it."
    worst = outcome(record)
    so_far = "" if record.finished else " so far"
    of = f"of {plural(total, 'scenario')}"
    if worst == "failed":
        return f"{count(counts['failed'])} {of} did not come out as expected{so_far}."
    if worst == "error":
        return f"{count(counts['error'])} {of} could not be run{so_far}."
    if worst == "unknown":
        return f"{count(counts['unknown'])} {of} could not be decided{so_far}."
    if worst == "skipped":
        left = sum(1 for one in record.scenarios if belongs(one) and one.status == "skipped")
        return f"{count(left)} {of} were left out; the others came out as expected."
    if worst == "running":
        return f"{count(counts['passed'])} {of} came out as expected so far."
    return f"{plural(total, 'scenario')} came out as expected."


def counts_line(record: DrillRecord) -> str:
    """Counts of scenarios that are not zero, worst first, and of runs."""
    mine = [scenario for scenario in record.scenarios if belongs(scenario)]
    found = [
        f"{symbol(status)} {count(number)} {status}"
        for status in record.counts()
        if (number := sum(1 for one in mine if one.status == status))
    ]
    runs = sum(len(scenario.runs) for scenario in mine)
    return " · ".join([*found, plural(runs, "run"), long_time(record.seconds)])


def figure_text(name: str, value: float) -> str:
    """A figure with its unit."""
    if not math.isfinite(value):
        return str(value)
    if name == "availability":
        return f"{100 * value:.1f}".removesuffix(".0") + " %"
    return f"{count(round(value, 2))} s" if name.endswith("_s") else count(round(value, 2))


def worst_figure(scenario: ScenarioRecord, name: str) -> float | None:
    """The worst of a scenario's runs; None if none has that figure."""
    found = (run.figures.get(name) for run in scenario.runs)
    values = [value for value in found if value is not None and math.isfinite(value)]
    if not values:
        return None
    return min(values) if name == "availability" else max(values)


def faults_text(nemesis: Iterable[str]) -> str:
    """The faults of a scenario."""
    return " + ".join(nemesis) or "no fault"


def long_time(seconds: float) -> str:
    """A length of wall time."""
    return span(seconds * 1e9) if math.isfinite(seconds) and seconds > 0 else "0 s"
