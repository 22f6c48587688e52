"""A store with nothing around it, for scenes: each request is decided and applied at once."""

from __future__ import annotations

from typing import Any

from splitbrain.cluster.messages.context import Context
from splitbrain.cluster.messages.key_errors import LockKind
from splitbrain.cluster.messages.txn import (
    BatchRollback,
    CheckTxnStatus,
    Commit,
    Get,
    Mutation,
    MutationKind,
    PessimisticLock,
    Prewrite,
)
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.cluster.mvcc.engine import Decision
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.records import Lock, WriteKind, WriteRecord
from splitbrain.cluster.mvcc.service import READS, Mvcc
from splitbrain.cluster.mvcc.view import View
from splitbrain.cluster.storage.columns import Columns

__all__ = ["MS", "Bench", "put"]

MS = 1 << 18
"""One millisecond of an oracle's timestamp."""


def put(key: bytes, value: bytes = b"v", kind: MutationKind = MutationKind.PUT) -> Mutation:
    return Mutation(kind, key, value)


class Bench:
    """``ask`` for anything; the rest are shorthands, with the first key as primary."""

    def __init__(self) -> None:
        self.mvcc, self.state, self.memory = Mvcc(), Columns(), Memory()

    def decide(self, request: Any) -> Decision:
        keys = self.mvcc.keys_of(request, self.state)
        return self.mvcc.decide(request, self.state, self.memory, keys)

    def ask(self, request: Any) -> Any:
        if isinstance(request, READS):
            return self.mvcc.read(request, self.state, self.memory)
        decision = self.decide(request)
        self.state.apply(decision.writes)
        return decision.reply

    def prewrite(self, start_ts: int, *keys: bytes, **options: Any) -> Any:
        mutations = options.pop("mutations", tuple(put(key) for key in keys))
        primary = options.pop("primary", mutations[0].key)
        return self.ask(Prewrite(mutations, primary, start_ts, **options))

    def commit(self, start_ts: int, commit_ts: int, *keys: bytes) -> Any:
        return self.ask(Commit(keys, start_ts, commit_ts))

    def write(self, start_ts: int, commit_ts: int, *keys: bytes, **options: Any) -> None:
        """A whole transaction, which has to succeed."""
        assert not self.prewrite(start_ts, *keys, **options).errors
        keys = keys or tuple(one.key for one in options["mutations"])
        assert self.commit(start_ts, commit_ts, *keys).error is None

    def roll_back(self, start_ts: int, *keys: bytes) -> Any:
        return self.ask(BatchRollback(keys, start_ts))

    def lock(self, start_ts: int, *keys: bytes, at: int = 0, **options: Any) -> Any:
        """Pessimistic."""
        primary = options.pop("primary", keys[0])
        wanted = tuple((key, False) for key in keys)
        return self.ask(PessimisticLock(wanted, primary, start_ts, at or start_ts, **options))

    def status(self, primary: bytes, lock_ts: int, **options: Any) -> Any:
        options = {"caller_start_ts": 0, "current_ts": lock_ts, **options}
        return self.ask(CheckTxnStatus(primary, lock_ts, **options))

    def get(self, key: bytes, at: int, **options: Any) -> Any:
        return self.ask(Get(key, at, Context(**options)))

    # looks

    def locked(self, key: bytes) -> Lock | None:
        return View(self.state).lock(encode_key(key))

    def kind(self, key: bytes) -> LockKind | None:
        lock = self.locked(key)
        return None if lock is None else lock.kind

    def records(self, key: bytes) -> list[tuple[int, str]]:
        """What stands at the key, the newest first; ``R`` a rollback, ``*`` protected."""
        return [
            (commit_ts, marks(record))
            for commit_ts, record in View(self.state).versions(encode_key(key))
        ]

    def record(self, key: bytes, commit_ts: int) -> WriteRecord:
        return dict(View(self.state).versions(encode_key(key)))[commit_ts]


def marks(record: WriteRecord) -> str:
    letters = {
        WriteKind.PUT: "P",
        WriteKind.DELETE: "D",
        WriteKind.LOCK: "L",
        WriteKind.ROLLBACK: "R",
    }
    text = letters[record.kind] + "*" * record.protected
    return text + "+R" * record.has_overlapped_rollback
