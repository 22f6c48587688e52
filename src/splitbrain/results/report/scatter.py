"""The two charts that show single operations: latency by function, and the timeline by worker.

With many operations several fall on one pixel.  What is drawn then is one mark for each small cell of
the picture, and of the operations in a cell the one with the worst outcome: thinning can hide a
success behind a failure, never a failure behind a success.  Where a chart would still hold more marks
than a page has room for, its cells are larger.  The page's script redraws both from the operations
that the page holds when the reader zooms in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from splitbrain.results.bands import Application
from splitbrain.results.report.axis import LogAxis, ms, number
from splitbrain.results.report.frame import INFO, OUTCOMES, Frame
from splitbrain.results.report.strips import Label, Strip, backdrop
from splitbrain.results.text import count, plural, visible

__all__ = ["LANE", "latency_strips", "timeline_strip"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FUNCTIONS_MAX = 5
_COLUMNS = 640
_CELL_PX = 3.0
_COARSER = (1, 2, 4, 8)
"""By how much cells are made larger until there are few enough."""

_MARKS_MAX = 24_000
_ROWS_MAX = 64
_SUSPECTS_MAX = 3_000
LANE = 14


def latency_strips(
    frame: Frame, bands: Sequence[Application], horizon_ns: int, height: float = 112
) -> list[Strip]:
    """One scatter for each of the commonest functions, all on one scale."""
    done = np.flatnonzero((frame.end >= 0) & (frame.end != frame.begin))
    if not len(done) or horizon_ns <= 0:
        return []
    took = frame.took_ns[done]
    axis = LogAxis(float(took.min()) / 1e3, float(took.max()) / 1e3, height)
    tally = np.bincount(frame.f[done], minlength=len(frame.functions))
    common = sorted(np.flatnonzero(tally), key=lambda f: (-tally[f], frame.functions[f]))
    common = common[:_FUNCTIONS_MAX]
    rows = [done[frame.f[done] == f] for f in common]
    heights = [axis.heights(frame.took_ns[own] / 1e3) for own in rows]
    kept, _ = _few_enough(
        lambda coarser: [
            _cells(frame, own, y, horizon_ns, coarser)
            for own, y in zip(rows, heights, strict=True)
        ]
    )
    shared = str(backdrop(bands, horizon_ns, height))
    end = number(ms(horizon_ns))
    shared += "".join(f'<path class="grid" d="M0 {number(y)}H{end}"/>' for y, _ in axis.ticks())
    return [
        Strip(
            name=f"latency-{place}",
            title=f"Latency of {frame.functions[f]}",
            told=f"{plural(int(tally[f]), 'operation')}",
            height=height,
            svg=Markup(  # noqa: S704 - numbers only
                shared + _dots(frame, rows[place][kept[place]], heights[place][kept[place]])
            ),
            gutter=tuple(Label(text, y) for y, text in axis.ticks()),
            attributes={
                "kind": "latency", "f": frame.functions[f],
                "low": str(axis.low), "high": str(axis.high),
            },
        )
        for place, f in enumerate(common)
    ]  # fmt: skip


def _thinned(cells: Ints, outcome: Ints) -> Ints:
    """Of the operations in one cell the first with the worst outcome: their places, by cell."""
    order = np.lexsort((np.arange(len(cells)), -outcome, cells))
    chosen = np.ones(len(order), np.bool_)
    chosen[1:] = cells[order][1:] != cells[order][:-1]
    return order[chosen]


def _few_enough(
    drawn: Callable[[int], list[Ints]], most: int = _MARKS_MAX
) -> tuple[list[Ints], int]:
    """The places drawn with the smallest cells that leave at most ``most``, and by how much larger."""
    for coarser in _COARSER:
        places = drawn(coarser)
        if sum(map(len, places)) <= most:
            break
    return places, coarser


def _cells(frame: Frame, rows: Ints, y: Floats, horizon_ns: int, coarser: int) -> Ints:
    """Places in ``rows`` of those that are drawn."""
    column_ns = max(1.0, horizon_ns / _COLUMNS * coarser)
    columns = (frame.start_ns[rows] / column_ns).astype(np.int64)
    cells = columns * 4096 + (y / (_CELL_PX * coarser)).astype(np.int64)
    return np.sort(_thinned(cells, frame.outcome[rows]))


def _dots(frame: Frame, rows: Ints, y: Floats) -> str:
    marks = (
        (int(o), f"M{number(x)} {v:.1f}h0")
        for o, x, v in zip(
            frame.outcome[rows].tolist(),
            (frame.start_ns[rows] / 1e6).tolist(),
            y.tolist(),
            strict=True,
        )
    )
    return _paths("dots", marks)


def _paths(kind: str, pieces: Iterable[tuple[int, str]]) -> str:
    """One path for each outcome; dots of info have a core over them, which makes them rings."""
    drawn: list[list[str]] = [[], [], []]
    for outcome, piece in pieces:
        drawn[outcome].append(piece)
    paths = [
        (f"{kind} {name}", "".join(parts)) for name, parts in zip(OUTCOMES, drawn, strict=True)
    ]
    if kind == "dots":
        paths.append((f"{kind} info core", paths[INFO][1]))
    return "".join(f'<path class="{name}" d="{d}"/>' for name, d in paths)


def _by_lane(frame: Frame, rows: Ints, lanes: Ints, column_ns: float) -> Ints:
    """Places in ``rows`` of those that are drawn in their lanes."""
    cells = lanes[rows] * 4096 + (frame.start_ns[rows] / column_ns).astype(np.int64)
    return np.sort(_thinned(cells, frame.outcome[rows]))


def _few_in_lanes(
    frame: Frame, rows: Ints, lanes: Ints, column_ns: float, most: int
) -> tuple[Ints, int]:
    """At most ``most`` of ``rows``, and by how much their cells are larger."""
    (drawn,), coarser = _few_enough(
        lambda c: [_by_lane(frame, rows, lanes, column_ns * c)], most
    )
    return rows[drawn], coarser


def timeline_strip(
    frame: Frame,
    workers: Ints,
    bands: Sequence[Application],
    horizon_ns: int,
    suspects: Sequence[int] = (),
) -> Strip | None:
    """A lane for each worker with its operations from invocation to completion.

    Args:
        frame: the operations.
        workers: the worker of each.
        bands: faults, drawn behind.
        horizon_ns: end of the axis.
        suspects: rows of operations that take part in an anomaly.
    """
    if not len(frame) or horizon_ns <= 0:
        return None
    names, lanes = np.unique(workers, return_inverse=True)
    rows = min(len(names), _ROWS_MAX)
    height = rows * LANE
    column_ns = max(1.0, horizon_ns / _COLUMNS)
    shown = np.flatnonzero(lanes < rows)

    kept, coarser = _few_in_lanes(frame, shown, lanes, column_ns, _MARKS_MAX)
    accused = np.asarray([row for row in suspects if lanes[row] < rows], np.int64)
    if len(accused) > _SUSPECTS_MAX:
        accused, _ = _few_in_lanes(frame, accused, lanes, column_ns, _SUSPECTS_MAX)
    stops = frame.stop_ns(horizon_ns)
    least_ns = column_ns * coarser * 0.9
    widths = np.maximum(stops[kept] - frame.start_ns[kept], least_ns) / 1e6
    pieces = (
        (o, f"M{number(x)} {number(lane * LANE + LANE / 2)}h{number(width)}")
        for o, x, lane, width in zip(
            frame.outcome[kept].tolist(), (frame.start_ns[kept] / 1e6).tolist(),
            lanes[kept].tolist(), widths.tolist(), strict=True,
        )
    )  # fmt: skip
    marks = "".join(
        f"M{number(ms(int(stops[row])))} {number(lanes[row] * LANE + LANE / 2)}h0"
        for row in accused.tolist()
    )
    return Strip(
        name="timeline",
        title="Operations, a row for each worker",
        told=f"{plural(len(frame), 'operation')} of {plural(len(names), 'worker')}"
        + (f"; the first {count(rows)} are drawn" if rows < len(names) else ""),
        height=height,
        svg=Markup(  # noqa: S704 - numbers only
            str(backdrop(bands, horizon_ns, height))
            + _paths("segments", pieces)
            + f'<path class="suspects" d="{marks}"/>'
        ),
        gutter=tuple(
            Label(visible(str(name)), i * LANE) for i, name in enumerate(names[:rows].tolist())
        ),
        attributes={"kind": "timeline", "lane": str(LANE)},
    )
