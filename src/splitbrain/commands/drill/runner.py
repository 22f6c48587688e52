"""The runs of a drill, one after the other, and the record of what they came to.

After each run the record is written anew, and after each scenario all outputs, so that a drill that
is killed leaves what it had found.  What one run could not do does not stop the others; a signal
does, after the run that it ended has been judged.

Everything that touches the world comes in through ``Ways``, so that a test can play a drill with
runs and a clock of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from splitbrain.commands.drill.figures import every_anomaly, figures_of, shortfalls
from splitbrain.commands.drill.matrix import Scenario
from splitbrain.commands.drill.plan import Pace, Plan, Turn
from splitbrain.commands.drill.seeds import Outcome, SeedFile
from splitbrain.commands.drill.verdicts import (
    ANOTHER_SHARD,
    DEADLINE,
    INTERRUPTED,
    run_status,
    scenario_status,
    skipped_why,
)
from splitbrain.commands.run import Abandoned, Finished
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import CannotError, RequestError, SplitbrainError
from splitbrain.results.drill.outputs import record_json
from splitbrain.results.drill.record import DrillRecord, RunRecord, ScenarioRecord, Status
from splitbrain.results.runs import write_bytes

__all__ = ["Setting", "Told", "Ways", "run_drill", "save_record"]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What is fixed for a drill.

    Attributes:
        directory: where its outputs lie, and below it its runs.
        command: the command line that runs it again.
        deadline_s: seconds from its start after which nothing may run; None: no limit.
    """

    directory: Path
    command: str = ""
    unknown_fails: bool = True
    deadline_s: float | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as it is told to the user.

    Attributes:
        number: of the run, from 1, among ``total``.
    """

    number: int
    total: int
    scenario: Scenario
    run: RunRecord
    status: Status


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How a drill reaches the world.

    Attributes:
        run: runs one test, with its run directory made in the given store.
        again: the command line that runs a spec again; asked only if ``run`` failed.
        clock: seconds, monotonic.
        stopped: whether the user has asked to stop.
        outputs: writes all outputs of a record into a directory.
        told: called after each run.
        complain: called with one line for each output that could not be written.
        warn: the same for what is no output.
        seeds: where failing seeds are remembered; None: nowhere.
    """

    run: Callable[[TestSpec, Path], Finished]
    again: Callable[[TestSpec, Path], str]
    clock: Callable[[], float]
    stopped: Callable[[], bool]
    outputs: Callable[[DrillRecord, Path], None]
    told: Callable[[Told], None]
    complain: Callable[[str], None]
    warn: Callable[[str], None]
    seeds: SeedFile | None = None


def run_drill(plan: Plan, setting: Setting, ways: Ways) -> DrillRecord:
    """Run a planned drill to its end; see ``verdicts.exit_code`` for what it means."""
    course = _Course(plan, setting, ways)
    course.write_outputs()
    for _, turns in plan.groups():
        for turn in turns:
            course.take(turn)
        course.write_outputs()
    course.finished = True
    course.write_outputs()
    return course.record()


def save_record(record: DrillRecord, directory: Path) -> None:
    """Write drill.json.

    Raises:
        HostError: it cannot be written.
    """
    write_bytes(directory / "drill.json", record_json(record))


class _Course:
    """A drill as far as it has come."""

    def __init__(self, plan: Plan, setting: Setting, ways: Ways) -> None:
        self.plan, self.setting, self.ways = plan, setting, ways
        self.finished = False
        self._started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._began_s = ways.clock()
        self._pace = Pace()
        self._runs: dict[int, list[RunRecord]] = {}
        self._left: dict[int, Counter[str]] = {}
        self._turns_left = Counter(turn.scenario for turn in plan.turns)
        self._now: int | None = None
        self._done = 0
        self._interrupted = False
        for place in range(len(plan.drill.scenarios)):
            if place not in plan.members:
                self._left[place] = Counter([ANOTHER_SHARD])

    def take(self, turn: Turn) -> None:
        """Make one run, or say why not."""
        spec = self.plan.spec(turn)
        why = self._why_not(turn, spec)
        if why:
            self._left.setdefault(turn.scenario, Counter())[why] += 1
            self._over(turn)
            return
        self._now = turn.scenario
        self._save()
        run, error = self._run(turn, spec)
        if error is None:  # one that broke says nothing of how long a whole one takes
            self._pace.learn(turn.scenario, spec, run.seconds)
        self._runs.setdefault(turn.scenario, []).append(run)
        self._over(turn)
        self._save()
        self._tell(turn, run, error)

    def _over(self, turn: Turn) -> None:
        self._turns_left[turn.scenario] -= 1
        self._done += 1
        self._now = None

    def _why_not(self, turn: Turn, spec: TestSpec) -> str:
        if self._interrupted or self.ways.stopped():
            return INTERRUPTED
        if self.setting.deadline_s is not None:
            left_s = self._began_s + self.setting.deadline_s - self.ways.clock()
            if self._pace.expected_s(turn.scenario, spec) > left_s:
                return DEADLINE
        return ""

    def _run(self, turn: Turn, spec: TestSpec) -> tuple[RunRecord, Exception | None]:
        failure: Exception | None = None
        store = self.setting.directory / "runs"
        before = _latest(store)
        began_s = self.ways.clock()
        try:
            finished = self.ways.run(spec, store)
        except Exception as error:  # noqa: BLE001 - one run that broke must not take the night
            failure = error
            self._interrupted |= isinstance(error, Abandoned)
            now = _latest(store)
            directory = "" if now == before else str(now)
            run = self._error(error, spec, directory)
        else:
            self._interrupted |= finished.interrupted
            run = _record(finished, self.plan.drill.scenarios[turn.scenario])
        seconds = round(self.ways.clock() - began_s, 3)
        return msgspec.structs.replace(run, seconds=seconds, repeated=turn.repeated), failure

    def _error(self, error: Exception, spec: TestSpec, directory: str) -> RunRecord:
        known = isinstance(error, SplitbrainError)
        words = str(error) if known else f"unforeseen {type(error).__name__}: {error}"
        again = ""
        with contextlib.suppress(Exception):  # what broke the run may break this too
            again = self.ways.again(spec, Path(directory))
        return RunRecord(
            seed=spec.seed,
            verdict="error",
            exit_code=getattr(error, "exit_code", 4) if known else 4,
            sentence=_one_line(words),
            reason=type(error).__name__,
            directory=directory,
            again=again,
        )

    def _tell(self, turn: Turn, run: RunRecord, error: Exception | None) -> None:
        scenario = self.plan.drill.scenarios[turn.scenario]
        status = run_status(run, scenario)
        told = Told(
            number=self._done,
            total=len(self.plan.turns),
            scenario=scenario,
            run=run,
            status=status,
        )
        self.ways.told(told)
        if self.ways.seeds is not None and _tells_of_seed(run, error, scenario):
            outcome = Outcome(
                scenario=scenario.name,
                seed=run.seed,
                word=run.verdict if run.verdict != scenario.expect else run.reason or "missed",
                passed=status == "passed",
                day=self._started[:10],
            )
            self._trying(partial(self.ways.seeds.tell, outcome), self.ways.warn)

    def _save(self) -> None:
        save = partial(save_record, self.record(), self.setting.directory)
        self._trying(save, self.ways.complain)

    def write_outputs(self) -> None:
        """Write every output anew."""
        write = partial(self.ways.outputs, self.record(), self.setting.directory)
        self._trying(write, self.ways.complain)

    def _trying(self, act: Callable[[], None], tell: Callable[[str], None]) -> None:
        """A file that cannot be written is told, and the drill goes on."""
        try:
            act()
        except (SplitbrainError, OSError) as error:
            tell(_one_line(str(error)))
        except Exception as error:  # noqa: BLE001 - a page that breaks must not take the night
            tell(_one_line(f"unforeseen {type(error).__name__}: {error}"))

    def record(self) -> DrillRecord:
        """What it has come to."""
        plan, setting = self.plan, self.setting
        return DrillRecord(
            name=plan.drill.name,
            file=str(plan.drill.path),
            directory=str(setting.directory),
            started=self._started,
            command=setting.command,
            shard=plan.shard,
            unknown_fails=setting.unknown_fails,
            finished=self.finished,
            scenarios=tuple(
                self._scenario(place) for place in range(len(plan.drill.scenarios))
            ),
        )

    def _scenario(self, place: int) -> ScenarioRecord:
        scenario = self.plan.drill.scenarios[place]
        spec = scenario.spec
        runs, left = self._runs.get(place, []), self._left.get(place, Counter())
        if place == self._now:
            status: Status = "running"
        elif self._turns_left[place] > 0:
            status = "pending"
        else:
            status = scenario_status(scenario, runs, left)
        return ScenarioRecord(
            name=scenario.name,
            line=scenario.line,
            workload=spec.workload,
            system=spec.system,
            substrate=spec.substrate,
            nemesis=scenario.faults,
            bugs=spec.bugs,
            expect=scenario.expect,
            status=status,
            why=skipped_why(runs, left),
            runs=tuple(runs),
        )


def _record(finished: Finished, scenario: Scenario) -> RunRecord:
    """The record of a run that was judged."""
    result = finished.result
    figures = figures_of(result)
    kinds = tuple(dict.fromkeys(one.kind for one in every_anomaly(result)))
    missed, absent = shortfalls(scenario.accept, figures)
    reason = result.reason
    if finished.interrupted and result.verdict == "unknown":
        reason = "unfinished"
    elif result.verdict == scenario.expect == "valid" and absent and not missed:
        reason = "no-figure"
    return RunRecord(
        seed=finished.spec.seed,
        verdict=result.verdict,
        exit_code=finished.exit_code,
        sentence=_one_line(finished.sentence),
        reason=reason,
        missed=(*missed, *absent, *_missed_kinds(result.verdict, kinds, scenario)),
        kinds=kinds,
        figures=figures,
        operations=finished.operations,
        directory=str(finished.directory),
        again=finished.again,
    )


def _missed_kinds(verdict: str, kinds: Sequence[str], scenario: Scenario) -> list[str]:
    if verdict != "invalid" or not scenario.kinds or set(kinds) & set(scenario.kinds):
        return []
    return [f"found {', '.join(kinds)}; demanded one of {', '.join(scenario.kinds)}"]


def _tells_of_seed(run: RunRecord, error: Exception | None, scenario: Scenario) -> bool:
    """Whether what became of a run is worth remembering for its seed.

    Not if the machine or the user ended it, nor if some seeds are expected to miss the bug.
    """
    ended = isinstance(error, Abandoned | CannotError | RequestError)
    return not ended and run.reason != "unfinished" and scenario.found is None


def _one_line(text: str) -> str:
    """On one line, and without half surrogate pairs, which no file can hold."""
    return " ".join(text.encode(errors="replace").decode().split())


def _latest(store: Path) -> Path | None:
    """The newest run below ``store``, which is this drill's alone."""
    try:
        return store / os.readlink(store / "latest")
    except OSError:
        return None
