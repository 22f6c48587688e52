"""Fault bands: from a fault's invocation to its heal, plus the time the system may take to recover.

Read from nemesis operations alone, so that a history file tells all that a checker needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

__all__ = ["ONE_SHOT", "Band", "fault_bands", "inside", "merge"]


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """One fault from its beginning to its end.

    Attributes:
        id: joins its start and stop.
        fault: such as ``partition``.
        start: index of the start's invocation.
        begin_ns: when the start was invoked.
        end_ns: when the stop (of a one-shot fault: the start) was completed; None: never healed.
        value: what the start's completion said, or its invocation if there is none.
        stop_value: what the stop's completion said.
    """

    id: str
    fault: str
    start: int
    begin_ns: int
    end_ns: int | None = None
    value: Mapping[str, Any] = {}
    stop_value: Mapping[str, Any] = {}


ONE_SHOT = frozenset(
    {
        "clock-jump",
        "admin",
        "transfer",
        "shuffle-leaders",
        "split",
        "move-peer",
        "pd-transfer",
        "compact",
        "restart",
    }
)
"""Faults that are over at once and have no stop."""


def _value(op: Op) -> Mapping[str, Any]:
    return op.value if isinstance(op.value, Mapping) else {}


def fault_bands(history: History) -> tuple[Band, ...]:
    """All faults of a history, by beginning.

    ``heal-all`` ends every band that is open.  An id may be used again; a stop ends all that are
    open under it.
    """
    bands: list[Band] = []
    held: dict[str, list[int]] = {}
    for op in history:
        if op.process != NEMESIS:
            continue
        begun = history.invocation(op.index)
        if op.f == "heal-all" and begun is not None:
            held.clear()
            bands = [_closed(band, op, {}) for band in bands]
            continue
        verb, _, fault = op.f.partition("-")
        if verb not in ("start", "stop") or not fault:
            continue
        value = _value(op)
        name = str(value.get("id", fault))
        if verb == "start" and begun is None:
            held.setdefault(name, []).append(len(bands))
            bands.append(
                Band(id=name, fault=fault, start=op.index, begin_ns=op.time_ns, value=value)
            )
        elif verb == "start" and name in held:
            place = held[name][-1]
            band = msgspec.structs.replace(bands[place], value=value)
            bands[place] = _closed(band, op, {}) if fault in ONE_SHOT else band
        elif verb == "stop" and begun is not None:
            for place in held.pop(name, ()):
                bands[place] = _closed(bands[place], op, value)
    return tuple(bands)


def _closed(band: Band, op: Op, value: Mapping[str, Any]) -> Band:
    if band.end_ns is not None:
        return band
    return msgspec.structs.replace(band, end_ns=op.time_ns, stop_value=value)


def merge(bands: Iterable[Band], *, recovery_ns: int, end_ns: int) -> Sequence[tuple[int, int]]:
    """Disjoint intervals of time under some fault or recovering from one, ascending.

    >>> band = Band(id="a", fault="kill", start=0, begin_ns=5, end_ns=9)
    >>> merge([band], recovery_ns=3, end_ns=100)
    [(5, 12)]
    """
    spans = sorted(
        (band.begin_ns, end_ns if band.end_ns is None else band.end_ns + recovery_ns)
        for band in bands
    )
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def inside(spans: Sequence[tuple[int, int]], begin_ns: int, end_ns: int) -> bool:
    """True if [begin_ns, end_ns] touches one of the disjoint, ascending spans."""
    import bisect

    place = bisect.bisect_right(spans, (end_ns, 1 << 62))
    return place > 0 and spans[place - 1][1] >= begin_ns
