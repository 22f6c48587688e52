"""A node's log as a file of this machine: its end, and its size."""

from __future__ import annotations

from pathlib import Path

__all__ = ["size_of", "tail"]

_BYTES = 1 << 16


def size_of(path: str) -> int:
    """Its size in bytes; 0 where there is none."""
    file = Path(path)
    return file.stat().st_size if file.exists() else 0


def tail(path: str, lines: int, since: int = 0) -> tuple[str, ...]:
    """The last lines that were written after the byte ``since``; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, 2)
            file.seek(max(since, end - _BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])
