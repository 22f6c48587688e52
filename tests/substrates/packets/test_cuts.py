"""Cuts of links between namespaces: what passes and what does not, shown by datagrams and by TCP."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time

import pytest

from splitbrain.contracts.fault import Cut
from splitbrain.errors import HostError, UnknownName
from splitbrain.substrates.packets.bundle import bundle

pytestmark = pytest.mark.processes

NODES = ("n1", "n2", "n3", "n4", "n5")
CLIENT_LINKS = tuple(link for n in NODES for link in (("client", n), (n, "client")))


def links_of(names) -> Cut:
    return tuple((a, b) for a in names for b in names if a != b)


def both(one, other) -> Cut:
    pairs = [(a, b) for a in one for b in other]
    return tuple(pairs + [(b, a) for a, b in pairs])


SHAPES = {
    "halves": both(["n1", "n2"], ["n3", "n4", "n5"]),
    "alone": both(["n1"], ["n2", "n3", "n4", "n5"]),
    "bridge": both(["n1", "n2"], ["n4", "n5"]),
    "ring": tuple(
        (f"n{i + 1}", f"n{j + 1}") for i in range(5) for j in range(5) if (j - i) % 5 in (2, 3)
    ),
    "deaf": tuple((f"n{i}", "n1") for i in range(2, 6)),
    "mute": tuple(("n1", f"n{i}") for i in range(2, 6)),
    "one link": (("n4", "n2"),),
    "a client's question": (("client", "n3"),),
    "a client's answer": (("n3", "client"),),
    "all": links_of(NODES) + CLIENT_LINKS,
}


async def assert_cut(net, cut: Cut) -> None:
    """Exactly these links are cut."""
    every = links_of(NODES) + CLIENT_LINKS
    rest = tuple(link for link in every if link not in cut)
    passed = await net.reach(rest, timeout_s=3)
    assert passed == dict.fromkeys(rest, True)
    assert await net.reach(cut, timeout_s=0.25) == dict.fromkeys(cut, False)


def test_every_shape_of_partition(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path) as net:
            await assert_cut(net, ())
            for name, cut in SHAPES.items():
                await net.cut(name, cut)
                await assert_cut(net, cut)
                await net.heal(name)
                await assert_cut(net, ())

    asyncio.run(body())


def test_cuts_add_up_and_are_healed_one_by_one(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path) as net:
            await net.cut("a", (("n1", "n2"),))
            await net.cut("b", (("n1", "n2"), ("n3", "n1")))
            await assert_cut(net, (("n1", "n2"), ("n3", "n1")))
            await net.heal("a")
            await net.heal("never heard of")
            await assert_cut(net, (("n1", "n2"), ("n3", "n1")))
            await net.cut("b", (("n3", "n1"),))
            await assert_cut(net, (("n3", "n1"),))
            await net.cut("c", (("n4", "n5"),))
            await net.heal()
            await assert_cut(net, ())
            with pytest.raises(UnknownName, match="n9"):
                await net.cut("a", (("n1", "n9"),))

    asyncio.run(body())


def test_a_fresh_agent_is_told_what_is_in_force(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path) as net:
            end = lab.ends["n2"]
            await end.agent.close()
            end.agent, end.up = None, False
            await net.cut("a", both(["n2"], ["n1", "n3"]))
            seen = await net.reach(links_of(("n1", "n2", "n3")), timeout_s=0.3)
            assert {link for link, passed in seen.items() if passed is None} == {
                link for link in seen if "n2" in link
            }
            await lab.start(end, tmp_path)
            await net.restored("n2")
            end.up = True
            await assert_cut(net, both(["n2"], ["n1", "n3"]))

    asyncio.run(body())


def test_faults_and_probes_follow_a_node_that_comes_back_elsewhere(lab, tmp_path) -> None:
    async def body() -> None:
        one, two = lab.ends["n1"], lab.ends["n2"]
        async with lab.net(tmp_path, nodes=NODES[:3]) as net:
            cut = both(["n1"], ["n2"])
            open_ = both(["n1", "n2"], ["n3"])
            await net.cut("p1", cut)
            for end in (one, two):  # both are restarted, and their addresses change hands
                await end.agent.close()
                end.agent = None
                end.space.run("ip", "addr", "flush", "dev", "eth0")
            one.ip, two.ip = two.ip, one.ip
            for end in (one, two):
                end.space.run("ip", "addr", "add", f"{end.ip}/24", "dev", "eth0")
                await lab.start(end, tmp_path)
                await net.restored(end.name)
                assert (await net.reach(open_, timeout_s=3))[end.name, "n3"] is True
            assert await net.reach(cut, timeout_s=0.3) == dict.fromkeys(cut, False)
            assert await net.reach(open_, timeout_s=3) == dict.fromkeys(open_, True)
            await net.heal("p1")
            assert await net.reach(cut, timeout_s=3) == dict.fromkeys(cut, True)

    asyncio.run(body())


def test_an_agent_that_dies_is_told_unless_its_node_is_down(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path, nodes=("n1", "n2", "n3")) as net:
            end = lab.ends["n2"]
            await end.agent.ask("exit")
            await asyncio.wait({end.agent._task}, timeout=10)
            assert (await net.reach((("n1", "n2"),)))["n1", "n2"] is None
            assert (await net.counts())["n1", "n3"].sent > 0
            with pytest.raises(HostError, match="agent of n2 has ended"):
                await net.cut("a", both(["n1"], ["n2"]))
            end.up = False
            await net.cut("a", both(["n1"], ["n2", "n3"]))
            assert not any((await net.reach(both(["n1"], ["n3"]), timeout_s=0.2)).values())
            await net.heal()
            assert all((await net.reach(both(["n1"], ["n3"]), timeout_s=3)).values())

    asyncio.run(body())


def test_a_paused_node_cannot_be_probed_though_its_agent_can(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path) as net:
            lab.ends["n1"].up = False
            seen = await net.reach((("n2", "n1"), ("n1", "n2"), ("client", "n1"), ("n2", "n3")))
            assert list(seen.values()) == [None, None, None, True]
            assert await net.round_trip_ms("n2", "n1") is None

    asyncio.run(body())


def test_a_cut_that_is_not_applied_is_seen_as_none(lab, tmp_path, monkeypatch) -> None:
    async def body() -> None:
        async with lab.net(tmp_path) as net:

            async def nothing(node, agent, orders) -> None:
                pass

            monkeypatch.setattr(net, "_order", nothing)
            await net.cut("a", SHAPES["halves"])
            assert all((await net.reach(SHAPES["halves"], timeout_s=2)).values())

    asyncio.run(body())


def test_a_table_that_others_have_emptied_is_mended(lab, tmp_path) -> None:
    async def body() -> None:
        space = lab.ends["n2"].space
        async with lab.net(tmp_path, nodes=("n1", "n2")) as net:
            await net.cut("a", (("n1", "n2"),))
            space.run("iptables", "-D", "INPUT", "-j", "SPLITBRAIN-IN")
            assert (await net.reach((("n1", "n2"),)))["n1", "n2"] is True
            await net.heal()
            assert space.rules() == ""
            await net.cut("a", (("n1", "n2"),))
            space.run("iptables", "-F")
            space.run("iptables", "-X")
            await net.cut("b", (("client", "n2"),))
            seen = await net.reach((("n1", "n2"), ("client", "n2")))
            assert not any(seen.values())

    asyncio.run(body())


async def dial(lab, source: str, target: str, listening: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    one = lab.ends[source].space.socket(socket.SOCK_STREAM)
    try:
        async with asyncio.timeout(0.5):
            await loop.sock_connect(one, (lab.ends[target].ip, listening.getsockname()[1]))
            far, _ = await loop.sock_accept(listening)
            far.close()
        return True
    except TimeoutError:
        return False
    finally:
        one.close()


def test_a_new_connection_fails_under_a_cut_and_passes_after_it(lab, tmp_path) -> None:
    async def body() -> None:
        listening = lab.ends["n2"].space.socket(socket.SOCK_STREAM)
        listening.bind(("", 0))
        listening.listen()
        try:
            async with lab.net(tmp_path, nodes=("n1", "n2", "n3")) as net:
                for cut in ((("n1", "n2"),), (("n2", "n1"),)):
                    assert await dial(lab, "n1", "n2", listening)
                    await net.cut("a", cut)
                    assert not await dial(lab, "n1", "n2", listening)
                    assert await dial(lab, "n3", "n2", listening)
                    await net.heal("a")
                    assert await dial(lab, "n1", "n2", listening)
        finally:
            listening.close()

    asyncio.run(body())


def test_counts_and_echoes(lab, tmp_path) -> None:
    async def body() -> None:
        async with lab.net(tmp_path, nodes=("n1", "n2", "n3")) as net:
            before = await net.counts()
            await asyncio.sleep(0.5)
            await net.reach((("n1", "n2"),))
            after = await net.counts()
            for link in links_of(("n1", "n2", "n3")):
                sent = after[link].sent - before[link].sent
                received = after[link].received - before[link].received
                assert sent >= 8
                assert abs(received - sent) <= 2
                assert after[link].duplicates == after[link].reordered == 0
                assert 0 < after[link].lateness_ns / after[link].received < 50e6
            for pair in (("n1", "n2"), ("client", "n1"), ("n1", "client")):
                trip_ms = await net.round_trip_ms(*pair)
                assert trip_ms is not None
                assert 0 < trip_ms < 200
            await net.cut("a", (("n2", "n1"), ("n1", "client")))
            assert await net.round_trip_ms("n1", "n2", timeout_s=0.3) is None
            assert await net.round_trip_ms("client", "n1", timeout_s=0.3) is None

    asyncio.run(body())


def test_times(lab, tmp_path, capsys) -> None:
    async def body() -> dict[str, float]:
        async with lab.net(tmp_path) as net:
            took: dict[str, list[float]] = {"cut": [], "heal": [], "probe": []}
            for _ in range(5):
                for name, act in (
                    ("cut", net.cut("a", SHAPES["halves"])),
                    ("heal", net.heal("a")),
                    ("probe", net.reach(links_of(NODES))),
                ):
                    began = time.monotonic()
                    await act
                    took[name].append((time.monotonic() - began) * 1000)
            return {name: sorted(values)[len(values) // 2] for name, values in took.items()}

    took_ms = asyncio.run(body())
    with capsys.disabled():
        print(
            f"\nhalves of five cut in {took_ms['cut']:.0f} ms, healed in "
            f"{took_ms['heal']:.0f} ms; 20 links probed in {took_ms['probe']:.0f} ms"
        )
    assert took_ms["cut"] < 1000  # wanted: 100; the bound leaves room for a busy machine


def test_the_bundle_runs_alone_and_survives_nonsense(lab, tmp_path) -> None:
    path = tmp_path / "agent.pyz"
    path.write_bytes(bundle())
    assert bundle() == path.read_bytes()
    space = lab.ends["n1"].space
    lines = [
        b'{"n": 1, "verb": "hello"}',
        b"{",
        b"[]",
        b"\xff",
        b'{"n": 2, "verb": "dance"}',
        b'{"n": 3, "verb": "cut", "from": "all"}',
        b'{"n": 4, "verb": "cut", "from": ["10.0.0.300"]}',
        b'{"n": 5, "verb": "probe", "to": "n2", "nonce": 1}',
        b'{"n": 6, "verb": "cut", "from": ["10.9.9.9"]}',
        b'{"n": 7, "verb": "exit"}',
    ]
    done = subprocess.run(
        [
            *("nsenter", f"--net=/proc/{space.pid}/ns/net"),
            *(sys.executable, "-I", str(path)),
        ],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        timeout=30,
        check=False,
        cwd="/",
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [("ok" in it, it["n"]) for it in answers] == [
        (True, 1),
        *[(False, None)] * 3,
        *[(False, n) for n in (2, 3, 4, 5)],
        (True, 6),
        (True, 7),
    ]
    assert answers[0]["ok"]["iptables"]
    assert all(len(it["error"].splitlines()) == 1 for it in answers if "error" in it)
    assert (done.returncode, done.stderr) == (0, b"")
