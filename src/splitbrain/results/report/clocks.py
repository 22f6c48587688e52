"""Clock offsets: how far each node's wall clock was set apart, as told by the clock faults.

Nobody samples the nodes' clocks while a test runs: a fault looks at a clock when it sets it, and that
is all that is known.  So these lines are what the faults were asked to do, where their effect was not
denied by what they saw:

    jump     a step, kept until clocks are righted or the node starts anew
    strobe   the stretch between two values that the clock flips between
    drift    a slope

A stop of any clock fault rights its targets' clocks, ``heal-all`` those of all nodes, and a node that
was killed comes back with right clocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.bands import Application
from splitbrain.results.report.axis import ms, number
from splitbrain.results.report.strips import Label, Strip, backdrop
from splitbrain.results.text import span, visible

__all__ = ["Leg", "clock_strip", "legs_of"]

LANE = 34
_FAULTS = ("clock-jump", "clock-strobe", "clock-drift", "clock-beyond-lease")
_LEAST_MS = 1.0


class Leg(NamedTuple):
    """A stretch of one node's clock: ``offset_ms`` apart at its start, changing by ``rate``.

    ``flip_ms``: how much further it is in the other half of a strobe.
    """

    node: str
    start_ns: int
    end_ns: int
    offset_ms: float
    rate: float = 0.0
    flip_ms: float = 0.0

    @property
    def last_ms(self) -> float:
        """Its offset at its end."""
        return self.offset_ms + self.rate * (self.end_ns - self.start_ns) / 1e6


def legs_of(
    bands: Sequence[Application], nemesis: Sequence[Op], horizon_ns: int
) -> dict[str, list[Leg]]:
    """The stretches of each node whose clock was touched, one after the other."""
    touched = [b for b in bands if b.fault in _FAULTS and b.effect != "no-effect"]
    healed = [op.time_ns for op in nemesis if op.f == "heal-all" and op.process == NEMESIS]
    nodes = sorted({target for band in touched for target in band.targets})
    return {node: _legs(node, bands, touched, healed[-1:], horizon_ns) for node in nodes}


def _legs(
    node: str,
    bands: Sequence[Application],
    touched: Sequence[Application],
    healed: Sequence[int],
    horizon_ns: int,
) -> list[Leg]:
    own = [band for band in touched if node in band.targets]
    killed = [b for b in bands if b.fault in ("kill", "power", "oom") and node in b.targets]
    ends = [band.end_ns for band in (*own, *killed) if not band.single]
    rights = {moment for moment in (*ends, *healed) if moment is not None}
    begins = {_since(band): band for band in own}
    moments = sorted({0, horizon_ns, *begins, *rights})
    legs: list[Leg] = []
    offset = 0.0
    for start_ns, end_ns in itertools.pairwise(moments):
        if start_ns in rights:
            offset = 0.0
        band = begins.get(start_ns)
        if band is not None and band.fault == "clock-jump":
            offset += _amount(band.parameters, "delta_ms")
        held = [b for b in own if _since(b) <= start_ns < b.until_ns(horizon_ns)]
        leg = Leg(
            node, start_ns, end_ns, offset,
            rate=sum(_amount(b.parameters, "rate") for b in held),
            flip_ms=sum(
                _amount(b.parameters, "delta_ms") for b in held if b.fault == "clock-strobe"
            ),
        )  # fmt: skip
        legs.append(leg)
        offset = leg.last_ms
    return legs


def _since(band: Application) -> int:
    """From when on a fault is known to hold: when it had been applied."""
    return band.applied_ns if band.applied_ns is not None else band.start_ns


def _amount(parameters: Mapping[str, object], name: str) -> float:
    value = parameters.get(name)
    usable = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if usable else 0.0  # type: ignore[arg-type]


class _Scale:
    """A scale that shows 1 ms and 100 s at once: logarithmic on both sides of nought."""

    def __init__(self, largest_ms: float) -> None:
        self._top = math.log10(max(largest_ms, 10.0) / _LEAST_MS) + 0.15

    def y(self, top: float, offset_ms: float) -> float:
        size = max(0.0, math.log10(max(abs(offset_ms), _LEAST_MS) / _LEAST_MS)) / self._top
        return top + LANE / 2 - math.copysign(size, offset_ms) * (LANE / 2 - 2)


def clock_strip(
    legs: Mapping[str, Sequence[Leg]], bands: Sequence[Application], horizon_ns: int
) -> Strip | None:
    """A lane for each node whose clock was touched, nought in its middle, ahead above it."""
    if not legs or horizon_ns <= 0:
        return None
    largest = max(
        (
            abs(value)
            for line in legs.values()
            for leg in line
            for value in (leg.offset_ms, leg.last_ms, leg.offset_ms + leg.flip_ms)
        ),
        default=1.0,
    )
    scale = _Scale(largest)
    own = [band for band in bands if band.fault in _FAULTS]
    height = len(legs) * LANE
    out = [str(backdrop(own, horizon_ns, height))]
    labels = []
    for row, line in enumerate(legs.values()):
        top = row * LANE
        out.append(_lane(line, top, scale, horizon_ns))
        labels += _words(line, top)
    return Strip(
        name="clocks",
        title="Clock offsets (logarithmic, ahead is up)",
        told="steps of the clock faults, for nobody samples the clocks; "
        + "; ".join(_farthest(line) for line in legs.values()),
        height=height,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=tuple(
            Label(visible(node), row * LANE + LANE / 2 - 10) for row, node in enumerate(legs)
        ),
        labels=tuple(labels),
    )


def _lane(line: Sequence[Leg], top: float, scale: _Scale, horizon_ns: int) -> str:
    zero = number(top + LANE / 2)
    path: list[str] = []
    out = [f'<path class="grid" d="M0 {zero}H{number(ms(horizon_ns))}"/>']
    for leg in line:
        start, end = number(ms(leg.start_ns)), number(ms(leg.end_ns))
        first, last = scale.y(top, leg.offset_ms), scale.y(top, leg.last_ms)
        path.append(f"{'L' if path else 'M'}{start} {number(first)}L{end} {number(last)}")
        if leg.flip_ms:
            other = scale.y(top, leg.offset_ms + leg.flip_ms)
            y, tall = min(first, other), abs(first - other)
            out.append(
                f'<rect class="strobe" x="{start}" y="{number(y)}" '
                f'width="{number(ms(leg.end_ns - leg.start_ns))}" height="{number(tall)}"/>'
            )
    out.append(f'<path class="offset" d="{"".join(path)}"/>')
    return "".join(out)


def _words(line: Sequence[Leg], top: float) -> list[Label]:
    """What each stretch is, where it is not a right clock."""
    found = []
    for leg in line:
        if leg.flip_ms:
            text = f"flips by {_signed(leg.flip_ms)}"
        elif leg.rate:
            text = f"drifts {leg.rate * 100:+.1f} %"
        elif leg.offset_ms:
            text = _signed(leg.offset_ms)
        else:
            continue
        # A clock that is ahead has its line above nought, so its words go below, and the reverse.
        ahead = leg.offset_ms + leg.flip_ms + leg.rate > 0
        at = top + (LANE / 2 - 3 if ahead else -1)
        found.append(Label(text, at, ms(leg.start_ns), ms(leg.end_ns)))
    return found


def _signed(offset_ms: float) -> str:
    sign = "+" if offset_ms > 0 else "\u2212"
    return f"{sign}{span(abs(offset_ms) * 1e6)}"


def _farthest(line: Sequence[Leg]) -> str:
    ends = [
        (abs(v), v, leg) for leg in line for v in (leg.offset_ms + leg.flip_ms, leg.last_ms)
    ]
    _, value, leg = max(ends, key=lambda end: end[0])
    return f"{visible(leg.node)} at most {_signed(value)}"
