"""Just-in-time search: all configurations at once, for the register family.

A *configuration* is what may be true at one moment: the register's state, which open calls have
taken effect, and how many crashed calls were used.  Events are taken in order; when a call ends, it
must have taken effect, and only then is each configuration that lacks it extended, by just as many
open calls as it takes (Lowe 2017).  No configuration left means not linearizable, and the event
names the call that could not be explained.  Memory is that of the configurations at one moment.

What keeps their number small, each by an exchange argument and each compared with the reference:

- **Eager reads.**  An open read (or "not v") that suits the state is done at once: no harm in it.
- **Free writes.**  When a write takes effect, every other open write or append *may* have done so
  just before, unseen.  It is marked free: at its end it counts as done, or takes effect then.  So k
  concurrent writes do not make 2^k configurations.  An open write of the very value that is there is
  free too, and a crashed one of it may still make others free.  An append makes nothing free: what
  was just before it is still there to be seen.
- **Wanted values.**  Before the goal, a write or a crashed cas is tried only if somebody could see
  its value next: an open read or cas, a crashed cas that leads to such, or a "not".
- **Prefixes.**  An order of appends that no read to come extends is given up, or all such orders
  are held to be one state (prefixes.py).
- **Earliest end first.**  Of open calls with the same action the one that must end first goes first;
  of appends both the first free one and the first other, as either may be the better one to use up.
- **Counted crashes**, and only undominated configurations (frontier.py).  A crashed call
  whose value no read and no cas ever asks for is left out.
- **Widening beam.**  At most ``width`` configurations are kept, by how few crashed calls they used
  and how many open calls are done or free.  One left at the end proves valid; none left with
  nothing dropped proves invalid; none left after a drop starts again with eight times the width, up
  to the budget.  So no answer is ever a guess.

A call is done, free or neither, bit by bit in two masks; its bit is given back when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.antichain import Counts
from splitbrain.checkers.linearizable.frontier import Frontier, Key
from splitbrain.checkers.linearizable.model import Action, Model
from splitbrain.checkers.linearizable.prefixes import UNSEEN, Prefixes
from splitbrain.checkers.linearizable.prepare import Call, Outcome
from splitbrain.checkers.verdict import INVALID, UNKNOWN, VALID

__all__ = ["check_jit", "jit_applies", "useful_crashed"]

OBSERVING: Final = ("read", "not")
WIDTH_FIRST: Final = 32
WIDENING: Final = 8
BYTES_PER_CONFIGURATION: Final = 400
"""What one configuration costs while an event is worked on, estimated high."""

State = Any


class _Spent(Exception):
    """A bound was reached; the argument says which."""


class _Open:
    """The calls that are open at one moment, indexed as the search asks for them."""

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}
        self.by_end: dict[int, Call] = {}
        self.blind = 0
        self.reads: dict[State, int] = {}
        self.nots: dict[State, int] = {}
        self.writes: dict[State, int] = {}
        self.casses: dict[State, int] = {}
        self.appends = 0
        self.overwrites = 0

    def add(self, call: Call) -> int:
        bit = 1
        while bit in self.calls:
            bit <<= 1
        self.calls[bit] = call
        self._sort()
        self._change(call.action, bit)
        return bit

    def remove(self, bit: int) -> None:
        self._change(self.calls.pop(bit).action, bit)
        self._sort()

    def _sort(self) -> None:
        """Writes, appends and cas by the time of their end."""
        acting = [(bit, c) for bit, c in self.calls.items() if c.action[0] not in OBSERVING]
        self.by_end = dict(sorted(acting, key=lambda entry: entry[1].end))

    def _change(self, action: Action, bit: int) -> None:
        kind, value = action[0], action[1]
        if kind == "append":
            self.appends ^= bit
        else:
            table = {
                "read": self.reads,
                "not": self.nots,
                "write": self.writes,
                "cas": self.casses,
            }[kind]
            table[value] = table.get(value, 0) ^ bit
            if not table[value]:
                del table[value]
        if kind in ("write", "append"):
            self.blind ^= bit
        if kind in ("write", "cas"):
            self.overwrites ^= bit

    def settle(self, state: State, done: int, free: int) -> Key:
        """The configuration after eager reads, and writes of what is there, are marked."""
        done |= self.reads.get(state, 0)
        for value, bits in self.nots.items():
            if value != state:
                done |= bits
        free |= self.writes.get(state, 0)
        return state, done, free & ~done


class _Search:
    def __init__(
        self,
        calls: Sequence[Call],
        model: Model,
        width: int,
        budget: Budget,
        steps_max: int | None,
    ) -> None:
        self.model = model
        self.width = width
        self.budget = budget
        self.explored = 0
        self.steps_max = steps_max
        self.dropped = False
        self.open = _Open()
        self.crashed: dict[Action, int] = {}
        self.crashed_actions = useful_crashed(calls)
        self.which = {action: n for n, action in enumerate(self.crashed_actions)}
        self.counts = Counts(len(self.crashed_actions))
        self.configurations = Frontier(self.counts)
        self.configurations.insert((model.init(), 0, 0), 0, blind=0)
        self.reachable_by_crash: set[State] = set()
        self.prefixes = Prefixes(calls)
        self.size_max = max(1, budget.bytes_max // BYTES_PER_CONFIGURATION)

    # --- events -----------------------------------------------------------------------------

    def begin(self, call: Call) -> int:
        """A call begins; returns its bit, 0 if it is crashed."""
        if call.crashed:
            if call.action in self.which:
                self.crashed[call.action] = self.crashed.get(call.action, 0) + 1
            return 0
        bit = self.open.add(call)
        if call.action[0] in ("read", "not", "write"):
            settled = Frontier(self.counts)
            for (state, done, free), used in self.configurations:
                self._count(settled.size)
                settled.insert(self.open.settle(state, done, free), used, blind=self.open.blind)
            self.configurations = settled
        return bit

    def end(self, bit: int) -> bool:
        """A call ends: keep or make the configurations in which it is done; False if none."""
        self._find_crashed_wants()
        self.prefixes.at(self.open.calls[bit].end, self.open.calls)
        after = Frontier(self.counts)
        seen = Frontier(self.counts)
        work: list[tuple[Key, int]] = []
        blind = self.open.blind
        for key, used in self.configurations:
            state, done, free = key
            if done & bit:
                after.insert((state, done ^ bit, free), used, blind=blind)
                continue
            if free & bit:
                after.insert((state, done, free ^ bit), used, blind=blind)
            if seen.insert(key, used, blind=blind):
                work.append((key, used))
        while work:
            key, used = work.pop()
            self._count(seen.size + after.size)
            for (state, done, free), used_then in self._successors(key, used, bit):
                if done & bit:
                    after.insert((state, done ^ bit, free & ~bit), used_then, blind=blind)
                elif seen.insert((state, done, free), used_then, blind=blind):
                    work.append(((state, done, free), used_then))
        if not after.size:
            return False
        self.open.remove(bit)
        self.configurations = after if after.size <= self.width else self._best(after)
        return True

    def _count(self, size: int) -> None:
        self.explored += 1
        if size > self.size_max:
            raise _Spent("memory")
        if self.steps_max is not None and self.explored > self.steps_max:
            raise _Spent("steps")
        if self.explored % 64 == 0 and self.budget.exceeded():
            raise _Spent("time")

    def _best(self, configurations: Frontier) -> Frontier:
        self.dropped = True
        ranked = sorted(configurations, key=self._cost)
        best = Frontier(self.counts)
        for key, used in ranked[: self.width]:
            best.insert(key, used, blind=self.open.blind)
        return best

    def _cost(self, entry: tuple[Key, int]) -> int:
        (_, done, free), used = entry
        return self.counts.total(used) - (done | free).bit_count()

    # --- extension --------------------------------------------------------------------------

    def _find_crashed_wants(self) -> None:
        """Values from which a chain of crashed cas leads to one that an open call asks for."""
        wanted = set(self.open.reads) | set(self.open.casses)
        found: set[State] = set()
        grew = True
        while grew:
            grew = False
            for action in self.crashed:
                if action[0] == "cas" and action[1] not in found and action[2] in wanted:
                    found.add(action[1])
                    wanted.add(action[1])
                    grew = True
        self.reachable_by_crash = found

    def _wanted(self, value: State, state: State, done: int, appended: bool) -> bool:
        """Whether somebody could see ``value`` next, were it put or appended now."""
        calls = self.open
        if calls.nots.get(state, 0) & ~done:
            return True
        if value is UNSEEN and not self.prefixes.avoided:
            return False
        if appended:
            return True
        asked = calls.reads.get(value, 0) | calls.casses.get(value, 0)
        if (asked | calls.appends) & ~done:
            return True
        return value in self.reachable_by_crash or self.has_crashed_append

    def _hopeless(self, state: State, done: int) -> bool:
        prefixes = self.prefixes
        if not prefixes.useful or self.open.overwrites & ~done:
            return False
        return prefixes.hopeless(state, done)

    @property
    def has_crashed_append(self) -> bool:
        return any(action[0] == "append" for action in self.crashed)

    def _successors(self, key: Key, used: int, goal: int) -> list[tuple[Key, int]]:
        """Frontier one call further."""
        state, done, free = key
        calls, found = self.open, []
        tried: set[tuple[Action, bool]] = set()
        for bit, call in calls.by_end.items():
            kind, value = call.action[0], call.action[1]
            alike = call.action, kind == "append" and bool(free & bit)
            if done & bit or alike in tried:
                continue
            tried.add(alike)
            if kind == "cas":
                if value == state:
                    found.append((calls.settle(call.action[2], done | bit, free), used))
            elif kind in ("write", "append"):
                then = self._overwritten(state, call.action)
                wanted = bit == goal or self._wanted(then, state, done, kind == "append")
                if wanted and not self._hopeless(then, done | bit):
                    unseen = calls.blind if kind == "write" else free
                    found.append((calls.settle(then, done | bit, unseen), used))
        for action, available in self.crashed.items():
            which = self.which[action]
            if self.counts.get(used, which) >= available:
                continue
            then = self._overwritten(state, action)
            unseen = calls.blind if action[0] == "write" else free
            if then is None or (then == state and not unseen & ~(done | free)):
                continue
            if not self._wanted(then, state, done, action[0] == "append"):
                continue
            found.append((calls.settle(then, done, unseen), self.counts.add(used, which)))
        return found

    def _overwritten(self, state: State, action: Action) -> State | None:
        """The state after a write, append or crashed cas; None if the cas is impossible."""
        if state is UNSEEN and action[0] != "write":
            return UNSEEN if action[0] == "append" else None
        then = self.model.step(state, action)
        if then is None or not self.prefixes.useful:
            return then
        return self.prefixes.canonical(then)

    def needed(self, calls: Sequence[Call]) -> tuple[int, ...]:
        """Crashed calls used by the configuration that used the fewest."""
        used = min((used for _, used in self.configurations), key=self.counts.total)
        numbers: list[int] = []
        for which, action in enumerate(self.crashed_actions):
            same = [call.number for call in calls if call.crashed and call.action == action]
            numbers.extend(same[: self.counts.get(used, which)])
        return tuple(sorted(numbers))


def jit_applies(model: Model) -> bool:
    """Whether the engine knows the meaning of the model's actions."""
    return model.family == "register"


def check_jit(
    calls: Sequence[Call], model: Model, budget: Budget, steps_max: int | None = None
) -> Outcome:
    """Decide by widening beams; ``steps_max`` bounds the configurations looked at."""
    width = WIDTH_FIRST
    explored = 0
    while True:
        left = None if steps_max is None else steps_max - explored
        search = _Search(calls, model, width, budget, left)
        try:
            failed = _run(search, calls)
        except _Spent as spent:
            explored += search.explored
            return Outcome(
                verdict=UNKNOWN, engine="jit", explored=explored, why=str(spent.args[0])
            )
        explored += search.explored
        if failed is None:
            needed = search.needed(calls)
            return Outcome(verdict=VALID, engine="jit", needed=needed, explored=explored)
        if not search.dropped:
            states = tuple(dict.fromkeys(key[0] for key, _ in search.configurations))
            return Outcome(
                verdict=INVALID,
                engine="jit",
                failed_at=failed,
                states=states,
                explored=explored,
            )
        width *= WIDENING


def _run(search: _Search, calls: Sequence[Call]) -> int | None:
    """Take all events in order; the number of the call that could not be explained, or None."""
    events = [(call.begin, 0, call) for call in calls]
    events += [(call.end, 1, call) for call in calls if not call.crashed]
    events.sort(key=lambda event: event[:2])
    bits: dict[int, int] = {}
    for _, ends, call in events:
        if not ends:
            bits[call.number] = search.begin(call)
        elif not search.end(bits.pop(call.number)):
            return call.number
    return None


def useful_crashed(calls: Sequence[Call]) -> list[Action]:
    """Crashed actions that could explain anything, in order of first use.

    One whose value nobody ever asks for can be left out of any linearization that holds it, for
    blind writes after it do not mind, and nothing else can follow it directly.  Where there is a
    "not v", or an append, any value may be asked for.
    """
    crashed = dict.fromkeys(call.action for call in calls if call.crashed)
    if any(call.action[0] in ("not", "append") for call in calls):
        return list(crashed)
    asked = {call.action[1] for call in calls if call.action[0] == "read"}
    asked |= {call.action[1] for call in calls if call.action[0] == "cas" and not call.crashed}
    grew = True
    while grew:
        grew = False
        for action in crashed:
            useful = action[0] == "cas" and action[2] in asked and action[1] not in asked
            if useful:
                asked.add(action[1])
                grew = True
    return [action for action in crashed if action[-1] in asked]
