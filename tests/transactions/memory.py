"""A transactional database in memory: many versions, one timestamp counter, locks; and its sins.

It does what a correct system does (snapshot isolation, serializable by validation, two-phase locking,
read committed), one step of one client at a time in an order drawn from the seed.  ``sins`` names
mistakes that it then makes now and then; ``sinned`` counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from types import coroutine
from typing import Any

from splitbrain.checkers.transactions.evidence import (
    Dump,
    Footprint,
    LockRecord,
    Part,
    Step,
    WriteRecord,
)
from splitbrain.contracts.workload import TxnOptions
from splitbrain.env.random import Stream
from splitbrain.errors import Definite, Undetermined
from splitbrain.history.op import Op

PATIENCE = 200
"""Turns that a transaction waits for another's lock."""


@coroutine
def pause() -> Generator[None, None, None]:
    """Let another client go on."""
    yield


def interleave(clients: Iterable[Coroutine[Any, Any, None]], stream: Stream) -> None:
    """Run them to their ends, one step of a random one after the other."""
    alive = list(clients)
    while alive:
        place = stream.randrange(len(alive))
        try:
            alive[place].send(None)
        except StopIteration:
            alive.pop(place)


class Database:
    """Versions, locks and the counter."""

    def __init__(
        self,
        stream: Stream,
        *,
        sins: Iterable[str] = (),
        sin_chance: float = 0.3,
        unknown_chance: float = 0.0,
        tell_versions: bool = True,
    ) -> None:
        self.stream = stream
        self.sins = frozenset(sins)
        self.sin_chance = sin_chance
        self.unknown_chance = unknown_chance
        self.tell_versions = tell_versions
        self.sinned: Counter[str] = Counter()
        self.clock = 10
        self.records: dict[str, list[WriteRecord]] = {}
        self.locks: dict[str, Transaction] = {}
        self.waits: dict[int, int] = {}
        self.orphans: list[Transaction] = []
        self.uncommitted: dict[str, Any] = {}

    def sin(self, name: str) -> bool:
        """Whether to make this mistake now."""
        if name not in self.sins or self.stream.random() >= self.sin_chance:
            return False
        self.sinned[name] += 1
        return True

    def now(self) -> int:
        """A fresh timestamp."""
        self.clock += 1
        return self.clock

    def read(self, key: str, at: int) -> tuple[Any, int]:
        """The latest value committed at or before ``at``, and its commit timestamp."""
        for record in reversed(self.records.get(key, ())):
            if record.commit_ts <= at and record.kind != "lock":
                return (record.value, record.commit_ts) if record.kind == "put" else (None, 0)
        return None, 0

    def newest(self, key: str) -> int:
        """The commit timestamp of the newest record of any kind."""
        return self.records[key][-1].commit_ts if self.records.get(key) else 0

    def open(self, node: str = "n1") -> Session:
        """A session."""
        return Session(self, node)

    def settle(self) -> None:
        """End a transaction whose client went away: commit it late, or roll it back."""
        if self.orphans:
            orphan = self.orphans.pop(self.stream.randrange(len(self.orphans)))
            if self.stream.random() < 0.5 and not orphan.overtaken():
                orphan.apply(orphan._commit_ts(sorted(orphan.buffer)))
            orphan.release()

    def dump(self, node: str) -> Dump:
        """Everything."""
        writes = tuple(record for key in sorted(self.records) for record in self.records[key])
        locks = tuple(
            LockRecord(key, "put", txn.foot.start_ts, txn.foot.primary or key, value=0)
            for key, txn in sorted(self.locks.items())
        )
        part = Part(fresh=True, applied=len(writes), writes=writes, locks=locks)
        return Dump(node=node, parts=(part,))


class Session:
    """The vocabulary ``txn``."""

    def __init__(self, database: Database, node: str) -> None:
        self.database = database
        self.node = node
        self.closed = False

    async def transact(
        self,
        body: Callable[[Transaction], Awaitable[Any]],
        options: TxnOptions,
        footprint: Footprint,
    ) -> Any:
        database = self.database
        await pause()
        database.settle()
        start_ts = database.now()
        if database.sin("old-start"):
            start_ts = max(1, start_ts - 1 - database.stream.randrange(12))
        footprint.start_ts = start_ts
        footprint.mode, footprint.isolation = options.mode, options.isolation
        footprint.version = options.version
        txn = Transaction(database, options, footprint)
        try:
            result = await body(txn)
            await pause()
            await txn.commit()
        except BaseException:
            txn.release()
            raise
        txn.release()
        return result

    async def timestamp(self) -> int:
        await pause()
        return self.database.now()

    async def dump(self) -> Mapping[str, Any]:
        await pause()
        return self.database.dump(self.node).plain()

    async def close(self) -> None:
        self.closed = True


class Transaction:
    """One transaction under way."""

    def __init__(self, database: Database, options: TxnOptions, foot: Footprint) -> None:
        self.database = database
        self.options = options
        self.foot = foot
        self.buffer: dict[str, Any] = {}
        self.inserted: set[str] = set()
        self.orphaned = False

    # --- reads ------------------------------------------------------------------------------------

    async def get(self, key: str) -> Any:
        database = self.database
        if key in self.buffer and not database.sin("forgets-own"):
            self._did("get", key, self.buffer[key])
            return self.buffer[key]
        await pause()
        at, told = self._read_ts()
        asked = at
        if database.sin("stale"):
            asked = max(0, database.read(key, at)[1] - 1)
        elif database.sin("future"):
            asked = database.clock + 1
        value, commit_ts = database.read(key, asked)
        if key in database.uncommitted and database.sin("dirty"):
            value, commit_ts = database.uncommitted[key], 0
        self._did("get", key, value, told, commit_ts if database.tell_versions else 0)
        return value

    async def scan(self, start: str, end: str, limit: int = 0) -> list[tuple[str, Any]]:
        database = self.database
        await pause()
        at, told = self._read_ts()
        found = {key: database.read(key, at)[0] for key in database.records}
        if found and database.sin("scan-misses"):
            found.pop(database.stream.choice(sorted(found)))
        found |= self.buffer
        pairs = [
            (key, value)
            for key, value in sorted(found.items())
            if value is not None and start <= key and (not end or key < end)
        ]
        pairs = pairs[:limit] if limit else pairs
        self._did("scan", [start, end, limit], [list(pair) for pair in pairs], told)
        return pairs

    async def get_for_update(self, key: str) -> Any:
        await self._lock(key)
        if key in self.buffer:
            self._did("lock", key, self.buffer[key])
            return self.buffer[key]
        at = self.foot.for_update_ts[key]
        stale = self.database.sin("stale-lock-read")
        value, commit_ts = self.database.read(key, self.foot.start_ts if stale else at)
        self._did("lock", key, value, at, commit_ts if self.database.tell_versions else 0)
        return value

    def _read_ts(self) -> tuple[int, int]:
        """As of when to read, and what the step says of it."""
        if self.options.isolation == "read-committed":
            at = self.database.now()
            return at, at
        return self.foot.read_ts, 0

    # --- writes -----------------------------------------------------------------------------------

    async def put(self, key: str, value: Any) -> None:
        await self._write("put", key, value)

    async def delete(self, key: str) -> None:
        await self._write("delete", key, None)

    async def insert(self, key: str, value: Any) -> None:
        if self.buffer.get(key) is not None:
            raise Definite("already-exists")
        if key not in self.buffer:
            self.inserted.add(key)
        await self._write("insert", key, value)
        if self.options.mode == "pessimistic":
            self._check_absent(key)

    async def _write(self, kind: str, key: str, value: Any) -> None:
        if self.options.mode == "pessimistic":
            await self._lock(key)
        self.buffer[key] = value
        self.database.uncommitted[key] = value
        self._did(kind, key, value)

    def _check_absent(self, key: str) -> None:
        there = key in self.inserted and self.database.read(key, 1 << 60)[0] is not None
        if there and not self.database.sin("blind-insert"):
            raise Definite("already-exists")

    # --- locks ------------------------------------------------------------------------------------

    async def _lock(self, key: str) -> None:
        database, mine = self.database, self.foot.start_ts
        if database.locks.get(key) is self:
            return
        await self._free(key)
        if self.foot.primary is None:
            self.foot.primary = key
        database.locks[key] = self
        self.foot.for_update_ts[key] = database.now()
        assert mine < self.foot.for_update_ts[key]

    async def _free(self, key: str) -> None:
        """Wait until nobody else locks the key."""
        database, mine = self.database, self.foot.start_ts
        for _ in range(PATIENCE):
            holder = database.locks.get(key)
            if holder is None or holder is self or database.sin("locks-shared"):
                database.waits.pop(mine, None)
                return
            database.waits[mine] = holder.foot.start_ts
            if self._deadlocked():
                database.waits.pop(mine, None)
                raise Definite("deadlock")
            await pause()
            database.settle()
        database.waits.pop(mine, None)
        raise Definite("lock-timeout")

    def _deadlocked(self) -> bool:
        at: int | None = self.foot.start_ts
        for _ in range(len(self.database.waits) + 1):
            at = self.database.waits.get(at) if at is not None else None
            if at == self.foot.start_ts:
                return True
        return False

    def release(self) -> None:
        """Give up all locks."""
        if self.orphaned and self in self.database.orphans:
            return
        for key in [key for key, holder in self.database.locks.items() if holder is self]:
            del self.database.locks[key]
        self.database.waits.pop(self.foot.start_ts, None)
        for key in self.buffer:
            self.database.uncommitted.pop(key, None)

    # --- the commit -------------------------------------------------------------------------------

    async def commit(self) -> None:
        database, stream = self.database, self.database.stream
        keys = sorted(self.buffer)
        if not keys and not self.foot.for_update_ts:
            return
        early = database.now() if database.sin("early-commit-ts") else 0
        if early:
            for _ in range(6):
                await pause()
        self.foot.primary = self.foot.primary or keys[0]
        while not all(database.locks.get(key) in (None, self) for key in keys):
            for key in keys:
                await self._free(key)
            if "locks-shared" in database.sins:
                break
        self._check_conflicts(keys)
        for key in keys:
            self._check_absent(key)
            database.locks[key] = self
        if stream.random() < database.unknown_chance:
            await self._vanish()
        self.foot.path = stream.choice(("2pc", "async"))
        commit_ts = early or self._commit_ts(keys)
        if database.sin("lost-ack"):
            self.foot.commit_ts = commit_ts
            return
        self.apply(commit_ts)
        if database.sin("ghost"):
            self.foot.commit_ts = 0
            raise Definite("write-conflict")

    def _commit_ts(self, keys: list[str]) -> int:
        """Of the counter, or one more than all that it gave: the next start may be equal to it."""
        database = self.database
        newest = max(database.newest(key) for key in [*keys, *self.foot.for_update_ts])
        if self.foot.path == "async" and newest <= database.clock:
            return database.clock + 1
        while True:
            commit_ts = database.now()
            if commit_ts > newest:
                return commit_ts

    async def _vanish(self) -> None:
        """The client goes away: nothing was committed, or was, or will be later, or never."""
        kind = self.database.stream.choice(("before", "after", "late"))
        if kind == "after":
            self.apply(self._commit_ts(sorted(self.buffer)))
        elif kind == "late":
            self.orphaned = True
            self.database.orphans.append(self)
        self.foot.commit_ts = 0
        raise Undetermined("timeout", kind)

    def _check_conflicts(self, keys: list[str]) -> None:
        database, foot = self.database, self.foot
        if self.overtaken() and not database.sin("no-validation"):
            raise Definite("write-conflict")
        if foot.mode == "pessimistic" or database.sin("no-conflict-check"):
            return
        if foot.isolation == "read-committed" and database.stream.random() < 0.5:
            return
        for key in keys:
            if database.newest(key) > foot.start_ts:
                raise Definite("write-conflict")

    def overtaken(self) -> bool:
        """Whether it is serializable, and something that it read has changed."""
        foot = self.foot
        read = [step.key for step in foot.steps if step.kind == "get"]
        read += [key for step in foot.steps if step.kind == "scan" for key, _ in step.value]
        return foot.isolation == "serializable" and any(
            self.database.newest(key) > foot.read_ts for key in read
        )

    def apply(self, commit_ts: int) -> None:
        """Make the writes visible."""
        database, foot = self.database, self.foot
        foot.commit_ts = commit_ts
        keys = sorted(self.buffer)
        if len(keys) > 1 and database.sin("half"):
            keys = keys[1:]
        for key in keys:
            value = self.buffer[key]
            first = [
                s.value for s in foot.steps if s.key == key and s.kind in ("put", "insert")
            ]
            if len(first) > 1 and value is not None and database.sin("intermediate"):
                value = first[0]
            kind = "delete" if value is None else "put"
            record = WriteRecord(key, commit_ts, foot.start_ts, kind, value)  # type: ignore[arg-type]
            self._place(record)
        for key in sorted(foot.for_update_ts.keys() - self.buffer.keys()):
            self._place(WriteRecord(key, commit_ts, foot.start_ts, "lock"))

    def _place(self, record: WriteRecord) -> None:
        line = self.database.records.setdefault(record.key, [])
        line.append(record)
        line.sort(key=lambda each: each.commit_ts)

    def _did(
        self, kind: str, key: Any, value: Any = None, at: int = 0, commit_ts: int = 0
    ) -> None:
        self.foot.steps.append(Step(kind, key, value, at, commit_ts))  # type: ignore[arg-type]


class Recorder:
    """Events as clients see them, in the order in which they happen."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def add(self, op: Op) -> None:
        self.ops.append(op)

    def event(self, process: int, kind: str, f: str, **fields: Any) -> None:
        index = len(self.ops)
        self.ops.append(
            Op(index=index, time_ns=index * 10**6, process=process, type=kind, f=f, **fields)  # type: ignore[arg-type]
        )
