"""A resolved test: a TestSpec whose names have become objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from splitbrain.contracts.fault import Fault, Limit
from splitbrain.contracts.nemesis import FaultPackage
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.system import RunningSystem, System
from splitbrain.contracts.testbed import Substrate, Testbed
from splitbrain.contracts.workload import Workload
from splitbrain.env.random import Random
from splitbrain.history.op import Op

__all__ = ["MakePackages", "Recorder", "Test", "World"]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault package acts on: made once the system runs.

    Attributes:
        faults: the kinds that packages may use: supported here and inside the fault model, or
            asked for by name.
        limits: the system's fault model.
        interval_s: mean seconds between operations of a package.
        election_s: T.
    """

    spec: TestSpec
    testbed: Testbed
    running: RunningSystem
    random: Random
    faults: frozenset[Fault]
    limits: Mapping[Fault, Limit]
    interval_s: float
    election_s: float


class MakePackages(Protocol):
    """Makes the fault packages of a test, once its system runs."""

    def __call__(self, world: World) -> Sequence[FaultPackage]:
        """In the order of their names."""


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of one test.

    Attributes:
        faults: kinds asked for, each of which must be shown effective.
        outside: kinds asked for that lie outside the system's fault model.
        schedule: directed faults, from the spec.
    """

    spec: TestSpec
    workload: Workload
    system: System
    substrate: Substrate
    packages: MakePackages
    faults: frozenset[Fault] = frozenset()
    outside: frozenset[Fault] = frozenset()


class Recorder(Protocol):
    """Where a running test writes, as it happens; ``commands`` hands one to the driver."""

    def op(self, op: Op) -> None:
        """One event of the history; on disk within 10 ms."""

    def fault(self, fault: ScheduledFault) -> None:
        """One line of faults.jsonl: a nemesis operation, as it was carried out."""

    def event(self, event: Mapping[str, Any]) -> None:
        """One line of events.jsonl."""

    def flush(self) -> None:
        """Hand all to the operating system now."""
