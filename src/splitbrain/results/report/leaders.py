"""The lane of leaders: who believed to be leader of which term, by the nodes' own word.

``events.jsonl`` holds what nodes say of themselves; nothing here is needed for a verdict.  A node's
``kind`` is the role that it took, with the ``term``; a node that stands for election leaves a tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from splitbrain.results.bands import Application
from splitbrain.results.report.axis import ms, number
from splitbrain.results.report.brief import NAME_MAX, cut
from splitbrain.results.report.strips import ROW, Label, Strip, backdrop
from splitbrain.results.text import clock, plural, visible

__all__ = ["Reign", "leader_strip", "reigns"]

_VOTES_MAX = 400
_REIGNS_MAX = 600
_ROWS_MAX = 64


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
        if band.fault in ("kill", "power", "oom")
        for target in band.targets
    ]
    for time_ns, node, kind, event in _told(events):
        term = event.get("term")
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


def _told(
    events: Iterable[Mapping[str, Any]],
) -> Iterable[tuple[int, str, str, Mapping[str, Any]]]:
    """Events that say when and who: (time, node, kind, event).

    Those of another region than the first name it; a lane for each would be too many.
    """
    for event in events:
        if "region" in event:
            continue
        time_ns, node = event.get("time_ns"), event.get("node")
        if isinstance(time_ns, int) and isinstance(node, str):
            yield time_ns, node, str(event.get("kind", "")), event


def leader_strip(
    found: Sequence[Reign],
    nodes: Sequence[str],
    bands: Sequence[Application],
    horizon_ns: int,
    events: Iterable[Mapping[str, Any]] = (),
) -> Strip | None:
    """A lane for each node with its reigns, numbered by term; ticks where it stood for election."""
    if not found:
        return None
    rows = [*nodes, *sorted({reign.node for reign in found} - set(nodes))][:_ROWS_MAX]
    height = len(rows) * ROW
    out, labels = [str(backdrop(bands, horizon_ns, height))], []
    for reign in _longest([reign for reign in found if reign.node in rows]):
        top = rows.index(reign.node) * ROW
        start, stop = ms(reign.start_ns), ms(reign.end_ns)
        out.append(
            f'<rect class="reign t{reign.term % 2}" x="{number(start)}" y="{top + 3}" '
            f'width="{number(max(stop - start, 0.001))}" height="{ROW - 6}"/>'
        )
        labels.append(Label(f"term {reign.term}", top, start, stop))
    votes: list[str] = []
    for time_ns, node, kind, _ in _told(events):
        top = rows.index(node) * ROW if node in rows else -1
        if kind in ("candidate", "pre_candidate") and top >= 0 and len(votes) < _VOTES_MAX:
            votes.append(f"M{number(ms(time_ns))} {top + 3}v{ROW - 6}")
    out.append(f'<path class="votes" d="{"".join(votes)}"/>')
    return Strip(
        name="leaders",
        title="Leader and term (ticks: stood for election)",
        told=_reigns_told(found),
        height=height,
        svg=Markup("".join(out)),  # noqa: S704 - numbers only
        gutter=tuple(
            Label(cut(visible(node), NAME_MAX), i * ROW) for i, node in enumerate(rows)
        ),
        labels=tuple(labels),
    )


def _longest(found: Sequence[Reign]) -> list[Reign]:
    """Those that are drawn where there are many: the longest, in order."""
    if len(found) <= _REIGNS_MAX:
        return list(found)
    chosen = sorted(found, key=lambda reign: reign.start_ns - reign.end_ns)[:_REIGNS_MAX]
    return sorted(chosen, key=lambda reign: (reign.start_ns, reign.node))


def _reigns_told(found: Sequence[Reign]) -> str:
    terms = len({reign.term for reign in found})
    last = found[-1]
    drawn = f"; the {_REIGNS_MAX} longest are drawn" if len(found) > _REIGNS_MAX else ""
    return (
        f"{plural(len(found), 'reign')} in {plural(terms, 'term')} by the nodes' own word, the last "
        f"{cut(visible(last.node), NAME_MAX)} from {clock(last.start_ns)}{drawn}"
    )
