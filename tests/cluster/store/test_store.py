"""Three stores: elections, operations, failures, restarts, snapshots."""

from __future__ import annotations

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages.region import Peer, Region
from splitbrain.cluster.raft.types import RaftPanic
from splitbrain.cluster.storage.logfile import DiskFailed


@pytest.fixture
def world(new_world):
    world = new_world()
    world.start()
    return world


def test_one_leader_and_every_kind_of_operation(world):
    leader = world.leader()
    assert world.call(leader, m.RawGet(b"k")) == m.RawGetReply(None)
    assert world.call(leader, m.RawPut(b"k", b"1")) == m.RawPutReply()
    assert world.call(leader, m.RawGet(b"k")) == m.RawGetReply(b"1")
    assert world.call(leader, m.RawCas(b"k", b"0", b"2")) == m.RawCasReply(False, b"1")
    assert world.call(leader, m.RawCas(b"k", b"1", b"2")) == m.RawCasReply(True, b"1")
    assert world.call(leader, m.RawPut(b"l", b"3")) == m.RawPutReply()
    assert world.call(leader, m.RawScan(b"", limit=5)).pairs == ((b"k", b"2"), (b"l", b"3"))
    assert world.call(leader, m.RawDelete(b"k")) == m.RawDeleteReply()
    assert world.call(leader, m.RawCas(b"k", None, b"9")) == m.RawCasReply(True, None)
    world.run_ms(1000)
    assert len(world.digests()) == 1


def test_a_follower_names_the_leader(world):
    leader = world.leader()
    world.run_ms(500)
    follower = next(name for name in world.nodes if name != leader)
    told = m.NotLeader(leader, 1, world.nodes.index(leader) + 1)
    assert world.call(follower, m.RawGet(b"k")).error == told
    assert world.call(follower, m.RawPut(b"k", b"1")).error == told


def test_any_store_serves_a_reader_who_asks_for_no_more_than_it_has(world):
    leader = world.leader()
    world.call(leader, m.RawPut(b"k", b"1"))
    world.run_ms(1000)
    anybody = m.Context(replica_read=m.context.ReplicaRead.EVENTUAL)
    follower = next(name for name in world.nodes if name != leader)
    assert world.call(follower, m.RawGet(b"k", anybody)) == m.RawGetReply(b"1")
    world.isolate(follower)
    world.call(leader, m.RawPut(b"k", b"2"))
    assert world.call(follower, m.RawGet(b"k", anybody)) == m.RawGetReply(b"1")
    assert isinstance(world.call(follower, m.RawPut(b"k", b"3", anybody)).error, m.NotLeader)


def test_the_context_is_checked_before_anything_is_appended(world):
    leader = world.leader()
    own = world.nodes.index(leader) + 1
    last = world.stores[leader].status()["last"]

    def error(**fields):
        return world.call(leader, m.RawPut(b"k", b"1", m.Context(**fields))).error

    peers = tuple(Peer(number, number) for number in (1, 2, 3))
    assert error(store_id=own + 1) == m.StoreNotMatch(own + 1, own)
    assert error(region_id=7) == m.RegionNotFound(7)
    assert error(peer_id=own + 1) == m.PeerNotMatch(own + 1, own)
    assert error(version=0) == m.EpochNotMatch(1, 1, (Region(1, peers=peers),))
    assert world.stores[leader].status()["last"] == last
    assert error(store_id=own, peer_id=own, version=1) is None


def test_a_write_over_the_limit_and_a_cluster_of_the_other_mode_say_so(new_world):
    world = new_world(max_entry_bytes=10)
    world.start()
    too_large = world.call(world.leader(), m.RawPut(b"k", b"x" * 10))
    assert too_large.error == m.EntryTooLarge(11, 10)
    other = new_world(mode="txn")
    other.start()
    assert other.call(other.leader(), m.RawGet(b"k")).error == m.MismatchMode("txn")


def test_the_next_leader_has_what_was_acknowledged(world):
    old = world.leader()
    assert world.call(old, m.RawPut(b"k", b"1")) == m.RawPutReply()
    world.kill(old)
    new = world.leader()
    assert new != old
    assert world.call(new, m.RawGet(b"k")) == m.RawGetReply(b"1")
    world.start(old)
    world.run_ms(3000)
    assert len(world.digests()) == 1
    assert world.stores[old].status()["applied"] == world.stores[new].status()["applied"]


def test_power_loss_of_all_stores_keeps_what_was_acknowledged(world):
    leader = world.leader()
    for number in range(20):
        assert world.call(leader, m.RawPut(b"k%d" % number, b"v")) == m.RawPutReply()
    torn = world.ask(leader, m.RawPut(b"late", b"v" * 100))
    world.run_ms(0.1)
    world.power(*world.nodes, torn_bytes=17)
    world.start()
    leader = world.leader()
    assert len(world.call(leader, m.RawScan(b"k", b"l")).pairs) == 20
    assert torn not in world.replies


def test_reads_and_writes_of_one_turn_share_a_round_and_a_sync(world):
    leader = world.leader()
    world.run_ms(400)
    sent, syncs = world.sent, world.stores[leader].status()["syncs"]
    tokens = [world.ask(leader, m.RawPut(b"k%d" % n, b"v")) for n in range(50)]
    tokens += [world.ask(leader, m.RawGet(b"k%d" % n)) for n in range(50)]
    world.run_ms(20)
    assert all(token in world.replies for token in tokens)
    assert world.stores[leader].status()["syncs"] - syncs <= 3
    assert world.sent - sent - len(tokens) <= 30


def test_a_leader_without_majority_answers_nothing_and_loses_to_the_next(world):
    old = world.leader()
    world.call(old, m.RawPut(b"k", b"1"))
    world.isolate(old)
    write = world.ask(old, m.RawPut(b"k", b"2"))
    read = world.ask(old, m.RawGet(b"k"))
    world.run_ms(300)
    assert write not in world.replies
    assert read not in world.replies
    world.run_ms(5000)
    assert world.replies[read].error == m.NotLeader("")  # dropped at step-down
    assert write not in world.replies  # its fate is not decided yet
    new = world.leader()
    assert world.call(new, m.RawPut(b"k", b"3")) == m.RawPutReply()
    world.cuts.clear()
    world.run_ms(3000)
    assert world.replies[write].error == m.StaleCommand()  # overwritten: a true no
    assert world.call(world.leader(), m.RawGet(b"k")) == m.RawGetReply(b"3")
    assert len(world.digests()) == 1


def _answers_cut_off(world):
    """A write that all followers have, whose acknowledgements never reach the leader."""
    old = world.leader()
    world.call(old, m.RawPut(b"k", b"1"))
    world.run_ms(400)
    world.cuts |= {(other, old) for other in world.nodes if other != old}
    token = world.ask(old, m.RawPut(b"k", b"2"))
    world.run_ms(50)
    world.isolate(old)
    world.run_ms(4000)
    new = world.leader()
    assert new != old
    assert world.call(new, m.RawGet(b"k")) == m.RawGetReply(b"2")  # it happened
    return old, token


def test_a_write_that_outlives_its_leader_is_answered_late_and_truly(world):
    _, token = _answers_cut_off(world)
    assert token not in world.replies
    world.cuts.clear()
    world.run_ms(3000)
    assert world.replies[token] == m.RawPutReply()


def test_dropped_proposal_says_no_calls_a_write_failed_that_is_read(new_world):
    world = new_world(bugs=("dropped-proposal-says-no",))
    world.start()
    old, token = _answers_cut_off(world)
    assert isinstance(world.replies[token].error, m.NotLeader)
    assert world.stores[old].status()["probes"] == {"dropped-proposal-says-no": 1}


def test_ack_on_append_acknowledges_what_is_lost(new_world):
    world = new_world(bugs=("ack-on-append",))
    world.start()
    old = world.leader()
    world.isolate(old)
    assert world.call(old, m.RawPut(b"k", b"1")) == m.RawPutReply()
    assert world.call(old, m.RawCas(b"k", b"1", b"2"), 100) is None
    assert world.stores[old].status()["probes"]["ack-on-append"] >= 1
    world.run_ms(4000)
    assert world.call(world.leader(), m.RawGet(b"k")) == m.RawGetReply(None)


@pytest.mark.parametrize("tail", [0, 5])
def test_a_store_that_was_away_catches_up_by_snapshot(new_world, tail):
    world = new_world(snapshot_every=10, snapshot_tail=tail)
    world.start()
    leader = world.leader()
    away = next(name for name in world.nodes if name != leader)
    world.kill(away)
    for number in range(35):
        assert world.call(leader, m.RawPut(b"k%d" % number, b"v")) == m.RawPutReply()
    world.start(away)
    world.run_ms(3000)
    assert "snapshot" in [kind for node, kind, _ in world.events if node == away]
    assert len(world.digests()) == 1
    world.power(away)
    world.start(away)
    world.run_ms(3000)
    assert len(world.digests()) == 1
    assert world.stores[away].status()["snapshot"] >= 30


def test_a_write_covered_by_a_snapshot_is_undetermined(new_world):
    world = new_world(snapshot_every=5, snapshot_tail=0)
    world.start()
    old = world.leader()
    world.isolate(old)
    token = world.ask(old, m.RawPut(b"k", b"lost"))
    world.run_ms(4000)
    new = world.leader()
    for number in range(20):
        world.call(new, m.RawPut(b"k%d" % number, b"v"))
    world.cuts.clear()
    world.run_ms(3000)
    assert isinstance(world.replies[token].error, m.UndeterminedResult)


def test_slow_apply_changes_no_answer_and_is_overtaken_by_snapshots(new_world):
    world = new_world(slow_apply_ms=40, snapshot_every=7, snapshot_tail=0, entries_per_append=1)
    world.start()
    leader = world.leader()
    for number in range(30):
        value = b"%d" % number
        assert world.call(leader, m.RawPut(b"k", value)) == m.RawPutReply()
        assert world.call(leader, m.RawGet(b"k")) == m.RawGetReply(value)
    world.run_ms(1000)
    assert len(world.digests()) == 1


def test_lease_reads_answer_at_once_and_never_after_the_lease(new_world):
    world = new_world(lease_reads=True)
    world.start()
    leader = world.leader()
    world.call(leader, m.RawPut(b"k", b"1"))
    world.run_ms(500)
    sent, now = world.sent, world.now
    assert world.call(leader, m.RawGet(b"k")) == m.RawGetReply(b"1")
    assert (world.sent, world.now) == (sent + 1, now)
    world.isolate(leader)
    world.run_ms(700)  # lease: 2/3 s
    assert world.call(leader, m.RawGet(b"k"), 100) is None


def test_a_full_store_says_that_it_is_busy(new_world):
    world = new_world(max_pending=3)
    world.start()
    leader = world.leader()
    world.isolate(leader)
    tokens = [world.ask(leader, m.RawPut(b"k", b"1")) for _ in range(4)]
    world.run_ms(100)
    assert [token in world.replies for token in tokens] == [False, False, False, True]
    assert isinstance(world.replies[tokens[3]].error, m.ServerIsBusy)


def test_leader_transfer_campaign_compact_and_a_wrong_verb(world):
    leader = world.leader()
    world.call(leader, m.RawPut(b"k", b"1"))
    to = next(name for name in world.nodes if name != leader)
    assert world.stores[leader].control("transfer-leader", {"to": to}) == {"started": True}
    world.run_ms(500)
    assert world.leader() == to
    assert world.call(to, m.RawGet(b"k")) == m.RawGetReply(b"1")
    assert world.stores[to].control("compact", {})["snapshot"] > 0
    world.run_ms(100)
    with pytest.raises(ValueError, match="known: status, transfer-leader"):
        world.stores[to].control("explode", {})
    with pytest.raises(ValueError, match="not a store"):
        world.stores[to].control("transfer-leader", {"to": "n9"})


def test_without_faults_nobody_is_elected_twice(new_world):
    for seed in range(5):
        world = new_world(("n1", "n2", "n3", "n4", "n5"), seed=seed)
        world.start()
        world.leader()
        world.run_ms(20_000)
        assert sum(store.status()["elections"] for store in world.stores.values()) == 1


def test_a_failed_sync_ends_the_store(world):
    leader = world.leader()
    world.disks[leader].fail = OSError("no space left")
    with pytest.raises(DiskFailed, match="no space left"):
        world.call(leader, m.RawPut(b"k", b"1"))


def test_requests_during_recovery_are_refused_truly(new_world):
    world = new_world()
    world.start()
    assert world.stores["n1"].status()["role"] == "recovering"
    token = world.ask("n1", m.RawPut(b"k", b"1"))
    world.run_ms(0.5)
    assert isinstance(world.replies[token].error, m.ServerIsBusy)


def test_echo_is_answered_and_a_probe_is_not(world):
    world.leader()
    world.stores["n1"].on_message("tester-1", m.Echo(5))
    world.stores["n1"].on_message("tester-2", m.Probe(6))
    assert world.replies["tester-1"] == m.EchoReply(5)
    assert "tester-2" not in world.replies
    with pytest.raises(TypeError, match="cannot take"):
        world.stores["n1"].on_message("tester-3", object())


def test_an_assertion_of_the_core_leaves_the_callback(world):
    leader = world.leader()
    world.call(leader, m.RawPut(b"k", b"1"))
    world.run_ms(500)
    follower = next(name for name in world.nodes if name != leader)
    world.kill(follower)
    world.disks[follower].written.clear()  # it comes back having forgotten everything
    world.start(follower)
    with pytest.raises(RaftPanic, match="commit-beyond-last"):
        world.run_ms(3000)
