"""The parts of a page that are not operations: bounded however many faults, checkers or lines."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from splitbrain.checkers.verdict import Result
from splitbrain.contracts.spec import ScheduledFault
from splitbrain.history.history import History
from splitbrain.history.op import Op
from splitbrain.results.report import ReportData, build_report, write_report
from splitbrain.results.report.frame import frame_of
from splitbrain.results.report.scatter import latency_strips, timeline_strip

from .browser import Visit

MS = 1_000_000
LONG = "y" * 100_000


def crowded_data() -> ReportData:
    """Few operations, and far too much of everything else."""
    pairs = [
        Op(time_ns=n * MS + part, process=n % 5, type="ok" if part else "invoke", f="read", key=n % 3)
        for n in range(200) for part in (0, 500)
    ]  # fmt: skip
    faults = [
        ScheduledFault(
            time_ns=n * 20_000, f=f"{'stop' if n % 2 else 'start'}-fault-{n // 2 % 30}",
            id=f"{n // 2}", targets=(f"node-{n}", LONG),
        )
        for n in range(6_000)
    ]  # fmt: skip
    checkers = {
        f"key-{n}": Result(
            verdict="invalid" if n == 2_999 else "valid", summary=f"key {n}: {LONG}",
            undecided=(LONG,) * 20, stats={f"s{m}": LONG for m in range(20)},
        )
        for n in range(3_000)
    }  # fmt: skip
    return ReportData(
        result=Result(verdict="invalid", summary=LONG, checkers=checkers),
        history=History(pairs),
        faults=faults,
        events=[
            {"time_ns": n * 9_000, "node": f"node-{n % 90}", "kind": "leader", "term": n}
            for n in range(20_000)
        ],
        log_tails={f"node-{n}": [f"{m} {LONG}" for m in range(50)] for n in range(50)},
        facts={
            "command": LONG,
            "host": {f"h{n}": LONG for n in range(900)},
            "more": [LONG] * 900,
        },
        legend={f"fault-{n}": LONG for n in range(30)},
    )


def test_whatever_is_left_out_is_counted() -> None:
    html = build_report(crowded_data())
    assert len(html.encode()) < 2_000_000
    assert "could not be" not in html
    assert "y" * 20_001 not in html
    for words in (
        "of 3,000</span>",
        "later applications left out of this page: all 3,000 are in history.jsonl",
        "the 600 longest are drawn",
        "more checkers left out of this page",
        "before them left out",
        "… (100,000 characters)",
    ):
        assert words in html
    table = html.split('class="checkers"')[1].split("</table>")[0]
    assert "key-2999<" in table, "a checker that says invalid is shown before those that do not"
    # 30 colours stand for 30 faults: each has its lane however few are drawn.
    assert html.split('id="strip-faults"')[1].count('title="fault-') == 30


def test_a_crowded_chart_takes_larger_cells_and_hides_no_failure() -> None:
    """Five functions and 64 workers, their latencies anywhere between 1 µs and 100 s."""
    rng = random.Random(6)
    events = []
    for n in range(60_000):
        start_ns = n * MS // 2
        base: dict[str, Any] = {"process": n, "f": f"f{n % 5}"}
        events.append(Op(time_ns=start_ns, type="invoke", **base))
        stop_ns = start_ns + int(10 ** rng.uniform(3, 11))
        failed = n in (7, 30_000, 59_998)
        events.append(Op(time_ns=stop_ns, type="fail" if failed else "ok", **base))
    frame = frame_of(History(sorted(events, key=lambda op: op.time_ns)))
    horizon_ns = frame.last_ns
    strips = latency_strips(frame, (), horizon_ns)
    assert len(strips) == 5
    assert sum(len(strip.svg) for strip in strips) < 1_000_000
    failures = [strip.svg.split('dots fail" d="')[1].split('"')[0] for strip in strips]
    assert sum(text.count("M") for text in failures) == 3
    workers = frame.workers(64, horizon_ns)
    suspects = range(0, 60_000, 2)
    timeline = timeline_strip(frame, workers, (), horizon_ns, suspects)
    assert timeline is not None
    assert len(timeline.svg) < 1_000_000
    assert timeline.svg.split('segments fail" d="')[1].split('"')[0].count("M") == 3
    marked = timeline.svg.split('suspects" d="')[1].split('"')[0]
    assert 0 < marked.count("M") <= 3_000


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 420])
def test_a_checker_s_name_stands_in_one_line(chromium: Any, tmp_path: Path, width: int) -> None:
    part = Result(verdict="valid", summary="every key has an order " * 40, kernel="zones")
    result = Result(
        verdict="valid", summary="", checkers={"linearizable": part, "availability": part}
    )
    path = write_report(tmp_path / "report.html", ReportData(result=result))
    context = chromium.new_context(viewport={"width": width, "height": 900})
    page = Visit(context.new_page(), path.as_uri()).page
    names = page.locator("table.checkers td.name")
    assert names.all_inner_texts() == ["linearizable", "availability"]
    for place in range(2):
        lines = names.nth(place).evaluate(
            "(cell) => { const range = document.createRange(); range.selectNodeContents(cell);"
            " return range.getClientRects().length; }"
        )
        assert lines == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
