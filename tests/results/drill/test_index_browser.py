"""The index page in a real browser: search, sort, filter; no request; readable without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain.results.drill.outputs import write_outputs
from splitbrain.results.drill.record import DrillRecord

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(
    chromium: Any, drill: DrillRecord, tmp_path: Path
) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    """Opens the page of a drill; the list gathers what the page should not have done."""
    contexts = []

    def open_page(
        record: DrillRecord = drill, anchor: str = "", **options: Any
    ) -> tuple[Any, list[str]]:
        write_outputs(record, tmp_path)
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page, trouble = context.new_page(), []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:"))
                else trouble.append(request.url)
            ),
        )
        page.goto((tmp_path / "index.html").as_uri() + anchor)
        return page, trouble

    yield open_page
    for context in contexts:
        context.close()


def shown(page: Any) -> list[str]:
    rows = page.locator("tbody.scenario:visible tr:first-child th")
    return [text.split("\n")[0] for text in rows.all_inner_texts()]


def test_search_sort_and_filter(visit: Callable[..., Any]) -> None:
    page, trouble = visit()
    page.wait_for_selector("html.ready")
    assert shown(page)[:4] == ["stale", "slow", "broken", "stuck"]
    page.keyboard.press("/")
    page.keyboard.type("seed 2 stale-read")
    assert shown(page) == ["stale"]  # where the seeded bug was found is no failure
    assert page.locator("#hits").inner_text() == "1 of 9"
    page.keyboard.press("Escape")
    assert len(shown(page)) == 9
    page.get_by_role("checkbox", name="passed").uncheck()
    assert shown(page) == ["stale", "slow", "broken", "stuck", "late"]
    page.get_by_role("checkbox", name="passed").check()
    page.get_by_role("button", name="scenario", exact=True).click()
    assert shown(page) == sorted(shown(page))
    lost = page.get_by_role("button", name="lost")
    lost.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text().strip() == "lost"
    assert shown(page)[0] == "stale"
    assert shown(page)[-2:] == ["broken", "late"]  # not measured: last both ways
    assert trouble == []


def test_copying_and_links(visit: Callable[..., Any]) -> None:
    page, trouble = visit()
    page.wait_for_selector("html.ready")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#scenario-4 li").first.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    page.locator("#query").focus()
    page.keyboard.press("Control+V")
    assert page.locator("#query").input_value() == "splitbrain run register --on sim --seed 2"
    page.locator("#query").fill("nothing like it")
    assert shown(page) == []
    page.locator("a.cell.unknown").click()  # from the matrix to its row, found or not
    assert shown(page) == ["stuck"]
    assert "UNKNOWN: no progress." in page.locator("#scenario-6 .message").inner_text()
    assert trouble == []


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_in_both_schemes(
    visit: Callable[..., Any], scheme: str, width: int
) -> None:
    page, _ = visit(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light = [sum(int(part) for part in colour[4:-1].split(",")) for colour in (ink, paper)]
    assert (light[0] < light[1]) is (scheme == "light")


def test_it_is_printed_dark_on_white_and_whole(visit: Callable[..., Any]) -> None:
    page, _ = visit(color_scheme="dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1040, "height": 700})  # A4 across, at 96 pixels an inch
    ink = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
    assert sum(int(part) for part in ink[4:-1].split(",")) < 200
    assert page.evaluate("document.documentElement.scrollWidth") <= 1040
    assert page.locator("#query").is_hidden()
    assert page.get_by_role("button", name="Copy").count() == 0


def test_without_javascript_it_is_a_plain_table(visit: Callable[..., Any]) -> None:
    page, _ = visit(java_script_enabled=False)
    assert len(shown(page)) == 9
    assert page.locator("#query").is_hidden()
    assert page.get_by_role("button", name="Copy").count() == 0
    stale = page.locator("#scenario-4")
    assert "expected valid, got INVALID: a stale read of key 3" in stale.inner_text()
    assert stale.get_by_role("link", name="report").first.get_attribute("href") == (
        "runs/register/2026-2/report.html"
    )
    folded = page.locator("#scenario-1 .message").first
    assert folded.is_hidden()
    page.locator("#scenario-1 summary").click()
    assert folded.is_visible()


def test_what_means_harm_is_text(
    visit: Callable[..., Any],
    drill: DrillRecord,
    make_scenario: Callable[..., Any],
    make_run: Callable[..., Any],
) -> None:
    harm = "<img src=x onerror=alert(1)><script>alert(2)</script>\x00\u202e\"'>"
    run = make_run(1, "invalid", sentence=harm, again=harm, reason=harm, kinds=(harm,))
    scenario = make_scenario(harm, run, status="failed", workload=harm, bugs=(harm,), why=harm)
    record = msgspec.structs.replace(
        drill, scenarios=(scenario, make_scenario(harm + "2")), name=harm, command=harm
    )
    page, trouble = visit(record)
    page.wait_for_selector("html.ready")
    assert "<script>alert(2)</script>␀⟨U+202E⟩" in page.locator(".message").first.inner_text()
    assert page.locator("img").count() == 0
    assert trouble == []
