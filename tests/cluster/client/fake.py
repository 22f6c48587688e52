"""A cluster for the client alone: regions with the real rules of transactions, a TSO, bad weather.

One state per region stands for all its replicas: what Raft does is not at stake here, but what a
leader's fall looks like is.  Everything runs on a SimLoop and draws from one stream.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from splitbrain.cluster.client.outcome import REPLIES
from splitbrain.cluster.messages import pd, pd_errors
from splitbrain.cluster.messages import region_errors as errors
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.key_errors import Deadlock, WaitForEntry
from splitbrain.cluster.messages.pd_types import PdMember, PdRegion, StoreMeta, split_ts
from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.cluster.mvcc.codec import decode_key, encode_key, split_version
from splitbrain.cluster.mvcc.deadlock import WaitGraph
from splitbrain.cluster.mvcc.engine import Decision
from splitbrain.cluster.mvcc.latches import Latches
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.pessimistic import woken
from splitbrain.cluster.mvcc.records import WriteKind, decode_record
from splitbrain.cluster.mvcc.service import READS, Mvcc
from splitbrain.cluster.mvcc.view import View
from splitbrain.cluster.storage.columns import Column, Columns

NODES = ("n1", "n2", "n3")
RULES = Mvcc()


class FakeRegion:
    def __init__(self, cluster: FakeCluster, meta: Region, leader: int, state: Columns) -> None:
        self.cluster = cluster
        self.meta = meta
        self.leader = leader
        self.state = state
        self.previous = meta
        self.reset()

    def reset(self) -> None:
        """A leader begins: what its predecessor had in memory is gone."""
        self.memory = Memory()
        self.memory.raise_max_ts(self.cluster.tso())
        self.latches = Latches()
        self.graph = WaitGraph(ttl_ms=500)
        self.jobs: dict[int, tuple[Any, Any, tuple[bytes, ...]]] = {}
        self.pending: list[tuple[int, Decision]] = []
        self.waiters: list[tuple[int, int, Any, Decision, Any]] = []
        self.term = object()

    # -- requests ----------------------------------------------------------------------------

    def receive(self, request: Any, respond: Any) -> None:
        if isinstance(request, READS):
            respond(RULES.read(request, self.state, self.memory))
            return
        number, keys = self.cluster.number(), RULES.keys_of(request, self.state)
        self.jobs[number] = (request, respond, keys)
        if self.latches.acquire(number, keys):
            self.decide(number)

    def decide(self, number: int) -> None:
        request, respond, keys = self.jobs[number]
        decision = RULES.decide(request, self.state, self.memory, keys)
        if decision.writes:
            self.memory.hold(decision.held)
            self.pending.append((number, decision))
            term = self.term
            self.cluster.later(self.cluster.draw_ms(self.cluster.lag_ms), self.apply_next, term)
            return
        if decision.wait is not None:
            self.wait(request, decision, respond)
        else:
            respond(decision.reply)
        self.free(number)

    def free(self, number: int) -> None:
        del self.jobs[number]
        for other in self.latches.release(number):
            self.decide(other)

    def apply_next(self, term: object) -> None:
        if term is self.term:
            number, decision = self.pending.pop(0)
            respond = self.jobs[number][1]
            self.put(decision)
            self.memory.release(decision.held)
            respond(decision.reply)
            for key in decision.released:
                self.wake(key)
            self.free(number)

    def put(self, decision: Decision) -> None:
        self.state.apply(decision.writes)
        for column, stored, data in decision.writes:
            if column is Column.WRITE and data is not None:
                encoded, commit_ts = split_version(stored)
                record = decode_record(data)
                if record.is_commit:
                    put = record.kind is WriteKind.PUT
                    value = View(self.state).value(encoded, record) if put else None
                    entry = (record.start_ts, record.kind, value)
                    self.cluster.commits[decode_key(encoded), commit_ts] = entry

    # -- waiting -----------------------------------------------------------------------------

    def wait(self, request: Any, decision: Decision, respond: Any) -> None:
        wait = decision.wait
        assert wait is not None
        edge = WaitForEntry(wait.start_ts, wait.lock_ts, wait.key)
        if not wait.first_lock:
            found = self.graph.detect(edge, self.cluster.now_ms())
            if isinstance(found, Deadlock):
                respond(type(decision.reply)(errors=(found,)))
                return
        waiter = (wait.start_ts, self.cluster.number(), request, decision, respond)
        self.waiters.append(waiter)
        self.waiters.sort(key=lambda one: one[:2])
        self.cluster.later(min(wait.limit_ms, 40), self.give_up, waiter)

    def give_up(self, waiter: Any) -> None:
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            self.gone(waiter)
            waiter[4](waiter[3].reply)

    def gone(self, waiter: Any) -> None:
        wait = waiter[3].wait
        self.graph.ended(WaitForEntry(wait.start_ts, wait.lock_ts, wait.key))

    def wake(self, key: bytes) -> None:
        for waiter in list(self.waiters):
            if waiter[3].wait.key == key:
                self.waiters.remove(waiter)
                self.gone(waiter)
                waiter[4](woken(waiter[2], waiter[3].wait))
                return

    # -- the leader falls, the region splits -------------------------------------------------

    def change_leader(self, store: int) -> None:
        """Entries on their way are applied or lost, from some point on."""
        draw = self.cluster.stream
        kept = draw.randrange(len(self.pending) + 1)
        lost = {number for number, _ in self.pending[kept:]}
        for _, decision in self.pending[:kept]:
            self.put(decision)
        jobs = self.jobs
        pending = {number for number, _ in self.pending}
        self.leader = store
        self.reset()
        for number, (request, respond, _) in jobs.items():
            error: Any = errors.UndeterminedResult()
            if number not in pending:
                error = errors.NotLeader()
            elif number in lost and draw.random() < 0.5:
                error = errors.StaleCommand()
            if number not in pending or draw.random() < 0.6:
                respond(REPLIES[type(request)](region_error=error))

    def split(self, key: bytes, new_id: int) -> None:
        for number, decision in self.pending:
            self.put(decision)
            self.jobs[number][1](decision.reply)
        done = {number for number, _ in self.pending}
        stale = [job for number, job in self.jobs.items() if number not in done]
        meta, at = self.meta, encode_key(key)
        epoch = Epoch(meta.epoch.conf_version, meta.epoch.version + 1)
        peers = tuple(Peer(new_id * 10 + p.store_id, p.store_id) for p in meta.peers)
        right = FakeRegion(
            self.cluster,
            Region(new_id, at, meta.end, epoch, peers),
            self.leader,
            self.state.split_off(at),
        )
        self.cluster.regions[new_id] = right
        self.previous = meta
        self.meta = Region(meta.id, meta.start, at, epoch, meta.peers)
        self.reset()
        moved = errors.EpochNotMatch(regions=(self.meta, right.meta))
        for request, respond, _ in stale:
            respond(REPLIES[type(request)](region_error=moved))


class FakeCluster:
    """Stores 1..3 on n1..n3, a PD on each; made inside a running loop."""

    def __init__(self, stream: random.Random, *, calm: bool = False) -> None:
        self.stream = stream
        self.loop = asyncio.get_running_loop()
        self.count = 0
        self.last_ts = 0
        self.commits: dict[tuple[bytes, int], tuple[int, WriteKind, bytes | None]] = {}
        self.loss = 0.0 if calm else stream.choice((0.0, 0.0, 0.05, 0.15, 0.3))
        self.reset = 0.0 if calm else stream.choice((0.0, 0.0, 0.05))
        self.doubling = 0.0 if calm else stream.choice((0.0, 0.2))
        self.lag_ms = stream.choice((1, 4, 12))
        self.delay_ms = stream.choice((1, 3, 8))
        self.down: set[str] = set()
        self.pd_leader = "n1"
        self.tso_requests = 0
        peers = tuple(Peer(10 + store, store) for store in (1, 2, 3))
        first = FakeRegion(self, Region(1, b"", b"", Epoch(), peers), 1, Columns())
        self.regions = {1: first}
        self.stores = tuple(
            StoreMeta(n + 1, node, labels=(("dc", f"dc{n}"),)) for n, node in enumerate(NODES)
        )

    # -- time --------------------------------------------------------------------------------

    def number(self) -> int:
        self.count += 1
        return self.count

    def now_ms(self) -> int:
        return 1_000 + int(self.loop.time() * 1000)

    def later(self, delay_ms: float, what: Any, *arguments: Any) -> None:
        self.loop.call_later(delay_ms / 1e3, what, *arguments)

    def draw_ms(self, most: float) -> float:
        long = 12 if self.stream.random() < 0.06 else 1
        return self.stream.random() * most * long

    def tso(self, count: int = 1) -> int:
        self.last_ts = max(self.last_ts, self.now_ms() << 18) + count
        return self.last_ts

    # -- the network -------------------------------------------------------------------------

    async def call(self, node: str, request: Any, *, timeout_s: float) -> Any:
        outcome = self.loop.create_future()
        draw = self.stream
        if node in self.down:
            await asyncio.sleep(0.001)
            raise ConnectionError(f"{node} is down")

        def end(answer: Any) -> None:
            if not outcome.done():
                if isinstance(answer, Exception):
                    outcome.set_exception(answer)
                else:
                    outcome.set_result(answer)

        def back(answer: Any) -> None:
            for _ in range(1 + (draw.random() < self.doubling)):
                if draw.random() >= self.loss:
                    self.later(self.draw_ms(self.delay_ms), end, answer)

        if draw.random() >= self.loss:
            self.later(self.draw_ms(self.delay_ms), self.arrive, node, request, back)
        if draw.random() < self.reset:
            self.later(self.draw_ms(self.delay_ms), end, EOFError("reset"))
        timer = self.loop.call_later(timeout_s, end, TimeoutError("no answer"))
        try:
            return await outcome
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Nothing to close."""

    def monotonic_ns(self) -> int:
        return int(self.loop.time() * 1e9)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def arrive(self, node: str, request: Any, back: Any) -> None:
        if node in self.down:
            return
        if isinstance(request, pd.PdRequest.__args__):
            back(self.ask_pd(node, request))
        else:
            self.serve(node, request, back)

    # -- stores ------------------------------------------------------------------------------

    def serve(self, node: str, request: Any, back: Any) -> None:
        error = self.refusal(node, request)
        if error is not None:
            back(REPLIES[type(request)](region_error=error))
        else:
            self.regions[request.context.region_id].receive(request, back)

    def refusal(self, node: str, request: Any) -> Any:
        context, store = request.context, NODES.index(node) + 1
        region = self.regions.get(context.region_id)
        if context.store_id != store:
            return errors.StoreNotMatch(context.store_id, store)
        if region is None:
            return errors.RegionNotFound(context.region_id)
        if region.leader != store and context.replica_read is ReplicaRead.LEADER:
            known = self.stream.random() < 0.7
            return errors.NotLeader(NODES[region.leader - 1] if known else "")
        if context.version != region.meta.epoch.version:
            regions = [
                r.meta for r in self.regions.values() if overlap(r.meta, region.previous)
            ]
            known = self.stream.random() < 0.7
            return errors.EpochNotMatch(regions=tuple(regions) if known else ())
        if self.stream.random() < self.reset / 2:
            return errors.ServerIsBusy("full")
        return None

    # -- PD ----------------------------------------------------------------------------------

    def ask_pd(self, node: str, request: Any) -> Any:
        if isinstance(request, pd.GetMembers):
            members = tuple(PdMember(n, i) for i, n in enumerate(NODES))
            return pd.GetMembersReply(members, self.pd_leader)
        if node != self.pd_leader:
            return pd.TsoReply(error=pd_errors.PdNotLeader(self.pd_leader))
        if isinstance(request, pd.Tso):
            self.tso_requests += 1
            physical, logical = split_ts(self.tso(request.count))
            return pd.TsoReply(physical, logical, request.count)
        if isinstance(request, pd.GetAllStores):
            return pd.GetAllStoresReply(self.stores)
        if isinstance(request, pd.GetRegion):
            return pd.GetRegionReply(self.told(request.key))
        if isinstance(request, pd.GetPrevRegion):
            at = next(r.meta for r in self.regions.values() if r.meta.covers(request.key))
            before = next(r for r in self.regions.values() if r.meta.end == at.start)
            return pd.GetRegionReply(self.pd_region(before))
        assert isinstance(request, pd.ScanRegions)
        ordered = sorted(self.regions.values(), key=lambda r: r.meta.start)
        return pd.ScanRegionsReply(tuple(map(self.pd_region, ordered)))

    def told(self, key: bytes) -> PdRegion:
        """What PD believes: now and then what was before the last split."""
        region = next(r for r in self.regions.values() if r.meta.covers(key))
        if region.previous is not region.meta and self.stream.random() < 0.2:
            return PdRegion(region.previous, region.previous.peer_on(region.leader))
        return self.pd_region(region)

    def pd_region(self, region: FakeRegion) -> PdRegion:
        stale = self.stream.random() < 0.2
        leader = region.meta.peers[0] if stale else region.meta.peer_on(region.leader)
        return PdRegion(region.meta, leader)

    # -- faults ------------------------------------------------------------------------------

    def split_at(self, key: bytes) -> None:
        region = next(r for r in self.regions.values() if r.meta.covers(encode_key(key)))
        if region.meta.start != encode_key(key):
            region.split(key, max(self.regions) + 1)

    def move_leader(self) -> None:
        region = self.stream.choice(list(self.regions.values()))
        region.change_leader(self.stream.choice([1, 2, 3]))

    def move_pd(self) -> None:
        self.pd_leader = self.stream.choice(NODES)

    def locks(self) -> int:
        return sum(region.state.count(Column.LOCK) for region in self.regions.values())


def overlap(one: Region, other: Region) -> bool:
    below = not one.end or one.end > other.start
    return below and (not other.end or other.end > one.start)
