"""What the nodes said around an anomaly: lines of their logs, and what they told of themselves.

Both come with the time of the test.  An event that a log line of the same node and moment tells as
well is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.results.logs import windows_of
from splitbrain.results.report.brief import NAME_MAX, brief, cut
from splitbrain.results.text import value_text

__all__ = ["Said", "said_around"]

LINES_MAX = 120
_TEXT_MAX = 300
_SAME_NS = 1_000_000
_KNOWN = frozenset({"time_ns", "node", "kind"})


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One line: when, which node, what; ``event`` if it is no line of a log."""

    time_ns: int
    node: str
    text: str
    event: bool = False


def said_around(
    lines: Mapping[str, Sequence[tuple[int, str]]],
    events: Iterable[Mapping[str, Any]],
    moments_ns: Sequence[int],
    nearest_ns: int,
    most: int = LINES_MAX,
) -> tuple[list[Said], int]:
    """All that was said within two seconds of the moments, in order, and how much more there was.

    Beyond ``most`` those nearest to ``nearest_ns`` are kept.
    """
    windows = windows_of(moments_ns)

    def near(time_ns: int) -> bool:
        return any(start <= time_ns <= stop for start, stop in windows)

    found = [
        Said(time_ns=time_ns, node=cut(node, NAME_MAX), text=cut(text, _TEXT_MAX))
        for node, some in lines.items()
        for time_ns, text in some
        if near(time_ns)
    ]
    told = {(said.node, said.time_ns // _SAME_NS): said.text for said in found}
    for event in events:
        time_ns, node, kind = event.get("time_ns"), event.get("node"), event.get("kind")
        if not isinstance(time_ns, int) or not isinstance(node, str) or not near(time_ns):
            continue
        text = told.get((node, time_ns // _SAME_NS), "")
        if str(kind) not in text:
            more = {
                name: value for name, value in event.items() if name not in _KNOWN and value
            }
            words = ", ".join(
                f"{name} {value_text(brief(value, _TEXT_MAX))}" for name, value in more.items()
            )
            text = cut(f"{kind}{': ' if words else ''}{words}", _TEXT_MAX)
            node = cut(node, NAME_MAX)
            found.append(Said(time_ns=time_ns, node=node, text=text, event=True))
    rest = max(0, len(found) - most)
    found.sort(key=lambda said: abs(said.time_ns - nearest_ns))
    return sorted(found[:most], key=lambda said: (said.time_ns, said.node)), rest
