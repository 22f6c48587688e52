"""Wing, Gong and Lowe's search, for any model, with entries of the size of the concurrency.

A depth-first search over linearizations: place one call after another, remember every (set of
placed calls, state) that was tried, and turn back from one seen before.  Three changes make it
bearable:

- **Window.**  All completed calls before some first unplaced one are placed, so the set is that
  place and a few bits after it, not one bit per call of the history: memory O(concurrency) an entry.
- **Counted crashes.**  Crashed calls with equal actions are interchangeable, so the set only counts
  how many of each action are placed; and whoever reached the same point having used fewer can do
  all that the other can, so an entry is passed over if an earlier one used no more of any.
- **Step table.**  States and actions are numbered and each step of the model is computed once.

For the register family a possible read is placed at once, without a branch: it changes nothing, and
to place it later can only be harder.

Sound and complete for every model within the budget.  Worst case exponential in the concurrency.
Wing & Gong 1993; Lowe, *Testing for linearizability*, Concurrency and Computation 29(4), 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.antichain import Antichains, Counts
from splitbrain.checkers.linearizable.model import Action, Model
from splitbrain.checkers.linearizable.prepare import OPEN, Call, Outcome
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID

__all__ = ["check_wgl"]

BYTES_PER_ENTRY = 300
"""What one remembered entry costs, estimated high."""

OBSERVERS = ("read", "not")

Node = tuple[int, int, int, int]
"""First unplaced completed call, placed bits after it, state, counts of crashed actions."""


class _Steps:
    """The model's steps, each computed once; states by number, -1 for impossible."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._numbers: dict[Any, int] = {}
        self._states: list[Any] = []
        self._table: dict[tuple[int, Action], int] = {}
        self.first = self._number(model.init())

    def _number(self, state: Any) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def __call__(self, state: int, action: Action) -> int:
        after = self._table.get((state, action))
        if after is None:
            stepped = self._model.step(self._states[state], action)
            after = -1 if stepped is None else self._number(stepped)
            self._table[state, action] = after
        return after


class _Search:
    def __init__(self, calls: Sequence[Call], model: Model) -> None:
        self.completed = [call for call in calls if not call.crashed]
        self.crashed: dict[Action, list[Call]] = {}
        for call in calls:
            if call.crashed:
                self.crashed.setdefault(call.action, []).append(call)
        self.crashed_actions = list(self.crashed)
        self.counts = Counts(len(self.crashed_actions))
        self.step = _Steps(model)
        self.eager = OBSERVERS if model.family == "register" else ()

    def window(self, node: Node) -> tuple[list[int], int]:
        """Unplaced completed calls that may come next, and the earliest end among the unplaced."""
        base, bits, _, _ = node
        horizon = OPEN
        found: list[int] = []
        for place in range(base, len(self.completed)):
            call = self.completed[place]
            if call.begin > horizon:
                break
            if place == base or not bits >> (place - base - 1) & 1:
                found.append(place)
                horizon = min(horizon, call.end)
        return [place for place in found if self.completed[place].begin < horizon], horizon

    def place(self, node: Node, place: int, state: int) -> Node:
        base, bits, _, used = node
        if place != base:
            return base, bits | 1 << (place - base - 1), state, used
        base += 1
        while bits & 1:
            base, bits = base + 1, bits >> 1
        return base, bits >> 1, state, used

    def successors(self, node: Node) -> Iterator[tuple[Node, int]]:
        """Each next node with the number of the call that leads there, best first."""
        _, _, state, used = node
        ready, horizon = self.window(node)
        for place in ready:
            action = self.completed[place].action
            if action[0] in self.eager and self.step(state, action) == state:
                yield self.place(node, place, state), self.completed[place].number
                return
        ready.sort(key=lambda place: self.completed[place].end)
        for place in ready:
            after = self.step(state, self.completed[place].action)
            if after >= 0:
                yield self.place(node, place, after), self.completed[place].number
        for which, action in enumerate(self.crashed_actions):
            same = self.crashed[action]
            taken = self.counts.get(used, which)
            if taken == len(same) or same[taken].begin > horizon:
                continue
            after = self.step(state, action)
            if after >= 0 and after != state:
                node_after = (*node[:2], after, self.counts.add(used, which))
                yield node_after, same[taken].number


def check_wgl(
    calls: Sequence[Call], model: Model, budget: Budget, steps_max: int | None = None
) -> Outcome:
    """Decide by depth-first search; ``steps_max`` bounds the steps taken."""
    search = _Search(calls, model)
    goal = len(search.completed)
    seen: Antichains[tuple[int, int, int]] = Antichains(search.counts)
    entries_max = budget.bytes_max // BYTES_PER_ENTRY
    root: Node = (0, 0, search.step.first, 0)
    path: list[int] = []
    stack = [(root, search.successors(root))]
    explored = 0
    while stack:
        node, successors = stack[-1]
        if node[0] == goal:
            needed = tuple(sorted(number for number in path if calls[number].crashed))
            return Outcome(
                verdict=VALID, engine="wgl", order=tuple(path), needed=needed, explored=explored
            )
        for after, number in successors:
            explored += 1
            if seen.insert(after[:3], after[3]):
                path.append(number)
                stack.append((after, search.successors(after)))
                break
            if explored % 256 == 0 and budget.exceeded():
                break
        else:
            stack.pop()
            if path:
                path.pop()
        if explored % 64 == 0 and budget.exceeded():
            return Outcome(verdict=UNKNOWN, engine="wgl", explored=explored, why="time")
        if steps_max is not None and explored > steps_max:
            return Outcome(verdict=UNKNOWN, engine="wgl", explored=explored, why="steps")
        if seen.size > entries_max:
            return Outcome(verdict=UNKNOWN, engine="wgl", explored=explored, why="memory")
    return Outcome(verdict=INVALID, engine="wgl", explored=explored)
