"""The scenarios of a drill as the index page shows them: rows, seeds, and the matrix above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from splitbrain.results.drill.cases import Case, belongs, cases_of, report_of
from splitbrain.results.drill.earlier import Earlier
from splitbrain.results.drill.record import STATUSES, DrillRecord, ScenarioRecord, Status
from splitbrain.results.drill.words import (
    FIGURES,
    faults_text,
    figure_text,
    long_time,
    symbol,
    worst_figure,
)
from splitbrain.results.text import count

__all__ = ["Cell", "Matrix", "Row", "RunRow", "matrix_of", "rows_of"]

_UNDECIDED = ("pending", "running")
RUNS_MAX = 50
"""Most runs of a scenario that the page shows, those that are not as expected first."""


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run, or what is to be said of a scenario beside its runs.

    Attributes:
        report: a link; empty if there is none.
        figures: name and value, each as text.
    """

    anchor: str
    name: str
    status: Status
    symbol: str
    message: str
    kind: str = ""
    seed: str = ""
    report: str = ""
    directory: str = ""
    again: str = ""
    repeated: bool = False
    took: str = ""
    operations: str = ""
    figures: tuple[tuple[str, str], ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario.

    Attributes:
        place: where it stands in the drill's file, from 1.
        rank: of its status, the worst first.
        verdicts: how many runs gave which verdict.
        figures: text and number to sort by, in the order of ``FIGURES``; None: not measured.
        before: what it came to in earlier drills: symbol, status and when, oldest first.
        bad: it is not as expected, and shown unfolded.
    """

    anchor: str
    place: int
    line: int
    name: str
    status: Status
    symbol: str
    rank: int
    expect: str
    workload: str
    system: str
    substrate: str
    faults: str
    bugs: tuple[str, ...]
    why: str
    as_expected: int
    total: int
    verdicts: tuple[tuple[str, int], ...]
    figures: tuple[tuple[str, float] | None, ...]
    took: str
    seconds: float
    runs: tuple[RunRow, ...]
    left_out: int
    bad: bool
    before: tuple[tuple[str, Status, str], ...] = ()


def rows_of(record: DrillRecord, earlier: Sequence[Earlier] = ()) -> tuple[Row, ...]:
    """The scenarios of this shard, worst first, else in the order of the file."""
    rows = [
        _row(record, scenario, place, earlier)
        for place, scenario in enumerate(record.scenarios, start=1)
        if belongs(scenario)
    ]
    return tuple(sorted(rows, key=lambda row: (row.rank, row.place)))


def _row(
    record: DrillRecord, scenario: ScenarioRecord, place: int, earlier: Sequence[Earlier]
) -> Row:
    cases = cases_of(scenario)
    shown = sorted(cases, key=lambda case: STATUSES.index(case.status))[:RUNS_MAX]
    anchor = f"scenario-{place}"
    verdicts = [run.verdict for run in scenario.runs]
    return Row(
        anchor=anchor,
        place=place,
        line=scenario.line,
        name=scenario.name,
        status=scenario.status,
        symbol=symbol(scenario.status),
        rank=STATUSES.index(scenario.status),
        expect=scenario.expect,
        workload=scenario.workload,
        system=scenario.system,
        substrate=scenario.substrate,
        faults=faults_text(scenario.nemesis),
        bugs=scenario.bugs,
        why=scenario.why,
        as_expected=verdicts.count(scenario.expect),
        total=len(verdicts),
        verdicts=tuple((word, verdicts.count(word)) for word in dict.fromkeys(verdicts)),
        figures=tuple(_figure(scenario, name) for name in FIGURES),
        took=long_time(scenario.seconds) if scenario.runs else "",
        seconds=scenario.seconds,
        runs=tuple(
            _run(record, case, f"{anchor}-{number}") for number, case in enumerate(shown, 1)
        ),
        left_out=len(cases) - len(shown),
        bad=scenario.status in ("failed", "error", "unknown"),
        before=tuple(
            (symbol(status), status, one.started or one.directory)
            for one in earlier
            if (status := one.statuses.get(scenario.name, "pending")) not in _UNDECIDED
        ),
    )


def _figure(scenario: ScenarioRecord, name: str) -> tuple[str, float] | None:
    value = worst_figure(scenario, name)
    return None if value is None else (figure_text(name, value), value)


def _run(record: DrillRecord, case: Case, anchor: str) -> RunRow:
    row = RunRow(
        anchor=anchor,
        name=case.name,
        status=case.status,
        symbol=symbol(case.status),
        message=case.message,
        kind=case.kind,
    )
    run = case.run
    if run is None:
        return row
    return msgspec.structs.replace(
        row,
        seed=str(run.seed),
        report=quote(report_of(record, run), errors="replace"),
        directory=run.directory,
        again=run.again,
        repeated=run.repeated,
        took=long_time(run.seconds),
        operations=count(run.operations),
        figures=tuple(
            (FIGURES.get(name, name), figure_text(name, value))
            for name, value in run.figures.items()
        ),
    )


_Lines = dict[tuple[str, str, tuple[str, ...]], dict[tuple[str, str], list["Row"]]]
_DENSITY = 4


class Cell(msgspec.Struct, frozen=True):
    """The scenarios of one row of the matrix under one column."""

    rows: tuple[Row, ...] = ()


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """What was tested against what was done to it.

    Attributes:
        columns: faults and substrate.
        lines: workload, system and bugs; and a cell for each column.
        beside: how many scenarios have no place in it, for nothing stands beside them.
    """

    columns: tuple[tuple[str, str], ...]
    lines: tuple[tuple[tuple[str, str, tuple[str, ...]], tuple[Cell, ...]], ...]
    beside: int


def matrix_of(rows: Sequence[Row]) -> Matrix | None:
    """The rows as a matrix; None if it would say nothing.

    A line is shown if it has a neighbour: another column of its own, or a column that it shares with
    another line.  Many seeded bugs, each under the one fault that reveals it, are a list and no matrix:
    where too few cells would be filled, lines of a single column are left to the list.
    """
    lines: _Lines = {}
    for row in sorted(rows, key=lambda row: row.place):
        line = lines.setdefault((row.workload, row.system, row.bugs), {})
        line.setdefault((row.faults, row.substrate), []).append(row)
    uses = Counter(column for line in lines.values() for column in line)
    beside = {
        key: line
        for key, line in lines.items()
        if len(line) > 1 or any(uses[column] > 1 for column in line)
    }
    wide = {key: line for key, line in lines.items() if len(line) > 1}
    shown = next((some for some in (beside, wide) if _is_dense(some)), None)
    if shown is None:
        return None
    columns = _columns(shown)
    placed = sum(len(cell) for line in shown.values() for cell in line.values())
    return Matrix(
        columns=columns,
        lines=tuple(
            (key, tuple(Cell(tuple(line.get(column, ()))) for column in columns))
            for key, line in shown.items()
        ),
        beside=len(rows) - placed,
    )


def _columns(lines: _Lines) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(column for line in lines.values() for column in line))


def _is_dense(lines: _Lines) -> bool:
    """At least a quarter of the cells are filled, and there is more than one."""
    filled = sum(map(len, lines.values()))
    return filled > 1 and _DENSITY * filled >= len(lines) * len(_columns(lines))
