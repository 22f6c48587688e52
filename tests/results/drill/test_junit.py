"""junit.xml: accepted by a schema, read by a parser that we did not write, true to the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import junitparser
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from splitbrain.commands.drill.verdicts import exit_code
from splitbrain.results.drill.junit import junit
from splitbrain.results.drill.record import DrillRecord

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).parent / "junit.xsd")))
OUTCOMES = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def parsed(record: DrillRecord) -> Any:
    root = etree.fromstring(junit(record))
    SCHEMA.assertValid(root)
    return root


def counted(element: Any) -> dict[str, int]:
    """What an element holds, by going through it."""
    cases = element.findall(".//testcase")
    found = Counter(
        name for case in cases for child in case if (name := OUTCOMES.get(child.tag, ""))
    )
    return {"tests": len(cases), **{name: found[name] for name in OUTCOMES.values()}}


def claimed(element: Any) -> dict[str, int]:
    return {name: int(element.get(name)) for name in ("tests", *OUTCOMES.values())}


@settings(max_examples=35, deadline=None)
@given(data=st.data())
def test_any_record_gives_a_file_that_the_schema_accepts_and_whose_counts_are_true(
    wild: st.SearchStrategy[DrillRecord], data: st.DataObject
) -> None:
    root = parsed(data.draw(wild))
    for element in (root, *root.findall("testsuite")):
        assert claimed(element) == counted(element)
    total = sum(float(suite.get("time")) for suite in root.findall("testsuite"))
    assert float(root.get("time")) == pytest.approx(total, abs=0.01)


@settings(max_examples=35, deadline=None)
@given(data=st.data())
def test_it_says_of_a_drill_what_its_exit_code_says(
    honest: st.SearchStrategy[DrillRecord], data: st.DataObject
) -> None:
    record = data.draw(honest)
    numbers = claimed(parsed(record))
    code = exit_code(record)
    if code == 1:
        assert numbers["failures"]
    elif code in (2, 4):
        assert numbers["errors"]
        assert not any(one.status == "failed" for one in record.scenarios)
    elif code == 3:
        assert numbers["failures"] or numbers["skipped"]
        assert not numbers["errors"]
    else:
        assert (numbers["failures"], numbers["errors"]) == (0, 0)


def test_a_foreign_parser_reads_the_same_counts(drill: DrillRecord, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(junit(drill))
    read = junitparser.JUnitXml.fromfile(str(path))
    ours = claimed(etree.parse(str(path)).getroot())
    assert (read.tests, read.failures, read.errors, read.skipped) == tuple(ours.values())
    before = {
        name: (s.tests, s.failures, s.errors, s.skipped) for s in read if (name := s.name)
    }
    read.update_statistics()  # the parser counts by itself
    assert (read.tests, read.failures, read.errors, read.skipped) == tuple(ours.values())
    assert before == {s.name: (s.tests, s.failures, s.errors, s.skipped) for s in read}
    assert ours == {"tests": 17, "failures": 3, "errors": 1, "skipped": 1}


def cases_by_name(record: DrillRecord) -> dict[tuple[str, str], Any]:
    return {
        (suite.get("name"), case.get("name")): case
        for suite in parsed(record)
        for case in suite.findall("testcase")
    }


def test_what_a_failing_run_tells(drill: DrillRecord) -> None:
    case = cases_by_name(drill)["stale", "seed 2"]
    assert case.get("classname") == "nightly.stale"
    failure = case.find("failure")
    assert failure.get("type") == "stale-read"
    assert failure.get("message").startswith(
        "expected valid, got INVALID: a stale read of key 3"
    )
    out = case.find("system-out").text
    assert "again:  splitbrain run register --on sim --seed 2" in out
    assert (
        "report: store/drills/nightly/20260101T000000.000/runs/register/2026-2/report.html"
        in out
    )
    suite = case.getparent()
    facts = {p.get("name"): p.get("value") for p in suite.find("properties")}
    assert facts["substrate"] == "sim"
    assert facts["nemesis"] == "partition"
    assert {p.get("name"): p.get("value") for p in case.find("properties")} == {"seed": "2"}


def test_outcomes_that_are_not_failures_of_a_verdict(drill: DrillRecord) -> None:
    cases = cases_by_name(drill)
    assert cases["slow", "seed 3"].find("failure").get("type") == "figure"
    assert cases["stuck", "seed 1"].find("failure").get("type") == "no-progress"
    assert cases["broken", "seed 1"].find("error").get("type") == "HostError"
    late = cases["late", "seeds left out"].find("skipped")
    assert late.get("message") == "deadline: 5 of 5 seeds were not run"
    assert not [name for name, _ in cases if name == "elsewhere"]
    assert len(cases["found by some", "seed 1"].findall("failure")) == 0


def test_a_drill_that_only_warns_of_unknown_skips_it(drill: DrillRecord) -> None:
    stuck = cases_by_name(msgspec.structs.replace(drill, unknown_fails=False))[
        "stuck", "seed 1"
    ]
    assert stuck.find("skipped").get("message") == "no-progress: UNKNOWN: no progress."


def test_a_scenario_that_is_worse_than_its_runs_has_a_case_of_its_own(
    drill: DrillRecord, make_scenario: Callable[..., Any], make_run: Callable[..., Any]
) -> None:
    other = make_run(1, "invalid", kinds=("lost-write",))
    scenario = make_scenario("found", other, expect="invalid", status="failed")
    case = cases_by_name(msgspec.structs.replace(drill, scenarios=(scenario,)))[
        "found", "the scenario as a whole"
    ]
    assert "lost-write" in case.find("failure").get("message")


def test_a_seed_that_misses_a_bug_decides_nothing_alone(
    drill: DrillRecord, make_scenario: Callable[..., Any], make_run: Callable[..., Any]
) -> None:
    runs = [make_run(1), make_run(2, "unknown", reason="budget"), make_run(3, "invalid")]
    scenario = make_scenario("by two of three", *runs, expect="invalid", status="unknown")
    root = parsed(msgspec.structs.replace(drill, scenarios=(scenario,), unknown_fails=False))
    assert claimed(root) == {"tests": 3, "failures": 0, "errors": 0, "skipped": 1}


def test_a_seed_that_ran_twice_has_two_names(
    drill: DrillRecord, make_scenario: Callable[..., Any], make_run: Callable[..., Any]
) -> None:
    scenario = make_scenario("twice", make_run(1), make_run(1))
    cases = cases_by_name(msgspec.structs.replace(drill, scenarios=(scenario,)))
    assert [name for _, name in cases] == ["seed 1", "seed 1 (2)"]


def test_control_characters_are_shown(
    drill: DrillRecord, make_scenario: Callable[..., Any], make_run: Callable[..., Any]
) -> None:
    run = make_run(1, "invalid", sentence="INVALID: \x00\x1b \ud800 </failure> ]]> .")
    scenario = make_scenario("harm", run, status="failed")
    case = cases_by_name(msgspec.structs.replace(drill, scenarios=(scenario,)))[
        "harm", "seed 1"
    ]
    assert "INVALID: ␀␛ ⟨U+D800⟩ </failure> ]]> ." in case.find("failure").text
