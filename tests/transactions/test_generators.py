"""The window of keys that slides, and the final phase of transactional workloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from splitbrain.env.random import Stream
from splitbrain.harness.generator import clients, limit, simulate
from splitbrain.history.op import Op
from splitbrain.workloads.lock import GiveBack
from splitbrain.workloads.snapshots import AtOlderVersions
from splitbrain.workloads.txn_keys import FinalTxns, SlidingTxns, final_by_key


def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
    return "acquire", stream.choice(keys), unique, unique + 1


def final(ends: Callable[[Op], str], *, nodes: int = 3, used: int = 7, **more: Any) -> list[Op]:
    def completion(op: Op, draws: Stream) -> tuple[int, Op]:
        kind = ends(op)
        error = "no-dump" if op.f == "dump" and kind == "fail" else None
        return 1000, msgspec.structs.replace(op, type=kind, error=error)

    fields = {"used": frozenset(range(used)), **more}
    generator = msgspec.structs.replace(final_by_key("read", nodes), **fields)
    return simulate(clients(generator), completion=completion, concurrency=4, seed=1)


def test_every_key_gets_as_much_as_the_others_and_is_retired() -> None:
    generator = SlidingTxns(draw=draw, width=3, life=10)
    ops = [op for op in simulate(clients(limit(600, generator)), seed=1) if op.type == "invoke"]
    assert len({op.value for op in ops}) == 600
    used = Counter(op.key for op in ops)
    assert set(used) == set(range(max(used) + 1))
    assert max(used) in (61, 62)
    assert max(used.values()) < 30
    assert [op.key for op in ops[:10] if op.key > 2] == []


def test_all_keys_are_read_and_then_every_node_is_dumped_by_its_own_worker() -> None:
    ops = final(lambda op: "ok")
    done = [op for op in ops if op.type == "ok"]
    assert sorted(op.key for op in done if op.f == "read") == list(range(7))
    assert {op.process for op in done if op.f == "dump"} == {0, 1, 2}
    assert [op.f for op in done] == ["read"] * 7 + ["dump"] * 3


def test_what_came_to_nothing_is_asked_again_but_not_for_ever() -> None:
    tried: Counter[tuple[str, Any]] = Counter()

    def second_time(op: Op) -> str:
        tried[op.f, op.key] += 1
        return "ok" if tried[op.f, op.key] > 1 and op.f == "read" else "info"

    done = [op for op in final(second_time, retries=30) if op.type == "ok"]
    assert sorted(op.key for op in done) == list(range(7))
    dead = [op for op in final(lambda op: "info", retries=30) if op.type == "info"]
    assert len(dead) == 7 + 30 + 3
    no_dump = final(lambda op: "fail" if op.f == "dump" else "ok")
    assert sum(op.f == "dump" and op.type == "invoke" for op in no_dump) == 3


def test_final_reads_learn_their_keys_and_take_several_at_once() -> None:
    generator: Any = FinalTxns(
        read=lambda keys: ("txn", None, [["r", key, None] for key in keys]),
        keys_of=lambda op: [key for _, key, _ in op.value],
        nodes=0,
    )
    for keys in ((3, 1), (1, 4, 5, 9)):
        value = [["w", key, 1] for key in keys]
        generator = generator.update(
            {}, None, Op(process=0, type="invoke", f="txn", value=value)
        )
    ops = [op for op in simulate(clients(generator), seed=1) if op.type == "invoke"]
    assert [[key for _, key, _ in op.value] for op in ops] == [[1, 3, 4, 5], [9]]


def test_a_holder_gives_its_lock_back_with_its_next_operation() -> None:
    generator = GiveBack(SlidingTxns(draw=draw, width=2))
    history = simulate(clients(limit(200, generator)), concurrency=3, seed=2, max_ops=500)
    held: dict[int, tuple[Any, Any]] = {}
    for op in history:
        if op.type == "invoke":
            assert (op.f == "release") == (op.process in held)
            if op.f == "release":
                assert (op.key, op.value) == held[op.process]
        elif op.f == "acquire":
            held[op.process] = (op.key, op.value)
        else:
            del held[op.process]


def test_older_versions_are_those_of_transactions_that_ended() -> None:
    def kinds(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        return stream.choice(("write", "read-at")), keys[0], None, unique

    def completion(op: Op, draws: Stream) -> tuple[int, Op]:
        ext = {"start_ts": op.time_ns + 1} if op.f == "write" else None
        return 10, msgspec.structs.replace(op, type="ok", ext=ext)

    generator = AtOlderVersions(SlidingTxns(draw=kinds, width=1))
    history = simulate(clients(limit(100, generator)), completion=completion, seed=1)
    ended: set[int] = set()
    asked = 0
    for op in history:
        if op.type == "ok" and op.f == "write":
            ended.add(op.ext["start_ts"])  # type: ignore[index]
        if op.type == "invoke" and op.f == "read-at":
            asked += 1
            assert op.value[0] in ended
    assert asked > 30
