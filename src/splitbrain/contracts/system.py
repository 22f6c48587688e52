"""A system under test: how to run it on a testbed and how to speak to it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from splitbrain.contracts.fault import Fault, Limit
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.testbed import Testbed
from splitbrain.contracts.workload import Kv
from splitbrain.env import Pacer
from splitbrain.env.random import Random

__all__ = ["Bug", "RunningSystem", "System"]


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """A seeded bug: what is wrong, what reveals it, and how it shows.

    Attributes:
        name: as in ``--bug NAME``.
        id: the short id, such as ``R10``.
        story: what was changed and why that is wrong.
        anomalies: kinds of which one must be reported when it is found.
        workload: the workload that finds it.
        nemesis: the faults that reveal it.
        harmless: a fault that must not reveal it.
        options: knobs of the finding command.
        schedule: name of a directed schedule file, or empty.
        needs_fault: the changed path runs only under its revealing fault.
        spec: other fields of the finding TestSpec, such as nodes or time_limit_s.
        share: how many of the seeds tried find it, as last measured.
        tried: how many seeds those were.
    """

    name: str
    id: str
    story: str
    anomalies: tuple[str, ...]
    workload: str = "register"
    nemesis: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    schedule: str = ""
    needs_fault: bool = False
    spec: Mapping[str, Any] = {}
    share: int = 0
    tried: int = 20


class RunningSystem(Protocol):
    """A system that has been started on a testbed."""

    async def ready(self) -> None:
        """Wait until it serves; NodeFailed with the end of a log if it does not."""

    async def primaries(self) -> Sequence[str]:
        """Nodes that now believe to be leader, newest term first; those that do not answer left out."""

    async def kv(self, node: str) -> Kv:
        """Open a session of the vocabulary ``kv``, bound by preference to ``node``."""

    async def admin(self, action: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do one of ``System.admin_actions``."""

    async def probes(self) -> Mapping[str, int]:
        """How often each seeded bug's changed path ran, summed over nodes and clients."""

    async def stop(self) -> None:
        """End the nodes' programs in good order; close what clients share."""


class System(Protocol):
    """A kind of system."""

    @property
    def name(self) -> str:
        """The name in ``--system``."""

    @property
    def vocabularies(self) -> frozenset[str]:
        """Which of kv, txn, log it offers."""

    @property
    def bugs(self) -> Mapping[str, Bug]:
        """Seeded bugs by name."""

    @property
    def admin_actions(self) -> frozenset[str]:
        """What ``RunningSystem.admin`` understands."""

    @property
    def fault_model(self) -> Mapping[Fault, Limit]:
        """Faults inside which it promises to be correct."""

    def election_timeout_s(self, spec: TestSpec) -> float:
        """T: the lower bound of the randomised election timeout, by which pauses are measured."""

    def times(self, spec: TestSpec) -> Mapping[str, float]:
        """Protocol times in seconds, for the report."""

    def validate(self, spec: TestSpec) -> None:
        """Raise RequestError for options or bugs that it does not know."""

    def schedule(self, name: str) -> Sequence[ScheduledFault]:
        """A directed schedule that the system ships, by name."""

    def start(
        self, spec: TestSpec, testbed: Testbed, random: Random, pacer: Pacer
    ) -> Awaitable[RunningSystem]:
        """Install and start it on every node; does not wait until it serves."""
