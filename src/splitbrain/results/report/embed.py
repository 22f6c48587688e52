"""The operations of a page, packed small: for search, links and zooming in.

Operations are written as columns (numbers as differences to the one before, texts as positions in a
table), then as JSON, gzip and base64: some 15 bytes an operation.  Browsers unpack it themselves.
Which operations these are in a large run, ``sample`` decides; how long their values may be here, the
room that the rest of the page leaves.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from splitbrain.results.report.brief import NAME_MAX, VALUE_MAX, brief, cut
from splitbrain.results.report.frame import Frame
from splitbrain.results.report.sample import LIMIT, Sample
from splitbrain.results.text import key_text, value_text

__all__ = ["Packed", "pack", "script_json"]

Ints = npt.NDArray[np.int64]

_TEXT_BUDGET = 6_000_000
"""Bytes of values in a page, before compression; long values are cut to keep to it."""

_SHORTEST = 48
_LONG = 400
"""Room of a value at first, however many operations there are."""

_NAMES_WHOLE = 80
"""While values have that much room, names are not cut."""

_PART = 1_000
_FAR_BEYOND = 2.5
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
        self.cut: set[int] = set()
        self._places: dict[str, int] = {}
        self._known: dict[Any, int] = {}
        self._length_max = length_max
        self._name_max = NAME_MAX if length_max >= _NAMES_WHOLE else length_max

    def text(self, text: str) -> int:
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
        place = self._known.get(simple) if simple is not None else None
        if place is None:
            shown = brief(value, self._length_max)
            place = self.text(value_text(shown))
            if shown is not value:
                self.cut.add(place)
            elif simple is not None:
                self._known[simple] = place
        return place

    def error(self, error: str | None) -> int:
        """Position of an error, which is shown without quotes."""
        if error is None:
            return _ABSENT
        shown = cut(error, max(self._name_max, self._length_max))
        place = self.text(key_text(shown))
        if shown is not error:
            self.cut.add(place)
        return place

    def column(self, places: Ints, names: list[str]) -> list[int]:
        """Positions of a column whose numbers are places in ``names``."""
        used, inverse = np.unique(places, return_inverse=True)
        here = [
            self.text(cut(names[at], self._name_max)) if at >= 0 else _ABSENT
            for at in used.tolist()
        ]
        column: list[int] = np.asarray(here, np.int64)[inverse].tolist()
        return column


def _deltas(numbers: Ints) -> list[int]:
    out: list[int] = np.diff(numbers, prepend=0).tolist()
    return out


class Packed(NamedTuple):
    """Operations as base64 text of gzipped JSON, and which operations these are."""

    text: str
    sample: Sample


def pack(frame: Frame, workers: Ints, choice: Callable[[int], Sample], room: int) -> Packed:
    """The operations of a page in at most ``room`` bytes.

    Values are cut shorter until they fit; where they could no longer be told apart, fewer operations
    are chosen.

    Args:
        frame: all operations.
        workers: the worker of each row of the frame.
        choice: chosen rows, given how many there may be.
        room: bytes of base64 text.
    """
    limit = LIMIT
    chosen = choice(limit)
    rows = max(1, len(chosen.rows))
    length = max(_LONG, min(VALUE_MAX, _TEXT_BUDGET // (2 * rows)))
    part = _part(chosen)
    # A part of the operations tells how the whole will shrink, at a fraction of the cost.
    scale = rows / max(1, len(part.rows)) / _FAR_BEYOND
    while (
        length > _SHORTEST and scale * len(_columns_text(frame, part, workers, length)) > room
    ):
        length = max(_SHORTEST, length // 2)
    text = _columns_text(frame, chosen, workers, length)
    while len(text) > room and limit > 1:
        part = _part(chosen)
        whole = len(text) / len(_columns_text(frame, part, workers, length))
        share, aim = 1.0, 0.92 * room
        while share * aim < len(text) and length > _SHORTEST:
            length = max(_SHORTEST, length * 3 // 4)
            share = len(text) / (whole * len(_columns_text(frame, part, workers, length)))
        if share * aim < len(text):
            limit = int(min(limit, len(chosen.rows)) * share * aim / len(text))
            chosen = choice(limit)
        text = _columns_text(frame, chosen, workers, length)
    return Packed(text, chosen)


def _part(sample: Sample) -> Sample:
    """An even part of a sample."""
    step = max(1, len(sample.rows) // _PART)
    return Sample(rows=sample.rows[::step], even=sample.even[::step])


def _columns_text(frame: Frame, sample: Sample, workers: Ints, length: int) -> str:
    """Columns of the sample's operations, values of at most ``length`` bytes, packed."""
    rows = sample.rows
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
        "x": [texts.error(end.error) if end is not None else _ABSENT for _, end in pairs],
        "g": [texts.value(end.ext) if end is not None else _ABSENT for _, end in pairs],
        "s": sample.even.astype(np.int64).tolist(),
    }
    table = {"texts": texts.table, "cut": sorted(texts.cut)}
    document = json.dumps({**table, **columns}, separators=(",", ":"))
    packed = gzip.compress(document.encode(), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()
