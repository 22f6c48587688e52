"""What several parts of a page need, made once.

Each part of the page is made on its own by ``Page.part``.  One that fails leaves a line that says so;
the verdict, which stands in the data, is printed as it was given whatever happens elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.checkers.verdict import Result
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.bands import Application, bands_of
from splitbrain.results.evidence import Finding, findings, pick
from splitbrain.results.report.brief import NAME_MAX, brief, brief_result, cut
from splitbrain.results.report.data import ReportData
from splitbrain.results.report.frame import Frame, frame_of

__all__ = ["EXPLAINED_MAX", "Page", "prepare"]

T = TypeVar("T")

EXPLAINED_MAX = 500
"""Anomalies that can be stepped through; the first of them have cards."""

EVIDENCE_MAX = 60
"""Operations of one anomaly that are shown one by one."""

BANDS_MAX = 400
"""Faults that are drawn."""

_STEP_EVIDENCE_MAX = 8
_STEP_NAME_MAX = 60
_SUSPECTS_MAX = 200_000
_TARGETS_MAX = 60
_SECOND_NS = 1_000_000_000


class Page(msgspec.Struct, kw_only=True):
    """A page in the making.

    Attributes:
        frame: all client operations.
        result: the verdict, what checkers wrote cut to what a page can hold.
        nemesis: the nemesis's events.
        bands: the faults.
        drawn: those of them that the charts show.
        found: the anomalies.
        carded: how many of them have cards, the first ones.
        workers: the timeline's row of each operation of the frame.
        horizon_ns: where the time axis ends.
        problems: parts that could not be made.
    """

    data: ReportData
    result: Result
    frame: Frame
    nemesis: Sequence[Op] = ()
    bands: Sequence[Application] = ()
    drawn: Sequence[Application] = ()
    found: Sequence[Finding] = ()
    carded: int = 0
    workers: npt.NDArray[np.int64]
    horizon_ns: int = 0
    problems: list[str]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The testbed's nodes, if they are known."""
        return self.data.spec.nodes if self.data.spec else ()

    @property
    def timeless(self) -> bool:
        """True if the history holds no times: then the axis counts its events."""
        return self.frame.timeless

    def part(self, name: str, make: Callable[[], T], instead: Any) -> T:
        """``make()``; if it fails, ``instead``, and a line on the page."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - a picture never costs the verdict
            why = cut(str(error), _STEP_NAME_MAX * 10)
            self.problems.append(f"{name} could not be shown: {type(error).__name__}: {why}")
            return cast(T, instead)

    def suspects(self) -> list[int]:
        """Rows of the operations that take part in an anomaly."""
        indexes = (i for finding in self.found for i in finding.anomaly.ops)
        return self.frame.rows_of(itertools.islice(indexes, _SUSPECTS_MAX))

    def case(self, number: int) -> list[int]:
        """Rows of the operations that the card of that anomaly shows: the first, and the culprit."""
        anomaly = self.found[number].anomaly
        rows = self.frame.rows_of(anomaly.ops)
        op = anomaly.picture.get("op") if isinstance(anomaly.picture, Mapping) else None
        culprit = self.frame.rows_of([op]) if isinstance(op, int) and op in anomaly.ops else []
        return list(dict.fromkeys([*rows[: EVIDENCE_MAX - len(culprit)], *culprit]))

    def moments(self, limit: int = EXPLAINED_MAX) -> list[tuple[int, str, int]]:
        """When each anomaly showed, at its last operation: (number, kind, time)."""
        shown = self.found[:limit]
        ops = pick(self.data.history, {i for finding in shown for i in finding.anomaly.ops})
        times = {i: i * _SECOND_NS if self.timeless else op.time_ns for i, op in ops.items()}
        return [
            (number, finding.anomaly.kind.replace("-", " "), max(own))
            for number, finding in enumerate(shown, start=1)
            if (own := [times[i] for i in finding.anomaly.ops if i in times])
        ]

    def steps(self) -> list[dict[str, Any]]:
        """The anomalies for the page's script: what to say, what to mark and where to look."""
        out = []
        for number, finding in enumerate(self.found[:EXPLAINED_MAX], start=1):
            rows = self.case(number - 1)
            if number > self.carded:
                rows = rows[-_STEP_EVIDENCE_MAX:]
            key = int(self.frame.key[rows[-1]]) if rows else -1
            out.append(
                {
                    "number": number,
                    "kind": cut(finding.anomaly.kind.replace("-", " "), _STEP_NAME_MAX),
                    "key": cut(self.frame.keys[key], _STEP_NAME_MAX) if key >= 0 else "",
                    "ops": [self.frame.events_of(row)[0].index for row in rows],
                }
            )
        return out


def prepare(data: ReportData) -> Page:
    """All that parts share.  A part of it that fails is empty, and told."""
    nothing = frame_of(())
    page = Page(
        data=data, result=brief_result(data.result), frame=nothing,
        workers=np.empty(0, np.int64), problems=[],
    )  # fmt: skip
    page.found = findings(page.result)
    page.bands = page.part("Faults", lambda: _bands(data), ())
    page.drawn = _drawn(page.bands)
    page.nemesis = [op for op in data.history if op.process == NEMESIS]
    page.frame = page.part("Operations", lambda: frame_of(data.history), nothing)
    page.horizon_ns = _horizon_ns(page)
    concurrency = data.spec.concurrency if data.spec else 0
    page.workers = page.part(
        "Workers",
        lambda: page.frame.workers(concurrency, page.horizon_ns),
        np.zeros(len(page.frame), np.int64),
    )
    return page


def _bands(data: ReportData) -> list[Application]:
    return [_brief_band(band) for band in bands_of(data.history, data.faults)]


def _brief_band(band: Application) -> Application:
    """A fault with its names cut; of links that are cut the names alone, so that it can be told."""
    links = band.parameters.get("cut")
    parameters = brief({k: v for k, v in band.parameters.items() if k != "cut"}, 2 * NAME_MAX)
    if links is not None:
        named = isinstance(links, list | tuple)
        parameters["cut"] = [brief(pair, NAME_MAX) for pair in links] if named else ()
    return msgspec.structs.replace(
        band,
        fault=cut(band.fault, _STEP_NAME_MAX),
        targets=tuple(cut(target, NAME_MAX) for target in band.targets[:_TARGETS_MAX]),
        parameters=parameters,
        error=brief(band.error, 2 * NAME_MAX),
    )


def _drawn(bands: Sequence[Application]) -> Sequence[Application]:
    """All, or the first of each fault, by which colours go, and the longest of the rest."""
    if len(bands) <= BANDS_MAX:
        return bands
    firsts: dict[str, int] = {}
    for place, band in enumerate(bands):
        firsts.setdefault(band.fault, place)

    def length(place: int) -> int:
        end_ns = bands[place].end_ns
        return end_ns - bands[place].start_ns if end_ns is not None else 1 << 62

    longest = sorted(range(len(bands)), key=length, reverse=True)
    chosen = list(dict.fromkeys([*firsts.values(), *longest]))[:BANDS_MAX]
    return [bands[place] for place in sorted(chosen)]


def _horizon_ns(page: Page) -> int:
    history = page.data.history
    last = history[-1] if len(history) else None
    moments = [0, page.frame.last_ns if len(page.frame) else 0]
    if last is not None:
        moments.append(last.index * _SECOND_NS if page.timeless else last.time_ns)
    moments += [band.end_ns or band.start_ns for band in page.bands]
    moments += [
        event["time_ns"] for event in page.data.events if isinstance(event.get("time_ns"), int)
    ]
    return max(moments)
