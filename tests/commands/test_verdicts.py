"""``splitbrain run`` through the whole pipeline, in simulation: verdicts, reasons, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import Result

from splitbrain.checkers.verdict import Result as Verdict
from splitbrain.commands.judge import worst_exit

Invoke = Callable[..., Result]
KEYS = {
    "verdict",
    "summary",
    "run",
    "seed",
    "ops",
    "seconds",
    "anomalies",
    "checkers",
    "faults",
}


def run(invoke: Invoke, words: str, workload: str = "register") -> Result:
    done = invoke("run", workload, "--on", "sim", *words.split())
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_valid_run_exits_0_and_leaves_all_its_files(invoke: Invoke, tmp_path: Path) -> None:
    done = run(invoke, "--time-limit 4 --nemesis partition --nemesis-interval 1 --seed 3")
    assert done.exit_code == 0
    first, sentence, counts, where, report = done.stdout.splitlines()
    assert "faults: partition, seed 3" in first
    assert sentence.startswith("VALID: ")
    assert "operations in" in counts
    directory = tmp_path / where.split()[-1]
    assert (tmp_path / report.split()[-1]).read_text().startswith("<!doctype html>")
    assert (tmp_path / "store" / "latest").resolve() == directory
    for name in ("spec.json", "history.jsonl", "faults.jsonl", "events.jsonl", "result.json"):
        assert (directory / name).stat().st_size > 0, name


def test_a_scheduled_fault_that_never_came_is_unknown(invoke: Invoke, tmp_path: Path) -> None:
    schedule = tmp_path / "late.jsonl"
    line = '{"time_ns":%d000000000,"f":"start-kill","targets":["n1"],"id":"k"}\n'
    for second, code in ((1, 0), (9, 3)):
        schedule.write_text(line % second)
        done = run(invoke, f"--time-limit 3 --faults {schedule} --seed 3")
        assert done.exit_code == code, done.stdout
    assert "no effect: the scheduled fault kill never came" in done.stdout


def test_an_invalid_run_exits_1_and_says_how_to_see_it_again(invoke: Invoke) -> None:
    words = "--time-limit 20 --nemesis partition --bug ack-on-append --seed 1"
    done = run(invoke, words)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[1].startswith("INVALID: a lost write")
    assert lines[-1].startswith("again   splitbrain run register ")
    again = invoke(*lines[-1].split()[2:])
    assert again.exit_code == 1
    assert again.stdout.splitlines()[1] == lines[1], "the same seed gives the same anomaly"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-o read-share=1", "vacuous"),
        ("-o op-timeout=0.001 -o recovery-seconds=1", "vacuous"),
        ("-o answered-share=1 -o op-timeout=0.016", "refused"),
        ("--nemesis kill --nemesis-interval 100", "no-effect"),
        ("-o recovery-seconds=0", "no-progress"),
        ("-o check-seconds=0", "budget"),
    ],
)
def test_an_unknown_run_exits_3_with_its_reason(
    words: str, reason: str, invoke: Invoke, tmp_path: Path
) -> None:
    done = run(invoke, f"--time-limit 3 --seed 1 --json {words}")
    assert done.exit_code == 3
    row = json.loads(done.stdout)
    assert (row["verdict"], row["reason"]) == ("unknown", reason)
    assert row["summary"].startswith("UNKNOWN: ")
    kept = msgspec.json.decode(
        (tmp_path / row["run"] / "result.json").read_bytes(), type=Verdict
    )
    assert (kept.verdict, kept.reason) == ("unknown", reason)


PLUGIN = """
from splitbrain.checkers.verdict import Result
from splitbrain.workloads.register import register
import msgspec

class Broken:
    def check(self, history, options, budget):
        raise KeyError("the checker's own mistake")

def mine(spec):
    return msgspec.structs.replace(register(spec), name="mine", checkers={CHECKERS})

WORKLOADS = {"mine": mine}
"""


def test_a_plugin_adds_a_workload_that_runs_and_is_judged_again(
    invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{CHECKERS}", "register(spec).checkers"))
    done = run(invoke, "--time-limit 2 --seed 1 --load mine.py", "mine")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "store" / "mine").is_dir()
    without = invoke("check", "store/latest")
    assert without.exit_code == 2
    assert "'mine' came from a plug-in; give it again: --load mine.py" in without.stderr
    assert invoke("check", "store/latest", "--load", "mine.py").exit_code == 0


def test_a_checker_that_crashes_is_unknown_with_its_traceback(
    invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{CHECKERS}", "{'broken': Broken()}"))
    done = run(invoke, "--time-limit 2 --seed 1 --load mine.py --json", "mine")
    assert done.exit_code == 3
    row = json.loads(done.stdout)
    assert row["reason"] == "checker-crashed"
    assert "the checker's own mistake" in row["checkers"]["broken"]["stats"]["traceback"]


NONSENSE = """
class Nonsense:
    def check(self, history, options, budget):
        return Result(verdict="invalid", summary="because", stats={"a": object()})
"""


def test_a_checker_that_returns_nonsense_is_told_and_the_history_kept(
    invoke: Invoke, tmp_path: Path
) -> None:
    """It condemns nobody: all its problems, whose they are, exit 4."""
    text = PLUGIN.replace("{CHECKERS}", "{'theirs': Nonsense()}")
    (tmp_path / "mine.py").write_text(text + NONSENSE)
    done = run(invoke, "--time-limit 2 --seed 1 --load mine.py", "mine")
    assert done.exit_code == 4
    assert "Traceback" not in done.stderr
    for told in ("checker theirs, Nonsense (", "mine.py:", "invalid without an anomaly",
                 "stats cannot be written", "the history so far is kept in"):  # fmt: skip
        assert told in done.stderr, done.stderr
    (directory,) = (tmp_path / "store" / "mine").iterdir()
    history = ["check", str(directory / "history.jsonl"), "--model", "register"]
    assert invoke(*history).exit_code == 0


def test_json_is_one_object_with_its_keys(invoke: Invoke) -> None:
    done = run(
        invoke, "--time-limit 20 --nemesis partition --bug ack-on-append --seed 1 --json"
    )
    row = json.loads(done.stdout)
    assert set(row) >= KEYS
    assert row["verdict"] == "invalid"
    assert row["seed"] == 1
    assert row["ops"] > 500
    assert 20 < row["seconds"] < 60
    assert {"kind", "explanation", "ops"} <= set(row["anomalies"][0])
    assert row["faults"]["partition"]["effective"] >= 1
    assert {"linearizable", "earned", "node-crash", "stats"} <= set(row["checkers"])
    assert done.stderr == ""


def test_over_many_runs_the_worst_verdict_wins(invoke: Invoke) -> None:
    words = "--time-limit 12 --nemesis partition --bug ack-on-append --test-count 3 --seed 1"
    done = run(invoke, f"{words} --json")
    row = json.loads(done.stdout)
    verdicts = [one["verdict"] for one in row["results"]]
    assert [one["seed"] for one in row["results"]] == [1, 2, 3]
    assert "invalid" in verdicts
    assert row["verdict"] == "invalid"
    assert done.exit_code == 1
    assert len({one["run"] for one in row["results"]}) == 3


def test_over_many_runs_one_that_failed_does_not_hide_the_others(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splitbrain.commands import run as module
    from splitbrain.errors import HostError

    real = module.run_spec

    def second_fails(spec, *given, **named):  # type: ignore[no-untyped-def]
        if spec.seed == 2:
            raise HostError("no port to be had")
        return real(spec, *given, **named)

    monkeypatch.setattr(module, "run_spec", second_fails)
    done = run(invoke, "--time-limit 2 --test-count 3 --seed 1")
    assert done.exit_code == 4
    assert done.stdout.splitlines()[-1] == "3 of 3 runs: 2 valid, 1 error"
    assert "splitbrain: seed 2: no port to be had" in done.stderr
    row = json.loads(run(invoke, "--time-limit 2 --test-count 3 --seed 1 --json").stdout)
    assert row["verdict"] == "error"
    assert [one["verdict"] for one in row["results"]] == ["valid", "error", "valid"]


def test_the_order_of_the_worst() -> None:
    codes = [0, 3, 2, 4, 1]
    for at in range(len(codes)):
        assert worst_exit(codes[: at + 1]) == codes[at]
        assert worst_exit(list(reversed(codes[: at + 1]))) == codes[at]


def test_a_fault_outside_the_model_is_announced(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "frail.py").write_text(
        "from splitbrain.systems.minitikv import Minitikv\n"
        "class Frail(Minitikv):\n"
        "    name = 'frail'\n"
        "    fault_model = {}\n"
        "SYSTEMS = {'frail': Frail}\n"
    )
    words = "--system frail --load frail.py --time-limit 4 --nemesis-interval 1 --seed 3"
    done = run(invoke, f"{words} --nemesis partition")
    assert "outside the fault model: partition: invalid is expected" in done.stdout
    nothing = json.loads(run(invoke, f"{words} --nemesis all --dry-run").stdout)
    assert "nemesis" not in nothing, "all means all that is inside the model: none here"


def test_a_dry_run_prints_the_spec_and_starts_nothing(invoke: Invoke, tmp_path: Path) -> None:
    done = run(invoke, "--dry-run --seed 5 --nemesis kill")
    assert json.loads(done.stdout)["seed"] == 5
    assert not (tmp_path / "store").exists()
