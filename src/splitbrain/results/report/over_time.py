"""Everything of the page that lies on its time axis: the strips, and the operations for its script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splitbrain.results.bands import describe
from splitbrain.results.report import clocks, embed, leaders, overview, sample, scatter, strips
from splitbrain.results.report.axis import ms, number, ticks_s
from splitbrain.results.report.brief import cut
from splitbrain.results.report.page import Page
from splitbrain.results.text import visible

__all__ = ["operations", "over_time"]

_MARKS_MAX = 30
_BAND_MAX = 300
_CLOCKED = ("rate", "latency", "percentiles", "availability")
"""Strips that mean nothing where a history holds no times."""


def over_time(page: Page, reigns: Sequence[leaders.Reign]) -> dict[str, Any]:
    """The template's part."""
    length_ms = _length_ms(page)
    return {
        "strips": _drawn(page, reigns),
        "end_ms": length_ms,
        "ticks": ticks_s(length_ms / 1e3, 8),
    }


def operations(page: Page, room: int) -> dict[str, Any]:
    """The template's part that is for the script: the operations, in ``room`` bytes, and ``meta``."""
    packed, chosen = page.part("Search", lambda: _embedded(page, room), ("", None))
    return {
        "packed": packed,
        "kept": len(chosen.rows) if chosen is not None else 0,
        "sampled": chosen.words if chosen is not None else "",
        "meta": embed.script_json(_meta(page, chosen.weight if chosen is not None else 1.0)),
    }


def _length_ms(page: Page) -> float:
    return max(ms(page.horizon_ns), 0.001)


def _embedded(page: Page, room: int) -> embed.Packed:
    cases = [page.case(number) for number in range(page.carded)]
    others = page.suspects()
    return embed.pack(
        page.frame,
        page.workers,
        lambda limit: sample.choose(page.frame, cases, others, limit),
        room,
    )


def _drawn(page: Page, reigns: Sequence[leaders.Reign]) -> list[strips.Strip]:
    frame, nodes, bands, horizon_ns = page.frame, page.nodes, page.drawn, page.horizon_ns
    made = [
        page.part(
            "The lane of anomalies",
            lambda: strips.anomaly_strip(page.moments(_MARKS_MAX), horizon_ns),
            None,
        ),
        page.part(
            "The fault lane",
            lambda: strips.fault_strip(bands, horizon_ns, len(page.bands)),
            None,
        ),
        page.part(
            "The lane of leaders",
            lambda: leaders.leader_strip(reigns, nodes, bands, horizon_ns, page.data.events),
            None,
        ),
        page.part("Clock offsets", lambda: _clocks(page), None),
        page.part("The rate", lambda: overview.rate_strip(frame, bands, horizon_ns), None),
        page.part("Availability", lambda: _availability(page), None),
        page.part(
            "Latency percentiles",
            lambda: overview.percentile_strip(frame, bands, horizon_ns),
            None,
        ),
        *page.part("Latency", lambda: scatter.latency_strips(frame, bands, horizon_ns), []),
        page.part(
            "The timeline",
            lambda: scatter.timeline_strip(
                frame, page.workers, bands, horizon_ns, page.suspects()
            ),
            None,
        ),
    ]
    return [
        strip
        for strip in made
        if strip is not None and not (page.timeless and strip.name.startswith(_CLOCKED))
    ]


def _clocks(page: Page) -> strips.Strip | None:
    legs = clocks.legs_of(page.drawn, page.nemesis, page.horizon_ns)
    return clocks.clock_strip(legs, page.drawn, page.horizon_ns)


def _availability(page: Page) -> strips.Strip | None:
    answers = page.data.answers
    good = overview.answered(page.frame, answers, page.frame.failed_words() if answers else ())
    return overview.availability_strip(page.frame, good, page.nodes, page.horizon_ns)


def _meta(page: Page, weight: float) -> dict[str, Any]:
    """What the script needs beside the operations."""
    names = strips.fault_names(page.drawn)
    return {
        "end": _length_ms(page),
        "timeless": page.timeless,
        "total": len(page.frame),
        "weight": weight,
        "nodes": [visible(node) for node in page.nodes],
        "bands": [
            [
                float(number(ms(band.start_ns))),
                float(number(ms(band.until_ns(page.horizon_ns)))),
                names.index(band.fault) % 8,
                cut(visible(describe(band, page.nodes)), _BAND_MAX),
            ]
            for band in page.drawn
        ],
        "anomalies": page.part("Steps from anomaly to anomaly", page.steps, []),
    }
