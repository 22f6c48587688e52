"""An injector that does nothing must be found out: by the fault's proof, and by the verdict."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain import catalog
from splitbrain.commands.judge import judge_run
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site
from splitbrain.env.random import Random
from splitbrain.harness.driver import run_test
from splitbrain.harness.record import MemoryRecorder
from splitbrain.history.history import History
from splitbrain.nemesis.packages import PACKAGES, SINGLE
from splitbrain.nemesis.partition import SHAPES
from splitbrain.substrates.sim import SimSubstrate

from .conftest import DeafSubstrate, Stand, effects

FAULTS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    *(("partition", (), {"shape": shape}) for shape in SHAPES),
    ("kill", ("leader", "n1"), {}),
    ("power", ("all",), {}),
    ("pause", ("minority",), {}),
    ("clock-jump", ("n1",), {"delta_ms": 11.4}),
    ("clock-jump", ("n1",), {"delta_ms": -3.0}),
    ("clock-jump", ("n1",), {"delta_ms": -288_000.0}),
    ("clock-strobe", ("n1",), {"delta_ms": 4.0, "period_ms": 8.0}),
    ("clock-strobe", ("n1",), {"delta_ms": 262_144.0, "period_ms": 1024.0}),
    ("clock-drift", ("n1",), {"rate": 0.05}),
    ("clock-drift", ("all",), {"rate": -0.1}),
    ("delay", ("n1",), {"delay_ms": 20.0, "jitter_ms": 0.0}),
    ("delay", ("all",), {"delay_ms": 300.0, "jitter_ms": 200.0}),
    ("loss", ("all",), {"loss": 0.05}),
    ("loss", ("leader",), {"loss": 0.3}),
    ("duplication", ("all",), {"duplicate": 0.1}),
    ("reordering", ("all",), {"reorder": 0.2}),
]


@pytest.mark.parametrize(("fault", "targets", "parameters"), FAULTS)
def test_an_injector_that_does_nothing_is_denied(sim, fault, targets, parameters) -> None:
    async def body(stand: Stand) -> None:
        await stand.load()
        value = await stand.start(fault, *targets, **parameters)
        await asyncio.sleep(3)
        proof = effects(value)
        if fault in ("loss", "duplication", "reordering"):
            proof = effects(await stand.stop(fault))
        assert proof
        assert set(proof) == {False}

    sim(body, deaf=True)


HASTY: list[tuple[str, dict[str, Any]]] = [
    ("partition", {"cut": [["n1", "n2"], ["n2", "n1"]], "proof": False}),
    ("delay", {"links": [["n1", "n3"]], "delay_ms": 400.0}),
    ("loss", {"links": [["n1", "n3"], ["n3", "n1"]], "loss": 0.9}),
    ("duplication", {"links": [["n1", "n3"], ["n3", "n1"]], "duplicate": 0.9}),
    ("reordering", {"links": [["n1", "n3"], ["n3", "n1"]], "reorder": 0.9}),
]


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize(("fault", "parameters"), HASTY)
def test_a_hasty_fault_of_a_schedule_is_proven_by_counts(sim, fault, parameters, deaf) -> None:
    """It takes no time, neither at its start nor at its stop, and yet it is seen or denied."""

    async def body(stand: Stand) -> None:
        while await stand.leader() != "n1":
            await stand.invoke(
                "start-admin",
                {
                    "id": "t",
                    "fault": "admin",
                    "targets": ("leader",),
                    "parameters": {"action": "transfer-leader", "to": "n1"},
                },
            )
            await asyncio.sleep(2)
        await stand.load()
        await asyncio.sleep(1)
        began_ns = stand.testbed.time_ns()
        assert effects(await stand.start(fault, **parameters)) == []
        assert stand.testbed.time_ns() - began_ns < 1_000_000, "but to ask who leads"
        await asyncio.sleep(1)
        stopped_ns = stand.testbed.time_ns()
        proof = effects(await stand.stop(fault))
        assert stand.testbed.time_ns() == stopped_ns
        # A follower that hears nothing may have nothing to send: that shows nothing.
        assert set(proof) - {None} == {not deaf}

    sim(body, deaf=deaf)


def verdict(nemesis: str, *, deaf: bool, on: str = "sim", directory: str | None = None) -> Any:
    """The verdict of one whole run."""
    spec = TestSpec(
        workload="register", substrate=on, nemesis=(nemesis,), time_limit_s=15, seed=3
    )
    names = catalog.builtin()
    test = catalog.resolve(spec, names)
    if deaf:
        test = msgspec.structs.replace(test, substrate=DeafSubstrate(test.substrate))
    recorder = MemoryRecorder()
    site = Site(
        spec=spec,
        directory=directory,
        label=f"test-{nemesis}-{on}-{os.getpid()}",
        random=Random(spec.seed),
        journal=NullJournal(),
        events=recorder.event,
        power=nemesis == "power",
    )
    test.substrate.run(lambda: run_test(test, site, recorder))
    return judge_run(spec, History(recorder.ops), names)


@pytest.mark.parametrize(
    "nemesis",
    [
        *(name for name in PACKAGES if PACKAGES[name] & SimSubstrate.supports),
        *(pytest.param(name, marks=pytest.mark.deep) for name in SINGLE),
    ],
)
def test_a_whole_run_without_effect_is_unknown(nemesis: str) -> None:
    result = verdict(nemesis, deaf=True)
    assert (result.verdict, result.reason) == ("unknown", "no-effect"), result.summary
    assert f"the fault {nemesis} was never shown to take effect" in result.summary
    assert verdict(nemesis, deaf=False).verdict == "valid", "the same run with the fault"


@pytest.mark.deep
@pytest.mark.processes
@pytest.mark.parametrize("nemesis", ["partition", "kill", "power", "pause", "clock", "delay"])
def test_a_whole_local_run_without_effect_is_unknown(
    nemesis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    result = verdict(nemesis, deaf=True, on="local", directory=str(tmp_path / "run"))
    assert (result.verdict, result.reason) == ("unknown", "no-effect"), result.summary
