"""Strips: charts one below the other that share a time axis.

A strip is a gutter with labels and an SVG whose x is milliseconds of the test, drawn with
``preserveAspectRatio="none"`` and strokes that do not scale.  To zoom, the page's script changes
nothing but the view box; without a script the same drawing simply shows the whole run.  Text is HTML
beside or over the SVG, so that it is never stretched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from markupsafe import Markup

from splitbrain.results.bands import Application, short
from splitbrain.results.report.axis import ms, number
from splitbrain.results.report.brief import cut
from splitbrain.results.text import count, plural, visible

__all__ = [
    "ROW",
    "Label",
    "Strip",
    "anomaly_strip",
    "backdrop",
    "fault_names",
    "fault_strip",
]

ROW = 20
"""Height of a lane's row in pixels."""


class Label(msgspec.Struct, frozen=True):
    """Text over a strip: in the gutter at ``top`` pixels, or in the plot from ``start`` to ``stop`` ms.

    Attributes:
        link: makes it a link to that place of the page.
        kind: ``span`` lies over its stretch of time and vanishes where that is too narrow; ``at``
            marks a moment; ``proof`` marks one and stands before it; ``gap`` is a hatched stretch.
    """

    text: str
    top: float = 0.0
    start: float = 0.0
    stop: float = 0.0
    link: str = ""
    kind: Literal["span", "at", "proof", "gap"] = "span"
    title: str = ""


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """One chart of the shared axis.

    Attributes:
        name: id in the page: ``faults``, ``leaders``, ``rate``, ``latency-0`` ...
        title: what it shows.
        told: what it shows of this run, in words: a reader who sees no picture has this.
        height: pixels.
        svg: content of its SVG.
        gutter: labels left of it.
        labels: labels over it.
        attributes: further attributes for the page's script.
    """

    name: str
    title: str
    told: str = ""
    height: float
    svg: Markup
    gutter: tuple[Label, ...] = ()
    labels: tuple[Label, ...] = ()
    attributes: Mapping[str, str] = {}


def fault_names(bands: Iterable[Application]) -> tuple[str, ...]:
    """The faults of a run in order of first use: a fault's place here is its colour."""
    return tuple(dict.fromkeys(band.fault for band in bands))


def _place(names: Sequence[str], fault: str) -> int:
    return names.index(fault) % 8


def backdrop(bands: Sequence[Application], horizon_ns: int, height: float) -> Markup:
    """The shaded bands behind a chart."""
    names = fault_names(bands)
    out = []
    for band in bands:
        start, stop = ms(band.start_ns), ms(band.until_ns(horizon_ns))
        if stop - start <= 0 or band.single:
            out.append(
                f'<path class="moment f{_place(names, band.fault)}" '
                f'd="M{number(start)} 0V{number(height)}"/>'
            )
        else:
            out.append(
                f'<rect class="band f{_place(names, band.fault)}" x="{number(start)}" '
                f'width="{number(stop - start)}" height="{number(height)}"/>'
            )
    return Markup("".join(out))  # noqa: S704 - numbers only


_CHAR_PX = 7.5
_PLOT_PX = 1000.0
_MARK_ROWS_MAX = 6


def anomaly_strip(moments: Sequence[tuple[int, str, int]], horizon_ns: int) -> Strip | None:
    """A mark for each anomaly at its last operation: (number of its card, kind, time).

    Marks that would write over each other stand in rows; what finds no room keeps its mark alone.
    """
    if not moments:
        return None
    labels, busy_until = [], [-1.0] * _MARK_ROWS_MAX
    for card, kind, time_ns in sorted(moments, key=lambda moment: moment[2]):
        text = f"\u25c6 {visible(kind)}"
        start = ms(time_ns)
        stop = start + ms(horizon_ns) * len(text) * _CHAR_PX / _PLOT_PX
        row = next((r for r, until in enumerate(busy_until) if until < start), None)
        if row is None:
            row, text = _MARK_ROWS_MAX - 1, "\u25c6"
        busy_until[row] = max(busy_until[row], stop)
        labels.append(Label(text, row * ROW, start, start, f"#anomaly-{card}", "at"))
    height = ROW * (1 + max(int(label.top) // ROW for label in labels))
    lines = "".join(f"M{number(label.start)} 0V{height}" for label in labels)
    return Strip(
        name="anomalies",
        title="Anomalies",
        height=height,
        svg=Markup(f'<path class="when" d="{lines}"/>'),  # noqa: S704 - numbers only
        labels=tuple(labels),
    )


_MARKS = {"effective": "\u2713", "no-effect": "\u2715", "masked": "\u25d0", "unproven": "?"}
_EFFECTS = {
    "effective": "seen to take effect",
    "no-effect": "seen to have no effect",
    "masked": "masked by another fault",
    "unproven": "not shown to take effect",
}
_LANES_MAX = 4
_LABEL_MAX = 120


def fault_strip(
    bands: Sequence[Application], horizon_ns: int, total: int | None = None
) -> Strip | None:
    """Lanes for each kind of fault: whom it hurt, and a tick where its effect was observed.

    Applications that overlap lie in lanes of their own; what had no effect is drawn hollow.  Of
    ``total`` applications these are the ones to be drawn.
    """
    if not bands:
        return None
    names = fault_names(bands)
    lanes, firsts, height = _stacked(bands, names, horizon_ns)
    out, labels = [], []
    for band, lane in zip(bands, lanes, strict=True):
        top = lane * ROW
        start = ms(band.start_ns)
        width = max(ms(band.until_ns(horizon_ns)) - start, ms(horizon_ns) / 400)
        out.append(
            f'<rect class="fault f{_place(names, band.fault)} {band.effect}" '
            f'x="{number(start)}" y="{top + 3}" width="{number(width)}" '
            f'height="{ROW - 6}"/>'
        )
        seen = ms(band.applied_ns) if band.applied_ns is not None else start
        who = cut(visible(short(band)), _LABEL_MAX)
        labels.append(Label(who, top, min(seen, start + width), start + width))
        labels.append(
            Label(_MARKS[band.effect], top, seen, seen, "", "proof", _EFFECTS[band.effect])
        )
        out.append(f'<path class="seen" d="M{number(seen)} {top + 3}v{ROW - 6}"/>')
    proven = sum(band.effect == "effective" for band in bands)
    return Strip(
        name="faults",
        title="Faults: whom they hurt",
        told=f"{plural(len(bands), 'application')}, {proven} \u2713 seen to take effect at the tick"
        + "".join(
            f", {n} {_MARKS[effect]} {_EFFECTS[effect]}"
            for effect in ("no-effect", "masked", "unproven")
            if (n := sum(band.effect == effect for band in bands))
        )
        + (f"; these, the longest, of {count(total)}" if total and total > len(bands) else ""),
        height=height * ROW,
        svg=Markup("".join(out)),  # noqa: S704 - numbers and fixed words only
        gutter=tuple(
            Label(visible(n), first * ROW) for n, first in zip(names, firsts, strict=True)
        ),
        labels=tuple(labels),
    )


def _stacked(
    bands: Sequence[Application], names: Sequence[str], horizon_ns: int
) -> tuple[list[int], list[int], int]:
    """A lane for each band, the first lane of each name, and how many lanes there are."""
    inner: list[int] = []
    free: dict[str, list[int]] = {name: [] for name in names}
    for band in bands:
        ends = free[band.fault]
        lane = next((at for at, end in enumerate(ends) if end <= band.start_ns), len(ends))
        if lane == len(ends) and lane < _LANES_MAX:
            ends.append(0)
        lane = min(lane, len(ends) - 1)
        ends[lane] = max(ends[lane], band.until_ns(horizon_ns))
        inner.append(lane)
    firsts, height = [], 0
    for name in names:
        firsts.append(height)
        height += len(free[name])
    first_of = dict(zip(names, firsts, strict=True))
    lanes = [first_of[band.fault] + lane for band, lane in zip(bands, inner, strict=True)]
    return lanes, firsts, height
