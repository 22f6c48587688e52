"""The two charts that show single operations: latency by function, and the timeline by worker.

With many operations several fall on one pixel.  What is drawn then is one mark for each small cell of
the picture, and of the operations in a cell the one with the worst outcome: thinning can hide a
success behind a failure, never a failure behind a success.  The page's script redraws both from all
operations when the reader zooms in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from splitbrain.results.bands import Application
from splitbrain.results.report.axis import LogAxis, ms, number
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.strips import Label, Strip, backdrop
from splitbrain.results.text import plural, visible

__all__ = ["latency_strips", "timeline_strip"]

_FUNCTIONS_MAX = 5
_COLUMNS = 640
_CELL_PX = 3.0
_WORST = {"ok": 0, "fail": 1, "info": 2}
LANE = 14


def latency_strips(
    intervals: Sequence[Interval],
    bands: Sequence[Application],
    horizon_ns: int,
    height: float = 112,
) -> list[Strip]:
    """One scatter for each of the commonest functions, all on one scale."""
    done = [i for i in intervals if i.end is not None and i.end is not i.begin]
    if not done or horizon_ns <= 0:
        return []
    tally: dict[str, int] = {}
    low, high = float("inf"), 0.0
    for interval in done:
        tally[interval.begin.f] = tally.get(interval.begin.f, 0) + 1
        latency = _latency_us(interval)
        low, high = min(low, latency), max(high, latency)
    axis = LogAxis(low, high, height)
    functions = sorted(tally, key=lambda f: (-tally[f], f))[:_FUNCTIONS_MAX]
    shared = str(backdrop(bands, horizon_ns, height))
    end = number(ms(horizon_ns))
    shared += "".join(f'<path class="grid" d="M0 {number(y)}H{end}"/>' for y, _ in axis.ticks())
    by_function: dict[str, list[Interval]] = {f: [] for f in functions}
    for interval in done:
        if interval.begin.f in by_function:
            by_function[interval.begin.f].append(interval)
    return [
        Strip(
            name=f"latency-{place}",
            title=f"Latency of {visible(f)}",
            height=height,
            svg=Markup(shared + _dots(by_function[f], axis, horizon_ns)),  # noqa: S704 - numbers
            gutter=tuple(Label(text, y) for y, text in axis.ticks()),
            attributes={
                "kind": "latency", "f": f, "low": str(axis.low), "high": str(axis.high),
            },
        )
        for place, f in enumerate(functions)
    ]  # fmt: skip


def _latency_us(interval: Interval) -> float:
    assert interval.end is not None
    return (interval.end.time_ns - interval.begin.time_ns) / 1e3


def _dots(intervals: Iterable[Interval], axis: LogAxis, horizon_ns: int) -> str:
    cells: dict[tuple[int, int], tuple[str, float, float]] = {}
    column_ns = max(1.0, horizon_ns / _COLUMNS)
    for interval in intervals:
        y = axis.y(_latency_us(interval))
        cell = (int(interval.start_ns / column_ns), int(y / _CELL_PX))
        known = cells.get(cell)
        if known is None or _WORST[known[0]] < _WORST[interval.outcome]:
            cells[cell] = (interval.outcome, ms(interval.start_ns), y)
    return _paths("dots", ((o, f"M{number(x)} {y:.1f}h0") for o, x, y in cells.values()))


def _paths(kind: str, pieces: Iterable[tuple[str, str]]) -> str:
    """One path for each outcome; dots of info have a core over them, which makes them rings."""
    drawn: dict[str, list[str]] = {"ok": [], "fail": [], "info": []}
    for outcome, piece in pieces:
        drawn[outcome].append(piece)
    paths = [(f"{kind} {outcome}", "".join(parts)) for outcome, parts in drawn.items()]
    if kind == "dots":
        paths.append((f"{kind} info core", paths[-1][1]))
    return "".join(f'<path class="{name}" d="{d}"/>' for name, d in paths)


def timeline_strip(
    intervals: Sequence[Interval],
    workers: Mapping[int, int],
    bands: Sequence[Application],
    horizon_ns: int,
    suspects: Iterable[Interval] = (),
) -> Strip | None:
    """A lane for each worker with its operations from invocation to completion."""
    if not intervals or horizon_ns <= 0:
        return None
    rows = sorted(set(workers.values()))
    place = {row: number_ for number_, row in enumerate(rows)}
    height = len(rows) * LANE
    column_ns = max(1.0, horizon_ns / _COLUMNS)
    cells: dict[tuple[int, int], Interval] = {}
    for interval in intervals:
        cell = (workers[interval.begin.process], int(interval.start_ns / column_ns))
        known = cells.get(cell)
        if known is None or _WORST[known.outcome] < _WORST[interval.outcome]:
            cells[cell] = interval
    pieces = []
    for (row, _), interval in cells.items():
        width = max(interval.until_ns(horizon_ns) - interval.start_ns, column_ns * 0.9)
        y = place[row] * LANE + LANE / 2
        pieces.append(
            (
                interval.outcome,
                f"M{number(ms(interval.start_ns))} {number(y)}h{number(width / 1e6)}",
            )
        )
    marks = "".join(
        f"M{number(ms(i.until_ns(horizon_ns)))} {place[workers[i.begin.process]] * LANE + LANE / 2}h0"
        for i in suspects
    )
    return Strip(
        name="timeline",
        title=f"Operations by worker ({plural(len(rows), 'worker')})",
        height=height,
        svg=Markup(  # noqa: S704 - numbers only
            str(backdrop(bands, horizon_ns, height))
            + _paths("segments", pieces)
            + f'<path class="suspects" d="{marks}"/><path class="chosen" d=""/>'
        ),
        gutter=tuple(Label(str(row), i * LANE) for i, row in enumerate(rows)),
        attributes={"kind": "timeline", "lane": str(LANE)},
    )
