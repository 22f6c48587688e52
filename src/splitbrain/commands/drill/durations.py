"""Times, sizes, shards and numbers of seeds as people write them."""

from __future__ import annotations

import re

from splitbrain.errors import RequestError

__all__ = ["duration_s", "duration_words", "seed_range", "shard_of", "size_bytes", "size_words"]

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SEEDS_MAX = 100_000
"""Most seeds of one scenario: a slip of the finger must not plan a year."""


def duration_s(text: str) -> float:
    """Seconds of a duration.

    >>> duration_s("90s"), duration_s("20m"), duration_s("1h30m"), duration_s("1200")
    (90.0, 1200.0, 5400.0, 1200.0)

    Raises:
        RequestError: it is none.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or total <= 0:
        raise RequestError(f"{text!r} is no duration; write it as 90s, 20m, 1h30m or 1200")
    return total


def duration_words(seconds: float) -> str:
    """A duration for people.

    >>> duration_words(4.24), duration_words(75), duration_words(5400), duration_words(59.7)
    ('4.2 s', '1 min 15 s', '1 h 30 min', '1 min 0 s')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size_bytes(text: str) -> int:
    """Bytes of a size.

    >>> size_bytes("2G"), size_bytes("500M"), size_bytes("1024")
    (2147483648, 524288000, 1024)

    Raises:
        RequestError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise RequestError(f"{text!r} is no size; write it as 500M, 2G or 1048576")
    return int(float(match[1]) * _UNITS_BYTES[match[2].upper()])


def size_words(number: int) -> str:
    """A size for people.

    >>> size_words(999), size_words(2_147_483_648)
    ('999 bytes', '2.0 GiB')
    """
    if number < 1024:
        return f"{number} bytes"
    size = float(number)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def shard_of(text: str) -> tuple[int, int]:
    """Number and count of a shard.

    >>> shard_of("2/4")
    (2, 4)

    Raises:
        RequestError: it is none.
    """
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise RequestError(f"--shard {text!r}: write it as 1/4 ... 4/4")
    return int(match[1]), int(match[2])


def seed_range(first: int, last: int) -> tuple[int, ...]:
    """Seeds from the first to the last, both included.

    >>> seed_range(3, 6)
    (3, 4, 5, 6)

    Raises:
        ValueError: none, or too many.
    """
    if not 0 <= first <= last:
        raise ValueError(f"seeds {first}..{last}: from 0 or more to no less")
    if last - first >= SEEDS_MAX:
        raise ValueError(f"seeds {first}..{last}: at most {SEEDS_MAX} of them")
    return tuple(range(first, last + 1))
