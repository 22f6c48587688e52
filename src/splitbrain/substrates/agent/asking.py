"""What is asked of the agent: arguments out of a request, each checked, or one clear sentence."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Refused", "address", "addresses", "integer", "number", "string", "table"]

_REQUIRED = object()


class Refused(Exception):
    """The request cannot be done; the message is the answer."""


def _take(arguments: Mapping[str, Any], name: str, default: Any) -> Any:
    value = arguments.get(name, default)
    if value is _REQUIRED:
        raise Refused(f"{name} is missing")
    return value


def string(arguments: Mapping[str, Any], name: str) -> str:
    """A text."""
    value = _take(arguments, name, _REQUIRED)
    if not isinstance(value, str):
        raise Refused(f"{name} must be a text, not {value!r}")
    return value


def number(
    arguments: Mapping[str, Any],
    name: str,
    default: Any = _REQUIRED,
    *,
    low: float = 0.0,
    high: float = math.inf,
) -> float:
    """A finite number in [low, high]."""
    value = _take(arguments, name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"{name} must be a number, not {value!r}")
    if not low <= value <= high or math.isinf(value):
        raise Refused(f"{name} must lie in [{low:g}, {high:g}], not {value!r}")
    return float(value)


def integer(
    arguments: Mapping[str, Any], name: str, default: Any = _REQUIRED, *, low: int, high: int
) -> int:
    """A whole number in [low, high]."""
    value = _take(arguments, name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{name} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise Refused(f"{name} must lie in [{low}, {high}], not {value!r}")
    return value


def address(value: Any, name: str) -> str:
    """One IPv4 address, as the kernel writes it."""
    try:
        if not isinstance(value, str):
            raise ValueError
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise Refused(f"{name} must be an IPv4 address, not {value!r}") from None


def addresses(arguments: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """IPv4 addresses, each once, sorted."""
    value = _take(arguments, name, [])
    if not isinstance(value, list):
        raise Refused(f"{name} must be a list of IPv4 addresses, not {value!r}")
    return tuple(sorted({address(one, name) for one in value}))


def table(
    arguments: Mapping[str, Any], name: str, default: Any = _REQUIRED
) -> Mapping[str, Any]:
    """An object with texts as keys."""
    value = _take(arguments, name, default)
    if not isinstance(value, dict):
        raise Refused(f"{name} must be an object, not {value!r}")
    return value
