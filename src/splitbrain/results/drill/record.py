"""What a drill has come to so far: pure data, from which every output is made anew.

A drill is a matrix of scenarios; a scenario is one workload against one system under one nemesis,
run once for each of its seeds.  The runner keeps one ``DrillRecord`` and writes all outputs from it
after each scenario, so that a drill that is killed half-way leaves what it had found.

    >>> run = RunRecord(seed=7, verdict="invalid", exit_code=1, sentence="INVALID: ...")
    >>> scenario = ScenarioRecord(name="stale", expect="invalid", status="passed", runs=(run,))
    >>> DrillRecord(name="smoke", scenarios=(scenario,)).counts()["passed"]
    1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec

from splitbrain.checkers.verdict import Verdict

__all__ = ["STATUSES", "DrillRecord", "Expect", "RunRecord", "ScenarioRecord", "Status"]

Expect = Literal["valid", "invalid", "unknown"]
Status = Literal["passed", "failed", "unknown", "error", "skipped", "pending", "running"]
STATUSES: tuple[Status, ...] = (
    "failed", "error", "unknown", "running", "pending", "skipped", "passed",
)  # fmt: skip
"""Worst first.  failed: a verdict other than expected, or a figure that was not reached; unknown:
undecided where a verdict was expected; error: it could not be run; skipped: left out, and why;
pending: its turn has not come; running: its turn is now."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a scenario.

    Attributes:
        seed: its seed.
        verdict: its verdict, or ``error`` where it could not be run or judged.
        exit_code: as ``splitbrain run`` would have ended.
        sentence: the verdict, or the error, in a sentence.
        reason: for unknown its fixed word (``vacuous``, ``no-effect``, ...); for an error its class.
        missed: one line for each acceptance figure that was not reached.
        kinds: kinds of the anomalies found, each once.
        figures: by name: ``lost`` (acknowledged operations lost), ``recovery_s`` (longest time
            from a heal to the next success), ``outage_s`` (longest time without a success),
            ``availability`` (share of the seconds with a success, 0 to 1).
        directory: its run directory; empty where there is none.
        seconds: wall time that it took.
        again: the command that runs it again.
        repeated: it ran because this seed failed in an earlier drill.
    """

    seed: int
    verdict: Verdict | Literal["error"]
    exit_code: int
    sentence: str
    reason: str | None = None
    missed: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    figures: Mapping[str, float] = {}
    operations: int = 0
    directory: str = ""
    seconds: float = 0.0
    again: str = ""
    repeated: bool = False


class ScenarioRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One scenario of a drill, and what came of it.

    Attributes:
        name: unique in its drill.
        line: where it begins in the drill's file; 0 if unknown.
        status: the worst of its runs, see ``STATUSES``.
        why: for ``skipped``: the reason (another shard, the deadline, an interruption).
    """

    name: str
    line: int = 0
    workload: str = ""
    system: str = ""
    substrate: str = ""
    nemesis: tuple[str, ...] = ()
    bugs: tuple[str, ...] = ()
    expect: Expect = "valid"
    status: Status = "pending"
    why: str = ""
    runs: tuple[RunRecord, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall time of its runs."""
        return sum(run.seconds for run in self.runs)


class DrillRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole drill.

    Attributes:
        name: of the drill.
        file: the TOML file that describes it.
        directory: where its outputs lie; run directories lie below it.
        started: UTC, ISO 8601.
        command: the command line that runs it again.
        shard: such as ``2/4``; empty if it is whole.
        unknown_fails: whether undecided scenarios make the drill fail.
        finished: False while it goes on, and for ever if it was killed.
    """

    name: str
    file: str = ""
    directory: str = ""
    started: str = ""
    command: str = ""
    shard: str = ""
    unknown_fails: bool = True
    finished: bool = False
    scenarios: tuple[ScenarioRecord, ...] = ()

    def counts(self) -> Mapping[Status, int]:
        """How many scenarios have each status."""
        found = Counter(scenario.status for scenario in self.scenarios)
        return {status: found[status] for status in STATUSES}

    @property
    def seconds(self) -> float:
        """Wall time of all runs."""
        return sum(scenario.seconds for scenario in self.scenarios)
