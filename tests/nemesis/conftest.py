"""What tests of the nemesis share: a real cluster on a testbed, and injectors that do nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from splitbrain.contracts.fault import Fault
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.nemesis import Nemesis
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.system import RunningSystem
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import Site, Substrate, Testbed
from splitbrain.env.random import Random
from splitbrain.harness.stage import LoopPacer
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.packages import make_packages
from splitbrain.results.runs import read_run
from splitbrain.substrates.local import LocalSubstrate
from splitbrain.substrates.sim import SimSubstrate
from splitbrain.systems.minitikv import Minitikv

NODES = ("n1", "n2", "n3", "n4", "n5")


class Deaf:
    """Stands before an object and does nothing where it should act."""

    def __init__(self, inner: Any, acts: Sequence[str], parts: Mapping[str, Any]) -> None:
        self._inner, self._acts, self._parts = inner, acts, parts

    def __getattr__(self, name: str) -> Any:
        if name in self._parts:
            return self._parts[name]
        if name in self._acts:
            return self._nothing
        return getattr(self._inner, name)

    async def _nothing(self, *_: Any, **__: Any) -> None:
        """Nothing at all."""


def deafened(testbed: Testbed) -> Testbed:
    """The testbed with injectors that do nothing; healing, starting and observing still work."""
    nodes = {
        name: Deaf(node, ("kill", "power", "pause", "starve", "throttle"), {})
        for name, node in testbed.nodes.items()
    }
    parts = {
        "nodes": nodes,
        "node": nodes.__getitem__,
        "net": Deaf(testbed.net, ("cut", "shape"), {}),
        "clock": Deaf(testbed.clock, ("jump", "strobe", "drift"), {}),
    }
    return Deaf(testbed, ("slow_disk",), parts)  # type: ignore[return-value]


class DeafSubstrate:
    """A substrate whose testbeds take no fault."""

    def __init__(self, inner: Substrate) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self, site: Site) -> Testbed:
        return deafened(await self._inner.open(site))


class Stand:
    """A cluster that serves, and a nemesis to try on it.

    Attributes:
        testbed: the true one, for looking at.
        values: what each start said, by id.
    """

    def __init__(self, testbed: Testbed, running: RunningSystem, world: World) -> None:
        self.testbed, self.running, self.world = testbed, running, world
        self.nemesis: Nemesis = make_packages(world)[0].nemesis
        self.values: dict[str, Any] = {}
        self._load: list[asyncio.Task[None]] = []

    async def leader(self) -> str:
        for _ in range(100):
            primaries = await self.running.primaries()
            if primaries:
                return primaries[0]
            await asyncio.sleep(0.1)
        raise AssertionError("nobody leads")

    async def other(self) -> str:
        """A node that does not lead."""
        leader = await self.leader()
        return next(name for name in self.world.spec.nodes if name != leader)

    async def invoke(self, f: str, value: Any) -> Mapping[str, Any]:
        done = await self.nemesis.invoke(Op(process=NEMESIS, type="invoke", f=f, value=value))
        assert (done.process, done.type, done.f) == (NEMESIS, "info", f)
        return done.value  # type: ignore[no-any-return]

    async def start(
        self,
        fault: str,
        *targets: str,
        id: str | None = None,  # noqa: A002
        **parameters: Any,
    ) -> Mapping[str, Any]:
        id_ = id or fault
        asked = {"id": id_, "fault": fault, "targets": targets, "parameters": parameters}
        self.values[id_] = value = await self.invoke(f"start-{fault}", asked)
        assert (value["id"], value["fault"]) == (id_, fault)
        return value

    async def stop(self, fault: str, *, id: str | None = None) -> Mapping[str, Any]:  # noqa: A002
        return await self.invoke(f"stop-{fault}", {"id": id or fault, "fault": fault})

    async def heal(self) -> None:
        await self.invoke("heal-all", None)

    async def load(self, sessions: int = 5) -> None:
        """Clients that write without pause."""

        async def write(number: int) -> None:
            session = await self.running.kv(self.world.spec.nodes[number])
            for count in range(1_000_000):
                try:
                    await session.put(f"load-{number}", count)
                except Exception:  # noqa: BLE001 - under faults all may happen
                    await asyncio.sleep(0.05)

        self._load = [asyncio.create_task(write(number)) for number in range(sessions)]

    async def close(self) -> None:
        for task in self._load:
            task.cancel()
        if self._load:
            await asyncio.wait(self._load)
        await self.nemesis.teardown()
        await self.running.stop()


Body = Callable[[Stand], Awaitable[None]]


def on_stand(
    substrate: Substrate,
    body: Body,
    directory: Path | None = None,
    *,
    deaf: bool = False,
    nodes: tuple[str, ...] = NODES,
    seed: int = 7,
    vocabulary: str = "kv",
    **settings: Any,
) -> None:
    """Run ``body`` on a cluster of its own, with these settings as options."""
    spec = TestSpec(
        workload="register",
        substrate=substrate.name,
        nodes=nodes,
        seed=seed,
        vocabulary=vocabulary,
        options={name.replace("_", "-"): value for name, value in settings.items()},
    )
    system, random = Minitikv(), Random(seed)
    label = f"test-{os.getpid()}-{directory.parent.name}" if directory else "test"
    site = Site(
        spec=spec,
        directory=None if directory is None else str(directory),
        label=label,
        random=random,
        journal=NullJournal(),
        events=lambda _: None,
        power=True,
    )

    async def main() -> None:
        testbed = await substrate.open(site)
        try:
            running = await system.start(
                spec, testbed, random.child("system"), LoopPacer(testbed)
            )
            await running.ready()
            world = World(
                spec=spec,
                testbed=deafened(testbed) if deaf else testbed,
                running=running,
                random=random.child("nemesis"),
                faults=substrate.supports & frozenset(system.fault_model),
                limits=system.fault_model,
                interval_s=5.0,
                election_s=system.election_timeout_s(spec),
            )
            stand = Stand(testbed, running, world)
            try:
                await body(stand)
            finally:
                await stand.close()
        finally:
            await testbed.close()

    substrate.run(main)


@pytest.fixture
def sim() -> Callable[..., None]:
    """Runs a body on a simulated cluster."""

    def run(body: Body, **options: Any) -> None:
        on_stand(SimSubstrate(), body, **options)

    return run


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a body on three local processes; nothing of the user's own is read or written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def run(body: Body, **options: Any) -> None:
        options.setdefault("nodes", NODES[:3])
        on_stand(LocalSubstrate(), body, tmp_path / "run", **options)

    return run


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a body on three containers; skips, with the reason, where that is not possible."""
    from splitbrain.substrates.docker.substrate import DockerSubstrate

    substrate = DockerSubstrate()
    if lacking := substrate.missing.get(Fault.OOM):
        pytest.skip(f"docker: {lacking}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(body: Body, **options: Any) -> None:
        options.setdefault("nodes", NODES[:3])
        on_stand(substrate, body, tmp_path / "run", **options)

    return run


def effects(value: Mapping[str, Any]) -> list[Any]:
    """Per proof: what masked it, or what was seen: True, False, None."""
    return [proof.get("masked") or proof.get("effective") for proof in value["proof"]]


def acts(directory: Path) -> list[tuple[Op, Op]]:
    """What the nemesis of a run was asked for, each with what came of it; in order."""
    ops = [
        op
        for op in read_run(directory).history.nemesis_ops()
        if op.f.startswith(("start-", "stop-"))
    ]
    pairs = list(zip(ops[::2], ops[1::2], strict=True))
    assert pairs, "the nemesis did nothing"
    assert all(asked.f == done.f and "proof" in done.value for asked, done in pairs)
    return pairs
