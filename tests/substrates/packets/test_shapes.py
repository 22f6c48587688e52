"""Shapes of links between namespaces: what comes late, twice, behind, damaged or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time

import pytest

from splitbrain.contracts.fault import Shape
from splitbrain.errors import HostError, Unsupported
from splitbrain.substrates.packets.client import namespace_argv

pytestmark = pytest.mark.processes

SIGMAS = 6.0


def within(seen: int, tries: int, share: float) -> bool:
    """As many as independent events of this chance make, give or take six sigma."""
    sigma = (tries * share * (1 - share)) ** 0.5
    return (
        abs(seen - tries * share) <= SIGMAS * sigma + 3
    )  # some are under way when they are counted


def both(a: str, b: str):
    return ((a, b), (b, a))


async def beat(net, every_ms: float) -> None:
    net._beat_ms = every_ms
    for name in net._ends:
        await net.restored(name)


async def settled(net) -> dict:
    """Counts while nothing is under way."""
    await beat(net, 60_000)
    last, counts = None, await net.counts()
    while last != counts:
        await asyncio.sleep(0.4)
        last, counts = counts, await net.counts()
    return counts


async def quickest_ms(net, a: str, b: str) -> float:
    """A busy machine only makes echoes slower."""
    return min([await net.round_trip_ms(a, b) for _ in range(8)])


async def enough(net, links, tries: int, before) -> dict:
    """Counts, once each of these links has been tried that often."""
    deadline = time.monotonic() + 60
    while True:
        counts = await net.counts()
        if all(counts[link].sent - before[link].sent >= tries for link in links):
            return counts
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def test_delay_and_jitter_are_seen_by_echoes(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path, nodes=("n1", "n2", "n3")) as net:
            await net.shape("d", both("n1", "n2"), Shape(delay_ms=60, jitter_ms=20))
            trips = [await net.round_trip_ms("n1", "n2") for _ in range(8)]
            assert min(trips) >= 120
            assert sorted(trips)[2] < 250
            assert len({round(trip) for trip in trips}) > 3
            assert await quickest_ms(net, "n1", "n3") < 100
            await net.shape("e", (("n1", "n2"),), Shape(delay_ms=50))
            assert 170 <= await quickest_ms(net, "n1", "n2") < 300
            await net.heal("d")
            assert 50 <= await quickest_ms(net, "n1", "n2") < 150
            await net.heal()
            assert await quickest_ms(net, "n1", "n2") < 50
            for link in both("client", "n3"):
                await net.shape("c", (link,), Shape(delay_ms=80))
                assert 80 <= await quickest_ms(net, "client", "n3") < 300
                assert all((await net.reach(both("client", "n3"), timeout_s=3)).values())
                await net.heal("c")

    asyncio.run(body())


def test_faults_of_chance_are_as_frequent_as_asked(lab, tmp_path) -> None:
    shapes = {
        ("n1", "n2"): Shape(loss=0.3),
        ("n1", "n3"): Shape(duplicate=0.3),
        ("n2", "n1"): Shape(reorder=0.2),
        ("n2", "n3"): Shape(corrupt=0.25),
        ("n3", "n1"): Shape(loss=0.1, duplicate=0.2, reorder=0.1, corrupt=0.1),
    }

    async def body():
        async with lab.net(tmp_path, nodes=("n1", "n2", "n3"), beat_ms=5) as net:
            for link, shape in shapes.items():
                await net.shape("-".join(link), (link,), shape)
            before = await settled(net)
            await beat(net, 5)
            await enough(net, shapes, 600, before)
            during = await settled(net)
            await net.heal()
            await beat(net, 5)
            await enough(net, shapes, 40, during)
            return before, during, await settled(net)

    before, during, healed = asyncio.run(body())

    def seen(link, field: str) -> int:
        return getattr(during[link], field) - getattr(before[link], field)

    for link, shape in shapes.items():
        sent = seen(link, "sent")
        lost = sent - (seen(link, "received") - seen(link, "duplicates"))
        gone = 1 - (1 - shape.loss) * (1 - shape.corrupt)
        assert within(lost, sent, gone), (link, lost, sent)
        arrived = sent - lost
        assert within(seen(link, "duplicates"), arrived, shape.duplicate), link
        if link == ("n2", "n1"):
            assert within(seen(link, "reordered"), arrived, shape.reorder), link
            other = ("n3", "n2")
            usual_ms = seen(other, "lateness_ns") / 1e6 / seen(other, "received")
            late_ms = seen(link, "lateness_ns") / 1e6 / arrived
            assert late_ms < usual_ms + 30, "held back until the next one, no longer"
        assert (seen(link, "reordered") > 0) == (shape.reorder > 0)
        quiet = healed[link].sent - during[link].sent
        assert healed[link].received - during[link].received == quiet, "healed"
    assert seen(("n3", "n2"), "reordered") == seen(("n3", "n2"), "duplicates") == 0


def test_what_comes_from_our_clients_is_shaped_too(lab, tmp_path) -> None:
    tries = 1000

    async def body() -> list[bytes]:
        loop = asyncio.get_running_loop()
        far = lab.ends["n1"].space.socket(socket.SOCK_DGRAM)
        far.bind(("", 0))
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.connect((lab.ends["n1"].ip, far.getsockname()[1]))
        got: list[bytes] = []

        async def listen() -> None:
            while True:
                got.append(await loop.sock_recv(far, 2048))

        async with lab.net(tmp_path, nodes=("n1",)) as net:
            listening = asyncio.create_task(listen())
            await net.shape("c", (("client", "n1"),), Shape(loss=0.2, duplicate=0.3))
            for number in range(tries):
                near.send(number.to_bytes(4, "big"))
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.3)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        far.close()
        near.close()
        return got

    got = asyncio.run(body())
    arrived = len(set(got))
    assert within(arrived, tries, 0.8)
    assert within(len(got) - arrived, arrived, 0.3)


async def transfer(lab, source: str, target: str, data: bytes, timeout_s: float) -> float:
    """Send the bytes over a new TCP connection; seconds until they were there, whole."""
    loop = asyncio.get_running_loop()

    def made(name: str) -> socket.socket:
        if name == "client":
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            return one
        return lab.ends[name].space.socket(socket.SOCK_STREAM)

    listening, near = made(target), made(source)
    listening.bind(("", 0))
    listening.listen()
    ip = lab.gateway if target == "client" else lab.ends[target].ip
    began = time.monotonic()
    digest, count = hashlib.sha256(), 0
    try:
        async with asyncio.timeout(timeout_s):
            await loop.sock_connect(near, (ip, listening.getsockname()[1]))
            far, _ = await loop.sock_accept(listening)
            with far:
                sending = asyncio.create_task(loop.sock_sendall(near, data))
                while count < len(data):
                    piece = await loop.sock_recv(far, 1 << 16)
                    assert piece
                    digest.update(piece)
                    count += len(piece)
                await sending
    finally:
        near.close()
        listening.close()
    assert digest.digest() == hashlib.sha256(data).digest()
    return time.monotonic() - began


MEGABYTE = random.Random(1).randbytes(1 << 20)
WHOLE = {
    "nothing": Shape(),
    "delay": Shape(delay_ms=20),
    "jitter": Shape(delay_ms=5, jitter_ms=20),
    "loss": Shape(loss=0.02),
    "duplicate": Shape(duplicate=0.3),
    "reorder": Shape(reorder=0.05),
    "corrupt": Shape(corrupt=0.02),
    "rate": Shape(rate_kbps=16_000),
    "much": Shape(loss=0.05, reorder=0.05, duplicate=0.1),
}


def test_tcp_is_late_but_whole_under_every_shape(lab, tmp_path, capsys) -> None:
    async def body() -> dict[str, float]:
        took: dict[str, float] = {}
        async with lab.net(tmp_path, nodes=("n1", "n2")) as net:
            for name, shape in WHOLE.items():
                await net.shape("s", both("n1", "n2"), shape)
                took[name] = await transfer(lab, "n1", "n2", MEGABYTE, 60)
            await net.heal()
            clients = both("client", "n1")
            await net.shape("c", clients, Shape(loss=0.02, reorder=0.05, duplicate=0.1))
            took["client to node"] = await transfer(lab, "client", "n1", MEGABYTE, 60)
            took["node to client"] = await transfer(lab, "n1", "client", MEGABYTE, 60)
        return took

    took = asyncio.run(body())
    with capsys.disabled():
        print("\n1 MiB over TCP: " + ", ".join(f"{k} {v:.2f} s" for k, v in took.items()))
    assert 0.5 <= took["rate"] < 5, "8.4 Mbit at 16 Mbit/s"
    assert 0.04 <= took["delay"] < 5, "a delay makes late, not slow"


def test_a_slow_link_and_a_rate_that_is_lowest(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path, nodes=("n1", "n2")) as net:
            await net.shape("a", (("n1", "n2"),), Shape(rate_kbps=2000))
            await net.shape("b", (("n1", "n2"),), Shape(rate_kbps=9000))
            took_s = await transfer(lab, "n1", "n2", MEGABYTE[: 1 << 18], 30)
            assert 0.95 <= took_s < 5, "2.1 Mbit at 2 Mbit/s"

    asyncio.run(body())


def test_faults_may_come_and_go_under_traffic(lab, tmp_path) -> None:
    names = ("n1", "n2", "n3", "client")
    links = [(a, b) for a in names for b in names if a != b]
    draw = random.Random(5)

    def some_shape() -> Shape:
        return Shape(
            delay_ms=draw.choice([0, 1, 30]),
            loss=draw.choice([0, 0.1]),
            duplicate=draw.choice([0, 0.3]),
            reorder=draw.choice([0, 0.3]),
            rate_kbps=draw.choice([0, 0, 5000]),
        )

    async def talk() -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await transfer(lab, *draw.sample(names, 2), MEGABYTE[:200_000], 5)

    async def body() -> None:
        async with lab.net(tmp_path, nodes=("n1", "n2", "n3"), beat_ms=2) as net:
            talking = [asyncio.create_task(talk()) for _ in range(3)]
            for _ in range(100):
                some = tuple(draw.sample(links, draw.randint(1, 6)))
                name = draw.choice("abc")
                act = draw.choice(("cut", "shape", "shape", "heal", "heal"))
                if act == "cut":
                    await net.cut(name, some)
                elif act == "shape":
                    await net.shape(name, some, some_shape())
                else:
                    await net.heal(draw.choice((None, name)))
                await asyncio.sleep(draw.choice((0, 0.02)))
            await net.heal()
            for task in talking:
                task.cancel()
            ends = await asyncio.gather(*talking, return_exceptions=True)
            assert [type(end) for end in ends] == [asyncio.CancelledError] * 3, ends
            assert await net.reach(tuple(links), timeout_s=5) == dict.fromkeys(links, True)

    asyncio.run(body())


def test_loss_without_a_queue(lab, tmp_path) -> None:
    async def body() -> tuple[int, int]:
        async with lab.net(tmp_path, nodes=("n1", "n2"), beat_ms=5) as net:
            agent, ip = lab.ends["n1"].agent, lab.ends["n2"].ip
            with pytest.raises(HostError, match="NFQUEUE"):
                await agent.ask("shape", to={ip: {"delay_ms": 5}}, without_queue=True)
            await agent.ask("shape", to={ip: {"loss": 0.4}}, without_queue=True)
            assert "statistic" in lab.ends["n1"].space.rules()
            link = ("n1", "n2")
            before = await settled(net)
            await beat(net, 5)
            await enough(net, [link], 400, before)
            before, after = before[link], (await settled(net))[link]
        return after.sent - before.sent, after.received - before.received

    sent, received = asyncio.run(body())
    assert within(received, sent, 0.6)


def test_what_a_kernel_lacks_is_refused_by_name(lab, tmp_path, monkeypatch) -> None:
    async def body() -> None:
        async with lab.net(tmp_path, nodes=("n1", "n2")) as net:
            lacking = {"missing": {"nfqueue": "the kernel has no nfnetlink"}}
            monkeypatch.setitem(net._hellos, "n2", lacking)
            with pytest.raises(Unsupported, match=r"on n2: delay.*no nfnetlink"):
                await net.shape("a", both("n1", "n2"), Shape(delay_ms=1))
            assert net.impossible(Shape(loss=0.5)) == ""

    asyncio.run(body())


PARENT = """
import json, subprocess, sys, time
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
print(child.stdout.readline().decode(), child.pid, flush=True)
time.sleep(60)
"""
REQUESTS = {
    "cut": {"from": ["10.9.9.9"], "to": ["10.9.9.8"]},
    "shape": {"from": {"10.9.9.9": {"loss": 0.5}}, "to": {"10.9.9.8": {"delay_ms": 5}}},
}


@pytest.mark.parametrize("who", ["parent", "agent"])
@pytest.mark.parametrize("verb", REQUESTS)
def test_nothing_is_left_when_it_is_killed(lab, who: str, verb: str) -> None:
    space = lab.ends["n1"].space
    request = json.dumps({"n": 1, "verb": verb, **REQUESTS[verb]})
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, request, *namespace_argv(space.pid)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        assert json.loads(parent.stdout.readline()) == {"n": 1, "ok": {}}
        pid = int(parent.stdout.readline())
        assert ("NFQUEUE" if verb == "shape" else "DROP") in space.rules()
        assert bool(space.queues()) == (verb == "shape")
        os.kill(parent.pid if who == "parent" else pid, 9)
        deadline = time.monotonic() + 3.0  # wanted: 1 s; room for a busy machine
        while space.rules() + space.queues() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert space.rules() + space.queues() == ""
    finally:
        parent.kill()
        parent.communicate()


def test_one_agent_at_a_time_even_if_the_last_one_was_killed(lab) -> None:
    space = lab.ends["n1"].space
    argv = namespace_argv(space.pid)
    cut = b'{"n": 1, "verb": "cut", "from": ["10.9.9.%d"]}\n'

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    first = started()
    assert first.stdin is not None
    assert first.stdout is not None
    first.stdin.write(cut % 1)
    first.stdin.flush()
    assert b"ok" in first.stdout.readline()
    second = subprocess.run(argv, input=cut % 2, capture_output=True, check=True)
    assert b"another splitbrain agent" in second.stdout
    assert "10.9.9.1" in space.rules()
    first.kill()
    third = started()
    assert third.stdin is not None
    assert third.stdout is not None
    third.stdin.write(cut % 3)
    third.stdin.flush()
    assert b"ok" in third.stdout.readline()
    time.sleep(0.5)  # whatever the first one's guard still did would show
    rules = space.rules()
    assert "10.9.9.3" in rules
    assert "10.9.9.1" not in rules
    for one in (first, third):
        one.communicate()
