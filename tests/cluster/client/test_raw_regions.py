"""Raw sessions over regions that split and change their leader; scans and batches across them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.options import ClientOptions
from splitbrain.cluster.client.raw import Options, RawClient
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.env.random import Random
from splitbrain.errors import Definite, Undetermined

from .scripted import NODES, PEERS, Scripted

REPLY = {
    m.RawGet: m.RawGetReply,
    m.RawPut: m.RawPutReply,
    m.RawDelete: m.RawDeleteReply,
    m.RawCas: m.RawCasReply,
    m.RawScan: m.RawScanReply,
    m.RawBatchGet: m.RawBatchGetReply,
    m.RawBatchPut: m.RawBatchPutReply,
    m.RawBatchDelete: m.RawBatchDeleteReply,
}


class RawStores:
    """One dict of values, regions over it, each with a leader; strict about contexts."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.regions = [Region(1, peers=PEERS)]
        self.leaders = {1: "n1"}
        self.disturb: Any = lambda: None
        self.fail: dict[int, Any] = {}

    def split(self, key: bytes) -> None:
        old = next(r for r in self.regions if r.covers(key))
        if old.start == key:
            return
        number = len(self.regions) + 1
        epoch = Epoch(1, old.epoch.version + 1)
        left = msgspec.structs.replace(old, end=key, epoch=epoch)
        peers = tuple(Peer(number * 10 + n, n) for n in (1, 2, 3))
        self.regions.remove(old)
        self.regions += [left, Region(number, key, old.end, epoch, peers)]
        self.leaders[number] = self.leaders[old.id]

    def __call__(self, node: str, request: Any) -> Any:
        self.disturb()
        reply, context = REPLY[type(request)], request.context
        region = next((r for r in self.regions if r.id == context.region_id), None)
        if region is None:
            return reply(error=m.RegionNotFound(context.region_id))
        if context.store_id != NODES.index(node) + 1:
            return reply(error=m.StoreNotMatch())
        if context.peer_id not in [peer.id for peer in region.peers]:
            return reply(error=m.PeerNotMatch())
        follower = context.replica_read is not ReplicaRead.LEADER
        if node != self.leaders[region.id] and not follower:
            return reply(error=m.NotLeader(self.leaders[region.id]))
        if context.version != region.epoch.version:
            return reply(error=m.EpochNotMatch(regions=tuple(self.regions)))
        if region.id in self.fail:
            broken = self.fail[region.id]
            return broken if isinstance(broken, Exception) else reply(error=broken)
        return self.serve(request, region)

    def serve(self, request: Any, region: Region) -> Any:
        values = self.values
        match request:
            case m.RawScan():
                low, high = request.start, request.end
                if request.reverse:
                    low, high = high, low
                assert low >= region.start
                assert not region.end or (high and high <= region.end)
                keys = sorted(k for k in values if k >= low and (not high or k < high))
                keys = keys[::-1] if request.reverse else keys
                return m.RawScanReply(tuple((k, values[k]) for k in keys[: request.limit]))
            case m.RawBatchGet():
                assert all(map(region.covers, request.keys))
                found = tuple((k, values[k]) for k in request.keys if k in values)
                return m.RawBatchGetReply(found)
            case m.RawBatchPut():
                assert all(region.covers(key) for key, _ in request.pairs)
                values.update(request.pairs)
                return m.RawBatchPutReply()
            case m.RawBatchDelete():
                assert all(map(region.covers, request.keys))
                for key in request.keys:
                    values.pop(key, None)
                return m.RawBatchDeleteReply()
        assert region.covers(request.key)
        if isinstance(request, m.RawPut):
            values[request.key] = request.value
            return m.RawPutReply()
        return m.RawGetReply(values.get(request.key))


def session(
    stores: RawStores, *, node: str = "n1", **options: Any
) -> tuple[RawClient, Scripted]:
    network = Scripted(stores)
    network.pd_regions = lambda: tuple(stores.regions)
    stream = Random(1).stream("client")
    access = Access(network, network, NODES, stream, ClientOptions(), encoded=False)
    made = RawClient(
        network, network, NODES, stream, node=node, options=Options(**options), access=access
    )
    return made, network


def several(*keys: bytes) -> RawStores:
    stores = RawStores()
    for key in keys:
        stores.split(key)
    return stores


KEYS = [b"k%d" % n for n in range(8)]


async def read(one: RawClient, draw: random.Random, model: dict[bytes, bytes]) -> None:
    """One read; oracle: a dict."""
    shape, some = draw.randrange(4), draw.sample(KEYS, draw.randint(1, 5))
    low, high = sorted(draw.choices([b"", *KEYS], k=2))
    limit = draw.choice((2, 100))
    inside = [key for key in sorted(model) if key >= low and (not high or key < high)]
    if shape == 0:
        assert await one.batch_get(some) == {k: model[k] for k in some if k in model}
    elif shape == 1:
        got = await one.scan(low, high, limit=limit)
        assert got == tuple((key, model[key]) for key in inside[:limit])
    elif shape == 2:
        got = await one.scan(high, low, limit=limit, reverse=True)
        assert got == tuple((key, model[key]) for key in inside[::-1][:limit])
    else:
        assert await one.get(some[0]) == model.get(some[0])


async def play(one: RawClient, draw: random.Random) -> None:
    model: dict[bytes, bytes] = {}
    for turn in range(40):
        value, some = b"%d" % turn, draw.sample(KEYS, draw.randint(1, 5))
        shape = draw.randrange(6)
        if shape == 0:
            await one.put(some[0], value)
            model[some[0]] = value
        elif shape == 1:
            await one.batch_put([(key, value) for key in some])
            model.update(dict.fromkeys(some, value))
        elif shape == 2:
            await one.batch_delete(some)
            model = {key: value for key, value in model.items() if key not in some}
        else:
            await read(one, draw, model)


@pytest.mark.parametrize("seed", range(30))
def test_operations_while_regions_split_and_leaders_move(seed: int) -> None:
    draw, stores = random.Random(seed), several(b"k3")

    def disturb() -> None:
        if draw.random() < 0.05 and len(stores.regions) < 6:
            stores.split(draw.choice(KEYS))
        if draw.random() < 0.1:
            stores.leaders[draw.choice(list(stores.leaders))] = draw.choice(NODES)

    stores.disturb = disturb
    one, _ = session(stores, node=draw.choice(NODES), op_timeout_s=60.0)
    asyncio.run(play(one, draw))


def test_a_batch_of_which_one_part_is_done_and_another_refused_is_undetermined() -> None:
    for failing, end in ((1, Definite), (2, Undetermined)):
        stores = several(b"m")
        stores.fail = {failing: m.EntryTooLarge()}
        one, _ = session(stores)
        with pytest.raises(end) as error:
            asyncio.run(one.batch_put([(b"x", b"1"), (b"a", b"1")]))
        assert error.value.code == ("too-large" if failing == 1 else "partial")


def test_a_part_of_a_batch_without_answer_is_undetermined_and_not_sent_again() -> None:
    stores = several(b"m")
    stores.fail = {2: TimeoutError()}
    one, network = session(stores)
    with pytest.raises(Undetermined, match="timeout"):
        asyncio.run(one.batch_put([(b"x", b"1"), (b"a", b"1")]))
    assert network.kinds() == ["RawBatchPut"] * 2


def test_a_session_asks_its_own_node_first_in_each_region() -> None:
    stores = several(b"m")
    stores.leaders = {1: "n2", 2: "n3"}
    one, network = session(stores, node="n3")

    async def main() -> None:
        await one.put(b"a", b"1")
        await one.put(b"x", b"1")
        await one.put(b"a", b"2")

    asyncio.run(main())
    assert network.nodes == ["n3", "n2", "n3", "n2"]


def test_reads_of_followers_are_served_by_the_sessions_own_node() -> None:
    stores = several()
    one, network = session(stores, node="n3", read_from="follower")

    async def main() -> None:
        assert await one.get(b"a") is None
        await one.put(b"a", b"1")
        assert await one.get(b"a") == b"1"

    asyncio.run(main())
    assert network.nodes == ["n3", "n3", "n1", "n3"]
    reads = [r.context.replica_read for _, r in network.sent]
    assert reads[0] is ReplicaRead.FOLLOWER
    assert reads[1] is reads[2] is ReplicaRead.LEADER
