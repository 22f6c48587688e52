"""All operations of a history as columns: what is counted is counted here, a million at a time.

The charts need times and outcomes of every operation, and the page's tables need a few hundred of
them whole.  So a ``Frame`` holds one row for each client operation in numpy columns, and makes an
``Interval`` only when it is asked for one:

    >>> from splitbrain.history.history import History
    >>> frame = frame_of(History([Op(time_ns=5, process=0, type="invoke", f="read", key="x"),
    ...                           Op(time_ns=9, process=0, type="ok", f="read", key="x", value=1)]))
    >>> len(frame), frame.took_ns.tolist(), frame[0].outcome, frame.keys
    (1, [4], 'ok', ['x'])

``intervals.intervals_of`` says the same in a plain loop, operation by operation, and is what this is
compared with in tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.report.brief import NAME_MAX, brief, cut
from splitbrain.results.report.intervals import Interval, lanes_of
from splitbrain.results.text import key_text

__all__ = ["FAIL", "INFO", "OK", "OUTCOMES", "Frame", "frame_of"]

Ints = npt.NDArray[np.int64]

OK, FAIL, INFO = 0, 1, 2
OUTCOMES = ("ok", "fail", "info")
_INVOKE = -1
_CODES = {"invoke": _INVOKE, "ok": OK, "fail": FAIL, "info": INFO}
_EVENT_NS = 1_000_000_000
"""A history without times is drawn as if it took a second an event."""


class Frame(Sequence[Interval]):
    """Client operations in order of invocation.

    Attributes:
        begin: position in the history of its first event.
        end: position of its completion, -1 if it has none; ``begin`` for a lone completion.
        start_ns: when it was invoked.
        took_ns: nanoseconds until its completion; -1 if it has none.
        outcome: OK, FAIL or INFO; one without completion is INFO.
        process: its process.
        f: place in ``functions``; -1 is none, as in the next two.
        key: place in ``keys``.
        node: place in ``nodes``.
        timeless: the history holds no times; then they count its events, a second for each.
    """

    def __init__(self, events: Sequence[Op]) -> None:
        self._events = events
        count = len(events)
        times = np.fromiter((op.time_ns for op in events), np.int64, count)
        self.timeless = bool(count) and not bool((times > 0).any())
        if self.timeless:
            times = np.fromiter((op.index for op in events), np.int64, count) * _EVENT_NS
        self.begin, self.end = _paired(events)
        order = np.lexsort((self.begin, times[self.begin]))
        self.begin, self.end = self.begin[order], self.end[order]
        self.start_ns = times[self.begin]
        done = self.end >= 0
        self.took_ns = np.where(done, times[self.end] - self.start_ns, -1)
        codes = np.fromiter((_CODES[op.type] for op in events), np.int8, count)
        self.outcome = np.where(done, codes[self.end], INFO)
        self.process = np.fromiter(
            (events[at].process for at in self.begin), np.int64, len(order)
        )
        self.last_ns = int(times.max()) if count else 0
        self._name()
        self._owners: Ints | None = None

    def _name(self) -> None:
        functions, keys, nodes = _Names(), _Names(), _Names()
        rows = len(self.begin)
        f, key, node = (np.full(rows, -1, np.int64) for _ in range(3))
        events = self._events
        for row, (first, last) in enumerate(
            zip(self.begin.tolist(), self.end.tolist(), strict=True)
        ):
            op = events[first]
            f[row] = functions.place(op.f)
            named, bound = op.key, op.node
            if last >= 0 and (named is None or bound is None):
                done = events[last]
                named = done.key if named is None else named
                bound = done.node if bound is None else bound
            if named is not None:
                key[row] = keys.place(named)
            if bound is not None:
                node[row] = nodes.place(bound)
        self.f, self.key, self.node = f, key, node
        self.functions, self.keys, self.nodes = functions.texts, keys.texts, nodes.texts

    def __len__(self) -> int:
        return len(self.begin)

    @overload
    def __getitem__(self, at: int) -> Interval: ...
    @overload
    def __getitem__(self, at: slice) -> list[Interval]: ...
    def __getitem__(self, at: int | slice) -> Interval | list[Interval]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        begin, end = self.events_of(at)
        return Interval(self._timed(begin), None if end is None else self._timed(end))

    def __iter__(self) -> Iterator[Interval]:
        return (self[row] for row in range(len(self)))

    def events_of(self, row: int) -> tuple[Op, Op | None]:
        """Its events as they stand in the history."""
        last = int(self.end[row])
        return self._events[int(self.begin[row])], self._events[last] if last >= 0 else None

    def _timed(self, op: Op) -> Op:
        return (
            msgspec.structs.replace(op, time_ns=op.index * _EVENT_NS) if self.timeless else op
        )

    def stop_ns(self, horizon_ns: int) -> Ints:
        """When each was completed; ``horizon_ns``, or its start if later, if it never was."""
        open_until = np.maximum(self.start_ns, horizon_ns)
        return np.where(self.end >= 0, self.start_ns + self.took_ns, open_until)

    def workers(self, concurrency: int, horizon_ns: int) -> Ints:
        """The timeline's row of each operation: see ``intervals.lanes_of``."""
        if concurrency > 0:
            return self.process % concurrency
        processes, inverse = np.unique(self.process, return_inverse=True)
        first = np.full(len(processes), np.iinfo(np.int64).max)
        last = np.full(len(processes), np.iinfo(np.int64).min)
        np.minimum.at(first, inverse, self.start_ns)
        np.maximum.at(last, inverse, self.stop_ns(horizon_ns))
        spans = {
            process: (begun, ended)
            for process, begun, ended in zip(
                processes.tolist(), first.tolist(), last.tolist(), strict=True
            )
        }
        rows = lanes_of(spans, concurrency)
        lanes: Ints = np.asarray([rows[process] for process in processes.tolist()], np.int64)
        return lanes[inverse] if len(lanes) else inverse

    def rows_of(self, indexes: Iterable[int]) -> list[int]:
        """The rows that own those events, each once, in order; unknown events are passed over."""
        if self._owners is None:
            self._owners = np.full(len(self._events), -1, np.int64)
            self._owners[self.begin] = np.arange(len(self))
            done = self.end >= 0
            self._owners[self.end[done]] = np.flatnonzero(done)
        events, rows = self._events, []
        strange = []
        for index in indexes:
            if 0 <= index < len(events) and events[index].index == index:
                rows.append(int(self._owners[index]))
            else:
                strange.append(index)
        if strange:
            wanted = set(strange)
            found = [at for at, op in enumerate(events) if op.index in wanted]
            rows += [int(self._owners[at]) for at in found]
        return list(dict.fromkeys(row for row in rows if row >= 0))

    def failed_words(self) -> list[str]:
        """For each FAIL in order the word of its error: what precedes the colon."""
        events = self._events
        ends = self.end[self.outcome == FAIL].tolist()
        return [(events[last].error or "").partition(":")[0] for last in ends]

    def near(self, rows: Sequence[int], each_side: int, *, same_key: bool) -> Ints:
        """Rows within ``each_side`` of any of ``rows``, among all or among those of its key."""
        if not len(rows):
            return np.empty(0, np.int64)
        chosen = np.asarray(rows, np.int64)
        if not same_key:
            return _around(chosen, np.arange(len(self)), each_side)
        found = []
        for key in np.unique(self.key[chosen]):
            line = np.flatnonzero(self.key == key)
            found.append(_around(chosen[self.key[chosen] == key], line, each_side))
        return np.unique(np.concatenate(found))


def _around(chosen: Ints, line: Ints, each_side: int) -> Ints:
    """Members of the ascending ``line`` at most ``each_side`` places from a chosen one."""
    places = np.searchsorted(line, chosen)
    marks = np.zeros(len(line) + 1, np.int64)
    np.add.at(marks, np.maximum(places - each_side, 0), 1)
    np.add.at(marks, np.minimum(places + each_side + 1, len(line)), -1)
    return line[np.cumsum(marks[:-1]) > 0]


class _Names:
    """Numbers for names; text, numbers and everything else never meet."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[Any, int] = {}

    def place(self, name: Any) -> int:
        plain = type(name) is str or (type(name) is int and name.bit_length() <= 64)
        known = name if plain else (None, _text(name))
        place = self._places.get(known)
        if place is None:
            place = self._places[known] = len(self.texts)
            self.texts.append(cut(key_text(brief(name, NAME_MAX)), NAME_MAX))
        return place


def _text(name: Any) -> str:
    try:
        return key_text(name)
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        return key_text(brief(name, NAME_MAX))


def _paired(events: Sequence[Op]) -> tuple[Ints, Ints]:
    """Positions of invocations with those of their completions (-1: none), and lone completions.

    Within one process an invocation belongs to the completion right after it.
    """
    count = len(events)
    process = np.fromiter((op.process for op in events), np.int64, count)
    invokes = np.fromiter((op.type == "invoke" for op in events), np.bool_, count)
    clients = np.flatnonzero(process != NEMESIS)
    order = clients[np.argsort(process[clients], kind="stable")]
    begins = invokes[order]
    joined = np.zeros(len(order), np.bool_)
    joined[:-1] = begins[:-1] & ~begins[1:] & (process[order][1:] == process[order][:-1])
    follower = np.full(len(order), -1, np.int64)
    follower[:-1] = np.where(joined[:-1], order[1:], -1)
    taken = np.zeros(len(order), np.bool_)
    taken[1:] = joined[:-1]
    lone = order[~begins & ~taken]
    first = np.concatenate([order[begins], lone])
    return first, np.concatenate([follower[begins], lone])


def frame_of(history: Sequence[Op]) -> Frame:
    """The client operations of ``history`` as columns."""
    return Frame(history if isinstance(history, tuple | list) else tuple(history))
