r"""Where in a TOML file each key stands: ``tomllib`` gives values, and no lines.

The text has been read by ``tomllib`` before, so it is well-formed, and a small scan is enough: it
knows strings (also those over many lines), comments, brackets and headers, and nothing of values.

    >>> where = line_index('name = "x"\n\n[[scenario]]\nseeds = [\n  1,\n]\non = "sim"\n')
    >>> where[("scenario", 0)], where[("scenario", 0, "seeds")], where[("scenario", 0, "on")]
    (3, 4, 7)
    >>> line_of(where, ("scenario", 0, "workload"))  # not written: its scenario's header
    3
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

__all__ = ["TomlPath", "line_index", "line_of"]

TomlPath = tuple[str | int, ...]
"""Keys and, within arrays of tables, numbers from 0."""

_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
  | (?P<long>\"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5})
  | (?P<text>\"(?:\\.|[^\"\\\n])*\" | '[^'\n]*')
  | (?P<newline>\n)
  | (?P<open>[\[{])
  | (?P<close>[\]}])
  | (?P<equals>=)
  | (?P<bare>[A-Za-z0-9_-]+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def line_index(text: str) -> dict[TomlPath, int]:
    """The line, from 1, of each header and of each key."""
    scan = _Scan()
    line = 1
    for match in _TOKEN.finditer(text):
        scan.token(match.lastgroup or "other", match.group(), line)
        line += match.group().count("\n")
    scan.token("newline", "\n", line)
    return scan.lines


def line_of(lines: Mapping[TomlPath, int], path: TomlPath) -> int:
    """The line of a path, or of the nearest thing around it that is written; 1 if none is."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


class _Scan:
    """One statement after the other: a header, or a key, ``=`` and a value that is passed over."""

    def __init__(self) -> None:
        self.lines: dict[TomlPath, int] = {}
        self._table: TomlPath = ()
        self._arrays: dict[TomlPath, int] = {}
        self._begin()

    def _begin(self) -> None:
        self._parts: list[str] = []
        self._opened = 0
        self._depth = 0
        self._in_value = False
        self._line = 0

    def token(self, kind: str, word: str, line: int) -> None:
        """Take one token."""
        if self._in_value:
            self._depth += (kind == "open") - (kind == "close")
            if kind == "newline" and self._depth <= 0:
                self._begin()
        elif kind == "newline":
            if self._opened and self._parts:
                self._header()
            self._begin()
        elif kind == "open":
            self._opened += 1
        elif kind in ("bare", "text"):
            self._line = self._line or line
            self._parts.append(tomllib.loads(f"x={word}")["x"] if kind == "text" else word)
        elif kind == "equals":
            self.lines.setdefault((*self._table, *self._parts), self._line)
            self._in_value = True

    def _header(self) -> None:
        *around, last = self._parts
        path = (*self._inside(around), last)
        if self._opened > 1:
            self._arrays[path] = self._arrays.get(path, -1) + 1
            self.lines.setdefault(path, self._line)
        self._table = self._inside([*around, last])
        self.lines.setdefault(self._table, self._line)

    def _inside(self, parts: list[str]) -> TomlPath:
        """The path of a header's words: within an array of tables its last one is meant."""
        path: TomlPath = ()
        for part in parts:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path
