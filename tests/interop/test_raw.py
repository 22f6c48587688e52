"""Raw clients of other people against a cluster of three processes, also while its leader dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from .conftest import ForeignError

pytestmark = [pytest.mark.processes, pytest.mark.interop]

T_S = 3.0  # the election timeout at scale 1
PATIENCE_S = 5 * T_S
BOTH = pytest.mark.parametrize("name", ["rust", "python"])


def run(
    cluster: Any,
    foreign: Any,
    name: str,
    body: Callable[[Any, str], Coroutine[Any, Any, None]],
    **store: Any,
) -> None:
    """Run ``body`` with a client of a cluster that has a leader."""

    async def main() -> None:
        for node in cluster.nodes:
            cluster.start(node, store=store)
        for node in cluster.nodes:
            await cluster.ready(node)
        leader = await cluster.leader()
        async with foreign(name, list(cluster.addresses.values())) as call:
            await body(call, leader)

    asyncio.run(main())


def hexed(*pairs: tuple[bytes, bytes]) -> list[list[str]]:
    return [[key.hex(), value.hex()] for key, value in pairs]


@BOTH
def test_single_keys(cluster: Any, foreign: Any, name: str) -> None:
    async def body(call: Any, _: str) -> None:
        assert await call("get", b"k") is None
        await call("put", b"k", b"v")
        assert await call("get", b"k") == b"v".hex()
        await call("put", b"k", b"")
        assert await call("get", b"k") == ""
        await call("delete", b"k")
        await call("delete", b"k")
        assert await call("get", b"k") is None
        odd = bytes(range(256)) * 8
        await call("put", odd, odd * 16)
        assert await call("get", odd) == (odd * 16).hex()

    run(cluster, foreign, name, body)


@BOTH
def test_scans(cluster: Any, foreign: Any, name: str) -> None:
    async def body(call: Any, _: str) -> None:
        keys = [b"k%02d" % number for number in range(30)]
        await asyncio.gather(*(call("put", key, b"v" + key) for key in keys))
        pairs = hexed(*((key, b"v" + key) for key in keys))
        assert await call("scan", b"k", b"l", 100) == pairs
        assert await call("scan", b"k05", b"k10", 100) == pairs[5:10]
        assert await call("scan", b"k05", b"l", 3) == pairs[5:8]
        assert await call("scan_keys", b"k05", b"l", 3) == [key for key, _ in pairs[5:8]]
        if name == "python":
            assert await call("scan_down", b"k05", b"k10", 3) == pairs[9:6:-1]

    run(cluster, foreign, name, body)


@BOTH
def test_batches(cluster: Any, foreign: Any, name: str) -> None:
    async def body(call: Any, _: str) -> None:
        pairs = hexed(*((b"k%02d" % number, b"%d" % number) for number in range(20)))
        keys = [key for key, _ in pairs]
        await call("batch_put", pairs)
        assert await call("batch_get", [*keys, b"none".hex()]) == pairs
        await call("batch_delete", keys[:5])
        assert await call("scan", b"k", b"l", 100) == pairs[5:]
        await call("delete_range", b"k10", b"k15")
        assert await call("scan", b"k", b"l", 100) == pairs[5:10] + pairs[15:]

    run(cluster, foreign, name, body)


def test_compare_and_swap(cluster: Any, foreign: Any) -> None:
    async def body(call: Any, _: str) -> None:
        assert await call("swap", b"k", None, b"1") == [True, None]
        assert await call("swap", b"k", None, b"2") == [False, b"1".hex()]
        assert await call("swap", b"k", b"1", b"2") == [True, b"1".hex()]
        assert await call("get", b"k") == b"2".hex()

    run(cluster, foreign, "python", body)


def test_a_time_to_live_is_refused_in_words(cluster: Any, foreign: Any) -> None:
    async def body(call: Any, _: str) -> None:
        for verb in (("put_for_a_time", b"k", b"v", 9), ("ttl", b"k")):
            with pytest.raises(ForeignError, match="no time to live"):
                await call(*verb)
        assert await call("get", b"k") is None

    run(cluster, foreign, "python", body)


# -- while the leader dies -----------------------------------------------------------------------


async def insist(call: Any, *command: Any) -> Any:
    """Repeat a command that may be repeated, for as long as a fail-over may take."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call(*command)
        except ForeignError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


@pytest.mark.deep
@BOTH
def test_what_was_acknowledged_survives_the_leader(
    cluster: Any, foreign: Any, name: str
) -> None:
    """Four writers, each with a key of its own, count up before, during and after the kill."""

    async def body(call: Any, leader: str) -> None:
        acknowledged: dict[bytes, int] = {}
        begun, killed = asyncio.Event(), asyncio.Event()

        async def count(key: bytes) -> None:
            number = after = 0
            while after < 5:
                number += 1
                after += killed.is_set()
                await insist(call, "put", key, b"%d" % number)
                acknowledged[key] = number
                if number == 20:
                    begun.set()

        async def kill() -> None:
            await begun.wait()
            cluster.kill(leader)
            killed.set()

        keys = [b"key%d" % number for number in range(4)]
        async with asyncio.TaskGroup() as group:
            group.create_task(kill())
            for key in keys:
                group.create_task(count(key))
        for key in keys:
            assert await insist(call, "get", key) == (b"%d" % acknowledged[key]).hex()
        cluster.start(leader)  # and the cluster is whole again
        await cluster.ready(leader)
        await insist(call, "put", b"last", b"1")

    run(cluster, foreign, name, body, scale=1.0)


@pytest.mark.deep
def test_swaps_count_right_while_the_leader_dies(cluster: Any, foreign: Any) -> None:
    """The end value counts every swap that was told done, and of those that are unknown some."""

    async def body(call: Any, leader: str) -> None:
        await call("put", b"n", b"0")
        done = unknown = 0
        killed = False

        async def count(rounds: int) -> None:
            nonlocal done, unknown
            for _ in range(rounds):
                now = int(bytes.fromhex(await insist(call, "get", b"n")))
                try:
                    swapped, _previous = await call(
                        "swap", b"n", b"%d" % now, b"%d" % (now + 1)
                    )
                    done += swapped
                except ForeignError as error:
                    unknown += error.unknown
                if killed:
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(count(10) for _ in range(3)))
        running = asyncio.gather(*(count(40) for _ in range(3)))
        await asyncio.sleep(0.05)
        cluster.kill(leader)
        killed = True
        await running
        end = int(bytes.fromhex(await insist(call, "get", b"n")))
        assert done <= end <= done + unknown
        assert done > 10

    run(cluster, foreign, "python", body, scale=1.0)
