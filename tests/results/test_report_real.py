"""Reports of real runs, opened as their reader opens them: cards, brush, rows, search, links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain import catalog as names
from splitbrain.commands.run import Finished, run_spec
from splitbrain.contracts.spec import TestSpec

from .browser import NEEDS_CHROMIUM, Visit, launched, until

pytestmark = NEEDS_CHROMIUM

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "valid": ("valid", {"nemesis": ("partition", "kill"), "seed": 2, "time_limit_s": 20.0}),
    "stale-read": (
        "invalid",
        {
            "nemesis": ("partition",),
            "bugs": ("local-leader-read",),
            "options": {"op-timeout": 0.5, "read-share": 0.7},
            "seed": 3,
        },
    ),
    "lost-write": (
        "invalid",
        {"nemesis": ("partition",), "bugs": ("ack-on-append",), "seed": 1},
    ),
    # The last heal is so near the end that no worker has a success in the time allowed.
    "no-progress": (
        "unknown",
        {
            "nemesis": ("kill",),
            "seed": 2,
            "time_limit_s": 20.0,
            "options": {"recovery-seconds": 0.0},
        },
    ),
    # A system from outside, whose replicas never hear again of what a partition swallowed.
    "divergence": (
        "invalid",
        {
            "system": "drifting",
            "load": (str(Path(__file__).with_name("drifting.py")),),
            "nemesis": ("partition",),
            "options": {"promise": "eventual"},
            "seed": 1,
            "time_limit_s": 20.0,
        },
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """Runs in simulation."""
    store, made = tmp_path_factory.mktemp("store"), {}
    for name, (verdict, fields) in RUNS.items():
        spec = TestSpec(workload="register", substrate="sim", **fields)
        made[name] = run_spec(spec, names.load(spec.load, names.builtin()), store)
        assert made[name].verdict == verdict, made[name].sentence
    return made


@pytest.fixture(scope="module")
def chromium(finished: dict[str, Finished]) -> Iterator[Any]:
    """After the runs: a simulation suffers no other event loop in its thread."""
    yield from launched()


@pytest.fixture
def opened(chromium: Any, finished: dict[str, Finished]) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def open_page(name: str, address: str = "", **options: Any) -> Visit:
        context = chromium.new_context(viewport={"width": 1280, "height": 1000}, **options)
        contexts.append(context)
        return Visit(context.new_page(), finished[name].report.as_uri() + address)

    yield open_page
    for context in contexts:
        context.close()


def clean(seen: Visit) -> None:
    """Nothing was complained of, and no request left the page."""
    assert seen.trouble == []
    assert [url for url in seen.requests if not url.startswith("file:")] == []


def hits(page: Any) -> int:
    """How many operations the list tells of: "1-50 of 180 in this stretch (1,347 in all)"."""
    told = page.locator("#hits").inner_text().split(" in this stretch")[0]
    return int(told.split(" of ")[-1].replace(",", ""))


@pytest.mark.parametrize("name", RUNS)
def test_the_verdict_stands_first(opened: Callable[..., Visit], name: str) -> None:
    for scheme in ("light", "dark"):
        seen = opened(name, color_scheme=scheme)
        page = seen.ready()
        assert page.locator(".verdict, main").first.inner_text()
        assert RUNS[name][0].upper() in page.locator("body").inner_text()[:1500]
        clean(seen)


def test_a_card_leads_into_the_timeline(opened: Callable[..., Visit]) -> None:
    seen = opened("stale-read")
    page = seen.ready()
    card = page.locator("#anomaly-1")
    assert "stale read" in card.inner_text().lower()
    card.locator("button[data-show]").click()
    until(page, lambda: "#t=" in page.url)
    assert " to " in page.locator("#range").inner_text()
    clean(seen)


def test_replicas_that_never_agree_are_shown_side_by_side(
    opened: Callable[..., Visit], finished: dict[str, Finished]
) -> None:
    seen = opened("divergence")
    page = seen.ready()
    card = page.locator("#anomaly-1")
    text = card.inner_text()
    assert "divergence" in text.lower()
    found = finished["divergence"].result.checkers["convergence"].anomalies[0]
    for index in found.ops:
        assert str(index) in text
    assert "What each node answered last" in text
    card.locator("button[data-show]").click()
    until(page, lambda: "#t=" in page.url)
    clean(seen)


def test_a_brush_filters_the_list_and_stands_in_the_address(
    opened: Callable[..., Visit],
) -> None:
    seen = opened("valid")
    page = seen.ready()
    until(page, lambda: page.locator("#hits").inner_text() != "")
    whole = hits(page)
    page.locator("#strip-rate .plot").scroll_into_view_if_needed()
    box = page.locator("#strip-rate .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=4)
    page.mouse.up()
    until(page, lambda: "#t=" in page.url)
    until(page, lambda: hits(page) < whole)
    part, address = hits(page), page.url
    assert 0 < part < whole / 2
    assert "In this stretch" in page.locator("#figures").inner_text()

    again = opened("valid", "#" + address.split("#")[1])
    until(again.ready(), lambda: hits(again.page) == part)

    page.keyboard.press("Escape")
    until(page, lambda: hits(page) == whole)
    assert "#t=" not in page.url
    clean(seen)
    clean(again)


def test_rows_by_node_and_by_key(opened: Callable[..., Visit]) -> None:
    seen = opened("valid")
    page = seen.ready()
    for rows, words in (("n", "by node"), ("k", "by key"), ("w", "by worker")):
        button = page.locator(f"button[data-rows={rows}]")
        assert button.inner_text() == words
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        drawn = page.locator("#strip-timeline canvas[aria-label]")
        until(page, lambda drawn=drawn, words=words: words in drawn.get_attribute("aria-label"))
    clean(seen)


def test_search_and_filters_narrow_the_list(opened: Callable[..., Visit]) -> None:
    seen = opened("valid")
    page = seen.ready()
    until(page, lambda: page.locator("#hits").inner_text() != "")
    whole = hits(page)
    page.locator("#filter-f").select_option("write")
    until(page, lambda: hits(page) < whole)
    writes = hits(page)
    page.locator("#filter-outcome").select_option("info")
    until(page, lambda: hits(page) < writes)
    page.locator("#clear").click()
    until(page, lambda: hits(page) == whole)
    page.locator("#filter-key").fill("3")
    until(page, lambda: hits(page) < whole)
    keys = page.locator("#results tbody tr td:nth-child(7)").all_inner_texts()
    assert set(keys) == {"3"}
    clean(seen)


def test_keys_step_through_the_anomalies(opened: Callable[..., Visit]) -> None:
    seen = opened("lost-write")
    page = seen.ready()
    page.keyboard.press("n")
    until(page, lambda: page.locator("#standing").inner_text().startswith("anomaly 1 of"))
    assert "op=" in page.url or page.locator("#detail").is_visible()
    page.keyboard.press("p")
    until(page, lambda: page.locator("#standing").inner_text().startswith("anomaly "))
    clean(seen)


def test_a_deep_link_opens_its_operation(
    opened: Callable[..., Visit], finished: dict[str, Finished]
) -> None:
    result = finished["lost-write"].result
    found = [a for part in result.checkers.values() for a in part.anomalies]
    index = found[0].ops[0]
    seen = opened("lost-write", f"#op={index}")
    page = seen.ready()
    until(page, lambda: page.locator("#detail").is_visible())
    assert f"#{index}" in page.locator("#detail").inner_text()
    clean(seen)


def test_unknown_says_what_was_missing(opened: Callable[..., Visit]) -> None:
    seen = opened("no-progress")
    text = seen.ready().locator("main").inner_text()
    assert "no-progress" in text
    assert "after the last heal no operation of worker" in text
    clean(seen)


def test_without_javascript_the_reasons_are_read(
    opened: Callable[..., Visit], finished: dict[str, Finished]
) -> None:
    seen = opened("stale-read", java_script_enabled=False)
    text = seen.page.locator("body").inner_text()
    found = [
        a for part in finished["stale-read"].result.checkers.values() for a in part.anomalies
    ]
    assert found[0].explanation[:60] in text
    assert seen.page.locator("#strip-timeline svg").is_visible()


def test_the_page_is_small(finished: dict[str, Finished]) -> None:
    sizes = {name: Path(finished[name].report).stat().st_size for name in RUNS}
    assert max(sizes.values()) < 1_500_000, sizes
