r"""Values of a history as text that a person can read and a page can show.

Values come from a system that may be broken: control characters, text that turns the writing
direction, half of a surrogate pair.  ``visible`` makes each of them a mark that can be seen, so that
no value can hide, move or break what stands around it.

    >>> visible("a\x00b\u202e")
    'a␀b⟨U+202E⟩'
    >>> value_text([1, None, "x"])
    '[1, null, "x"]'
    >>> clock(12_409_000_000)
    '12.41 s'
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

__all__ = [
    "and_list",
    "clock",
    "count",
    "key_text",
    "plural",
    "shorten",
    "span",
    "value_text",
    "visible",
]

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff]"
)


def _mark(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\u27e8U+{code:04X}\u27e9"


def visible(text: str) -> str:
    """``text`` with every invisible, direction-turning or broken character as a visible mark."""
    return _HIDDEN.sub(_mark, text)


def value_text(value: Any) -> str:
    """A value as JSON, in readable characters; what is not JSON is shown by ``repr``."""
    try:
        return visible(json.dumps(value, ensure_ascii=False, default=repr))
    except (TypeError, ValueError, RecursionError):
        return visible(repr(value))


def key_text(key: Any) -> str:
    """A key for prose and labels: text without quotes, everything else as JSON."""
    return visible(key) if isinstance(key, str) else value_text(key)


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters, the cut shown by an ellipsis."""
    return text if len(text) <= length else text[: max(0, length - 1)] + "\u2026"


def clock(time_ns: int) -> str:
    """A moment of the test in seconds, to the hundredth: enough to find it on every axis."""
    return f"{time_ns / 1e9:,.2f} s"


def span(duration_ns: float) -> str:
    """A length of time in the unit that gives it about three digits.

    >>> [span(x) for x in (740, 64_000, 7_120_000, 2_500_000_000, 190e9)]
    ['740 ns', '64 µs', '7.12 ms', '2.50 s', '3 min 10 s']
    """
    size = abs(duration_ns)
    if size < 1_000:
        return f"{duration_ns:.0f} ns"
    for unit_ns, unit in ((1e3, "µs"), (1e6, "ms"), (1e9, "s")):
        if size < unit_ns * 1_000 and not (unit == "s" and size >= 120e9):
            scaled = duration_ns / unit_ns
            digits = 0 if unit == "µs" or abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
            return f"{scaled:.{digits}f} {unit}"
    minutes, seconds = divmod(round(duration_ns / 1e9), 60)
    return f"{minutes} min {seconds} s"


def count(number: int | float) -> str:
    """A number with thousands apart; floats to two digits after the point at most."""
    if isinstance(number, float) and not number.is_integer():
        return f"{number:,.2f}".rstrip("0").rstrip(".")
    return f"{int(number):,}"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """``1 kill``, ``2 kills``."""
    return f"{count(number)} {noun if number == 1 else nouns or noun + 's'}"


def and_list(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
