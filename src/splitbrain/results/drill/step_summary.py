"""GitHub's step summary: a file that every tool of a step appends to, and in which we keep a section.

A drill writes after each scenario, so that its section is replaced, not repeated; what others wrote
before and after it stays.  The section stands between two comments that carry the drill's id, so
that two drills in one step have one each.

Unlike the other outputs the file is written in place and not by a rename: a shell that has it open
to append (``... | tee -a "$GITHUB_STEP_SUMMARY"``) would go on writing into the file that the rename
had removed.  Writers of ours take turns by a lock; the runner reads the file when the step is over.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from splitbrain.errors import HostError
from splitbrain.results.drill.record import DrillRecord
from splitbrain.results.drill.summary import LIMIT_BYTES, summary

__all__ = ["place_section", "write_step_summary"]


def write_step_summary(record: DrillRecord, path: Path) -> None:
    """Put the drill's section into the file, in place of its earlier one.

    Raises:
        HostError: the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = place_section(file.read(), record)
            _write_all(file.fileno(), content)
            file.truncate(len(content))
    except OSError as error:
        raise HostError(f"cannot write the step summary {path}: {error.strerror}") from error


def place_section(content: bytes, record: DrillRecord, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """``content`` with the record's section in it; the section is shortened to keep the limit.

    Where others have left no room, the section is left out.
    """
    begin, end = _marks(record)
    before, own, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if own and not closed:
        after = b""  # a writer was killed half-way: what follows its beginning is its own
    if before and not before.endswith(b"\n"):
        before += b"\n"
    around = len(before) + len(begin) + len(end) + len(after) + 2
    text = summary(record, max(limit_bytes - around, 0)).encode()
    if not text:
        return before + after
    return b"".join([before, begin, b"\n", text, end, after or b"\n"])


def _marks(record: DrillRecord) -> tuple[bytes, bytes]:
    """The comments around a drill's section; a hash, for a name might close the comment."""
    where = str(Path(record.directory).absolute()) if record.directory else ""
    told = f"{record.name}\0{where}\0{record.started}"
    name = hashlib.sha256(told.encode(errors="replace")).hexdigest()[:16]
    return (
        f"<!-- splitbrain drill {name} -->".encode(),
        f"<!-- end of drill {name} -->".encode(),
    )


def _write_all(descriptor: int, data: bytes) -> None:
    offset = 0
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
