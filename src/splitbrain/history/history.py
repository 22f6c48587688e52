"""A history: everything that happened in a test, in the order in which it was seen.

**Two ways to point at an event.**  An *index* is ``op.index``: the event's place in the whole
history, given once, the same wherever the op turns up.  A *position* is a place in one particular
``History``, as for any sequence: ``history[3]``.  In a whole history the two agree.  A *view*
(a slice, ``filter``, ``by_key``, ``client_ops``) holds some ops of a whole history; its positions
run from 0 again while its ops keep their indexes.  So anomalies found in a view name events that
can be looked up in the file.  All methods below that take or return an ``int`` speak of indexes,
and a view answers for the whole history that it came from:

    >>> h = History([Op(process=0, type="invoke", f="read", key="x"),
    ...              Op(process=1, type="invoke", f="read", key="y"),
    ...              Op(process=0, type="ok", f="read", key="x", value=5)])
    >>> h.completion(0), h.completion(1), h.invocation(2)
    (2, None, 0)
    >>> view = h.filter(lambda op: op.type == "ok")
    >>> len(view), view[0].index, view.at(view.invocation(2)).type
    (1, 2, 'invoke')

**Pairing.**  A completion belongs to the open invocation of its process.  Nemesis events are all
``info``; a start and the report of its success have the same ``f`` and the same ``id`` in their
value, and alternate.  The events ``node-crash``, ``phase`` and ``probes`` stand alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.history.op import NEMESIS, Op

__all__ = ["TYPE_CODES", "Columns", "Frozen", "History", "Mispaired", "freeze", "renumbered"]

TYPE_CODES: Mapping[str, int] = {"invoke": 0, "ok": 1, "fail": 2, "info": 3}
"""What ``Columns.type`` holds."""

SINGLE = frozenset({"node-crash", "phase", "probes"})
"""Nemesis events that stand alone: nothing completes them."""

Ints = npt.NDArray[np.int64]


class Mispaired(ValueError):
    """Events that are no history; ``position`` says where the first contradiction lies."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"event {position}: {problem}")
        self.position = position
        self.problem = problem


class Columns(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A history as int64 columns, one row per op: all that kernels see.

    Attributes:
        index: ``op.index``.
        process: as in the op; the nemesis is -1.
        type: see TYPE_CODES.
        f: position in ``functions``.
        key: position in ``keys``.
        value: position in ``values``.
        time: nanoseconds.
        completion: for an invocation, the row of its completion; -1 if it has none here.
        functions: interned names; position 0 is None in each of the three tables.
        keys: interned keys.
        values: interned values, as they stand in the ops.
    """

    index: Ints
    process: Ints
    type: Ints
    f: Ints
    key: Ints
    value: Ints
    time: Ints
    completion: Ints
    functions: tuple[Any, ...]
    keys: tuple[Any, ...]
    values: tuple[Any, ...]


class History(Sequence[Op]):
    """An immutable sequence of ops with invocations paired to completions.

    Args:
        ops: in order of occurrence.  Each index is the op's position, or -1 everywhere, and then
            they are numbered here.

    Raises:
        Mispaired: (a ValueError) a completion without invocation, or a second invocation by a
            process whose first is open, or an index that is not the position.
    """

    __slots__ = ("_ops", "_partner", "_positions", "_whole")

    def __init__(self, ops: Iterable[Op] = ()) -> None:
        self._ops: tuple[Op, ...] = _numbered(tuple(ops))
        self._partner: list[int] = _pair(self._ops)
        self._whole: History = self
        self._positions: dict[int, int] | None = None

    # --- a sequence -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._ops)

    @overload
    def __getitem__(self, position: int) -> Op: ...
    @overload
    def __getitem__(self, position: slice) -> History: ...
    def __getitem__(self, position: int | slice) -> Op | History:
        if isinstance(position, slice):
            return self._view(self._ops[position])
        return self._ops[position]

    def __iter__(self) -> Iterator[Op]:
        return iter(self._ops)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._ops == other._ops

    def __hash__(self) -> int:
        ends = [(op.index, op.time_ns, op.process) for op in (*self._ops[:1], *self._ops[-1:])]
        return hash((len(self._ops), *ends))

    def __repr__(self) -> str:
        kind = "History" if self._whole is self else "view of a History"
        return f"<{kind}: {len(self._ops)} events>"

    # --- by index: answered for the whole history -------------------------------------------

    @property
    def whole(self) -> History:
        """The history that this is a view of; itself if it is no view."""
        return self._whole

    def at(self, index: int) -> Op:
        """The op with that index in the whole history."""
        if index < 0:
            raise IndexError(f"no event has index {index}")
        return self._whole._ops[index]

    def completion(self, index: int) -> int | None:
        """Index of the completion of the invocation at ``index``; None if it is open."""
        partner = self._partner[index]
        return partner if partner > index else None

    def invocation(self, index: int) -> int | None:
        """Index of the invocation of the completion at ``index``; None for an invocation."""
        partner = self._partner[index]
        return partner if 0 <= partner < index else None

    def invocations(self) -> Iterator[tuple[Op, Op | None]]:
        """Each client invocation here with its completion (None if open), in order."""
        everything, partner = self._whole._ops, self._partner
        for op in self._ops:
            if op.type == "invoke":
                other = partner[op.index]
                yield op, everything[other] if other >= 0 else None

    # --- views ------------------------------------------------------------------------------

    def filter(self, keep: Callable[[Op], bool]) -> History:
        """A view of the ops for which ``keep`` is true."""
        return self._view(tuple(op for op in self._ops if keep(op)))

    def client_ops(self) -> History:
        """A view of all that is not the nemesis's."""
        return self._view(tuple(op for op in self._ops if op.process != NEMESIS))

    def nemesis_ops(self) -> History:
        """A view of the nemesis's events."""
        return self._view(tuple(op for op in self._ops if op.process == NEMESIS))

    def by_key(self) -> dict[Any, History]:
        """Client ops split by key, keys in order of first use, made hashable by ``freeze``.

        A completion goes with its invocation, whether or not it repeats the key.
        """
        groups: dict[Any, list[Op]] = {}
        everything, partner = self._whole._ops, self._partner
        for op in self._ops:
            if op.process == NEMESIS:
                continue
            other = partner[op.index]
            key = everything[other].key if 0 <= other < op.index else op.key
            if isinstance(key, bool | list | dict):
                key = freeze(key)
            groups.setdefault(key, []).append(op)
        return {key: self._view(tuple(ops)) for key, ops in groups.items()}

    def columns(self) -> Columns:
        """This history, or view, as integer columns with interned tables."""
        return _columns(self)

    def _view(self, ops: tuple[Op, ...]) -> History:
        view = object.__new__(History)
        view._ops = ops
        view._partner = self._partner
        view._whole = self._whole
        view._positions = None
        return view

    def _position_of(self, index: int) -> int:
        """Where the op with that index stands here; -1 if it is not in this view."""
        if self._whole is self:
            return index
        if self._positions is None:
            self._positions = {op.index: position for position, op in enumerate(self._ops)}
        return self._positions.get(index, -1)


def renumbered(ops: Iterable[Op]) -> History:
    """A whole history of its own from ops that carry another history's indexes."""
    return History(
        msgspec.structs.replace(op, index=position) for position, op in enumerate(ops)
    )


class Frozen(enum.Enum):
    """What JSON tells apart and Python would not: booleans from 1 and 0, maps from lists of pairs."""

    TRUE = "true"
    FALSE = "false"
    MAP = "map"

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


def freeze(value: Any) -> Any:
    """A hashable stand-in for a JSON-able value, equal only to that of an equal value.

    Lists become tuples, mappings their sorted pairs after a mark, booleans names of their own.

    >>> freeze([1, [2, None], {"b": [3], "a": True}])
    (1, (2, None), (map, ('a', true), ('b', (3,))))
    """
    if value is True or value is False:
        return Frozen.TRUE if value else Frozen.FALSE
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if isinstance(value, Mapping):
        pairs = [(freeze(name), freeze(item)) for name, item in value.items()]
        return (Frozen.MAP, *sorted(pairs, key=repr))
    if isinstance(value, set | frozenset):
        return frozenset(freeze(item) for item in value)
    return value


def _numbered(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    numbered: list[Op] | None = None
    for position, op in enumerate(ops):
        if op.index == position:
            if numbered is not None:
                numbered.append(op)
        elif op.index == -1:
            if numbered is None:
                numbered = list(ops[:position])
            numbered.append(msgspec.structs.replace(op, index=position))
        else:
            raise Mispaired(
                position,
                f"index is {op.index}, expected {position}; a part of a history keeps its "
                "indexes only as a view (filter, slice), renumbered() makes it a whole one",
            )
    return ops if numbered is None else tuple(numbered)


def _pair(ops: tuple[Op, ...]) -> list[int]:
    """Partner's index for each op, -1 where there is none."""
    partner = [-1] * len(ops)
    open_by_process: dict[int, int] = {}
    open_by_fault: dict[tuple[str, Any], int] = {}
    for position, op in enumerate(ops):
        process = op.process
        if process == NEMESIS:
            _pair_fault(op, position, open_by_fault, partner)
        elif op.type == "invoke":
            if process in open_by_process:
                raise Mispaired(
                    position,
                    f"process {process} invokes {op.f} while its invocation at event "
                    f"{open_by_process[process]} is open",
                )
            open_by_process[process] = position
        else:
            begun = open_by_process.pop(process, -1)
            if begun < 0:
                raise Mispaired(
                    position,
                    f"process {process} completes {op.f} ({op.type}) without an open invocation",
                )
            if ops[begun].f != op.f:
                raise Mispaired(
                    position,
                    f"process {process} completes {op.f}, but had invoked {ops[begun].f} "
                    f"at event {begun}",
                )
            partner[begun] = position
            partner[position] = begun
    return partner


def _pair_fault(
    op: Op, position: int, open_by_fault: dict[tuple[str, Any], int], partner: list[int]
) -> None:
    if op.type != "info":
        raise Mispaired(
            position,
            f"process {NEMESIS} is the nemesis, whose events are all info, not {op.type}; "
            "number clients from 0",
        )
    if op.f in SINGLE:
        return
    identity = op.value.get("id") if isinstance(op.value, Mapping) else None
    name = (op.f, freeze(identity))
    begun = open_by_fault.pop(name, -1)
    if begun < 0:
        open_by_fault[name] = position
    else:
        partner[begun] = position
        partner[position] = begun


class _Interned:
    """Gives each distinct value a small number, None being 0; True and 1 stay apart."""

    def __init__(self) -> None:
        self.table: list[Any] = [None]
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        if value is None:
            return 0
        name = freeze(value) if isinstance(value, bool | list | tuple | dict | set) else value
        number = self._numbers.get(name)
        if number is None:
            number = len(self.table)
            self._numbers[name] = number
            self.table.append(value)
        return number


def _columns(history: History) -> Columns:
    functions, keys, values = _Interned(), _Interned(), _Interned()
    rows = len(history)

    def column(numbers: Iterable[int]) -> Ints:
        return np.fromiter(numbers, dtype=np.int64, count=rows)

    partner, position_of = history._partner, history._position_of
    return Columns(
        index=column(op.index for op in history),
        process=column(op.process for op in history),
        type=column(TYPE_CODES[op.type] for op in history),
        f=column(functions.number(op.f) for op in history),
        key=column(keys.number(op.key) for op in history),
        value=column(values.number(op.value) for op in history),
        time=column(op.time_ns for op in history),
        completion=column(
            position_of(partner[op.index]) if partner[op.index] > op.index else -1
            for op in history
        ),
        functions=tuple(functions.table),
        keys=tuple(keys.table),
        values=tuple(values.table),
    )
