"""Where a drill lies: a directory of its own, however many drills begin at once.

store/drills/<name>/<time>/          index.html, drill.json, junit.xml
store/drills/<name>/<time>/runs/     its run directories, as in any store
store/drills/<name>/latest           the newest
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from splitbrain.errors import HostError

__all__ = ["create_drill"]

_ATTEMPTS = 1000


def create_drill(store: Path, name: str) -> Path:
    """Make a fresh directory that no other drill shares, and point ``latest`` at it.

    Raises:
        HostError: no permission, a full disk, or something in the way.
    """
    parent = store / "drills" / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        directory = _fresh(parent)
        (directory / "runs").mkdir()
        _point_latest(parent, directory.name)
    except OSError as error:
        raise HostError(
            f"cannot make a drill's directory below {store}: {error.strerror}; "
            "give another place with --store DIR"
        ) from error
    return directory


def _fresh(parent: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    for attempt in range(_ATTEMPTS):
        directory = parent / (f"{stamp}-{attempt}" if attempt else stamp)
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            return directory
    raise HostError(f"{parent} holds {_ATTEMPTS} drills of the same millisecond")


def _point_latest(parent: Path, name: str) -> None:
    """Replace the link in one step: two drills at once leave one of the two."""
    fresh = parent / f".latest-{os.getpid()}-{name}"
    fresh.symlink_to(name)
    fresh.replace(parent / "latest")
