"""What a transaction leaves in a history, and what a store's final dump says: the shapes, once.

**A footprint** is the ``ext`` of a transaction's completion, whatever its type.  The client's session
fills it in as it learns, so that a transaction of unknown outcome still has its start timestamp:

    {"start_ts": 7, "commit_ts": 12, "mode": "pessimistic", "primary": "a", "path": "2pc",
     "for_update_ts": {"a": 9},
     "steps": [["lock", "a", 1, 9, 4], ["get", "b", 2, 0, 3], ["put", "a", 5]]}

**Steps** are what was really asked of the system, in order, keys and values as the system has them:

    get     key, value, at, commit_ts        a plain read; ``at`` 0 means the start timestamp
    lock    key, value, at, commit_ts        a locking read, as of its for_update_ts
    guard   key, -, at                       a lock whose answer told no value
    scan    [start, end, limit], [[key, value], ...], at     end "" and limit 0: unbounded
    put     key, value                       also of an append: the new whole
    insert  key, value                       a put that wants the key to be absent
    delete  key

``commit_ts`` is that of the version read, 0 where nobody told.  The value None means absent.

**A dump** is the value of an ok operation ``dump``: what one node holds once all is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from splitbrain.history.history import History

__all__ = [
    "READS",
    "WRITES",
    "Dump",
    "Footprint",
    "LockRecord",
    "Part",
    "Step",
    "WriteRecord",
    "dumps_of",
]

READS = ("get", "lock", "scan")
WRITES = ("put", "insert", "delete")

Mode = Literal["optimistic", "pessimistic"]
Isolation = Literal["snapshot", "read-committed", "serializable"]


class Step(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One thing that a transaction asked, and its answer; see above."""

    kind: Literal["get", "lock", "guard", "scan", "put", "insert", "delete"]
    key: Any
    value: Any = None
    at: int = 0
    commit_ts: int = 0


class Footprint(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What is known of one transaction; filled in while it runs.

    Attributes:
        start_ts: its timestamp; 0 until it has one.
        commit_ts: that of its commit; 0 if it wrote and locked nothing, or came not so far.  Where the
            outcome is unknown it says nothing.
        mode: whether it locks keys before it writes them.
        isolation: the level that its reads were asked at.
        path: how it committed: ``2pc``, ``parallel``, ``async``, ``1pc``, ``group``; "" if unknown.
        version: not 0: it read as of this older timestamp, and wrote nothing.
        primary: the key that decides its fate.
        for_update_ts: of each key that it locked and held to its commit, which is to leave a record
            there (of kind lock if it wrote nothing).
        steps: what it asked, in order.
        prewritten_ns: when the last prewrite was answered, on the client's clock.
        commit_asked_ns: when the commit timestamp was asked for, on the same clock.
    """

    start_ts: int = 0
    commit_ts: int = 0
    mode: Mode = "optimistic"
    isolation: Isolation = "snapshot"
    path: str = ""
    version: int = 0
    primary: str | None = None
    for_update_ts: dict[str, int] = {}
    steps: list[Step] = []
    prewritten_ns: int = 0
    commit_asked_ns: int = 0

    def ext(self) -> dict[str, Any]:
        """As it stands in a history."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told

    @property
    def read_ts(self) -> int:
        """What plain reads see, unless their step says otherwise."""
        return self.version or self.start_ts


class LockRecord(msgspec.Struct, frozen=True, array_like=True):
    """A lock that stood at the dump; ``value`` counts for a put (None: it is missing)."""

    key: str
    kind: Literal["put", "delete", "lock", "pessimistic", "shared"]
    start_ts: int
    primary: str
    for_update_ts: int = 0
    min_commit_ts: int = 0
    async_commit: bool = False
    value: Any = None


class WriteRecord(msgspec.Struct, frozen=True, array_like=True):
    """A commit or rollback record; a rollback's ``commit_ts`` is its start_ts.

    Attributes:
        value: of a put (None: it is missing).
        overlapped_rollback: the record of another transaction's rollback lies on this one's place.
    """

    key: str
    commit_ts: int
    start_ts: int
    kind: Literal["put", "delete", "lock", "rollback"]
    value: Any = None
    overlapped_rollback: bool = False


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One replica of one region.

    Attributes:
        region: its id; ``start`` and ``end`` its range, end "" unbounded.
        applied: the index that it has applied.
        fresh: it had applied all that was committed when it was asked (it leads, or asked the leader).
        safe_point: what is older may have been collected.
        resolved_ts: not 0: before the dump the locks of transactions begun until then were resolved.
    """

    region: int = 1
    start: str = ""
    end: str = ""
    applied: int = 0
    fresh: bool = False
    safe_point: int = 0
    resolved_ts: int = 0
    locks: tuple[LockRecord, ...] = ()
    writes: tuple[WriteRecord, ...] = ()

    def holds(self, key: str) -> bool:
        """Whether the key is in its range."""
        return self.start <= key and (not self.end or key < self.end)


class Dump(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one node holds."""

    node: str
    parts: tuple[Part, ...] = ()

    def plain(self) -> Mapping[str, Any]:
        """As it stands in a history."""
        told: Mapping[str, Any] = msgspec.to_builtins(self)
        return told


def dumps_of(history: History) -> Iterator[tuple[int, Dump]]:
    """The last dump of each node with the index of its completion.

    Raises:
        ValueError: one has another shape.
    """
    last: dict[str, tuple[int, Dump]] = {}
    for op in history:
        if op.f == "dump" and op.type == "ok":
            try:
                dump = msgspec.convert(op.value, Dump)
            except msgspec.ValidationError as error:
                raise ValueError(f"event {op.index}: no dump: {error}") from error
            last[dump.node] = (op.index, dump)
    yield from last.values()
