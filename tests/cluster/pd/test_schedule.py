"""Schedulers and checkers against a farm of regions: it becomes even, whole, well placed, and still."""

from __future__ import annotations

from random import Random as Draws

import msgspec
import pytest

from splitbrain.cluster.messages.pd import ScatterRegion
from splitbrain.cluster.messages.pd_errors import PdRegionNotFound
from splitbrain.cluster.messages.pd_types import (
    DownPeer,
    PeerChangeKind,
    StepChangePeers,
    StepTransferLeader,
    StoreState,
)
from splitbrain.cluster.messages.region import Epoch, Peer, PeerRole
from splitbrain.cluster.pd.control import control
from splitbrain.cluster.pd.goals import AddLearner, Lead, Promote, Remove, is_joint
from splitbrain.cluster.pd.operators import Kind, Operator
from splitbrain.cluster.pd.regions import RegionInfo

from .farm import MB, SECOND, Farm

NO_BALANCE = {"balance_leaders": False, "balance_regions": False}


def spread(counts):
    return max(counts) - min(counts)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("stores", [3, 5, 8])
def test_it_becomes_even_and_then_still(stores, joint):
    farm = Farm(stores, 24, joint_changes=joint, loss=0.2)
    farm.run(200)
    assert spread(farm.led()) <= 3
    assert spread(farm.held()) <= 3
    assert farm.whole()
    assert not farm.refused
    moves = farm.moves
    farm.run(150)
    assert farm.moves == moves, farm.done[-5:]
    # What it took: each peer that had to move was moved once, and each lead about once.
    assert moves <= 24 * 3 * 4 + 24 * 3


def test_what_is_under_way_counts():
    """Answers are lost, so moves take long: no more of them are begun than are needed."""
    for seed in range(3):
        farm = Farm(4, 12, seed=seed, loss=0.85, balance_leaders=False, region_operators=16)
        farm.run(300)
        added = [
            change
            for _, _, step in farm.done
            if isinstance(step, StepChangePeers) and len(step.changes) == 1
            for change in step.changes
            if change.kind is PeerChangeKind.ADD_LEARNER
        ]
        assert 0 < len(added) <= 9
        assert spread(farm.held()) <= 3


def test_few_regions_on_few_stores_are_left_alone():
    farm = Farm(3, 3, start=(1, 2, 3))
    farm.run(100)
    assert spread(farm.led()) <= 3
    moves = farm.moves
    farm.run(200)
    assert farm.moves == moves


def test_a_region_too_large_to_help_is_not_moved():
    """One region that is most of the data would only carry the load from store to store."""
    farm = Farm(4, 1)
    farm.size = 500 * MB
    farm.run(200)
    assert farm.moves == 0


def test_a_short_silence_moves_nothing():
    farm = Farm(5, 10, **NO_BALANCE)
    farm.run(5)
    farm.alive.discard(3)
    farm.run(50)  # down only after 60 s
    farm.alive.add(3)
    farm.run(100)
    assert farm.moves == 0


@pytest.mark.parametrize("joint", [True, False])
def test_a_dead_store_is_replaced_wherever_it_led_or_not(joint):
    farm = Farm(5, 15, joint_changes=joint, loss=0.2, store_down_s=30.0)
    farm.run(200)
    farm.alive.discard(1)
    farm.run(29)
    assert farm.held()[0] > 0
    farm.run(200)
    assert farm.held()[0] == 0
    assert farm.whole()
    assert not farm.refused
    moves = farm.moves
    farm.run(100)
    assert farm.moves == moves


def test_with_nowhere_to_go_a_dead_peer_stays():
    farm = Farm(3, 5, store_down_s=30.0, **NO_BALANCE)
    farm.run(5)
    farm.alive.discard(3)
    farm.run(200)
    assert farm.moves == 0
    farm.alive.add(3)
    farm.run(10)
    assert farm.whole()


def test_a_store_is_emptied_and_buried():
    farm = Farm(5, 12, loss=0.1)
    farm.run(200)
    farm.offline(2)
    farm.run(300)
    assert farm.held()[1] == 0
    assert farm.whole()
    assert farm.state.stores[2].state is StoreState.TOMBSTONE
    assert not farm.refused


def test_a_new_leader_of_pd_ends_what_the_old_one_began():
    """It finds regions in joint changes, and learners left behind."""
    for rounds in range(5):
        farm = Farm(5, 12, loss=0.6, seed=rounds)
        joint = False
        for _ in range(60):
            farm.run(1)
            joint = joint or any(is_joint(one) for one in farm.regions.values())
            if joint and farm.draws.random() < 0.3:
                farm.lead()
        assert joint
        farm.loss = 0.0
        farm.run(120)
        assert farm.whole()
        assert not farm.refused


def test_a_new_leader_of_pd_does_not_act_on_where_leaders_once_were():
    """What lasts says of most regions that store 1 leads them."""
    farm = Farm(3, 12, balance_regions=False)
    farm.run(100)
    for region_id, leader in farm.leaders.items():
        farm.leaders[region_id] = leader % 3 + 1
        farm.terms[region_id] += 1
    farm.run(20)
    moves = farm.moves
    assert moves > 0
    for _ in range(3):
        farm.lead()
        farm.run(20)
    assert farm.moves == moves


def test_a_joint_change_is_left_even_if_the_leader_is_on_its_way_out():
    farm = Farm(4, 2, **NO_BALANCE)
    farm.run(2)
    region = farm.regions[100]
    roles = (PeerRole.DEMOTING_VOTER, PeerRole.VOTER, PeerRole.VOTER, PeerRole.INCOMING_VOTER)
    peers = (*region.peers, Peer(farm.take(1), 4))
    farm.regions[100] = msgspec.structs.replace(
        region,
        epoch=Epoch(4, 1),
        peers=tuple(
            msgspec.structs.replace(peer, role=role)
            for peer, role in zip(peers, roles, strict=True)
        ),
    )
    farm.run(20)
    assert farm.whole()
    assert farm.leaders[100] != 1
    assert not farm.refused


def test_a_new_leader_of_pd_replaces_nobody_whom_it_has_not_heard_yet():
    farm = Farm(5, 10, store_down_s=30.0, **NO_BALANCE)
    farm.run(100)
    for _ in range(4):
        farm.lead()
        farm.run(20)
    assert farm.moves == 0


@pytest.mark.parametrize("stores", [3, 6, 7])
def test_three_places_hold_one_replica_each(stores):
    crowded = (1, 4, 2) if stores > 3 else (1, 2, 3)  # stores 1 and 4 share a place
    farm = Farm(stores, 10, dcs=3, location_labels=("dc",), start=crowded)
    farm.run(200)

    def places():
        return {
            tuple(sorted((peer.store_id - 1) % 3 for peer in region.peers))
            for region in farm.regions.values()
        }

    assert places() == {(0, 1, 2)}
    assert not farm.refused
    moves = farm.moves
    farm.run(200)
    assert farm.moves == moves
    if stores > 3:
        farm.alive.discard(2)  # its place has others
        farm.run(200)
        assert farm.held()[1] == 0
        assert places() == {(0, 1, 2)}


def test_leaders_are_evicted_and_stay_away():
    farm = Farm(4, 12)
    farm.run(200)
    take = farm.take
    answer = control(
        farm.config, None, farm.cluster, farm.now_ns, take, "evict-leader", {"store": 1}
    )
    assert answer == {"evicting": [1]}
    farm.run(30)
    assert farm.led()[0] == 0
    farm.run(100)
    assert farm.led()[0] == 0
    stop = {"store": 1, "stop": True}
    control(farm.config, None, farm.cluster, farm.now_ns, take, "evict-leader", stop)
    farm.run(100)
    assert spread(farm.led()) <= 3


def test_scattered_regions_are_spread_whatever_else_is_there():
    farm = Farm(6, 24, **NO_BALANCE)
    farm.run(3)
    group = tuple(range(100, 112))
    for _ in range(12):
        answer = farm.cluster.scatter(ScatterRegion(group), farm.now_ns, farm.take)
        assert answer.error is None
        farm.run(20)
    assert answer.started == 0
    homes = [peer.store_id for number in group for peer in farm.regions[number].peers]
    assert spread([homes.count(store_id) for store_id in range(1, 7)]) <= 1
    leaders = [farm.leaders[number] for number in group]
    assert spread([leaders.count(store_id) for store_id in range(1, 7)]) <= 2
    assert not farm.refused
    answer = farm.cluster.scatter(ScatterRegion((1,)), farm.now_ns, farm.take)
    assert answer.error == PdRegionNotFound(1)


def test_by_hand():
    farm = Farm(4, 3, **NO_BALANCE)
    farm.run(3)

    def act(verb, **arguments):
        return control(farm.config, None, farm.cluster, farm.now_ns, farm.take, verb, arguments)

    assert act("move-leader", region=101, to=2) == {"started": True}
    assert act("move-leader", region=101, to=3) == {"started": False}  # one at a time
    assert act("move-peer", region=102, **{"from": 1}, to=4) == {"started": True}
    assert act("split-region", region=100, keys=[b"00005".hex()]) == {"started": True}
    with pytest.raises(ValueError, match="move-peer"):
        act("move-peer", region=102, **{"from": 4}, to=1)
    farm.run(20)
    assert farm.leaders[101] == 2
    assert {peer.store_id for peer in farm.regions[102].peers} == {2, 3, 4}
    assert farm.regions[100].start == b"00005"
    assert len(farm.regions) == 4
    assert len(act("regions")["regions"]) == 4
    ended = farm.cluster.status(farm.now_ns)["ended"]
    assert ended == {
        "move-leader:success": 1,
        "move-peer:success": 1,
        "split-region:success": 1,
    }


def weather(seed):
    """Stores die and return, answers are lost, PD's leader changes, regions split; then peace."""
    draws = Draws(seed)
    farm = Farm(6, 10, dcs=3, location_labels=("dc",), loss=0.3, seed=seed, store_down_s=20.0)
    for _ in range(25):
        farm.run(draws.randrange(1, 25))
        kind = draws.choice(["kill", "return", "return", "lead", "split"])
        if kind == "kill" and len(farm.alive) == 6:
            farm.alive.discard(draws.randrange(1, 7))
        elif kind == "return":
            farm.alive = set(range(1, 7))
        elif kind == "lead":
            farm.lead()
        elif kind == "split" and len(farm.regions) < 20:
            region = farm.regions[draws.choice(sorted(farm.regions))]
            key = region.start + draws.choice([b"5", b"0", b"\1"])
            if not region.end or key < region.end:
                farm.split(region, key)
    farm.alive = set(range(1, 7))
    farm.loss = 0.0
    farm.run(150)
    assert farm.whole()
    assert not farm.refused, "told to do what TiKV refuses"
    moves = farm.moves
    farm.run(50)
    assert farm.moves == moves, farm.done[-5:]


@pytest.mark.parametrize("seed", range(2))
def test_after_bad_weather_all_is_whole_and_still(seed):
    weather(seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(2, 30))
def test_after_any_weather_all_is_whole_and_still(seed):
    weather(seed)


def test_nobody_leads_who_is_late_or_not_heard_or_evicted():
    farm = Farm(4, 1, **NO_BALANCE)
    farm.run(2)
    region = farm.regions[100]
    one, two, three = region.peers
    view = farm.cluster.view(farm.now_ns, farm.take)
    assert view.best_leader(RegionInfo(region, one)) == 2
    assert view.best_leader(RegionInfo(region, one, pending=(two,))) == 3
    assert view.best_leader(RegionInfo(region, one, down=(DownPeer(two),))) == 3
    assert view.best_leader(RegionInfo(region, one), [2, 3]) is None
    farm.cluster.evicting = frozenset({2})
    view = farm.cluster.view(farm.now_ns, farm.take)
    assert view.best_leader(RegionInfo(region, one)) == 3
    assert view.best_leader(RegionInfo(region, three)) == 1


# -- operators alone ---------------------------------------------------------------------------------


@pytest.fixture
def farm():
    farm = Farm(5, 2, **NO_BALANCE)
    farm.run(2)
    return farm


def operator(farm, *goals, kind=Kind.REGION, region_id=100):
    return Operator("test", kind, region_id, farm.regions[region_id].epoch, goals)


def told(farm, region_id=100):
    """The step for the region as it is, without doing it."""
    region = farm.regions[region_id]
    leader = region.peer_on(farm.leaders[region_id])
    info = RegionInfo(region, leader, farm.terms[region_id])
    return farm.cluster.operators.next_step(info, farm.now_ns)


def add(farm, *goals, **others):
    one = operator(farm, *goals, **others)
    info = farm.cluster.regions.get(one.region_id)
    return farm.cluster.operators.add(one, info, farm.now_ns)


def test_one_operator_a_region_and_the_urgent_first(farm):
    assert add(farm, Lead(2), kind=Kind.REGION)
    assert not add(farm, Lead(3), kind=Kind.REGION)
    assert not add(farm, Lead(3), kind=Kind.LEADER)
    assert add(farm, Lead(3), kind=Kind.REPLICA)
    assert farm.cluster.operators.ended == {"test:replaced": 1}
    assert told(farm) == StepTransferLeader(farm.regions[100].peer_on(3))


def test_one_that_was_made_for_another_epoch_is_refused(farm):
    stale = msgspec.structs.replace(operator(farm, Lead(2)), epoch=Epoch(9, 9))
    info = farm.cluster.regions.get(100)
    assert not farm.cluster.operators.add(stale, info, farm.now_ns)
    assert not farm.cluster.operators.add(stale, None, farm.now_ns)


def test_a_step_is_told_again_after_a_while_not_at_once(farm):
    assert add(farm, Lead(2))
    assert told(farm) is not None
    assert told(farm) is None
    farm.now_ns += 3 * SECOND
    assert told(farm) is not None


def test_a_foreign_change_ends_it(farm):
    """Its own changes explain so much growth of ``conf_version``, and no more."""
    new = Peer(farm.take(1), 4, PeerRole.LEARNER)
    assert add(farm, AddLearner(new), Promote(4), Remove(farm.regions[100].peers[2]))
    region = farm.regions[100]
    grown = msgspec.structs.replace(region, epoch=Epoch(2, 1), peers=(*region.peers, new))
    farm.regions[100] = grown
    assert isinstance(told(farm), StepChangePeers)
    farm.regions[100] = msgspec.structs.replace(grown, epoch=Epoch(4, 1))
    assert told(farm) is None
    assert farm.cluster.operators.ended == {"test:stale": 1}


def test_what_has_become_impossible_ends_it(farm):
    assert add(farm, Lead(2))
    region = farm.regions[100]
    farm.regions[100] = msgspec.structs.replace(
        region, peers=(region.peers[0], region.peers[2])
    )
    assert told(farm) is None
    assert farm.cluster.operators.ended == {"test:stale": 1}


def test_the_death_of_its_target_ends_it(farm):
    new = Peer(farm.take(1), 4, PeerRole.LEARNER)
    farm.alive.discard(4)
    farm.run(55)
    assert add(farm, AddLearner(new), Promote(4))
    farm.run(10)
    assert farm.cluster.operators.ended["test:stale"] == 1


def test_time_runs_out(farm):
    assert add(farm, Lead(2))
    farm.now_ns += 19 * SECOND  # three heartbeats of 6 s, and none came
    farm.cluster.operators.expire(farm.now_ns)
    assert farm.cluster.operators.ended == {"test:timeout": 1}
    assert add(farm, Lead(2))
    assert told(farm) is not None
    farm.now_ns += 13 * SECOND
    assert told(farm) is None
    assert farm.cluster.operators.ended == {"test:timeout": 2}


def test_there_is_room_for_so_many_of_a_kind():
    farm = Farm(5, 10, leader_operators=2, **NO_BALANCE)
    farm.run(2)
    took = [add(farm, Lead(2), kind=Kind.LEADER, region_id=100 + n) for n in range(4)]
    assert took == [True, True, False, False]
    assert add(farm, Lead(2), kind=Kind.ADMIN, region_id=103)
