"""Transactions: read a snapshot, buffer the writes, commit all or nothing.

    client = TxnClient(caller, pacer, pd_members, stream, options=ClientOptions())
    txn = await client.begin(TxnOptions(commit_path="async"))
    await txn.put(b"k", b"v")
    facts = await txn.commit()

or, with a write conflict's repetition, ``await client.run(body, TxnOptions())``.

Each operation returns, or raises ``Definite`` (and then the transaction is not, and never will be,
committed by it), or, ``commit`` alone, ``Undetermined``.  Codes of ``Definite``:

    write-conflict      somebody has written a key (or, serializable, one that was read) since the
                        start
    deadlock            to wait for a lock would have closed a circle
    already-exists      an insert found its key
    aborted             somebody has rolled the transaction back: its locks had run out
    txn-timeout         it was older than ``limit_s``
    lock-timeout        another's lock was in the way until the deadline
    collected           the version asked for may be collected already
    no-leader, no-pd, no-region, busy, refused ...     nobody served it until the deadline
    timeout             no answer until the deadline, to a read or to a prewrite in two phases

Codes of ``Undetermined``: ``timeout``, ``connection-lost``, ``undetermined-result`` ...: see
``committer``; ``client-dropped``: a hook has ended the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.backoff import OutOfPatience, Patience
from splitbrain.cluster.client.committer import Committer
from splitbrain.cluster.client.locker import Locker
from splitbrain.cluster.client.options import ClientOptions, TxnOptions
from splitbrain.cluster.client.resolver import Resolver
from splitbrain.cluster.client.snapshot import Snapshot
from splitbrain.cluster.client.standing import Facts, Hook, Standing
from splitbrain.cluster.messages.txn import Mutation, MutationKind, TxnHeartBeat
from splitbrain.env import Caller, Pacer
from splitbrain.env.random import Stream
from splitbrain.errors import Definite

__all__ = ["Transaction", "TxnClient"]

T = TypeVar("T")
_REPEATED = frozenset({"write-conflict", "deadlock", "aborted"})
_SCAN_ALL = 1 << 20


class Transaction:
    """One transaction; operations one after another.  Made by :meth:`TxnClient.begin`.

    Attributes:
        read_at: as of when the last read committed values were read; 0: as of the start.
    """

    def __init__(
        self, client: TxnClient, standing: Standing, *, committer: Committer, read_only: bool
    ) -> None:
        self._client = client
        self._access = client.access
        self._standing = standing
        self._committer = committer
        self._read_only = read_only
        self._locker = Locker(client.access, client.resolver, standing)
        self._reader = Snapshot(
            client.access,
            client.resolver,
            standing.start_ts,
            read_from=standing.options.read_from,
        )
        self._seen: dict[bytes, None] = {}
        self._beats: asyncio.Task[None] | None = None
        self._doom = ""
        self.read_at = 0

    @property
    def facts(self) -> Facts:
        """Timestamps, primary and commit path, as known by now; also after an exception."""
        return self._standing.facts()

    # -- reading -----------------------------------------------------------------------------

    async def get(self, key: bytes) -> bytes | None:
        """The value, or None; locks nothing."""
        self._check()
        mine = self._standing.mutations.get(key)
        if mine is not None and mine.kind is not MutationKind.LOCK:
            return _value(mine)
        value = await self._in_time(lambda own: self._get(key, own))
        self._seen[key] = None
        return value

    async def _get(self, key: bytes, patience: Patience) -> bytes | None:
        return await (await self._snapshot(patience)).get(key, patience)

    async def batch_get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Values of those keys that are there."""
        self._check()
        mine = {
            key: self._standing.mutations[key]
            for key in keys
            if key in self._standing.mutations
            and self._standing.mutations[key].kind is not MutationKind.LOCK
        }

        async def read(patience: Patience) -> dict[bytes, bytes]:
            others = [key for key in keys if key not in mine]
            return await (await self._snapshot(patience)).batch_get(others, patience)

        found: dict[bytes, bytes | None] = dict(await self._in_time(read))
        self._seen.update(dict.fromkeys(key for key in keys if key not in mine))
        found.update((key, _value(mutation)) for key, mutation in mine.items())
        return {key: value for key in keys if (value := found.get(key)) is not None}

    async def scan(
        self, start: bytes = b"", end: bytes = b"", *, limit: int = 0, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` (0: all) pairs of [start, end), ascending; empty ``end``: unbounded.

        With ``reverse`` from ``start`` (not included; empty: unbounded) down to ``end`` (included).
        """
        self._check()
        mine = {
            key: _value(mutation)
            for key, mutation in self._standing.mutations.items()
            if mutation.kind is not MutationKind.LOCK and _within(key, start, end, reverse)
        }
        wanted = limit or _SCAN_ALL
        # As many more as the own writes may hide.
        asked = wanted + len(mine)

        async def read(patience: Patience) -> list[tuple[bytes, bytes]]:
            reader = await self._snapshot(patience)
            return await reader.scan(start, end, asked, patience, reverse=reverse)

        found: dict[bytes, bytes | None] = dict(await self._in_time(read))
        self._seen.update(dict.fromkeys(found))
        found.update(mine)
        whole = [(k, v) for k, v in sorted(found.items(), reverse=reverse) if v is not None]
        return whole[:wanted]

    async def _snapshot(self, patience: Patience) -> Snapshot:
        if self._standing.options.isolation != "read-committed":
            return self._reader
        now_ts = self.read_at = await self._access.pd.timestamp(patience)
        return Snapshot(self._access, self._client.resolver, now_ts, committed=True)

    # -- writing -----------------------------------------------------------------------------

    async def put(self, key: bytes, value: bytes) -> None:
        """Set the value when it commits; a pessimistic transaction locks the key now."""
        await self._write(Mutation(MutationKind.PUT, key, value))

    async def delete(self, key: bytes) -> None:
        """Remove the key when it commits."""
        await self._write(Mutation(MutationKind.DELETE, key))

    async def insert(self, key: bytes, value: bytes) -> None:
        """Set the value of a key that must be absent: ``already-exists``, now or at the commit."""
        options, mutations = self._standing.options, self._standing.mutations
        if key in mutations and mutations[key].kind is not MutationKind.LOCK:
            if _value(mutations[key]) is not None:
                raise Definite("already-exists", "written by this transaction")
            await self.put(key, value)
        elif options.pessimistic:
            await self._write(Mutation(MutationKind.PUT, key, value), absent=True)
        else:
            if await self.get(key) is not None:
                raise Definite("already-exists", f"{key!r}")
            await self._write(Mutation(MutationKind.INSERT, key, value))

    async def _write(self, mutation: Mutation, *, absent: bool = False) -> None:
        self._check(writes=True)
        if self._standing.options.pessimistic and (
            absent or mutation.key not in self._standing.for_update_ts
        ):
            await self._lock({mutation.key: absent})
        self._standing.mutations[mutation.key] = mutation

    async def get_for_update(self, key: bytes) -> bytes | None:
        """The newest value, or None; the key is locked until the end.  Pessimistic ones only."""
        return (await self.lock([key]))[key]

    async def lock(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Lock keys without writing them; their newest values."""
        self._check(writes=True)
        if not self._standing.options.pessimistic:
            raise Definite("not-pessimistic", "an optimistic transaction locks at its commit")
        values = await self._lock(dict.fromkeys(keys, False))
        for key in keys:
            mutation = self._standing.mutations.setdefault(
                key, Mutation(MutationKind.LOCK, key)
            )
            if mutation.kind is not MutationKind.LOCK:
                values[key] = _value(mutation)
        return values

    async def _lock(self, keys: dict[bytes, bool]) -> dict[bytes, bytes | None]:
        self._beat()
        try:
            return await self._in_time(lambda own: self._locker.lock(keys, own))
        except Definite as error:
            # Keys that may be locked, or not, are nothing to go on with.
            self._doom = error.code
            raise

    # -- the end -----------------------------------------------------------------------------

    async def commit(self) -> Facts:
        """Commit all writes.

        Raises:
            Definite: certainly not committed, nor ever.
            Undetermined: perhaps.
        """
        try:
            self._check(writes=bool(self._standing.mutations))
        except Definite:
            await self.rollback()
            raise
        standing = self._standing
        if standing.options.isolation == "serializable" and standing.mutations:
            for key in self._seen:
                standing.mutations.setdefault(key, Mutation(MutationKind.LOCK, key))
        if not standing.mutations:
            standing.over = True
            return self.facts
        self._beat()
        try:
            await self._committer.commit(self._access.patience())
        finally:
            self._end()
        return self.facts

    async def rollback(self) -> None:
        """Give it up; its locks are removed in the background."""
        if not self._standing.over:
            self._access.background.start(self._committer.roll_back())
            self._standing.over = True
        self._end()

    # -- what all do -------------------------------------------------------------------------

    def _check(self, *, writes: bool = False) -> None:
        if self._standing.over:
            raise Definite("txn-over", "it was committed or rolled back before")
        if self._doom:
            raise Definite(self._doom, "an earlier operation of the transaction failed")
        if writes and self._read_only:
            raise Definite("read-only", "as of an older timestamp")
        self._standing.check_age()

    async def _in_time(self, work: Callable[[Patience], Awaitable[T]]) -> T:
        try:
            return await work(self._access.patience())
        except OutOfPatience as error:
            raise Definite(error.code, "out of time") from None

    def _beat(self) -> None:
        if self._beats is None:
            self._beats = self._access.background.start(self._heartbeats())

    def _end(self) -> None:
        if self._beats is not None:
            self._beats.cancel()

    async def _heartbeats(self) -> None:
        """Prolong the primary's lock while the transaction goes on."""
        standing, access = self._standing, self._access
        chosen_s = standing.options.heartbeat_s
        each_s = standing.options.lock_ttl_ms / 2000 if chosen_s is None else chosen_s
        while True:
            await access.pacer.sleep(each_s)
            if standing.over or standing.age_s() > standing.options.limit_s:
                return
            if standing.still or not (standing.prewriting or standing.for_update_ts):
                continue
            request = TxnHeartBeat(standing.primary, standing.start_ts, standing.ttl_ms())
            try:
                await access.ask(standing.primary, request, access.patience())
            except (Definite, OutOfPatience):
                continue


class TxnClient:
    """One client of a transactional cluster; any number of transactions at a time.

    Seams for seeded bugs: the classes given as ``committer`` and ``resolver``, and ``_may_redo``.

    Attributes:
        access: the way to PD and regions, shared by all its transactions.
        probes: how often the changed path of each seeded bug of this client ran.
    """

    def __init__(
        self,
        caller: Caller,
        pacer: Pacer,
        members: Sequence[str],
        stream: Stream,
        *,
        options: ClientOptions = ClientOptions(),  # noqa: B008 - frozen
        committer: type[Committer] = Committer,
        resolver: type[Resolver] = Resolver,
        hook: Hook | None = None,
    ) -> None:
        self._caller = caller
        self._committer = committer
        self._hook = hook
        self.probes: dict[str, int] = {}
        self.access = Access(caller, pacer, members, stream, options, encoded=True)
        self.resolver = resolver(self.access, self.probes)

    async def timestamp(self) -> int:
        """A fresh timestamp.

        Raises:
            Definite: none was to be had.
        """
        try:
            return await self.access.pd.timestamp(self.access.patience())
        except OutOfPatience as error:
            raise Definite(error.code, "no timestamp") from None

    async def begin(
        self,
        options: TxnOptions = TxnOptions(),  # noqa: B008 - frozen
        *,
        version: int = 0,
        hook: Hook | None = None,
    ) -> Transaction:
        """A transaction as of now, or a read-only one as of ``version``."""
        start_ts = version or await self.timestamp()
        standing = Standing(start_ts, options, self.access.pacer, hook or self._hook)
        committer = self._committer(self.access, self.resolver, standing, self.probes)
        return Transaction(self, standing, committer=committer, read_only=bool(version))

    async def run(
        self,
        body: Callable[[Transaction], Awaitable[T]],
        options: TxnOptions = TxnOptions(),  # noqa: B008 - frozen
        *,
        version: int = 0,
    ) -> T:
        """``body`` in a transaction, committed; begun anew after a conflict, if so chosen.

        ``version``: as of ``begin``.
        """
        pauses = self.access.patience(timeout_s=options.limit_s)
        for left in range(options.retries_max, -1, -1):
            try:
                return await self._run_once(body, options, version)
            except Exception as error:
                if not left or not self._may_redo(error, options):
                    raise
            try:
                await pauses.pause("conflict")
            except OutOfPatience as late:
                raise Definite(late.code, "no time for another try") from None
        raise AssertionError("unreachable: the last try raises")

    async def _run_once(
        self, body: Callable[[Transaction], Awaitable[T]], options: TxnOptions, version: int
    ) -> T:
        txn = await self.begin(options, version=version)
        try:
            result = await body(txn)
        except BaseException:
            await txn.rollback()
            raise
        await txn.commit()
        return result

    def _may_redo(self, error: Exception, options: TxnOptions) -> bool:
        """Whether to do the same once more: only if it certainly has not been done."""
        conflict = isinstance(error, Definite) and error.code in _REPEATED
        return conflict and options.on_conflict == "retry"

    async def close(self) -> None:
        """End the client; what it has left is for others to finish."""
        await self.access.close()
        await self._caller.close()


def _value(mutation: Mutation) -> bytes | None:
    """What the writer itself reads."""
    return None if mutation.kind is MutationKind.DELETE else mutation.value


def _within(key: bytes, start: bytes, end: bytes, reverse: bool) -> bool:
    """Whether a scan covers the key."""
    if reverse:
        return key >= end and (not start or key < start)
    return key >= start and (not end or key < end)
