"""The phases of a run, as its history tells them.

The driver marks the beginning of each phase by an event of the nemesis's process: ``main`` (clients
and faults), ``heal`` (faults only; no client asks), ``final`` (clients only) and ``end``.

    >>> mark = Op(process=NEMESIS, type="info", f="phase", value={"phase": "main"}, time_ns=7)
    >>> phase_marks(History([mark]))
    {'main': 7}
"""

from __future__ import annotations

from collections.abc import Mapping

from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

__all__ = ["phase_marks"]


def phase_marks(history: History) -> Mapping[str, int]:
    """When each phase first began, in ns; a history file from elsewhere has none."""
    marks: dict[str, int] = {}
    for op in history:
        if op.process == NEMESIS and op.f == "phase":
            name = _name(op)
            if name is not None:
                marks.setdefault(name, op.time_ns)
    return marks


def _name(op: Op) -> str | None:
    name = op.value.get("phase") if isinstance(op.value, Mapping) else None
    return name if isinstance(name, str) else None
