"""Values cut to what a page has room for: a megabyte stays in the history, its beginning is shown.

Whatever is cut says how long it was:

    >>> brief("x" * 30, 8)
    'xxxxxxxx\u2026 \u27e830 characters\u27e9'
    >>> brief([1, 2, 3, 4], 2)
    [1, 2, '\u2026 \u27e82 more\u27e9']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.checkers.verdict import Anomaly
from splitbrain.history.op import Op
from splitbrain.results.text import count

__all__ = ["NAME_MAX", "brief", "brief_anomaly", "brief_op", "cut"]

VALUE_MAX = 20_000
"""Characters of one text, and items of one list, that an operation shown whole may have."""

NAME_MAX = 200
"""Characters of a key, a node's or a function's name."""

_DEPTH_MAX = 12


def cut(text: str, length: int) -> str:
    """At most ``length`` characters of ``text``, and if it was longer, how long."""
    if len(text) <= length:
        return text
    return f"{text[:length]}\u2026 \u27e8{count(len(text))} characters\u27e9"


def brief(value: Any, length: int = VALUE_MAX, depth: int = _DEPTH_MAX) -> Any:
    """``value`` with every text cut to ``length`` characters, every list to as many items.

    What lies too deep becomes a mark; the value itself is given back if there is nothing to cut.
    """
    if isinstance(value, str):
        return cut(value, length)
    if isinstance(value, bytes | bytearray):
        return cut(value.hex(), length)
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return value
    if depth <= 0:
        return "\u2026 \u27e8nested deeper\u27e9"
    more = len(value) - length
    left = max(4, length // max(1, min(len(value), length)) * 4)
    if isinstance(value, Mapping):
        pairs = [
            (cut(name, min(length, NAME_MAX)) if isinstance(name, str) else name,
             brief(item, left, depth - 1))
            for name, item in list(value.items())[:length]
        ]  # fmt: skip
        return dict(pairs) | ({"\u2026": f"\u27e8{count(more)} more\u27e9"} if more > 0 else {})
    items = [brief(item, left, depth - 1) for item in list(value)[:length]]
    return items + ([f"\u2026 \u27e8{count(more)} more\u27e9"] if more > 0 else [])


def _light(value: Any) -> bool:
    """True of the ordinary values, which need no second look."""
    if value is None or isinstance(value, int | float):
        return True
    return isinstance(value, str) and len(value) <= NAME_MAX


def brief_op(op: Op) -> Op:
    """``op`` with its names and values cut; the same object if there was nothing to cut."""
    if (
        _light(op.value) and _light(op.key) and _light(op.error) and _light(op.node)
        and op.ext is None and len(op.f) <= NAME_MAX
    ):  # fmt: skip
        return op
    return msgspec.structs.replace(
        op,
        f=cut(op.f, NAME_MAX),
        key=brief(op.key, NAME_MAX),
        value=brief(op.value),
        node=None if op.node is None else cut(op.node, NAME_MAX),
        error=None if op.error is None else cut(op.error, VALUE_MAX),
        ext=None if op.ext is None else brief(op.ext),
    )


def brief_anomaly(anomaly: Anomaly) -> Anomaly:
    """``anomaly`` with its texts cut."""
    return msgspec.structs.replace(
        anomaly,
        kind=cut(anomaly.kind, NAME_MAX),
        explanation=cut(anomaly.explanation, VALUE_MAX),
        key=brief(anomaly.key, NAME_MAX),
        picture=None if anomaly.picture is None else brief(anomaly.picture, 4 * NAME_MAX),
    )
