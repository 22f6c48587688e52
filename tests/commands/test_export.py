"""``splitbrain export``: runs and files of any form as EDN and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from splitbrain.history.edn import read_edn
from splitbrain.history.jsonl import read_history

Invoke = Callable[..., Result]


def test_a_run_goes_to_edn_and_returns(invoke: Invoke, valid_run: Path, tmp_path: Path) -> None:
    kept = (valid_run / "history.jsonl").read_bytes()
    edn, again = tmp_path / "history.edn", tmp_path / "again.jsonl"
    done = invoke("export", valid_run, "--format", "edn", "-o", edn)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{edn}: {len(kept.splitlines())} events\n"
    assert invoke("export", edn, "--format", "jsonl", "-o", again).exit_code == 0
    assert again.read_bytes() == kept
    assert read_edn(edn) == read_history(valid_run / "history.jsonl")[0]
    done = invoke("check", edn, "--model", "register", "--nil-reads", "value", "--json")
    assert json.loads(done.stdout)["verdict"] == "valid"


def test_an_invalid_run_stays_invalid(
    invoke: Invoke, invalid_run: Path, tmp_path: Path
) -> None:
    edn = tmp_path / "history.edn"
    assert invoke("export", invalid_run, "--format", "edn", "-o", edn).exit_code == 0
    assert invoke("check", edn, "--model", "register", "--nil-reads", "value").exit_code == 1


def test_stdout_is_the_history_alone(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "h.edn"
    line = "{:process 0, :type :invoke, :f :write, :value [1 :a]}\n"
    path.write_text(line)
    done = invoke("export", path, "--format", "edn")
    assert sorted(done.stdout.strip("{}\n").split(", ")) == sorted(
        line.strip("{}\n").split(", ")
    )
    done = invoke("export", path, "--format", "jsonl", "--independent")
    assert json.loads(done.stdout)["key"] == 1


def test_a_line_cut_short_is_told(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"process":0,"type":"invoke","f":"read"}\n{"proc')
    done = invoke("export", path, "--format", "edn")
    assert done.exit_code == 0
    assert "h.jsonl:2: the last line has no newline" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{:process 0, :type :ok\n:f :read", "1: { is not closed"),
        ("\n{:process 0, :type :ok, :f :read}", "2: process 0 completes read"),
        (
            '[{:process 0, :type :invoke, :f "a\\q"}]',
            "1: a string holds the unknown escape \\q",
        ),
    ],
)
def test_malformed_edn_is_told_by_file_and_line(
    text: str, said: str, invoke: Invoke, tmp_path: Path
) -> None:
    path = tmp_path / "h.edn"
    path.write_text(text)
    done = invoke("export", path, "--format", "jsonl", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert f"h.edn:{said}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_or_written(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text("")
    for words, code, said in (
        (["none", "--format", "edn"], 2, "no such file"),
        ([tmp_path, "--format", "edn"], 2, "not a run directory"),
        ([path, "--format", "xml"], 2, "xml"),
        ([path], 2, "--format"),
        ([path, "--format", "edn", "-o", tmp_path / "no" / "x"], 4, "cannot write"),
        ([path, "--format", "edn", "--from", "yaml"], 2, "unknown format 'yaml'"),
    ):
        done = invoke("export", *words)
        assert (done.exit_code, said in done.stderr) == (code, True), done.output
