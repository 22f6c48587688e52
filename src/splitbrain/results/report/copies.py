"""An anomaly's operations to be carried away: as JSON lines and as Jepsen's EDN.

What is hidden or turns the writing direction is escaped, so that what is pasted is what was recorded,
and no character of it can do anything to the page or the terminal.

    >>> op = Op(index=3, time_ns=12, process=0, type="ok", f="read", key="x", value=3)
    >>> print(edn_lines([op]))
    {:index 3, :time 12, :type :ok, :process 0, :f :read, :value ["x" 3], :independent true}
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from splitbrain.history.edn_write import line_of_op
from splitbrain.history.op import Op
from splitbrain.results.text import visible

__all__ = ["TEXT_MAX", "edn_lines", "json_lines"]

TEXT_MAX = 60_000
"""Characters of one copy; operations that would go beyond are named in its last line."""


def json_lines(ops: Iterable[Op]) -> str:
    """One JSON object a line, as in history.jsonl."""
    return _bounded(
        (
            json.dumps(
                msgspec.to_builtins(op, enc_hook=repr), separators=(",", ":"), default=repr
            )
            for op in ops
        ),
        "#",
    )


def edn_lines(ops: Iterable[Op]) -> str:
    """One EDN map a line, as ``history.edn_write`` has it."""
    return _bounded((_shown(line_of_op(op)) for op in ops), ";")


def _bounded(lines: Iterable[str], comment: str) -> str:
    kept: list[str] = []
    left, rest = TEXT_MAX, 0
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            rest += 1
        else:
            kept.append(line)
    if rest:
        kept.append(
            f"{comment} {rest} more operations are too long for a copy: see history.jsonl"
        )
    return "\n".join(kept)


def _shown(line: str) -> str:
    r"""An EDN line whose hidden characters, which stand in strings alone, are escaped.

    >>> _shown('{:value "a\u202eb"}')
    '{:value "a\\u202eb"}'
    """
    if visible(line) == line:
        return line
    return "".join(char if visible(char) == char else _escaped(char) for char in line)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
