"""A cluster of minitikv on processes of this machine, and clients that load it: for ``minitikv.py``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from splitbrain import catalog as names
from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.options import ClientOptions
from splitbrain.cluster.client.raw import Options, RawClient
from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages.pd import GetRegion
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.rpc.caller import GrpcCaller
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Site, Testbed
from splitbrain.env.random import Random
from splitbrain.errors import Definite, Undetermined
from splitbrain.systems.minitikv.running import NodePlan, RunningMinitikv, start_stores

NODES = ("n1", "n2", "n3")
WARM_UP_S = 2.0


class LoopPacer:
    """Time for clients: the testbed's clock, and asyncio's sleep."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed

    def monotonic_ns(self) -> int:
        return self._testbed.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World(msgspec.Struct, frozen=True):
    """A cluster that runs, and what the clients need."""

    testbed: Testbed
    running: RunningMinitikv
    pacer: LoopPacer
    random: Random

    def caller(self, *, batch: bool) -> GrpcCaller:
        """Connections of one's own."""
        addresses = {node: self.testbed.client_address(node) for node in NODES}
        return GrpcCaller(addresses, NODES, batch=batch)

    def raw(self, caller: GrpcCaller, count: int, op_timeout_s: float) -> list[RawClient]:
        """Sessions that share a caller and one knowledge of the regions."""
        pick = self.random.stream("access")
        options = ClientOptions(op_timeout_s=op_timeout_s)
        access = Access(caller, self.pacer, NODES, pick, options, encoded=False)
        return [
            RawClient(
                caller,
                self.pacer,
                NODES,
                self.random.stream("client", number),
                node=NODES[number % len(NODES)],
                options=Options(op_timeout_s=op_timeout_s, prefer="leader-cache"),
                access=access,
            )
            for number in range(count)
        ]


class Told(msgspec.Struct):
    """What clients were answered."""

    spans_ns: list[tuple[int, int]] = []
    failed: dict[str, int] = {}

    def rate(self, begin_ns: int, end_ns: int) -> tuple[float, float, float]:
        """A second; median and 99th percentile in ms."""
        times = sorted(b - a for a, b in self.spans_ns if begin_ns <= b < end_ns)
        if not times:
            return 0.0, float("nan"), float("nan")
        rate = len(times) / ((end_ns - begin_ns) / 1e9)
        return rate, times[len(times) // 2] / 1e6, times[len(times) * 99 // 100] / 1e6


Step = Callable[[int], Awaitable[object]]


async def repeat(step: Step, told: Told, stop: asyncio.Event) -> None:
    """One after the other until the end."""
    count = 0
    while not stop.is_set():
        asked = time.monotonic_ns()
        try:
            await step(count)
        except (Definite, Undetermined) as error:
            told.failed[error.code] = told.failed.get(error.code, 0) + 1
            await asyncio.sleep(0.01)
        else:
            told.spans_ns.append((asked, time.monotonic_ns()))
        count += 1


def cpu_s() -> tuple[float, float]:
    """Processor time used so far: by the clients (this process), and by its children, the stores."""
    ticks, own = 0, str(os.getpid())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[1] == own:
                ticks += int(fields[11]) + int(fields[12])
    return time.process_time(), ticks / os.sysconf("SC_CLK_TCK")


async def load(steps: Sequence[Step], seconds: float) -> str:
    """Warm up, measure: the figures in words, and a second first of all."""
    told, stop = Told(), asyncio.Event()
    clients = [asyncio.create_task(repeat(step, told, stop)) for step in steps]
    await asyncio.sleep(WARM_UP_S)
    begin, used = time.monotonic_ns(), cpu_s()
    await asyncio.sleep(seconds)
    end, since = time.monotonic_ns(), cpu_s()
    stop.set()
    await asyncio.gather(*clients)
    rate, median, tail = told.rate(begin, end)
    failed = ", ".join(f"{count} {code}" for code, count in told.failed.items())
    count = max(1.0, rate * (end - begin) / 1e9)
    cpu = "".join(f"{(b - a) / count * 1e6:10,.0f}" for a, b in zip(used, since, strict=True))
    return f"{rate:9,.0f}{median:10.1f}{tail:10.1f}{cpu}   {failed}"


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is something."""
    for _ in range(50):
        answer = await ask()
        if answer:
            return answer
        await asyncio.sleep(0.2)
    raise SystemExit("the cluster does not come to terms: no figures")


def plans(mode: str, scale: float) -> Mapping[str, NodePlan]:
    """A store and a member on each node."""
    return {
        node: NodePlan(
            StoreConfig(node=node, nodes=NODES, scale=scale, mode=mode, pd=NODES),
            PdConfig(node=node, nodes=NODES, scale=scale),
        )
        for node in NODES
    }


async def with_cluster(
    mode: str, scale: float, site: Site, body: Callable[[World], Awaitable[None]]
) -> None:
    """Start, do, end."""
    test = names.resolve(site.spec, names.builtin())
    testbed = await test.substrate.open(site)
    try:
        pacer = LoopPacer(testbed)
        child = site.random.child("system")
        running = await start_stores(
            site.spec, testbed, child, pacer, plans(mode, scale), 2 * 3 * scale
        )
        world = World(testbed, running, pacer, site.random)
        await running.ready()
        await patiently(lambda: _regions_known(world))
        await body(world)
        await running.stop()
    finally:
        await testbed.close()


async def _regions_known(world: World) -> bool:
    """Does the placement driver know the first region yet?"""
    caller = world.caller(batch=False)
    answers = [await caller.call(node, GetRegion(b""), timeout_s=2.0) for node in NODES]
    await caller.close()
    return any(answer.error is None for answer in answers)


def run(mode: str, scale: float, body: Callable[[World], Awaitable[None]]) -> None:
    """A cluster of its own for ``body``; the load average stands above its figures."""
    print(f"   load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    spec = TestSpec(workload="register", nodes=NODES, options={"proxies": False})
    with tempfile.TemporaryDirectory(prefix="minitikv-") as directory:
        site = Site(
            spec=spec,
            directory=str(Path(directory) / "run"),
            label=f"splitbrain-minitikv-{os.getpid()}",
            random=Random(spec.seed),
            journal=NullJournal(),
            events=lambda event: None,
        )
        substrate = names.resolve(spec, names.builtin()).substrate
        substrate.run(lambda: with_cluster(mode, scale, site, body))
