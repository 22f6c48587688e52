"""Weaves the families that a test asks for into one nemesis and one schedule.

The rotation begins a fault, lets it last, ends it, leaves a quiet time in which the system must
recover, and goes on; now and then a second fault begins while the first one lasts.  Packages take
turns in a shuffled order, so that each gets its share even in a short run.

With the interval I: a fault lasts between 1/2 I and I, the quiet time is uniform in (1/5 I, 7/5 I),
and with probability 0.3 another fault begins at about half of the first.  In the first turn of the
packages nothing overlaps and quiet times are at most 1 I, so that even a short run shows each fault
by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from splitbrain.checkers.bands import ONE_SHOT
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.contracts.nemesis import FaultPackage
from splitbrain.contracts.test import World
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.admin import AdminFamily
from splitbrain.nemesis.base import Draft, Family, completion, unpack
from splitbrain.nemesis.clock import ClockFamily
from splitbrain.nemesis.disk import DiskFamily
from splitbrain.nemesis.network import NetworkFamily
from splitbrain.nemesis.partition import PartitionFamily
from splitbrain.nemesis.process import ProcessFamily

__all__ = ["PACKAGES", "FamilyNemesis", "Rotation", "make_packages"]

PACKAGES: Mapping[str, frozenset[Fault]] = {
    "partition": frozenset({Fault.PARTITION}),
    "kill": frozenset({Fault.KILL}),
    "power": frozenset({Fault.POWER}),
    "pause": frozenset({Fault.PAUSE}),
    "clock": frozenset({Fault.CLOCK_JUMP, Fault.CLOCK_STROBE, Fault.CLOCK_DRIFT}),
    "network": frozenset({Fault.DELAY, Fault.LOSS, Fault.DUPLICATION, Fault.REORDERING}),
}
"""The names of ``--nemesis``, and the kinds of which at least one must be possible."""

FAULT_PACKAGE: Mapping[str, str] = {
    "clock-jump": "clock",
    "clock-strobe": "clock",
    "clock-drift": "clock",
    "delay": "network",
    "loss": "network",
    "duplication": "network",
    "reordering": "network",
}
"""Faults whose package has another name than they."""

SINGLE: Mapping[str, frozenset[Fault]] = {
    "delay": frozenset({Fault.DELAY}),
    "loss": frozenset({Fault.LOSS}),
    "duplication": frozenset({Fault.DUPLICATION}),
    "reordering": frozenset({Fault.REORDERING}),
}
"""Kinds of ``network`` that can be asked for alone; not among ``all``, which has them."""

_SECOND = 0.3


class FamilyNemesis:
    """Hands each operation to the family that knows its fault."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = {fault: family for family in families for fault in family.faults}
        self._all = tuple(families)
        self._started: dict[str, Any] = {}

    @property
    def functions(self) -> frozenset[str]:
        """start- of every fault, stop- of every lasting one, and ``heal-all``."""
        starts = {f"start-{fault}" for fault in self._families}
        stops = {f"stop-{fault}" for fault in self._families if fault not in ONE_SHOT}
        return frozenset(starts | stops | {"heal-all"})

    async def setup(self) -> None:
        """Nothing to prepare."""

    async def invoke(self, op: Op) -> Op:
        """Carry out one operation."""
        if op.f == "heal-all":
            await self.teardown()
            return msgspec.structs.replace(op, type="info")
        act = unpack(op)
        family = self._families.get(act.fault)
        if family is None:
            raise HarnessError(
                f"no fault {act.fault!r}; known: {', '.join(sorted(self._families))}"
            )
        if act.start:
            outcome = await family.start(act)
            self._started[act.id] = outcome
        else:
            targets, parameters, _ = self._started.pop(
                act.id, (act.targets, act.parameters, ())
            )
            act = msgspec.structs.replace(act, targets=tuple(targets), parameters=parameters)
            outcome = await family.stop(act)
        return completion(op, act, outcome)

    async def teardown(self) -> None:
        """Heal everything."""
        for family in self._all:
            await family.heal()


class _Active(msgspec.Struct, frozen=True):
    """A fault that lasts: its stop is due at ``until_ns``."""

    until_ns: int
    fault: str
    id: str


class _Upcoming(msgspec.Struct, frozen=True):
    """All that is random of the next fault, drawn once, so that asking twice gives one answer."""

    draft: Draft
    lasts_ns: int
    quiet_ns: int
    second: bool


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """The schedule: an immutable generator of nemesis operations, for ever.

    Attributes:
        names: packages in rotation.
        drafts: package name -> its family.
        interval_ns: I.
        upcoming: the next fault to begin.
        due_ns: when it begins.
        bag: packages still to come in this turn.
        active: faults that last, the next one to end first.
        count: faults begun so far.
        most: at most so many faults at once.
    """

    names: tuple[str, ...]
    drafts: Mapping[str, Family]
    interval_ns: int
    upcoming: _Upcoming
    due_ns: int
    bag: tuple[str, ...] = ()
    active: tuple[_Active, ...] = ()
    count: int = 0
    most: int = 2

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The next start or stop, at its time."""
        if ctx.some_free_process() is None:
            return PENDING
        if self.active and self.active[0].until_ns <= self.due_ns:
            return self._stop(ctx)
        return self._start(ctx)

    def _stop(self, ctx: Context) -> Emit:
        ending, *rest = self.active
        now_ns = max(ctx.time_ns, ending.until_ns)
        due_ns = self.due_ns if rest else now_ns + self.upcoming.quiet_ns
        value = {"id": ending.id, "fault": ending.fault}
        op = Op(
            time_ns=now_ns,
            process=NEMESIS,
            type="invoke",
            f=f"stop-{ending.fault}",
            value=value,
        )
        return Emit(op, msgspec.structs.replace(self, active=tuple(rest), due_ns=due_ns))

    def _start(self, ctx: Context) -> Emit:
        draft = self.upcoming.draft
        now_ns = max(ctx.time_ns, self.due_ns)
        id_ = f"{draft.fault}-{self.count + 1}"
        value = {
            "id": id_,
            "fault": draft.fault,
            "targets": list(draft.targets),
            "parameters": dict(draft.parameters),
        }
        op = Op(
            time_ns=now_ns,
            process=NEMESIS,
            type="invoke",
            f=f"start-{draft.fault}",
            value=value,
        )
        active = self.active
        if draft.lasting:
            active = (*active, _Active(now_ns + self.upcoming.lasts_ns, draft.fault, id_))
            active = tuple(sorted(active, key=lambda fault: fault.until_ns))
        if not active:
            due_ns = now_ns + self.upcoming.quiet_ns
        elif self.upcoming.second and len(active) < self.most:
            due_ns = now_ns + self.upcoming.lasts_ns // 2
        else:
            due_ns = _NEVER_NS  # set by the stop that leaves nothing active
        bag, upcoming = _draw(
            self.names,
            self.drafts,
            self.interval_ns,
            self.bag,
            ctx.random,
            first_turn=self.count + 1 < len(self.names),
        )
        following = msgspec.structs.replace(
            self, bag=bag, upcoming=upcoming, due_ns=due_ns, active=active, count=self.count + 1
        )
        return Emit(op, following)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Events change nothing."""
        return self


_NEVER_NS = 1 << 62


def _draw(
    names: tuple[str, ...],
    drafts: Mapping[str, Family],
    interval_ns: int,
    bag: tuple[str, ...],
    stream: Stream,
    *,
    first_turn: bool,
) -> tuple[tuple[str, ...], _Upcoming]:
    """The next fault: its package from the bag, which is refilled in a shuffled order when empty."""
    bag = bag or tuple(stream.sample(names, len(names)))
    draft = drafts[bag[0]].draft(bag[0], stream)
    lasts_ns = int(interval_ns * stream.uniform(0.5, 1.0))
    quiet_ns = int(interval_ns * stream.uniform(0.2, 1.0 if first_turn else 1.4))
    second = not first_turn and stream.random() < _SECOND
    return bag[1:], _Upcoming(draft, lasts_ns, quiet_ns, second)


def rotation(
    names: tuple[str, ...],
    drafts: Mapping[str, Family],
    interval_ns: int,
    now_ns: int,
    stream: Stream,
) -> Generator:
    """A rotation whose first fault comes after 0.3 to 1 intervals."""
    if not names:
        return _Nothing()
    bag, upcoming = _draw(names, drafts, interval_ns, (), stream, first_turn=True)
    due_ns = now_ns + int(interval_ns * stream.uniform(0.3, 1.0))
    return Rotation(
        names=names,
        drafts=drafts,
        interval_ns=interval_ns,
        upcoming=upcoming,
        due_ns=due_ns,
        bag=bag,
    )


class HealAll(msgspec.Struct, frozen=True):
    """One operation: heal everything."""

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """``heal-all`` as soon as the nemesis is free."""
        if ctx.some_free_process() is None:
            return PENDING
        op = Op(time_ns=ctx.time_ns, process=NEMESIS, type="invoke", f="heal-all")
        return Emit(op, _Nothing())

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Events change nothing."""
        return self


class _Nothing(msgspec.Struct, frozen=True):
    """Exhausted."""

    def op(self, test: Mapping[str, Any], ctx: Context) -> None:
        """Nothing more."""

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Nothing changes."""
        return self


def make_packages(world: World) -> Sequence[FaultPackage]:
    """One package that rotates all that the spec asks for, and understands every other fault too."""
    partition, process, clock = PartitionFamily(world), ProcessFamily(world), ClockFamily(world)
    network = NetworkFamily(world)
    families: list[Family] = [
        process,
        partition,
        network,
        clock,
        DiskFamily(world),
        AdminFamily(world),
    ]
    home: dict[str, Family] = {
        "partition": partition,
        "kill": process,
        "power": process,
        "pause": process,
        "clock": clock,
        "network": network,
        **dict.fromkeys(SINGLE, network),
    }
    names = world.spec.nemesis
    kinds = frozenset(kind for name in names for kind in home[name].kinds(name))
    schedule = rotation(
        names,
        {name: home[name] for name in names},
        int(world.interval_s * 1e9),
        world.testbed.time_ns(),
        world.random.stream("rotation"),
    )
    return (
        FaultPackage(
            name=",".join(names) or "none",
            faults=kinds,
            nemesis=FamilyNemesis(families),
            generator=schedule,
            final_generator=HealAll(),
            legend=LEGEND,
        ),
    )


LEGEND: Mapping[str, str] = {
    "start-partition": "links cut",
    "start-kill": "node killed",
    "start-power": "node lost power",
    "start-pause": "node paused",
    "start-clock-jump": "wall clock jumped",
    "start-clock-strobe": "wall clock strobes",
    "start-clock-drift": "clocks drift",
    "start-delay": "messages delayed",
    "start-loss": "messages lost",
    "start-duplication": "messages doubled",
    "start-reordering": "messages reordered",
    "start-disk-slow": "disk slow",
    "start-admin": "admin action",
}
