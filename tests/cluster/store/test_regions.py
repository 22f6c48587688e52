"""Several regions on three to five stores: splits, changes of peers, births and ends, step by step."""

from __future__ import annotations

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages.region import Epoch, Peer, PeerRole, Region

VOTERS = (Peer(1, 1), Peer(2, 2), Peer(3, 3))


def region_of(world, number=1):
    """A region's leader, as the highest term says, and its description there."""
    peers = [
        (store.peers[number].raft.term, name, store.peers[number])
        for name, store in world.stores.items()
        if number in store.peers and store.peers[number].raft.role.value == "leader"
    ]
    _, name, peer = max(peers)
    return name, peer.region


def lead(world, number=1):
    def led():
        return any(
            number in store.peers and store.peers[number].raft.knows_all
            for store in world.stores.values()
        )

    assert world.run_ms(10_000, led), f"nobody leads region {number}"
    return region_of(world, number)


def ask(world, key, kind=m.RawGet, *arguments, number=None):
    """As a client that knows everything."""
    for store in world.stores.values():
        for peer in store.peers.values():
            region = peer.region
            if region is not None and region.covers(key) and peer.raft.knows_all:
                epoch = region.epoch
                context = m.Context(region.id, epoch.conf_version, epoch.version)
                return world.call(store.env.node, kind(key, *arguments, context))
    return None


def do(world, verb, number=1, **arguments):
    name, _ = lead(world, number)
    answer = world.stores[name].control(verb, {"region": number, **arguments})
    assert answer["started"], answer
    world.run_ms(1500)


def split(world, key, new, peers, number=1):
    do(world, "split", number, key=key, id=new, peers=peers)


def regions(world):
    """Region ids of each store."""
    return {name: sorted(store.peers) for name, store in world.stores.items()}


def agree(world, number):
    """All replicas of the region are equal; how many there are."""
    dumps = [
        store.control("dump", {"region": number})
        for store in world.stores.values()
        if number in store.peers
    ]
    assert len({(dump["applied"], dump["digest"]) for dump in dumps}) == 1, dumps
    return len(dumps)


@pytest.fixture
def world(new_world):
    world = new_world()
    world.start()
    return world


@pytest.fixture
def five(new_world):
    """Three stores with the first region, two that are empty."""
    world = new_world(("n1", "n2", "n3", "n4", "n5"), first_stores=("n1", "n2", "n3"))
    world.start()
    return world


def test_a_split_gives_two_regions_that_serve_their_own_keys(world):
    lead(world)
    for key in (b"a", b"m", b"z"):
        assert ask(world, key, m.RawPut, b"1").error is None
    split(world, b"m", 7, (71, 72, 73))
    _, left = lead(world, 7)
    _, right = lead(world, 1)
    assert (left.id, left.start, left.end, left.epoch) == (7, b"", b"m", Epoch(1, 2))
    assert (right.id, right.start, right.end, right.epoch) == (1, b"m", b"", Epoch(1, 2))
    assert left.peers == (Peer(71, 1), Peer(72, 2), Peer(73, 3))
    for key in (b"a", b"m", b"z"):
        assert ask(world, key).value == b"1"
        assert ask(world, key, m.RawPut, b"2").error is None
    world.run_ms(1000)
    assert agree(world, 1) == agree(world, 7) == 3


def test_clients_of_the_old_region_are_told_of_the_new_ones(world):
    name, _ = lead(world)
    split(world, b"m", 7, (71, 72, 73))
    name, right = region_of(world)
    _, left = region_of(world, 7)
    old = world.call(name, m.RawPut(b"z", b"1"))
    assert old.error == m.EpochNotMatch(1, 2, (right, left))
    wrong = m.Context(1, 1, 2)
    assert world.call(name, m.RawGet(b"a", wrong)).error == m.KeyNotInRegion(b"a", 1, b"m", b"")
    assert world.call(name, m.RawPut(b"a", b"1", wrong)).error == (
        m.KeyNotInRegion(b"a", 1, b"m", b"")
    )
    assert world.call(name, m.RawScan(b"z", b"", 5, wrong)).pairs == ()
    late = m.Context(1, 1, 3)
    assert isinstance(world.call(name, m.RawGet(b"z", late)).error, m.EpochNotMatch)


def test_writes_behind_a_split_wait_for_it_and_hear_of_the_new_regions(world):
    name, _ = lead(world)
    world.stores[name].control("split", {"key": "m", "id": 7, "peers": (71, 72, 73)})
    write = world.ask(name, m.RawPut(b"a", b"1"))
    world.run_ms(1000)
    assert isinstance(world.replies[write].error, m.EpochNotMatch)
    assert ask(world, b"a").value is None


@pytest.mark.parametrize("how", ["kill", "power"])
def test_all_regions_are_there_again_after_a_restart(world, how):
    lead(world)
    for key in (b"a", b"g", b"z"):
        ask(world, key, m.RawPut, b"1")
    split(world, b"m", 7, (71, 72, 73))
    lead(world, 7)
    ask(world, b"b", m.RawPut, b"2")
    split(world, b"c", 8, (81, 82, 83), number=7)
    lead(world, 8)
    getattr(world, how)(*world.nodes)
    world.start()
    for number in (1, 7, 8):
        lead(world, number)
    assert regions(world) == {name: [1, 7, 8] for name in world.nodes}
    found = [ask(world, key).value for key in (b"a", b"b", b"g", b"z")]
    assert found == [b"1", b"2", b"1", b"1"]
    for store in world.stores.values():
        assert len({peer.region.epoch for peer in store.peers.values()}) == 2
    name, _ = lead(world, 8)
    world.stores[name].control("compact", {"region": 8})
    world.run_ms(500)
    world.power(*world.nodes)
    world.start()
    lead(world, 8)
    assert ask(world, b"a").value == b"1"


def test_a_power_loss_between_a_split_and_its_sync_leaves_the_parent_to_split_again(world):
    name, _ = lead(world)
    ask(world, b"a", m.RawPut, b"1")
    for disk in world.disks.values():
        disk.sync_ns = 1_000_000
    world.stores[name].control("split", {"key": "m", "id": 7, "peers": (71, 72, 73)})
    assert world.run_ms(1000, lambda: any(7 in store.peers for store in world.stores.values()))
    world.power(*world.nodes)
    world.start()
    lead(world, 7)
    assert ask(world, b"a").value == b"1"
    assert regions(world) == {name: [1, 7] for name in world.nodes}


def test_regions_of_one_store_share_their_syncs(world):
    lead(world)
    split(world, b"m", 7, (71, 72, 73))
    first, _ = lead(world, 1)
    second, _ = lead(world, 7)
    assert first == second  # the new one is led where the old one is
    before = world.stores[first].status()["syncs"]
    context = m.Context(version=2)
    tokens = [world.ask(first, m.RawPut(b"n%d" % n, b"v", context)) for n in range(20)]
    context = m.Context(7, version=2)
    tokens += [world.ask(first, m.RawPut(b"b%d" % n, b"v", context)) for n in range(20)]
    world.run_ms(20)
    assert all(world.replies[token].error is None for token in tokens)
    assert world.stores[first].status()["syncs"] - before <= 3


def test_a_peer_is_added_caught_up_promoted_and_removed(five):
    lead(five)
    for number in range(10):
        assert ask(five, b"k%d" % number, m.RawPut, b"v").error is None
    do(five, "peers", changes=[("learn", "n4", 14)])
    _, region = lead(five)
    assert region.peers == (*VOTERS, Peer(14, 4, PeerRole.LEARNER))
    assert region.epoch == Epoch(2, 1)
    five.run_ms(2000)
    assert agree(five, 1) == 4
    do(five, "peers", changes=[("add", "n4", 14)])
    name, _ = lead(five)
    victim = next(one for one in ("n1", "n2", "n3") if one != name)
    old = int(victim[1])
    do(five, "peers", changes=[("remove", victim, old)])
    five.run_ms(2000)
    _, region = lead(five)
    assert region.epoch == Epoch(4, 1)
    assert regions(five)[victim] == []
    assert five.stores[victim].status()["role"] == "empty"
    for power in (victim, "n4"):
        five.power(power)
        five.start(power)
    five.run_ms(2000)
    assert regions(five)[victim] == []
    assert agree(five, 1) == 3
    # Another peer may sit there later, of a larger id.
    do(five, "peers", changes=[("add", victim, 22)])
    five.run_ms(3000)
    assert agree(five, 1) == 4
    assert five.stores[victim].peers[1].peer_id == 22


def test_a_joint_change_exchanges_two_stores(five):
    lead(five)
    ask(five, b"k", m.RawPut, b"v")
    for node, peer in (("n4", 14), ("n5", 15)):
        do(five, "peers", changes=[("learn", node, peer)])
    name, region = lead(five)
    going = [peer for peer in VOTERS if f"n{peer.store_id}" != name]
    changes = [("add", "n4", 14), ("add", "n5", 15)]
    changes += [("learn", f"n{peer.store_id}", peer.id) for peer in going]
    do(five, "peers", changes=changes, joint=True)
    _, region = lead(five)
    assert region.epoch == Epoch(7, 1)  # two learners, four changes
    roles = {peer.role for peer in region.peers}
    assert roles == {PeerRole.VOTER, PeerRole.INCOMING_VOTER, PeerRole.DEMOTING_VOTER}
    do(five, "peers", changes=[], joint=True)
    _, region = lead(five)
    assert region.epoch == Epoch(11, 1)
    for peer in going:
        do(five, "peers", changes=[("remove", f"n{peer.store_id}", peer.id)])
    five.run_ms(1000)
    assert sorted(n for n, ids in regions(five).items() if ids) == sorted([name, "n4", "n5"])
    assert ask(five, b"k").value == b"v"
    assert agree(five, 1) == 3


def test_a_peer_that_was_away_at_its_removal_is_told_and_goes(five):
    name, _ = lead(five)
    away = next(one for one in ("n1", "n2", "n3") if one != name)
    five.isolate(away)
    do(five, "peers", changes=[("remove", away, int(away[1]))])
    assert regions(five)[away] == [1]
    five.cuts.clear()
    five.run_ms(10_000)
    assert regions(five)[away] == []
    lead(five)


def test_a_peer_that_comes_in_anothers_place_ends_it(five):
    name, _ = lead(five)
    away = next(one for one in ("n1", "n2", "n3") if one != name)
    five.kill(away)
    do(five, "peers", changes=[("remove", away, int(away[1]))])
    do(five, "peers", changes=[("add", away, 30)])
    five.start(away)
    five.run_ms(5000)
    assert five.stores[away].peers[1].peer_id == 30
    assert agree(five, 1) == 3


def test_a_store_that_was_away_during_a_split_takes_both_parts(world):
    name, _ = lead(world)
    away = next(one for one in world.nodes if one != name)
    world.kill(away)
    split(world, b"m", 7, (71, 72, 73))
    lead(world, 7)
    for number in range(10):
        assert ask(world, b"a%d" % number, m.RawPut, b"v").error is None
        assert ask(world, b"z%d" % number, m.RawPut, b"v").error is None
    for number in (1, 7):
        leader, _ = lead(world, number)
        peer = world.stores[leader].peers[number]
        peer._compact(tail=0)  # the split is no more in the log
    world.start(away)
    world.run_ms(15_000)
    assert agree(world, 1) == agree(world, 7) == 3


def test_what_makes_no_sense_is_refused_before_anything_is_written(five):
    name, _ = lead(five)
    peer = five.stores[name].peers[1]
    other = five.stores[next(n for n in ("n1", "n2", "n3") if n != name)].peers[1]
    last = peer.raft.last_index
    assert isinstance(other.split((b"m",), ()), m.NotLeader)
    assert isinstance(peer.split((b"",), ()), m.OtherError)
    assert isinstance(peer.split((), (), epoch=Epoch(9, 9)), m.EpochNotMatch)
    store = five.stores[name]
    for changes in ([("remove", "n4", 14)], [("add", "n2", 99)]):
        assert not store.control("peers", {"changes": changes})["started"]
    own = [("remove", name, store.config.store_id)]
    assert not store.control("peers", {"changes": own})["started"]
    assert peer.raft.last_index == last
    store.control("peers", {"changes": [("learn", "n4", 14)]})
    assert isinstance(peer.split((b"m",), ()), m.ServerIsBusy)  # one at a time
    with pytest.raises(ValueError, match="no peer of region 9"):
        store.control("split", {"region": 9})
    with pytest.raises(ValueError, match="wants key"):
        store.control("split", {})
    with pytest.raises(ValueError, match="want add"):
        store.control("peers", {"changes": [("ad", "n4", 14)]})


def test_regions_tells_all(world):
    lead(world)
    split(world, b"m", 7, (71, 72, 73))
    told = world.stores["n1"].control("regions", {})["regions"]
    assert [(one["id"], one["start"], one["end"]) for one in told] == [
        (1, "6d", ""),
        (7, "", "6d"),
    ]
    assert set(world.stores["n1"].status()["regions"]) == {"1", "7"}
    assert Region(1).covers(b"")
