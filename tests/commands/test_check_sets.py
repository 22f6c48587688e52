"""``splitbrain check --model set|unique-ids``: files of both forms, and what means nothing there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
OneLine = Callable[[Result], str]

SET_EDN = """\
{:process 0, :type :invoke, :f :add, :value 1, :time 10}
{:process 0, :type :ok, :f :add, :value 1, :time 20}
{:process 1, :type :invoke, :f :read, :value nil, :time 30}
{:process 1, :type :ok, :f :read, :value FIRST, :time 40}
{:process 1, :type :invoke, :f :read, :value nil, :time 50}
{:process 1, :type :ok, :f :read, :value SECOND, :time 60}
"""
IDS_EDN = """\
{:process 0, :type :invoke, :f :generate, :value nil}
{:process 0, :type :ok, :f :generate, :value 7}
{:process 1, :type :invoke, :f :generate, :value nil}
{:process 1, :type :ok, :f :generate, :value OTHER}
"""


def written(path: Path, text: str, **words: str) -> Path:
    for name, value in words.items():
        text = text.replace(name, value)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("first", "second", "flags", "code", "kind"),
    [
        ("#{1}", "[1]", (), 0, None),
        ("[]", "[1]", (), 0, None),
        ("[]", "[1]", ("--linearizable",), 1, "stale-element"),
        ("[1]", "#{}", (), 1, "lost-element"),
        ("[1]", "[1 1]", (), 1, "duplicate-element"),
        ("[1 9]", "[1]", (), 1, "phantom-element"),
        ("nil", "nil", (), 1, "lost-element"),
    ],
)
def test_a_set_in_edn(
    first: str,
    second: str,
    flags: tuple[str, ...],
    code: int,
    kind: str | None,
    invoke: Invoke,
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "h.edn", SET_EDN, FIRST=first, SECOND=second)
    done = invoke("check", path, "--model", "set", "--json", *flags)
    assert done.exit_code == code, done.output
    assert [a["kind"] for a in json.loads(done.stdout)["anomalies"]] == ([kind] if kind else [])


def test_a_set_in_json_lines_with_its_report(invoke: Invoke, tmp_path: Path) -> None:
    lines = [
        {"process": 0, "type": "invoke", "f": "add", "key": 3, "value": 1},
        {"process": 0, "type": "ok", "f": "add", "key": 3, "value": 1},
        {"process": 1, "type": "invoke", "f": "read", "key": 3},
        {"process": 1, "type": "ok", "f": "read", "key": 3, "value": []},
    ]
    path = tmp_path / "h.jsonl"
    path.write_text(
        "".join(
            json.dumps({"index": n, "time_ns": n, **line}) + "\n"
            for n, line in enumerate(lines)
        )
    )
    done = invoke("check", path, "--model", "set", "--report", tmp_path / "r.html")
    assert done.exit_code == 1, done.output
    assert "INVALID: a lost element of key 3: the add of 1 by process 0" in done.stdout
    assert "lost element" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(("other", "code"), [("8", 0), ("7", 1)])
def test_unique_ids(other: str, code: int, invoke: Invoke, tmp_path: Path) -> None:
    path = written(tmp_path / "h.edn", IDS_EDN, OTHER=other)
    done = invoke("check", path, "--model", "unique-ids")
    assert done.exit_code == code, done.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--model register --linearizable", "--linearizable belongs to --model set"),
        ("--model set --initial 3", "--initial means nothing to --model set"),
        ("--model set --engine wgl", "--engine means nothing to --model set"),
        ("--model sett", "unknown model 'sett'; did you mean set"),
        ("--model unique-ids", "event 0: unique-ids has no function 'add'"),
    ],
)
def test_what_means_nothing_is_refused(
    words: str, told: str, invoke: Invoke, one_line: OneLine, tmp_path: Path
) -> None:
    path = written(tmp_path / "h.edn", SET_EDN, FIRST="[1]", SECOND="[1]")
    done = invoke("check", path, *words.split())
    assert done.exit_code == 2, done.output
    assert told in one_line(done)


def test_the_models_are_listed(invoke: Invoke) -> None:
    done = invoke("list", "models")
    assert {line.split()[0] for line in done.stdout.splitlines()} >= {"set", "unique-ids", "kv"}
