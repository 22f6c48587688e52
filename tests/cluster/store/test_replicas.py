"""Replicas compared at one entry of the log: equal after storms, and each kind of damage named."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.replicas import ReplicaChecker, is_complete
from splitbrain.checkers.sound import result_problems
from splitbrain.cluster import messages as m
from splitbrain.cluster.mvcc.codec import encode_key, versioned
from splitbrain.cluster.mvcc.records import WriteKind, WriteRecord, encode_record
from splitbrain.cluster.storage.columns import Column
from splitbrain.history.history import History
from splitbrain.history.op import Op
from splitbrain.systems.minitikv.replicas import ReplicaCheck


@pytest.fixture
def world(new_world):
    world = new_world(snapshot_every=20)
    world.start()
    leader = world.leader()
    for number in range(60):
        world.call(leader, m.RawPut(b"%03d" % number, b"value"))
    world.run_ms(500)
    return world


def compare(world):
    """What a check of all regions comes to."""

    def node(name):
        async def control(verb, arguments, timeout_s):
            if name not in world.stores:
                raise ConnectionError(name)
            return world.stores[name].control(verb, arguments)

        return SimpleNamespace(control=control)

    async def sleep(seconds):
        world.run_ms(1000 * seconds)

    pacer = SimpleNamespace(monotonic_ns=lambda: world.now, sleep=sleep)
    check = ReplicaCheck(
        SimpleNamespace(node=node), world.nodes, pacer, limit_s=5.0, poll_s=0.05
    )
    return asyncio.run(check.run())


def judged(*values):
    ops = []
    for value in values:
        ops += (
            Op(process=0, type="invoke", f="replicas"),
            Op(process=0, type="ok", f="replicas", value=value),
        )
    history = History(ops)
    result = ReplicaChecker().check(history, {}, Budget())
    assert not result_problems(result, history)
    return result


def change(world, node, *writes):
    world.stores[node].peers[1].state.apply(writes)


def test_equal_replicas_are_equal_whatever_happened_on_the_way(world):
    for victim in world.nodes:
        world.power(victim)
        leader = world.leader()
        for number in range(25):
            world.call(leader, m.RawPut(b"%03d" % number, victim.encode()))
        world.mend()
        world.run_ms(1000)
    (found,) = compare(world)
    assert set(found["roots"]) == set(world.nodes)
    assert len(set(found["roots"].values())) == 1
    assert (found["skipped"], found["keys"]) == ({}, 60)
    assert is_complete([found])
    assert judged([found]).verdict == "valid"


@pytest.mark.parametrize(("key", "value"), [(b"017", b"valuE"), (b"017", None), (b"new", b"1")])
def test_a_flipped_byte_a_lost_key_and_one_too_many_are_named(world, key, value):
    old = world.stores["n2"].peers[1].state.get(Column.RAW, key)
    change(world, "n2", (Column.RAW, key, value))
    (found,) = compare(world)

    def text(held):
        return None if held is None else held.decode()

    held = {"n1": text(old), "n2": text(value), "n3": text(old)}
    assert found["diff"] == [{"column": "raw", "key": key.decode(), "version": 0, "held": held}]
    result = judged([found])
    (anomaly,) = result.anomalies
    assert (result.verdict, anomaly.kind, anomaly.key) == (
        "invalid",
        "replica-divergence",
        key.decode(),
    )
    assert f"raw {key.decode()}" in anomaly.explanation
    assert "n2: " in anomaly.explanation


def test_many_differences_are_all_found_and_some_are_told(world):
    change(world, "n3", *((Column.RAW, b"x%d" % number, b"1") for number in range(200)))
    (found,) = compare(world)
    assert (len(found["diff"]), found["more"] > 0) == (50, True)


def test_an_extra_version_is_named_by_key_and_timestamp_and_garbage_is_left_out(world):
    def record(commit_ts, text):
        stored = versioned(encode_key(b"account 1"), commit_ts)
        return (
            Column.WRITE,
            stored,
            encode_record(WriteRecord(WriteKind.PUT, commit_ts - 1, text)),
        )

    for node in world.nodes:
        change(world, node, record(5, b"old"), record(9, b"new"))
    change(world, "n1", record(7, b"between"))
    (found,) = compare(world)
    (diff,) = found["diff"]
    assert (diff["column"], diff["key"], diff["version"]) == ("write", "account 1", 7)
    assert diff["held"] == {"n1": "put of 6: between", "n2": None, "n3": None}
    # From 9 on nobody reads what is older: some replicas may have collected it.
    leader = world.leader()
    begun = world.stores[leader].control("hash", {"safe_point": 9})
    world.run_ms(500)
    place = {"index": begun["index"], "term": begun["term"]}
    roots = [store.control("hash-node", place) for store in world.stores.values()]
    assert len({root["hash"] for root in roots}) == 1
    assert roots[0]["below"] == 61


def test_who_was_away_is_counted_and_never_taken_for_equal(world):
    leader = world.leader()
    away = next(name for name in world.nodes if name != leader)
    world.kill(away)
    (found,) = compare(world)
    assert (len(found["roots"]), found["skipped"]) == (2, {away: "no-answer"})
    assert not is_complete([found])
    assert judged([found]).stats["skipped"] == 1
    # It comes back by a snapshot that is newer than the check.
    for number in range(60):
        world.call(leader, m.RawPut(b"%03d" % number, b"later"))
    world.stores[leader].control("compact", {})
    world.mend()
    world.run_ms(2000)
    place = {"index": found["index"], "term": 99}
    assert world.stores[away].control("hash-node", place) == {"state": "skipped"}
    place = {"index": found["index"] + 1000, "term": 1}
    assert world.stores[away].control("hash-node", place) == {"state": "pending"}


def test_without_two_replicas_nothing_is_said(world):
    two = [name for name in world.nodes if name != world.leader()]
    world.kill(*two)
    found = compare(world)
    result = judged(found)
    assert (result.verdict, result.reason) == ("unknown", "not-compared")
    assert not is_complete(found)
    assert judged().verdict == judged([]).verdict == "unknown"


def test_each_region_is_compared_by_itself(world):
    split = {"key": "030", "id": 7, "peers": [71, 72, 73]}
    assert world.stores[world.leader()].control("split", split)["started"]
    world.run_ms(2000)
    world.stores["n3"].peers[7].state.apply([(Column.RAW, b"011", None)])
    left, right = sorted(compare(world), key=lambda one: -one["region"])
    assert (left["region"], left["diff"][0]["key"], left["more"]) == (7, "011", 0)
    assert (right["region"], len(set(right["roots"].values())), right["keys"]) == (1, 1, 30)
    (anomaly,) = judged([right, left]).anomalies
    assert anomaly.explanation.startswith("replicas of region 7 differ")
