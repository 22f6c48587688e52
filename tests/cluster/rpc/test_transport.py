"""Links between nodes: order, best effort, and a return within a second after any kind of cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages.region import Epoch
from splitbrain.cluster.raft.types import Message, MessageKind
from splitbrain.cluster.rpc import transport as transport_module
from splitbrain.cluster.rpc.transport import EXCHANGE, FROM, TO


def batch(number: int) -> m.RaftBatch:
    """A message that can be told from others."""
    kind = next(iter(MessageKind))
    message = Message(kind=kind, sender="n1", to="n2", term=number)
    return m.RaftBatch((m.RegionMessage(1, 1, 2, Epoch(), message),))


def terms(node: Any) -> list[int]:
    return [message.messages[0].message.term for _, message in node.received]


def pair(kit: Any, *, through: Any = None) -> tuple[Any, Any]:
    addresses = {"n1": f"127.0.0.1:{kit.find_port()}", "n2": f"127.0.0.1:{kit.find_port()}"}
    dial = {"n2": through} if through else None
    return kit.toy("n1", addresses, dial), kit.toy("n2", addresses)


def up(node: Any, peer: str) -> Callable[[], bool]:
    return lambda: bool(node.transport.counts()[peer].connected)


def test_messages_arrive_whole_and_in_order(kit: Any) -> None:
    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await a.start()
            await b.start()
            await kit.wait_until(up(a, "n2"))
            for number in range(3000):
                a.transport.send("n2", batch(number))
                if number % 500 == 0:
                    await asyncio.sleep(0)
            await kit.wait_until(lambda: len(b.received) == 3000)
            assert terms(b) == list(range(3000))
            assert {sender for sender, _ in b.received} == {"n1"}
            sent, got = a.transport.counts()["n2"], b.transport.counts()["n1"]
            assert (sent.sent, sent.dropped) == (3000, 0)
            assert (got.received, got.duplicates, got.reordered) == (3000, 0, 0)
            assert 0 < got.lateness_ns < 3000 * 5e9

    asyncio.run(main())


def test_messages_to_a_dead_peer_are_dropped_not_piled_up(kit: Any) -> None:
    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await a.start()
            for number in range(100):
                a.transport.send("n2", batch(number))
            await asyncio.sleep(0.3)
            await b.start()
            await kit.wait_until(up(a, "n2"))
            a.transport.send("n2", batch(1000))
            await kit.wait_until(lambda: bool(b.received))
            await asyncio.sleep(0.1)
            assert terms(b) == [1000]
            counts = a.transport.counts()["n2"]
            assert (counts.sent, counts.dropped) == (101, 100)

    asyncio.run(main())


def test_a_full_queue_drops_the_newest(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_FRAMES", 10)

    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await a.start()
            await b.start()
            await kit.wait_until(up(a, "n2"))
            for number in range(25):  # no turn of the loop in between
                a.transport.send("n2", batch(number))
            await kit.wait_until(lambda: len(b.received) >= 10)
            await asyncio.sleep(0.1)
            assert terms(b) == list(range(10))
            assert a.transport.counts()["n2"].dropped == 15

    asyncio.run(main())


def test_a_large_message_passes(kit: Any) -> None:
    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await a.start()
            await b.start()
            await kit.wait_until(up(a, "n2"))
            a.transport.send("n2", m.RawPut(key=b"k", value=b"x" * (9 << 20)))
            await kit.wait_until(lambda: bool(b.received), 10)
            assert len(b.received[0][1].value) == 9 << 20

    asyncio.run(main())


def test_probes_go_one_way_and_echoes_both(kit: Any) -> None:
    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await a.start()
            await b.start()
            await kit.wait_until(lambda: up(a, "n2")() and up(b, "n1")())
            before = time.monotonic_ns()
            assert a.transport.probe_send("n2", 41, 0.5)
            await kit.wait_until(lambda: b.transport.probe_seen(41) is not None)
            assert before <= b.transport.probe_seen(41) <= time.monotonic_ns()
            assert b.transport.probe_seen(42) is None
            took_ms = await a.transport.echo("n2", 2.0)
            assert 0 < took_ms < 2000
            assert a.received == b.received == []  # they are no business of the node
            with pytest.raises(ValueError, match="unknown peer 'n9'; known: n2"):
                await a.transport.echo("n9", 1.0)

    asyncio.run(main())


def test_a_probe_waits_for_its_link_but_not_for_ever(kit: Any) -> None:
    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await a.start()
            assert not a.transport.probe_send("n2", 1, 0.05)
            assert not a.transport.probe_send("n2", 2, 30.0)
            await asyncio.sleep(0.1)
            await b.start()
            await kit.wait_until(lambda: b.transport.probe_seen(2) is not None)
            assert b.transport.probe_seen(1) is None

    asyncio.run(main())


def test_a_stream_for_another_node_is_refused(kit: Any) -> None:
    """A port that changed hands must not feed one node's messages to another."""

    async def main() -> None:
        a, b = pair(kit)
        async with kit.opened(a, b):
            await b.start()
            address = b.server._listen
            async with grpc.aio.insecure_channel(address) as channel:
                for said in ({FROM: "n1", TO: "n3"}, {FROM: "n9", TO: "n2"}, {}):
                    call = channel.stream_unary(EXCHANGE)(metadata=tuple(said.items()))
                    with pytest.raises(grpc.RpcError) as caught:
                        await call
                    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert b.received == []

    asyncio.run(main())


CUT_S = [pytest.param(6.0), pytest.param(25.0, marks=pytest.mark.deep)]


@pytest.mark.parametrize("cut_s", CUT_S)
@pytest.mark.parametrize("how", ["hold", "reset"])
def test_a_link_is_used_within_a_second_of_its_return(kit: Any, how: str, cut_s: float) -> None:
    async def main() -> None:
        proxy = kit.proxy(f"127.0.0.1:{kit.find_port()}")
        addresses = {
            "n1": f"127.0.0.1:{kit.find_port()}",
            "n2": f"127.0.0.1:{proxy._target[1]}",
        }
        await proxy.start()
        a = kit.toy("n1", addresses, {"n2": proxy.address})
        b = kit.toy("n2", addresses)
        async with kit.opened(a, b, proxy):
            await a.start()
            await b.start()
            await cut_and_return(kit, a, b, proxy, how, cut_s)

    asyncio.run(main())


async def cut_and_return(kit: Any, a: Any, b: Any, proxy: Any, how: str, cut_s: float) -> None:
    await kit.wait_until(lambda: up(a, "n2")() and up(b, "n1")())

    if how == "hold":
        proxy.hold()
    else:
        await proxy.reset()
    await asyncio.sleep(0.05)
    cut = time.monotonic()
    number = 0
    while time.monotonic() - cut < cut_s:
        number += 1
        a.transport.send("n2", batch(number))
        b.transport.send("n1", batch(number))
        await asyncio.sleep(0.05)
    assert b.received == []  # n1 -> n2 is cut,
    assert len(terms(a)) > 0.9 * number  # n2 -> n1 goes on
    assert not up(a, "n2")()

    if how == "hold":
        proxy.release()
    else:
        await proxy.start()
    returned = time.monotonic()
    while max(terms(b), default=0) < 1_000_000:
        a.transport.send("n2", batch(1_000_000))
        await asyncio.sleep(0.01)
        assert time.monotonic() - returned < 5
    assert time.monotonic() - returned < 1.0
