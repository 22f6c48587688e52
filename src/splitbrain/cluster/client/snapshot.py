"""Reads as of one timestamp, past the locks of others.

A lock in the way is looked up (see ``resolver``).  A reader may pass it by, by naming its transaction
in the request, if that was rolled back, or has committed or will commit after the reader's timestamp
(``resolved_locks``), or has committed before it (``committed_locks``: then the lock's own value
counts).  Otherwise the reader waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.backoff import Patience
from splitbrain.cluster.client.options import ReadFrom
from splitbrain.cluster.client.regions import Place
from splitbrain.cluster.client.resolver import Resolver
from splitbrain.cluster.client.sender import Moved
from splitbrain.cluster.messages.context import Context, Isolation
from splitbrain.cluster.messages.key_errors import Locked, LockInfo
from splitbrain.cluster.messages.txn import BatchGet, Get, Scan
from splitbrain.errors import Definite

__all__ = ["Snapshot", "wait_for"]

_PASSED_MAX = 1024


class Snapshot:
    """Reads at ``version``; one for each transaction, as what it may pass holds for it alone."""

    def __init__(
        self,
        access: Access,
        resolver: Resolver,
        version: int,
        *,
        committed: bool = False,
        read_from: ReadFrom = "leader",
    ) -> None:
        self.version = version
        self._access = access
        self._resolver = resolver
        self._read_from = read_from
        self._isolation = Isolation.READ_COMMITTED if committed else Isolation.SNAPSHOT
        self._passed: dict[int, None] = {}
        self._taken: dict[int, None] = {}

    async def get(self, key: bytes, patience: Patience) -> bytes | None:
        """The value, or None."""
        while True:
            request = Get(key, self.version, self._context())
            reply = await self._access.ask(key, request, patience, read_from=self._read_from)
            if not await self._blocked(reply, patience):
                value: bytes | None = reply.value
                return value

    async def batch_get(self, keys: Sequence[bytes], patience: Patience) -> dict[bytes, bytes]:
        """Values of those keys that are there."""

        async def read(place: Place, mine: list[bytes], own: Patience) -> dict[bytes, bytes]:
            while True:
                request = BatchGet(tuple(mine), self.version, self._context())
                reply = await self._send(request, place, own)
                if not await self._blocked(reply, own):
                    return {pair.key: pair.value for pair in reply.pairs}

        parts = await self._access.by_region(list(dict.fromkeys(keys)), patience, read)
        found = {key: value for part in parts for key, value in part.items()}
        return {key: found[key] for key in keys if key in found}

    async def scan(
        self, start: bytes, end: bytes, limit: int, patience: Patience, *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` pairs of [start, end), region by region; see ``messages.txn.Scan``."""
        access, pairs = self._access, list[tuple[bytes, bytes]]()
        find = access.locate_before if reverse else access.locate
        moves = 0
        while len(pairs) < limit:
            place = await find(start, patience)
            left = limit - len(pairs)
            request = Scan(start, end, self.version, left, reverse, context=self._context())
            try:
                reply = await self._send(_cut(request, place, access), place, patience)
            except Moved:
                moves += 1
                await access.after_move(moves, patience)
                continue
            if await self._blocked(reply, patience):
                continue
            pairs += ((pair.key, pair.value) for pair in reply.pairs)
            start = access.bound(place.region.start if reverse else place.region.end)
            if not start or (start <= end if reverse else bool(end) and start >= end):
                break
        return pairs

    async def _send(self, request: Any, place: Place, patience: Patience) -> Any:
        return await self._access.sender.send(
            request, place, patience, read_from=self._read_from
        )

    def _context(self) -> Context:
        return Context(
            isolation=self._isolation,
            resolved_locks=tuple(self._passed),
            committed_locks=tuple(self._taken),
        )

    async def _blocked(self, reply: Any, patience: Patience) -> bool:
        """Deal with the locks that a reply tells of; True: ask again."""
        errors = [reply.error, *(pair.error for pair in getattr(reply, "pairs", ()))]
        locks: list[LockInfo] = []
        for error in errors:
            if isinstance(error, Locked):
                locks.append(error.lock)
            elif error is not None:
                raise Definite("collected", f"{error}")
        if not locks:
            return False
        statuses = await self._resolver.resolve(locks, self.version, patience)
        wait_ms = 0
        for start_ts, status in statuses.items():
            if status.final and 0 < status.commit_ts <= self.version:
                _remember(self._taken, start_ts)
            elif status.final or status.pushed:
                _remember(self._passed, start_ts)
            elif not status.undecided:
                wait_ms = max(wait_ms, status.left_ms + 1)
        if wait_ms:
            await wait_for(wait_ms, "lock-fast", patience)
        return True


async def wait_for(left_ms: int, kind: str, patience: Patience) -> None:
    """Give a living transaction time, not longer than it has itself."""
    await patience.pause(kind, "lock-timeout", at_most_s=left_ms / 1e3)


def _remember(known: dict[int, None], start_ts: int) -> None:
    known[start_ts] = None
    if len(known) > _PASSED_MAX:
        del known[next(iter(known))]


def _cut(scan: Scan, place: Place, access: Access) -> Scan:
    """The part of a scan that lies in one region."""
    lower, upper = access.bound(place.region.start), access.bound(place.region.end)
    if scan.reverse:
        start = min(scan.start, upper) if scan.start and upper else scan.start or upper
        return msgspec.structs.replace(scan, start=start, end=max(scan.end, lower))
    end = min(scan.end, upper) if scan.end and upper else scan.end or upper
    return msgspec.structs.replace(scan, end=end)
