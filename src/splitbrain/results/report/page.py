"""What several parts of a page need, made once.

Each part of the page is made on its own by ``Page.part``.  One that fails leaves a line that says so;
the verdict, which stands in the data, is printed as it was given whatever happens elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.bands import Application, bands_of
from splitbrain.results.evidence import Finding, findings, pick
from splitbrain.results.report.brief import brief_anomaly
from splitbrain.results.report.data import ReportData
from splitbrain.results.report.frame import Frame, frame_of
from splitbrain.results.report.sample import Sample

__all__ = ["EXPLAINED_MAX", "Page", "prepare"]

T = TypeVar("T")

EXPLAINED_MAX = 500
"""Anomalies that can be stepped through; the first of them have cards."""

_EVIDENCE_MAX = 60
_SECOND_NS = 1_000_000_000


class Page(msgspec.Struct, kw_only=True):
    """A page in the making.

    Attributes:
        frame: all client operations.
        nemesis: the nemesis's events.
        bands: the faults.
        found: the anomalies, their texts cut to what a page can hold.
        workers: the timeline's row of each operation of the frame.
        horizon_ns: where the time axis ends.
        sample: the operations that the page itself holds.
        problems: parts that could not be made.
    """

    data: ReportData
    frame: Frame
    nemesis: Sequence[Op] = ()
    bands: Sequence[Application] = ()
    found: Sequence[Finding] = ()
    workers: npt.NDArray[np.int64]
    horizon_ns: int = 0
    sample: Sample | None = None
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
            self.problems.append(f"{name} could not be shown: {type(error).__name__}: {error}")
            return cast(T, instead)

    def suspects(self) -> list[int]:
        """Rows of the operations that take part in an anomaly."""
        indexes = [i for finding in self.found[:EXPLAINED_MAX] for i in finding.anomaly.ops]
        return self.frame.rows_of(indexes)

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
            rows = self.frame.rows_of(finding.anomaly.ops)[:_EVIDENCE_MAX]
            out.append(
                {
                    "number": number,
                    "kind": finding.anomaly.kind.replace("-", " "),
                    "key": self.frame.keys[self.frame.key[rows[-1]]]
                    if rows and self.frame.key[rows[-1]] >= 0
                    else "",
                    "ops": [self.frame.events_of(row)[0].index for row in rows],
                }
            )
        return out


def prepare(data: ReportData) -> Page:
    """All that parts share.  A part of it that fails is empty, and told."""
    nothing = frame_of(())
    page = Page(data=data, frame=nothing, workers=np.empty(0, np.int64), problems=[])
    page.found = page.part(
        "Anomalies",
        lambda: [
            Finding(checker, brief_anomaly(anomaly))
            for checker, anomaly in findings(data.result)
        ],
        findings(data.result),
    )
    page.bands = page.part("Faults", lambda: bands_of(data.history, data.faults), ())
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
