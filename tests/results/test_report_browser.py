"""The page in a real browser: it works, sends nothing, and reads without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.results.report import ReportData, write_report
from splitbrain.results.report.intervals import intervals_of

from .browser import NEEDS_CHROMIUM, Visit, until

pytestmark = NEEDS_CHROMIUM

GetSample = Callable[[str], ReportData]


@pytest.fixture(scope="module")
def written(
    sample: GetSample, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The page of a sample, written once."""
    directory = tmp_path_factory.mktemp("pages")

    def path_of(name: str) -> Path:
        path = directory / f"{name}.html"
        return path if path.exists() else write_report(path, sample(name))

    return path_of


@pytest.fixture
def visit(chromium: Any, written: Callable[[str], Path]) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def open_page(name: str, *, hash_: str = "", **options: Any) -> Visit:
        path = written(name)
        context = chromium.new_context(viewport={"width": 1280, "height": 1000}, **options)
        contexts.append(context)
        return Visit(context.new_page(), path.as_uri() + hash_)

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize(
    "name", ["valid", "stale-read", "lost-write", "node-crash", "unknown", "empty"]
)
def test_it_opens_quietly_and_sends_nothing(visit: Callable[..., Visit], name: str) -> None:
    seen = visit(name)
    page = seen.ready() if name != "empty" else seen.page
    assert page.locator("h1 .word").inner_text() == name_to_word(name)
    assert page.locator("h1 .sentence").is_visible()
    page.wait_for_timeout(100)
    assert seen.trouble == []
    assert [
        url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))
    ] == []
    assert len([url for url in seen.requests if url.startswith("file:")]) == 1


def name_to_word(name: str) -> str:
    return {"valid": "VALID", "unknown": "UNKNOWN", "empty": "UNKNOWN"}.get(name, "INVALID")


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_in_both_schemes(
    visit: Callable[..., Visit], scheme: str, width: int
) -> None:
    page = visit("stale-read", color_scheme=scheme).ready()
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    brightness = [sum(int(part) for part in colour[4:-1].split(",")) for colour in (ink, paper)]
    assert (brightness[0] < brightness[1]) is (scheme == "light")


def test_an_operation_of_a_card_opens_its_detail(visit: Callable[..., Visit]) -> None:
    seen = visit("stale-read")
    page = seen.ready()
    assert page.locator("#detail").is_hidden()
    row = page.locator("#anomaly-1 tr.culprit")
    index = row.get_attribute("data-op")
    row.locator("td").nth(4).click()
    detail = page.locator("#detail")
    assert f"Operation #{index}" in detail.inner_text()
    assert "process" in detail.inner_text()
    assert "n4 was cut off from the others" in detail.inner_text()
    assert page.evaluate("location.hash") == f"#op={index}"
    page.keyboard.press("Escape")
    assert detail.is_hidden()
    assert page.evaluate("location.hash") == ""
    page.locator("#anomaly-1 .picture a.culprit").click()
    assert f"Operation #{index}" in detail.inner_text()
    assert seen.trouble == []


def test_search_finds_by_words_fields_and_index(visit: Callable[..., Visit]) -> None:
    page = visit("stale-read").ready()

    def found(query: str) -> tuple[int, str]:
        before = page.locator("#hits").inner_text()
        page.fill("#query", query)
        until(page, lambda: page.locator("#hits").inner_text() != before)
        text = page.locator("#hits").inner_text()
        return int(text.rsplit(" ", 1)[-1].replace(",", "")), page.locator(
            "#results tbody"
        ).inner_text()

    every = int(page.locator("#hits").inner_text().rsplit(" ", 1)[-1].replace(",", ""))
    number, rows = found("cas key:7")
    assert 0 < number < every
    assert all("\tcas\t7\t" in line for line in rows.splitlines())
    number, rows = found("process:1")
    assert all(line.split("\t")[3] == "1" for line in rows.splitlines())
    number, rows = found("#2835")
    assert (number, rows.split("\t")[0]) == (1, "2835\u20132837")
    assert found("no-such-thing")[0] == 0


def test_pages_of_the_search_result(visit: Callable[..., Visit]) -> None:
    page = visit("valid").ready()
    assert page.locator("#earlier").is_disabled()
    first = page.locator("#results tbody tr").first.get_attribute("data-op")
    page.click("#later")
    assert page.locator("#results tbody tr").first.get_attribute("data-op") != first
    assert page.locator("#hits").inner_text().startswith("51\u2013100 of ")
    page.click("#earlier")
    assert page.locator("#results tbody tr").first.get_attribute("data-op") == first


@pytest.mark.parametrize("index", [2835, 2837])  # invocation or completion: the same operation
def test_a_link_leads_to_an_operation(visit: Callable[..., Visit], index: int) -> None:
    seen = visit("stale-read", hash_=f"#op={index}")
    page = seen.ready()
    assert "Operation #2835" in page.locator("#detail").inner_text()
    until(page, lambda: page.locator("#range").inner_text() != "")
    page.evaluate("location.hash = '#op=0'")
    until(page, lambda: "Operation #0" in page.locator("#detail").inner_text())
    assert seen.trouble == []


def view_box(page: Any) -> tuple[float, ...]:
    page.wait_for_timeout(80)
    text = page.locator("#strip-rate svg").get_attribute("viewBox")
    return tuple(float(part) for part in text.split())


def test_all_charts_zoom_as_one(visit: Callable[..., Visit]) -> None:
    seen = visit("valid")
    page = seen.ready()
    whole = view_box(page)
    box = page.locator("#strip-rate .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30, steps=4)
    page.mouse.up()
    start, _, width, _ = view_box(page)
    assert start == pytest.approx(whole[2] * 0.25, rel=0.02)
    assert width == pytest.approx(whole[2] * 0.25, rel=0.02)
    starts = page.evaluate(
        "[...document.querySelectorAll('.strip:not(.axis) svg')]"
        ".map(svg => svg.getAttribute('viewBox').split(' ')[0])"
    )
    assert len(set(starts)) == 1
    assert " to " in page.locator("#range").inner_text()
    page.locator("#strips").focus()
    page.keyboard.press("+")
    assert view_box(page)[2] == pytest.approx(width / 2, rel=0.01)
    page.keyboard.press("ArrowRight")
    assert view_box(page)[0] > start
    page.keyboard.press("0")
    assert view_box(page) == whole
    assert page.locator("#range").inner_text() == ""
    assert seen.trouble == []


def test_zooming_in_draws_every_operation(
    visit: Callable[..., Visit], sample: GetSample
) -> None:
    page = visit("valid").ready()
    for _ in range(7):
        page.click("button[data-zoom=in]")
    start, _, width, _ = view_box(page)
    assert width < 500
    drawn = dict(
        part.split(":") for part in page.locator("canvas").get_attribute("data-drawn").split()
    )
    for outcome in ("ok", "fail"):
        inside = [
            i
            for i in intervals_of(sample("valid").history)
            if i.outcome == outcome
            and i.start_ns / 1e6 <= start + width
            and i.until_ns(0) / 1e6 >= start
        ]
        assert int(drawn[outcome]) == len(inside) > 3


def test_a_click_in_the_timeline_opens_what_lies_there(visit: Callable[..., Visit]) -> None:
    page = visit("stale-read", hash_="#op=2835").ready()
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    start, _, width, _ = view_box(page)
    box = page.locator("#strip-timeline .plot").bounding_box()
    page.locator("#strip-timeline").scroll_into_view_if_needed()
    box = page.locator("#strip-timeline .plot").bounding_box()
    at = 17_603 + 10  # inside the read, which took 28 ms
    x = box["x"] + (at - start) / width * box["width"]
    page.mouse.move(x, box["y"] + 8.5 * 14)
    page.wait_for_timeout(50)
    assert "#2835 process 18 read" in page.locator("#tip").inner_text()
    page.mouse.click(x, box["y"] + 8.5 * 14)
    assert "Operation #2835" in page.locator("#detail").inner_text()


def test_copy_and_save_the_evidence(visit: Callable[..., Visit], tmp_path: Path) -> None:
    seen = visit(
        "stale-read", accept_downloads=True, permissions=["clipboard-read", "clipboard-write"]
    )
    page = seen.ready()
    page.click("button[data-copy=command-1]")
    until(page, lambda: page.locator("[data-copy=command-1]").inner_text() == "Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("splitbrain run cas-")
    with page.expect_download() as waiting:
        page.click("#anomaly-1 button[data-save]")
    path = tmp_path / "saved.json"
    waiting.value.save_as(path)
    ops = json.loads(path.read_text())
    assert waiting.value.suggested_filename == "anomaly-1.json"
    assert {op["key"] for op in ops} == {"14"}
    assert seen.trouble == []


def test_it_reads_without_javascript(visit: Callable[..., Visit]) -> None:
    page = visit("stale-read", java_script_enabled=False).page
    assert page.locator("h1 .word").inner_text() == "INVALID"
    assert page.locator("#anomaly-1 .picture").is_visible()
    assert page.locator("#strip-timeline svg").is_visible()
    assert page.locator("#strip-timeline .segments.ok").get_attribute("d").startswith("M")
    assert page.locator("#strip-leaders .over").inner_text().count("term ") == 8
    assert page.locator("#faults table").first.is_visible()
    assert "Zoom and search need JavaScript" in page.locator("noscript").inner_text()
    for control in ("#query", ".toolbar", "button[data-copy]", "#results"):
        assert page.locator(control).first.is_hidden()


def test_everything_is_within_reach_of_the_keyboard(visit: Callable[..., Visit]) -> None:
    page = visit("stale-read").ready()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => e.id || e.dataset?.copy || e.dataset?.zoom || e.getAttribute('href'))"
                "(document.activeElement)"
            )
        )
    assert {
        "command-1",
        "#anomalies",
        "#op=2835",
        "lines-1",
        "in",
        "all",
        "strips",
        "query",
    } <= reached


def test_a_hostile_history_runs_nothing(chromium: Any, tmp_path: Path) -> None:
    from splitbrain.checkers.verdict import Anomaly, Result
    from splitbrain.history.history import History
    from splitbrain.history.op import Op

    evil = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
    history = History([
        Op(time_ns=0, process=0, type="invoke", f=evil, key=evil, value=evil, node=evil),
        Op(time_ns=9_000_000, process=0, type="ok", f=evil, key=evil, value=[evil], error=evil),
    ])  # fmt: skip
    anomaly = Anomaly(kind=evil, explanation=evil, ops=(0, 1), key=evil)
    data = ReportData(
        result=Result(verdict="invalid", summary=evil, anomalies=(anomaly,)), history=history
    )
    page = chromium.new_page()
    seen = Visit(page, write_report(tmp_path / "evil.html", data).as_uri() + "#op=0")
    seen.ready()
    assert "window.broken" in page.locator("#detail").inner_text()
    assert "window.broken" in page.locator("#results").inner_text()
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0
    assert seen.trouble == []
    page.close()
