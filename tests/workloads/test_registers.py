"""The register workloads: what their generators promise, run without a cluster."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec
import pytest

from splitbrain.contracts.generator import Generator
from splitbrain.contracts.spec import TestSpec
from splitbrain.env.random import Random, Stream
from splitbrain.errors import Definite
from splitbrain.harness.context import Context
from splitbrain.harness.generator import (
    clients,
    imperfect,
    limit,
    perfect,
    perfect_info,
    simulate,
)
from splitbrain.history.op import Op
from splitbrain.workloads.cas_register import cas_register
from splitbrain.workloads.keys import FinalReads, SlidingKeys
from splitbrain.workloads.kv_client import KvClient
from splitbrain.workloads.register import register

SPEC = TestSpec(workload="register")


def run(generator, *, ops: int = 4000, completion=perfect, seed: int = 1):  # type: ignore[no-untyped-def]
    return simulate(
        clients(limit(ops, generator)),
        completion=completion,
        concurrency=10,
        seed=seed,
        max_ops=10 * ops,
    )


def test_every_write_writes_another_value() -> None:
    written = [
        op.value
        for op in run(register(SPEC).generator)
        if op.type == "invoke" and op.f == "write"
    ]
    assert len(written) > 1500
    assert len(set(written)) == len(written)


def test_a_key_gets_100_to_200_operations_and_six_are_in_use() -> None:
    ops = [op for op in run(register(SPEC).generator) if op.type == "invoke"]
    counts = Counter(op.key for op in ops)
    late = {op.key for op in ops[-1500:]}
    retired = [count for key, count in counts.items() if key not in late]
    assert len(retired) > 5
    assert all(100 <= count <= 200 for count in retired)
    spans = defaultdict(list)
    for position, op in enumerate(ops):
        spans[op.key].append(position)
    middle = len(ops) // 2
    assert sum(places[0] <= middle <= places[-1] for places in spans.values()) <= 6


def test_a_key_is_retired_after_twenty_crashed_processes() -> None:
    crashed: Counter[int] = Counter()
    for op in run(register(SPEC).generator, completion=perfect_info, ops=1000):
        if op.type == "info":
            crashed[op.key] += 1
    # Ten workers may have operations on their way when the twentieth crashes.
    assert max(crashed.values()) <= 20 + 10


def test_reads_have_their_share() -> None:
    spec = TestSpec(workload="register", options={"read-share": 0.8})
    kinds = Counter(op.f for op in run(register(spec).generator) if op.type == "invoke")
    assert 0.75 < kinds["read"] / sum(kinds.values()) < 0.85


def test_cas_register_draws_three_functions_over_five_values() -> None:
    ops = [op for op in run(cas_register(SPEC).generator) if op.type == "invoke"]
    kinds = Counter(op.f for op in ops)
    assert set(kinds) == {"read", "write", "cas"}
    assert min(kinds.values()) > 1000
    values = {op.value for op in ops if op.f == "write"}
    assert values == set(range(5))
    assert all(len(op.value) == 2 for op in ops if op.f == "cas")


def test_the_same_seed_draws_the_same_operations() -> None:
    assert run(register(SPEC).generator, seed=5) == run(register(SPEC).generator, seed=5)
    assert run(register(SPEC).generator, seed=5) != run(register(SPEC).generator, seed=6)


def test_final_reads_read_each_key_once() -> None:
    final: Generator = FinalReads()
    for key in (0, 3, 1):  # the driver tells it of every event of the test
        event = Op(process=0, type="invoke", f="write", key=key, value=1)
        final = final.update({}, Context.start(1, Random(1).stream("test")), event)
    reads = [
        op.key
        for op in simulate(clients(final), seed=1)
        if op.type == "invoke" and op.f == "read"
    ]
    assert reads == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["fail", "info"])
def test_a_final_read_that_comes_to_nothing_is_asked_again(kind: str) -> None:
    asked: list[int] = []

    def completion(op: Op, draws: Stream) -> tuple[int, Op]:
        asked.append(op.key)
        done = "ok" if asked.count(op.key) > (op.key == 2) else kind
        return 1000, msgspec.structs.replace(op, type=done)

    history = simulate(clients(FinalReads(keys=4)), completion=completion, seed=1)
    assert sorted(asked) == [0, 1, 2, 2, 3]
    assert {op.key for op in history if op.type == "ok"} == {0, 1, 2, 3}


def test_final_reads_of_a_dead_system_end() -> None:
    def completion(op: Op, draws: Stream) -> tuple[int, Op]:
        return 0, msgspec.structs.replace(op, type="fail")

    history = simulate(clients(FinalReads(keys=4)), completion=completion, seed=1)
    assert sum(op.type == "fail" for op in history) == 104


def test_a_generator_is_a_value() -> None:
    generator = SlidingKeys(draw=lambda stream, unique: ("write", unique), width=2)
    assert run(generator, completion=imperfect) == run(generator, completion=imperfect)


class Session:
    """A Kv session over a dict."""

    def __init__(self) -> None:
        self.data: dict[str, object] = {}

    async def get(self, key: str) -> object:
        return self.data.get(key)

    async def put(self, key: str, value: object) -> None:
        self.data[key] = value

    async def delete(self, key: str) -> None:
        self.data.pop(key, None)

    async def cas(self, key: str, old: object, new: object) -> None:
        if self.data.get(key) != old:
            raise Definite("cas-mismatch", observed=self.data.get(key))
        self.data[key] = new

    async def close(self) -> None:
        self.data.clear()


def test_the_client_speaks_kv() -> None:
    import asyncio

    session = Session()

    async def opened(node: str) -> Session:
        return session

    async def main() -> list[object]:
        client = await KvClient(opened).open("n1")
        seen: list[object] = []
        for f, value in (("read", None), ("write", 3), ("cas", [3, 4]), ("read", None)):
            op = Op(process=0, type="invoke", f=f, key=7, value=value)
            done = await client.invoke(op)
            seen.append((done.type, done.value))
        with pytest.raises(Definite) as refused:
            await client.invoke(Op(process=0, type="invoke", f="cas", key=7, value=[9, 1]))
        seen.append(refused.value.observed)
        await client.invoke(Op(process=0, type="invoke", f="delete", key=7))
        assert session.data == {}
        return seen

    assert asyncio.run(main()) == [("ok", None), ("ok", 3), ("ok", [3, 4]), ("ok", 4), 4]
