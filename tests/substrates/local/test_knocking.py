"""Faults of programs that know nothing of us: proven where they happened, denied where not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from splitbrain.contracts.fault import Fault, Shape
from splitbrain.contracts.nemesis import Nemesis
from splitbrain.contracts.test import World
from splitbrain.contracts.testbed import Program, Testbed
from splitbrain.env.random import Random
from splitbrain.history.op import NEMESIS, Op
from splitbrain.nemesis.packages import make_packages
from splitbrain.substrates.local import knocking
from splitbrain.substrates.proxy.client import Proxies
from splitbrain.substrates.real.node import RealNode

pytestmark = pytest.mark.processes

SERVERS = {
    "http": "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=PORT, bind=HOST)",
    "silent": "serve(lambda one: one.recv(999) and time.sleep(99))",
    "closing": "serve(lambda one: one.close())",
    "hesitant": "serve(lambda one: time.sleep(0.05) or one.close())",
    "speaking": "serve(lambda one: one.send(b'220 welcome') and one.recv(999))",
}
"""Programs that listen: Python, after PREFIX."""

PREFIX = """
import socket, sys, threading, time
HOST, PORT, DIALS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
links = [socket.create_connection(("127.0.0.1", int(port))) for port in DIALS]
def serve(handle):
    listener = socket.create_server((HOST, PORT))
    while True:
        one, _ = listener.accept()
        threading.Thread(target=handle, args=(one,), daemon=True).start()
"""


def program(testbed: Testbed, name: str, server: str, *dials: str) -> Program:
    """A program at the node's address, connected with the ports of ``dials``."""
    host, _, port = testbed.node(name).address.partition(":")
    ports = [address.partition(":")[2] for address in dials]
    argv = (sys.executable, "-c", PREFIX + SERVERS[server], host, port, *ports)
    return Program(name=server, argv=argv)


async def start(testbed: Testbed, server: str = "http") -> None:
    """Start it everywhere, and wait until it listens."""
    for name, node in testbed.nodes.items():
        await node.start(program(testbed, name, server))
    for node in testbed.nodes.values():
        await listening(node.address)


async def listening(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise AssertionError(f"nobody listens at {address}")


def pairs(testbed: Testbed) -> tuple[tuple[str, str], ...]:
    return tuple((a, b) for a in testbed.nodes for b in testbed.nodes if a != b)


@pytest.mark.parametrize("mode", ["hold", "reset"])
@pytest.mark.parametrize("server", SERVERS)
def test_what_is_cut_is_what_the_kernel_does_not_see(local_case, server, mode) -> None:
    """All links are tried at once, so that several knocks are at one port."""

    async def body(testbed: Testbed) -> None:
        await start(testbed, server)
        links = pairs(testbed)
        assert set((await testbed.net.reach(links, timeout_s=5)).values()) == {True}
        cut = (("n1", "n2"), ("n3", "n1"), ("n3", "n2"))
        await testbed.net.cut("p", cut, mode=mode)
        left = tuple(link for link in links if link not in cut)
        off, on = await asyncio.gather(
            testbed.net.reach(cut, timeout_s=0.3), testbed.net.reach(left, timeout_s=5)
        )
        assert {**off, **on} == {link: link in left for link in (*cut, *left)}
        await testbed.net.heal("p")
        assert set((await testbed.net.reach(links, timeout_s=5)).values()) == {True}

    local_case.run(body, start=False)


def test_nothing_is_said_where_a_knock_would_not_be_seen(local_case, monkeypatch) -> None:
    async def body(testbed: Testbed) -> None:
        await start(testbed)
        await testbed.net.cut("p", pairs(testbed))
        await testbed.node("n1").kill()
        await testbed.node("n3").pause()
        assert set((await testbed.net.reach(pairs(testbed), timeout_s=0.2)).values()) == {None}
        await testbed.net.heal()
        await testbed.node("n3").resume()
        await testbed.node("n1").start(Program(name="deaf", argv=("sleep", "60")))
        await testbed.node("n1").restart()
        assert set((await testbed.net.reach((("n3", "n2"),), timeout_s=5)).values()) == {True}
        seen = await testbed.net.reach((("n2", "n1"),), timeout_s=0.2)
        assert set(seen.values()) == {None}, "nobody listens there"
        await testbed.net.cut("q", (("n3", "n2"),))
        monkeypatch.setattr(knocking, "received", refused)
        assert await testbed.net.reach((("n3", "n2"),), timeout_s=0.2) == {("n3", "n2"): None}

    local_case.run(body, start=False)


def refused(port: int) -> Any:
    raise OSError("no sock_diag here")


def test_a_program_that_dials_past_the_proxies_is_not_cut_off(local_case) -> None:
    async def body(testbed: Testbed) -> None:
        await start(testbed)
        await testbed.node("n1").kill()
        straight, through = testbed.node("n2").address, testbed.links("n1")["n3"]
        await testbed.node("n1").start(program(testbed, "n1", "silent", straight, through))
        await listening(testbed.node("n1").address)
        links = (("n1", "n2"), ("n1", "n3"))
        assert set((await testbed.net.reach(links, timeout_s=5)).values()) == {True}
        await testbed.net.cut("p", links, mode="hold")
        seen = await testbed.net.reach(links, timeout_s=0.5)
        assert seen == {("n1", "n2"): True, ("n1", "n3"): False}

    local_case.run(body, start=False)


@pytest.mark.parametrize("server", SERVERS)
def test_links_of_clients_are_probed_both_ways(local_case, server) -> None:
    local_case.options["clients"] = "cut"
    local_case.nodes = ("n1",)
    there, back = ("client", "n1"), ("n1", "client")

    async def body(testbed: Testbed) -> None:
        await start(testbed, server)

        async def seen(timeout_s: float) -> tuple[bool | None, bool | None]:
            got = await testbed.net.reach((there, back), timeout_s=timeout_s)
            return got[there], got[back]

        silent = server == "silent"  # nothing ever comes back from it
        assert await seen(2) == (True, None if silent else True)
        await testbed.net.cut("p", (there,), mode="hold")
        drops = server in ("closing", "hesitant")  # nobody knows what it would have taken
        assert await seen(0.3) == (None if drops else False, None)
        await testbed.net.heal("p")
        await testbed.net.cut("q", (back,), mode="hold")
        way_there, way_back = await seen(2)
        assert way_there is True or (drops and way_there is None)
        assert way_back is False or ((drops or silent) and way_back is None)

    local_case.run(body, start=False)


def test_a_delay_is_seen_in_what_bytes_take(local_case) -> None:
    async def body(testbed: Testbed) -> None:
        await start(testbed)
        before = await testbed.net.round_trip_ms("n1", "n2")
        await testbed.net.shape("d", (("n1", "n2"), ("n2", "n1")), Shape(delay_ms=150))
        after = await testbed.net.round_trip_ms("n1", "n2")
        assert before < 150
        assert 300 <= after < before + 600
        await testbed.net.cut("p", (("n2", "n1"),))
        assert await testbed.net.round_trip_ms("n1", "n2", timeout_s=0.3) is None

    local_case.run(body, start=False)


class Standing:
    """A running system that tells nothing of itself."""

    async def primaries(self) -> Sequence[str]:
        return ()


def make_nemesis(testbed: Testbed, spec: Any) -> Nemesis:
    world = World(
        spec=spec,
        testbed=testbed,
        running=Standing(),  # type: ignore[arg-type]
        random=Random(1),
        faults=frozenset(Fault),
        limits={},
        interval_s=5.0,
        election_s=1.0,
    )
    return make_packages(world)[0].nemesis


async def proofs(nemesis: Nemesis, f: str, **given: Any) -> set[bool | None]:
    """What an operation of the nemesis observed: ``effective`` of each proof that was due."""
    value = {"id": "f", "fault": f.partition("-")[2], **given}
    done = await nemesis.invoke(Op(process=NEMESIS, type="invoke", f=f, value=value))
    assert isinstance(done.value, Mapping)
    return {proof.get("effective") for proof in done.value["proof"]}


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("partition", {"parameters": {"shape": "isolate-one"}}),
    ("delay", {"targets": ["n1"], "parameters": {"delay_ms": 100.0}}),
    ("kill", {"targets": ["n1"]}),
    ("pause", {"targets": ["n1"]}),
]


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize(("fault", "given"), FAULTS)
def test_each_fault_is_proven_and_an_injector_that_does_nothing_denied(
    local_case, monkeypatch, fault, given, deaf
) -> None:
    async def nothing(*_: Any) -> None:
        """Nothing at all."""

    async def body(testbed: Testbed) -> None:
        await start(testbed)
        nemesis = make_nemesis(testbed, local_case.site().spec)
        with monkeypatch.context() as patch:
            if deaf:
                patch.setattr(Proxies, "set", nothing)
                patch.setattr(RealNode, "kill", nothing)
                patch.setattr(RealNode, "pause", nothing)
            assert await proofs(nemesis, f"start-{fault}", **given) == {not deaf}
        await nemesis.invoke(Op(process=NEMESIS, type="invoke", f="heal-all"))
        for node in testbed.nodes.values():
            await listening(node.address)
        assert set((await testbed.net.reach(pairs(testbed), timeout_s=5)).values()) == {True}

    local_case.run(body, start=False)
