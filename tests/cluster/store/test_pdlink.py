"""Stores and the placement driver together: each node runs one of both."""

from __future__ import annotations

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.factory import build_store
from splitbrain.cluster.messages import PdRaftBatch, pd, pd_stores, txn
from splitbrain.cluster.messages.pd_types import StoreState
from splitbrain.cluster.pd.answers import ANSWER
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.factory import build_pd

from .test_regions import agree, ask, lead

PD = ("n1", "n2", "n3")


class Node:
    """A store, and on some nodes a member of PD, behind one address."""

    def __init__(self, config, env):
        self.store = build_store(config, env)
        self.env, self.pd = env, None
        if env.node in config.pd:
            self.pd = build_pd(
                PdConfig(node=env.node, nodes=config.pd, scale=config.scale), env
            )

    def __getattr__(self, name):
        return getattr(self.store, name)

    def start(self):
        self.store.start()
        if self.pd is not None:
            self.pd.start()

    def on_message(self, sender, message):
        kind = type(message)
        if kind in ANSWER or kind is PdRaftBatch:
            if self.pd is not None:
                self.pd.on_message(sender, message)
        else:
            self.store.on_message(sender, message)


@pytest.fixture
def build(new_world):
    def build(nodes=("n1", "n2", "n3"), **options):
        world = new_world(nodes, make=Node, pd=PD, **options)
        world.start()
        assert world.run_ms(20_000, lambda: all(told(world))), "a store is not known to PD"
        return world

    return build


def told(world):
    return [store.status().get("pd", {}).get("registered") for store in world.stores.values()]


def of_pd(world, request):
    """The leader's answer."""
    for name in PD:
        reply = world.call(name, request, 1000)
        if reply is not None and reply.error is None:
            return reply
    return None


def known(world):
    """PD's regions from left to right, if it knows all of them, and a leader of each."""
    regions = of_pd(world, pd.ScanRegions()).regions
    ends = [one.region.end for one in regions]
    starts = [one.region.start for one in regions]
    assert starts == [b"", *ends[:-1]]
    assert ends[-1] == b""
    return [one for one in regions if one.leader is not None]


def test_stores_register_and_regions_are_told(build):
    world = build()
    name, region = lead(world)
    world.run_ms(2000)
    (one,) = known(world)
    assert one.region == region
    assert one.leader == region.peer_on(world.nodes.index(name) + 1)
    stores = of_pd(world, pd.GetAllStores()).stores
    assert [(store.id, store.node) for store in stores] == [(1, "n1"), (2, "n2"), (3, "n3")]
    world.stores[name].control("transfer-leader", {"to": next(n for n in PD if n != name)})
    world.run_ms(3000)
    name, _ = lead(world)
    assert known(world)[0].leader.store_id == world.nodes.index(name) + 1


def test_a_region_that_has_grown_is_split_with_ids_from_pd(build):
    world = build(split_keys=20)
    for number in range(100):
        assert world.run_ms(4000, lambda number=number: write(world, number))
    world.run_ms(5000)
    regions = known(world)
    assert len(regions) >= 4
    ids = [one.region.id for one in regions]
    peers = [peer.id for one in regions for peer in one.region.peers]
    assert len(set(ids)) == len(ids)
    assert len(set(peers)) == len(peers)
    for one in regions:
        assert agree(world, one.region.id) == 3
        assert len(world.stores["n1"].peers[one.region.id].state) <= 40
    assert ask(world, b"050").value == b"v"


def write(world, number):
    key = b"%03d" % number
    for store in list(world.stores.values()):
        for peer in store.peers.values():
            region = peer.region
            if region is not None and region.covers(key) and peer.raft.knows_all:
                context = m.Context(region.id, 1, region.epoch.version)
                reply = world.call(store.env.node, m.RawPut(key, b"v", context), 1000)
                return reply is not None and reply.error is None
    return False


def test_a_store_is_emptied_step_by_step_where_pd_wants_it(build):
    world = build(("n1", "n2", "n3", "n4"), first_stores=PD)
    lead(world)
    for number in range(10):
        write(world, number)
    assert of_pd(world, pd.SetStoreState(2, StoreState.OFFLINE)) is not None

    def empty():
        return not world.stores["n2"].peers and bool(world.stores["n4"].peers)

    assert world.run_ms(120_000, empty), [store.status() for store in world.stores.values()]
    world.run_ms(3000)
    _, region = lead(world)
    assert sorted(peer.store_id for peer in region.peers) == [1, 3, 4]
    assert agree(world, 1) == 3
    assert known(world)[0].region == region


def test_a_new_leader_learns_a_timestamp_before_async_commit(build):
    world = build(mode="txn")
    name, _ = lead(world)
    put = (txn.Mutation(txn.MutationKind.PUT, b"k", b"1"),)
    request = txn.Prewrite(put, b"k", 10, use_async_commit=True)
    world.run_ms(2000)
    reply = world.call(name, request)
    assert reply.region_error is None
    assert reply.min_commit_ts > 1 << 18  # above the timestamp that PD has given
    assert world.stores[name].memory.max_ts < reply.min_commit_ts


def test_late_answers_are_not_taken_for_others(build):
    world = build(mode="txn")
    name, _ = lead(world)
    world.run_ms(1000)
    link, peer = world.stores[name]._pd, world.stores[name].peers[1]
    peer.max_ts_term = 0
    link.tick(world.now)
    before = world.stores[name].memory.max_ts
    link.on_answer(pd.TsoReply(1 << 40, 1, link._tso_count % 1024 + 1))
    assert (peer.max_ts_term, world.stores[name].memory.max_ts) == (0, before)
    reply = pd_stores.AskSplitReply()
    link.on_answer(reply)  # nobody asked
    world.run_ms(1000)
    assert peer.max_ts_term == peer.raft.term
