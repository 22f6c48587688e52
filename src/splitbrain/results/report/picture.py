"""The picture of an anomaly: its few operations on a real time axis, among their neighbours.

A row for each process; a bar from invocation to completion; the faults of exactly that window behind
them; operations of the same key that are not evidence in grey.  A complete SVG with its own text, so
that it can be copied out of the page; each bar is a link to its operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from splitbrain.results.bands import Application, short
from splitbrain.results.report.axis import nice_step
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.strips import fault_names
from splitbrain.results.text import key_text, shorten, value_text, visible

__all__ = ["bar_text", "draw", "window_of"]

WIDTH = 1000
GUTTER = 132
ROW = 30
BAR = 20
TOP = 8
_CHAR_PX = 6.7
_ROWS_MAX = 24
_SVG_LABEL = (
    'xmlns="http://www.w3.org/2000/svg" aria-label="The operations above on a time axis"'
)


def bar_text(interval: Interval) -> str:
    """What a bar says: ``write 9``, ``read → 3``, ``cas [1, 2] ✗``."""
    argument = interval.begin.value
    text = visible(interval.begin.f)
    if argument is not None:
        text += f" {value_text(argument)}"
    end = interval.end
    if end is not None and end.type == "ok" and end.value is not None and end.value != argument:
        text += f" \u2192 {value_text(end.value)}"
    elif end is not None and end.type == "ok" and argument is None and end.value is None:
        text += " \u2192 null"
    elif interval.outcome == "fail":
        text += " \u2717"
    elif interval.outcome == "info":
        text += " ?"
    return text


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
) -> Markup | None:
    """The SVG, or None without evidence.  ``culprit`` is an event of the operation that cannot be."""
    if not evidence:
        return None
    frame = _Frame(*window_of(evidence, horizon_ns))
    own_indexes = {i.begin.index for i in evidence}
    shown = [*evidence]
    shown += [
        i
        for i in neighbours
        if i.begin.index not in own_indexes
        and i.start_ns < frame.stop_ns
        and i.until_ns(horizon_ns) > frame.start_ns
    ]
    shown.sort(key=lambda i: (i.start_ns, i.begin.index))
    first_seen = dict.fromkeys([i.begin.process for i in evidence])
    first_seen.update(dict.fromkeys(i.begin.process for i in shown))
    processes = list(first_seen)[:_ROWS_MAX]
    rows = {process: place for place, process in enumerate(processes)}
    faults = [
        b
        for b in bands
        if b.start_ns < frame.stop_ns and b.until_ns(horizon_ns) > frame.start_ns
    ]
    names = fault_names(bands)
    lanes = list(fault_names(faults))
    top = TOP + len(lanes) * 20 + (6 if lanes else 0)
    height = top + len(rows) * ROW + 30
    head = f'<svg class="picture" viewBox="0 0 {WIDTH} {height}" role="img" {_SVG_LABEL}>'
    out = [head]
    out += _axis(frame, top, height - 26, unit)
    out += _fault_rows(frame, faults, lanes, names, horizon_ns, top, height - 26)
    for process, row in rows.items():
        node = next((i.node for i in shown if i.begin.process == process and i.node), None)
        label = f"process {process}" + (f" · {visible(node)}" if node else "")
        out.append(
            f'<text class="row" x="{GUTTER - 10}" y="{top + row * ROW + 19}" '
            f'text-anchor="end">{escape(shorten(label, 20))}</text>'
        )
        line = [i for i in shown if i.begin.process == process]
        left = float(GUTTER)
        for place, interval in enumerate(line):
            after = line[place + 1].start_ns if place + 1 < len(line) else frame.stop_ns
            free = _Free(left, frame.x(after), horizon_ns)
            own = interval.begin.index in own_indexes
            out += _bar(frame, interval, top + row * ROW + 5, free, own, _is(interval, culprit))
            # What stands beside a bar takes room from what stands before the next one.
            used = max(frame.x(interval.until_ns(horizon_ns)), frame.x(interval.start_ns) + 3)
            left = min(frame.x(after), used + len(bar_text(interval)) * _CHAR_PX + 12)
    out.append("</svg>")
    return Markup("".join(out))  # noqa: S704 - every text in it went through escape()


def _is(interval: Interval, index: int | None) -> bool:
    end = interval.end.index if interval.end is not None else None
    return index is not None and index in (interval.begin.index, end)


def _bar(
    frame: _Frame, interval: Interval, y: float, free: _Free, own: bool, culprit: bool
) -> list[str]:
    """A bar with its text inside, after or before it, wherever there is room."""
    horizon_ns = free.horizon_ns
    x = frame.x(interval.start_ns)
    last_ns = (interval.could_act_until_ns if own else interval.until_ns)(horizon_ns)
    stop = frame.x(last_ns)
    if interval.outcome == "info":
        stop = min(stop, max(free.right - 3, x + 3))
    width = max(3.0, stop - x)
    text = bar_text(interval)
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
