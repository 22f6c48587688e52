"""One region's store in virtual time: latches, entries on their way, memory locks, waiters, GC.

What it checks at every step is named after the invariants of the textbook's white box:

- I1 a lock is never put over another transaction's;
- I2 start_ts < commit_ts; a record is never put over another; nothing was committed to the key
  after the writer's view of it;
- I3 no transaction is both committed and rolled back at a key;
- I5 each PUT, record or lock, has its value;
- I6 nothing is committed at or below a timestamp at which the key has been read;
- a request decided a second time, right after it was applied, answers the same and writes nothing.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from typing import Any

from splitbrain.cluster.messages.key_errors import Deadlock, LockKind, WaitForEntry
from splitbrain.cluster.messages.txn import (
    Action,
    BatchGet,
    CheckTxnStatus,
    Get,
    PessimisticLock,
    Scan,
    ScanLock,
)
from splitbrain.cluster.mvcc.codec import (
    TS_MAX,
    decode_key,
    encode_key,
    split_version,
    versioned,
)
from splitbrain.cluster.mvcc.deadlock import WaitGraph
from splitbrain.cluster.mvcc.engine import Decision, Wait
from splitbrain.cluster.mvcc.latches import Latches
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.pessimistic import woken
from splitbrain.cluster.mvcc.records import (
    Lock,
    WriteKind,
    WriteRecord,
    decode_lock,
    decode_record,
)
from splitbrain.cluster.mvcc.safe_ts import safe_ts
from splitbrain.cluster.mvcc.service import READS, Mvcc
from splitbrain.cluster.mvcc.view import View
from splitbrain.cluster.storage.columns import Column, Columns, Write

__all__ = ["Broken", "Client", "World"]

Client = Generator[Any, Any, None]
Respond = Callable[[Any], None]


class Broken(Exception):
    """A promise was not kept."""

    def __init__(self, kind: str, story: str) -> None:
        super().__init__(f"{kind}: {story}")
        self.kind = kind


class World:
    """Everything random comes from ``stream``; times are milliseconds."""

    def __init__(
        self, stream: random.Random, rules: Mvcc | None = None, *, white_box: bool = True
    ) -> None:
        self.stream = stream
        self.rules = rules or Mvcc()
        self.white_box = white_box
        self.now = 1
        self.last_ts = 0
        self.heap: list[tuple[int, int, Callable[[], None], int]] = []
        self.count = 0
        self.state = Columns()
        self.memory = Memory()
        self.latches = Latches()
        self.graph = WaitGraph(ttl_ms=200)
        self.jobs: dict[int, tuple[Any, Respond, tuple[bytes, ...]]] = {}
        self.pending: list[tuple[int, Decision]] = []
        self.waiters: dict[bytes, list[tuple[int, int, PessimisticLock, Wait, Respond]]] = {}
        self.epoch = 0
        self.commits: dict[tuple[bytes, int], tuple[int, WriteKind, bytes | None]] = {}
        self.committed_at: dict[bytes, list[int]] = {}
        self.read_ts: dict[bytes, int] = {}
        self.replicas: list[tuple[int, Columns]] = []
        self.seen: dict[str, int] = {}
        self.loss, self.doubling, self.lag = 0.0, 0.0, 3
        self.delay = 4

    # -- time and messages -----------------------------------------------------------------------

    def tso(self) -> int:
        self.last_ts = max(self.last_ts + 1, self.now << 18)
        return self.last_ts

    def at(self, delay: int, what: Callable[[], None], start_ts: int = TS_MAX) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + delay, self.count, what, start_ts))

    def run(self, steps_max: int = 20_000) -> None:
        for _ in range(steps_max):
            if not self.heap:
                return
            self.now, _, what, _ = heapq.heappop(self.heap)
            what()
        raise Broken("endless", f"{steps_max} steps, and no end")

    def flight(self) -> int:
        draw = self.stream.random()
        return int(draw * self.delay * (12 if self.stream.random() < 0.08 else 1))

    def start(self, client: Client, delay: int = 0) -> None:
        self.at(delay, lambda: self.step(client, None))

    def step(self, client: Client, got: Any) -> None:
        """A client goes on: it sleeps (a number), or asks and gets a reply or None."""
        try:
            wanted = client.send(got)
        except StopIteration:
            return
        if isinstance(wanted, int):
            self.at(wanted, lambda: self.step(client, None))
            return
        answered: list[bool] = []

        def answer(reply: Any) -> None:
            if not answered:
                answered.append(True)
                self.step(client, reply)

        self.at(self.delay * 14, lambda: answer(None))
        start_ts = started(wanted)
        copies = 1 + (self.stream.random() < self.doubling)
        for _ in range(copies):
            if self.stream.random() < self.loss:
                continue
            self.at(self.flight(), lambda: self.receive(wanted, back), start_ts)

        def back(reply: Any) -> None:
            if self.stream.random() >= self.loss:
                self.at(self.flight(), lambda: answer(reply))

    # -- the store -------------------------------------------------------------------------------

    def receive(self, request: Any, respond: Respond) -> None:
        name = type(request).__name__
        self.seen[name] = self.seen.get(name, 0) + 1
        if isinstance(request, READS):
            reply = self.rules.read(request, self.state, self.memory)
            self.note_reads(request, reply)
            respond(reply)
            return
        self.count += 1
        number, keys = self.count, self.rules.keys_of(request, self.state)
        self.jobs[number] = (request, respond, keys)
        if self.latches.acquire(number, keys):
            self.decide(number)

    def decide(self, number: int) -> None:
        request, respond, keys = self.jobs[number]
        decision = self.rules.decide(request, self.state, self.memory, keys)
        if decision.writes:
            self.memory.hold(decision.held)
            self.pending.append((number, decision))
            epoch = self.epoch
            self.at(int(self.stream.random() * self.lag), lambda: self.apply_next(epoch))
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

    def apply_next(self, epoch: int) -> None:
        if epoch == self.epoch:
            self.apply(*self.pending.pop(0))

    def apply(self, number: int, decision: Decision) -> None:
        request, respond, keys = self.jobs[number]
        self.put(decision)
        self.memory.release(decision.held)
        if self.white_box:
            self.check_keys(keys)
            self.check_repeated(request, decision, keys)
        respond(decision.reply)
        for key in decision.released:
            self.wake(key)
        self.free(number)

    def put(self, decision: Decision) -> None:
        before = [self.state.get(column, stored) for column, stored, _ in decision.writes]
        locks = {
            stored: decode_lock(old)
            for (column, stored, _), old in zip(decision.writes, before, strict=True)
            if column is Column.LOCK and old is not None
        }
        self.state.apply(decision.writes)
        for write, old in zip(decision.writes, before, strict=True):
            self.note_write(write, old, locks)

    def change_leader(self) -> None:
        """Entries on their way are applied or lost, from some point on; nobody is answered."""
        kept = self.stream.randrange(len(self.pending) + 1)
        for number, decision in self.pending[:kept]:
            self.put(decision)
            if self.white_box:
                self.check_keys(self.jobs[number][2])
        self.epoch += 1
        self.pending, self.jobs, self.waiters = [], {}, {}
        self.latches, self.memory = Latches(), Memory()
        self.graph = WaitGraph(ttl_ms=200)
        self.memory.raise_max_ts(self.tso())

    # -- waiting for pessimistic locks -----------------------------------------------------------

    def wait(self, request: PessimisticLock, decision: Decision, respond: Respond) -> None:
        wait = decision.wait
        assert wait is not None
        edge = WaitForEntry(wait.start_ts, wait.lock_ts, wait.key)
        if not wait.first_lock:
            found = self.graph.detect(edge, self.now)
            if isinstance(found, Deadlock):
                respond(type(decision.reply)(errors=(found,)))
                return
        self.count += 1
        waiter = (wait.start_ts, self.count, request, wait, respond)
        heapq.heappush(self.waiters.setdefault(wait.key, []), waiter)

        def give_up() -> None:
            queue = self.waiters.get(wait.key, [])
            if waiter in queue:
                queue.remove(waiter)
                heapq.heapify(queue)
                self.graph.ended(edge)
                respond(decision.reply)

        self.at(min(wait.limit_ms, self.delay * 5), give_up)

    def wake(self, key: bytes) -> None:
        queue = self.waiters.get(key)
        if queue:
            _, _, request, wait, respond = heapq.heappop(queue)
            self.graph.ended(WaitForEntry(wait.start_ts, wait.lock_ts, wait.key))
            respond(woken(request, wait))

    # -- garbage ---------------------------------------------------------------------------------

    def collect(self, live: list[int]) -> None:
        """Up to the newest safe point: below it no lock, no transaction, no message."""
        locks = [decode_lock(data).start_ts for _, data in self.state.scan(Column.LOCK)]
        held = [lock.start_ts for _, lock in self.memory.locks()]
        flying = [start_ts for _, _, _, start_ts in self.heap]
        waiting = [started(request) for request, _, _ in self.jobs.values()]
        safe_point = min([*locks, *held, *flying, *waiting, *live, self.tso()]) - 1
        if safe_point <= 0:
            return
        start: bytes | None = b""
        while start is not None:
            found = self.rules.collect(self.state, safe_point, start=start, keys_max=1)
            self.state.apply(found.writes)
            start = found.resume

    def replicate(self) -> None:
        """A replica gets a safe timestamp with this state, and will be read there."""
        version = safe_ts(self.state, self.memory, self.tso())
        copy = Columns()
        copy.restore(self.state.snapshot())
        self.replicas.append((version, copy))

    # -- white box -------------------------------------------------------------------------------

    def note_reads(self, request: Any, reply: Any) -> None:
        """Which keys were read, whatever came of it, at a timestamp that binds."""
        if isinstance(request, ScanLock) or request.version == TS_MAX:
            return
        if reply.error is not None or request.context.committed_locks:
            return
        if isinstance(request, Get):
            keys = {request.key}
        elif isinstance(request, BatchGet):
            keys = set(request.keys) - {p.key for p in reply.pairs if p.error is not None}
        else:
            assert isinstance(request, Scan)
            keys = {pair.key for pair in reply.pairs if pair.error is None}
        for key in keys:
            self.read_ts[key] = max(self.read_ts.get(key, 0), request.version)

    def note_write(self, write: Write, old: bytes | None, locks: dict[bytes, Lock]) -> None:
        column, stored, data = write
        if data is None or column is Column.DEFAULT:
            return
        if column is Column.LOCK:
            if old is not None and self.white_box:
                one, two = decode_lock(old), decode_lock(data)
                if one.start_ts != two.start_ts:
                    raise Broken("I1", f"{two} over {one}")
            return
        encoded, commit_ts = split_version(stored)
        record = decode_record(data)
        if record.is_commit:
            lock = locks.get(encoded)
            began = max(record.start_ts, lock.for_update_ts if lock is not None else 0)
            self.note_commit(encoded, commit_ts, record, old, began)

    def note_commit(
        self,
        encoded: bytes,
        commit_ts: int,
        record: WriteRecord,
        old: bytes | None,
        began: int,
    ) -> None:
        key = decode_key(encoded)
        value = self.value_of(encoded, record)
        entry = (record.start_ts, record.kind, value)
        before = self.commits.get((key, commit_ts))
        self.commits[key, commit_ts] = entry
        if not self.white_box:
            return
        if before is not None and before != entry:
            raise Broken("I2", f"{entry} over {before} at {key!r} {commit_ts}")
        other = decode_record(old) if old is not None else record
        told = record.has_overlapped_rollback or not other.protected
        if other.start_ts != record.start_ts and (other.is_commit or not told):
            raise Broken("I2", f"{record} over {other}")
        if before is None:
            self.committed_at.setdefault(key, []).append(commit_ts)
            if any(began < other < commit_ts for other in self.committed_at[key]):
                raise Broken(
                    "I2", f"{record} at {key!r} {commit_ts} has not seen all before it"
                )
            if record.start_ts >= commit_ts:
                raise Broken("I2", f"{record} committed at {commit_ts}")
            if record.kind is not WriteKind.LOCK and self.read_ts.get(key, 0) >= commit_ts:
                raise Broken("I6", f"{key!r} read at {self.read_ts[key]}, then {commit_ts}")

    def value_of(self, encoded: bytes, record: WriteRecord | Lock) -> bytes | None:
        if record.kind not in (WriteKind.PUT, LockKind.PUT) or record.short_value is not None:
            return record.short_value
        return self.state.get(Column.DEFAULT, versioned(encoded, record.start_ts))

    def check_keys(self, keys: tuple[bytes, ...]) -> None:
        """I3 and I5 at these keys."""
        for key in keys:
            committed, rolled_back = set(), set()
            view, encoded = View(self.state), encode_key(key)
            for commit_ts, record in view.versions(encoded):
                (committed if record.is_commit else rolled_back).add(record.start_ts)
                if record.has_overlapped_rollback:
                    rolled_back.add(commit_ts)
                if record.kind is WriteKind.PUT:
                    self.check_value(encoded, record)
            if both := committed & rolled_back:
                raise Broken("I3", f"{both} at {key!r}")
            lock = view.lock(encoded)
            if lock is not None and lock.kind is LockKind.PUT:
                self.check_value(encoded, lock)

    def check_value(self, encoded: bytes, written: WriteRecord | Lock) -> None:
        if written.short_value is None:
            stored = versioned(encoded, written.start_ts)
            if self.state.get(Column.DEFAULT, stored) is None:
                raise Broken("I5", f"no value of {written}")

    def check_repeated(self, request: Any, decision: Decision, keys: tuple[bytes, ...]) -> None:
        memory = Memory()
        memory.raise_max_ts(self.memory.max_ts)
        again = self.rules.decide(request, self.state, memory, keys)
        one: Any = decision.reply
        two: Any = again.reply
        if isinstance(request, CheckTxnStatus):
            if (
                request.verify_is_primary
                or one.action is Action.TTL_EXPIRE_PESSIMISTIC_ROLLBACK
            ):
                return  # it may have removed a pessimistic lock: now there is nothing
            one, two = (
                (one.ttl_ms, one.commit_ts, one.lock),
                (two.ttl_ms, two.commit_ts, two.lock),
            )  # but what it did then, it need not do again
        if one != two or again.writes:
            raise Broken("repeated", f"{request} got {one}, then {two} {again.writes}")


def started(request: Any) -> int:
    """Of which transaction a request is."""
    if isinstance(request, CheckTxnStatus):
        return request.lock_ts
    if getattr(request, "txns", ()):
        return int(request.txns[0][0])
    return int(getattr(request, "start_ts", getattr(request, "version", TS_MAX)))
