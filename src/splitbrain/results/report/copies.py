"""An anomaly's operations to be carried away: as JSON lines, as Jepsen's EDN, and a card as text.

Copies are plain ASCII with everything else escaped, so that what is pasted is what was recorded, and no
character of it can do anything to the page or the terminal.

    >>> op = Op(index=3, time_ns=12, process=0, type="ok", f="read", key="x", value=3)
    >>> print(edn_lines([op]))
    {:index 3, :time 12, :process 0, :type :ok, :f :read, :value ["x" 3]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.text import shorten

__all__ = ["TEXT_MAX", "edn_lines", "json_lines"]

TEXT_MAX = 60_000
"""Characters of one copy; operations that would go beyond are named in its last line."""

_KEYWORD = re.compile(r"[A-Za-z*!_?$%&=<>+][A-Za-z0-9*!_?$%&=<>+.#'-]*\Z")


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
    """One EDN map a line; a key makes the value a pair, as ``jepsen.independent`` has it."""
    return _bounded((_edn(_fields(op)) for op in ops), ";")


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


class _Word(str):
    """A keyword."""


def _fields(op: Op) -> dict[_Word, Any]:
    value = op.value if op.key is None else [op.key, op.value]
    fields: dict[str, Any] = {"index": op.index}
    if op.time_ns >= 0:
        fields["time"] = op.time_ns
    fields["process"] = _Word("nemesis") if op.process == NEMESIS else op.process
    fields |= {"type": _Word(op.type), "f": _Word(op.f), "value": value}
    for name in ("node", "error", "ext"):
        if getattr(op, name) is not None:
            fields[name] = getattr(op, name)
    return {_Word(name): item for name, item in fields.items()}


def _edn(value: Any) -> str:
    """A JSON-able value as EDN; what EDN cannot say plainly becomes a string."""
    if isinstance(value, _Word):
        return f":{value}" if _KEYWORD.match(value) else _quoted(value)
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}" if -(1 << 63) <= value < 1 << 63 else f"{value}N"
    if isinstance(value, float):
        return {"inf": "##Inf", "-inf": "##-Inf", "nan": "##NaN"}.get(repr(value), repr(value))
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_edn(k)} {_edn(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_edn(item) for item in value) + "]"
    return _quoted(shorten(repr(value), 1_000))


def _quoted(text: str) -> str:
    """JSON's escapes are those of EDN, but for backspace and form feed: EDN numbers them."""
    quoted = json.dumps(text, ensure_ascii=True)
    return re.sub(
        r"\\(.)",
        lambda m: {"b": "\\u0008", "f": "\\u000c"}.get(m.group(1), m.group()),
        quoted,
    )
