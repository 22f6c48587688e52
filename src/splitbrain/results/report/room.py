"""How much of a page each part may take, and what is left out when there is more.

A page is to be mailed, attached and opened anywhere, so it stays below ``PAGE_MAX`` whatever the
history.  Every part has its room; the operations for search, which come last, have what the others
left.

    >>> fit(["aaaa", "bbbb", "cccc"], 80)
    (['aaaa', 'bbbb'], 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from markupsafe import Markup

from splitbrain.results.report.brief import size_of

__all__ = [
    "BARE", "CARDS_ROOM", "FULL", "LEAN", "LEVELS", "PACKED_MIN", "PAGE_MAX", "PART_MAX", "CardRoom",
    "fit", "last_lines", "written",
]  # fmt: skip

T = TypeVar("T")

PAGE_MAX = 4_900_000
"""Bytes of a page."""

CARDS_ROOM = 1_800_000
"""Of all cards together."""

PART_MAX = 250_000
"""Of one table or list."""

PACKED_MIN = 500_000
"""Of the packed operations at least: cards give way to them."""

_TAGS = 30
"""Of the markup around one text."""


class CardRoom(msgspec.Struct, frozen=True, kw_only=True):
    """How much one card may show of what.

    Attributes:
        rows: operations one by one.
        value: bytes of one value in a row.
        short: bytes of it before it is opened, and of other short texts.
        title: bytes of what a bar of the picture says.
        sentence: bytes of the explanation.
        copy: characters of one copy.
        copied: bytes of one value in it.
        data: bytes of what the checker recorded.
        neighbours: operations drawn on either side of each of the rows.
        said: lines of what nodes said.
    """

    rows: int
    value: int
    short: int
    title: int
    sentence: int
    copy: int
    copied: int
    data: int
    neighbours: int
    said: int


FULL = CardRoom(
    rows=60, value=4_000, short=240, title=400, sentence=4_000, copy=60_000, copied=20_000,
    data=300_000, neighbours=8, said=120,
)  # fmt: skip
LEAN = CardRoom(
    rows=60, value=400, short=120, title=120, sentence=1_000, copy=10_000, copied=1_000,
    data=20_000, neighbours=4, said=30,
)  # fmt: skip
BARE = CardRoom(
    rows=12, value=60, short=60, title=60, sentence=400, copy=2_000, copied=200, data=2_000,
    neighbours=1, said=6,
)  # fmt: skip
LEVELS = (FULL, LEAN, BARE)
"""A card that is too large for its share of the room is made again, smaller."""


def written(thing: Any) -> int:
    """About how many bytes ``thing`` takes on a page: its texts, and the markup around each."""
    if isinstance(thing, Markup):
        return len(thing.encode())
    if isinstance(thing, str):
        return size_of(thing) + _TAGS if thing else 4
    if isinstance(thing, msgspec.Struct):
        return sum(written(getattr(thing, name)) for name in thing.__struct_fields__) + _TAGS
    if isinstance(thing, Mapping):
        return sum(written(name) + written(item) for name, item in thing.items())
    if isinstance(thing, list | tuple):
        return sum(written(item) for item in thing)
    return 8


def fit(items: Iterable[T], room: int = PART_MAX) -> tuple[list[T], int]:
    """The first of ``items`` that fit into ``room``, and how many do not."""
    kept: list[T] = []
    left, more = room, 0
    for item in items:
        left -= written(item) if not more else 0
        if left < 0:
            more += 1
        else:
            kept.append(item)
    return kept, more


def last_lines(lines: Sequence[str], room: int) -> tuple[list[str], int]:
    """The last of ``lines`` that fit, in order, and how many come before them."""
    kept, more = fit(reversed(lines), room)
    return kept[::-1], more
