"""A headless Chromium for tests that open a page, and what such a page should not have done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None
)

_REMEDY = "chromium is not installed: `apt-get install chromium` and run again"
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason=_REMEDY),
]


class Visit:
    """One opened page and everything that it should not have done."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.trouble: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)

    def ready(self) -> Any:
        self.page.wait_for_selector("html.ready", timeout=10_000)
        return self.page


def until(page: Any, done: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for ``done``: polled from here, for the page's own policy forbids evaluating text."""
    for _ in range(int(seconds / 0.02)):
        if done():
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"not within {seconds} s")


def launched() -> Iterator[Any]:
    """A browser, for a fixture to yield from; skips, with the remedy, where there is none."""
    if CHROMIUM is None:
        pytest.skip(_REMEDY)
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: `pip install -e .[dev]`"
    )
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
