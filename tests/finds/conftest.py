"""Are seeded bugs found, by the very command that ``splitbrain list bugs`` prints?

``hunt`` makes a bug's TestSpec from ``BUGS``, runs it in simulation without files, and judges it.

    hunt("ack-on-append", 3)                        the finding command, seed 3
    hunt("ack-on-append", 3, with_bug=False)        its control
    hunt("ack-on-append", 3, nemesis=())            is it quiet without faults ...
    hunt("ack-on-append", 3, nemesis=("clock",))    ... and under one that should not reveal it?
    hunt("no-conflict-check", 3, alone=True)        is it quiet where nobody is in the way?
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import pytest

from splitbrain import catalog as names
from splitbrain.checkers.verdict import Result
from splitbrain.commands.judge import judge_run
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.system import Bug
from splitbrain.contracts.testbed import Site
from splitbrain.env.random import Random
from splitbrain.harness.driver import run_test
from splitbrain.harness.record import MemoryRecorder
from splitbrain.history.history import History
from splitbrain.systems.minitikv.bugs import BUGS
from splitbrain.systems.minitikv.schedules import SCHEDULES

CATALOG = names.builtin()


class Catch(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to.

    Attributes:
        kinds: kinds of the anomalies reported.
        probe: how often the bug's changed path ran.
        wall_s: of the run and its check.
    """

    spec: TestSpec
    result: Result
    history: History
    kinds: frozenset[str]
    probe: int
    wall_s: float

    @property
    def verdict(self) -> str:
        """valid, invalid or unknown."""
        return self.result.verdict


class Hunt(Protocol):
    """See the module."""

    def __call__(
        self,
        bug: str,
        seed: int,
        *,
        with_bug: bool = True,
        nemesis: Sequence[str] | None = None,
        alone: bool = False,
    ) -> Catch: ...


def finding_spec(
    bug: Bug, seed: int, *, with_bug: bool = True, nemesis: Sequence[str] | None = None
) -> TestSpec:
    """The spec of the bug's command; ``nemesis`` takes the place of its faults and its schedule."""
    schedule: tuple[ScheduledFault, ...] = ()
    if bug.schedule and nemesis is None:
        schedule = tuple(SCHEDULES[bug.schedule])
    fields: dict[str, Any] = {
        "workload": bug.workload,
        "substrate": "sim",
        "nemesis": tuple(bug.nemesis if nemesis is None else nemesis),
        "schedule": schedule,
        "options": dict(bug.options),
        "seed": seed,
        "bugs": (bug.name,) if with_bug else (),
        **bug.spec,
    }
    return TestSpec(**fields)


def lonely(spec: TestSpec) -> TestSpec:
    """The same with one worker, who leaves no lock behind, and whose locks live long."""
    patient = {"commit-path": "2pc", "lock-ttl-ms": 3000, "answered-share": 0.5}
    return msgspec.structs.replace(spec, concurrency=1, options={**spec.options, **patient})


def run_spec(spec: TestSpec, bug: str) -> Catch:
    """Run ``spec`` without files, and judge it."""
    began = time.perf_counter()
    test = names.resolve(spec, CATALOG)
    recorder = MemoryRecorder()
    site = Site(
        spec=test.spec,
        directory=None,
        label="finds",
        random=Random(spec.seed),
        journal=NullJournal(),
        events=recorder.event,
        power="power" in spec.nemesis or any("power" in fault.f for fault in spec.schedule),
    )
    test.substrate.run(lambda: run_test(test, site, recorder))
    history = History(recorder.ops)
    result = judge_run(test.spec, history, CATALOG)
    probes: Any = next((op.value for op in history if op.f == "probes"), {})
    return Catch(
        spec=test.spec,
        result=result,
        history=history,
        kinds=frozenset(a.kind for part in result.checkers.values() for a in part.anomalies),
        probe=int(probes.get(bug, 0)),
        wall_s=time.perf_counter() - began,
    )


@pytest.fixture
def hunt() -> Hunt:
    """Run a bug's command, its control, or a run that must stay quiet."""

    def run(
        bug: str,
        seed: int,
        *,
        with_bug: bool = True,
        nemesis: Sequence[str] | None = None,
        alone: bool = False,
    ) -> Catch:
        spec = finding_spec(BUGS[bug], seed, with_bug=with_bug, nemesis=nemesis)
        return run_spec(lonely(spec) if alone else spec, bug)

    return run


@pytest.fixture
def trial() -> Callable[[TestSpec, str], Catch]:
    """``run_spec``: run any spec without files, and judge it; the bug is the one to count."""
    return run_spec


@pytest.fixture
def finding() -> Callable[..., TestSpec]:
    """``finding_spec``: the spec of a bug's command."""
    return finding_spec
