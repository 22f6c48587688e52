"""``splitbrain report``: one offline HTML file, made from a run directory or a checked history."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import splitbrain
from splitbrain.catalog import Catalog
from splitbrain.checkers.verdict import Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.history.history import History
from splitbrain.results.report import ReportData, write_report
from splitbrain.results.runs import Run

__all__ = ["rerun_command", "write_history_report", "write_run_report"]


def rerun_command(spec: TestSpec) -> str:
    """The command line that runs the spec again."""
    parts = ["splitbrain", "run", spec.workload, "--on", spec.substrate]
    if spec.system != "minitikv":
        parts += ["--system", spec.system]
    if spec.nodes != TestSpec(workload="").nodes:
        parts += ["--nodes", str(len(spec.nodes))]
    if spec.nemesis:
        parts += ["--nemesis", ",".join(spec.nemesis)]
    if spec.nemesis_interval_s is not None:
        parts += ["--nemesis-interval", f"{spec.nemesis_interval_s:g}"]
    default = TestSpec(workload="")
    for flag, name in (("--concurrency", "concurrency"), ("--rate", "rate_hz")):
        if getattr(spec, name) != getattr(default, name):
            parts += [flag, f"{getattr(spec, name):g}"]
    parts += ["--time-limit", f"{spec.time_limit_s:g}"]
    for bug in spec.bugs:
        parts += ["--bug", bug]
    if spec.schedule:
        parts += ["--faults", "faults.jsonl"]
    for name, value in sorted(spec.options.items()):
        parts += ["--option", f"{name}={value}"]
    for path in spec.load:
        parts += ["--load", path]
    parts += ["--seed", str(spec.seed)]
    return shlex.join(parts)


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
        legend=LEGEND,
        facts=_facts(run.spec, run.path, catalog),
    )
    write_report(path, data)


def write_history_report(history: History, result: Result, source: Path, path: Path) -> None:
    """Write the report of a history file that was checked by a model."""
    facts = {"run": str(source), "version": splitbrain.__version__}
    write_report(path, ReportData(result=result, history=history, facts=facts))


def _facts(spec: TestSpec, path: Path, catalog: Catalog) -> Mapping[str, Any]:
    system = catalog.systems[spec.system]()
    outside = [
        name
        for name in spec.nemesis
        if not catalog.nemeses.get(name, frozenset()) & frozenset(system.fault_model)
    ]
    return {
        "command": rerun_command(spec),
        "run": str(path),
        "times": system.times(spec),
        "outside": outside,
        "host": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "version": splitbrain.__version__,
    }
