"""TiKV's own client of transactions against our rules and our wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from splitbrain.cluster.messages.txn import Commit, Mutation, MutationKind, Prewrite
from splitbrain.cluster.rpc.caller import GrpcCaller

from .conftest import ForeignError
from .onestore import OneStore

pytestmark = [pytest.mark.processes, pytest.mark.interop]

MODES = pytest.mark.parametrize("pessimistic", [False, True], ids=["optimistic", "pessimistic"])


def run(foreign: Any, body: Callable[[Any, OneStore], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with (
            OneStore() as store,
            foreign("rust-txn", list(store.addresses.values())) as call,
        ):
            await body(call, store)

    asyncio.run(main())


async def write(call: Any, pessimistic: bool, **pairs: str) -> None:
    number = await call("begin", pessimistic)
    for key, value in pairs.items():
        await call("put", number, key.encode(), value.encode())
    await call("commit", number)


async def read(call: Any, *keys: str) -> list[str | None]:
    """Values in one fresh snapshot."""
    number = await call("begin", False)
    values = [await call("get", number, key.encode()) for key in keys]
    await call("rollback", number)
    return [None if value is None else bytes.fromhex(value).decode() for value in values]


@MODES
def test_what_is_committed_is_read(foreign: Any, pessimistic: bool) -> None:
    async def body(call: Any, store: OneStore) -> None:
        await write(call, pessimistic, a="1", b="2")
        assert await read(call, "a", "b", "c") == ["1", "2", None]
        number = await call("begin", pessimistic)
        await call("put", number, b"a", b"mine")
        await call("delete", number, b"b")
        assert await call("get", number, b"a") == b"mine".hex()
        assert await read(call, "a", "b") == ["1", "2"]
        await call("commit", number)
        assert await read(call, "a", "b") == ["mine", None]
        number = await call("begin", pessimistic)
        await call("put", number, b"a", b"dropped")
        await call("rollback", number)
        assert await read(call, "a") == ["mine"]
        assert store.seen.get("PessimisticLock", 0) > 0 or not pessimistic

    run(foreign, body)


def test_a_snapshot_stays_as_it_was(foreign: Any) -> None:
    async def body(call: Any, _: OneStore) -> None:
        await write(call, False, **{f"k{number}": "old" for number in range(8)})
        number = await call("begin", False)
        await write(call, False, **{f"k{number}": "new" for number in range(0, 8, 2)})
        pairs = await call("scan", number, b"k", b"l", 100)
        assert [bytes.fromhex(value) for _, value in pairs] == [b"old"] * 8
        keys = [b"k%d" % one for one in range(8)]
        assert await call("batch_get", number, keys) == pairs
        await call("rollback", number)
        assert await read(call, "k0", "k1") == ["new", "old"]

    run(foreign, body)


def test_the_second_of_two_writers_conflicts(foreign: Any) -> None:
    async def body(call: Any, _: OneStore) -> None:
        await write(call, False, k="0")
        first, second = await call("begin", False), await call("begin", False)
        for number in (first, second):
            assert await call("get", number, b"k") == b"0".hex()
            await call("put", number, b"k", b"%d" % number)
        await call("commit", first)
        with pytest.raises(ForeignError, match="conflict"):
            await call("commit", second)
        assert await read(call, "k") == [str(first)]

    run(foreign, body)


async def insert_and_commit(call: Any, number: int, key: bytes) -> None:
    await call("insert", number, key, b"1")
    await call("commit", number)


@MODES
def test_an_insert_wants_the_key_to_be_absent(foreign: Any, pessimistic: bool) -> None:
    async def body(call: Any, _: OneStore) -> None:
        await write(call, False, k="0")
        number = await call("begin", pessimistic)
        with pytest.raises(ForeignError, match=r"already_exist|AlreadyExist"):
            await insert_and_commit(call, number, b"k")
        await call("rollback", number)
        number = await call("begin", pessimistic)
        await insert_and_commit(call, number, b"new")
        assert await read(call, "k", "new") == ["0", "1"]

    run(foreign, body)


def test_counters_under_locks_lose_nothing(foreign: Any) -> None:
    """Five at a time wait for each other's pessimistic locks, and sum up exactly."""

    async def body(call: Any, store: OneStore) -> None:
        await write(call, False, n="0")

        async def add() -> None:
            for _ in range(4):
                while True:
                    number = await call("begin", True)
                    try:
                        now = int(bytes.fromhex(await call("get_for_update", number, b"n")))
                        await call("put", number, b"n", b"%d" % (now + 1))
                    except ForeignError:
                        await call("rollback", number)
                        continue
                    await call("commit", number)
                    break

        await asyncio.gather(*(add() for _ in range(5)))
        assert await read(call, "n") == ["20"]

    run(foreign, body)


def test_a_bank_keeps_its_total(foreign: Any) -> None:
    async def body(call: Any, _: OneStore) -> None:
        accounts = [f"a{number}" for number in range(5)]
        await write(call, False, **dict.fromkeys(accounts, "10"))
        done = 0

        async def transfers(start: int) -> None:
            nonlocal done
            for turn in range(10):
                source, sink = (
                    accounts[(start + turn) % 5],
                    accounts[(start + 2 * turn + 1) % 5],
                )
                if source == sink:
                    continue
                number = await call("begin", False)
                have = [
                    int(bytes.fromhex(await call("get", number, key.encode())))
                    for key in (source, sink)
                ]
                await call("put", number, source.encode(), b"%d" % (have[0] - 1))
                await call("put", number, sink.encode(), b"%d" % (have[1] + 1))
                try:
                    await call("commit", number)
                    done += 1
                except ForeignError:
                    await call("rollback", number)

        async def audits() -> None:
            for _ in range(10):
                values = await read(call, *accounts)
                assert sum(int(value or 0) for value in values) == 50

        await asyncio.gather(audits(), *(transfers(number) for number in range(4)))
        assert done > 5

    run(foreign, body)


def test_locks_of_the_dead_are_resolved(foreign: Any) -> None:
    """Half a commit, and a lock whose time is over, as a crashed client leaves them."""

    async def body(call: Any, store: OneStore) -> None:
        await write(call, False, a="0", b="0", c="0")
        caller = GrpcCaller(store.addresses, tuple(store.addresses))
        start = store.timestamps()
        puts = tuple(Mutation(MutationKind.PUT, key, b"1") for key in (b"a", b"b"))
        # A short time to live: this client asks nothing about locks that are still in theirs.
        await caller.call("n1", Prewrite(puts, b"a", start, ttl_ms=50), timeout_s=5)
        await caller.call("n1", Commit((b"a",), start, store.timestamps()), timeout_s=5)
        dead = store.timestamps() - (60_000 << 18)  # a minute ago
        left = (Mutation(MutationKind.PUT, b"d", b"1"),)
        reply = await caller.call("n1", Prewrite(left, b"d", dead, ttl_ms=10), timeout_s=5)
        assert reply.errors == ()
        await caller.close()
        assert await read(call, "a", "b", "c", "d") == ["1", "1", "0", None]
        assert store.seen["ResolveLock"] >= 2, store.seen

    run(foreign, body)


def test_two_that_wait_for_each_other_do_not_wait_for_ever(foreign: Any) -> None:
    async def body(call: Any, _: OneStore) -> None:
        told: list[str] = []

        async def lock_also(number: int, key: bytes) -> None:
            try:
                await call("lock", number, [key])
            except ForeignError as error:
                told.append(str(error))
            await call("rollback", number)

        one, two = await call("begin", True), await call("begin", True)
        await call("lock", one, [b"a"])
        await call("lock", two, [b"b"])
        await asyncio.gather(lock_also(one, b"b"), lock_also(two, b"a"))
        assert any("eadlock" in text for text in told), told

    run(foreign, body)
