"""The overview: how many operations a second, how long they took, and whether anyone was served.

All figures here are of every operation of the run, whatever the page itself has room for.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from splitbrain.results.bands import Application
from splitbrain.results.report.axis import LogAxis, ms, nice_step, number
from splitbrain.results.report.frame import FAIL, INFO, OK, OUTCOMES, Frame
from splitbrain.results.report.lines import bin_edges_ms, bin_ns, bins_of, counted, steps_path
from splitbrain.results.report.strips import ROW, Label, Strip, backdrop
from splitbrain.results.text import clock, count, plural, span, visible

__all__ = ["Gap", "availability_strip", "gaps_of", "percentile_strip", "rate_strip"]

Ints = npt.NDArray[np.int64]

_BINS = 240
_LATENCY_BINS_MAX = 120
_LATENCY_BIN_OPS = 40
_GAPS_MAX = 60
_GAP_LEAST_NS = 500_000_000
_NODES_MAX = 24
PERCENTILES = (("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("max", 100.0))


def rate_strip(
    frame: Frame, bands: Sequence[Application], horizon_ns: int, height: float = 120
) -> Strip | None:
    """Completions a second by outcome, as steps; an operation never completed counts nowhere."""
    if not len(frame) or horizon_ns <= 0:
        return None
    step_ns = bin_ns(horizon_ns, _BINS)
    bins = bins_of(horizon_ns, step_ns)
    done = frame.end >= 0
    stop_ns = frame.start_ns + frame.took_ns
    tally = [counted(stop_ns[done & (frame.outcome == o)], step_ns, bins) for o in range(3)]
    per_second = 1e9 / step_ns
    peak = float(max(numbers.max() for numbers in tally)) * per_second
    tick = nice_step(max(peak, 1e-9) / 4)
    top = tick * -(-peak // tick) or tick
    scale = (height - 4) / top
    edges = bin_edges_ms(horizon_ns, step_ns)

    def path(numbers: Ints, base: float | None) -> str:
        return steps_path((height - numbers * per_second * scale).tolist(), edges, base)

    ticks = [tick * i for i in range(round(top / tick) + 1)]
    end = number(ms(horizon_ns))
    out = [str(backdrop(bands, horizon_ns, height))]
    out += [f'<path class="grid" d="M0 {number(height - t * scale)}H{end}"/>' for t in ticks]
    out.append(f'<path class="area ok" d="{path(tally[OK], None)}V{number(height)}H0Z"/>')
    out.append(f'<path class="line ok" d="{path(tally[OK], None)}"/>')
    out += [
        f'<path class="line {OUTCOMES[o]}" d="{path(tally[o], height)}"/>' for o in (FAIL, INFO)
    ]
    return Strip(
        name="rate",
        title=f"Operations a second (each step {span(step_ns)})",
        told=f"at most {count(round(float(tally[OK].max()) * per_second, 1))} ok, "
        f"{count(round(len(frame) / (horizon_ns / 1e9), 1))} begun over the whole run",
        height=height,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=tuple(Label(count(t), height - t * scale) for t in ticks),
        attributes={"step": number(step_ns / 1e6), "kind": "figures"},
    )


def percentile_strip(
    frame: Frame, bands: Sequence[Application], horizon_ns: int, height: float = 112
) -> Strip | None:
    """p50, p95, p99 and the longest of all that ended in each bucket, whatever their outcome.

    A caller waits for a timeout as it does for an answer, so all of them count.  Buckets are as short
    as the number of operations allows: some forty in each.
    """
    done = np.flatnonzero((frame.end >= 0) & (frame.end != frame.begin))
    if len(done) < 2 or horizon_ns <= 0:
        return None
    wanted = min(_LATENCY_BINS_MAX, max(4, len(done) // _LATENCY_BIN_OPS))
    step_ns = bin_ns(horizon_ns, wanted)
    bins = bins_of(horizon_ns, step_ns)
    took = frame.took_ns[done]
    places = np.clip((frame.start_ns[done] + took) // step_ns, 0, bins - 1)
    order = np.lexsort((took, places))
    took = took[order]
    bounds = np.searchsorted(places[order], np.arange(bins + 1))
    axis = LogAxis(float(took.min()) / 1e3, float(took.max()) / 1e3, height)
    edges = bin_edges_ms(horizon_ns, step_ns)
    end = number(ms(horizon_ns))
    out = [str(backdrop(bands, horizon_ns, height))]
    out += [f'<path class="grid" d="M0 {number(y)}H{end}"/>' for y, _ in axis.ticks()]
    for name, share in PERCENTILES:
        heights = [
            None if a == b else axis.y(float(took[_rank(a, b, share)]) / 1e3)
            for a, b in itertools.pairwise(bounds.tolist())
        ]
        out.append(f'<path class="quantile {name}" d="{steps_path(heights, edges, None)}"/>')
    whole = np.sort(took)
    told = ", ".join(
        f"{name} {span(int(whole[_rank(0, len(whole), share)]))}" for name, share in PERCENTILES
    )
    return Strip(
        name="percentiles",
        title="Latency: p50 \u2501, p95 \u254d, p99 \u2505, longest \u2500 "
        f"(each step {span(step_ns)})",
        told=f"all outcomes; whole run {told}",
        height=height,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=tuple(Label(text, y) for y, text in axis.ticks()),
        attributes={"kind": "figures"},
    )


def _rank(first: int, stop: int, share: float) -> int:
    """Place of a percentile in the sorted stretch [first, stop): the nearest rank."""
    return first + max(0, int(np.ceil(share / 100 * (stop - first))) - 1)


class Gap(NamedTuple):
    """A stretch without any success."""

    start_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """Nanoseconds."""
        return self.end_ns - self.start_ns


def gaps_of(frame: Frame, horizon_ns: int) -> list[Gap]:
    """Stretches in which operations were under way and none succeeded, longest first.

    From one success to the next, between the first invocation and the last event of any operation;
    those that are no longer than is usual in this run are left out.
    """
    if not len(frame):
        return []
    stops = frame.start_ns + np.maximum(frame.took_ns, 0)
    first, last = int(frame.start_ns.min()), int(stops.max())
    succeeded = np.sort(stops[frame.outcome == OK])
    moments = np.concatenate([[first], succeeded, [max(first, last)]])
    lengths = np.diff(moments)
    usual = float(np.median(lengths)) if len(succeeded) else 0.0
    least = max(usual * 20, _GAP_LEAST_NS, horizon_ns / 600)
    found = [
        Gap(int(moments[at]), int(moments[at + 1])) for at in np.flatnonzero(lengths >= least)
    ]
    return sorted(found, key=lambda gap: (-gap.length_ns, gap.start_ns))


def answered(
    frame: Frame, answers: Collection[str], errors: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Which operations were answered: ok, or a fail whose word the workload foresees."""
    good = frame.outcome == OK
    if answers:
        foreseen = np.fromiter((word in answers for word in errors), np.bool_, len(errors))
        good[frame.outcome == FAIL] |= foreseen
    return np.asarray(good, np.bool_)


def availability_strip(
    frame: Frame,
    good: npt.NDArray[np.bool_],
    nodes: Sequence[str],
    horizon_ns: int,
) -> Strip | None:
    """A lane for the whole system with the time without a success, and one for each node.

    A lane is filled as high as the share of its operations that was answered, by the moment at which
    they began; where none began, nothing is drawn.
    """
    if not len(frame) or horizon_ns <= 0:
        return None
    gaps = gaps_of(frame, horizon_ns)
    names = [visible(name) for name in nodes]
    named = [*names, *(name for name in frame.nodes if name not in names)][:_NODES_MAX]
    step_ns = bin_ns(horizon_ns, _BINS // 2)
    bins = bins_of(horizon_ns, step_ns)
    edges = bin_edges_ms(horizon_ns, step_ns)
    out = [_share_path(frame, good, None, 0, step_ns, bins, edges)]
    places = {name: place for place, name in enumerate(frame.nodes)}
    for row, name in enumerate(named, start=1):
        if name in places:
            here = frame.node == places[name]
            out.append(_share_path(frame, good, here, row * ROW, step_ns, bins, edges))
    labels = tuple(
        Label(span(gap.length_ns), 0, ms(gap.start_ns), ms(gap.end_ns), kind="gap")
        for gap in gaps[:_GAPS_MAX]
    )
    return Strip(
        name="availability",
        title=f"Share answered, by the node asked (each step {span(step_ns)})",
        told=_gaps_told(gaps),
        height=(len(named) + 1) * ROW,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=(
            Label("all", 0),
            *(Label(name, row * ROW) for row, name in enumerate(named, start=1)),
        ),
        labels=labels,
    )


def _gaps_told(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return "no time without a success that would stand out"
    longest = gaps[0]
    return (
        f"longest time without a success {span(longest.length_ns)}, from "
        f"{clock(longest.start_ns)}; {plural(len(gaps), 'such time')}, "
        f"{span(sum(gap.length_ns for gap in gaps))} in all"
    )


def _share_path(
    frame: Frame,
    good: npt.NDArray[np.bool_],
    here: npt.NDArray[np.bool_] | None,
    top: float,
    step_ns: int,
    bins: int,
    edges: Sequence[float],
) -> str:
    """The filled area of one lane, and behind it, where operations began, the ground of the lane."""
    starts = frame.start_ns if here is None else frame.start_ns[here]
    asked = counted(starts, step_ns, bins)
    fine = counted(frame.start_ns[good if here is None else good & here], step_ns, bins)
    base, room = top + ROW - 2, ROW - 5
    heights = np.where(asked > 0, base - room * fine / np.maximum(asked, 1), np.nan).tolist()
    drawn = [None if y != y else y for y in heights]
    ground = [None if y is None else base - room for y in drawn]
    full = steps_path(ground, edges, base)
    return (
        f'<path class="asked" d="{full}"/>'
        f'<path class="answered" d="{steps_path(drawn, edges, base)}"/>'
    )
