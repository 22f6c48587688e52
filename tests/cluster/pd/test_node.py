"""One PD as its clients see it: members, timestamps, ids, stores, regions, safe points, watching."""

from __future__ import annotations

import pytest

from splitbrain.cluster.messages import pd, pd_errors, pd_gc, pd_stores, pd_types
from splitbrain.cluster.messages.region import Epoch, Peer, Region

UP, OFFLINE, TOMBSTONE = pd_types.StoreState
PEERS = tuple(Peer(number, number) for number in (1, 2, 3))
REGION = Region(1, peers=PEERS)


def store(number):
    return pd_types.StoreMeta(number, f"n{number}")


def heartbeat(region, leader=0, term=6, **others):
    return pd_stores.RegionHeartbeat(region, region.peers[leader], term, **others)


@pytest.fixture
def world(pd_world):
    world = pd_world()
    world.start()
    return world


@pytest.fixture
def founded(world):
    assert world.ask_leader(pd_stores.Bootstrap(store(1), REGION)).error is None
    for number in (2, 3, 4):
        assert world.ask_leader(pd_stores.PutStore(store(number))).error is None
    return world


def test_members_name_the_leader_and_only_it_answers(world):
    leader = world.leader()
    world.run_ms(1000)
    members = tuple(pd_types.PdMember(name, n) for n, name in enumerate(world.nodes, start=1))
    for name in world.nodes:
        answer = world.call(name, pd.GetMembers())
        assert answer == pd.GetMembersReply(members, leader, 1)
        if name != leader:
            error = pd_errors.PdNotLeader(leader)
            assert world.call(name, pd.Tso()) == pd.TsoReply(error=error)
            assert world.call(name, pd.GetStore(1)) == pd.GetStoreReply(error=error)


def test_another_cluster_is_refused(world):
    answer = world.ask_leader(pd.Tso(cluster_id=7))
    assert answer.error == pd_errors.ClusterMismatch(7, 1)


def test_one_alone_serves(pd_world):
    world = pd_world(size=1)
    world.start()
    first = world.ask_leader(pd.Tso(3))
    assert (first.logical, first.count, first.error) == (3, 3, None)
    world.power("n1")
    world.start()
    assert world.ask_leader(pd.Tso()).physical > first.physical


def test_timestamps_follow_the_wall_clock(world):
    leader = world.leader()
    first = world.call(leader, pd.Tso())
    world.wall_offset_ns[leader] += 50_000_000_000
    world.run_ms(3000)
    ahead = world.call(leader, pd.Tso())
    assert ahead.physical - first.physical >= 53_000
    world.wall_offset_ns[leader] = 0
    world.run_ms(3000)  # back: it goes on by the monotonic clock
    assert 3000 <= world.call(leader, pd.Tso()).physical - ahead.physical <= 3100


@pytest.mark.parametrize("count", [0, -1, pd_types.MAX_LOGICAL + 1])
def test_a_batch_that_cannot_be_is_refused(world, count):
    assert isinstance(world.ask_leader(pd.Tso(count)).error, pd_errors.PdInvalid)


def test_full_milliseconds_run_ahead_of_the_clock(world):
    """Batches of a whole millisecond each: physical moves by one for each, none is lost."""
    leader = world.leader()
    tokens = [world.ask(leader, pd.Tso(pd_types.MAX_LOGICAL)) for _ in range(2500)]
    assert world.run_ms(20_000, lambda: all(token in world.replies for token in tokens))
    physical = sorted(world.replies[token].physical for token in tokens)
    assert len(set(physical)) == 2500
    assert all(world.replies[token].error is None for token in tokens)


def test_all_of_a_turn_share_one_round_of_heartbeats(world):
    """However many ask at once, the members exchange a handful of messages."""
    leader = world.leader()
    world.run_ms(1000)
    world.call(leader, pd.Tso())
    before = world.sent
    tokens = [world.ask(leader, pd.Tso()) for _ in range(300)]
    assert world.run_ms(100, lambda: all(token in world.replies for token in tokens))
    assert world.sent - before - len(tokens) <= 8
    logical = [(world.replies[one].physical, world.replies[one].logical) for one in tokens]
    assert logical == sorted(set(logical))


def test_a_cut_off_leader_gives_nothing_though_it_still_believes_that_it_leads(world):
    leader = world.leader()
    assert world.call(leader, pd.Tso()).error is None
    world.isolate(leader)
    token = world.ask(leader, pd.Tso())
    world.run_ms(900)  # less than an election timeout
    assert world.serving() == [leader]
    assert token not in world.replies
    world.run_ms(5000)
    assert isinstance(world.replies[token].error, pd_errors.PdNotLeader)


def test_a_successor_applies_all_before_it_serves(pd_world):
    """The last bound is committed, and only the old leader knows; others stand before it in the log."""
    world = pd_world()
    world.start()
    old = world.leader()
    world.run_ms(1000)
    world.wall_offset_ns[old] = 60_000_000_000
    for number in range(5):
        world.ask(old, pd_gc.UpdateGcSafePoint(number))
    for _ in range(2):  # all that the present bound allows
        world.ask(old, pd.Tso(pd_types.MAX_LOGICAL))
    token = world.ask(old, pd.Tso())
    send = world._send

    def cut(sender, to, message):
        if to == token:
            world.isolate(old)  # before the others are told what is committed
        send(sender, to, message)

    world._send = cut
    for name in world.nodes:
        world.stores[name]._send = world.stores[name].env.transport.send = (
            lambda to, message, n=name: cut(n, to, message)
        )
    assert world.run_ms(3000, lambda: token in world.replies)
    given = world.replies[token]
    assert given.error is None
    world.kill(old)
    world.run_ms(10)
    answer = world.ask_leader(pd.Tso())
    assert (answer.physical, answer.logical) > (given.physical, given.logical)


def test_ids_are_never_given_twice(world):
    given = []
    for round_ in range(6):
        leader = world.leader()
        tokens = [world.ask(leader, pd.AllocId(count)) for count in (1, 7, 900, 1200)]
        world.run_ms(2000, lambda tokens=tokens: all(one in world.replies for one in tokens))
        for token in tokens:
            answer = world.replies.get(token)
            if answer is not None and answer.error is None:
                given += range(answer.id - answer.count + 1, answer.id + 1)
        (world.kill if round_ % 2 else world.power)(leader)
        world.start(leader)
        world.run_ms(3000)
    assert len(given) > 4000
    assert len(given) == len(set(given))
    assert min(given) >= 1000


def test_stores_that_have_not_spoken_yet_are_known_from_the_start(world):
    """A client that is told of the first region's peers must be able to dial them."""
    others = (store(2), store(3))
    assert world.ask_leader(pd_stores.Bootstrap(store(1), REGION, others=others)).error is None
    assert {one.id for one in world.ask_leader(pd.GetAllStores()).stores} == {1, 2, 3}
    assert world.ask_leader(pd_stores.PutStore(store(2))).error is None


def test_a_cluster_is_founded_once(world):
    assert world.ask_leader(pd.GetRegion(b"k")).error == pd_errors.PdNotBootstrapped()
    assert world.ask_leader(pd.GetClusterInfo()) == pd.GetClusterInfoReply(False)
    assert world.ask_leader(pd_stores.PutStore(store(2))).error == pd_errors.PdNotBootstrapped()
    bad = Region(1, b"", b"m", peers=PEERS)
    answer = world.ask_leader(pd_stores.Bootstrap(store(1), bad))
    assert isinstance(answer.error, pd_errors.PdInvalid)
    leader = world.leader()
    tokens = [world.ask(leader, pd_stores.Bootstrap(store(n), REGION)) for n in (1, 2)]
    world.run_ms(1000)
    errors = {type(world.replies[token].error) for token in tokens}
    assert errors == {type(None), pd_errors.PdAlreadyBootstrapped}
    found = world.ask_leader(pd.GetRegion(b"k"))
    assert found == pd.GetRegionReply(pd_types.PdRegion(REGION))
    assert world.ask_leader(pd.GetAllStores()).stores == (store(1),)


def test_what_must_last_lasts(founded):
    left = Region(1, b"", b"m", Epoch(1, 2), PEERS)
    right = Region(9, b"m", b"", Epoch(1, 2), PEERS)
    assert founded.ask_leader(heartbeat(REGION)).error is None
    assert founded.ask_leader(pd_stores.ReportSplit((left, right))).error is None
    assert founded.ask_leader(pd_gc.UpdateGcSafePoint(77)).safe_point == 77
    founded.run_ms(1000)
    founded.power(*founded.nodes)
    founded.start()
    assert founded.ask_leader(pd.GetRegionById(9)).region.region == right
    found = founded.ask_leader(pd.GetPrevRegion(b"z"))
    assert found.region.region == left
    assert found.region.leader == PEERS[0]  # as last heard: better than none
    assert [one.id for one in founded.ask_leader(pd.GetAllStores()).stores] == [1, 2, 3, 4]
    assert founded.ask_leader(pd_gc.GetGcSafePoint()).safe_point == 77


def test_split_ids_are_as_many_as_peers(founded):
    answer = founded.ask_leader(pd_stores.AskSplit(REGION, 2))
    assert answer.error is None
    numbers = [one for ids in answer.ids for one in (ids.region_id, *ids.peer_ids)]
    assert [len(ids.peer_ids) for ids in answer.ids] == [3, 3]
    assert len(set(numbers)) == 8


def test_regions_are_scanned_with_and_without_holes(founded):
    parts = tuple(
        Region(10 + n, start, end, Epoch(1, 3), PEERS)
        for n, (start, end) in enumerate([(b"", b"c"), (b"c", b"f"), (b"f", b"p"), (b"p", b"")])
    )
    assert founded.ask_leader(pd_stores.ReportSplit(parts)).error is None

    def ids(answer):
        assert answer.error is None
        return [one.region.id for one in answer.regions]

    ask = founded.ask_leader
    assert ids(ask(pd.ScanRegions())) == [10, 11, 12, 13]
    assert ids(ask(pd.ScanRegions(b"d", b"p"))) == [11, 12]
    assert ids(ask(pd.ScanRegions(b"d", b"p\0"))) == [11, 12, 13]
    assert ids(ask(pd.ScanRegions(b"d", limit=2))) == [11, 12]
    ranges = ((b"a", b"b"), (b"b", b"d"), (b"e", b"g"), (b"z", b""))
    assert ids(ask(pd.BatchScanRegions(ranges, whole=True))) == [10, 11, 12, 13]
    assert ids(ask(pd.BatchScanRegions(ranges, limit=3))) == [10, 11, 12]
    wider = Region(11, b"c", b"e", Epoch(1, 4), PEERS)  # e..f belongs to one not heard of yet
    assert ask(heartbeat(wider)).error is None
    assert ids(ask(pd.BatchScanRegions(ranges))) == [10, 11, 12, 13]
    answer = ask(pd.BatchScanRegions(ranges, whole=True))
    assert answer.error == pd_errors.PdRangeNotCovered()
    assert ask(pd.GetRegion(b"e")).error == pd_errors.PdRegionNotFound(0, b"e")
    assert ask(pd.GetPrevRegion(b"g")).error == pd_errors.PdRegionNotFound(0, b"g")
    assert ask(pd.GetPrevRegion(b"q")).region.region.id == 12


def test_store_states_have_an_order(founded):
    ask = founded.ask_leader
    assert ask(pd.SetStoreState(4, OFFLINE)).error is None
    assert isinstance(
        ask(pd.SetStoreState(3, OFFLINE)).error, pd_errors.PdInvalid
    )  # 2 left for 3
    assert isinstance(ask(pd.SetStoreState(4, TOMBSTONE)).error, pd_errors.PdInvalid)
    assert ask(pd.SetStoreState(4, UP)).error is None
    assert ask(pd.SetStoreState(4, OFFLINE)).error is None
    assert ask(pd.SetStoreState(8, OFFLINE)).error == pd_errors.PdStoreNotFound(8)
    assert ask(pd_stores.PutStore(store(4))).error is None  # it restarts, and stays offline
    assert ask(pd.GetStore(4)).store.state is OFFLINE
    founded.run_ms(15_000)
    assert ask(pd.GetStore(4)).store.state is OFFLINE  # nobody has heard what it holds
    assert ask(pd_stores.StoreHeartbeat(4)).error is None  # nothing
    empty = lambda: ask(pd.GetStore(4)).store.state is TOMBSTONE  # noqa: E731
    assert any(founded.run_ms(1000) or empty() for _ in range(10))
    assert ask(pd_stores.PutStore(store(4))).error == pd_errors.PdStoreTombstone(4)
    assert ask(pd_stores.StoreHeartbeat(4)).error == pd_errors.PdStoreTombstone(4)
    assert len(ask(pd.GetAllStores(exclude_tombstone=True)).stores) == 3


def test_a_service_holds_the_safe_point_while_its_word_lasts(founded):
    ask = founded.ask_leader
    hold = pd_gc.UpdateServiceGcSafePoint
    assert ask(hold("backup", 5, 100)).min_safe_point == 100
    assert ask(hold("cdc", 2**62, 120)).min_safe_point == 100
    assert ask(pd_gc.UpdateGcSafePoint(150)).safe_point == 100
    late = ask(hold("late", 5, 99))  # refused: may be gone
    assert (late.service_id, late.min_safe_point) == ("backup", 100)
    assert [one.service_id for one in ask(pd_gc.GetGcState()).barriers] == ["backup", "cdc"]
    founded.run_ms(6000)
    assert ask(pd_gc.UpdateGcSafePoint(150)).safe_point == 120
    assert ask(hold("cdc", 0, 0)).min_safe_point == 120
    assert ask(pd_gc.UpdateGcSafePoint(150)).safe_point == 150
    assert ask(pd_gc.UpdateGcSafePoint(10)).safe_point == 150
    assert ask(pd_gc.GetGcState()) == pd_gc.GetGcStateReply(150, 150)


def test_a_watcher_hears_of_changes_once(founded):
    ask = founded.ask_leader
    first = ask(pd.WatchTopology())
    assert first.whole
    assert [one.region for one in first.regions] == [REGION]
    assert len(first.stores) == 4
    leader = founded.leader()
    token = founded.ask(leader, pd.WatchTopology(first.term, first.revision, 60))
    founded.run_ms(5000)
    assert token not in founded.replies
    assert ask(heartbeat(REGION)).error is None  # its leader is known from now on
    founded.run_ms(100)
    news = founded.replies[token]
    assert (news.whole, news.removed, news.stores) == (False, (), ())
    assert news.regions == (pd_types.PdRegion(REGION, PEERS[0]),)
    left = Region(7, b"", b"m", Epoch(1, 2), PEERS)
    ask(heartbeat(left))
    ask(heartbeat(left))
    ask(pd_stores.PutStore(pd_types.StoreMeta(4, "n4", version="9")))
    news = ask(pd.WatchTopology(news.term, news.revision, 60))
    assert (news.removed, [one.id for one in news.stores]) == ((1,), [4])
    assert [one.region.id for one in news.regions] == [7]
    empty = ask(pd.WatchTopology(news.term, news.revision, 1.0))
    assert empty == pd.WatchTopologyReply(news.term, news.revision)
    other = ask(pd.WatchTopology(news.term + 1, news.revision))
    assert other.whole


def test_heartbeats_are_judged(founded):
    ask = founded.ask_leader
    assert ask(heartbeat(REGION)) == pd_stores.RegionHeartbeatReply(1, REGION.epoch)
    assert isinstance(ask(heartbeat(REGION, term=5)).error, pd_errors.PdInvalid)
    strange = pd_stores.RegionHeartbeat(REGION, Peer(99, 4), 9)
    assert isinstance(ask(strange).error, pd_errors.PdInvalid)
    unknown = pd_stores.RegionHeartbeat(REGION, Peer(99, 9), 9)
    assert ask(unknown).error == pd_errors.PdStoreNotFound(9)
    assert ask(pd_stores.StoreHeartbeat(2)).term == founded.stores[founded.leader()]._raft.term


def test_what_waits_is_refused_when_the_leader_is_cut_off(founded):
    leader = founded.leader()
    first = founded.call(leader, pd.WatchTopology())
    founded.isolate(leader)
    asked = [
        founded.ask(leader, request)
        for request in (
            pd.Tso(),
            pd.WatchTopology(first.term, first.revision, 600),
            pd.AllocId(5000),
        )
    ]
    written = founded.ask(leader, pd_gc.UpdateGcSafePoint(5))
    founded.run_ms(4000)
    for token in asked:
        assert isinstance(founded.replies[token].error, pd_errors.PdNotLeader)
    assert written not in founded.replies  # it is in a log, and may yet happen
    founded.cuts.clear()
    other = founded.leader()
    assert other != leader
    founded.run_ms(5000)
    assert founded.replies[written].error is not None  # another entry is in its place
    assert founded.ask_leader(pd_gc.GetGcSafePoint()).safe_point == 0


def test_control(founded):
    leader = founded.leader()
    node = founded.stores[leader]
    to = next(name for name in founded.nodes if name != leader)
    assert node.control("transfer-leader", {"to": to}) == {"started": True}
    founded.run_ms(2000)
    assert founded.leader() == to
    assert founded.stores[leader].control("campaign", {}) == {"started": True}
    for verb, arguments in (
        ("transfer-leader", {"to": "n9"}),
        ("dance", {}),
        ("evict-leader", {"store": 77}),
        ("move-leader", {"region": 77, "to": 1}),
    ):
        with pytest.raises(ValueError, match=verb):
            founded.stores[founded.leader()].control(verb, arguments)
    founded.run_ms(3000)
    leader = founded.leader()
    other = next(name for name in founded.nodes if name != leader)
    with pytest.raises(ValueError, match=f"but {leader}; ask there"):
        founded.stores[other].control("regions", {})
    for name in founded.nodes:
        founded.stores[name].control("compact", {})
    assert len(founded.digests()) == 1
    assert founded.stores[founded.leader()].status()["stores"] == 4
