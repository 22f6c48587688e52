"""The nemesis: the one process of a test that hurts the system, and the packages it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.generator import Generator
from splitbrain.history.op import Op

__all__ = ["FaultPackage", "Nemesis"]


class Nemesis(Protocol):
    """Carries out nemesis operations.

    An invocation's and a completion's value are {"id", "fault", "targets", "parameters"}; the
    completion adds "proof": a list of ``Proof`` as JSON objects.
    """

    @property
    def functions(self) -> frozenset[str]:
        """The ``f`` that it understands."""

    async def setup(self) -> None:
        """Before the first operation."""

    async def invoke(self, op: Op) -> Op:
        """Apply or heal a fault and say what was observed of it."""

    async def teardown(self) -> None:
        """Heal everything that is left."""


class FaultPackage(msgspec.Struct, frozen=True, kw_only=True):
    """One family of faults, ready to be composed with others.

    Attributes:
        name: as in ``--nemesis NAME``.
        faults: kinds that it injects: each must be shown effective at least once.
        nemesis: carries out the operations.
        generator: yields nemesis operations at its own pace, for ever.
        final_generator: heals all that may still be broken.
        legend: f of a start -> words for the report.
    """

    name: str
    faults: frozenset[Fault]
    nemesis: Nemesis
    generator: Generator
    final_generator: Generator | None
    legend: Mapping[str, str] = {}
