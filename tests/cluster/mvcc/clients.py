"""Clients of a :class:`World`, each a generator: transactions of all kinds, and lock resolution."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from splitbrain.cluster.messages.context import Context
from splitbrain.cluster.messages.key_errors import (
    Abort,
    CommitTsExpired,
    Locked,
    LockInfo,
    LockKind,
    TxnLockNotFound,
    TxnNotFound,
    WriteConflict,
)
from splitbrain.cluster.messages.txn import (
    Action,
    BatchGet,
    BatchRollback,
    CheckSecondaryLocks,
    CheckTxnStatus,
    Commit,
    Get,
    Mutation,
    MutationKind,
    PessimisticAction,
    PessimisticLock,
    PessimisticRollback,
    Prewrite,
    ResolveLock,
    Scan,
    ScanLock,
    TxnHeartBeat,
)
from splitbrain.cluster.mvcc.codec import TS_MAX, physical_ms

from .world import World

__all__ = ["KINDS", "Actor", "Txn"]

KINDS = (
    "optimistic",
    "pessimistic",
    "async",
    "one_pc",
    "pessimistic async",
    "pessimistic one_pc",
)
Steps = Generator[Any, Any, Any]
PUSHED = "pushed"


@dataclass
class Txn:
    """What its client knows of it."""

    start_ts: int
    kind: str
    keys: list[bytes] = field(default_factory=list)
    mutations: dict[bytes, Mutation] = field(default_factory=dict)
    for_update_ts: dict[bytes, int] = field(default_factory=dict)
    reads: list[tuple[bytes, int, bytes | None]] = field(default_factory=list)
    outcome: str = "open"
    commit_ts: int = 0
    done: bool = False
    absent: bytes = b""

    @property
    def chooses(self) -> bool:
        """Whether the store chooses the commit timestamp: then its prewrite may commit it."""
        return "async" in self.kind or "one_pc" in self.kind


class Actor:
    """One client; ``trouble``: how likely it pauses or dies at each of its steps."""

    def __init__(
        self, world: World, stream: random.Random, keys: list[bytes], kinds: tuple[str, ...]
    ) -> None:
        self.world, self.stream, self.keys, self.kinds = world, stream, keys, kinds
        self.trouble = 0.0
        self.ttl_ms = 40
        self.txns: list[Txn] = []
        self.passing: set[int] = set()
        self.committed: set[int] = set()

    def life(self, count: int) -> Steps:
        for number in range(count):
            yield self.stream.randrange(10)
            txn = Txn(self.world.tso(), self.stream.choice(self.kinds))
            self.txns.append(txn)
            self.passing, self.committed = set(), set()
            alive = yield from self.transaction(txn, number)
            txn.done = True
            if txn.outcome == "open":
                txn.outcome = "failed"
            if not alive:
                return

    def transaction(self, txn: Txn, number: int) -> Steps:
        """False if the client died."""
        draw = self.stream
        keys = draw.sample(self.keys, draw.randint(1, min(3, len(self.keys))))
        if "pessimistic" in txn.kind:
            locked = yield from self.lock(txn, keys)
            if not locked:
                yield from self.roll_back(txn, keys)
                return True
        if draw.random() < 0.75:
            yield from self.read(txn)
        if draw.random() < 0.15:
            return True  # read only
        self.fill(txn, keys, number)
        if (yield from self.hiccup(txn)):
            return False
        if not (yield from self.prewrite(txn)):
            if txn.outcome == "open" and draw.random() < 0.7:
                yield from self.roll_back(txn, keys)
            return True
        if txn.outcome == "ok":
            return True
        return (yield from self.commit(txn))

    def fill(self, txn: Txn, keys: list[bytes], number: int) -> None:
        """What it is going to write."""
        draw = self.stream
        for key in keys:
            kinds = [MutationKind.PUT] * 6 + [MutationKind.DELETE, MutationKind.LOCK]
            if "pessimistic" not in txn.kind:
                kinds.append(MutationKind.INSERT)
            value = b"%d/%d" % (txn.start_ts, number)
            if draw.random() < 0.15:
                value *= 200
            txn.mutations[key] = Mutation(draw.choice(kinds), key, value)
        txn.keys = keys
        others = [key for key in self.keys if key not in keys]
        if others and "pessimistic" not in txn.kind and draw.random() < 0.15:
            txn.absent = draw.choice(others)

    def hiccup(self, txn: Txn) -> Steps:
        """True if it dies here."""
        draw = self.stream.random()
        if draw < self.trouble / 3:
            return True
        if draw < self.trouble:
            yield self.stream.randrange(3 * self.ttl_ms)
        return False

    def ask(self, request: Any, tries: int = 3) -> Steps:
        """The reply, or None; sent again if there is none."""
        for attempt in range(tries):
            if attempt:
                context = msgspec.structs.replace(request.context, is_retry=True)
                request = msgspec.structs.replace(request, context=context)
            reply = yield request
            if reply is not None:
                return reply
        return None

    # -- reading ---------------------------------------------------------------------------------

    def read(self, txn: Txn) -> Steps:
        draw, ts = self.stream, txn.start_ts
        for _ in range(draw.randint(1, 2)):
            context = Context(
                resolved_locks=tuple(sorted(self.passing)),
                committed_locks=tuple(sorted(self.committed)),
            )
            shape = draw.randrange(4)
            keys = sorted(draw.sample(self.keys, draw.randint(1, len(self.keys))))
            if shape == 0:
                request: Any = Get(keys[0], ts, context)
            elif shape == 1:
                request = BatchGet(tuple(keys), ts, context)
            elif shape == 2:
                request = Scan(keys[0], b"", ts, 10, context=context)
                keys = [key for key in self.keys if key >= keys[0]]
            else:
                request = Scan(b"", keys[0], ts, 10, reverse=True, context=context)
                keys = [key for key in self.keys if key >= keys[0]]
            yield from self.read_until(txn, request, keys)
            yield draw.randrange(6)

    def read_until(self, txn: Txn, request: Any, keys: list[bytes]) -> Steps:
        for _ in range(8):
            reply = yield from self.ask(request, 2)
            if reply is None:
                return
            locks = locks_of(reply)
            if not locks:
                self.note(txn, request, reply, keys)
                return
            for lock in locks:
                found = yield from self.resolve(lock, txn.start_ts)
                if found is None:
                    yield self.stream.randrange(12)
                elif found == PUSHED or found == 0 or found > txn.start_ts:
                    self.passing.add(lock.start_ts)
                else:
                    self.committed.add(lock.start_ts)
            context = Context(
                resolved_locks=tuple(sorted(self.passing)),
                committed_locks=tuple(sorted(self.committed)),
            )
            request = msgspec.structs.replace(request, context=context)

    def note(self, txn: Txn, request: Any, reply: Any, keys: list[bytes]) -> None:
        if isinstance(request, Get):
            txn.reads.append((request.key, request.version, reply.value))
            return
        got = {pair.key: pair.value for pair in reply.pairs}
        for key in keys:
            txn.reads.append((key, request.version, got.get(key)))

    # -- others' locks ---------------------------------------------------------------------------

    def resolve(self, lock: LockInfo, caller: int) -> Steps:
        """What became of it: a commit timestamp, 0 (rolled back), PUSHED, or None (wait)."""
        current = TS_MAX if lock.ttl_ms == 0 else self.world.tso()
        expired = physical_ms(lock.start_ts) + lock.ttl_ms < physical_ms(current)
        pessimistic = lock.kind is LockKind.PESSIMISTIC
        decided = yield from self.status(lock, caller, current, expired, pessimistic)
        if decided in (None, PUSHED):
            return decided
        if pessimistic:
            give_up = PessimisticRollback((lock.key,), lock.start_ts, lock.for_update_ts)
            yield from self.ask(give_up, 1)
            return decided if decided != "undecided" else None
        keys = (lock.key,) if self.stream.random() < 0.6 else ()
        if keys or self.stream.random() < 0.5:
            yield from self.ask(ResolveLock(lock.start_ts, decided, keys=keys), 1)
        else:
            yield from self.ask(ResolveLock(txns=((lock.start_ts, decided),)), 1)
        return decided

    def status(
        self, lock: LockInfo, caller: int, current: int, expired: bool, pessimistic: bool
    ) -> Steps:
        for force in (False, True):
            request = CheckTxnStatus(
                lock.primary,
                lock.start_ts,
                caller,
                current,
                rollback_if_not_exist=expired,
                force_sync_commit=force,
                resolving_pessimistic_lock=pessimistic,
                verify_is_primary=self.stream.random() < 0.5,
            )
            reply = yield from self.ask(request, 1)
            if reply is None or isinstance(reply.error, TxnNotFound):
                return None
            if reply.error is not None:
                return None
            if reply.action in (
                Action.LOCK_NOT_EXIST_DO_NOTHING,
                Action.TTL_EXPIRE_PESSIMISTIC_ROLLBACK,
            ):
                return "undecided"
            if reply.ttl_ms == 0:
                return reply.commit_ts
            if not (reply.lock.use_async_commit and not force):
                return PUSHED if reply.action is Action.MIN_COMMIT_TS_PUSHED else None
            if not expired:
                return None
            decided = yield from self.secondaries(reply.lock)
            if decided != "fell back":
                return decided
        return None

    def secondaries(self, primary: LockInfo) -> Steps:
        commit_ts = primary.min_commit_ts
        for key in primary.secondaries:
            request = CheckSecondaryLocks((key,), primary.start_ts)
            reply = yield from self.ask(request, 2)
            if reply is None or reply.error is not None:
                return None
            if not reply.locks:
                return reply.commit_ts
            if not reply.locks[0].use_async_commit:
                return "fell back"
            commit_ts = max(commit_ts, reply.locks[0].min_commit_ts)
        return commit_ts

    # -- pessimistic locks -----------------------------------------------------------------------

    def lock(self, txn: Txn, keys: list[bytes]) -> Steps:
        """Lock all, one by one or together, and note what the answers tell."""
        draw = self.stream
        together = draw.random() < 0.5
        for group in [keys] if together else [[key] for key in keys]:
            locked = yield from self.lock_group(txn, keys[0], group)
            if not locked or (yield from self.hiccup(txn)):
                return False
            if draw.random() < 0.2:
                beat = TxnHeartBeat(keys[0], txn.start_ts, self.ttl_ms * 2)
                yield from self.ask(beat, 1)
        return True

    def lock_group(self, txn: Txn, primary: bytes, group: list[bytes]) -> Steps:
        for_update_ts = txn.start_ts
        for _ in range(6):
            request = PessimisticLock(
                tuple((key, False) for key in group),
                primary,
                txn.start_ts,
                for_update_ts,
                self.ttl_ms,
                wait_ms=self.stream.choice((-1, 0)),
                return_values=True,
                min_commit_ts=txn.start_ts + 1 if self.stream.random() < 0.5 else 0,
            )
            reply = yield from self.ask(request, 2)
            if reply is None:
                return False
            if not reply.errors:
                for key, value in zip(group, reply.values, strict=True):
                    txn.reads.append((key, for_update_ts, value))
                    txn.for_update_ts[key] = for_update_ts
                return True
            error = reply.errors[0]
            if isinstance(error, WriteConflict):
                for_update_ts = self.world.tso()
            elif isinstance(error, Locked):
                yield from self.resolve(error.lock, txn.start_ts)
                yield self.stream.randrange(12)
            else:
                return False
        return False

    # -- writing ---------------------------------------------------------------------------------

    def prewrite(self, txn: Txn) -> Steps:
        """True: all prewritten (or, ``txn.outcome`` being set, committed)."""
        draw = self.stream
        groups = [txn.keys] if "one_pc" in txn.kind else self.groups(txn.keys)
        order = groups if draw.random() < 0.5 else draw.sample(groups, len(groups))
        least, asynchronous = 0, "async" in txn.kind
        for group in order:
            reply = yield from self.prewrite_group(txn, group)
            if reply is None:
                if txn.chooses:
                    txn.outcome = "unknown"
                return False
            if reply.errors:
                # Another copy may still find the key free; and of one that was sent twice, the
                # first may have done all, and what it only checked has changed since.
                if isinstance(reply.errors[0], Locked | Abort) or txn.absent:
                    txn.outcome = "unknown" if txn.chooses else "open"
                return False
            asynchronous = asynchronous and reply.min_commit_ts != 0
            least = max(least, reply.min_commit_ts)
            if (yield from self.hiccup(txn)):
                txn.outcome = "unknown" if txn.chooses else "open"
                return False
        if "one_pc" in txn.kind and reply.one_pc_commit_ts:
            txn.outcome, txn.commit_ts = "ok", reply.one_pc_commit_ts
        elif asynchronous:
            txn.outcome, txn.commit_ts = "ok", least
            if draw.random() < 0.7:
                for group in groups:
                    yield from self.ask(Commit(tuple(group), txn.start_ts, least), 2)
        return True

    def groups(self, keys: list[bytes]) -> list[list[bytes]]:
        """As regions would cut them; the primary's comes first."""
        if self.stream.random() < 0.4:
            return [keys]
        return [[key] for key in keys]

    def prewrite_group(self, txn: Txn, group: list[bytes]) -> Steps:
        draw = self.stream
        pessimistic = "pessimistic" in txn.kind
        mutations = [txn.mutations[key] for key in group]
        if txn.absent:
            mutations.append(Mutation(MutationKind.CHECK_NOT_EXISTS, txn.absent))
        request = Prewrite(
            tuple(mutations),
            txn.keys[0],
            txn.start_ts,
            self.ttl_ms,
            for_update_ts=max(txn.for_update_ts.values()) if pessimistic else 0,
            pessimistic_actions=(PessimisticAction.DO_PESSIMISTIC_CHECK,) * len(group)
            if pessimistic
            else (),
            txn_size=len(txn.keys),
            min_commit_ts=txn.start_ts + 1 if draw.random() < 0.8 else 0,
            use_async_commit="async" in txn.kind,
            secondaries=tuple(txn.keys[1:]),
            try_one_pc="one_pc" in txn.kind,
            max_commit_ts=txn.start_ts + (15 << 18)
            if txn.chooses and draw.random() < 0.3
            else 0,
        )
        for _ in range(6):
            reply = yield from self.ask(request, 3)
            if reply is None:
                return None
            if not reply.errors:
                if txn.absent:
                    txn.reads.append((txn.absent, txn.start_ts, None))
                return reply
            if not isinstance(reply.errors[0], Locked):
                return reply
            for error in reply.errors:
                yield from self.resolve(error.lock, 0)
            yield draw.randrange(12)
        return reply

    def commit(self, txn: Txn) -> Steps:
        """False if the client died."""
        groups = self.groups(txn.keys)
        for _ in range(4):
            commit_ts = self.world.tso()
            if (yield from self.hiccup(txn)):
                return False  # not sent: it is open, and fails
            txn.outcome = "unknown"
            reply = yield from self.ask(Commit(tuple(groups[0]), txn.start_ts, commit_ts), 3)
            if reply is None:
                return True
            if reply.error is None:
                txn.outcome, txn.commit_ts = "ok", reply.commit_ts
                break
            txn.outcome = "failed" if isinstance(reply.error, TxnLockNotFound) else "unknown"
            if not isinstance(reply.error, CommitTsExpired):
                return True
        for group in groups[1:]:
            if (yield from self.hiccup(txn)):
                return False
            yield from self.ask(Commit(tuple(group), txn.start_ts, txn.commit_ts), 2)
        return True

    def roll_back(self, txn: Txn, keys: list[bytes]) -> Steps:
        if "pessimistic" in txn.kind and not txn.mutations:
            yield from self.ask(
                PessimisticRollback(
                    tuple(keys) if self.stream.random() < 0.5 else (), txn.start_ts, TS_MAX - 1
                ),
                2,
            )
        else:
            yield from self.ask(BatchRollback(tuple(keys), txn.start_ts), 2)

    def sweep(self) -> Steps:
        """Resolve all that is left."""
        for _ in range(40):
            reply = yield ScanLock(TS_MAX - 1)
            if reply is None or reply.error is not None:
                continue
            if not reply.locks:
                return
            for lock in reply.locks:
                yield from self.resolve(lock, 0)
            yield 3 * self.ttl_ms


def locks_of(reply: Any) -> list[LockInfo]:
    errors = [reply.error] if reply.error is not None else []
    errors += [pair.error for pair in getattr(reply, "pairs", ()) if pair.error is not None]
    found: dict[tuple[int, bytes], LockInfo] = {}
    for error in errors:
        assert isinstance(error, Locked), error
        found[error.lock.start_ts, error.lock.key] = error.lock
    return list(found.values())
