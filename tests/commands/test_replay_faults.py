"""``--faults FILE``: the same faults at the same times, and what is said of those that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from splitbrain.commands.drill.matrix import Catalogs, read_drill
from splitbrain.commands.drill.problems import MalformedDrill
from splitbrain.commands.trial import run_trial
from splitbrain.errors import Unsupported
from splitbrain.harness.recast import exchanged
from splitbrain.history.op import Op
from splitbrain.results.runs import read_run

Invoke = Callable[..., Result]
OneLine = Callable[[Result], str]


def latest(store: Path) -> Path:
    return (store / "latest").resolve()


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def at(seconds: float, f: str, **fields: Any) -> dict[str, Any]:
    return {"time_ns": round(seconds * 1e9), "f": f, **fields}


def acts(run: Path) -> list[tuple[Op, Op]]:
    """Starts and stops of a run, each with what came of it."""
    found = [
        op for op in read_run(run).history.nemesis_ops() if op.f.startswith(("start-", "stop-"))
    ]
    return list(zip(found[::2], found[1::2], strict=True))


def faults_of(run: Path) -> list[dict[str, Any]]:
    """The lines of faults.jsonl, but for who led: that is told, and nothing is done by it."""
    lines = [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]
    for line in lines:
        line.get("parameters", {}).pop("leader", None)
    return lines


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run under five kinds of faults."""
    given = {
        "workload": "register",
        "bugs": "ack-on-append",
        "nemesis": "partition,kill,pause,clock,network",
        "nemesis_interval": 2.0,
        "time_limit": 25.0,
    }
    return run_trial(given, store=tmp_path_factory.mktemp("recorded"), seed=4).directory


# --- the same again -------------------------------------------------------------------------------


def test_on_sim_the_same_faults_come_at_the_same_times(recorded: Path, invoke: Invoke) -> None:
    words = "run register --on sim --bug ack-on-append --time-limit 25 --seed 4 --faults"
    assert invoke(*words.split(), recorded / "faults.jsonl").exit_code == 1
    theirs, ours = faults_of(recorded), faults_of(latest(Path("store")))
    assert len({line["f"] for line in theirs}) > 6
    end_ns = acts(recorded)[0][0].time_ns + 23_000_000_000
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        # A timer of virtual time is never early and may be a nanosecond late; what the end of the
        # main phase stops, it stops when the clients are done.
        slack_ns = 10 if other["time_ns"] < end_ns else 2_000_000_000
        assert abs(mine.pop("time_ns") - other.pop("time_ns")) <= slack_ns
        assert mine == other


@pytest.mark.processes
def test_on_local_the_same_faults_come_at_the_same_times(
    recorded: Path, invoke: Invoke, tmp_path: Path
) -> None:
    lines = faults_of(recorded)
    seconds = 12.0
    # Only until then: whose stop comes later is stopped by the end of the main phase.
    early = [
        line
        for line in lines
        if line["time_ns"] < (seconds - 1) * 1e9
        and not line["f"].endswith(("loss", "duplication", "reordering"))
    ]
    assert len({line["f"] for line in early}) > 4
    words = f"run register --on local --time-limit {seconds} --seed 9 --faults"
    done = invoke(*words.split(), write(tmp_path / "early.jsonl", *early))
    assert done.exit_code == 0, done.output
    again = latest(Path("store"))
    run = acts(again)
    assert len(run) >= len(early)
    main_ns = next(op.time_ns for op in read_run(again).history if op.f == "phase")
    late_ns, free_ns = max(0, main_ns - early[0]["time_ns"]), 0
    for line, (asked, told) in zip(early, run, strict=False):
        assert (asked.f, asked.value["id"]) == (line["f"], line["id"])
        assert told.value["targets"] == line.get("targets", [])
        parameters = {k: v for k, v in told.value["parameters"].items() if k != "leader"}
        assert parameters == line.get("parameters", {})
        # On time, unless the nemesis still looks at the effect of the fault before; all of it later
        # by one and the same time if the nodes were not up in time for the first.
        due_ns = max(line["time_ns"] + late_ns, free_ns)
        assert asked.time_ns - line["time_ns"] - late_ns >= -1000
        assert asked.time_ns - due_ns < 1_000_000_000, (asked.f, asked.time_ns, due_ns)
        free_ns = told.time_ns


def test_following_the_leader(recorded: Path, tmp_path: Path) -> None:
    """By other seeds other nodes lead; the leader of now takes the part of the leader of then."""
    given = {
        "workload": "register",
        "faults": str(recorded / "faults.jsonl"),
        "time_limit": 25.0,
    }
    moved = 0
    for seed in (11, 12):
        for follow in (False, True):
            options = {"follow-leader": True} if follow else {}
            one = run_trial({**given, "options": options}, store=tmp_path, seed=seed)
            for asked, told in acts(one.directory):
                then = asked.value["parameters"].get("leader")
                now = told.value["parameters"].get("leader")
                if not asked.f.startswith("start-") or then is None or now is None:
                    continue
                value = {key: asked.value[key] for key in ("targets", "parameters")}
                cast = exchanged(value, then, now) if follow else value
                assert told.value["targets"] == cast["targets"]
                for name in ("cut", "links"):
                    assert told.value["parameters"].get(name) == cast["parameters"].get(name)
                moved += follow and cast != value
    assert moved > 2


# --- what makes no sense --------------------------------------------------------------------------

CUT = {"cut": [["n1", "n2"], ["n2", "n1"]]}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (at(1, "start-kill", targets=["n6"]), "unknown node 'n6'; did you mean n"),
        (at(1, "start-kill", targets=["leeder"]), "unknown node 'leeder'; did you mean leader"),
        (
            at(1, "start-partition", parameters={"cut": [["n1", "m2"]]}),
            "unknown node in cut 'm2'",
        ),
        (
            at(1, "start-partition", parameters={"cut": [["n1"]]}),
            "cut is [['n1']]; its form",
        ),
        (
            at(1, "start-partition", parameters={"grudge": {"n1": ["n9"]}}),
            "node in grudge 'n9'",
        ),
        (at(1, "start-partition", parameters={"shape": "halfs"}), "did you mean halves"),
        (
            at(1, "stop-partition", parameters={"cut": [["n8", "n2"]]}),
            "unknown node in cut 'n8'",
        ),
        (
            at(1, "start-delay", parameters={"links": [["n1", "x"]]}),
            "unknown node in links 'x'",
        ),
        (at(1, "start-delay", parameters={"links": "n1"}), "links is 'n1'; its form is"),
        (
            at(1, "start-delay", parameters={"delay_ms": "9"}),
            "delay_ms is '9'; a number is needed",
        ),
        (at(1, "start-clock-jump", targets=["n1"]), "delta_ms is missing; a number is needed"),
        (at(1, "stop-clock-jump", id="c"), "clock-jump is over at once and has no stop"),
        (
            at(1, "start-admin", parameters={"action": "transfer-leadr"}),
            "did you mean transfer-l",
        ),
        (
            at(1, "start-admin", parameters={"action": "transfer-leader", "to": "n7"}),
            "unknown node 'n7'",
        ),
        (at(1, "heal-partition"), "unknown scheduled fault 'heal-partition'"),
        (at(1, "stop-fire"), "unknown scheduled fault 'stop-fire'"),
    ],
)
def test_nonsense_is_told_with_its_line(
    fault: dict[str, Any], said: str, invoke: Invoke, one_line: OneLine, tmp_path: Path
) -> None:
    path = write(tmp_path / "f.jsonl", at(9, "start-partition", parameters=CUT), fault)
    done = invoke("run", "register", "--on", "local", "--faults", path)
    assert done.exit_code == 2
    line = one_line(done)
    assert f"{path}:2: " in line
    assert said in line
    assert not Path("store").exists(), "nothing was started"


def test_several_lines_are_counted_and_shipped_schedules_numbered(
    invoke: Invoke, one_line: OneLine, tmp_path: Path
) -> None:
    bad = [at(3 - n, "start-kill", targets=["n6"], id=str(n)) for n in range(3)]
    done = invoke("run", "register", "--faults", write(tmp_path / "f.jsonl", *bad))
    assert f"{tmp_path}/f.jsonl:1: unknown node 'n6'" in (line := one_line(done))
    assert line.endswith("(and lines 2, 3 too)")
    done = invoke("run", "register", "--nodes", 2, "--faults", "vote-not-durable")
    assert done.exit_code == 2
    assert (
        "schedule vote-not-durable: fault 1: partition: unknown node in cut 'n3'"
        in one_line(done)
    )


# --- what is not possible here --------------------------------------------------------------------

MIXED = (
    at(2, "start-partition", parameters={"shape": "isolate-leader"}, id="p"),
    at(3, "start-loss", targets=["n1"], parameters={"loss": 0.2}, id="l"),
    at(4, "stop-partition", id="p"),
    at(5, "stop-loss", id="l"),
    at(
        6, "start-delay", targets=["all"], parameters={"delay_ms": 20, "duplicate": 0.1}, id="d"
    ),
    at(6.5, "start-loss", targets=["n2"], parameters={"loss": 0.2}, id="l"),
    at(7, "stop-delay", id="d"),
    at(8, "start-kill", targets=["n3"], id="l"),
    at(9, "stop-kill", id="l"),
)
"""Ids may be used again: the last stop ends the kill."""


def test_all_that_a_substrate_lacks_is_named_before_the_start(
    invoke: Invoke, one_line: OneLine, tmp_path: Path
) -> None:
    path = write(tmp_path / "f.jsonl", *MIXED)
    done = invoke("run", "register", "--on", "local", "--faults", path)
    assert done.exit_code == 4
    line = one_line(done)
    assert f"scheduled faults of {path} that are not possible on local: " in line
    assert "loss (lines 2, 6), duplication (line 5): on a TCP proxy" in line
    assert line.endswith("use --on sim, or --on docker or ssh, where packets can be lost; "
                         "--skip-unsupported leaves them out")  # fmt: skip
    assert not Path("store").exists(), "nothing was started"
    done = invoke("run", "register", "-o", "proxies=false", "--faults", path)
    assert (
        "partition (line 1), delay (line 5): its proxies are off; drop --option proxies=false"
        in one_line(done)
    )
    assert (
        invoke("run", "register", "--on", "sim", "--dry-run", "--faults", path).exit_code == 0
    )


def test_left_out_with_their_stops(invoke: Invoke, tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", *MIXED)
    words = "run register --on local --dry-run --skip-unsupported --faults"
    spec = json.loads(invoke(*words.split(), path).stdout)
    kept = ["start-partition", "stop-partition", "start-kill", "stop-kill"]
    assert [fault["f"] for fault in spec["schedule"]] == kept
    left = [(one["fault"]["f"], one["lacks"]) for one in spec["left_out"]]
    assert left == [
        ("start-loss", "loss"),
        ("start-delay", "duplication"),
        ("start-loss", "loss"),
    ]
    done = invoke("run", "register", "--skip-unsupported")
    assert done.exit_code == 2
    assert "--skip-unsupported goes with --faults" in done.stderr


def test_what_was_left_out_is_told_by_terminal_result_and_report(
    invoke: Invoke, tmp_path: Path
) -> None:
    """A bridge needs four nodes; the run of the run's own spec.json still tells it."""
    bridge = {"shape": "bridge"}
    path = write(
        tmp_path / "f.jsonl",
        at(2, "start-partition", parameters=bridge, id="b"),
        at(3, "start-kill", targets=["follower"], id="k"),
        at(4, "stop-partition", id="b"),
        at(4, "stop-kill", id="k"),
        at(5, "start-partition", parameters=bridge),
    )
    words = ["run", "register", "--on", "sim", "--nodes", 3, "--time-limit", 8, "--seed", 1]
    refused = invoke(*words, "--faults", path)
    assert refused.exit_code == 4
    assert "partition bridge (lines 1, 5): it needs 4 nodes or more" in refused.stderr
    given: Sequence[object] = (path, "--skip-unsupported")
    for _ in range(2):
        done = invoke(*words, "--faults", *given)
        assert done.exit_code == 0, done.output
        told = "2 scheduled faults left out: partition 2\u00d7: it needs 4 nodes or more"
        assert told in done.stdout
        run = latest(Path("store"))
        result = json.loads((run / "result.json").read_bytes())
        earned = result["checkers"]["earned"]
        assert earned["stats"]["left_out"] == {"partition": 2}
        assert earned["summary"].endswith("(scheduled faults left out: 2)")
        assert told in (run / "report.html").read_text()
        assert [asked.f for asked, _ in acts(run)] == ["start-kill", "stop-kill"]
        assert invoke("check", run).exit_code == 0
        given = (run / "spec.json",)


# --- drills and pytest ----------------------------------------------------------------------------


def test_a_drill_leaves_out_too_or_blames_the_line_of_the_file(tmp_path: Path) -> None:
    write(tmp_path / "f.jsonl", *MIXED)
    drill = tmp_path / "d.toml"
    text = (
        '[defaults]\nskip-unsupported = {}\n[[scenario]]\nname = "a"\nworkload = "register"\n'
        'on = ["sim", "local"]\nfaults = "f.jsonl"\n[[scenario]]\nname = "b"\n'
        'workload = "register"\non = "sim"\n'
    )
    drill.write_text(text.format("true"))
    on_sim, on_local, plain = read_drill(drill, Catalogs()).scenarios
    assert (len(on_sim.spec.left_out), len(on_local.spec.left_out)) == (0, 3)
    assert plain.spec.schedule == ()
    drill.write_text(text.format("false"))
    with pytest.raises(MalformedDrill) as refused:
        read_drill(drill, Catalogs())
    (problem,) = refused.value.problems
    assert (problem.line, problem.exit_code) == (7, 4)
    write(tmp_path / "f.jsonl", at(1, "start-kill", targets=["n6"]))
    with pytest.raises(MalformedDrill) as refused:
        read_drill(drill, Catalogs())
    assert {problem.line for problem in refused.value.problems} == {7}
    assert "f.jsonl:1: unknown node 'n6'" in str(refused.value)


def test_the_words_of_pytest(tmp_path: Path) -> None:
    write(
        tmp_path / "f.jsonl",
        at(2, "start-partition", parameters={"shape": "majorities-ring"}, id="b"),
        at(3, "start-pause", targets=["leader"], id="p"),
        at(4, "stop-pause", id="p"),
    )
    given = {"workload": "register", "faults": "f.jsonl", "nodes": 3, "time_limit": 6.0}
    with pytest.raises(Unsupported, match="majorities-ring"):
        run_trial(given, store=tmp_path, seed=1, beside=tmp_path)
    given = {**given, "skip_unsupported": True}
    one = run_trial(given, store=tmp_path, seed=1, beside=tmp_path)
    assert one.valid, one.sentence
    assert one.result.checkers["earned"].stats["left_out"] == {"partition": 1}
