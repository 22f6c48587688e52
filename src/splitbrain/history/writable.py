"""What a history can hold: whatever can be written as JSON.

>>> unwritable("value", {"a": [1, None, "x"]}) is None
True
>>> unwritable("value", object())
'value cannot be written as JSON (Encoding objects of type object is unsupported)'
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["unwritable"]

_ENCODE = msgspec.json.Encoder().encode


def unwritable(name: str, value: Any) -> str | None:
    """Why ``value``, called ``name``, cannot be written; None if it can."""
    try:
        _ENCODE(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        return f"{name} cannot be written as JSON ({exc})"
    return None
