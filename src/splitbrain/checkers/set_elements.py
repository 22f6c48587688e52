"""What each read of a growing set says of each element, in time linear in what was read.

One set: elements are added, never removed, and reads return all of them.  Elements are numbered by
the first attempt to add them, so the index of that attempt grows with the number; ok reads are
numbered by their invocation.  Of each element four moments are wanted:

``known``         event at which it was first known to be in: an add's ok, or the end of a read that
                  saw it
``last_present``  the latest-begun read that saw it
``last_absent``   the latest-begun read that did not, of those that ended after the first attempt
``first_seen``    the earliest-ended read that saw it

To find ``last_absent`` by asking every read for every element would take elements x reads steps.
Instead the reads are taken from the last to the first, with the elements that every read so far saw:
those are at most as many as the next read holds, plus those that it is the first to miss, and these
are then done with.  Elements whose add overlaps the read are few and looked at apart.

    >>> h = History([Op(process=0, type="invoke", f="add", value=7),
    ...              Op(process=0, type="ok", f="add", value=7),
    ...              Op(process=0, type="invoke", f="read"),
    ...              Op(process=0, type="ok", f="read", value=[])])
    >>> seen = look_up(h, Budget())
    >>> seen.known, seen.last_present, seen.last_absent
    (array([1]), array([-1]), array([0]))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from splitbrain.checkers.budget import Budget
from splitbrain.errors import RequestError
from splitbrain.history.history import History, freeze
from splitbrain.history.op import Op

__all__ = ["NEVER", "Attempt", "Extra", "Read", "Seen", "look_up"]

Ints = npt.NDArray[np.int64]
NEVER: Final = 1 << 62
"""An index later than every event."""

_PLAIN: Final = frozenset({int, str})
_BUDGET_EVERY: Final = 256


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """An operation that adds an element."""

    invoke: Op
    completion: Op | None

    @property
    def failed(self) -> bool:
        """It certainly did not happen."""
        return self.completion is not None and self.completion.type == "fail"

    @property
    def acknowledged(self) -> bool:
        """It happened, and its client was told."""
        return self.completion is not None and self.completion.type == "ok"


class Read(msgspec.Struct, frozen=True, gc=False):
    """A successful read."""

    invoke: Op
    completion: Op


class Extra(msgspec.Struct, frozen=True, gc=False):
    """An element that a read should not have held, or not so often.

    Attributes:
        element: as it stands in the read.
        count: how often it stands there.
        attempts: those to add it, if any.
    """

    element: Any
    read: Read
    count: int
    attempts: tuple[Attempt, ...]


class Seen(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One set's elements and reads; see the module.

    Attributes:
        elements: by number, as they stand in the ops.
        attempts: by element.
        reads: by number.
        begun: the index of each read's invocation.
        known: index of an event, or NEVER.
        last_present: number of a read, or -1; so are the next two.
        last_absent: see the module.
        first_seen: see the module.
        duplicated: by element, its most frequent occurrence in one read, where too frequent.
        phantoms: elements that nobody can have added before the read ended; the first read each.
        complete: False if the budget ended the search.
    """

    elements: tuple[Any, ...]
    attempts: tuple[tuple[Attempt, ...], ...]
    reads: tuple[Read, ...]
    begun: Ints
    known: Ints
    last_present: Ints
    last_absent: Ints
    first_seen: Ints
    duplicated: tuple[Extra, ...]
    phantoms: tuple[Extra, ...]
    complete: bool = True


def look_up(history: History, budget: Budget) -> Seen:
    """The moments of every element of one set.

    Raises:
        RequestError: an operation that is neither ``add`` nor ``read``, or a read of no list.
    """
    table, reads = _collect(history)
    work = _Work(table, reads)
    complete = work.run(budget)
    return Seen(
        elements=tuple(attempts[0].invoke.value for attempts in table.values()),
        attempts=tuple(tuple(attempts) for attempts in table.values()),
        reads=tuple(reads),
        begun=work.begun,
        known=work.known,
        last_present=work.last_present,
        last_absent=work.last_absent,
        first_seen=work.first_seen,
        duplicated=tuple(work.duplicated.values()),
        phantoms=tuple(work.phantoms.values()),
        complete=complete,
    )


def _collect(history: History) -> tuple[dict[Any, list[Attempt]], list[Read]]:
    table: dict[Any, list[Attempt]] = {}
    reads: list[Read] = []
    for invoke, completion in history.invocations():
        if invoke.f == "add":
            table.setdefault(_named(invoke.value), []).append(Attempt(invoke, completion))
        elif invoke.f != "read":
            raise RequestError(
                f"event {invoke.index}: a set has no function {invoke.f!r}; it knows add and "
                "read; choose another --model"
            )
        elif completion is not None and completion.type == "ok":
            reads.append(Read(invoke, completion))
    return table, reads


def _named(element: Any) -> Any:
    return element if type(element) in _PLAIN else freeze(element)


class _Work:
    """The columns while they are filled."""

    def __init__(self, table: dict[Any, list[Attempt]], reads: Sequence[Read]) -> None:
        self.table = table
        self.reads = reads
        self.names = list(table)
        self.numbers = {name: number for number, name in enumerate(self.names)}
        count = len(self.names)
        self.begun: Ints = np.array([r.invoke.index for r in reads], dtype=np.int64)
        self.ended: Ints = np.array([r.completion.index for r in reads], dtype=np.int64)
        self.added: Ints = np.array([a[0].invoke.index for a in table.values()], dtype=np.int64)
        self.possible: Ints = np.array(list(map(_possible, table.values())), dtype=np.int64)
        self.known: Ints = np.array(list(map(_acknowledged, table.values())), dtype=np.int64)
        self.last_present: Ints = np.full(count, -1, dtype=np.int64)
        self.last_absent: Ints = np.full(count, -1, dtype=np.int64)
        self.first_seen: Ints = np.full(count, -1, dtype=np.int64)
        self.duplicated: dict[Any, Extra] = {}
        self.phantoms: dict[Any, Extra] = {}
        self.held: list[Ints] = []

    def run(self, budget: Budget) -> bool:
        """Fill them; False if the budget ended it."""
        for number, read in enumerate(self.reads):
            if number % _BUDGET_EVERY == 0 and budget.exceeded():
                return False
            self.held.append(self._held(number, read))
        self._presence()
        return self._absence(budget)

    def _held(self, number: int, read: Read) -> Ints:
        """Numbers of the elements in a read, each once; oddities are noted on the way."""
        value = read.completion.value
        if value is None:
            value = ()
        elif not isinstance(value, list | tuple):
            raise RequestError(
                f"event {read.completion.index}: a read of a set returns a list, not {value!r}"
            )
        names = value if _PLAIN.issuperset(map(type, value)) else [_named(v) for v in value]
        found = np.fromiter(
            (self.numbers.get(name, -1) for name in names), dtype=np.int64, count=len(names)
        )
        once = np.unique(found)
        if len(once) != len(found):
            self._count(names, read)
        strangers = len(once) > 0 and once[0] < 0
        once = once[1:] if strangers else once
        ended = self.ended[number]
        if strangers or (self.possible[once] > ended).any():
            self._doubt(names, read)
        held: Ints = once[self.added[once] < ended]
        return held

    def _count(self, names: Sequence[Any], read: Read) -> None:
        """Note what stands here more often than it can have been added; strangers are phantoms."""
        for name, count in Counter(names).items():
            attempts = self.table.get(name, [])
            before = [a for a in attempts if a.invoke.index < read.completion.index]
            allowed = max(1, sum(not attempt.failed for attempt in before))
            noted = self.duplicated.get(name)
            if count > allowed and before and (noted is None or noted.count < count):
                self.duplicated[name] = Extra(name, read, count, tuple(attempts))

    def _doubt(self, names: Sequence[Any], read: Read) -> None:
        """Note what nobody can have added."""
        for name in names:
            number = self.numbers.get(name, -1)
            if number >= 0 and self.possible[number] < read.completion.index:
                continue
            noted = self.phantoms.get(name)
            if noted is None or read.completion.index < noted.read.completion.index:
                attempts = tuple(self.table.get(name, ()))
                self.phantoms[name] = Extra(name, read, names.count(name), attempts)

    def _presence(self) -> None:
        for number, held in enumerate(self.held):
            self.last_present[held] = number
        for number in np.argsort(-self.ended):
            self.first_seen[self.held[number]] = number
        seen = self.first_seen >= 0
        ends = self.ended[self.first_seen[seen]]
        self.known[seen] = np.minimum(self.known[seen], ends)

    def _absence(self, budget: Budget) -> bool:
        remaining: Ints = np.arange(len(self.names), dtype=np.int64)
        stamp: Ints = np.full(len(self.names), -1, dtype=np.int64)
        older = np.searchsorted(self.added, self.begun)
        overlapping = np.searchsorted(self.added, self.ended)
        for number in range(len(self.held) - 1, -1, -1):
            if number % _BUDGET_EVERY == 0 and budget.exceeded():
                return False
            stamp[self.held[number]] = number
            remaining = remaining[: np.searchsorted(remaining, older[number])]
            held = stamp[remaining] == number
            self.last_absent[remaining[~held]] = number
            remaining = remaining[held]
            young = np.arange(older[number], overlapping[number])
            missed = young[stamp[young] != number]
            self.last_absent[missed] = np.maximum(self.last_absent[missed], number)
        return True


def _possible(attempts: Sequence[Attempt]) -> int:
    """The first invocation that may have added it."""
    return next((a.invoke.index for a in attempts if not a.failed), NEVER)


def _acknowledged(attempts: Sequence[Attempt]) -> int:
    """The first acknowledgement."""
    ends = [a.completion.index for a in attempts if a.acknowledged and a.completion is not None]
    return min(ends, default=NEVER)
