"""Knobs of a store that a simulated run draws from its seed: rare windows, the same promises.

The correct cluster is valid under all of them.  An option given by name wins over the draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.env.random import Random

__all__ = ["drawn_knobs"]

_ODD_SHARE = 0.25
"""The share of runs in which one knob is not at its plain value."""

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "entries-per-append": (1, 2, 8),
    "inflight": (1, 4),
    "snapshot-every": (20, 100, 500),
    "snapshot-tail": (0, 10),
    "slow-apply-ms": (5.0, 50.0),
    "slow-commit-ms": (20.0, 200.0),
    "election-timeouts": ("*=1.0", "*=1.5"),
}


def drawn_knobs(seed: int) -> Mapping[str, Any]:
    """The knobs of the run with this seed; each is drawn apart from the others.

    >>> drawn_knobs(3) == drawn_knobs(3)
    True
    """
    random = Random(seed).child("store-knobs")
    return {
        name: random.stream(name).choice(choices)
        for name, choices in _CHOICES.items()
        if random.fraction(name, "odd") < _ODD_SHARE
    }
