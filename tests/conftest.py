"""Options of the whole suite."""

from __future__ import annotations

import contextlib
import os

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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove, and name, what this process's tests have left in an engine; by their own labels."""
    if not any(item.get_closest_marker("docker") for item in getattr(session, "items", ())):
        return
    from splitbrain.substrates.docker import image
    from splitbrain.substrates.docker.heal import remove_labelled
    from splitbrain.substrates.docker.names import RUN

    with contextlib.suppress(SplitbrainError), contextlib.closing(image.connect()) as client:
        volumes = client.volumes.list(filters={"label": RUN})
        labels = {it.attrs.get("Labels", {}).get(RUN, "") for it in volumes}
        labels |= {it.labels.get(RUN, "") for it in client.containers.list(all=True)}
        for label in sorted(labels):
            if label.startswith(f"test-{os.getpid()}-"):
                removed, left = remove_labelled(label)
                print(f"\nleft by a test: {', '.join((*removed, *left))}")
