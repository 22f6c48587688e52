"""Every fault that is possible in containers: done, proven, seen by somebody else too, and healed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitbrain.contracts.fault import Fault, Shape
from splitbrain.nemesis.partition import SHAPES
from splitbrain.substrates.docker.substrate import DockerSubstrate
from tests.nemesis.conftest import NODES, Stand, effects, on_stand
from tests.substrates.conftest import no_containers

pytestmark = [pytest.mark.processes, pytest.mark.docker]

PROCESS = ("kill", "power", "pause", "oom")
CLOCK = ("clock-jump", "clock-strobe", "clock-drift")
CHANCE = {
    "loss": {"loss": 0.3},
    "duplication": {"duplicate": 0.4},
    "reordering": {"reorder": 0.4},
}
ELSE = (
    "partition",
    "one-way",
    "client-links",
    "delay",
    "rate",
    "corruption",
    "disk-slow",
    "cpu",
)
SIZES = {"delta_ms": 60_000.0, "period_ms": 40.0, "rate": 0.1}
BOTH = (("n1", "n2"), ("n2", "n1"))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a body on a cluster in three containers; nothing of the user's own is read or written."""
    if lacking := no_containers():
        pytest.skip(f"docker: {lacking}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def run(body: Any, **options: Any) -> None:
        options.setdefault("nodes", NODES[:3])
        on_stand(DockerSubstrate(), body, tmp_path / "run", **options)

    return run


def require(*faults: str) -> None:
    """Skip, with the reason, where one of these faults is not possible."""
    missing = DockerSubstrate().missing
    for fault in faults:
        if Fault(fault) in missing:
            pytest.skip(f"{fault}: {missing[Fault(fault)]}")


async def connects(stand: Stand, i: str, j: str) -> bool:
    """Whether a new TCP connection from i to j comes about, tried by a program of nobody's."""
    host, _, port = stand.testbed.node(j).address.rpartition(":")
    script = f"import socket; socket.create_connection(({host!r}, {port}), 0.7)"
    return (await stand.testbed.node(i).exec(["python3", "-c", script])).code == 0


async def reaches(stand: Stand, j: str) -> bool:
    """The same from where our clients are."""
    host, _, port = stand.testbed.node(j).address.rpartition(":")
    try:
        async with asyncio.timeout(0.7):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def test_every_fault_that_is_possible_is_tested_here() -> None:
    if no_containers():
        pytest.skip(f"docker: {no_containers()}")
    tested = {*PROCESS, *CLOCK, *CHANCE, *ELSE}
    assert {str(fault) for fault in DockerSubstrate().supports} <= tested


USUAL = ("halves", "bridge", "one-way-in")


@pytest.mark.parametrize(
    "shape",
    [*USUAL, *(pytest.param(it, marks=pytest.mark.deep) for it in SHAPES if it not in USUAL)],
)
def test_partition(shape: str, docker: Callable[..., None]) -> None:
    require("partition", "one-way")
    nodes = NODES if shape in USUAL[1:] or shape == "majorities-ring" else NODES[:4]

    async def body(stand: Stand) -> None:
        value = await stand.start("partition", shape=shape)
        cut = [tuple(pair) for pair in value["parameters"]["cut"]]
        assert effects(value) == [True] * len(cut)
        links = tuple((i, j) for i in nodes for j in nodes if i != j)
        seen = await stand.testbed.net.reach(links, timeout_s=0.5)
        assert {link for link in links if not seen[link]} == set(cut)
        whole = next((i, j) for i, j in links if (i, j) not in cut and (j, i) not in cut)
        assert not await connects(stand, *cut[0])
        assert await connects(stand, *whole)
        assert effects(await stand.stop("partition")) == [True] * len(cut)
        assert await connects(stand, *cut[0]), "a new connection passes at once"

    docker(body, nodes=nodes)


def test_links_to_clients(docker: Callable[..., None]) -> None:
    require("client-links")

    async def body(stand: Stand) -> None:
        net = stand.testbed.net
        for link in (("client", "n1"), ("n1", "client")):
            assert await reaches(stand, "n1")
            await net.cut("c", (link,))
            assert (await net.reach((link, ("n2", "n1")))) == {link: False, ("n2", "n1"): True}
            assert not await reaches(stand, "n1")
            assert await reaches(stand, "n2")
            assert await connects(stand, "n2", "n1")
            await net.heal("c")
        assert await reaches(stand, "n1")

    docker(body)


async def timed_ms(stand: Stand, key: str) -> float:
    """How long a write takes, the quickest of three."""
    session = await stand.running.kv(await stand.leader())
    took = []
    for number in range(3):
        began = time.monotonic()
        await session.put(key, number)
        took.append((time.monotonic() - began) * 1000)
    return min(took)


def test_processes_clocks_and_disks(docker: Callable[..., None]) -> None:
    require(*PROCESS[:3], *CLOCK, "disk-slow", "cpu")

    async def body(stand: Stand) -> None:
        async def off_ms(name: str) -> float:
            seen = await stand.testbed.node(name).observe()
            assert seen.wall_ns is not None
            return (seen.wall_ns - seen.base_wall_ns) / 1e6

        name = await stand.other()
        for fault in PROCESS:
            if Fault(fault) in DockerSubstrate().missing:
                continue
            assert effects(await stand.start(fault, name)) == [True], fault
            gone = "stopped" if fault == "pause" else "absent"
            assert (await stand.testbed.node(name).observe()).process == gone
            assert effects(await stand.stop(fault)) == [True], fault
            assert (await stand.testbed.node(name).observe()).process == "running"

        for fault in CLOCK:
            assert effects(await stand.start(fault, name, **SIZES)) == [True], fault
            if fault == "clock-jump":
                assert await off_ms(name) == pytest.approx(60_000, abs=1000)
            else:
                assert effects(await stand.stop(fault)) == [True], fault
        await stand.heal()
        assert abs(await off_ms(name)) < 500

        quick_ms = await timed_ms(stand, "disk")
        await stand.start("disk-slow", "all", extra_ms=quick_ms + 300.0)
        assert await timed_ms(stand, "disk") > quick_ms + 250
        await stand.stop("disk-slow")
        assert await timed_ms(stand, "disk") < quick_ms + 250

        await stand.load()
        await stand.start("cpu", await stand.leader(), cores=0.02)
        await asyncio.sleep(1.5)
        assert effects(await stand.stop("cpu")) == [True]
        assert stand.testbed.crashes() == ()

    docker(body)


SERVE = (
    "import socket, time; s = socket.create_server(('', 7)); c = s.accept()[0]; c.recv(1);"
    "t = time.monotonic(); n = 1;\nwhile d := c.recv(65536): n += len(d)\n"
    "print(n, time.monotonic() - t)"
)


async def carried(stand: Stand, size: int) -> float:
    """Seconds that so many bytes take from n1 to n2."""
    n1, n2 = stand.testbed.node("n1"), stand.testbed.node("n2")
    script = SERVE.replace("7", "20999", 1)
    serving = asyncio.create_task(n2.exec(["python3", "-c", script], timeout_s=30))
    host = n2.address.rpartition(":")[0]
    send = (
        "import socket, time\nfor _ in range(100):\n  try: s = socket.create_connection("
        f"({host!r}, 20999), 3); break\n  except OSError: time.sleep(0.1)\n"
        f"s.sendall(bytes({size})); s.close()"
    )
    assert (await n1.exec(["python3", "-c", send], timeout_s=30)).code == 0
    count, seconds = (await serving).out.split()
    assert int(count) == size
    return float(seconds)


def test_shapes_of_links(docker: Callable[..., None]) -> None:
    require("delay", "rate", "corruption", *CHANCE)

    async def body(stand: Stand) -> None:
        net = stand.testbed.net
        assert effects(await stand.start("delay", "n1", delay_ms=80, jitter_ms=10)) == [True]
        assert (await net.round_trip_ms("n1", "n2") or 0) >= 160
        await stand.stop("delay")
        trips = [await net.round_trip_ms("n1", "n2") or 1e9 for _ in range(5)]
        assert min(trips) < 160

        for fault, sizes in CHANCE.items():
            await stand.start(fault, "all", **sizes)
            await asyncio.sleep(2.5)
            assert effects(await stand.stop(fault)) == [True], fault

        before = await net.counts()
        await net.shape("c", BOTH, Shape(corrupt=0.5))
        await asyncio.sleep(2)
        after = await net.counts()
        await net.heal("c")
        for link in BOTH:
            sent = after[link].sent - before[link].sent
            assert sent > 20
            arrived = after[link].received - before[link].received
            assert 0.2 * sent < arrived < 0.8 * sent, "what is damaged falls to its checksum"

        whole_s = await carried(stand, 60_000)
        await net.shape("r", BOTH, Shape(rate_kbps=200))
        assert await carried(stand, 60_000) > max(1.2, whole_s)
        await net.heal("r")
        assert await carried(stand, 60_000) < 1.2

    docker(body)


def test_injectors_that_do_nothing_are_denied(docker: Callable[..., None]) -> None:
    require(*PROCESS[:3], *CLOCK, "partition", "delay", *CHANCE)

    async def body(stand: Stand) -> None:
        await stand.load()
        for fault in PROCESS:
            if Fault(fault) not in DockerSubstrate().missing:
                assert effects(await stand.start(fault, "n1")) == [False], fault
                await stand.stop(fault)
        for shape in ("isolate-leader", "one-way-out"):
            value = await stand.start("partition", shape=shape)
            assert set(effects(value)) == {False}, shape
            await stand.stop("partition")
        for fault in CLOCK:
            assert effects(await stand.start(fault, "n1", **SIZES)) == [False], fault
            if fault != "clock-jump":
                await stand.stop(fault)
        assert effects(await stand.start("delay", "n1", delay_ms=400)) == [False]
        await stand.stop("delay")
        for fault, sizes in CHANCE.items():
            await stand.start(fault, "all", **sizes)
            await asyncio.sleep(2)
            assert effects(await stand.stop(fault)) == [False], fault
        await stand.start("cpu", "all", cores=0.02)
        assert set(effects(await stand.stop("cpu"))) == {False}

    docker(body, deaf=True)
