"""One order of operations drawn over their bars: a point in each, a line, and the value it leaves.

    process 0   |--- write 3 --o---|
    process 1          |-o- write 9 -|                 points in the order write 9, write 3, read 3
    process 2                              |-- read 3 o-|
    value       ...  9 |   3

A call may take effect at any moment between its invocation and its answer.  Each point lies halfway
between the earliest and the latest that the order leaves it, so that a line from point to point never
runs back in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import escape

from splitbrain.results.report.intervals import Interval
from splitbrain.results.text import shorten, visible

__all__ = ["LANE", "Point", "draw_path", "draw_values", "points_of"]

LANE = 26
"""Height of the lane of values, in pixels."""
_CHAR_PX = 6.7


class Point(NamedTuple):
    """Where a call of the order takes effect, and the state that it leaves."""

    op: int
    time_ns: int
    state: str


def points_of(
    line: Sequence[tuple[int, str]], intervals: Mapping[int, Interval], limit_ns: int
) -> list[Point]:
    """A point for each call of ``line`` that is known, none later than ``limit_ns``.

    Args:
        line: index of the invocation and the state after it, in order.
        intervals: by index of the invocation.
        limit_ns: when the call that cannot be explained ended: what had not ended then is open.
    """
    known = [(index, state, intervals[index]) for index, state in line if index in intervals]
    earliest, now = [], 0
    for _, _, interval in known:
        now = max(now, interval.start_ns)
        earliest.append(now)
    latest, now = [], limit_ns
    for _, _, interval in reversed(known):
        now = min(now, interval.could_act_until_ns(limit_ns))
        latest.append(now)
    latest.reverse()
    return [
        Point(index, (first + max(first, last)) // 2, state)
        for (index, state, _), first, last in zip(known, earliest, latest, strict=True)
    ]


def draw_path(places: Sequence[tuple[Point, float, float]]) -> list[str]:
    """The line through the points that are drawn, and a dot at each: (point, x, y)."""
    if not places:
        return []
    track = "L".join(f"{x:.1f} {y:.1f}" for _, x, y in places)
    out = [f'<path class="path" d="M{track}"/>'] if len(places) > 1 else []
    out += [
        f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4">'
        f"<title>{place}. #{point.op}, then {escape(visible(point.state))}</title></circle>"
        for place, (point, x, y) in enumerate(places, start=1)
    ]
    return out


def draw_values(
    points: Sequence[Point],
    x_of: Callable[[int], float],
    y: float,
    window: tuple[int, int],
    failed: Interval | None,
) -> list[str]:
    """The lane of values: what the object holds from point to point, up to the failing call's end."""
    stop_ns = min(window[1], failed.until_ns(window[1])) if failed is not None else window[1]
    out, place = [], 0
    while place < len(points):
        last = place
        while last + 1 < len(points) and points[last + 1].state == points[place].state:
            last += 1
        until_ns = points[last + 1].time_ns if last + 1 < len(points) else stop_ns
        start, stop = x_of(points[place].time_ns), x_of(until_ns)
        if until_ns > window[0] and points[place].time_ns < stop_ns and stop - start > 0.5:
            out += _value(points[place].state, start, stop, y)
        place = last + 1
    if failed is not None:
        x = x_of(failed.until_ns(window[1]))
        out.append(
            f'<path class="cross" d="M{x - 5:.1f} {y + 5:.0f}l10 10m0 -10l-10 10">'
            "<title>no order goes on here</title></path>"
        )
    return out


def _value(state: str, start: float, stop: float, y: float) -> list[str]:
    room = int((stop - start - 8) / _CHAR_PX)
    text = shorten(visible(state), room) if room >= min(len(state), 3) else ""
    label = (
        f'<text class="valuetext" x="{start + 5:.1f}" y="{y + 14:.1f}">{escape(text)}</text>'
        if text
        else ""
    )
    title = f"<title>{escape(visible(state))}</title>"
    box = f'<rect x="{start:.1f}" y="{y:.1f}" width="{stop - start:.1f}" height="20"/>'
    return [f'<g class="value">{title}{box}{label}</g>']
