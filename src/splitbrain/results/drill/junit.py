"""``junit.xml``: the form in which CI servers read tests; a pure function of the record.

One ``testsuite`` for each scenario, one ``testcase`` for each of its runs:

    <testsuites name="nightly" tests="2" failures="1" errors="0" skipped="0" time="9.710">
      <testsuite name="registers/sim" tests="2" failures="1" ...>
        <properties><property name="substrate" value="sim"/>...</properties>
        <testcase classname="nightly.registers/sim" name="seed 1" time="4.810">...</testcase>
        <testcase classname="nightly.registers/sim" name="seed 2" time="4.900">
          <failure message="expected valid, got INVALID: a stale read ..." type="stale-read">...

Why so: GitLab and Jenkins follow a test from run to run by its class and name, so that a seed which
fails is *new* the first night and *still failing* the next, and a scenario's name groups its seeds on
every server.  A test for each scenario would hide which seeds failed, and one suite for all would
give the servers that sum by suite nothing to sum.

- failure: not as expected, a figure not reached, or undecided (its ``type`` is the reason).  Undecided
  runs are skipped instead if the drill only warns of them, unless they were cut short;
- error: it could not be run or judged (exit code 2 or 4);
- skipped: left out, or not yet run; scenarios of other shards are not there at all, because servers
  that merge the shards' files would take the skipped one for the test.

What XML cannot hold (control characters, half surrogate pairs) is shown by visible marks.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Sequence

from splitbrain.results.drill.cases import Case, belongs, cases_of, report_of
from splitbrain.results.drill.record import DrillRecord, ScenarioRecord
from splitbrain.results.text import shorten, visible

__all__ = ["junit"]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_COUNTS = {"failure": "failures", "error": "errors", "skipped": "skipped"}
_MESSAGE_LENGTH = 1_000
"""Most characters of a message: it is an attribute, shown in lists; the text below it is whole."""


def junit(record: DrillRecord) -> bytes:
    """The file's content, with the runs made so far."""
    suites = [
        (scenario, cases_of(scenario)) for scenario in record.scenarios if belongs(scenario)
    ]
    root = ET.Element("testsuites", {"name": _text(record.name)})
    totals: Counter[str] = Counter()
    for scenario, cases in suites:
        counts = _counts(_outcome(case, record) for case in cases)
        totals.update(counts)
        root.append(_suite(record, scenario, cases, counts))
    seconds = sum(_took(cases) for _, cases in suites)
    root.attrib.update(_numbers(totals, seconds))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(
    record: DrillRecord,
    scenario: ScenarioRecord,
    cases: Sequence[Case],
    counts: Counter[str],
) -> ET.Element:
    suite = ET.Element("testsuite", {"name": _text(scenario.name)})
    suite.attrib.update(_numbers(counts, _took(cases)))
    if _MOMENT.fullmatch(record.started):
        suite.set("timestamp", record.started)
    facts = {
        "workload": scenario.workload,
        "system": scenario.system,
        "substrate": scenario.substrate,
        "nemesis": ",".join(scenario.nemesis) or "none",
        "bugs": ",".join(scenario.bugs),
        "expect": scenario.expect,
        "status": scenario.status,
        "file": f"{record.file}:{scenario.line}" if scenario.line else record.file,
        "shard": record.shard,
    }
    suite.append(_properties({name: value for name, value in facts.items() if value}))
    for case in cases:
        suite.append(_case(record, scenario, case))
    return suite


def _case(record: DrillRecord, scenario: ScenarioRecord, case: Case) -> ET.Element:
    element = ET.Element(
        "testcase",
        {
            "classname": _text(f"{record.name}.{scenario.name}"),
            "name": _text(case.name),
            "time": f"{_took([case]):.3f}",
        },
    )
    if case.run is not None:
        element.append(_properties({"seed": str(case.run.seed)}))
    outcome = _outcome(case, record)
    if outcome:
        element.append(_what(outcome, case))
    if case.run is not None:
        ET.SubElement(element, "system-out").text = _text(_told(record, case))
    return element


def _what(outcome: str, case: Case) -> ET.Element:
    """The element that says what went wrong."""
    message = shorten(_text(" ".join(case.message.split())), _MESSAGE_LENGTH)
    if outcome == "skipped":
        word = f"{case.kind}: " if case.status == "unknown" and case.kind else ""
        return ET.Element("skipped", {"message": _text(word) + message})
    element = ET.Element(outcome, {"message": message, "type": _text(case.kind)})
    element.text = _text(case.message)
    return element


def _outcome(case: Case, record: DrillRecord) -> str:
    """The element's name; empty for a case that passed."""
    if case.status == "unknown":
        cut_short = case.run is not None and case.run.reason == "unfinished"
        return "failure" if record.unknown_fails or cut_short else "skipped"
    return {"failed": "failure", "error": "error", "skipped": "skipped"}.get(case.status, "")


def _told(record: DrillRecord, case: Case) -> str:
    """What a person needs who sees nothing but this."""
    run = case.run
    assert run is not None
    report = report_of(record, run)
    lines = [run.sentence, *run.missed]
    lines += [f"{name}: {value:g}" for name, value in run.figures.items()]
    if run.repeated:
        lines.append("this seed failed before, and was run first")
    if run.again:
        lines.append(f"again:  {run.again}")
    if report:
        lines.append(f"report: {run.directory}/report.html")
    elif run.directory:
        lines.append(f"run:    {run.directory}")
    return "\n".join(lines)


def _properties(facts: dict[str, str]) -> ET.Element:
    element = ET.Element("properties")
    for name, value in facts.items():
        ET.SubElement(element, "property", {"name": name, "value": _text(value)})
    return element


def _counts(outcomes: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts["tests"] += 1
        if outcome:
            counts[_COUNTS[outcome]] += 1
    return counts


def _numbers(counts: Counter[str], seconds: float) -> dict[str, str]:
    names = ("tests", "failures", "errors", "skipped")
    return {**{name: str(counts[name]) for name in names}, "time": f"{seconds:.3f}"}


def _took(cases: Iterable[Case]) -> float:
    """Wall time in seconds; a clock that lied counts as nothing."""
    times = [case.run.seconds for case in cases if case.run is not None]
    return sum(time for time in times if math.isfinite(time) and time > 0)


def _text(text: str) -> str:
    """Only what XML 1.0 can hold."""
    return visible(text)
