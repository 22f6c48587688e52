"""``splitbrain check``: a verdict for run directories and for history files of any origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from splitbrain.catalog import Catalog
from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import Result
from splitbrain.commands.judge import judge_history, judge_run
from splitbrain.commands.report import write_history_report, write_run_report
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import HostError, RequestError
from splitbrain.history import formats
from splitbrain.history.history import History
from splitbrain.results.runs import Run, is_run, read_run, write_result
from splitbrain.results.sentence import verdict_sentence

__all__ = ["CheckOptions", "Checked", "check_path"]


_SECONDS = 60.0


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller said of how to check.

    Attributes:
        model: name of a model, or None to take what the format or the run says.
        initial: the object's first value, as JSON; None for absent.
        nil_reads: ``value`` or ``wildcard``; None to go by the format (EDN: wildcard).
        format: of history files.
        linearizable: for the model ``set``: a stale element is an anomaly.
        budget_seconds: of wall time, or None: a run's own ``check-seconds``, else 60.
        report: where to write a report, or None.
    """

    model: str | None = None
    initial: Any = None
    nil_reads: str | None = None
    format: str = "auto"
    engine: str = "auto"
    linearizable: bool = False
    budget_seconds: float | None = None
    budget_mb: float = 2048.0
    report: Path | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict on one path."""

    path: Path
    result: Result
    sentence: str
    operations: int
    spec: TestSpec | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


def check_path(path: Path, options: CheckOptions, catalog: Catalog) -> Checked:
    """Judge one run directory or history file.

    Raises:
        RequestError: no such path, a malformed file, an unknown model, or no model to judge by.
    """
    if not path.exists():
        raise RequestError(f"{path}: no such file or directory")
    if path.is_dir():
        return _check_run(path, options, catalog)
    recorded = formats.read(path, options.format)
    model = options.model or recorded.model
    if model is None:
        raise RequestError(
            f"{path}: a {recorded.format} history does not say what it is a history of; "
            "give --model register|cas-register|kv|set|unique-ids, or --txn ... once transactions "
            "are checked"
        )
    result = _judge(recorded.history, model, recorded.format, options, catalog)
    if options.report is not None:
        write_history_report(recorded.history, result, path, options.report)
    return Checked(
        path=path,
        result=result,
        sentence=verdict_sentence(result, recorded.history),
        operations=_count(recorded.history),
        notes=recorded.notes,
    )


def _check_run(path: Path, options: CheckOptions, catalog: Catalog) -> Checked:
    if not is_run(path):
        raise RequestError(f"{path}: not a run directory (it has no spec.json)")
    run: Run = read_run(path)
    notes = run.notes
    if options.model is not None:
        result = _judge(run.history, options.model, "jsonl", options, catalog)
    else:
        seconds = options.budget_seconds
        if seconds is None:
            seconds = float(run.spec.options.get("check-seconds", _SECONDS))
        result = judge_run(run.spec, run.history, catalog, Budget(seconds, options.budget_mb))
        try:
            write_result(path, result)
        except (
            HostError
        ) as error:  # an archive that may only be read can be judged all the same
            notes = (*notes, f"{error}; the verdict was not kept")
    if options.report is not None:
        write_run_report(run, result, catalog, options.report)
    return Checked(
        path=path,
        result=result,
        sentence=verdict_sentence(result, run.history, run.spec, run.faults),
        operations=run.operations,
        spec=run.spec,
        seconds=run.seconds,
        notes=notes,
    )


def _judge(
    history: History, model: str, format_: str, options: CheckOptions, catalog: Catalog
) -> Result:
    named: dict[str, Any] = {}
    if options.initial is not None:
        named["initial"] = options.initial
    elif format_ == "kv-text":
        named["initial"] = ""
    nil_reads = options.nil_reads or ("wildcard" if format_ == "edn" else None)
    if nil_reads is not None:
        named["nil_reads"] = nil_reads
    seconds = _SECONDS if options.budget_seconds is None else options.budget_seconds
    budget = Budget(seconds, options.budget_mb)
    return judge_history(
        history,
        catalog,
        budget,
        model=model,
        engine=options.engine,
        linearizable=options.linearizable,
        **named,
    )


def _count(history: History) -> int:
    return sum(1 for op in history if op.type == "invoke" and op.process >= 0)
