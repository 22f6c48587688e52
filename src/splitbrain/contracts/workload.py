"""Workloads, their clients, and the vocabularies by which they speak to systems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.checkers.verdict import Checker
from splitbrain.contracts.generator import Generator
from splitbrain.history.op import Op

__all__ = [
    "Body",
    "Client",
    "Kv",
    "OpenKv",
    "OpenTransactions",
    "Transactions",
    "Txn",
    "TxnOptions",
    "Workload",
]

T = TypeVar("T")


class Kv(Protocol):
    """The vocabulary ``kv``: one session of one client with a key-value system.

    Keys are strings, values JSON-able; None means that the key is absent.  Each method raises
    ``Definite`` if the operation certainly did not happen; any other exception means that it may
    have.
    """

    async def get(self, key: str) -> Any:
        """The value, or None."""

    async def put(self, key: str, value: Any) -> None:
        """Set the value."""

    async def delete(self, key: str) -> None:
        """Remove the key."""

    async def cas(self, key: str, old: Any, new: Any) -> None:
        """Set ``new`` if the value is ``old``; else ``Definite("cas-mismatch", observed=...)``."""

    async def close(self) -> None:
        """End the session."""


OpenKv = Callable[[str], Awaitable[Kv]]
"""Opens a session bound (by preference) to the named node."""


class TxnOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a transaction is to be run.

    Attributes:
        mode: optimistic: conflicts are found at the commit.  pessimistic: keys are locked when they
            are written, or read for update, and held to the end.
        isolation: of plain reads.  snapshot: as of the start.  read-committed: each as of its own
            moment.  serializable: as of the start, and still true at the commit.
        path: how to commit: ``2pc`` (one key after the other), ``parallel``, ``async``, ``1pc``,
            ``group``; "" is the system's choice.
        version: not 0: read as of this older timestamp; such a transaction writes nothing.
    """

    mode: Literal["optimistic", "pessimistic"] = "optimistic"
    isolation: Literal["snapshot", "read-committed", "serializable"] = "snapshot"
    path: str = ""
    version: int = 0


class Txn(Protocol):
    """A transaction that is under way.  A key that it wrote reads as it wrote it."""

    async def get(self, key: str) -> Any:
        """The value, or None; locks nothing."""

    async def get_for_update(self, key: str) -> Any:
        """The newest value, or None; the key is locked until the end.  Pessimistic ones only."""

    async def scan(self, start: str, end: str, limit: int = 0) -> list[tuple[str, Any]]:
        """Keys of [start, end) with their values, ascending; end "" and limit 0: unbounded."""

    async def put(self, key: str, value: Any) -> None:
        """Set the value (not None) when it commits."""

    async def insert(self, key: str, value: Any) -> None:
        """Set the value if the key is absent; else now or at the commit ``already-exists``."""

    async def delete(self, key: str) -> None:
        """Remove the key when it commits."""


Body = Callable[[Txn], Awaitable[T]]
"""What a transaction does; run once.  An exception of its own rolls the transaction back."""


class Transactions(Protocol):
    """The vocabulary ``txn``: one session of one client with a transactional system.

    Each method raises ``Definite`` if the transaction certainly did not happen, and never will; any
    other exception means that it may have.  Codes that all systems share: ``write-conflict``,
    ``deadlock``, ``lock-timeout`` (another's lock was in the way for too long), ``already-exists``,
    ``collected`` (the version asked for may be collected), ``txn-timeout`` (the transaction's own
    limit ended it), ``aborted`` (another had rolled it back).
    """

    async def transact(self, body: Body[T], options: TxnOptions, footprint: Footprint) -> T:
        """Run ``body`` in one transaction, commit, and return what it returned.

        ``footprint`` is filled in as things become known, so that the caller has it also when this
        raises: mode, isolation and version at once, start_ts with the first answer, each step when it
        is answered (a write when it is asked), for_update_ts when a lock is granted, primary, path
        and commit_ts when they are decided.  Nothing is tried again with another start_ts.  What
        ``body`` raises is raised here once the transaction has been rolled back.
        """

    async def timestamp(self) -> int:
        """A fresh timestamp of the system's oracle."""

    async def dump(self) -> Mapping[str, Any]:
        """What the session's node holds, as ``evidence.Dump.plain``; ``Definite("no-dump")``."""

    async def close(self) -> None:
        """End the session."""


OpenTransactions = Callable[[str], Awaitable[Transactions]]
"""Opens a session bound (by preference) to the named node."""


class Client(Protocol):
    """One worker's client.  ``open`` gives a client bound to a node; the others act on that one."""

    async def open(self, node: str) -> Client:
        """A fresh client for ``node``; an exception makes the operation fail with ``no-client``."""

    async def setup(self) -> None:
        """Once before the test, by the first client of each node."""

    async def invoke(self, op: Op) -> Op:
        """Do the operation and return its completion (same process, f and key).

        Raises:
            Definite: -> a ``fail`` completion.
            Exception: anything else -> ``info``.
        """

    async def teardown(self) -> None:
        """Once after the test."""

    async def close(self) -> None:
        """Drop the connection."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What the clients do, and what must hold of it.

    Attributes:
        name: as in ``splitbrain run NAME``.
        vocabulary: ``kv``, ``txn`` or ``log``: what a system must offer to run it.
        generator: the main phase, without rate and time limit, which the harness adds.
        final_generator: operations at the end of the final phase, for instance final reads; it
            learns (``update``) of all client events before its turn.  The main generator goes on
            until each worker has had a success, and then this one is played to its end.
        client: makes the client from a session opener of the vocabulary.
        checkers: by name.
        functions: the ``f`` of client operations: each must succeed once.
        answers: codes of ``Definite`` that are answers, not refusals.
    """

    name: str
    vocabulary: str
    generator: Generator
    final_generator: Generator | None = None
    client: Callable[[Any], Client]
    checkers: Mapping[str, Checker]
    functions: tuple[str, ...]
    answers: frozenset[str] = frozenset()
