"""Words on the command line: each mistake is one clear line with its exit code, never a traceback."""

from __future__ import annotations

import doctest
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from splitbrain.cli import main
from splitbrain.commands.report import rerun_command
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.harness.driver import Progress
from splitbrain.live import LiveLine

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


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="splitbrain")


def refused(words: str, *more: str) -> tuple[int, str]:
    """Exit code and the one line on stderr; nothing may be on stdout."""
    done = call(*words.split(), *more)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("splitbrain: ")
    return done.exit_code, line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runn register", "no command 'runn'; did you mean run"),
        ("frobnicate", "no command 'frobnicate'; known: check, demo, doctor"),
        ("run", "Missing argument 'WORKLOAD'"),
        ("run registr", "unknown workload 'registr'; did you mean register"),
        ("run register --on simm", "unknown substrate 'simm'; did you mean sim?"),
        ("run register --system minitikw", "unknown system 'minitikw'; did you mean minitikv?"),
        ("run register --system no --faults no", "unknown system 'no'; known: minitikv"),
        ("run register --nemesis partitio", "unknown fault 'partitio'; did you mean partition"),
        ("run register --on sim --bug ack-on-apend", "did you mean ack-on-append?"),
        ("run register -o scal=1", "unknown option 'scal'; did you mean scale?"),
        ("run register --tme-limit 3", "No such option '--tme-limit'. Did you mean"),
        ("list bugz", "unknown kind of list 'bugz'; did you mean bugs?"),
        ("list", "Missing argument 'KIND'"),
        ("check", "Missing argument 'PATHS...'"),
        ("check x --format jsom", "x: no such file or directory"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(words: str, said: str) -> None:
    code, line = refused(words)
    assert said in line
    assert code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--option scale", "--option 'scale': write it as NAME=VALUE"),
        ("--option =3", "write it as NAME=VALUE"),
        ("--option scale=", "write it as NAME=VALUE"),
        ("--option scale=fast", "option scale=fast: a number"),
        ("--option scale=nan", "option scale=nan: a number"),
        ("--option keys=0", "option keys=0: a whole number"),
        ("--option keys=1.5", "option keys=1.5: a whole number"),
        ("--option keys=true", "option keys=True: a whole number"),
        ("--option read-share=2", "option read-share=2: a number from 0 to 1"),
        ("--option answered-share=-1", "a number from 0 to 1"),
        ("--option op-timeout=-1", "option op-timeout=-1: a number"),
        ("--option check-seconds=long", "option check-seconds=long: a number"),
        ("--option ops-per-key-min=300", "the first must not be larger"),
        ("--option snapshot-every=many", "snapshot-every"),
        ("--option entries-per-append=0", "entries_per_append 0 must be at least 1"),
        ("--on local --option proxies=maybe", "proxies='maybe': choose true or false"),
        ("--on local --option keep-data=7", "keep-data=7: choose true or false"),
        ("--on local --option cut-mode=soft", "cut-mode='soft': choose one of"),
        ("--on local --option clients=all", "clients='all'"),
        ("--nodes 0", "--nodes 0 must be at least 1"),
        ("--nodes five", "'five' is not a valid integer"),
        ("--concurrency 0", "--concurrency '0': a number such as 10"),
        ("--concurrency 2x", "--concurrency '2x'"),
        ("--concurrency -3", "--concurrency '-3'"),
        ("--concurrency \u00b2", "--concurrency '\u00b2'"),
        ("--concurrency 99999999999999999999", "--concurrency '9999"),
        ("--rate -1", "--rate -1"),
        ("--rate nan", "--rate nan"),
        ("--rate inf", "--rate inf"),
        ("--time-limit 0", "--time-limit 0"),
        ("--time-limit nan", "--time-limit nan"),
        ("--nemesis-interval 0", "--nemesis-interval 0"),
        ("--nemesis kill,none", "none cannot be joined"),
        ("--test-count 0", "--test-count"),
        ("--seed x", "'x' is not a valid integer"),
    ],
)
def test_values_that_make_no_sense_are_refused(words: str, said: str) -> None:
    code, line = refused(
        f"run register --dry-run {'' if '--on' in words else '--on sim'} {words}"
    )
    assert said in line
    assert code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nemesis loss", "'loss' is not possible on local: on a TCP proxy a lost packet"),
        ("--nemesis kill,reordering", "use --on sim, or --on docker or ssh"),
        ("--nemesis partition -o proxies=false", "its proxies are off; drop --option proxies"),
        ("--nemesis delay -o proxies=false", "its proxies are off"),
    ],
)
def test_an_impossible_fault_is_refused_before_the_start(
    words: str, said: str, tmp_path: Path
) -> None:
    code, line = refused(f"run register --on local --store {tmp_path / 's'} {words}")
    assert said in line
    assert code == 4
    assert not (tmp_path / "s").exists()


def test_all_means_what_is_possible_under_the_options() -> None:
    def asked(words: str) -> list[str]:
        return json.loads(call(*f"run register --dry-run {words}".split()).stdout)["nemesis"]

    assert {"partition", "kill", "network"} <= set(asked("--on local --nemesis all"))
    assert "partition" not in asked("--on local --nemesis all -o proxies=false")
    assert asked("--on sim --nemesis all,kill") == asked("--on sim --nemesis all")
    assert asked("--on sim --nemesis kill,,kill") == ["kill"]


SCHEDULED = '{"time_ns":1000000000,"f":"start-partition","id":"a"}\n'


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        (SCHEDULED + "{nonsense\n", "faults.jsonl:2: not a scheduled fault", 2),
        (SCHEDULED + '\n{"time_ns":"x","f":"a"}\n', "faults.jsonl:3: not a scheduled fault", 2),
        (SCHEDULED + '{"time_ns":1}\n', "faults.jsonl:2: not a scheduled fault", 2),
        ('{"time_ns":1,"f":"partition"}\n', "f is start-FAULT or stop-FAULT", 2),
        ('{"time_ns":-1,"f":"start-kill"}\n', "time_ns is not negative", 2),
        (b"\xff\xfe\n", "faults.jsonl:1: not a scheduled fault", 2),
        ("\n", "holds no scheduled fault", 2),
        ('{"time_ns":1,"f":"start-kil"}\n', "unknown scheduled fault 'start-kil'; did you", 2),
        (
            '{"time_ns":1,"f":"start-loss"}\n',
            "not possible on local: loss (line 1): on a TCP proxy",
            4,
        ),
    ],
)
def test_a_malformed_schedule_is_told_by_its_line(
    text: str | bytes, said: str, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "faults.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    got, line = refused("run register --on local --dry-run --faults", str(path))
    assert said in line
    assert got == code


def test_an_unknown_schedule_names_those_that_are_shipped() -> None:
    code, line = refused("run register --faults vote-not-durabel")
    assert "no such file, and minitikv ships no schedule of that name" in line
    assert "vote-not-durable" in line
    assert code == 2


@pytest.mark.parametrize(
    "words",
    [
        "run registr --json",
        "run register --json --nodes five",
        "run --json",
        "check --json /nowhere",
        "run register --on local --nemesis loss --json",
        "list --json bugz",
    ],
)
def test_json_prints_one_object_also_for_errors(words: str) -> None:
    done = call(*words.split())
    row = json.loads(done.stdout)
    assert set(row) >= KEYS
    assert row["verdict"] == "error"
    assert row["summary"] in done.stderr
    assert done.exit_code in (2, 4)


def test_an_unforeseen_error_is_never_taken_for_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("splitbrain.commands.listing.listing", broken)
    code, line = refused("list bugs")
    assert code == 4
    assert "unforeseen ZeroDivisionError at " in line
    monkeypatch.setenv("SPLITBRAIN_TRACEBACK", "1")
    assert "Traceback" in call("list", "bugs").stderr


def test_an_interrupt_is_never_taken_for_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("splitbrain.commands.listing.listing", interrupted)
    code, line = refused("list bugs")
    assert code == 4
    assert "interrupted" in line


def test_a_reader_that_went_away_is_not_a_verdict() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "splitbrain", "list", "bugs"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 4
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command",
    ["", "run", "check", "report", "list", "demo", "doctor", "heal", "drill", "prune", "up"],
)
def test_help_is_there(command: str) -> None:
    done = call(*command.split(), "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: splitbrain")
    assert "\n  --" in done.stdout or command in ("", "doctor", "heal")


def test_every_option_of_run_says_what_it_does() -> None:
    silent = [
        parameter.opts
        for parameter in main.commands["run"].params
        if getattr(parameter, "help", "yes") is None
        and parameter.opts[0] not in ("workload", "--system", "--option")
    ]
    assert not silent


def test_without_a_command_the_help_is_shown() -> None:
    done = call()
    assert "Usage: splitbrain" in done.stdout + done.stderr


def test_lists_are_whole_in_words_and_in_json() -> None:
    for kind in ("workloads", "nemeses", "checkers", "models", "systems", "substrates"):
        rows = json.loads(call("list", kind, "--json").stdout)[kind]
        assert rows
        for row in rows:
            assert row["description"], f"{kind}: {row['name']} has no words"
            assert row["name"] in call("list", kind).stdout
    bugs = json.loads(call("list", "bugs", "--json").stdout)["bugs"]
    assert {"ack-on-append", "append-no-fsync"} <= {bug["name"] for bug in bugs}
    assert all(bug["command"].startswith("splitbrain run ") for bug in bugs)


def test_the_command_of_each_bug_is_one_that_is_taken() -> None:
    for bug in json.loads(call("list", "bugs", "--json").stdout)["bugs"]:
        words = bug["command"].removeprefix("splitbrain ").replace("seed N", "seed 1").split()
        done = call(*words, "--dry-run")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["bugs"] == [bug["name"]]


def test_doctor_says_what_each_substrate_can_do() -> None:
    done = call("doctor")
    assert done.exit_code == 0
    rows = {line[:24].split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    assert " yes" in rows["local: partition"]
    assert " no " in rows["local: loss"]


def test_the_command_to_run_again_gives_the_same_spec(tmp_path: Path) -> None:
    from splitbrain import catalog as names

    catalog = names.builtin()
    schedule = tuple(
        ScheduledFault(time_ns=n * 10**9, f=f"{f}-partition", id="p", parameters={"a": n})
        for n, f in ((1, "start"), (2, "stop"))
    )
    for spec in (
        TestSpec(workload="register", substrate="sim", seed=3),
        TestSpec(
            workload="cas-register", substrate="sim", nodes=("n1", "n2", "n3"), concurrency=7,
            rate_hz=1234567.5, time_limit_s=0.1, nemesis=("kill", "clock"),
            nemesis_interval_s=2.25, seed=99, bugs=("ack-on-append",),
            options={"lease-reads": True, "keys": 3, "read-from": "leader", "scale": 0.25},
            schedule=schedule,
        ),
        TestSpec(
            workload="register", substrate="sim", bugs=("vote-not-durable",),
            schedule=tuple(
                names.make_system(TestSpec(workload=""), catalog).schedule("vote-not-durable")
            ),
        ),
    ):  # fmt: skip
        (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))
        command = rerun_command(spec, catalog, tmp_path)
        done = call(*command.split()[1:], "--dry-run")
        assert done.exit_code == 0, done.stderr
        assert msgspec.json.decode(done.stdout, type=TestSpec) == spec
    assert "--faults vote-not-durable" in command


def moment(time_s: float, ok: int, faults: tuple[str, ...] = ()) -> Progress:
    return Progress(
        time_s=time_s, phase="main", ops=ok, ok=ok, fail=0, info=0, faults=faults, crashes=0
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_live_line_is_rewritten_in_a_terminal() -> None:
    screen = Terminal()
    live = LiveLine(screen)
    live(moment(1.0, 100, ("kill", "partition", "kill")))
    live(moment(2.0, 300))
    text = screen.getvalue()
    assert "\n" not in text
    first, second = text.split("\r")[1:]
    assert "kill x2, partition" in first
    assert "200 op/s" in second
    assert len(second) >= len(first), "the longer line before must be covered"
    live.clear()
    assert screen.getvalue().endswith("\r" + " " * len(second.rstrip()) + "\r")


def test_the_live_line_is_a_plain_line_now_and_then_elsewhere() -> None:
    log = io.StringIO()
    live = LiveLine(log)
    for tenth in range(250):
        live(moment(tenth / 10, tenth))
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].strip().startswith("10.0 s main")
    live.clear()
    assert len(log.getvalue().splitlines()) == 2


def test_a_live_line_that_nobody_reads_does_not_end_the_test() -> None:
    class Gone(Terminal):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    live = LiveLine(Gone())
    live(moment(1.0, 1))
    live(moment(2.0, 1))
    live.clear()


@pytest.mark.parametrize(
    "name",
    ["commands.judge", "commands.report", "commands.specify", "live", "printing"],
)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(f"splitbrain.{name}")
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
