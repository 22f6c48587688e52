"""Faults of the system itself: seen by what the nodes say, denied where the lever does nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain import catalog
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.cluster.mvcc.codec import decode_key, encode_key
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.workload import TxnOptions
from splitbrain.errors import Unsupported
from splitbrain.nemesis import looks
from splitbrain.nemesis.levers import LEVERS, key_between
from splitbrain.nemesis.packages import PACKAGES, SYSTEM, make_packages

from .conftest import NODES, Deaf, Stand, effects

PD = sorted(name for name, lever in LEVERS.items() if lever.startswith("pd-"))


async def write(stand: Stand) -> None:
    """A few keys: something to compact, and to cut a region between."""
    session = await stand.running.txn("n1")  # type: ignore[attr-defined]
    for number in range(8):

        async def put(txn: Any, key: str = f"key-{number}") -> None:
            await txn.put(key, 1)

        await session.transact(put, TxnOptions(), Footprint())


# --- seen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", ["kv", "txn"])
@pytest.mark.parametrize("fault", ["transfer", "shuffle-leaders"])
def test_a_leadership_moves(sim, fault: str, vocabulary: str) -> None:
    async def body(stand: Stand) -> None:
        before = await looks.regions(stand.world)
        value = await stand.start(fault)
        assert effects(value) == [True]
        after = await looks.regions(stand.world)
        assert {n: r.leader for n, r in after.items()} != {
            n: r.leader for n, r in before.items()
        }

    sim(body, vocabulary=vocabulary)


def test_regions_split_and_their_peers_move(sim) -> None:
    async def body(stand: Stand) -> None:
        await write(stand)
        (whole,) = (await looks.regions(stand.world)).values()
        for number in range(3):
            assert effects(await stand.start("split", id=f"split-{number}")) == [True]
        parts = sorted((await looks.regions(stand.world)).values(), key=lambda one: one.start)
        assert len(parts) >= 4  # an attempt given up may come true later
        assert [one.end for one in parts[:-1]] == [one.start for one in parts[1:]]
        assert (parts[0].start, parts[-1].end) == (whole.start, whole.end)
        value = await stand.start("move-peer", region=parts[1].id)
        assert effects(value) == [True]
        moved = (await looks.regions(stand.world))[parts[1].id]
        asked = value["parameters"]
        assert asked["to"] in moved.peers
        assert asked["from"] not in moved.peers

    sim(body, vocabulary="txn", replicas=3)


def test_the_driver_s_leadership_moves_and_is_a_target(sim) -> None:
    async def body(stand: Stand) -> None:
        value = await stand.start("pd-transfer")
        assert effects(value) == [True]
        leader = looks.pd_leader(await looks.members(stand.world))
        assert leader == value["parameters"]["to"] != value["parameters"]["from"]
        value = await stand.start("partition", shape=looks.PD_SHAPE)
        assert {i for i, j in value["parameters"]["cut"] if leader not in (i, j)} == set()
        await stand.stop("partition")
        leader = looks.pd_leader(await looks.members(stand.world))
        value = await stand.start("kill", looks.PD_LEADER)
        assert (value["targets"], effects(value)) == ([leader], [True])
        await stand.stop("kill")

    sim(body, vocabulary="txn")


def test_an_evicted_store_leads_nothing_until_it_is_healed(sim) -> None:
    async def evicting(stand: Stand) -> list[int]:
        found = await looks.members(stand.world)
        return found[looks.pd_leader(found) or ""]["cluster"]["evicting"]  # type: ignore[no-any-return]

    async def body(stand: Stand) -> None:
        for heal in (False, True):
            value = await stand.start("evict-leader")
            assert effects(value) == [True]
            (node,) = value["targets"]
            assert await evicting(stand) == [NODES.index(node) + 1]
            if heal:
                await stand.heal()
            else:
                assert effects(await stand.stop("evict-leader")) == [True]
            assert await evicting(stand) == []

    sim(body, vocabulary="txn")


def test_nodes_restart_one_after_the_other(sim) -> None:
    async def body(stand: Stand) -> None:
        await stand.start("kill", "n2")
        value = await stand.start("restart", "all")
        assert effects(value) == [True, "kill", True, True, True]
        await stand.stop("kill")
        states = {name: node.state() for name, node in stand.testbed.nodes.items()}
        assert {(one.status, one.incarnation) for one in states.values()} == {("running", 2)}

    sim(body, vocabulary="txn")


def test_a_log_is_compacted(sim) -> None:
    async def body(stand: Stand) -> None:
        await write(stand)
        leader = await stand.leader()
        assert effects(await stand.start("compact", leader)) == [True]
        assert effects(await stand.start("compact", leader, id="again")) == [None]

    sim(body, vocabulary="txn")


# --- denied ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*LEVERS, "restart"])
def test_a_lever_that_does_nothing_is_denied(sim, fault: str) -> None:
    async def body(stand: Stand) -> None:
        await write(stand)
        nodes = {n: Deaf(node, ("stop",), {}) for n, node in stand.testbed.nodes.items()}
        testbed = Deaf(stand.testbed, (), {"nodes": nodes, "node": nodes.__getitem__})
        world = msgspec.structs.replace(
            stand.world,
            running=Deaf(stand.running, ("admin",), {}),  # type: ignore[arg-type]
            testbed=testbed,  # type: ignore[arg-type]
        )
        stand.nemesis = make_packages(world)[0].nemesis
        targets = ("all",) if fault in ("compact", "restart") else ()
        proof = effects(await stand.start(fault, *targets))
        assert set(proof) - {None} == {False}

    sim(body, vocabulary="txn", replicas=3)


# --- refused --------------------------------------------------------------------------------------


def refused(workload: str = "register", nodes: int = 5, **changes: Any) -> str:
    spec = TestSpec(workload=workload, substrate="sim", nodes=NODES[:nodes], **changes)
    with pytest.raises(Unsupported) as caught:
        catalog.resolve(spec, catalog.builtin())
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_raw_run_has_no_placement_driver() -> None:
    for name in PD:
        assert f"fault {name!r} needs a placement driver" in refused(nemesis=(name,))
    for option in ({"targets": "leader,pd-leader"}, {"shapes": looks.PD_SHAPE}):
        assert "needs a placement driver" in refused(nemesis=("kill",), options=option)
    schedule = (ScheduledFault(time_ns=1, f="start-kill", targets=("pd-leader",)),)
    assert "'pd-leader' needs a placement driver" in refused(schedule=schedule)


def test_few_nodes_leave_nowhere_to_go() -> None:
    assert "needs 4 nodes or more" in refused("append", 3, nemesis=("move-peer",))
    assert "needs a store without a peer" in refused("append", nemesis=("move-peer",))
    assert "needs 3 nodes or more" in refused("append", 2, nemesis=("pd-transfer",))


def test_all_is_what_it_was() -> None:
    assert not SYSTEM.keys() & PACKAGES.keys()
    for workload in ("register", "append"):
        spec = TestSpec(workload=workload, substrate="sim", nodes=NODES)
        assert not SYSTEM.keys() & set(catalog.inside_model(spec, catalog.builtin()))


# --- keys -----------------------------------------------------------------------------------------


@given(st.binary(max_size=12), st.binary(max_size=12), st.floats(0, 1))
def test_a_random_key_lies_inside(one: bytes, other: bytes, share: float) -> None:
    low, high = sorted((one, other))
    start = encode_key(low) if low else b""
    end = encode_key(high) if high else b""
    key = key_between(start, end, share)
    if key is not None:
        assert start < key
        assert not end or key < end
        assert encode_key(decode_key(key)) == key
        assert decode_key(key).isascii()
