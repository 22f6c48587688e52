"""The tables of the page: what each fault did, what each checker said, and figures of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from splitbrain.checkers.verdict import Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.history.op import Op
from splitbrain.results.bands import (
    Application,
    describe,
    describe_parameters,
    first_success_ns,
)
from splitbrain.results.evidence import leaves
from splitbrain.results.left_out import left_out_counts
from splitbrain.results.report.brief import NAME_MAX, brief, cut
from splitbrain.results.report.leaders import Reign
from splitbrain.results.report.room import fit
from splitbrain.results.report.strips import fault_names
from splitbrain.results.sentence import REASONS
from splitbrain.results.text import clock, count, key_text, span, value_text

__all__ = [
    "CheckerRow",
    "Doubt",
    "FaultCount",
    "FaultRow",
    "Figures",
    "Tile",
    "checker_rows",
    "doubts",
    "fact_rows",
    "fault_counts",
    "fault_rows",
    "figures",
    "label",
    "spec_rows",
    "tiles",
    "time_rows",
]

_LABELS = {
    "answered_outside_bands": "answered outside fault bands",
    "answered_share": "share answered outside fault bands",
    "asked_outside_bands": "operations outside fault bands",
    "elections": "elections",
    "leader_cut_off": "leader cut off from the majority",
    "leader_hits": "leader killed, paused or powered off",
    "no_effect": "no effect shown",
    "rate_outside_bands": "successes a second outside fault bands",
    "seconds_outside_bands": "seconds outside fault bands",
}
_UNITS = {"s": "s", "ms": "ms", "us": "µs", "ns": "ns", "hz": "Hz", "mb": "MB"}
_VALUE_MAX = 400
_ROWS_MAX = 200
_COLUMNS_MAX = 24
_CELL_MAX = 120
_BANDS_MAX = 1_000
_LINES_ROOM = 40_000
_COMMAND_MAX = 4_000


class Tile(msgspec.Struct, frozen=True):
    """A figure large enough to be seen first."""

    value: str
    label: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping of any shape, made readable: single figures, and a table for each mapping of rows."""

    rows: tuple[tuple[str, str], ...] = ()
    matrices: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...] = ()


class FaultCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often one kind of fault was applied, and what is known of the effect."""

    fault: str
    colour: int
    words: str
    applied: int
    effective: int
    masked: int
    no_effect: int


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One application of one fault, as text."""

    fault: str
    colour: int
    start: str
    end: str
    held: str
    what: str
    parameters: str
    effect: str
    proof: tuple[tuple[str, str, str], ...]
    recovered: str
    error: str


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Why one checker could not decide."""

    checker: str
    reason: str
    meaning: str
    summary: str
    more: tuple[str, ...] = ()


class CheckerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One checker's answer, as text."""

    name: str
    verdict: str
    summary: str
    reason: str
    kernel: str
    anomalies: int
    assumed: tuple[str, ...]
    open: int
    undecided: tuple[str, ...]
    figures: Figures


def label(name: Any) -> str:
    """A figure's name in words, its unit in brackets: ``time_limit_s`` is "time limit (s)"."""
    text = cut(key_text(brief(name, NAME_MAX)), NAME_MAX)
    if text in _LABELS:
        return _LABELS[text]
    stem, _, unit = text.rpartition("_")
    if stem and unit in _UNITS:
        text = f"{stem} ({_UNITS[unit]})"
    return text.replace("_", " ")


def _figure(name: str, value: Any, room: int = _VALUE_MAX) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "\u2013"}[value]
    if isinstance(value, int | float) and brief(value) is value:
        if name.endswith("share") and 0 <= value <= 1:
            return f"{value * 100:.1f} %"
        return count(value) if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, str):
        return cut(value, room)
    value = brief(value, room)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return cut(", ".join(value), room) or "\u2013"
    return cut(value_text(value), room)


def figures(stats: Mapping[str, Any]) -> Figures:
    """``stats`` with every mapping of mappings as a table, every other mapping flattened."""
    rows: list[tuple[str, str]] = []
    matrices = []
    for name, value in islice(stats.items(), _ROWS_MAX):
        if (
            isinstance(value, Mapping)
            and value
            and all(isinstance(v, Mapping) for v in value.values())
        ):
            matrices.append(_matrix(label(name), value))
        elif isinstance(value, Mapping):
            rows += [
                (f"{label(name)}: {label(k)}", _figure(key_text(k), v))
                for k, v in islice(value.items(), _ROWS_MAX)
            ]
        else:
            rows.append((label(name), _figure(key_text(name), value)))
    return Figures(
        rows=(*rows[:_ROWS_MAX], *_rest(len(rows) - _ROWS_MAX)), matrices=tuple(matrices)
    )


def _rest(more: int) -> list[tuple[str, str]]:
    return [("\u2026", f"({count(more)} more)")] if more > 0 else []


def _matrix(
    name: str, value: Mapping[Any, Mapping[Any, Any]]
) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """A table of the first rows and columns."""
    shown = dict(islice(value.items(), _ROWS_MAX))
    columns = tuple(dict.fromkeys(key_text(c) for row in shown.values() for c in row))
    columns = columns[:_COLUMNS_MAX]
    body = [
        (
            cut(key_text(row), NAME_MAX),
            *(_figure(c, cells[c], _CELL_MAX) if c in cells else "" for c in columns),
        )
        for row, cells in shown.items()
    ]
    more = [
        (title, told, *[""] * (len(columns) - 1))
        for title, told in _rest(len(value) - len(body))
    ]
    return (name, tuple(label(c) for c in columns), (*body, *(more if columns else [])))


def _stats_of(result: Result, checker: str) -> Mapping[str, Any]:
    for name, part in leaves(result):
        if name.rsplit("/", 1)[-1] == checker:
            return part.stats
    return {}


def tiles(result: Result, bands: Sequence[Application], found: Sequence[Reign]) -> list[Tile]:
    """The figures by which a run is judged to have been a test."""
    stats = {**result.stats, **_stats_of(result, "earned")}
    elections = stats.get("elections", len({reign.term for reign in found}) if found else None)
    shown = [Tile(count(len(bands)), "faults applied")] if bands else []
    named = {**stats, "elections": elections}
    for name in (
        "leader_hits",
        "leader_cut_off",
        "elections",
        "rate_outside_bands",
        "answered_share",
    ):
        value = named.get(name)
        if isinstance(value, int | float):
            shown.append(Tile(_figure(name, value), label(name)))
    return shown


def fault_counts(
    result: Result, bands: Sequence[Application], legend: Mapping[str, str]
) -> list[FaultCount]:
    """Applications by fault: as the check of earned verdicts counted them, else counted here."""
    names = fault_names(bands)
    told = _stats_of(result, "earned").get("faults")
    told = told if isinstance(told, Mapping) else {}
    rows = []
    for fault in [*dict.fromkeys([*names, *(key_text(name) for name in told)])][:_ROWS_MAX]:
        own = [band.effect for band in bands if band.fault == fault]
        counted = told.get(fault)
        if not isinstance(counted, Mapping):
            counted = {
                "applied": len(own),
                "effective": own.count("effective"),
                "masked": own.count("masked"),
                "no_effect": own.count("no-effect") + own.count("unproven"),
            }
        rows.append(
            FaultCount(
                fault=fault,
                colour=names.index(fault) % 8 if fault in names else 7,
                words=cut(legend.get(f"start-{fault}") or legend.get(fault) or "", _VALUE_MAX),
                **{
                    name: value if isinstance(value := counted.get(name, 0), int) else 0
                    for name in ("applied", "effective", "masked", "no_effect")
                },
            )
        )
    return rows


def _proof(item: Mapping[str, Any]) -> tuple[str, str, str]:
    masked, effective = item.get("masked"), item.get("effective")
    if masked:
        word = cut(f"masked by {masked}", NAME_MAX)
    else:
        word = {True: "effective", False: "no effect"}.get(effective, "not observed")  # type: ignore[arg-type]
    target, observed = (
        key_text(brief(item.get(name, ""), _CELL_MAX)) for name in ("target", "observed")
    )
    return (target, word, observed)


def fault_rows(
    bands: Sequence[Application], history: Sequence[Op], nodes: Sequence[str] = ()
) -> list[FaultRow]:
    """Every application, with what was observed and how soon a client succeeded after its heal."""
    names = fault_names(bands)
    healed = [band.end_ns for band in bands if band.end_ns is not None and not band.single]
    success = dict(zip(healed, first_success_ns(history, healed), strict=True))
    rows = []
    for band in bands[:_BANDS_MAX]:
        recovered = success.get(band.end_ns) if band.end_ns is not None else None
        rows.append(
            FaultRow(
                fault=band.fault,
                colour=names.index(band.fault) % 8,
                start=clock(band.start_ns),
                end="at once" if band.single else clock(band.end_ns) if band.end_ns else "never",
                held="" if band.single or band.end_ns is None else span(band.end_ns - band.start_ns),
                what=cut(describe(band, nodes), _VALUE_MAX),
                parameters=cut(describe_parameters(band, cut=False), _VALUE_MAX),
                effect=band.effect.replace("-", " "),
                proof=tuple(_proof(item) for item in band.proof[:_COLUMNS_MAX]),
                recovered="" if recovered is None or band.end_ns is None
                else span(recovered - band.end_ns),
                error=band.error or "",
            )
        )  # fmt: skip
    return rows


def checker_rows(result: Result) -> list[CheckerRow]:
    """Every checker of a composed result; the result itself if it is not composed."""
    return [
        CheckerRow(
            name=cut(name or "checker", NAME_MAX),
            verdict=part.verdict,
            summary=part.summary,
            reason=part.reason or "",
            kernel=part.kernel or "",
            anomalies=len(part.anomalies),
            assumed=some(part.assumed),
            open=len(part.undecided),
            undecided=some(part.undecided),
            figures=figures(part.stats),
        )
        for name, part in leaves(result)
    ]


def some(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines of a checker's list, and how many more there are."""
    kept, more = fit(lines, _LINES_ROOM)
    return (*kept, f"\u2026 ({count(more)} more, in result.json)") if more else tuple(kept)


def spec_rows(spec: TestSpec | None) -> list[tuple[str, str]]:
    """The test as a table, options one by one."""
    if spec is None:
        return []
    rows = []
    for name, value in msgspec.structs.asdict(spec).items():
        if name == "options":
            rows += [
                (f"option {cut(key_text(k), NAME_MAX)}", value_text(brief(v, _VALUE_MAX)))
                for k, v in spec.options.items()
            ]
        elif name == "schedule":
            if spec.schedule:
                rows.append(("schedule", f"{len(spec.schedule)} faults at fixed times"))
        elif name == "left_out":
            counts = left_out_counts(spec.left_out)
            rows += [(f"left out: {fault}", count(n)) for fault, n in counts.items()]
        elif name == "nemesis_interval_s" and value is None:
            rows.append((label(name), "5 election timeouts"))
        elif isinstance(value, tuple):
            listed = ", ".join(key_text(brief(item, NAME_MAX)) for item in value)
            rows.append((label(name), cut(listed, _COMMAND_MAX) or "none"))
        else:
            rows.append((label(name), key_text(brief(value, _VALUE_MAX))))
    return rows


def time_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The system's own times, in seconds."""
    times = facts.get("times")
    return [
        (
            label(name),
            f"{value:g} s" if isinstance(value, int | float) else _figure("", value),
        )
        for name, value in (times.items() if isinstance(times, Mapping) else ())
    ]


def doubts(result: Result) -> list[Doubt]:
    """Why the verdict is unknown, one for each checker that could not decide."""
    if result.verdict != "unknown":
        return []
    found = []
    for name, part in leaves(result):
        if part.verdict == "unknown":
            problems = part.stats.get("problems")
            more = [str(p) for p in problems[1:]] if isinstance(problems, list | tuple) else []
            more = [cut(line, _COMMAND_MAX) for line in more]
            found.append(
                Doubt(
                    checker=name,
                    reason=(part.reason or "undecided").replace("-", " "),
                    meaning=REASONS.get(part.reason or "", ""),
                    summary=part.summary,
                    more=some([*more, *part.undecided]),
                )
            )
    return found


def fact_rows(facts: Mapping[str, Any], shown: Iterable[str]) -> list[tuple[str, str]]:
    """Facts of the run that stand nowhere else on the page."""
    hidden = set(shown)
    rest = figures({name: value for name, value in facts.items() if name not in hidden})
    flat = [(title, value_text(brief(body, _COMMAND_MAX))) for title, _, body in rest.matrices]
    return [*rest.rows, *flat]
