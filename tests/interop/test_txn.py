"""TiKV's own client of transactions against our rules and our wire.

In two worlds: one store without a log in this process, so that a failure is the rules' or the wire's;
and three store processes, so that it is everything's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from splitbrain.cluster.messages import pd
from splitbrain.cluster.messages.pd_types import compose_ts
from splitbrain.cluster.messages.txn import Commit, Mutation, MutationKind, Prewrite
from splitbrain.cluster.rpc.caller import GrpcCaller
from tests.cluster.rpc.processes import Cluster

from .conftest import ForeignError
from .onestore import OneStore

pytestmark = [pytest.mark.processes, pytest.mark.interop]

MODES = pytest.mark.parametrize("pessimistic", [False, True], ids=["optimistic", "pessimistic"])
PATIENCE_S = 15.0

Body = Callable[[Any, "Place"], Coroutine[Any, Any, None]]


class Place:
    """Where the stores are: their addresses, who leads, and how to end that one."""

    def __init__(
        self, addresses: dict[str, str], leader: str, cluster: Cluster | None = None
    ) -> None:
        self.addresses = addresses
        self.leader = leader
        self.driver = leader
        self.cluster = cluster
        self.caller = GrpcCaller(addresses, tuple(addresses))

    async def ask(self, request: Any) -> Any:
        return await self.caller.call(self.leader, request, timeout_s=5)

    async def timestamp(self) -> int:
        answer = await self.caller.call(self.driver, pd.Tso(), timeout_s=5)
        assert answer.error is None
        return compose_ts(answer.physical, answer.logical)


@contextlib.asynccontextmanager
async def one_store(_: Path) -> AsyncIterator[Place]:
    async with OneStore() as store:
        yield Place(store.addresses, "n1")


@contextlib.asynccontextmanager
async def three_stores(directory: Path) -> AsyncIterator[Place]:
    """With a member of the placement driver beside each."""
    cluster = Cluster(directory)
    nodes = cluster.nodes
    try:
        for node in nodes:
            driver = {"node": node, "nodes": nodes, "scale": 1 / 3}
            cluster.start(node, store={"mode": "txn", "pd": nodes}, pd=driver)
        for node in nodes:
            await cluster.ready(node)
        place = Place(cluster.addresses, await cluster.leader(), cluster)
        await founded(place, nodes)
        yield place
    finally:
        cluster.close()


async def founded(place: Place, nodes: tuple[str, ...]) -> None:
    """Until the placement driver can say who leads the first region."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for node in nodes:
            with contextlib.suppress(OSError, EOFError):
                answer = await place.caller.call(node, pd.GetRegion(b"k"), timeout_s=1)
                if answer.error is None and answer.region.leader is not None:
                    place.driver = node
                    return
        await asyncio.sleep(0.05)
    raise AssertionError("the placement driver knows of no region")


@pytest.fixture(
    params=[
        pytest.param(one_store, id="one"),
        pytest.param(three_stores, id="three", marks=pytest.mark.deep),
    ]
)
def run(request: pytest.FixtureRequest, foreign: Any, tmp_path: Path) -> Callable[[Body], None]:
    """Runs a body with a client that has connected."""
    return runner(request.param, foreign, tmp_path)


def runner(world: Any, foreign: Any, directory: Path) -> Callable[[Body], None]:
    async def main(body: Body) -> None:
        async with (
            world(directory) as place,
            foreign("rust-txn", list(place.addresses.values())) as call,
        ):
            await body(call, place)
            await place.caller.close()

    return lambda body: asyncio.run(main(body))


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
def test_what_is_committed_is_read(run: Any, pessimistic: bool) -> None:
    async def body(call: Any, place: Place) -> None:
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

    run(body)


def test_a_snapshot_stays_as_it_was(run: Any) -> None:
    async def body(call: Any, _: Place) -> None:
        await write(call, False, **{f"k{number}": "old" for number in range(8)})
        number = await call("begin", False)
        await write(call, False, **{f"k{number}": "new" for number in range(0, 8, 2)})
        pairs = await call("scan", number, b"k", b"l", 100)
        assert [bytes.fromhex(value) for _, value in pairs] == [b"old"] * 8
        keys = [b"k%d" % one for one in range(8)]
        assert await call("batch_get", number, keys) == pairs
        await call("rollback", number)
        assert await read(call, "k0", "k1") == ["new", "old"]

    run(body)


def test_the_second_of_two_writers_conflicts(run: Any) -> None:
    async def body(call: Any, _: Place) -> None:
        await write(call, False, k="0")
        first, second = await call("begin", False), await call("begin", False)
        for number in (first, second):
            assert await call("get", number, b"k") == b"0".hex()
            await call("put", number, b"k", b"%d" % number)
        await call("commit", first)
        with pytest.raises(ForeignError, match="conflict"):
            await call("commit", second)
        assert await read(call, "k") == [str(first)]

    run(body)


async def insert_and_commit(call: Any, number: int, key: bytes) -> None:
    await call("insert", number, key, b"1")
    await call("commit", number)


@MODES
def test_an_insert_wants_the_key_to_be_absent(run: Any, pessimistic: bool) -> None:
    async def body(call: Any, _: Place) -> None:
        await write(call, False, k="0")
        number = await call("begin", pessimistic)
        with pytest.raises(ForeignError, match=r"already_exist|AlreadyExist"):
            await insert_and_commit(call, number, b"k")
        await call("rollback", number)
        number = await call("begin", pessimistic)
        await insert_and_commit(call, number, b"new")
        assert await read(call, "k", "new") == ["0", "1"]

    run(body)


def test_counters_under_locks_lose_nothing(run: Any) -> None:
    """Five at a time wait for each other's pessimistic locks, and sum up exactly."""

    async def body(call: Any, place: Place) -> None:
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

    run(body)


class Bank:
    """Five accounts of ten; transfers may fail, and every snapshot has fifty."""

    accounts = tuple(f"a{number}" for number in range(5))

    def __init__(self, call: Any) -> None:
        self.call = call
        self.done = 0

    async def transfer(self, source: str, sink: str) -> None:
        number = 0
        try:
            number = await self.call("begin", False)
            for key, change in ((source, -1), (sink, 1)):
                have = int(bytes.fromhex(await self.call("get", number, key.encode())))
                await self.call("put", number, key.encode(), b"%d" % (have + change))
            await self.call("commit", number)
            self.done += 1
        except ForeignError:
            with contextlib.suppress(ForeignError):
                await self.call("rollback", number)

    async def transfers(self, start: int, rounds: int) -> None:
        for turn in range(rounds):
            source, sink = (start + turn) % 5, (start + 2 * turn + 1) % 5
            if source != sink:
                await self.transfer(self.accounts[source], self.accounts[sink])

    async def audits(self, rounds: int) -> None:
        for _ in range(rounds):
            await self.audit()

    async def audit(self) -> None:
        """One snapshot, as soon as there can be one."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                values = await read(self.call, *self.accounts)
                break
            except ForeignError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
        assert sum(int(value or 0) for value in values) == 50


async def business(call: Any, _: Place) -> None:
    bank = Bank(call)
    await write(call, False, **dict.fromkeys(bank.accounts, "10"))
    await asyncio.gather(bank.audits(10), *(bank.transfers(one, 10) for one in range(4)))
    assert bank.done > 5


def test_a_bank_keeps_its_total_in_one_store(foreign: Any, tmp_path: Path) -> None:
    runner(one_store, foreign, tmp_path)(business)


def test_a_bank_keeps_its_total_in_three_stores(foreign: Any, tmp_path: Path) -> None:
    runner(three_stores, foreign, tmp_path)(business)


@pytest.mark.deep
def test_a_bank_keeps_its_total_while_the_leader_dies(foreign: Any, tmp_path: Path) -> None:
    async def body(call: Any, place: Place) -> None:
        bank = Bank(call)
        await write(call, False, **dict.fromkeys(bank.accounts, "10"))
        running = asyncio.gather(
            bank.audits(10), *(bank.transfers(one, 15) for one in range(4))
        )
        await asyncio.sleep(0.3)
        assert place.cluster is not None
        place.cluster.kill(place.leader)
        await running
        before = bank.done
        deadline = time.monotonic() + PATIENCE_S
        while bank.done == before:  # this client gives up soon, and may have to be asked again
            assert time.monotonic() < deadline, "service is not back"
            await asyncio.gather(bank.audits(1), *(bank.transfers(one, 10) for one in range(4)))
        await bank.audit()

    runner(three_stores, foreign, tmp_path)(body)


def test_locks_of_the_dead_are_resolved(run: Any) -> None:
    """Half a commit, and a lock whose time is over, as a crashed client leaves them."""

    async def body(call: Any, place: Place) -> None:
        await write(call, False, a="0", b="0", c="0")
        start = await place.timestamp()
        puts = tuple(Mutation(MutationKind.PUT, key, b"1") for key in (b"a", b"b"))
        # A short time to live: this client asks nothing about locks that are still in theirs.
        await place.ask(Prewrite(puts, b"a", start, ttl_ms=50))
        await place.ask(Commit((b"a",), start, await place.timestamp()))
        dead = await place.timestamp() - (60_000 << 18)  # a minute ago
        left = (Mutation(MutationKind.PUT, b"d", b"1"),)
        reply = await place.ask(Prewrite(left, b"d", dead, ttl_ms=10))
        assert reply.errors == ()
        assert await read(call, "a", "b", "c", "d") == ["1", "1", "0", None]

    run(body)


def test_two_that_wait_for_each_other_do_not_wait_for_ever(run: Any) -> None:
    async def body(call: Any, _: Place) -> None:
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

    run(body)
