"""``splitbrain check`` and ``report``: runs whole and cut short, and history files of every form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
OneLine = Callable[[Result], str]

JSONL = """\
{"index":0,"time_ns":10,"process":0,"type":"invoke","f":"write","value":1}
{"index":1,"time_ns":20,"process":0,"type":"ok","f":"write","value":1}
{"index":2,"time_ns":30,"process":1,"type":"invoke","f":"read"}
{"index":3,"time_ns":40,"process":1,"type":"ok","f":"read","value":READ}
"""
EDN = """\
{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value READ}
"""
ETCD = """\
INFO  jepsen.util - 0 :invoke :write 1
INFO  jepsen.util - 0 :ok :write 1
INFO  jepsen.util - 1 :invoke :read nil
INFO  jepsen.util - 1 :ok :read READ
"""
KV = """\
{:process 0, :type :invoke, :f :put, :key "x", :value "1"}
{:process 0, :type :ok, :f :put, :key "x", :value "1"}
{:process 1, :type :invoke, :f :get, :key "x", :value nil}
{:process 1, :type :ok, :f :get, :key "x", :value "READ"}
"""


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "model"),
    [(JSONL, "register"), (EDN, "register"), (ETCD, None), (KV, None)],
    ids=["jsonl", "edn", "etcd-log", "kv-text"],
)
def test_files_of_every_form_are_judged_by_a_model(
    text: str, model: str | None, invoke: Invoke, tmp_path: Path
) -> None:
    words = [] if model is None else ["--model", model]
    for read, code in (("1", 0), ("2", 1)):
        path = tmp_path / f"{read}.txt"
        path.write_text(text.replace("READ", read))
        done = invoke("check", path, *words)
        assert done.exit_code == code, done.output
        assert done.stdout.startswith(f"{path}: {('VALID', 'INVALID')[code]}: ")


def test_several_paths_give_the_worst_and_one_object(invoke: Invoke, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(JSONL.replace("READ", "1"))
    bad.write_text(JSONL.replace("READ", "2"))
    done = invoke("check", good, bad, "--model", "register", "--json")
    row = json.loads(done.stdout)
    assert (done.exit_code, row["verdict"]) == (1, "invalid")
    assert [(one["path"], one["verdict"]) for one in row["results"]] == [
        (str(good), "valid"),
        (str(bad), "invalid"),
    ]
    done = invoke("check", good, tmp_path / "none", "--model", "register", "--json")
    row = json.loads(done.stdout)
    assert (done.exit_code, row["verdict"]) == (2, "error")
    assert [one["verdict"] for one in row["results"]] == ["valid", "error"]
    done = invoke("check", tmp_path / "none", bad, "--model", "register")
    assert done.exit_code == 1, (
        "invalid is worse than malformed, and is looked for all the same"
    )


def test_a_file_without_a_model_names_both_options(
    invoke: Invoke, tmp_path: Path, one_line: OneLine
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(JSONL.replace("READ", "1"))
    done = invoke("check", path)
    line = one_line(done)
    assert "--model" in line
    assert "--txn" in line
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JSONL.replace("READ", "1") + "{nonsense\n", ":5: not JSON"),
        (JSONL.replace("READ", "1").replace('"ok"', '"okay"', 1), ":2: not an operation"),
        (
            JSONL.replace("READ", "1").replace('"process":0', '"process":"a"', 1),
            "field process",
        ),
        (JSONL.splitlines()[0] + "\n" + JSONL.splitlines()[0] + "\n", ":2: "),
    ],
)
def test_a_malformed_line_is_told_by_file_and_line(
    text: str, said: str, invoke: Invoke, tmp_path: Path, one_line: OneLine
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(text)
    done = invoke("check", path, "--model", "register")
    line = one_line(done)
    assert line.startswith(str(path))
    assert said in line
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model registr", "unknown model 'registr'; did you mean register"),
        ("--model register --engine wgll", "unknown engine 'wgll'; did you mean wgl?"),
        ("--model register --format jsom", "unknown format 'jsom'; did you mean jsonl?"),
        ("--model register --budget-seconds 0", "--budget-seconds"),
        ("--model register --budget-seconds -1", "--budget-seconds"),
        ("--model register --budget-mb 0", "--budget-mb"),
        ("--model register --nil-reads maybe", "--nil-reads"),
        ("--model register --format edn", "h.jsonl"),
        ("--model register --format etcd-log", "h.jsonl"),
    ],
)
def test_check_refuses_what_makes_no_sense(
    words: str, said: str, invoke: Invoke, tmp_path: Path, one_line: OneLine
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(JSONL.replace("READ", "1"))
    done = invoke("check", path, *words.split())
    assert said in one_line(done)
    assert done.exit_code == 2


def test_an_unreadable_kind_of_file_is_told(
    invoke: Invoke, tmp_path: Path, one_line: OneLine
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    done = invoke("check", path, "--model", "register")
    assert "not a history in any known form" in one_line(done)
    assert done.exit_code == 2


def test_the_initial_value_counts(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    lines = JSONL.replace("READ", "7").splitlines(keepends=True)[2:]
    path.write_text("".join(lines).replace('"index":2', '"index":0').replace('x":3', 'x":1'))
    assert invoke("check", path, "--model", "register").exit_code == 1
    assert invoke("check", path, "--model", "register", "--initial", "7").exit_code == 0


def test_a_budget_that_is_spent_is_unknown(invoke: Invoke, valid_run: Path) -> None:
    done = invoke("check", valid_run, "--budget-seconds", "1e-9", "--json")
    row = json.loads(done.stdout)
    assert (done.exit_code, row["verdict"], row["reason"]) == (3, "unknown", "budget")


# --- runs -------------------------------------------------------------------------------------------


def test_a_finished_run_gets_its_verdict_again(
    invoke: Invoke, valid_run: Path, invalid_run: Path
) -> None:
    for run, code in ((valid_run, 0), (invalid_run, 1)):
        before = (run / "result.json").read_bytes()
        (run / "result.json").unlink()
        done = invoke("check", run, "--json")
        row = json.loads(done.stdout)
        assert done.exit_code == code
        assert row["run"] == row["path"] == str(run)
        assert row["seed"] == (3, 1)[code]
        assert row["ops"] > 100
        assert _verdict(run / "result.json") == _verdict_of(before)
        by_model = invoke("check", run, "--model", "register")
        assert by_model.exit_code == code


def _verdict(path: Path) -> tuple[object, ...]:
    return _verdict_of(path.read_bytes())


def _verdict_of(data: bytes) -> tuple[object, ...]:
    result = json.loads(data)
    return result["verdict"], result["summary"], result.get("anomalies")


def test_check_does_not_change_a_run_but_for_its_result(
    invoke: Invoke, invalid_run: Path
) -> None:
    def contents() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in sorted(invalid_run.rglob("*"))
            if path.is_file() and path.name != "result.json"
        }

    before = contents()
    invoke("check", invalid_run)
    assert contents() == before


def test_a_run_that_may_only_be_read_is_judged_all_the_same(
    invoke: Invoke, invalid_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splitbrain.commands import check as module
    from splitbrain.errors import HostError

    def refuse(*_: object) -> None:
        raise HostError("cannot write result.json: Read-only file system")

    monkeypatch.setattr(module, "write_result", refuse)
    done = invoke("check", invalid_run)
    assert done.exit_code == 1
    assert "note: cannot write result.json" in done.stderr


def test_a_run_cut_at_any_byte_is_invalid_if_the_anomaly_is_there_else_unfinished(
    invoke: Invoke, valid_run: Path, invalid_run: Path
) -> None:
    random = Random(7)
    seen = set()
    for run in (valid_run, invalid_run):
        whole = (run / "history.jsonl").read_bytes()
        (run / "result.json").unlink()
        lines = whole.count(b"\n")
        cuts = [0, 1, len(whole) - 1, *(random.randrange(len(whole)) for _ in range(9))]
        for cut in cuts:
            (run / "history.jsonl").write_bytes(whole[:cut])
            done = invoke("check", run, "--json")
            row = json.loads(done.stdout)
            assert "Traceback" not in done.stderr
            if run is valid_run:
                assert row["verdict"] == "unknown"
            assert (done.exit_code, row["verdict"]) in ((1, "invalid"), (3, "unknown"))
            if row["verdict"] == "unknown":
                assert row["reason"] == "unfinished"
            kept = whole[:cut].count(b"\n")
            assert row["ops"] <= kept <= lines
            if cut and whole[cut - 1 : cut] != b"\n":
                assert "the last line has no newline and was dropped" in done.stderr
            seen.add((run, row["verdict"]))
    assert (invalid_run, "invalid") in seen
    assert (invalid_run, "unknown") in seen


def test_a_malformed_line_in_a_runs_history_is_told_by_file_and_line(
    invoke: Invoke, valid_run: Path, one_line: OneLine
) -> None:
    path = valid_run / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b'{"index":4,\n', *lines[5:]]))
    done = invoke("check", valid_run)
    assert one_line(done).startswith(f"{path}:5: ")
    assert done.exit_code == 2


def test_a_run_without_a_history_is_unfinished(invoke: Invoke, valid_run: Path) -> None:
    (valid_run / "history.jsonl").unlink()
    for name in ("faults.jsonl", "events.jsonl", "result.json"):
        (valid_run / name).unlink()
    shutil.rmtree(valid_run / "logs")
    done = invoke("check", valid_run, "--json")
    assert (done.exit_code, json.loads(done.stdout)["reason"]) == (3, "unfinished")
    assert "the run ended before its first operation" in done.stderr
    assert invoke("report", valid_run).exit_code == 0


def test_a_store_of_a_newer_version_is_told(
    invoke: Invoke, valid_run: Path, one_line: OneLine
) -> None:
    path = valid_run / "spec.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "format": 99, "of_the_future": [1]}))
    for verb in ("check", "report"):
        done = invoke(verb, valid_run)
        assert "written by a newer splitbrain (format 99, this one reads up to" in one_line(
            done
        )
        assert done.exit_code == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"workload":3}', '{"format":"new"}', "{}"])
def test_a_spec_that_is_none_is_told(
    text: str, invoke: Invoke, valid_run: Path, one_line: OneLine
) -> None:
    (valid_run / "spec.json").write_text(text)
    done = invoke("check", valid_run)
    assert one_line(done).startswith(f"{valid_run / 'spec.json'}: not a test's spec")
    assert done.exit_code == 2


def test_a_spec_of_unknown_names_is_told(
    invoke: Invoke, valid_run: Path, one_line: OneLine
) -> None:
    path = valid_run / "spec.json"
    for name, said in (("workload", "unknown workload"), ("system", "unknown system")):
        spec = json.loads(path.read_text())
        path.write_text(json.dumps({**spec, name: "nosuch"}))
        done = invoke("check", valid_run)
        assert said in one_line(done)
        assert done.exit_code == 2
        path.write_text(json.dumps(spec))


@pytest.mark.parametrize("verb", ["check", "report"])
def test_what_is_no_run_is_told(
    verb: str, invoke: Invoke, tmp_path: Path, one_line: OneLine
) -> None:
    (tmp_path / "empty").mkdir()
    done = invoke(verb, tmp_path / "empty")
    assert "not a run directory (it has no spec.json)" in one_line(done)
    assert done.exit_code == 2
    done = invoke(verb, tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in one_line(done)
    assert done.exit_code == 2


# --- reports ----------------------------------------------------------------------------------------


def test_a_report_is_written_again_and_changes_no_verdict(
    invoke: Invoke, invalid_run: Path, tmp_path: Path
) -> None:
    before = (invalid_run / "result.json").read_bytes()
    (invalid_run / "report.html").unlink()
    done = invoke("report", invalid_run)
    assert done.exit_code == 0
    assert done.stdout.strip() == str(invalid_run / "report.html")
    first = (invalid_run / "report.html").read_text()
    assert "lost write" in first
    assert "splitbrain run register --on sim" in first
    assert (invalid_run / "result.json").read_bytes() == before
    done = invoke("report", invalid_run, "--output", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == first


def test_check_writes_a_report_of_a_run_and_of_a_file(
    invoke: Invoke, invalid_run: Path, tmp_path: Path, one_line: OneLine
) -> None:
    done = invoke("check", invalid_run, "--report", tmp_path / "run.html")
    assert done.exit_code == 1
    assert "lost write" in (tmp_path / "run.html").read_text()
    history = tmp_path / "h.jsonl"
    history.write_text(JSONL.replace("READ", "2"))
    done = invoke("check", history, "--model", "register", "--report", tmp_path / "f.html")
    assert done.exit_code == 1
    assert (tmp_path / "f.html").read_text().startswith("<!doctype html>")
    done = invoke("check", history, invalid_run, "--model", "register", "--report", "x.html")
    assert "check one path at a time" in one_line(done)


def test_a_report_that_cannot_be_written_is_one_line(
    invoke: Invoke, invalid_run: Path, one_line: OneLine
) -> None:
    for words in (("report", invalid_run, "-o"), ("check", invalid_run, "--report")):
        done = invoke(*words, "/proc/none/r.html")
        assert "cannot write the report /proc/none/r.html" in one_line(done)
        assert done.exit_code == 4
