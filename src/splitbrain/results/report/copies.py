"""An anomaly's operations to be carried away: as JSON lines and as Jepsen's EDN.

What is hidden or turns the writing direction is escaped, so that what is pasted is what was recorded,
and no character of it can do anything to the page or the terminal.  Values too long for a copy are
shortened as everywhere on a page; last lines name the operations of which that is true, and how many
are missing.

    >>> op = Op(index=3, time_ns=12, process=0, type="ok", f="read", key="x", value=3)
    >>> print(edn_lines([op]))
    {:index 3, :time 12, :type :ok, :process 0, :f :read, :value ["x" 3], :independent true}
    >>> print(edn_lines([op] * 3, room=100).splitlines()[-1])
    ; 2 more operations are too long for a copy: see history.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import msgspec
from markupsafe import Markup

from splitbrain.history.edn_ops import unmarked
from splitbrain.history.edn_write import line_of_op
from splitbrain.history.op import Op
from splitbrain.results.report.brief import brief_op
from splitbrain.results.report.embed import script_json
from splitbrain.results.text import count, plural, visible

__all__ = ["TEXT_MAX", "edn_lines", "json_lines", "json_script", "where"]

TEXT_MAX = 60_000
"""Characters of one copy; operations that would go beyond are counted in its last line."""

VALUE_MAX = 20_000
"""Room of one operation's value in a copy."""

_NAMED_MAX = 12


def where(indexes: Sequence[int]) -> str:
    """Where those events stand whole: ``history.jsonl, lines 5 and 9``; a line holds an event."""
    lines = [count(index + 1) for index in dict.fromkeys(indexes)]
    more = len(lines) - _NAMED_MAX
    named = lines if more <= 0 else [*lines[:_NAMED_MAX], f"{count(more)} more"]
    told = ", ".join(named[:-1]) + (" and " if named[1:] else "") + named[-1]
    return f"history.jsonl, {'line' if len(lines) == 1 else 'lines'} {told}"


def json_lines(ops: Sequence[Op], room: int = TEXT_MAX, value: int = VALUE_MAX) -> str:
    """One JSON object a line, as in history.jsonl; of each value at most ``value`` bytes."""
    return "\n".join(_bounded(ops, _json_line, "#", room, value))


def edn_lines(ops: Sequence[Op], room: int = TEXT_MAX, value: int = VALUE_MAX) -> str:
    """One EDN map a line, as ``history.edn_write`` has it; of each value at most ``value`` bytes."""
    return "\n".join(
        _bounded(ops, lambda op: _shown(line_of_op(op)), ";", room, value),
    )


def json_script(ops: Sequence[Op], room: int = TEXT_MAX, value: int = VALUE_MAX) -> Markup:
    """The operations of ``json_lines`` as an array for a ``<script>`` element."""
    lines = _bounded(ops, _json_line, "#", room, value)
    whole = [json.loads(line) for line in lines if not line.startswith("#")]
    notes = [{"note": line[2:]} for line in lines if line.startswith("#")]
    return script_json(whole + notes)


def _json_line(op: Op) -> str:
    return json.dumps(
        msgspec.to_builtins(op, enc_hook=repr), separators=(",", ":"), default=repr
    )


def _bounded(
    ops: Sequence[Op], line_of: Callable[[Op], str], comment: str, room: int, value: int
) -> list[str]:
    kept: list[str] = []
    shortened: list[int] = []
    for op in ops:
        shown = brief_op(op, value)
        # What tells of an op as it was is not true of a shortened one.
        line = line_of(op if shown is op else unmarked(shown))
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
        if shown is not op:
            shortened.append(op.index)
    rest = len(ops) - len(kept)
    if shortened:
        told = plural(len(shortened), "operation")
        kept.append(f"{comment} {told} shortened here, whole in {where(shortened)}")
    if rest:
        are = "operation is" if rest == 1 else "operations are"
        kept.append(f"{comment} {rest} more {are} too long for a copy: see history.jsonl")
    return kept


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
