"""The operations of a page, packed small: for search, links and zooming in.

Operations are written as columns (numbers as differences to the one before, texts as positions in a
table), then as JSON, gzip and base64: some 15 bytes an operation.  Browsers unpack it themselves.
Which operations these are in a large run, ``sample`` decides.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from splitbrain.results.report.brief import brief, cut
from splitbrain.results.report.frame import Frame
from splitbrain.results.report.sample import Sample
from splitbrain.results.text import key_text, value_text

__all__ = ["pack", "script_json"]

Ints = npt.NDArray[np.int64]

_TEXT_BUDGET = 6_000_000
"""Characters of values in a page, before compression; long values are cut to keep to it."""

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


class _Texts:
    """Interned texts; small numbers and common words are asked for again and again."""

    def __init__(self, length_max: int) -> None:
        self.table: list[str] = []
        self._places: dict[str, int] = {}
        self._known: dict[Any, int] = {}
        self._length_max = length_max

    def text(self, text: str) -> int:
        text = cut(text, self._length_max)
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
            return self.text(value_text(brief(value, self._length_max)))
        place = self._known.get(simple)
        if place is None:
            place = self.text(value_text(brief(value, self._length_max)))
            if not isinstance(value, str) or len(value) < self._length_max:
                self._known[simple] = place
        return place

    def name(self, name: Any) -> int:
        """Position of a name (key, node, function), which is shown without quotes."""
        return _ABSENT if name is None else self.text(key_text(name))

    def column(self, places: Ints, names: list[str]) -> list[int]:
        """Positions of a column whose numbers are places in ``names``."""
        used, inverse = np.unique(places, return_inverse=True)
        here = [self.text(names[at]) if at >= 0 else _ABSENT for at in used.tolist()]
        column: list[int] = np.asarray(here, np.int64)[inverse].tolist()
        return column


def _deltas(numbers: Ints) -> list[int]:
    out: list[int] = np.diff(numbers, prepend=0).tolist()
    return out


def pack(frame: Frame, sample: Sample, workers: Ints) -> str:
    """Columns of the sample's operations as base64 text of gzipped JSON.

    ``workers`` is the worker of each row of the frame.
    """
    rows = sample.rows
    length = max(80, min(4_000, _TEXT_BUDGET // max(1, 2 * len(rows))))
    texts = _Texts(length)
    pairs = [frame.events_of(row) for row in rows.tolist()]
    first = np.fromiter((begin.index for begin, _ in pairs), np.int64, len(rows))
    last = np.fromiter(
        (end.index if end is not None else begin.index for begin, end in pairs),
        np.int64,
        len(rows),
    )
    took = frame.took_ns[rows]
    columns = {
        "i": _deltas(first),
        "e": (last - first).tolist(),
        "t": _deltas(frame.start_ns[rows] // 1_000),
        "d": np.where(took >= 0, took // 1_000, _ABSENT).tolist(),
        "p": frame.process[rows].tolist(),
        "w": workers[rows].tolist(),
        "o": frame.outcome[rows].tolist(),
        "f": texts.column(frame.f[rows], frame.functions),
        "k": texts.column(frame.key[rows], frame.keys),
        "n": texts.column(frame.node[rows], frame.nodes),
        "a": [texts.value(begin.value) for begin, _ in pairs],
        "r": [texts.value(end.value) if end is not None else _ABSENT for _, end in pairs],
        "x": [texts.name(end.error) if end is not None else _ABSENT for _, end in pairs],
        "g": [texts.value(end.ext) if end is not None else _ABSENT for _, end in pairs],
        "s": sample.even.astype(np.int64).tolist(),
    }
    document = json.dumps({"texts": texts.table, **columns}, separators=(",", ":"))
    packed = gzip.compress(document.encode(), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()
