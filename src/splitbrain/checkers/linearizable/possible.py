"""What an object may have held when the first call that nothing explains came to its end.

    p0  |-write 1-|
    p1              |-write 2-|
    p2                |-write 3--------- ...      outcome unknown
    p3                           |-read 1-|       no order is left at the end of this read

Up to the end of the read there are orders, and they leave 2 (write 1, write 2) or 3 (then write 3):
the read can come next after none of them.  ``possible_states`` finds the failing call, every state
that some order of the calls before its end leaves, and for each one such order, its *witness*.

It is the just-in-time search of ``jit`` without what that one does to be fast at the price of states:
no wanted values, no merged orders of appends, no beam, and every crashed call takes part.  What stays
leaves the set of states as it is:

- **Eager reads** change nothing.
- **Free writes.**  When a blind write takes effect, each other open one *may* have done so just
  before it, unseen: its bit is in ``free``.  In a witness such a write stands just before one that
  hid it.
- **Counted crashes**, **earliest end first**, and only undominated configurations (``frontier``).

Exponential in the number of cas and appends that are open at once, so a budget bounds it.

    >>> from splitbrain.checkers.linearizable.model import make_model
    >>> model = make_model("cas-register")
    >>> why_not(model, 3, ("read", 5)), why_not(model, 3, ("cas", 2, 4))
    ('read 5 needs the value 5; here it is 3', 'cas 2 to 4 needs the value 2; here it is 3')
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.antichain import Counts
from splitbrain.checkers.linearizable.frontier import Frontier, Key
from splitbrain.checkers.linearizable.model import Action, Model, show
from splitbrain.checkers.linearizable.prepare import Call

__all__ = ["Possibilities", "Possibility", "possible_states", "why_not"]

OBSERVERS: Final = ("read", "not")
CONFIGURATIONS_MAX: Final = 50_000
"""Configurations held at one event: beyond, the search is given up as too large."""


class Possibility(msgspec.Struct, frozen=True, kw_only=True):
    """One state that the object may have held.

    Attributes:
        state: the model's state.
        order: numbers of the calls of one order that leaves it: all that had ended by then, and
            those that were still open and had to happen for this state.
    """

    state: Any
    order: tuple[int, ...]


class Possibilities(msgspec.Struct, frozen=True, kw_only=True):
    """What could be said of the calls of one object.

    Attributes:
        failed: number of the first call at whose end no order was left; None if there was none, or
            the search was given up.
        states: every state possible just before that end, each once.
        left_out: numbers of observations that failed before it and were not asked about.
        why: ``time`` or ``size`` if the search was given up; else None.
    """

    failed: int | None = None
    states: tuple[Possibility, ...] = ()
    left_out: tuple[int, ...] = ()
    why: str | None = None


class _Way(NamedTuple):
    """The last call placed on a way to a configuration, and the way before it.

    ``absorbed``: it was free when it ended, so it stands just before the write that hid it.
    """

    call: int
    absorbed: bool
    before: _Way | None


class _GivenUp(Exception):
    """A bound was reached; the argument says which."""


class _Set:
    """Undominated configurations, and one way to each."""

    def __init__(self, counts: Counts) -> None:
        self.frontier = Frontier(counts)
        self.ways: dict[tuple[Key, int], _Way | None] = {}

    def insert(self, key: Key, used: int, way: _Way | None, blind: int) -> bool:
        kept = self.frontier.insert(key, used, blind=blind)
        if kept:
            self.ways[key, used] = way
        return kept

    def __iter__(self) -> Iterator[tuple[Key, int, _Way | None]]:
        for key, used in self.frontier:
            yield key, used, self.ways[key, used]


class _Search:
    def __init__(self, calls: Sequence[Call], model: Model, budget: Budget) -> None:
        self.model = model
        self.budget = budget
        self.registers = model.family == "register"
        self.which = {
            action: number
            for number, action in enumerate(dict.fromkeys(c.action for c in calls if c.crashed))
        }
        self.counts = Counts(len(self.which))
        self.crashed: dict[Action, list[Call]] = {}
        self.open: dict[int, Call] = {}
        self.blind = 0
        self.steps = 0
        self.now = _Set(self.counts)
        self.now.insert((model.init(), 0, 0), 0, None, 0)

    def begin(self, call: Call) -> int:
        """A call begins; its bit, 0 if it is crashed."""
        if call.crashed:
            self.crashed.setdefault(call.action, []).append(call)
            return 0
        bit = 1
        while bit in self.open:
            bit <<= 1
        self.open[bit] = call
        if self.registers and call.action[0] == "write":
            self.blind |= bit
        after = _Set(self.counts)
        for (state, done, free), used, way in self.now:
            self._insert(after, state, done, free, used, way)
        self.now = after
        return bit

    def end(self, bit: int) -> bool:
        """A call ends: keep or make the configurations in which it is done; False if none."""
        after, work = _Set(self.counts), _Set(self.counts)
        queue: deque[tuple[Key, int, _Way | None]] = deque()
        number = self.open[bit].number
        for (state, done, free), used, way in self.now:
            if done & bit:
                after.insert((state, done ^ bit, free), used, way, self.blind)
                continue
            if free & bit:
                hidden = _Way(number, True, way)
                after.insert((state, done, free ^ bit), used, hidden, self.blind)
            if work.insert((state, done, free), used, way, self.blind):
                queue.append(((state, done, free), used, way))
        while queue:
            self.tick(work.frontier.size + after.frontier.size)
            for (state, done, free), used, way in self._successors(*queue.popleft()):
                if done & bit:
                    after.insert((state, done ^ bit, free & ~bit), used, way, self.blind)
                elif work.insert((state, done, free), used, way, self.blind):
                    queue.append(((state, done, free), used, way))
        if not after.frontier.size:
            return False
        del self.open[bit]
        self.blind &= ~bit
        self.now = after
        return True

    def observes(self, call: Call) -> bool:
        """Whether the call changes nothing, whatever the state."""
        return self.registers and call.action[0] in OBSERVERS

    def forget(self, bit: int) -> None:
        """Leave out an observation that is done in no configuration."""
        del self.open[bit]

    def closure(self) -> dict[Any, _Way | None]:
        """Every state to which calls that are open now may lead, and a way to it."""
        seen = _Set(self.counts)
        found: dict[Any, _Way | None] = {}
        queue = deque(self.now)
        for key, used, way in queue:
            seen.insert(key, used, way, self.blind)
            found.setdefault(key[0], way)
        while queue:
            self.tick(seen.frontier.size)
            for key, used, way in self._successors(*queue.popleft()):
                if seen.insert(key, used, way, self.blind):
                    found.setdefault(key[0], way)
                    queue.append((key, used, way))
        return found

    def _successors(
        self, key: Key, used: int, way: _Way | None
    ) -> Iterator[tuple[Key, int, _Way | None]]:
        """Each configuration with one more call placed."""
        state, done, free = key
        tried: set[Action] = set()
        made = _Set(self.counts)
        # What must end first goes first: of two equal actions either does, and it has less time.
        for bit, call in sorted(self.open.items(), key=lambda item: item[1].end):
            if done & bit or call.action in tried:
                continue
            tried.add(call.action)
            after = self.model.step(state, call.action)
            if after is not None:
                hides = self._hidden_by(call.action) & ~(done | bit)
                step = _Way(call.number, False, way)
                self._insert(made, after, done | bit, free & ~bit | hides, used, step)
        for action, some in self.crashed.items():
            taken = self.counts.get(used, self.which[action])
            after = self.model.step(state, action) if taken < len(some) else None
            if after is None:
                continue
            hides = self._hidden_by(action) & ~done
            if after == state and not hides & ~free:
                continue
            step = _Way(some[taken].number, False, way)
            more = self.counts.add(used, self.which[action])
            self._insert(made, after, done, free | hides, more, step)
        return iter(list(made))

    def _hidden_by(self, action: Action) -> int:
        """The open blind writes that a write may hide."""
        return self.blind if self.registers and action[0] == "write" else 0

    def _insert(
        self, into: _Set, state: Any, done: int, free: int, used: int, way: _Way | None
    ) -> None:
        """Keep a configuration, its possible reads done."""
        for bit, call in self.open.items():
            if done & bit or not self.observes(call):
                continue
            if self.model.step(state, call.action) is not None:
                done |= bit
                way = _Way(call.number, False, way)
        into.insert((state, done, free), used, way, self.blind)

    def tick(self, size: int) -> None:
        self.steps += 1
        if size > CONFIGURATIONS_MAX:
            raise _GivenUp("size")
        if self.steps % 64 == 0 and self.budget.exceeded():
            raise _GivenUp("time")


def possible_states(
    calls: Sequence[Call],
    model: Model,
    budget: Budget,
    about: Container[int] | None = None,
) -> Possibilities:
    """Find the first call at whose end no order is left, and every state possible before it.

    Args:
        calls: of one object; ``number`` is the place of each.
        model: the object.
        budget: bounds the search in time; its bytes are not looked at, as the number of
            configurations is bounded too.
        about: numbers of the calls that a reader is told of; None for all.  An observation that
            is not among them and fails first is left out: it changes nothing, and the states
            before one that the reader knows are what is asked for.
    """
    events = [(call.begin, 0, call) for call in calls]
    events += [(call.end, 1, call) for call in calls if not call.crashed]
    events.sort(key=lambda event: event[:2])
    search = _Search(calls, model, budget)
    bits: dict[int, int] = {}
    left_out: list[int] = []
    try:
        for _, ends, call in events:
            search.tick(0)
            if not ends:
                bits[call.number] = search.begin(call)
            elif not search.end(bits[call.number]):
                if search.observes(call) and about is not None and call.number not in about:
                    search.forget(bits[call.number])
                    left_out.append(call.number)
                    continue
                states = tuple(
                    Possibility(state=state, order=_order(way, calls))
                    for state, way in search.closure().items()
                )
                return Possibilities(
                    failed=call.number, states=states, left_out=tuple(left_out)
                )
    except _GivenUp as spent:
        return Possibilities(why=str(spent.args[0]))
    return Possibilities()


def _order(way: _Way | None, calls: Sequence[Call]) -> tuple[int, ...]:
    """The calls on a way, each hidden write just before the last write placed until its end.

    It was open when some write hid it, and still is at every later one.
    """
    steps: list[_Way] = []
    while way is not None:
        steps.append(way)
        way = way.before
    placed: list[int] = []
    for step in reversed(steps):
        at = len(placed)
        if step.absorbed:
            at = max(n for n, number in enumerate(placed) if calls[number].action[0] == "write")
        placed.insert(at, step.call)
    return tuple(placed)


def why_not(model: Model, state: Any, action: Action) -> str | None:
    """Why ``action`` cannot come next where ``state`` is; None if it can.

    >>> from splitbrain.checkers.linearizable.model import make_model
    >>> why_not(make_model("register"), 3, ("write", 5))
    """
    if model.step(state, action) is not None:
        return None
    what = model.describe(action)
    if model.family != "register":
        return f"{what} is impossible in state {show(state)}"
    if action[0] == "not":
        seen = show(action[1])
        return f"a failed cas from {seen} needs another value than {seen}; here it is {show(state)}"
    return f"{what} needs the value {show(action[1])}; here it is {show(state)}"
