"""Transactions as their user sees them, in fair weather, over regions with the real rules."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from splitbrain.cluster.client.backoff import Policy
from splitbrain.cluster.client.options import ClientOptions, TxnOptions
from splitbrain.cluster.client.txn import Transaction, TxnClient
from splitbrain.env.random import Random
from splitbrain.errors import Definite
from splitbrain.substrates.sim.loop import SimLoop

from .fake import FakeCluster

PATHS = ("plain", "parallel", "async", "one-phase")
KEYS = [b"k%d" % n for n in range(8)]
QUIET = TxnOptions(lock_ttl_ms=500)


def play(main: Callable[[FakeCluster, TxnClient], Awaitable[Any]], seed: int = 1) -> Any:
    async def run() -> Any:
        cluster = FakeCluster(random.Random(seed), calm=True)
        options = ClientOptions(backoff=Policy(scale=0.05), rpc_timeout_s=0.3)
        one = TxnClient(
            cluster,
            cluster,
            ("n1", "n2", "n3"),
            Random(seed).stream("client"),
            options=options,
        )
        result = await main(cluster, one)
        await one.access.background.idle()
        return result

    return SimLoop(horizon_ns=100 * 10**9).run(run)


async def committed(one: TxnClient, **values: bytes | None) -> None:
    txn = await one.begin()
    for key, value in values.items():
        await (txn.delete(key.encode()) if value is None else txn.put(key.encode(), value))
    await txn.commit()


@pytest.mark.parametrize("seed", range(20))
def test_a_transaction_sees_its_writes_over_its_snapshot(seed: int) -> None:
    """Oracle: a dict of the snapshot, changed by the own writes alone."""
    draw = random.Random(seed)

    async def main(cluster: FakeCluster, one: TxnClient) -> None:
        model = dict.fromkeys(draw.sample(KEYS, 5), b"0")
        await committed(one, **{key.decode(): value for key, value in model.items()})
        for key in draw.sample(KEYS, 3):
            cluster.split_at(key)
        pessimistic = draw.random() < 0.5
        txn = await one.begin(
            TxnOptions(pessimistic=pessimistic, commit_path=draw.choice(PATHS))
        )
        for turn in range(25):
            await change(txn, draw, model, b"%d" % turn)
            await look(txn, draw, model)
        facts = await txn.commit()
        assert facts.commit_ts > facts.start_ts
        after = await one.begin()
        assert dict(await after.scan()) == model

    play(main, seed)


async def change(txn: Transaction, draw: random.Random, model: Any, value: bytes) -> None:
    key = draw.choice(KEYS)
    shape = draw.randrange(4)
    if shape == 0:
        await txn.put(key, value)
        model[key] = value
    elif shape == 1:
        await txn.delete(key)
        model.pop(key, None)
    elif shape == 2 and key not in model:
        await txn.insert(key, value)
        model[key] = value


async def look(txn: Transaction, draw: random.Random, model: Any) -> None:
    shape, limit = draw.randrange(4), draw.choice((0, 2, 100))
    low, high = sorted(draw.choices([b"", *KEYS], k=2))
    inside = [(k, v) for k, v in sorted(model.items()) if k >= low and (not high or k < high)]
    most = limit or len(inside)
    if shape == 0:
        key = draw.choice(KEYS)
        assert await txn.get(key) == model.get(key)
    elif shape == 1:
        assert await txn.batch_get(KEYS) == {k: model[k] for k in KEYS if k in model}
    elif shape == 2:
        assert await txn.scan(low, high, limit=limit) == inside[:most]
    else:
        got = await txn.scan(high, low, limit=limit, reverse=True)
        assert got == inside[::-1][:most]


@pytest.mark.parametrize("pessimistic", [False, True])
def test_an_insert_finds_its_key(pessimistic: bool) -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> None:
        await committed(one, a=b"1")
        for keys in ([b"a"], [b"b", b"b"]):
            txn = await one.begin(TxnOptions(pessimistic=pessimistic))
            with pytest.raises(Definite, match="already-exists"):
                [await txn.insert(key, b"2") for key in keys]
            await txn.rollback()
        late = await one.begin()
        await late.insert(b"c", b"2")
        await committed(one, c=b"1")
        with pytest.raises(Definite, match="write-conflict"):
            await late.commit()

    play(main)


@pytest.mark.parametrize(("isolation", "both"), [("snapshot", True), ("serializable", False)])
def test_write_skew_is_possible_in_a_snapshot_alone(isolation: Any, both: bool) -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> list[str]:
        await committed(one, x=b"1", y=b"1")
        cluster.split_at(b"y")
        txns = [await one.begin(TxnOptions(isolation=isolation)) for _ in range(2)]
        for txn, mine in zip(txns, (b"x", b"y"), strict=True):
            assert len(await txn.batch_get([b"x", b"y"])) == 2
            await txn.put(mine, b"0")
        ends = []
        for txn in txns:
            try:
                await txn.commit()
                ends.append("ok")
            except Definite as error:
                ends.append(error.code)
        return ends

    assert play(main) == (["ok", "ok"] if both else ["ok", "write-conflict"])


def test_read_committed_sees_what_was_committed_since() -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> list[Any]:
        await committed(one, x=b"1")
        seen = []
        for isolation in ("snapshot", "read-committed"):
            txn = await one.begin(TxnOptions(isolation=isolation))  # type: ignore[arg-type]
            before = await txn.get(b"x")
            await committed(one, x=(before or b"") + b"+")
            seen.append((before, await txn.get(b"x")))
        return seen

    assert play(main) == [(b"1", b"1"), (b"1+", b"1++")]


def test_a_read_as_of_an_older_timestamp_writes_nothing() -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> None:
        await committed(one, x=b"1")
        then = await one.timestamp()
        await committed(one, x=b"2")
        txn = await one.begin(version=then)
        assert await txn.get(b"x") == b"1"
        with pytest.raises(Definite, match="read-only"):
            await txn.put(b"x", b"3")
        await txn.commit()

    play(main)


async def holder(one: TxnClient, heartbeat_s: float) -> str:
    """Locks x, is silent for three times its locks' life, then writes and commits."""
    options = TxnOptions(pessimistic=True, lock_ttl_ms=500, heartbeat_s=heartbeat_s)
    txn = await one.begin(options)
    await txn.get_for_update(b"x")
    await asyncio.sleep(1.6)
    try:
        await txn.put(b"x", b"holder")
        await txn.commit()
    except Definite as error:
        return error.code
    return "ok"


@pytest.mark.parametrize(("heartbeat_s", "end"), [(0.03, "ok"), (1e3, "aborted")])
def test_heartbeats_keep_locks_alive(heartbeat_s: float, end: str) -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> tuple[str, bytes | None]:
        holding = asyncio.create_task(holder(one, heartbeat_s))
        await asyncio.sleep(0.4)
        await one.run(lambda txn: txn.put(b"x", b"other"), QUIET)
        got = await holding
        await one.run(lambda txn: txn.put(b"y", b""), QUIET)
        return got, await (await one.begin()).get(b"x")

    assert play(main) == (end, b"other")


def test_of_two_that_wait_for_each_other_one_is_told() -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> list[str]:
        async def both(first: bytes, second: bytes) -> str:
            txn = await one.begin(TxnOptions(pessimistic=True))
            try:
                await txn.get_for_update(first)
                await asyncio.sleep(0.1)
                await txn.get_for_update(second)
                await txn.commit()
            except Definite as error:
                await txn.rollback()
                return error.code
            return "ok"

        return sorted(await asyncio.gather(both(b"a", b"b"), both(b"b", b"a")))

    assert play(main) == ["deadlock", "ok"]


def test_conflicts_are_repeated_or_not_as_wanted() -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> list[Any]:
        tries: list[int] = []

        async def body(txn: Transaction) -> None:
            tries.append(len(await txn.get(b"x") or b""))
            if len(tries) % 3:
                await committed(one, x=b"z" * len(tries))
            await txn.put(b"x", b"done")

        await one.run(body, TxnOptions())
        with pytest.raises(Definite, match="write-conflict"):
            await one.run(body, TxnOptions(on_conflict="fail"))
        return tries

    assert play(main) == [0, 1, 2, 4]


def test_what_is_over_is_over() -> None:
    async def main(cluster: FakeCluster, one: TxnClient) -> None:
        txn = await one.begin()
        await txn.commit()
        for again in (txn.get(b"x"), txn.put(b"x", b""), txn.commit()):
            with pytest.raises(Definite, match="txn-over"):
                await again
        optimistic = await one.begin()
        with pytest.raises(Definite, match="not-pessimistic"):
            await optimistic.lock([b"x"])

    play(main)
