"""Drawing helpers of the charts that show figures over time: bins of time, and lines of steps.

>>> steps_path([3.0, 3.0, 5.0], [0.0, 1.0, 2.0, 3.0], None)
'M0 3V3H2V5H3'
>>> bin_ns(60_000_000_000, 240)
500000000
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from splitbrain.results.report.axis import ms, nice_step, number

__all__ = ["bin_edges_ms", "bin_ns", "bins_of", "counted", "steps_path"]

Ints = npt.NDArray[np.int64]


def bin_ns(horizon_ns: int, wanted: int) -> int:
    """A round length of bin by which about ``wanted`` of them fill the run; at least 1 ns."""
    return max(1, round(nice_step(horizon_ns / wanted / 1e9) * 1e9))


def bins_of(horizon_ns: int, step_ns: int) -> int:
    """How many bins a run has."""
    return max(1, -(-horizon_ns // step_ns))


def bin_edges_ms(horizon_ns: int, step_ns: int) -> list[float]:
    """Where bins begin and the last one ends, in milliseconds."""
    bins = bins_of(horizon_ns, step_ns)
    return [ms(min(horizon_ns, place * step_ns)) for place in range(bins + 1)]


def counted(moments_ns: Ints, step_ns: int, bins: int) -> Ints:
    """How many of the moments fall into each bin; what lies outside counts in the nearest."""
    places = np.clip(moments_ns // step_ns, 0, bins - 1)
    return np.bincount(places, minlength=bins).astype(np.int64)


def steps_path(
    heights: Sequence[float | None], edges: Sequence[float], base: float | None
) -> str:
    """A line of steps as SVG path; None, or a height that lies on ``base``, is not drawn.

    Several lines may lie on the base at once, and would hide each other there.
    """
    parts: list[str] = []
    last: float | None = None
    down = "" if base is None else f"V{number(base)}"
    for place, y in enumerate(heights):
        if y is None or (base is not None and y == base):
            if last is not None:
                parts.append(f"H{number(edges[place])}" + down)
            last = None
        elif last is None:
            from_y = y if base is None else base
            parts.append(f"M{number(edges[place])} {number(from_y)}V{number(y)}")
            last = y
        elif y != last:
            parts.append(f"H{number(edges[place])}V{number(y)}")
            last = y
    if last is not None:
        parts.append(f"H{number(edges[-1])}{down}")
    return "".join(parts)
