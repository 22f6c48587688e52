"""How long the acts of a substrate take, on each where they are possible.

    python benchmarks/substrates.py [sim] [local] [docker]

Five nodes.  ``start`` is from nothing to five nodes of minitikv that answer (the image is built),
``serves`` to the first acknowledged write, then a kill, a restart, a pause and a resume of one node,
one probe of all twenty links, and the median of a put by one client after another.

``cut`` and ``healed`` are seen from outside, not by the call's return: on each node a small program
sends something to every other one each 5 ms, datagrams where packets are cut, a TCP stream where a
proxy holds bytes, and writes down when it arrives.  The cut into halves has taken effect with the last
arrival over any of the twelve links, and is healed with the first one over the last of them.

Wanted in containers, on an idle machine: start < 5 s, cut < 100 ms, healed < 200 ms.  In simulation
nothing takes real time but this process's own work, so only that is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from splitbrain import catalog as names
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Site, Substrate, Testbed
from splitbrain.env.random import Random
from splitbrain.errors import SplitbrainError
from splitbrain.harness.stage import LoopPacer

NODES = ("n1", "n2", "n3", "n4", "n5")
LINKS = tuple((i, j) for i in NODES for j in NODES if i != j)
HALVES = tuple((i, j) for i, j in LINKS if (i in NODES[:2]) != (j in NODES[:2]))
CUTS = 5
PUTS = 200
COLUMNS = (
    *("start", "serves", "kill", "restart", "pause", "resume"),
    *("probes", "put p50", "cut", "healed"),
)

STREAM = r"""
import asyncio, json, os, socket, sys, time
config = json.load(open(sys.argv[1]))
seen = open(config["seen"], "a")

def saw(data):
    for name in data.decode(errors="replace").split():
        seen.write(f"{name} {time.monotonic_ns()}\n")

class Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        saw(data)

async def serve(reader, writer):
    while data := await reader.read(4096):
        saw(data)

async def dial(host, port):
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                writer.write((config["node"] + " ").encode())
                await writer.drain()
                await asyncio.sleep(0.005)
        except OSError:
            await asyncio.sleep(0.02)

async def main():
    loop = asyncio.get_running_loop()
    host, port = config["listen"]
    if config["tcp"]:
        await asyncio.start_server(serve, host, port)
        tasks = [asyncio.create_task(dial(*peer)) for peer in config["peers"]]
    else:
        udp, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(host, port))
    while True:
        if not config["tcp"]:
            for peer in config["peers"]:
                udp.sendto(config["node"].encode(), tuple(peer))
        seen.flush()
        await asyncio.sleep(0.005)

asyncio.run(main())
"""


def site(spec: TestSpec, directory: str, part: str) -> Site:
    return Site(
        spec=spec,
        directory=f"{directory}/{part}",
        label=f"bench-{os.getpid()}-{spec.substrate}-{part}",
        random=Random(spec.seed),
        journal=NullJournal(),
        events=lambda _: None,
    )


async def timed_ms(act: Any) -> float:
    began = time.perf_counter()
    await act
    return (time.perf_counter() - began) * 1000


async def cluster(substrate: Substrate, directory: str) -> Mapping[str, float]:
    """What is seen of a cluster of minitikv."""
    spec = TestSpec(workload="register", substrate=substrate.name, nodes=NODES, seed=1)
    system = names.make_system(spec, names.builtin())
    began = time.perf_counter()
    testbed = await substrate.open(site(spec, directory, "cluster"))
    told: dict[str, float] = {}
    try:
        running = await system.start(spec, testbed, Random(1), LoopPacer(testbed))
        told["start"] = (time.perf_counter() - began) * 1000
        await running.ready()
        session = await running.kv("n1")
        await session.put("first", 0)
        told["serves"] = (time.perf_counter() - began) * 1000
        puts = [await timed_ms(session.put(f"k{n % 10}", n)) for n in range(PUTS)]
        if substrate.name != "sim":
            told["put p50"] = statistics.median(puts)
        told["probes"] = await timed_ms(testbed.net.reach(LINKS))
        node = testbed.node("n5")
        for act in ("kill", "restart", "pause", "resume"):
            told[act] = await timed_ms(getattr(node, act)())
        await running.stop()
    finally:
        await testbed.close()
    return told


def stream_program(testbed: Testbed, name: str, *, tcp: bool) -> Program:
    def place(address: str) -> tuple[str, int]:
        host, _, port = address.rpartition(":")
        return host, int(port)

    node, links = testbed.node(name), testbed.links(name)
    config = {
        "node": name,
        "tcp": tcp,
        "listen": place(node.address),
        "peers": [place(links[peer]) for peer in NODES if peer != name],
        "seen": f"{node.data_dir}/seen",
    }
    return Program(
        name="stream",
        argv=(node.python, f"{node.config_dir}/stream.py", f"{node.config_dir}/stream.json"),
        files={"stream.py": STREAM.encode(), "stream.json": json.dumps(config).encode()},
    )


async def arrivals(testbed: Testbed) -> Mapping[tuple[str, str], Sequence[int]]:
    """For each link when something arrived, nanoseconds of this machine's monotonic clock."""
    found: dict[tuple[str, str], list[int]] = {link: [] for link in LINKS}
    for name in NODES:
        data = await testbed.node(name).get(f"{testbed.node(name).data_dir}/seen")
        for line in data.decode().splitlines()[:-1]:
            sender, at_ns = line.split()
            found[sender, name].append(int(at_ns))
    return found


async def cuts(substrate: Substrate, directory: str) -> Mapping[str, float]:
    """When halves were apart, and together again, by what arrived."""
    spec = TestSpec(workload="register", substrate=substrate.name, nodes=NODES, seed=1)
    testbed = await substrate.open(site(spec, directory, "cuts"))
    moments: list[tuple[int, int, int]] = []
    try:
        tcp = substrate.name == "local"
        await asyncio.gather(
            *(testbed.node(n).start(stream_program(testbed, n, tcp=tcp)) for n in NODES)
        )
        await asyncio.sleep(2)
        for number in range(CUTS):
            cut_ns = time.monotonic_ns()
            await testbed.net.cut(f"c{number}", HALVES)
            await asyncio.sleep(1)
            heal_ns = time.monotonic_ns()
            await testbed.net.heal(f"c{number}")
            await asyncio.sleep(1)
            moments.append((cut_ns, heal_ns, time.monotonic_ns()))
        seen = await arrivals(testbed)
    finally:
        await testbed.close()
    cut_ms, healed_ms = [], []
    for cut_ns, heal_ns, end_ns in moments:
        last = [max((at for at in seen[link] if at < heal_ns), default=0) for link in HALVES]
        first = [
            min((at for at in seen[link] if at >= heal_ns), default=end_ns) for link in HALVES
        ]
        cut_ms.append(max(0.0, (max(last) - cut_ns) / 1e6))
        healed_ms.append((max(first) - heal_ns) / 1e6)
    return {"cut": statistics.median(cut_ms), "healed": statistics.median(healed_ms)}


def measure(name: str) -> Mapping[str, float]:
    substrate: Substrate = names.builtin().substrates[name]()
    if why := substrate.missing.get(Fault.PARTITION):
        raise SplitbrainError(why)
    if name == "docker":
        from splitbrain.substrates.docker import image

        with contextlib.closing(image.connect()) as client:
            image.ensure(client)  # the build is no part of a start
    with tempfile.TemporaryDirectory() as directory:
        told = dict(substrate.run(lambda: cluster(substrate, directory)))
        if name != "sim":
            told |= substrate.run(lambda: cuts(substrate, directory))
    return told


def main(asked: Sequence[str]) -> None:
    print(f"milliseconds; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"{'':8}" + "".join(f"{column:>9}" for column in COLUMNS))
    for name in asked or ("sim", "local", "docker"):
        try:
            told = measure(name)
        except SplitbrainError as error:
            print(f"{name:8}   {error}")
            continue
        cells = (f"{told[it]:9.1f}" if it in told else f"{'-':>9}" for it in COLUMNS)
        print(f"{name:8}" + "".join(cells), flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
