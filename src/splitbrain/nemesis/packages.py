"""Weaves the families that a test asks for into one nemesis and one schedule.

A fault of your own is made by ``splitbrain.fault`` from three functions, or is a class with the members
of :class:`splitbrain.nemesis.base.Family`, made from a ``World``.  A file given by ``--load`` offers it
by ``NEMESES = {"my-fault": MyFamily}``; then it is asked for by ``--nemesis my-fault``, takes its turns
with the others, and has to be shown effective.  What any family answers is checked, see ``sound``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from splitbrain.checkers.bands import ONE_SHOT
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.contracts.nemesis import FaultPackage
from splitbrain.contracts.test import World
from splitbrain.errors import HarnessError
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.admin import AdminFamily
from splitbrain.nemesis.base import Act, Family, MakeFamily, completion, unpack
from splitbrain.nemesis.clock import ClockFamily
from splitbrain.nemesis.cpu import CpuFamily
from splitbrain.nemesis.disk import DiskFamily
from splitbrain.nemesis.ledger import Ledger
from splitbrain.nemesis.levers import LEVERS, LeverFamily
from splitbrain.nemesis.looks import aim
from splitbrain.nemesis.network import NetworkFamily
from splitbrain.nemesis.own import OwnFault
from splitbrain.nemesis.partition import PartitionFamily
from splitbrain.nemesis.process import ProcessFamily
from splitbrain.nemesis.restart import RestartFamily
from splitbrain.nemesis.rotation import Nothing, Wishes, rotation
from splitbrain.nemesis.sound import owner, sound

__all__ = [
    "FAULT_PACKAGE",
    "LEGEND",
    "PACKAGES",
    "SINGLE",
    "SYSTEM",
    "FamilyNemesis",
    "make_packages",
]

PACKAGES: Mapping[str, frozenset[Fault]] = {
    "partition": frozenset({Fault.PARTITION}),
    "kill": frozenset({Fault.KILL}),
    "power": frozenset({Fault.POWER}),
    "pause": frozenset({Fault.PAUSE}),
    "oom": frozenset({Fault.OOM}),
    "cpu": frozenset({Fault.CPU}),
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

SYSTEM: Mapping[str, frozenset[Fault]] = dict.fromkeys((*LEVERS, "restart"), frozenset())
"""Faults of the system itself, by its own levers: they need nothing of the substrate, and are not
among ``all``, whose draws stay as they were."""

Aim = Callable[[Act], Awaitable[Act]]


class FamilyNemesis:
    """Hands each operation to the family that knows its fault.

    ``aimed`` turns the roles that only the running system knows into nodes.
    """

    def __init__(self, families: Sequence[Family], aimed: Aim | None = None) -> None:
        self._aimed = aimed
        self._families: dict[str, Family] = {}
        for family in families:
            for fault in sorted(family.faults & self._families.keys()):
                raise HarnessError(
                    f"two families know the fault {fault!r}: {owner(self._families[fault])}, and "
                    f"{owner(family)}; rename it in one of them"
                )
            self._families.update(dict.fromkeys(family.faults, family))
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
        if act.start and self._aimed is not None:
            act = await self._aimed(act)
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
        """Heal everything: every family, even if one fails; the first failure is raised then."""
        self._started.clear()
        failures: list[Exception] = []
        for family in self._all:
            try:
                await family.heal()
            except Exception as exc:  # noqa: BLE001 - the others must still heal
                failures.append(exc)
        if failures:
            raise failures[0]


class HealAll(msgspec.Struct, frozen=True):
    """One operation: heal everything."""

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """``heal-all`` as soon as the nemesis is free."""
        if ctx.some_free_process() is None:
            return PENDING
        op = Op(time_ns=ctx.time_ns, process=NEMESIS, type="invoke", f="heal-all")
        return Emit(op, Nothing())

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Events change nothing."""
        return self


def _families(
    world: World, own: Mapping[str, MakeFamily]
) -> tuple[Mapping[str, Family], Sequence[Family]]:
    """Who makes the faults of each package, and all families: some only schedules ask for."""
    ledger = Ledger()
    process, partition, network, clock, cpu, disk, admin, levers, restart = (
        sound(family, world.spec.nodes)
        for family in (
            ProcessFamily(world, ledger),
            PartitionFamily(world, ledger),
            NetworkFamily(world, ledger),
            ClockFamily(world, ledger),
            CpuFamily(world, ledger),
            DiskFamily(world, ledger),
            AdminFamily(world),
            LeverFamily(world, ledger),
            RestartFamily(world, ledger),
        )
    )
    mine = {name: _own(make, world, ledger) for name, make in own.items()}
    home: dict[str, Family] = {
        "partition": partition,
        **dict.fromkeys(("kill", "power", "pause", "oom"), process),
        "cpu": cpu,
        "clock": clock,
        "network": network,
        **dict.fromkeys(SINGLE, network),
        **dict.fromkeys(LEVERS, levers),
        "restart": restart,
        **mine,
    }
    bundled = (process, partition, network, clock, cpu, disk, admin, levers, restart)
    return home, (*bundled, *mine.values())


def make_packages(
    world: World, own: Mapping[str, MakeFamily] = MappingProxyType({})
) -> Sequence[FaultPackage]:
    """One package that rotates all that the spec asks for, and understands every other fault too.

    ``own``: families from outside, by the name of their package.
    """
    home, families = _families(world, own)
    names = world.spec.nemesis
    kinds = frozenset(kind for name in names for kind in home[name].kinds(name))
    schedule = rotation(
        {name: home[name] for name in names},
        int(world.interval_s * 1e9),
        world.testbed.time_ns(),
        world.random.child("rotation"),
        wishes=Wishes.of(world.spec.options),
    )
    return (
        FaultPackage(
            name=",".join(names) or "none",
            faults=kinds,
            nemesis=FamilyNemesis(families, partial(aim, world)),
            generator=schedule,
            final_generator=HealAll(),
            legend=LEGEND,
        ),
    )


def _own(make: MakeFamily, world: World, ledger: Ledger) -> Family:
    """A family from outside; one that ``splitbrain.fault`` makes keeps the common book."""
    family = make(world, ledger) if isinstance(make, OwnFault) else make(world)
    return sound(family, world.spec.nodes, getattr(make, "faults", None))


LEGEND: Mapping[str, str] = {
    "start-partition": "links cut",
    "start-kill": "node killed",
    "start-power": "node lost power",
    "start-pause": "node paused",
    "start-oom": "node killed for want of memory",
    "start-cpu": "node short of processor time",
    "start-clock-jump": "wall clock jumped",
    "start-clock-strobe": "wall clock strobes",
    "start-clock-drift": "clocks drift",
    "start-delay": "messages delayed",
    "start-loss": "messages lost",
    "start-duplication": "messages doubled",
    "start-reordering": "messages reordered",
    "start-disk-slow": "disk slow",
    "start-admin": "admin action",
    "start-transfer": "leader transferred",
    "start-shuffle-leaders": "leaders shuffled",
    "start-split": "region split",
    "start-move-peer": "peer replaced",
    "start-evict-leader": "store may not lead",
    "start-pd-transfer": "placement driver's leader transferred",
    "start-compact": "log compacted",
    "start-restart": "rolling restart",
}
