"""Directories of our own in a shared place such as ``/tmp``, which can be removed without a doubt.

Control sockets need a short path, so they cannot lie in the run directory.  A directory for them is
made with mode 0700 under a name derived from the run's label, and marked inside with the label.
:func:`remove_private` removes only a real directory, ours by owner, that carries this very mark (or
nothing at all: the maker may have died before it wrote the mark).

Example::

    path = private_path("sockets", "run-7")        # decided first, so that it can be journaled
    make_private(path, "run-7")
    assert remove_private(path, "run-7")
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from splitbrain.errors import HostError

__all__ = ["MARK", "make_private", "private_path", "remove_private"]

MARK = ".splitbrain-run"
"""Name of the file that holds the label."""

_LONGEST = 60
"""Bytes of a parent's path that leave room for our name and a socket's in a unix address."""


def private_path(purpose: str, label: str) -> str:
    """Where the run's directory for ``purpose`` will lie; a function of both, and of the machine."""
    name = hashlib.sha256(f"{purpose}\0{label}".encode()).hexdigest()[:16]
    return str(Path(_parent()) / f"splitbrain-{name}")


def _parent() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for place in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - made 0700, exclusively
        if (
            place
            and len(os.fsencode(place)) <= _LONGEST
            and os.access(place, os.W_OK | os.X_OK)
        ):
            return place
    raise HostError("no writable directory with a short path: set TMPDIR to one, such as /tmp")


def make_private(path: str, label: str) -> None:
    """Make the directory, with mode 0700, and mark it.

    Raises:
        HostError: it exists already, or may not be made.
    """
    try:
        os.mkdir(path, mode=0o700)
        (Path(path) / MARK).write_text(label, encoding="utf-8")
    except OSError as error:
        raise HostError(
            f"cannot make the directory {path}: {error.strerror}; set TMPDIR to a writable place"
        ) from error


def remove_private(path: str, label: str) -> bool:
    """Remove the directory if it is the one that ``label`` made; True if it is gone now."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return True
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return False
    try:
        marked = (Path(path) / MARK).read_text(encoding="utf-8")
    except OSError:
        marked = "" if os.listdir(path) else label
    if marked == "" and os.listdir(path) == [MARK]:
        marked = label  # made, and not yet marked, when its maker died
    if marked != label:
        return False
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)
