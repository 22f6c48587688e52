"""What the keys of a scenario may hold: one reader a key, each refusing what makes no sense.

A reader takes the value that TOML gave and returns what the scenario keeps of it; it raises
``ValueError`` with what is wrong.  ``READERS`` is the whole list of keys.

    >>> READERS["seeds"]("1..4"), READERS["nemesis"](["partition,kill", "none"])
    ((1, 2, 3, 4), (('partition', 'kill'), ()))
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from splitbrain.commands.drill.durations import seed_range
from splitbrain.commands.drill.problems import unknown_key
from splitbrain.commands.specify import faults_of
from splitbrain.errors import RequestError

__all__ = ["READERS", "Accept"]


class Accept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures that each run of a scenario must reach; None: not asked for.

    Attributes:
        lost: most acknowledged operations that may be lost.
        recovery_s: longest time from a heal to the next success, in seconds.
        outage_s: longest time without a success, in seconds.
        availability: least share of the seconds that saw a success, 0 to 1.
    """

    lost: float | None = None
    recovery_s: float | None = None
    outage_s: float | None = None
    availability: float | None = None


ACCEPT_KEYS: Mapping[str, str] = {
    "lost": "lost",
    "recovery-seconds": "recovery_s",
    "outage-seconds": "outage_s",
    "availability": "availability",
}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{value!r} must be a word in quotes")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """A word, or a list of different words."""
    words = [_text(one) for one in (value if isinstance(value, list) else [value])]
    return _different(words)


def _some_texts(value: Any) -> tuple[str, ...]:
    if value == []:
        raise ValueError("an empty list leaves nothing to run")
    return _texts(value)


def _different(values: list[Any]) -> tuple[Any, ...]:
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{value!r} stands there twice")
    return tuple(values)


def _nemeses(value: Any) -> tuple[tuple[str, ...], ...]:
    """Combinations of faults: a list's elements are alternatives, a comma or a list joins."""
    if value == []:
        raise ValueError('an empty list leaves nothing to run; for no faults write "none"')
    return _different([_combination(one) for one in _listed(value)])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _combination(value: Any) -> tuple[str, ...]:
    words = [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
    try:
        return tuple(dict.fromkeys(faults_of(",".join(words))))
    except RequestError as error:
        raise ValueError(str(error).removeprefix("--nemesis ")) from error


def _seeds(value: Any) -> tuple[int, ...]:
    """``7``, ``[1, 5, 9]``, ``"1..20"``, ``{ from = 1, to = 20 }`` or ``{ from = 1, count = 20 }``."""
    if isinstance(value, str):
        match = re.fullmatch(r" *(\d{1,18}) *\.\. *(\d{1,18}) *", value, re.ASCII)
        if match is None:
            raise ValueError(f'{value!r}: write a range of seeds as "1..20"')
        return seed_range(int(match[1]), int(match[2]))
    if isinstance(value, dict):
        return _seed_table(value)
    seeds = [_whole(one, 0, 2**63 - 1) for one in _listed(value)]
    if not seeds:
        raise ValueError("an empty list leaves nothing to run")
    return _different(seeds)


def _seed_table(table: Mapping[str, Any]) -> tuple[int, ...]:
    if set(table) not in ({"from", "to"}, {"from", "count"}):
        raise ValueError(
            "a table of seeds is { from = 1, to = 20 } or { from = 1, count = 20 }"
        )
    first = _whole(table["from"], 0, 2**62)
    if "to" in table:
        return seed_range(first, _whole(table["to"], 0, 2**62))
    return seed_range(first, first + _whole(table["count"], 1, 2**62) - 1)


def _whole(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        words = f"from {least} up" if most >= 2**62 else f"from {least} to {most}"
        raise ValueError(f"{value!r} must be a whole number {words}")
    return value


def _number(value: Any, least: float = 0.0, most: float = math.inf) -> float:
    number = (
        value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    )
    if not least <= number <= most or number == math.inf:
        words = f"from {least:g} up" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{value!r} must be a number {words}")
    return float(number)


def _positive(value: Any) -> float:
    if _number(value) == 0:
        raise ValueError("0 must be a number above 0")
    return float(value)


def _concurrency(value: Any) -> str:
    return str(_whole(value, 1, 100_000)) if not isinstance(value, str) else _text(value)


def _options(value: Any) -> Mapping[str, str | int | float | bool]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} must be a table such as {{ keys = 3 }}")
    for name, one in value.items():
        if not isinstance(one, str | int | float) or one == "":
            raise ValueError(f"{name} = {one!r}: a number, a truth value or a word is needed")
    return dict(value)


def _accept(value: Any) -> Accept:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} must be a table such as {{ lost = 0 }}")
    figures: dict[str, float] = {}
    for name, one in value.items():
        if name not in ACCEPT_KEYS:
            raise ValueError(unknown_key(name, ACCEPT_KEYS))
        try:
            most = 1.0 if name == "availability" else math.inf
            figures[ACCEPT_KEYS[name]] = _number(one, most=most)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return Accept(**figures)


def _expect(value: Any) -> str:
    if value not in ("valid", "invalid", "unknown"):
        raise ValueError(f'{value!r} must be "valid", "invalid" or "unknown"')
    return str(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} must be true or false")
    return value


READERS: Mapping[str, Callable[[Any], Any]] = {
    "workload": _some_texts,
    "system": _text,
    "on": _some_texts,
    "nemesis": _nemeses,
    "nemesis-interval": _positive,
    "faults": _text,
    "skip-unsupported": _truth,
    "seeds": _seeds,
    "bugs": _texts,
    "options": _options,
    "nodes": lambda value: _whole(value, 1, 1000),
    "concurrency": _concurrency,
    "rate": _number,
    "time-limit": _positive,
    "load": _texts,
    "expect": _expect,
    "accept": _accept,
    "found": lambda value: _whole(value, 1, 100_000),
    "kinds": _some_texts,
}
