"""The vocabulary ``txn`` over minitikv's own client: values are JSON in bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from splitbrain.checkers.transactions.evidence import (
    Dump,
    Footprint,
    LockRecord,
    Part,
    Step,
    WriteRecord,
)
from splitbrain.cluster.client.options import CommitPath
from splitbrain.cluster.client.options import TxnOptions as ClientTxnOptions
from splitbrain.cluster.client.txn import Transaction, TxnClient
from splitbrain.cluster.messages.txn import ListRecordsReply
from splitbrain.contracts.workload import Body, TxnOptions
from splitbrain.errors import RequestError

__all__ = ["PATHS", "TxnSession"]

T = TypeVar("T")

PATHS: Mapping[str, CommitPath] = {
    "": "parallel",
    "2pc": "plain",
    "parallel": "parallel",
    "async": "async",
    "1pc": "one-phase",
}
"""Commit paths by the vocabulary's names."""
Compare = Callable[[], Awaitable[list[dict[str, Any]]]]
"""Compares the replicas of each region."""
List = Callable[[], Awaitable[list[tuple[int, ListRecordsReply]]]]
"""Region ids, and what is in them."""
_NAMES = {path: name for name, path in PATHS.items() if name}


class TxnSession:
    """One session; see :class:`splitbrain.contracts.workload.Transactions`.

    Args:
        client: of this session alone.
        list_: asks the node for all that it holds of the regions that it leads.
        node: its name.
        lock_ttl_ms: how long others respect the locks of a client that has gone silent.
        compare: compares replicas.
    """

    def __init__(
        self,
        client: TxnClient,
        list_: List,
        *,
        node: str,
        lock_ttl_ms: int,
        compare: Compare,
    ) -> None:
        self._client = client
        self.replicas = compare
        self._list = list_
        self._node = node
        self._lock_ttl_ms = lock_ttl_ms

    async def transact(self, body: Body[T], options: TxnOptions, footprint: Footprint) -> T:
        """Run ``body`` in one transaction and commit it."""
        if options.path not in PATHS:
            known = ", ".join(name for name in PATHS if name)
            raise RequestError(f"commit path {options.path!r}; minitikv knows {known}")
        footprint.mode, footprint.isolation = options.mode, options.isolation
        footprint.version = options.version
        chosen = ClientTxnOptions(
            pessimistic=options.mode == "pessimistic",
            isolation=options.isolation,
            commit_path=PATHS[options.path],
            lock_ttl_ms=self._lock_ttl_ms,
            on_conflict="fail",
        )
        begun: list[Transaction] = []

        async def traced(txn: Transaction) -> T:
            begun.append(txn)
            footprint.start_ts = txn.facts.start_ts
            footprint.steps.clear()
            return await body(_Txn(txn, footprint))

        try:
            return await self._client.run(traced, chosen, version=options.version)
        finally:
            if begun:
                _learn(footprint, begun[-1])

    async def timestamp(self) -> int:
        """A fresh timestamp of the oracle."""
        return await self._client.timestamp()

    async def dump(self) -> Mapping[str, Any]:
        """What the node holds of the regions that it leads: the others' leaders tell of those."""
        parts = [_part(region, reply) for region, reply in await self._list()]
        return Dump(node=self._node, parts=tuple(parts)).plain()

    async def close(self) -> None:
        """End the session."""
        await self._client.close()


class _Txn:
    """A transaction that writes down what it is asked."""

    def __init__(self, txn: Transaction, footprint: Footprint) -> None:
        self._txn = txn
        self._steps = footprint.steps

    async def get(self, key: str) -> Any:
        """The value, or None; locks nothing."""
        value = _decoded(await self._txn.get(key.encode()))
        self._steps.append(Step("get", key, value, self._txn.read_at))
        return value

    async def get_for_update(self, key: str) -> Any:
        """The newest value, or None; the key is locked until the end."""
        value = _decoded(await self._txn.get_for_update(key.encode()))
        at = self._txn.facts.for_update_ts[key.encode()]
        self._steps.append(Step("lock", key, value, at))
        return value

    async def scan(self, start: str, end: str, limit: int = 0) -> list[tuple[str, Any]]:
        """Keys of [start, end) with their values."""
        found = await self._txn.scan(start.encode(), end.encode(), limit=limit)
        pairs = [(key.decode(), _decoded(value)) for key, value in found]
        told = [list(pair) for pair in pairs]
        self._steps.append(Step("scan", [start, end, limit], told, self._txn.read_at))
        return pairs

    async def put(self, key: str, value: Any) -> None:
        """Set the value when it commits."""
        self._steps.append(Step("put", key, value))
        await self._txn.put(key.encode(), msgspec.json.encode(value))

    async def insert(self, key: str, value: Any) -> None:
        """Set the value if the key is absent."""
        self._steps.append(Step("insert", key, value))
        await self._txn.insert(key.encode(), msgspec.json.encode(value))

    async def delete(self, key: str) -> None:
        """Remove the key when it commits."""
        self._steps.append(Step("delete", key))
        await self._txn.delete(key.encode())


def _learn(footprint: Footprint, txn: Transaction) -> None:
    """What the client knows of the transaction by now."""
    facts = txn.facts
    footprint.primary = facts.primary.decode() or None
    footprint.for_update_ts = {key.decode(): ts for key, ts in facts.for_update_ts.items()}
    footprint.commit_ts = facts.commit_ts
    footprint.path = _NAMES[facts.path] if facts.commit_ts else ""


def _decoded(data: bytes | None) -> Any:
    return None if data is None else msgspec.json.decode(data)


def _part(region: int, reply: ListRecordsReply) -> Part:
    """A region's state as a dump tells it."""
    locks = (
        LockRecord(
            key=held.lock.key.decode(),
            kind=held.lock.kind.name.lower(),  # type: ignore[arg-type]
            start_ts=held.lock.start_ts,
            primary=held.lock.primary.decode(),
            for_update_ts=held.lock.for_update_ts,
            min_commit_ts=held.lock.min_commit_ts,
            async_commit=held.lock.use_async_commit,
            value=_decoded(held.value),
        )
        for held in reply.locks
    )
    records = (
        WriteRecord(
            key=held.key.decode(),
            commit_ts=held.commit_ts,
            start_ts=held.start_ts,
            kind=held.kind,  # type: ignore[arg-type]
            value=_decoded(held.value),
            overlapped_rollback=held.overlapped_rollback,
        )
        for held in reply.records
    )
    return Part(
        region=region,
        # A foreign client may cut regions at any bytes; so they compare with plain keys as bytes do.
        start=reply.start.decode("latin-1"),
        end=reply.end.decode("latin-1"),
        applied=reply.applied,
        fresh=True,
        locks=tuple(locks),
        writes=tuple(records),
    )
