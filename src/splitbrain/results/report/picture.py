"""The picture of an anomaly: its few operations on a real time axis, among their neighbours.

A row for each process; a bar from invocation to completion; the faults of exactly that window behind
them; operations of the same key that are not evidence in grey.  Where one order is known that explains
everything up to the failing operation, its points are joined by a line and the value that it leaves
stands in a lane below (``order``).  A complete SVG with its own text, so that it can be copied out of
the page; each bar is a link to its operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from markupsafe import Markup, escape

from splitbrain.results.bands import Application, short
from splitbrain.results.report.axis import nice_step
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.order import LANE, Point, draw_path, draw_values, points_of
from splitbrain.results.report.rows import bar_value
from splitbrain.results.report.strips import fault_names
from splitbrain.results.text import key_text, shorten, visible

__all__ = ["bar_text", "draw", "window_of"]

WIDTH = 1000
GUTTER = 132
ROW = 30
BAR = 20
TOP = 8
_CHAR_PX = 6.7
_ROWS_MAX = 24
_FAULTS_MAX = 60
_TITLE_MAX = 400
_SVG_LABEL = (
    'xmlns="http://www.w3.org/2000/svg" aria-label="The operations above on a time axis"'
)


def bar_text(interval: Interval, room: int = _TITLE_MAX) -> str:
    """What a bar says: ``write 9``, ``read → 3``, ``cas [1, 2] ✗``; each value in ``room`` bytes."""
    return visible(interval.begin.f) + bar_value(interval, room)


def window_of(evidence: Sequence[Interval], horizon_ns: int) -> tuple[int, int]:
    """The moments between which the picture is drawn: all evidence and a tenth on either side."""
    starts = [i.start_ns for i in evidence]
    # An open operation would stretch the window to the end of the run; its start is what matters.
    stops = [i.end.time_ns if i.end is not None else i.start_ns for i in evidence]
    first, last = min(starts), max([*stops, *starts])
    pad = max((last - first) // 10, 1_000_000)
    return max(0, first - pad), min(max(horizon_ns, last), last + pad)


class _Frame:
    """Time to pixels for one picture."""

    def __init__(self, start_ns: int, stop_ns: int) -> None:
        self.start_ns, self.stop_ns = start_ns, max(stop_ns, start_ns + 1)

    def x(self, time_ns: int) -> float:
        part = (time_ns - self.start_ns) / (self.stop_ns - self.start_ns)
        return GUTTER + min(1.0, max(0.0, part)) * (WIDTH - GUTTER - 12)


class _Free(NamedTuple):
    """The room that a bar and its text have in their row, in pixels."""

    left: float
    right: float
    horizon_ns: int


def draw(
    evidence: Sequence[Interval],
    neighbours: Sequence[Interval],
    bands: Sequence[Application],
    horizon_ns: int,
    culprit: int | None = None,
    *,
    unit: str = " s",
    order: Sequence[tuple[int, str]] = (),
    known: Mapping[int, Interval] | None = None,
    title_room: int = _TITLE_MAX,
) -> Markup | None:
    """The SVG, or None without evidence.

    Args:
        evidence: the operations that matter.
        neighbours: others of the same object.
        bands: the faults.
        horizon_ns: the end of the run.
        culprit: an event of the operation that cannot be.
        unit: after each number of the axis.
        order: invocations in an order that explains everything before the culprit, each with the
            state that it leaves.
        known: operations of the order by their invocations.
        title_room: bytes of a value in what a bar says when it is pointed at.
    """
    if not evidence:
        return None
    window = window_of(evidence, horizon_ns)
    shown = _shown(evidence, neighbours, _Frame(*window), horizon_ns)
    failed = next((i for i in evidence if _is(i, culprit)), None)
    limit_ns = failed.until_ns(horizon_ns) if failed is not None else horizon_ns
    points = points_of(order, known or {}, limit_ns)
    first_seen = dict.fromkeys([i.begin.process for i in evidence])
    first_seen.update(dict.fromkeys(i.begin.process for i in shown))
    rows = {process: place for place, process in enumerate(list(first_seen)[:_ROWS_MAX])}
    faults = [b for b in bands if b.start_ns < window[1] and b.until_ns(horizon_ns) > window[0]]
    faults = faults[:_FAULTS_MAX]
    lanes = list(fault_names(faults))
    top = TOP + len(lanes) * 20 + (6 if lanes else 0)
    bottom = top + len(rows) * ROW + (LANE if points else 0) + 4
    sheet = _Sheet(
        _Frame(*window), top, bottom, horizon_ns, rows, {i.begin.index for i in evidence},
        title_room,
    )  # fmt: skip
    head = f'<svg class="picture" viewBox="0 0 {WIDTH} {bottom + 26}" role="img" {_SVG_LABEL}>'
    out = [head]
    out += _axis(sheet.frame, top, bottom, unit)
    out += _fault_rows(sheet.frame, faults, lanes, fault_names(bands), horizon_ns, top, bottom)
    for process in rows:
        out += _process(sheet, process, shown, culprit)
    out += _order(sheet, points, shown, window, failed) if points else []
    out.append("</svg>")
    return Markup("".join(out))  # noqa: S704 - every text in it went through escape()


class _Sheet(NamedTuple):
    """Where things stand in one picture: heights in pixels, rows by process."""

    frame: _Frame
    top: float
    bottom: float
    horizon_ns: int
    rows: Mapping[int, int]
    own: Set[int]
    title_room: int


def _shown(
    evidence: Sequence[Interval],
    neighbours: Sequence[Interval],
    frame: _Frame,
    horizon_ns: int,
) -> list[Interval]:
    own = {i.begin.index for i in evidence}
    beside = [
        i
        for i in neighbours
        if i.begin.index not in own
        and i.start_ns < frame.stop_ns
        and i.until_ns(horizon_ns) > frame.start_ns
    ]
    return sorted([*evidence, *beside], key=lambda i: (i.start_ns, i.begin.index))


def _process(
    sheet: _Sheet, process: int, shown: Sequence[Interval], culprit: int | None
) -> list[str]:
    """The bars of one process, and its name."""
    frame, horizon_ns = sheet.frame, sheet.horizon_ns
    y = sheet.top + sheet.rows[process] * ROW
    node = next((i.node for i in shown if i.begin.process == process and i.node), None)
    label = f"process {process}" + (f" \u00b7 {visible(node)}" if node else "")
    out = [_row_label(label, y + 19)]
    line = [i for i in shown if i.begin.process == process]
    left = float(GUTTER)
    for place, interval in enumerate(line):
        after = line[place + 1].start_ns if place + 1 < len(line) else frame.stop_ns
        free = _Free(left, frame.x(after), horizon_ns)
        own = interval.begin.index in sheet.own
        text = bar_text(interval, sheet.title_room)
        out += _bar(frame, interval, text, y + 5, free, own, _is(interval, culprit))
        # What stands beside a bar takes room from what stands before the next one.
        used = max(frame.x(interval.until_ns(horizon_ns)), frame.x(interval.start_ns) + 3)
        left = min(frame.x(after), used + len(text) * _CHAR_PX + 12)
    return out


def _row_label(label: str, y: float) -> str:
    return (
        f'<text class="row" x="{GUTTER - 10}" y="{y:.0f}" text-anchor="end">'
        f"{escape(shorten(label, 20))}</text>"
    )


def _order(
    sheet: _Sheet,
    points: Sequence[Point],
    shown: Sequence[Interval],
    window: tuple[int, int],
    failed: Interval | None,
) -> list[str]:
    """The path of the order through the bars, and the lane of values."""
    frame = sheet.frame
    row = {i.begin.index: sheet.rows.get(i.begin.process) for i in shown}
    places = [
        (point, frame.x(point.time_ns), sheet.top + at * ROW + 5 + BAR / 2)
        for point in points
        if (at := row.get(point.op)) is not None and window[0] <= point.time_ns <= window[1]
    ]
    y = sheet.bottom - LANE + 2
    out = draw_path(places)
    out.append(_row_label("value, in this order", y + 14))
    return out + draw_values(points, frame.x, y, window, failed)


def _is(interval: Interval, index: int | None) -> bool:
    end = interval.end.index if interval.end is not None else None
    return index is not None and index in (interval.begin.index, end)


def _bar(
    frame: _Frame,
    interval: Interval,
    text: str,
    y: float,
    free: _Free,
    own: bool,
    culprit: bool,
) -> list[str]:
    """A bar with its text inside, after or before it, wherever there is room."""
    horizon_ns = free.horizon_ns
    x = frame.x(interval.start_ns)
    last_ns = (interval.could_act_until_ns if own else interval.until_ns)(horizon_ns)
    stop = frame.x(last_ns)
    if interval.outcome == "info":
        stop = min(stop, max(free.right - 3, x + 3))
    width = max(3.0, stop - x)
    length = len(text) * _CHAR_PX + 8
    if width > length:
        style, text_x, room = "inside", x + 5, width
    elif free.right - x - width > length or free.right - x - width > x - free.left:
        style, text_x, room = "beside", x + width + 5, free.right - x - width
    else:
        style, text_x, room = "before", x - 5, x - free.left
    space = int((room - 8) / _CHAR_PX)
    shown = shorten(text, space) if space >= min(len(text), 6) else ""
    words = ("bar", interval.outcome, "own" if own else "other", "culprit" if culprit else "")
    title = (
        f"#{interval.begin.index} process {interval.begin.process}: {text} ({interval.outcome})"
    )
    if interval.key is not None:
        title = f"key {shorten(key_text(interval.key), 40)}, {title}"
    anchor = ' text-anchor="end"' if style == "before" else ""
    kind, name = " ".join(filter(None, words)), escape(title)
    return [
        f'<a href="#op={interval.begin.index}" class="{kind}" aria-label="{name}">',
        f"<title>{name}</title>",
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="3"/>',
        f'<text x="{text_x:.1f}" y="{y + 14.5:.1f}"{anchor}>{escape(shown)}</text>'
        if shown
        else "",
        "</a>",
    ]


def _axis(frame: _Frame, top: float, bottom: float, unit: str) -> list[str]:
    length_s = (frame.stop_ns - frame.start_ns) / 1e9
    step = nice_step(length_s / 7)
    digits = 3 if step < 0.01 else 2 if step < 0.1 else 1 if step < 1 else 0
    digits = 6 if step < 0.001 else digits
    tick = -(-(frame.start_ns / 1e9) // step) * step
    out = []
    while tick <= frame.stop_ns / 1e9:
        x = frame.x(int(tick * 1e9))
        out.append(f'<path class="tick" d="M{x:.1f} {top:.0f}V{bottom:.0f}"/>')
        if x < WIDTH - 30:
            out.append(
                f'<text class="axis" x="{x:.1f}" y="{bottom + 17:.0f}" text-anchor="middle">'
                f"{tick:,.{digits}f}{unit}</text>"
            )
        tick += step
    return out


def _fault_rows(
    frame: _Frame,
    faults: Sequence[Application],
    lanes: Sequence[str],
    names: Sequence[str],
    horizon_ns: int,
    top: float,
    bottom: float,
) -> list[str]:
    out = []
    for band in faults:
        y = TOP + lanes.index(band.fault) * 20
        x, stop = frame.x(band.start_ns), frame.x(band.until_ns(horizon_ns))
        colour = names.index(band.fault) % 8
        width = max(2.0, stop - x)
        out.append(
            f'<rect class="band f{colour}" x="{x:.1f}" y="{top:.0f}" width="{width:.1f}" '
            f'height="{bottom - top:.0f}"/><rect class="fault f{colour}" x="{x:.1f}" y="{y}" '
            f'width="{width:.1f}" height="14" rx="2"/>'
        )
        who = shorten(visible(short(band)), int(width / _CHAR_PX))
        if len(who) > 1:
            out.append(
                f'<text class="infault" x="{x + 4:.1f}" y="{y + 11}">{escape(who)}</text>'
            )
    out += [
        f'<text class="row" x="{GUTTER - 10}" y="{TOP + place * 20 + 11}" text-anchor="end">'
        f"{escape(shorten(visible(name), 20))}</text>"
        for place, name in enumerate(lanes)
    ]
    return out
