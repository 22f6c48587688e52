"""The course of a drill, with runs that only pretend and a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain.commands.drill.plan import make_plan
from splitbrain.commands.drill.runner import Setting, Told, Ways, run_drill, save_record
from splitbrain.commands.drill.seeds import SeedFile, read_seeds
from splitbrain.commands.drill.values import Accept
from splitbrain.commands.drill.verdicts import exit_code
from splitbrain.commands.run import Abandoned, Finished
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import HarnessError, HostError, RequestError
from splitbrain.results.drill.outputs import read_drill_record
from splitbrain.results.drill.record import DrillRecord, RunRecord, ScenarioRecord


class Stage:
    """Runs take ``seconds`` of a clock that stands still else; ``act`` says what comes of them."""

    def __init__(self, directory: Path, act: Callable[[TestSpec, Path], Finished]) -> None:
        self.directory = directory
        self.act = act
        self.now_s = 100.0
        self.seconds = 10.0
        self.stop = False
        self.ran: list[tuple[str, int]] = []
        self.outputs: list[DrillRecord] = []
        self.told: list[Told] = []
        self.complaints: list[str] = []
        self.warnings: list[str] = []

    def run(self, spec: TestSpec, store: Path) -> Finished:
        self.ran.append((spec.workload, spec.seed))
        self.now_s += self.seconds
        return self.act(spec, store)

    def play(
        self,
        drill: Any,
        *,
        deadline_s: float | None = None,
        seeds: SeedFile | None = None,
        shard: tuple[int, int] = (1, 1),
    ) -> DrillRecord:
        remembered = seeds.remembered() if seeds is not None else {}
        ways = Ways(
            run=self.run,
            again=lambda spec, _: f"again {spec.seed}",
            clock=lambda: self.now_s,
            stopped=lambda: self.stop,
            outputs=lambda record, _: self.outputs.append(record),
            told=self.told.append,
            complain=self.complaints.append,
            warn=self.warnings.append,
            seeds=seeds,
        )
        setting = Setting(directory=self.directory, deadline_s=deadline_s)
        return run_drill(make_plan(drill, shard=shard, remembered=remembered), setting, ways)

    def on_disk(self) -> DrillRecord:
        return msgspec.json.decode(
            (self.directory / "drill.json").read_bytes(), type=DrillRecord
        )


@pytest.fixture
def stage(tmp_path: Path, make: Any) -> Stage:
    return Stage(tmp_path, make.finished)


def statuses(record: DrillRecord) -> list[str]:
    return [scenario.status for scenario in record.scenarios]


def test_outputs_come_after_each_scenario_and_the_record_after_each_run(
    stage: Stage, make: Any
) -> None:
    drill = make.drill(make.scenario("a", seeds=(1, 2)), make.scenario("b", seeds=(3,)))
    seen: list[tuple[list[str], int]] = []

    def act(spec: TestSpec, store: Path) -> Finished:
        record = stage.on_disk()
        seen.append((statuses(record), sum(len(one.runs) for one in record.scenarios)))
        return make.finished(spec, store)

    stage.act = act
    record = stage.play(drill)
    assert seen == [
        (["running", "pending"], 0),
        (["running", "pending"], 1),
        (["passed", "running"], 2),
    ], "a drill killed at any moment leaves what it had found"
    assert [statuses(one) for one in stage.outputs] == [
        ["pending", "pending"],
        ["passed", "pending"],
        ["passed", "passed"],
        ["passed", "passed"],
    ]
    assert [one.finished for one in stage.outputs] == [False, False, False, True]
    assert stage.ran == [("register", 1), ("register", 2), ("register", 3)]
    assert [(one.number, one.total) for one in stage.told] == [(1, 3), (2, 3), (3, 3)]
    first = record.scenarios[0].runs[0]
    assert (first.seconds, first.operations, first.verdict) == (10.0, 10, "valid")
    assert exit_code(record) == 0


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (HostError("no port"), 4, "HostError"),
        (HarnessError("broke"), 4, "HarnessError"),
        (RequestError("nonsense"), 2, "RequestError"),
        (ZeroDivisionError("oh\nno"), 4, "ZeroDivisionError"),
    ],
)
def test_a_run_that_breaks_does_not_stop_the_others(
    error: Exception, code: int, reason: str, stage: Stage, make: Any
) -> None:
    def act(spec: TestSpec, store: Path) -> Finished:
        if spec.seed == 1:
            kept = store / "register" / "broken"
            kept.mkdir(parents=True)
            (store / "latest").symlink_to("register/broken")
            raise error
        return make.finished(spec, store)

    stage.act = act
    record = stage.play(make.drill(make.scenario(seeds=(1, 2))))
    broken, whole = record.scenarios[0].runs
    assert (broken.verdict, broken.exit_code, broken.reason) == ("error", code, reason)
    assert "\n" not in broken.sentence
    assert broken.again == "again 1"
    assert broken.directory.endswith("runs/register/broken")
    assert whole.verdict == "valid"
    assert exit_code(record) == code


def test_the_deadline_begins_no_run_that_would_outlast_it(stage: Stage, make: Any) -> None:
    drill = make.drill(
        make.scenario("long", substrate="local", time_limit_s=20, seeds=tuple(range(1, 9))),
        make.scenario("short", time_limit_s=20, seeds=(1,)),
    )
    stage.seconds = 40.0  # expected 30 at first; then, having seen one, 40

    def act(spec: TestSpec, store: Path) -> Finished:
        stage.seconds = 1.0 if len(stage.ran) == 2 else 40.0
        return make.finished(spec, store)

    stage.act = act
    record = stage.play(drill, deadline_s=90)
    long, short = record.scenarios
    assert [run.seconds for run in long.runs] == [40.0, 40.0], (
        "at 80 s the third would end at 120"
    )
    assert long.status == "skipped"
    assert long.why == "deadline: 6 of 8 seeds were not run"
    assert short.status == "passed", "what still fits is run"
    assert stage.now_s - 100 <= 90
    assert exit_code(record) == 3
    assert stage.play(drill, deadline_s=1).scenarios[0].runs == ()


def test_a_run_that_broke_early_says_nothing_of_the_time_a_whole_one_takes(
    stage: Stage, make: Any
) -> None:
    def act(spec: TestSpec, store: Path) -> Finished:
        raise HostError("a port is taken")

    stage.act, stage.seconds = act, 0.1
    drill = make.drill(
        make.scenario(substrate="local", time_limit_s=20, seeds=tuple(range(40)))
    )
    record = stage.play(drill, deadline_s=32)
    assert len(record.scenarios[0].runs) == 21, "none began with less than 30 s left"


@pytest.mark.parametrize("how", ["in a run", "between runs", "twice"])
def test_an_interrupted_drill_skips_the_rest(how: str, stage: Stage, make: Any) -> None:
    def act(spec: TestSpec, store: Path) -> Finished:
        if spec.seed < 2:
            return make.finished(spec, store)
        if how == "twice":
            raise Abandoned("given up")
        stage.stop = how == "between runs"
        if how == "between runs":
            return make.finished(spec, store)
        return make.finished(spec, store, "unknown", interrupted=True)

    stage.act = act
    seeds = SeedFile(stage.directory / "seeds.toml", "d")
    drill = make.drill(make.scenario("a", seeds=(1, 2, 3)), make.scenario("b"))
    record = stage.play(drill, seeds=seeds)
    assert [seed for _, seed in stage.ran] == [1, 2]
    a, b = record.scenarios
    assert a.status == {"in a run": "unknown", "between runs": "skipped", "twice": "error"}[how]
    assert a.why == "interrupted: 1 of 3 seeds were not run"
    assert (b.status, b.why) == ("skipped", "interrupted: 1 of 1 seeds were not run")
    assert exit_code(record) == (4 if how == "twice" else 3)
    assert exit_code(msgspec.structs.replace(record, unknown_fails=False)) != 0
    assert record.finished
    assert stage.outputs[-1] == record
    assert read_seeds(seeds.path) == {}, "the user ended it, not the seed"


def test_an_invalid_that_was_expected_and_does_not_come_fails(stage: Stage, make: Any) -> None:
    def act(spec: TestSpec, store: Path) -> Finished:
        return make.finished(
            spec, store, "invalid" if spec.bugs else "valid", kinds=("x",) * bool(spec.bugs)
        )

    stage.act = act
    bugged = make.scenario("bug", bugs=("ack-on-append",), expect="invalid", seeds=(1, 2))
    assert exit_code(stage.play(make.drill(bugged))) == 0
    removed = make.scenario("bug", expect="invalid", seeds=(1, 2))
    assert exit_code(stage.play(make.drill(removed))) == 1
    wrong = make.scenario("bug", bugs=("b",), expect="invalid", kinds=("stale-read",))
    record = stage.play(make.drill(wrong))
    assert exit_code(record) == 1
    assert record.scenarios[0].runs[0].missed == ("found x; demanded one of stale-read",)


def test_a_demanded_figure_that_is_not_there_is_not_passed(stage: Stage, make: Any) -> None:
    drill = make.drill(make.scenario(accept=Accept(recovery_s=5, lost=0)))
    record = stage.play(drill)
    (run,) = record.scenarios[0].runs
    assert (record.scenarios[0].status, run.reason) == ("unknown", "no-figure")
    assert run.missed == ("no figure for recovery-seconds",)
    assert exit_code(record) == 3
    stage.act = lambda spec, store: make.finished(spec, store, stats={"recovery_s": 6.5})
    record = stage.play(drill)
    assert record.scenarios[0].status == "failed"
    assert record.scenarios[0].runs[0].missed == ("recovery-seconds 6.5, at most 5 accepted",)
    stage.act = lambda spec, store: make.finished(spec, store, stats={"recovery_s": 4.5})
    assert exit_code(stage.play(drill)) == 0


def test_failing_seeds_are_remembered_and_come_first(stage: Stage, make: Any) -> None:
    bad = {2, 5}

    def act(spec: TestSpec, store: Path) -> Finished:
        return make.finished(spec, store, "invalid" if spec.seed in bad else "valid")

    stage.act = act
    seeds = SeedFile(stage.directory / "seeds.toml", "d")
    drill = make.drill(
        make.scenario("a", seeds=(1, 2, 3)), make.scenario("b", seeds=(4, 5), workload="kv")
    )
    stage.play(drill, seeds=seeds)
    assert seeds.remembered() == {"a": (2,), "b": (5,)}
    stage.ran.clear()
    bad.clear()
    record = stage.play(drill, seeds=seeds)
    assert [seed for _, seed in stage.ran] == [2, 5, 1, 3, 4]
    assert [run.repeated for run in record.scenarios[0].runs] == [True, False, False]
    for _ in range(4):
        assert seeds.remembered() == {"a": (2,), "b": (5,)}
        stage.play(drill, seeds=seeds)
    assert seeds.remembered() == {}, "five passes in a row"


def test_some_seeds_that_may_miss_a_bug_are_not_remembered(stage: Stage, make: Any) -> None:
    def act(spec: TestSpec, store: Path) -> Finished:
        return make.finished(spec, store, "invalid" if spec.seed == 1 else "valid")

    stage.act = act
    seeds = SeedFile(stage.directory / "seeds.toml", "d")
    record = stage.play(
        make.drill(make.scenario(expect="invalid", found=1, seeds=(1, 2, 3))), seeds=seeds
    )
    assert exit_code(record) == 0
    assert not seeds.path.exists()


def test_a_shard_tells_what_the_others_run(stage: Stage, make: Any) -> None:
    drill = make.drill(*(make.scenario(f"s{n}", seeds=(n,)) for n in range(4)))
    ran = []
    for number in (1, 2):
        stage.ran.clear()
        record = stage.play(drill, shard=(number, 2))
        assert sorted(statuses(record)) == ["passed", "passed", "skipped", "skipped"]
        assert record.shard == f"{number}/2"
        assert exit_code(record) == 0
        ran += stage.ran
    assert sorted(ran) == [("register", seed) for seed in range(4)]


def test_what_cannot_be_written_is_told_and_the_drill_goes_on(stage: Stage, make: Any) -> None:
    stage.directory = stage.directory / "gone"
    stage.act = lambda spec, store: make.finished(spec, store, "invalid")
    seeds = SeedFile(stage.directory / "seeds.toml", "d")
    record = stage.play(make.drill(make.scenario(seeds=(1, 2))), seeds=seeds)
    assert len(record.scenarios[0].runs) == 2
    assert stage.complaints
    assert all("drill.json" in line for line in stage.complaints)
    assert len(stage.warnings) == 2
    assert all("seeds.toml" in line for line in stage.warnings)
    with pytest.raises(HostError, match="cannot write"):
        save_record(record, stage.directory)


def test_half_a_surrogate_pair_in_an_error_costs_no_record(tmp_path: Path) -> None:
    run = RunRecord(seed=1, verdict="error", exit_code=4, sentence="odd \ud800 text")
    scenario = ScenarioRecord(name="s", status="error", runs=(run,))
    save_record(DrillRecord(name="d", scenarios=(scenario,)), tmp_path)
    read = read_drill_record(tmp_path)
    assert read.scenarios[0].runs[0].sentence.startswith("odd ")
