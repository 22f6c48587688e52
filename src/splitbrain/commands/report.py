"""``splitbrain report``: one offline HTML file, made from a run directory or a checked history."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import splitbrain
from splitbrain.catalog import Catalog, make_system, make_workload
from splitbrain.checkers.verdict import Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import HostError
from splitbrain.history.history import History
from splitbrain.results.evidence import findings, pick
from splitbrain.results.logs import LogLine, log_lines_around, started_wall_ns
from splitbrain.results.report import CARDS_MAX, ReportData, write_report
from splitbrain.results.runs import Run

__all__ = ["rerun_command", "write_history_report", "write_run_report"]


def rerun_command(spec: TestSpec, catalog: Catalog, directory: Path) -> str:
    """The command line that runs the spec again.

    A schedule of faults is named if the system ships it, else taken from the run's spec.json.
    """
    default = TestSpec(workload="")
    parts = ["splitbrain", "run", spec.workload, "--on", spec.substrate]
    if spec.system != default.system:
        parts += ["--system", spec.system]
    if spec.nodes != default.nodes:
        parts += ["--nodes", str(len(spec.nodes))]
    if spec.nemesis:
        parts += ["--nemesis", ",".join(spec.nemesis)]
    if spec.nemesis_interval_s is not None:
        parts += ["--nemesis-interval", _number(spec.nemesis_interval_s)]
    for flag, name in (("--concurrency", "concurrency"), ("--rate", "rate_hz")):
        if getattr(spec, name) != getattr(default, name):
            parts += [flag, _number(getattr(spec, name))]
    parts += ["--time-limit", _number(spec.time_limit_s)]
    for bug in spec.bugs:
        parts += ["--bug", bug]
    if spec.schedule:
        parts += ["--faults", _schedule_name(spec, catalog) or str(directory / "spec.json")]
    for name, value in sorted(spec.options.items()):
        words = str(value).lower() if isinstance(value, bool) else str(value)
        parts += ["--option", f"{name}={words}"]
    for path in spec.load:
        parts += ["--load", path]
    parts += ["--seed", str(spec.seed)]
    return shlex.join(parts)


def _number(value: float) -> str:
    """All its digits, and no more.

    >>> _number(60.0), _number(0.1), _number(1234567.5)
    ('60', '0.1', '1234567.5')
    """
    return str(int(value)) if value == int(value) else repr(value)


def _schedule_name(spec: TestSpec, catalog: Catalog) -> str | None:
    system = make_system(spec, catalog)
    for bug in system.bugs.values():
        if bug.schedule and tuple(system.schedule(bug.schedule)) == spec.schedule:
            return bug.schedule
    return None


def write_run_report(run: Run, result: Result, catalog: Catalog, path: Path) -> None:
    """Write the report of a run; it can never change the verdict."""
    from splitbrain.nemesis.packages import LEGEND

    data = ReportData(
        result=result,
        spec=run.spec,
        history=run.history,
        faults=run.faults,
        events=run.events,
        log_tails=run.log_tails,
        log_lines=_log_lines(run, result),
        answers=make_workload(run.spec, catalog).answers,
        notes=run.notes,
        legend=LEGEND,
        facts=_facts(run.spec, run.path, catalog),
    )
    _write(path, data)


def _log_lines(run: Run, result: Result) -> Mapping[str, Sequence[LogLine]]:
    """What the logs of the run hold around its first anomalies."""
    indexes = {
        index for finding in findings(result)[:CARDS_MAX] for index in finding.anomaly.ops
    }
    moments = [op.time_ns for op in pick(run.history, indexes).values()]
    return log_lines_around(run.path / "logs", moments, started_wall_ns(run.events))


def write_history_report(history: History, result: Result, source: Path, path: Path) -> None:
    """Write the report of a history file that was checked by a model."""
    facts = {"run": str(source), "version": splitbrain.__version__}
    _write(path, ReportData(result=result, history=history, facts=facts))


def _write(path: Path, data: ReportData) -> None:
    try:
        write_report(path, data)
    except OSError as error:
        raise HostError(
            f"cannot write the report {path}: {error.strerror}; the verdict stands in result.json"
        ) from error


def _facts(spec: TestSpec, path: Path, catalog: Catalog) -> Mapping[str, Any]:
    system = make_system(spec, catalog)
    outside = [
        name
        for name in spec.nemesis
        if not catalog.nemeses.get(name, frozenset()) & frozenset(system.fault_model)
    ]
    return {
        "command": rerun_command(spec, catalog, path),
        "run": str(path),
        "times": system.times(spec),
        "outside": outside,
        "host": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "version": splitbrain.__version__,
    }
