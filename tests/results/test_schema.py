"""The published schemas are those of today's types, and hold for what splitbrain really writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

from splitbrain.cli import main
from splitbrain.results.schema import SCHEMAS, load, text_of

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "src" / "splitbrain" / "results" / "schemas"


def places(name: str) -> list[Path]:
    """The shipped file; that of result.json is in docs too, to be read by people."""
    copies = [ROOT / "docs" / "result.schema.json"] if name == "result" else []
    return [SHIPPED / f"{name}.schema.json", *copies]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_files_are_those_of_todays_types(name: str, request: pytest.FixtureRequest) -> None:
    Draft202012Validator.check_schema(json.loads(text_of(name)))
    for path in places(name):
        if request.config.getoption("--rewrite"):
            path.write_text(text_of(name))
        assert path.read_text() == text_of(name), (
            "run pytest --rewrite, and tell of the change in CHANGELOG.md"
        )


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described(name: str) -> None:
    for title, definition in load(name)["$defs"].items():
        bare = [
            key for key, inner in definition["properties"].items() if "description" not in inner
        ]
        if title not in (
            "DrillOutput",
            "ScenarioRecord",
            "RunRecord",
        ):  # some names speak for themselves
            assert not bare, title


def strict(name: str) -> Draft202012Validator:
    """The schema, and no field beside those that it knows."""
    schema = load(name)
    for definition in schema["$defs"].values():
        definition["additionalProperties"] = False
    return Draft202012Validator(schema)


def splitbrain(*words: object) -> tuple[int, Any]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, json.loads(done.stdout)


RUNS = {
    "valid": ["--nemesis", "partition,kill", "--nemesis-interval", 1, "--time-limit", 15],
    "invalid": ["--bug", "ack-on-append", "--nemesis", "partition", "--time-limit", 60],
    "unknown": ["--nemesis", "partition", "--nemesis-interval", 60, "--time-limit", 3],
}


@pytest.mark.parametrize("verdict", RUNS)
def test_real_runs(verdict: str, tmp_path: Path) -> None:
    words = ["--on", "sim", "--seed", 1, "--store", tmp_path, "--json", *RUNS[verdict]]
    _, told = splitbrain("run", "register", *words)
    assert told["verdict"] == verdict
    strict("verdict").validate(told)
    result = json.loads((Path(told["run"]) / "result.json").read_text())
    strict("result").validate(result)
    assert result["verdict"] == verdict
    _, checked = splitbrain("check", told["run"], "--json")
    assert checked["path"] == told["run"]
    strict("verdict").validate(checked)


def test_several_and_errors(tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    history.write_text(
        '{"index":0,"time_ns":0,"process":0,"type":"invoke","f":"read","value":null}\n'
    )
    words = ["check", history, tmp_path / "nowhere", "--model", "register", "--json"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    told = json.loads(done.stdout)
    assert [one["verdict"] for one in told["results"]] == ["valid", "error"]
    strict("verdict").validate(told)
    _, refused = splitbrain("run", "no-such-workload", "--json")
    strict("verdict").validate(refused)


DRILL = """
[defaults]
workload = "register"
on = "sim"
time-limit = 3
[[scenario]]
name = "fine"
accept = { lost = 0 }
[[scenario]]
name = "not found"
expect = "invalid"
"""


def test_a_drill(tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text(DRILL)
    code, told = splitbrain("drill", file, "--store", tmp_path / "store", "--json")
    assert (code, told["exit"]) == (1, 1)
    strict("drill").validate(told)
    written = json.loads((Path(told["directory"]) / "drill.json").read_text())
    strict("drill").validate(written)
    file.write_text(DRILL + "\nsurprise = 1\n")
    _, refused = splitbrain("drill", file, "--json")
    strict("verdict").validate(refused)
    assert refused["problems"][0]["line"] == 13


def test_what_is_none_is_refused() -> None:
    for wrong in (
        {},
        {"verdict": "fine", "summary": ""},
        {"verdict": "valid", "summary": 1},
        [],
    ):
        with pytest.raises(ValidationError):
            Draft202012Validator(load("result")).validate(wrong)


def test_a_reader_may_meet_fields_that_it_does_not_know() -> None:
    Draft202012Validator(load("result")).validate(
        msgspec.json.decode(b'{"verdict": "valid", "summary": "", "later": 1}')
    )
