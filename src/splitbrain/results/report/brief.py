"""The one place that shortens: a page shows the beginning of what it has no room for.

The whole stays in the history.  Room is counted in bytes as a page would hold them: escaped, hidden
characters as marks.  A value has one room for all that is nested in it, so a list of long texts, or
one of 100,000 small numbers, takes no more of a page than a long text does.  Whatever is cut says how
long it was, in its place:

    >>> cut("x" * 2_000_000, 30)
    'xxxxxxxxxxxxxxx\u2026 (2,000,000 characters)'
    >>> brief(list(range(1_000)), 40)
    [0, 1, 2, 3, 4, 5, '\u2026 (994 more)']
    >>> brief({"a": 1}, 40)
    {'a': 1}

What is not cut is given back as the object that it was, so ``brief(v) is v`` says that it is whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from markupsafe import escape

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.op import Op
from splitbrain.results.text import count, visible

__all__ = [
    "NAME_MAX", "VALUE_MAX", "brief", "brief_anomaly", "brief_op", "brief_result", "cut", "fits",
    "size_of",
]  # fmt: skip

VALUE_MAX = 4_000
"""Room of one value of an operation that is shown whole."""

NAME_MAX = 200
"""Room of a key, a node's or a function's name."""

_SENTENCE_MAX = 4_000
_STATS_MAX = 20_000
_PLAIN = re.compile("[ !#$%(-;=?-~]*")
_DEPTH_MAX = 12
_LEAST = 24
"""Less room than this is no use: what would stand there is counted instead."""
_FAIR = 20
"""Among how many items, at most, room is shared out; later ones have what these leave."""
_BITS_MAX = 1_024
_BETWEEN = 2
_QUOTES = 10
"""Bytes of the two quotes around a text in a list, escaped."""


def size_of(text: str) -> int:
    """Bytes of ``text`` in a page."""
    if _PLAIN.fullmatch(text):
        return len(text)
    return len(str(escape(visible(text))).encode("utf-8", "backslashreplace"))


def cut(text: str, room: int, unit: str = "characters", length: int | None = None) -> str:
    """``text`` if it fits; else its beginning, and how long it (or ``length``) was."""
    if len(text) <= room and (len(text) * 12 <= room or size_of(text) <= room):
        return text
    mark = f"\u2026 ({count(len(text) if length is None else length)} {unit})"
    most = max(room - len(mark), room // 2)
    head = text[:most]
    while (size := size_of(head)) > most:
        head = head[: min(len(head) - 1, len(head) * most // size)]
    return head + mark


def brief(value: Any, room: int = VALUE_MAX) -> Any:
    """``value`` in at most about ``room`` bytes, all that is nested in it counted.

    What lies too deep becomes a mark; the value itself is given back if there is nothing to cut.
    """
    return _brief(value, room, _DEPTH_MAX)[0]


def fits(value: Any, room: int = VALUE_MAX) -> bool:
    """Whether ``brief`` leaves the value whole."""
    return _light(value) or _size(value, room, _DEPTH_MAX) <= room


def _brief(value: Any, room: int, depth: int) -> tuple[Any, int]:
    """The value, and the room that it took."""
    size = _size(value, room, depth)
    if size <= room:
        return value, size
    if isinstance(value, bytes | bytearray):
        text = cut(value[:room].hex(), room, "bytes", len(value))
    elif isinstance(value, int):
        text = f"\u2026 (an integer of {count(value.bit_length())} bits)"
    elif not isinstance(value, (str, *_CONTAINERS)):
        text = cut(_repr(value), room)
    elif isinstance(value, str):
        text = cut(value, room)
    elif depth <= 0:
        text = "\u2026 (nested deeper)"
    elif isinstance(value, Mapping):
        return _pairs(value, room, depth)
    else:
        return _items(value, room, depth)
    return text, size_of(text) + _QUOTES


_CONTAINERS = (list, dict, tuple, set, frozenset, Mapping)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except (RecursionError, ValueError):
        return f"\u2026 ({type(value).__name__} that cannot be shown)"


def _size(value: Any, room: int, depth: int) -> int:
    """Bytes of a value; a number above ``room`` as soon as that is sure."""
    if isinstance(value, str):
        return len(value) if len(value) > room else size_of(value) + _QUOTES
    if isinstance(value, int):
        bits = value.bit_length()
        return bits // 3 + 1 if bits <= _BITS_MAX else room + 1
    if value is None or isinstance(value, float):
        return 5
    if isinstance(value, bytes | bytearray):
        return 2 * len(value)
    if not isinstance(value, _CONTAINERS):
        return len(_repr(value))
    if depth <= 0 or len(value) > room:
        return room + 1
    total = _BETWEEN
    for item in _flat(value) if isinstance(value, Mapping) else value:
        total += _size(item, room - total, depth - 1) + _BETWEEN
        if total > room:
            break
    return total


def _flat(value: Mapping[Any, Any]) -> Iterator[Any]:
    for name, item in value.items():
        yield name
        yield item


def _shares(number: int, room: int) -> Iterator[tuple[int, list[int]]]:
    """For each item that still has room: that room, and a cell for what it took."""
    left, took = room, [0]
    for place in range(number):
        if left < _LEAST:
            return
        took[0] = 0
        yield max(left // min(number - place, _FAIR), min(left, _LEAST)), took
        left -= took[0] + _BETWEEN


def _items(value: Any, room: int, depth: int) -> tuple[Any, int]:
    out: list[Any] = []
    total, whole = _BETWEEN, True
    for item, (share, took) in zip(value, _shares(len(value), room), strict=False):
        shown, took[0] = _brief(item, share, depth - 1)
        whole = whole and shown is item
        out.append(shown)
        total += took[0] + _BETWEEN
    more = len(value) - len(out)
    if more:
        return [*out, f"\u2026 ({count(more)} more)"], total + _LEAST
    return (value if whole else out), total


def _pairs(value: Mapping[Any, Any], room: int, depth: int) -> tuple[Any, int]:
    out: dict[Any, Any] = {}
    total, whole = _BETWEEN, True
    for (name, item), (share, took) in zip(
        value.items(), _shares(len(value), room), strict=False
    ):
        known, size = _brief(name, min(NAME_MAX, share), 0)
        if known in out:  # two long names may begin alike
            known = f"{known} {len(out) + 1}"
        out[known], took[0] = _brief(item, share, depth - 1)
        whole = whole and known is name and out[known] is item
        took[0] += size + _BETWEEN
        total += took[0] + _BETWEEN
    more = len(value) - len(out)
    if more:
        return out | {"\u2026": f"({count(more)} more)"}, total + _LEAST
    return (value if whole else out), total


def _light(value: Any) -> bool:
    """True of the ordinary values, which need no second look."""
    if value is None or isinstance(value, float):
        return True
    if isinstance(value, int):
        return value.bit_length() <= 64
    return isinstance(value, str) and len(value) * 12 <= NAME_MAX


def brief_op(op: Op, room: int = VALUE_MAX) -> Op:
    """``op`` with its names and values cut; the same object if there was nothing to cut."""
    if (
        room >= NAME_MAX and op.ext is None and _light(op.value) and _light(op.key)
        and _light(op.error) and _light(op.node) and _light(op.f)
    ):  # fmt: skip
        return op
    names = min(room, NAME_MAX)
    shown = (
        cut(op.f, names),
        brief(op.key, names),
        brief(op.value, room),
        brief(op.node, names),
        brief(op.error, max(names, room // 4)),
        brief(op.ext, room),
    )
    if all(
        new is old
        for new, old in zip(
            shown, (op.f, op.key, op.value, op.node, op.error, op.ext), strict=True
        )
    ):
        return op
    f, key, value, node, error, ext = shown
    return msgspec.structs.replace(
        op, f=f, key=key, value=value, node=node, error=error, ext=ext
    )


def brief_anomaly(anomaly: Anomaly) -> Anomaly:
    """``anomaly`` with its texts cut; its picture is cut where it is shown."""
    return msgspec.structs.replace(
        anomaly,
        kind=cut(anomaly.kind, NAME_MAX),
        explanation=cut(anomaly.explanation, _SENTENCE_MAX),
        key=brief(anomaly.key, NAME_MAX),
    )


def brief_result(result: Result) -> Result:
    """``result`` with every text that a checker wrote cut; its verdicts stay as they are."""
    return msgspec.structs.replace(
        result,
        summary=cut(result.summary, _SENTENCE_MAX),
        reason=brief(result.reason, NAME_MAX),
        kernel=brief(result.kernel, NAME_MAX),
        anomalies=tuple(brief_anomaly(anomaly) for anomaly in result.anomalies),
        stats=brief(result.stats, _STATS_MAX),
        assumed=tuple(cut(line, _SENTENCE_MAX) for line in result.assumed),
        undecided=tuple(cut(line, _SENTENCE_MAX) for line in result.undecided),
        checkers={
            cut(name, NAME_MAX): brief_result(part) for name, part in result.checkers.items()
        },
    )
