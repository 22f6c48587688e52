"""What each run of a drill counts as, worked out once for every output.

A record says what a run's verdict was and what its scenario came to.  Every output has to show a
status for each run, and no output may contradict the scenario's:

- a run is ``passed`` if it gave the verdict that was expected and reached every figure;
- a run is never ``failed`` in a scenario that is not, for a scenario may ask to be found by some of
  its seeds only, and one that misses it decides nothing;
- a scenario that is worse than each of its runs has a case of its own that says so.

    >>> run = RunRecord(seed=7, verdict="valid", exit_code=0, sentence="VALID: nothing was found")
    >>> scenario = ScenarioRecord(name="stale", expect="invalid", status="failed", runs=(run,))
    >>> [(case.name, case.status) for case in cases_of(scenario)]
    [('seed 7', 'failed')]
"""

from __future__ import annotations

import posixpath
from pathlib import Path, PurePosixPath

import msgspec

from splitbrain.results.drill.record import (
    DrillRecord,
    RunRecord,
    ScenarioRecord,
    Status,
)
from splitbrain.results.text import and_list

__all__ = ["Case", "belongs", "cases_of", "report_of", "run_status"]

ANOTHER_SHARD = "another shard"
"""Why a scenario was left out that another part of the same drill runs."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One run, or what has to be said of a scenario beside its runs.

    Attributes:
        name: unique in its scenario.
        message: what came of it, in a sentence.
        kind: the fixed word of what went wrong: a kind of anomaly, a reason, a class of error.
        run: None for a case that is not a run.
    """

    name: str
    status: Status
    message: str
    kind: str = ""
    run: RunRecord | None = None


def belongs(scenario: ScenarioRecord) -> bool:
    """False for a scenario that another shard runs."""
    return scenario.status != "skipped" or scenario.why != ANOTHER_SHARD


def run_status(run: RunRecord, scenario: ScenarioRecord) -> Status:
    """What a run counts as; see the module."""
    status = _alone(run, scenario)
    decided = scenario.status not in ("running", "pending")
    missed = status == "failed" and scenario.status != "failed"
    return "passed" if scenario.status == "passed" or (decided and missed) else status


def _alone(run: RunRecord, scenario: ScenarioRecord) -> Status:
    """What a run would count as if its scenario were it alone."""
    if run.verdict == "error":
        return "error"
    if run.verdict == scenario.expect:
        if run.reason == "no-figure":
            return "unknown"
        return "failed" if run.missed else "passed"
    return "unknown" if run.verdict == "unknown" else "failed"


def cases_of(scenario: ScenarioRecord) -> tuple[Case, ...]:
    """Every run, then what else is to be said."""
    cases = [_case(run, scenario, name) for run, name in _named(scenario)]
    shown = {case.status for case in cases}
    if scenario.status in ("pending", "running"):
        cases.append(
            _aside(scenario, "skipped", f"{scenario.status}: the drill is not finished")
        )
    elif scenario.status == "skipped" or scenario.why:
        cases.append(_aside(scenario, "skipped", scenario.why or "it was not run"))
    if scenario.status in ("failed", "error", "unknown") and scenario.status not in shown:
        cases.append(_aside(scenario, scenario.status, _whole(scenario)))
    return tuple(cases)


def _named(scenario: ScenarioRecord) -> list[tuple[RunRecord, str]]:
    """Runs with names; a seed that ran twice gets a number, for readers drop names they know."""
    seen: dict[int, int] = {}
    named = []
    for run in scenario.runs:
        seen[run.seed] = seen.get(run.seed, 0) + 1
        again = f" ({seen[run.seed]})" if seen[run.seed] > 1 else ""
        named.append((run, f"seed {run.seed}{again}"))
    return named


def _case(run: RunRecord, scenario: ScenarioRecord, name: str) -> Case:
    status = run_status(run, scenario)
    message = "; ".join([run.sentence, *run.missed])
    if status == "failed" and run.verdict != scenario.expect:
        message = f"expected {scenario.expect}, got {message}"
    return Case(
        name=name, status=status, message=message, kind=_kind(run, status, scenario), run=run
    )


def _kind(run: RunRecord, status: Status, scenario: ScenarioRecord) -> str:
    if status == "passed":
        return "" if run.verdict == scenario.expect else "some seeds may miss it"
    if status in ("error", "unknown"):
        return run.reason or run.verdict
    if run.verdict == scenario.expect and run.missed:
        return "figure"
    return run.kinds[0] if run.kinds else f"{run.verdict}-not-{scenario.expect}"


def _aside(scenario: ScenarioRecord, status: Status, message: str) -> Case:
    name = "seeds left out" if status == "skipped" else "the scenario as a whole"
    return Case(name=name, status=status, message=message, kind=scenario.status)


def _whole(scenario: ScenarioRecord) -> str:
    """Why a scenario is worse than its runs, as far as the record tells."""
    kinds = sorted({kind for run in scenario.runs for kind in run.kinds})
    found = f"; found: {and_list(kinds)}" if kinds else ""
    return f"not as expected ({scenario.expect}) over all its seeds{found}"


def report_of(record: DrillRecord, run: RunRecord) -> str:
    """Where a run's report lies, seen from the drill's directory; empty if it has none."""
    if not run.directory or run.verdict == "error":
        return ""
    return f"{_below(record.directory, run.directory)}/report.html"


def _below(start: str, path: str) -> str:
    try:
        return str(PurePosixPath(path).relative_to(PurePosixPath(start)))
    except ValueError:
        return posixpath.relpath(str(Path(path).absolute()), str(Path(start).absolute()))
