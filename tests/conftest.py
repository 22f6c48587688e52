"""Options of the whole suite."""

from __future__ import annotations

import contextlib

import pytest

from splitbrain.errors import SplitbrainError


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="rewrite golden files with what was got; read the difference before committing it",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the image of nodes once, before any test's time runs, if tests in containers come.

    Workers of one session wait for each other at the build's lock.  What is missing is told by the
    tests themselves, when they skip.
    """
    if session.config.option.collectonly or not any(
        item.get_closest_marker("docker") for item in session.items
    ):
        return
    from splitbrain.substrates.docker import image

    with contextlib.suppress(SplitbrainError), contextlib.closing(image.connect()) as client:
        image.ensure(client)
