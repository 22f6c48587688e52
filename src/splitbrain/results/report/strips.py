"""Strips: charts one below the other that share a time axis.

A strip is a gutter with labels and an SVG whose x is milliseconds of the test, drawn with
``preserveAspectRatio="none"`` and strokes that do not scale.  To zoom, the page's script changes
nothing but the view box; without a script the same drawing simply shows the whole run.  Text is HTML
beside or over the SVG, so that it is never stretched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from splitbrain.results.bands import Application, short
from splitbrain.results.report.axis import ms, nice_step, number
from splitbrain.results.report.intervals import Interval
from splitbrain.results.text import count, span, visible

__all__ = [
    "Label",
    "Reign",
    "Strip",
    "anomaly_strip",
    "backdrop",
    "fault_names",
    "fault_strip",
    "leader_strip",
    "rate_strip",
    "reigns",
]

ROW = 20
"""Height of a lane's row in pixels."""


class Label(msgspec.Struct, frozen=True):
    """Text over a strip: in the gutter at ``top`` pixels, or in the plot from ``start`` to ``stop`` ms.

    One that stops where it starts marks a moment; ``link`` makes it a link.
    """

    text: str
    top: float = 0.0
    start: float = 0.0
    stop: float = 0.0
    link: str = ""


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """One chart of the shared axis.

    Attributes:
        name: id in the page: ``faults``, ``leaders``, ``rate``, ``latency-0`` ...
        title: what it shows.
        height: pixels.
        svg: content of its SVG.
        gutter: labels left of it.
        labels: labels over it.
        attributes: further attributes for the page's script.
    """

    name: str
    title: str
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
        labels.append(Label(text, row * ROW, start, start, f"#anomaly-{card}"))
    height = ROW * (1 + max(int(label.top) // ROW for label in labels))
    lines = "".join(f"M{number(label.start)} 0V{height}" for label in labels)
    return Strip(
        name="anomalies",
        title="Anomalies",
        height=height,
        svg=Markup(f'<path class="when" d="{lines}"/>'),  # noqa: S704 - numbers only
        labels=tuple(labels),
    )


def fault_strip(bands: Sequence[Application], horizon_ns: int) -> Strip | None:
    """A lane for each kind of fault; what had no effect is drawn hollow."""
    if not bands:
        return None
    names = fault_names(bands)
    out, labels = [], []
    for band in bands:
        row = names.index(band.fault)
        start = ms(band.start_ns)
        width = max(ms(band.until_ns(horizon_ns)) - start, ms(horizon_ns) / 400)
        out.append(
            f'<rect class="fault f{_place(names, band.fault)} {band.effect}" '
            f'x="{number(start)}" y="{row * ROW + 3}" width="{number(width)}" '
            f'height="{ROW - 6}"/>'
        )
        labels.append(Label(visible(short(band)), row * ROW, start, start + width))
    return Strip(
        name="faults",
        title="Faults",
        height=len(names) * ROW,
        svg=Markup("".join(out)),  # noqa: S704 - numbers and fixed words only
        gutter=tuple(Label(visible(n), i * ROW) for i, n in enumerate(names)),
        labels=tuple(labels),
    )


class Reign(msgspec.Struct, frozen=True, kw_only=True):
    """A node as leader of a term, from when it said so until it said otherwise or was killed."""

    node: str
    term: int
    start_ns: int
    end_ns: int


_NO_LEADER = frozenset(
    {"follower", "candidate", "pre_candidate", "learner", "start", "stop", "killed", "crash"}
)
"""What a node says when it is leader no longer."""


def reigns(
    events: Iterable[Mapping[str, Any]], bands: Sequence[Application], horizon_ns: int
) -> list[Reign]:
    """Who was leader of which term when, by the nodes' own word.

    Two reigns may overlap: a leader that was cut off believes in itself until it hears otherwise.
    """
    ends: list[tuple[int, str, str, int]] = [
        (band.start_ns, target, "killed", 0)
        for band in bands
        if band.fault in ("kill", "power")
        for target in band.targets
    ]
    for event in events:
        time_ns, node, term = event.get("time_ns"), event.get("node"), event.get("term")
        if isinstance(time_ns, int) and isinstance(node, str):
            kind = str(event.get("kind", ""))
            ends.append((time_ns, node, kind, term if isinstance(term, int) else 0))
    open_reigns: dict[str, tuple[int, int]] = {}
    found: list[Reign] = []

    def close(node: str, time_ns: int) -> None:
        if node in open_reigns:
            start_ns, term = open_reigns.pop(node)
            found.append(Reign(node=node, term=term, start_ns=start_ns, end_ns=time_ns))

    for time_ns, node, kind, term in sorted(ends, key=lambda end: end[0]):
        if kind == "leader":
            if open_reigns.get(node, (0, -1))[1] != term:
                close(node, time_ns)
                open_reigns[node] = (time_ns, term)
        elif kind in _NO_LEADER:
            close(node, time_ns)
    for node in list(open_reigns):
        close(node, horizon_ns)
    return sorted(found, key=lambda reign: (reign.start_ns, reign.node))


def leader_strip(
    found: Sequence[Reign], nodes: Sequence[str], bands: Sequence[Application], horizon_ns: int
) -> Strip | None:
    """A lane for each node with its reigns, numbered by term."""
    if not found:
        return None
    rows = [*nodes, *sorted({reign.node for reign in found} - set(nodes))]
    height = len(rows) * ROW
    out, labels = [str(backdrop(bands, horizon_ns, height))], []
    for reign in found:
        top = rows.index(reign.node) * ROW
        start, stop = ms(reign.start_ns), ms(reign.end_ns)
        out.append(
            f'<rect class="reign t{reign.term % 2}" x="{number(start)}" y="{top + 3}" '
            f'width="{number(max(stop - start, 0.001))}" height="{ROW - 6}"/>'
        )
        labels.append(Label(f"term {reign.term}", top, start, stop))
    return Strip(
        name="leaders",
        title="Leader and term",
        height=height,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=tuple(Label(visible(node), i * ROW) for i, node in enumerate(rows)),
        labels=tuple(labels),
    )


def _binned(intervals: Iterable[Interval], step_ns: float, bins: int) -> dict[str, list[int]]:
    """Completions a bin, by outcome; an operation that never completed counts nowhere."""
    tally = {outcome: [0] * bins for outcome in ("ok", "fail", "info")}
    for interval in intervals:
        if interval.end is not None:
            tally[interval.outcome][min(bins - 1, int(interval.end.time_ns / step_ns))] += 1
    return tally


def _steps(heights: Sequence[float], edges: Sequence[float], base: float | None) -> str:
    """A line of steps; where it lies on ``base`` nothing is drawn, for several lie there at once."""
    parts: list[str] = []
    last: float | None = base
    for place, y in enumerate(heights):
        if y != last:
            x = number(edges[place])
            if last == base or last is None:
                parts.append(f"M{x} {number(y if base is None else base)}V{number(y)}")
            else:
                parts.append(f"H{x}V{number(y)}")
        last = y
    if last != base:
        parts.append(f"H{number(edges[-1])}")
    return "".join(parts)


def rate_strip(
    intervals: Sequence[Interval],
    bands: Sequence[Application],
    horizon_ns: int,
    height: float = 130,
) -> Strip | None:
    """Completions a second by outcome, as steps."""
    if not intervals or horizon_ns <= 0:
        return None
    step_ns = max(1.0, nice_step(horizon_ns / 240 / 1e9) * 1e9)
    bins = max(1, int(-(-horizon_ns // step_ns)))
    tally = _binned(intervals, step_ns, bins)
    per_second = 1e9 / step_ns
    peak = max(max(numbers) for numbers in tally.values()) * per_second
    tick = nice_step(max(peak, 1e-9) / 4)
    top = tick * -(-peak // tick) or tick
    scale = (height - 4) / top

    def path(numbers: Sequence[int], *, gaps: bool = True) -> str:
        return _steps(
            [height - amount * per_second * scale for amount in numbers],
            [ms(min(horizon_ns, int(place * step_ns))) for place in range(bins + 1)],
            height if gaps else None,
        )

    out = [str(backdrop(bands, horizon_ns, height))]
    ticks = [tick * i for i in range(round(top / tick) + 1)]
    out += [
        f'<path class="grid" d="M0 {number(height - t * scale)}H{number(ms(horizon_ns))}"/>'
        for t in ticks
    ]
    line = path(tally["ok"], gaps=False)
    base = number(height)
    out.append(f'<path class="area ok" d="{line}V{base}H0Z"/>')
    out += [f'<path class="line {o}" d="{path(tally[o])}"/>' for o in ("ok", "fail", "info")]
    every = span(step_ns)
    return Strip(
        name="rate",
        title=f"Operations a second (each step {every})",
        height=height,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=tuple(Label(count(t), height - t * scale) for t in ticks),
        attributes={"step": number(step_ns / 1e6)},
    )
