"""The random schedule: which fault comes when.

The rotation begins a fault, lets it last, ends it, leaves a quiet time in which the system must
recover, and goes on; now and then a second fault begins while the first one lasts.  Packages take
turns in a shuffled order, so that each gets its share even in a short run.

With the interval I: a fault lasts between 1/2 I and I, the quiet time is uniform in (1/5 I, 7/5 I),
and with probability 0.3 another fault begins at half of the first.  In the first turn of the packages
nothing overlaps and quiet times are at most 1 I, so that even a short run shows each fault by itself.

A user's :class:`Wishes` replace what was drawn; what was not wished for stays as it was.

All that is random about the n-th fault is a pure function of the seed and n: asking twice gives one
answer, and neither the clients' draws nor how often they ask shift the schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.env.random import Random
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.base import ROLES, Draft, Family

__all__ = ["Nothing", "Plan", "Rotation", "Upcoming", "Wishes", "rotation", "words_of"]

_SECOND = 0.3
_ROLES = frozenset(ROLES)
_NEVER_NS = 1 << 62


def words_of(value: object) -> tuple[str, ...]:
    """The words of an option that joins them by commas.

    >>> words_of("leader, minority"), words_of(3)
    (('leader', 'minority'), ('3',))
    """
    return tuple(word for word in (part.strip() for part in str(value).split(",")) if word)


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the options ``targets``, ``shapes`` and ``quiet`` ask for in place of draws.

    Words take turns in a shuffled order, as packages do; one named twice comes twice as often.

    Attributes:
        targets: roles for faults that have targets; empty for those that are drawn.
        shapes: for partitions; empty for those that are drawn.
        quiet_ns: from the end of the last fault to the next start; None for draws.
    """

    targets: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    quiet_ns: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wishes:
        """Those of a run's options."""
        quiet_s = options.get("quiet")
        return cls(
            targets=words_of(options.get("targets", "")),
            shapes=words_of(options.get("shapes", "")),
            quiet_ns=None if quiet_s is None else int(quiet_s * 1e9),
        )


_NO_WISHES = Wishes()


class Nothing(msgspec.Struct, frozen=True):
    """An exhausted generator."""

    def op(self, test: Mapping[str, Any], ctx: Context) -> None:
        """Nothing more."""

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Nothing changes."""
        return self


class Upcoming(msgspec.Struct, frozen=True):
    """One fault of the plan.

    Attributes:
        package: whose turn it is.
        lasts_ns: from its start to its stop.
        quiet_ns: from the stop of the last fault to the next start.
        second: another one begins while it lasts.
    """

    package: str
    draft: Draft
    lasts_ns: int
    quiet_ns: int
    second: bool


class Plan:
    """The endless list of faults, drawn when they are first asked for.

    Args:
        drafts: package name -> its family, in the order of ``--nemesis``.
        interval_ns: I.
        random: the draws of the n-th fault come from its streams ``fault, n``.
        wishes: replace draws, by streams of their own.
    """

    def __init__(
        self,
        drafts: Mapping[str, Family],
        interval_ns: int,
        random: Random,
        wishes: Wishes = _NO_WISHES,
    ) -> None:
        self.names = tuple(drafts)
        self._drafts = drafts
        self._wishes = wishes
        self._interval_ns = interval_ns
        self._random = random
        self._drawn: dict[int, Upcoming] = {}

    def first_ns(self, now_ns: int) -> int:
        """When the first fault begins: after 0.3 to 1 intervals."""
        return now_ns + int(self._interval_ns * self._random.stream("first").uniform(0.3, 1.0))

    def fault(self, number: int) -> Upcoming:
        """The fault of that number, from 0."""
        drawn = self._drawn.get(number)
        if drawn is None:
            drawn = self._drawn[number] = self._draw(number)
        return drawn

    def _draw(self, number: int) -> Upcoming:
        turn, place = divmod(number, len(self.names))
        order = self._random.stream("turn", turn).sample(self.names, len(self.names))
        stream = self._random.stream("fault", number)
        drawn = Upcoming(
            package=order[place],
            draft=self._drafts[order[place]].draft(order[place], stream),
            lasts_ns=int(self._interval_ns * stream.uniform(0.5, 1.0)),
            quiet_ns=int(self._interval_ns * stream.uniform(0.2, 1.4 if turn else 1.0)),
            second=bool(turn) and stream.random() < _SECOND,
        )
        return self._wished(drawn, turn)

    def _wished(self, drawn: Upcoming, turn: int) -> Upcoming:
        """The fault as the user wants it; a package has its ``turn``-th one in that turn."""
        draft, wishes = drawn.draft, self._wishes
        if (
            wishes.targets
            and draft.targets
            and not draft.aimed
            and set(draft.targets) <= _ROLES
        ):
            target = self._dealt("targets", wishes.targets, drawn.package, turn)
            draft = msgspec.structs.replace(draft, targets=(target,))
        if wishes.shapes and draft.fault == "partition" and "shape" in draft.parameters:
            shape = self._dealt("shapes", wishes.shapes, drawn.package, turn)
            parameters = {**draft.parameters, "shape": shape}
            draft = msgspec.structs.replace(draft, parameters=parameters)
        quiet_ns = drawn.quiet_ns if wishes.quiet_ns is None else wishes.quiet_ns
        return msgspec.structs.replace(drawn, draft=draft, quiet_ns=quiet_ns)

    def _dealt(self, what: str, words: tuple[str, ...], package: str, turn: int) -> str:
        """Each of the words once in as many turns, so that a short run shows them all."""
        deal, place = divmod(turn, len(words))
        return self._random.stream(what, package, deal).sample(words, len(words))[place]


class _Active(msgspec.Struct, frozen=True):
    """A fault that lasts: its stop is due at ``until_ns``."""

    until_ns: int
    fault: str
    id: str


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The schedule: an immutable generator of nemesis operations, for ever.

    Attributes:
        plan: the faults.
        count: faults begun so far; the next one is ``plan.fault(count)``.
        due_ns: when it begins.
        quiet_ns: the quiet time after the last one begun.
        active: faults that last, the next one to end first.
        most: at most so many faults at once.
    """

    plan: Plan
    due_ns: int
    count: int = 0
    quiet_ns: int = 0
    active: tuple[_Active, ...] = ()
    most: int = 2

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The next start or stop, at its time."""
        if not ctx.free_mask:
            return PENDING
        if self.active and self.active[0].until_ns <= self.due_ns:
            return self._stop(ctx)
        return self._start(ctx)

    def _stop(self, ctx: Context) -> Emit:
        ending, *rest = self.active
        now_ns = max(ctx.time_ns, ending.until_ns)
        value = {"id": ending.id, "fault": ending.fault}
        due_ns = self.due_ns if rest else now_ns + self.quiet_ns
        following = msgspec.structs.replace(self, active=tuple(rest), due_ns=due_ns)
        return Emit(_op(now_ns, f"stop-{ending.fault}", value), following)

    def _start(self, ctx: Context) -> Emit:
        fault = self.plan.fault(self.count)
        draft = fault.draft
        now_ns = max(ctx.time_ns, self.due_ns)
        id_ = f"{draft.fault}-{self.count + 1}"
        value = {
            "id": id_,
            "fault": draft.fault,
            "targets": list(draft.targets),
            "parameters": dict(draft.parameters),
        }
        active = self.active
        if draft.lasting:
            active = (*active, _Active(now_ns + fault.lasts_ns, draft.fault, id_))
            active = tuple(sorted(active, key=lambda one: one.until_ns))
        if not active:
            due_ns = now_ns + fault.quiet_ns
        elif fault.second and len(active) < self.most:
            due_ns = now_ns + fault.lasts_ns // 2
        else:
            due_ns = _NEVER_NS  # set by the stop that leaves nothing active
        following = msgspec.structs.replace(
            self, count=self.count + 1, quiet_ns=fault.quiet_ns, due_ns=due_ns, active=active
        )
        return Emit(_op(now_ns, f"start-{draft.fault}", value), following)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Events change nothing."""
        return self


def _op(time_ns: int, f: str, value: Mapping[str, Any]) -> Op:
    return Op(time_ns=time_ns, process=NEMESIS, type="invoke", f=f, value=value)


def rotation(
    drafts: Mapping[str, Family],
    interval_ns: int,
    now_ns: int,
    random: Random,
    *,
    wishes: Wishes = _NO_WISHES,
) -> Generator:
    """The rotation of these packages from now on; nothing at all for none."""
    if not drafts:
        return Nothing()
    plan = Plan(drafts, interval_ns, random, wishes)
    return Rotation(plan=plan, due_ns=plan.first_ns(now_ns))
