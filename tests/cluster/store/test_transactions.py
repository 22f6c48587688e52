"""Transactional stores: latches, decisions, waits, and counters that must add up in bad weather."""

from __future__ import annotations

from random import Random as Draws

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import txn
from splitbrain.cluster.messages.key_errors import Deadlock, Locked, WriteConflict
from splitbrain.cluster.messages.pd_types import SplitIds
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.store.shell import Store

HERE = m.Context()
PUT = txn.MutationKind.PUT


@pytest.fixture
def world(new_world):
    world = new_world(mode="txn")
    world.start()
    world.leader()
    return world


def prewrite(key, value, start, primary=None, context=HERE):
    mutation = txn.Mutation(PUT, key, value)
    return txn.Prewrite((mutation,), primary or key, start, context=context)


def pessimistic(key, start, *, wait_ms=0, first=False):
    return txn.PessimisticLock(
        ((key, False),), key, start, for_update_ts=start, is_first_lock=first, wait_ms=wait_ms
    )


def write(world, node, key, value, start, commit):
    assert world.call(node, prewrite(key, value, start)).errors == ()
    assert world.call(node, txn.Commit((key,), start, commit)).error is None


def test_two_phases_and_reads_at_timestamps(world):
    leader = world.leader()
    write(world, leader, b"k", b"1", 10, 20)
    assert world.call(leader, prewrite(b"k", b"2", 30)).errors == ()
    assert world.call(leader, txn.Get(b"k", 25)).value == b"1"
    assert isinstance(world.call(leader, txn.Get(b"k", 35)).error, Locked)
    assert world.call(leader, txn.Commit((b"k",), 30, 40)).error is None
    pairs = world.call(leader, txn.Scan(b"", b"", 50)).pairs
    assert [(pair.key, pair.value) for pair in pairs] == [(b"k", b"2")]
    assert isinstance(world.call(leader, prewrite(b"k", b"3", 35)).errors[0], WriteConflict)
    world.run_ms(1000)
    assert len(world.digests()) == 1


def test_raw_requests_are_refused(world):
    leader = world.leader()
    assert world.call(leader, m.RawPut(b"k", b"1")).error == m.MismatchMode("txn")
    follower = next(name for name in world.nodes if name != leader)
    told = world.call(follower, txn.Get(b"k", 1)).region_error
    assert told == m.NotLeader(leader, 1, world.nodes.index(leader) + 1)


class NoLatches(Mvcc):
    """Decides without waiting for those who are on their way to the same keys."""

    def keys_of(self, request, reader):
        return ()


def rivals(world):
    """Answers of ten transactions that want one key, and of ten that do not."""
    leader = world.leader()
    tokens = [world.ask(leader, prewrite(b"k", b"%d" % ts, ts)) for ts in range(10, 20)]
    tokens += [world.ask(leader, prewrite(b"j%d" % ts, b"v", ts)) for ts in range(10, 20)]
    world.run_ms(500)
    replies = [world.replies[token].errors for token in tokens]
    return replies[:10], replies[10:]


def test_of_requests_for_one_key_one_is_on_its_way_and_sees_what_the_other_did(world):
    same, others = rivals(world)
    assert sum(errors == () for errors in same) == 1
    assert all(isinstance(errors[0], Locked) for errors in same if errors)
    assert others == [()] * 10
    peer = world.stores[world.leader()].peers[1]
    assert peer.held() == len(peer._latches) == 0


def test_without_latches_they_would_not(new_world):
    world = new_world(
        mode="txn", make=lambda config, env: Store(config, env, mvcc_class=NoLatches)
    )
    world.start()
    same, _ = rivals(world)
    assert sum(errors == () for errors in same) == 10


def test_a_pessimistic_lock_waits_for_anothers_and_no_longer_than_it_may(world):
    leader = world.leader()
    assert world.call(leader, pessimistic(b"k", 10, first=True)).errors == ()
    overdue = world.ask(leader, pessimistic(b"k", 11, wait_ms=300, first=True))
    patient = world.ask(leader, pessimistic(b"k", 12, wait_ms=1000, first=True))
    world.run_ms(200)
    assert overdue not in world.replies
    world.run_ms(200)
    assert isinstance(world.replies[overdue].errors[0], Locked)
    assert world.call(leader, txn.PessimisticRollback((b"k",), 10, 10)).errors == ()
    world.run_ms(100)
    assert world.replies[patient].errors == ()
    assert not world.stores[leader].peers[1]._lock_waits


def test_who_waits_for_a_lock_that_a_split_takes_away_is_told(world):
    leader = world.leader()
    assert world.call(leader, pessimistic(b"a", 10, first=True)).errors == ()
    patient = world.ask(leader, pessimistic(b"a", 11, wait_ms=1000, first=True))
    world.run_ms(100)
    world.stores[leader].control("split", {"key": "m", "id": 7, "peers": (71, 72, 73)})
    world.run_ms(300)
    assert isinstance(world.replies[patient].region_error, m.EpochNotMatch)


def test_a_replica_reads_by_leave_of_the_leader(world):
    leader = world.leader()
    write(world, leader, b"k", b"1", 10, 20)
    follower = next(name for name in world.nodes if name != leader)
    store, peer = world.stores[leader], world.stores[leader].peers[1]
    there = m.Context(replica_read=m.context.ReplicaRead.FOLLOWER)
    assert world.call(follower, txn.Get(b"k", 77, there)).value == b"1"
    assert store.memory.max_ts == 77
    # A lock that is in the leader's memory alone is in the way.
    peer.max_ts_term = peer.raft.term
    world.cuts |= {(name, leader) for name in world.nodes if name != follower}
    world.disks[follower].sync_ns = 300_000_000
    request = txn.Prewrite((txn.Mutation(PUT, b"k", b"2"),), b"k", 80, use_async_commit=True)
    world.ask(leader, request)
    world.run_ms(20)
    assert len(store.memory) == 1
    assert isinstance(world.call(follower, txn.Get(b"k", 90, there)).error, Locked)
    world.isolate(follower)
    lost = world.call(follower, txn.Get(b"k", 95, there))
    assert isinstance(lost.region_error, m.ReadIndexNotReady)
    stale = m.Context(replica_read=m.context.ReplicaRead.STALE)
    refused = world.call(follower, txn.Get(b"k", 5, stale)).region_error
    assert refused == m.DataIsNotReady(1, world.nodes.index(follower) + 1)


def test_a_circle_of_waits_is_broken_at_once(world):
    leader = world.leader()
    for key, start in ((b"a", 10), (b"b", 11)):
        assert world.call(leader, pessimistic(key, start, first=True)).errors == ()
    first = world.ask(leader, pessimistic(b"b", 10, wait_ms=1000))
    world.run_ms(50)
    victim = world.call(leader, pessimistic(b"a", 11, wait_ms=1000), 100)
    assert isinstance(victim.errors[0], Deadlock)
    assert first not in world.replies


def test_async_commit_waits_for_a_timestamp_of_the_new_leader(world):
    leader = world.leader()
    request = txn.Prewrite((txn.Mutation(PUT, b"k", b"1"),), b"k", 10, use_async_commit=True)
    assert world.call(leader, request).region_error == m.MaxTimestampNotSynced()
    peer = world.stores[leader].peers[1]
    peer.max_ts_term = peer.raft.term
    assert world.call(leader, request).min_commit_ts > 10


def test_a_leader_that_steps_down_frees_latches_and_memory(world):
    old = world.leader()
    store = world.stores[old]
    peer = store.peers[1]
    peer.max_ts_term = peer.raft.term
    world.isolate(old)
    request = txn.Prewrite((txn.Mutation(PUT, b"k", b"1"),), b"k", 10, use_async_commit=True)
    proposed = world.ask(old, request)
    behind = world.ask(old, prewrite(b"k", b"2", 11))
    seen = world.ask(old, txn.CheckTxnStatus(b"z", 5, 6, 7))
    world.run_ms(100)
    assert (len(store.memory), len(peer._latches)) == (1, 2)
    world.run_ms(4000)
    assert (len(store.memory), len(peer._latches)) == (0, 0)
    assert proposed not in world.replies  # its fate is not known
    assert isinstance(world.replies[behind].region_error, m.NotLeader)
    assert isinstance(world.replies[seen].region_error, m.NotLeader)
    new = world.leader()
    assert world.call(new, prewrite(b"k", b"3", 12)).errors == ()
    world.cuts.clear()
    world.run_ms(3000)
    assert world.replies[proposed].region_error == m.StaleCommand()


def test_a_split_cuts_between_users_keys(world):
    leader = world.leader()
    for key in (b"a", b"m", b"z"):
        write(world, leader, key, b"1", 10, 20)
    answer = world.stores[leader].control("split", {"key": "m", "id": 7, "peers": (71, 72, 73)})
    assert answer["started"]
    world.run_ms(2000)
    peers = world.stores[leader].peers
    assert peers[1].region.start == peers[7].region.end == encode_key(b"m")
    assert (len(peers[7].state), len(peers[1].state)) == (1, 2)
    left, right = m.Context(7, version=2), m.Context(1, version=2)
    assert world.call(leader, txn.Get(b"a", 30, left)).value == b"1"
    assert world.call(leader, txn.Get(b"m", 30, right)).value == b"1"
    wrong = prewrite(b"a", b"2", 40, context=right)
    assert isinstance(world.call(leader, wrong).region_error, m.KeyNotInRegion)
    old = prewrite(b"a", b"2", 40)
    assert isinstance(world.call(leader, old).region_error, m.EpochNotMatch)


# -- counters ------------------------------------------------------------------------------------


class Clients:
    """Each adds one to a counter by optimistic transactions, and cleans up whatever is in its way."""

    def __init__(self, world, seed):
        self.world, self.draws = world, Draws(f"counters/{seed}")
        self.ts = 1000
        self.sure = self.maybe = 0

    def now(self):
        self.ts += 1 << 18
        return self.ts

    def route(self, key):
        for name, store in self.world.stores.items():
            for peer in store.peers.values():
                region = peer.region
                leads = peer.raft.role.value == "leader"
                if leads and region is not None and region.covers(encode_key(key)):
                    return name, m.Context(region.id, 1, region.epoch.version)
        return None

    def call(self, key, make):
        """Generator: the answer, or None where there was none."""
        target = self.route(key)
        if target is None:
            return None
        token = self.world.ask(target[0], make(target[1]))
        for _ in range(40):
            yield
            if token in self.world.replies:
                reply = self.world.replies[token]
                return reply if reply.region_error is None else None
        return None

    def clean(self, key, lock):
        """Decide a lock that is in the way: roll it back, or follow its primary."""
        now = self.now()
        status = yield from self.call(
            key, lambda c: txn.CheckTxnStatus(key, lock.start_ts, now, 2**62, True, context=c)
        )
        if status is not None and status.error is None:
            yield from self.call(
                key,
                lambda c: txn.ResolveLock(
                    lock.start_ts, status.commit_ts, keys=(key,), context=c
                ),
            )

    def add(self, key):
        start = self.now()
        got = yield from self.call(key, lambda c: txn.Get(key, start, c))
        if got is None:
            return
        if got.error is not None:
            yield from self.clean(key, got.error.lock)
            return
        value = b"%d" % (int(got.value or b"0") + 1)
        done = yield from self.call(key, lambda c: prewrite(key, value, start, context=c))
        if done is None or done.errors:
            return
        commit = self.now()
        answer = yield from self.call(
            key, lambda c: txn.Commit((key,), start, commit, context=c)
        )
        if answer is None:
            self.maybe += 1
        elif answer.error is None:
            self.sure += 1

    def run(self, key, rounds):
        for _ in range(rounds):
            yield from self.add(key)
            yield


def trouble(world, draws, ids):
    world.mend()
    alive = list(world.nodes)
    kind = draws.choice(["cut", "kill", "power", "power-all", "transfer", "split", "split"])
    if kind == "cut":
        world.isolate(draws.choice(alive))
    elif kind == "kill":
        world.kill(draws.choice(alive))
    elif kind == "power":
        world.power(draws.choice(alive), torn_bytes=draws.randrange(200))
    elif kind == "power-all":
        world.power(*alive)
        world.start()
    for store in world.stores.values():
        for peer in list(store.peers.values()):
            if peer.raft.role.value != "leader":
                continue
            if kind == "transfer":
                peer.raft.transfer_leader(draws.choice(alive))
            elif kind == "split" and len(store.peers) < 4:
                ids[0] += 10
                new = SplitIds(ids[0], tuple(ids[0] + n for n in (1, 2, 3)))
                peer.split((encode_key(draws.choice((b"b", b"c", b"b1"))),), (new,))
            store.wake(peer)
        store.work()


def count(new_world, seed, make=None):
    """(surely added, perhaps added, found) of all counters together."""
    options = {} if make is None else {"make": make}
    world = new_world(seed=seed, mode="txn", slow_apply_ms=(seed % 2) * 30.0, **options)
    world.start()
    world.leader()
    clients = Clients(world, seed)
    keys = (b"a", b"b", b"c")
    running = [clients.run(key, 60) for key in keys for _ in range(3)]
    ids = [100]
    for step in range(600):
        if step % 100 == 99:
            trouble(world, clients.draws, ids)
        for one in list(running):
            if next(one, running) is running:
                running.remove(one)
        world.run_ms(15)
    world.mend()
    world.run_ms(8000)
    found = {}

    def read(key):
        for _ in range(10):
            got = yield from clients.call(key, lambda c: txn.Get(key, clients.now(), c))
            if got is not None and got.error is None:
                found[key] = int(got.value or b"0")
                return
            if got is not None:
                yield from clients.clean(key, got.error.lock)

    reading = [read(key) for key in keys]
    while reading:
        reading = [one for one in reading if next(one, running) is not running]
        world.run_ms(15)
    assert len(found) == len(keys)
    return clients.sure, clients.maybe, sum(found.values())


@pytest.mark.parametrize("seed", range(6))
def test_counters_add_up(new_world, seed):
    sure, maybe, found = count(new_world, seed)
    assert sure > 40
    assert sure <= found <= sure + maybe
