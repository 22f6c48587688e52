"""An operation as a row of a table, and what the bar of a picture says of its values."""

from __future__ import annotations

import msgspec

from splitbrain.history.op import Op
from splitbrain.results.report.brief import NAME_MAX, brief, cut, fits
from splitbrain.results.report.copies import where
from splitbrain.results.report.intervals import Interval
from splitbrain.results.report.room import FULL, CardRoom
from splitbrain.results.text import clock, key_text, span, value_text

__all__ = ["Row", "bar_value", "row_of"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a table, as text.

    Attributes:
        value: argument, arrow, result; shortened.
        full: the same at more length, if there is more.
        where: where the whole of it is to be found, if this row shortens anything of it.
    """

    index: int
    events: str
    time: str
    took: str
    process: int
    node: str
    f: str
    key: str
    value: str
    full: str
    where: str = ""
    outcome: str
    error: str
    culprit: bool = False
    anchor: bool = True


def bar_value(interval: Interval, room: int) -> str:
    """What is behind the function in a bar's text: ``9``, ``\u2192 3``, ``[1, 2] \u2717``, ``?``."""
    argument, end = interval.begin.value, interval.end
    text = "" if argument is None else f" {value_text(brief(argument, room))}"
    if end is not None and end.type == "ok" and end.value is not None and end.value != argument:
        text += f" \u2192 {value_text(brief(end.value, room))}"
    elif end is not None and end.type == "ok" and argument is None and end.value is None:
        text += " \u2192 null"
    elif interval.outcome == "fail":
        text += " \u2717"
    elif interval.outcome == "info":
        text += " ?"
    return text


def _result_text(interval: Interval, room: int) -> str:
    """Argument, arrow, result."""
    argument, end = interval.begin.value, interval.end
    before = "" if argument is None else value_text(brief(argument, room))
    if end is None or end is interval.begin or end.value == argument:
        if argument is None and end is not None and end.type == "ok":
            return "null"
        return before
    if end.value is None:
        return f"{before} \u2192 null" if before else ""
    return f"{before} \u2192 {value_text(brief(end.value, room))}".lstrip()


def _whole(op: Op, room: int) -> bool:
    return fits(op.value, room) and fits(op.ext, room) and fits(op.key, NAME_MAX)


def row_of(
    interval: Interval,
    culprit: int | None = None,
    *,
    timeless: bool = False,
    room: CardRoom = FULL,
) -> Row:
    """An operation as a row: argument, arrow, result; without times if the history has none."""
    begin, end = interval.begin, interval.end
    last = end.index if end is not None else None
    value = _result_text(interval, room.short)
    full = _result_text(interval, room.value)
    names = min(NAME_MAX, room.short)
    error = (end.error or "") if end is not None else ""
    shortened = len(error) > room.short or len(begin.f) > names
    events = [op for op in (begin, end) if op is not None]
    cut_events = [o.index for o in events if shortened or not _whole(o, room.value)]
    return Row(
        index=begin.index,
        events=f"{begin.index}"
        if last in (None, begin.index)
        else f"{begin.index}\u2013{last}",
        time="" if timeless else clock(begin.time_ns),
        took="no answer"
        if end is None
        else ""
        if timeless
        else span(end.time_ns - begin.time_ns),
        process=begin.process,
        node=cut(interval.node or "", names),
        f=cut(begin.f, names),
        key="" if interval.key is None else key_text(brief(interval.key, names)),
        value=value,
        full=full if full != value else "",
        where=where(cut_events) if cut_events else "",
        outcome=interval.outcome,
        error=cut(error, room.short),
        culprit=culprit is not None and culprit in (begin.index, last),
    )
