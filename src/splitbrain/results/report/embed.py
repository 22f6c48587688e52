"""Every operation of the run inside the page, small: for search, links and zooming in.

Operations are written as columns (numbers as differences to the one before, texts as positions in a
table), then as JSON, gzip and base64: some 12 bytes an operation.  Browsers unpack it themselves.
Beyond ``LIMIT`` operations the page keeps all of those near an anomaly and an even share of the rest,
and says so.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from splitbrain.results.report.intervals import Interval
from splitbrain.results.text import key_text, shorten, value_text

__all__ = ["LIMIT", "choose", "pack", "script_json"]

LIMIT = 200_000
"""Most operations that a page holds; 100,000 take about 1.5 MB."""

_TEXT_BUDGET = 12_000_000
"""Characters of values in a page, before compression; long values are cut to keep to it."""

_OUTCOMES = {"ok": 0, "fail": 1, "info": 2}
_ABSENT = -1


def script_json(value: Any) -> Markup:
    r"""JSON that may stand in a ``<script>`` element: no ``<``, ``>``, ``&`` and ASCII alone.

    >>> print(script_json({"a": "</script><!-- \u2028"}))
    {"a":"\u003c/script\u003e\u003c!-- \u2028"}
    """
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=repr)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped just above


def choose(
    intervals: Sequence[Interval], near: Iterable[int], limit: int = LIMIT
) -> list[Interval]:
    """All intervals, or ``limit`` of them: those around the positions ``near``, then every k-th."""
    total = len(intervals)
    if total <= limit:
        return list(intervals)
    kept: set[int] = set()
    around = 1_000
    for position in near:
        if len(kept) > limit // 2:
            break
        kept.update(range(max(0, position - around), min(total, position + around)))
    step = -(-total // max(1, limit - len(kept)))
    kept.update(range(0, total, step))
    return [intervals[position] for position in sorted(kept)]


class _Texts:
    """Interned texts; small numbers and common words are asked for again and again."""

    def __init__(self, length_max: int) -> None:
        self.table: list[str] = []
        self._places: dict[str, int] = {}
        self._known: dict[Any, int] = {}
        self._length_max = length_max

    def text(self, text: str) -> int:
        text = shorten(text, self._length_max)
        place = self._places.get(text)
        if place is None:
            place = self._places[text] = len(self.table)
            self.table.append(text)
        return place

    def value(self, value: Any) -> int:
        """Position of a value's JSON text; ``_ABSENT`` for None."""
        if value is None:
            return _ABSENT
        # Keyed by type too: True == 1 and 1 == 1.0, but they do not look alike.
        simple = (type(value), value) if isinstance(value, int | str) else None
        if simple is None:
            return self.text(value_text(value))
        place = self._known.get(simple)
        if place is None:
            place = self._known[simple] = self.text(value_text(value))
        return place

    def name(self, name: Any) -> int:
        """Position of a name (key, node, function), which is shown without quotes."""
        return _ABSENT if name is None else self.text(key_text(name))


def _deltas(numbers: Iterable[int]) -> list[int]:
    out, last = [], 0
    for number in numbers:
        out.append(number - last)
        last = number
    return out


def pack(intervals: Sequence[Interval], workers: dict[int, int]) -> str:
    """Columns of ``intervals`` as base64 text of gzipped JSON; ``workers`` maps process to row."""
    texts = _Texts(max(80, min(4_000, _TEXT_BUDGET // max(1, len(intervals)))))
    ends = [interval.end for interval in intervals]
    begins = [interval.begin for interval in intervals]
    columns = {
        "i": _deltas(op.index for op in begins),
        "e": [
            end.index - op.index if end is not None else 0
            for op, end in zip(begins, ends, strict=True)
        ],
        "t": _deltas(op.time_ns // 1_000 for op in begins),
        "d": [
            (end.time_ns - op.time_ns) // 1_000 if end is not None else _ABSENT
            for op, end in zip(begins, ends, strict=True)
        ],
        "p": [op.process for op in begins],
        "w": [workers.get(op.process, 0) for op in begins],
        "o": [_OUTCOMES[interval.outcome] for interval in intervals],
        "f": [texts.name(op.f) for op in begins],
        "k": [texts.name(interval.key) for interval in intervals],
        "a": [texts.value(op.value) for op in begins],
        "r": [texts.value(end.value) if end is not None else _ABSENT for end in ends],
        "n": [texts.name(interval.node) for interval in intervals],
        "x": [texts.name(end.error) if end is not None else _ABSENT for end in ends],
        "g": [texts.value(end.ext) if end is not None else _ABSENT for end in ends],
    }
    document = json.dumps({"texts": texts.table, **columns}, separators=(",", ":"))
    packed = gzip.compress(document.encode(), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()
