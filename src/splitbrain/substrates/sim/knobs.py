"""Knobs of the simulator: they promise nothing and break no promise, but they open rare windows.

Each is drawn from the run's seed unless an option sets it: mostly the plain value, at times another.

    option          plain   what it is
    sim-delay-ms    0.5     least time of a message
    sim-jitter-ms   1       plus a draw below this
    sim-fsync-ms    0.5     least time of a sync; plus a draw below the same
    sim-order       time    ``shuffled``: events fall on a grid of 1 ms and the simultaneous ones are
                            shuffled (messages of one link keep their order)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.env.random import Random
from splitbrain.errors import RequestError

__all__ = ["KNOBS", "Knobs"]

KNOBS: Mapping[str, str] = {
    "sim-delay-ms": "least time of a message in simulation",
    "sim-jitter-ms": "plus a draw below this",
    "sim-fsync-ms": "least time of a sync in simulation",
    "sim-order": "order of simultaneous events: time or shuffled",
}
"""Option name -> what it is."""

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "sim-delay-ms": (0.5,) * 7 + (0.05, 3.0, 3.0),
    "sim-jitter-ms": (1.0,) * 7 + (0.0, 6.0, 6.0),
    "sim-fsync-ms": (0.5,) * 7 + (0.05, 4.0, 4.0),
    "sim-order": ("time", "time", "time", "shuffled"),
}


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one run."""

    delay_ms: float = 0.5
    jitter_ms: float = 1.0
    fsync_ms: float = 0.5
    order: str = "time"

    @classmethod
    def drawn(cls, random: Random, options: Mapping[str, Any]) -> Knobs:
        """Set by ``options``, else drawn; each draw is apart from the others.

        Raises:
            RequestError: an option that is not of its kind.
        """
        values: dict[str, Any] = {}
        for name, choices in _CHOICES.items():
            value = random.stream("knob", name).choice(choices)
            values[name] = _checked(name, options[name], value) if name in options else value
        return cls(**{name[4:].replace("-", "_"): value for name, value in values.items()})


def _checked(name: str, value: Any, like: Any) -> Any:
    if isinstance(like, str):
        if value in ("time", "shuffled"):
            return value
        raise RequestError(f"option {name}={value!r}: use time or shuffled")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0.0 <= number <= 60_000.0:
        raise RequestError(f"option {name}={value!r}: a number of milliseconds, 0 or more")
    return number
