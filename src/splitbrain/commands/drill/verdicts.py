"""What a run, a scenario and a whole drill came to: pure functions of their records.

A run is as expected (``passed``), not as expected (``failed``), undecided (``unknown``) or could not
be run (``error``).  A scenario is the worst of its runs, except that an expected invalid may ask to
be found by some of its seeds only (``found``).  A drill ends with 0 when all is as expected, else
with the worst in the order 1, 4, 2, 3.

What was left out is not passed: a scenario cut short by the deadline counts as undecided, and so
does one that was interrupted, whatever ``--unknown`` says.  One that another shard runs counts not
at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from splitbrain.commands.drill.figures import shortfalls
from splitbrain.commands.drill.matrix import Scenario
from splitbrain.commands.judge import worst_exit
from splitbrain.results.drill.record import (
    STATUSES,
    DrillRecord,
    RunRecord,
    ScenarioRecord,
    Status,
)

__all__ = [
    "ANOTHER_SHARD",
    "DEADLINE",
    "INTERRUPTED",
    "exit_code",
    "run_status",
    "scenario_status",
    "skipped_why",
]

ANOTHER_SHARD = "another shard"
DEADLINE = "deadline"
INTERRUPTED = "interrupted"


def run_status(run: RunRecord, scenario: Scenario) -> Status:
    """Whether a run came out as its scenario expects."""
    if run.verdict == "error":
        return "error"
    if run.verdict == "unknown" and scenario.expect != "unknown":
        return "unknown"
    if run.verdict != scenario.expect:
        return "failed"
    if scenario.expect == "valid":
        missed, absent = shortfalls(scenario.accept, run.figures)
        return "failed" if missed else "unknown" if absent else "passed"
    if scenario.expect == "invalid" and scenario.kinds:
        return "passed" if set(scenario.kinds) & set(run.kinds) else "failed"
    return "passed"


def scenario_status(
    scenario: Scenario, runs: Sequence[RunRecord], left: Mapping[str, int]
) -> Status:
    """What a scenario came to whose turns are over; ``left`` counts seeds left out, by why."""
    counts = Counter(run_status(run, scenario) for run in runs)
    skipped = sum(left.values())
    if scenario.found is not None:
        open_ = counts["unknown"] + counts["error"] + skipped
        if counts["passed"] + open_ < scenario.found:
            return "failed"
        if counts["passed"] >= scenario.found and not counts["error"]:
            return "passed"
        counts["failed"] = 0  # some seeds may miss it: that alone decides nothing
    counts["skipped"] += skipped
    return next((status for status in STATUSES if counts[status]), "skipped")


def skipped_why(runs: Sequence[RunRecord], left: Mapping[str, int]) -> str:
    """Why seeds were left out, and how many.

    The first word decides what it means for the exit code.
    """
    if not left:
        return ""
    total = len(runs) + sum(left.values())
    why = INTERRUPTED if left.get(INTERRUPTED) else next(iter(left))
    if why == ANOTHER_SHARD:
        return ANOTHER_SHARD
    return f"{why}: {sum(left.values())} of {total} seeds were not run"


def exit_code(record: DrillRecord) -> int:
    """The exit code of a drill, from its record alone."""
    return worst_exit([_exit_code(one, record.unknown_fails) for one in record.scenarios])


def _exit_code(scenario: ScenarioRecord, unknown_fails: bool) -> int:
    unfinished = any(run.reason == "unfinished" for run in scenario.runs)
    interrupted = unfinished or scenario.why.startswith(INTERRUPTED)
    undecided = 3 if unknown_fails or interrupted else 0
    if scenario.status == "failed":
        return 1
    if scenario.status == "error":
        codes = [run.exit_code for run in scenario.runs if run.verdict == "error"]
        return worst_exit(codes) or 4
    if scenario.status == "unknown":
        return undecided
    if scenario.status == "passed":
        return 3 if interrupted else 0
    return 0 if scenario.why == ANOTHER_SHARD else undecided
