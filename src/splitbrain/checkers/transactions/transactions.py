"""The transactions of a history: their fates, and what each read and wrote.

    completion                          fate
    ok                                  committed
    fail                                aborted: it certainly did not happen
    info, or none                       unknown

An operation counts if its completion carries a footprint (:mod:`.evidence`).  An ok one without a start
timestamp is *bare*; one of unknown outcome without it is *untraced*: it may have written anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from splitbrain.checkers.transactions.evidence import WRITES, Footprint, Step
from splitbrain.history.history import History, freeze
from splitbrain.history.op import Op

__all__ = ["OTHER", "Gathered", "Level", "Transaction", "gather", "level_of"]

OTHER: Final = frozenset({"dump", "timestamp"})
"""Functions that are no transactions."""

Level = Literal["snapshot", "read-committed", "serializable", "locking", "mixed"]

Fate = Literal["committed", "aborted", "unknown"]


class Transaction(msgspec.Struct, frozen=True, eq=False):
    """One transaction.

    Attributes:
        number: its place among the transactions, by invocation.
        writes: the last value that it gave each key, made hashable; None: deleted.
        passing: values that it gave a key and overwrote itself.
        locked: keys that it locked, held to its commit, and did not write.
    """

    number: int
    invoke: Op
    end: Op | None
    fate: Fate
    foot: Footprint
    writes: Mapping[str, Any]
    passing: Mapping[str, tuple[Any, ...]]
    locked: frozenset[str]

    @property
    def ops(self) -> tuple[int, ...]:
        """Indexes of its events."""
        return (self.invoke.index,) if self.end is None else (self.invoke.index, self.end.index)

    def holds_from(self, key: str) -> int:
        """Nobody else may commit this key after this timestamp and until the commit."""
        return self.foot.for_update_ts.get(key, self.foot.start_ts)

    def outside_reads(self) -> Iterator[tuple[int, Step]]:
        """Reads by number of step, those of keys that it had written itself left out; scans all."""
        own: set[Any] = set()
        for place, step in enumerate(self.foot.steps):
            if step.kind in WRITES:
                own.add(step.key)
            elif step.kind == "scan" or (step.kind in ("get", "lock") and step.key not in own):
                yield place, step


class Gathered(msgspec.Struct, frozen=True):
    """What ``gather`` found.

    Attributes:
        transactions: by invocation.
        bare: ok completions without timestamps.
        untraced: invocations of unknown outcome without a start timestamp.
    """

    transactions: tuple[Transaction, ...]
    bare: tuple[Op, ...]
    untraced: tuple[Op, ...]


def gather(history: History) -> Gathered:
    """The transactions of a history.

    Raises:
        ValueError: a footprint has another shape.
    """
    found: list[Transaction] = []
    bare: list[Op] = []
    untraced: list[Op] = []
    for invoke, end in history.invocations():
        if invoke.f in OTHER:
            continue
        foot = _footprint(end)
        if foot is not None and foot.start_ts:
            found.append(_transaction(len(found), invoke, end, foot))
        elif end is None or end.type == "info":
            untraced.append(invoke)
        elif end.type == "ok":
            bare.append(end)
    return Gathered(tuple(found), tuple(bare), tuple(untraced))


def level_of(transaction: Transaction) -> Level:
    """What a transaction promises, by what it did.

    ``locking``: pessimistic, all of its reads lock: serializable.  ``mixed``: pessimistic with plain
    reads beside them: an update between such a read and a write of the same key is lost, lawfully.
    """
    foot = transaction.foot
    if foot.isolation != "snapshot":
        return foot.isolation
    if foot.mode == "optimistic":
        return "snapshot"
    plain = any(step.kind in ("get", "scan") for _, step in transaction.outside_reads())
    return "mixed" if plain else "locking"


def _footprint(end: Op | None) -> Footprint | None:
    if end is None or not end.ext or "start_ts" not in end.ext:
        return None
    try:
        return msgspec.convert(end.ext, Footprint)
    except msgspec.ValidationError as error:
        raise ValueError(f"event {end.index}: no footprint: {error}") from error


def _transaction(number: int, invoke: Op, end: Op | None, foot: Footprint) -> Transaction:
    writes: dict[str, Any] = {}
    passing: dict[str, tuple[Any, ...]] = {}
    for step in foot.steps:
        if step.kind in WRITES:
            if step.key in writes:
                passing[step.key] = (*passing.get(step.key, ()), writes[step.key])
            writes[step.key] = None if step.kind == "delete" else freeze(step.value)
    kind = "info" if end is None else end.type
    fate: Fate = "committed" if kind == "ok" else "aborted" if kind == "fail" else "unknown"
    kept = frozenset(foot.for_update_ts.keys() - writes.keys())
    return Transaction(number, invoke, end, fate, foot, writes, passing, kept)
