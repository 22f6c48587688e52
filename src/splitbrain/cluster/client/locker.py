"""Locks of a pessimistic transaction, taken key by key before its commit.

A key is locked, and read, as of a fresh ``for_update_ts``: what was committed up to then is seen, and a
later commit is refused, until the transaction ends.  If somebody has written the key since that
timestamp was taken, a new one is taken.  The first key that is locked becomes the primary.

The store lets a request wait for another's lock for a while (``wait_ms``) and looks for deadlocks;
after that the lock's transaction is looked up, as it may be over or dead.
"""

from __future__ import annotations

from collections.abc import Mapping

from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.backoff import Patience
from splitbrain.cluster.client.prewriter import settle
from splitbrain.cluster.client.regions import Place
from splitbrain.cluster.client.resolver import Resolver
from splitbrain.cluster.client.standing import Standing, refusal
from splitbrain.cluster.messages.key_errors import Locked, LockInfo, WriteConflict
from splitbrain.cluster.messages.txn import PessimisticLock

__all__ = ["Locker"]


class _Written(Exception):
    """Somebody has written a key since for_update_ts; ``commit_ts`` is when."""

    def __init__(self, commit_ts: int) -> None:
        super().__init__(commit_ts)
        self.commit_ts = commit_ts


class Locker:
    """That of one transaction."""

    def __init__(self, access: Access, resolver: Resolver, standing: Standing) -> None:
        self._access = access
        self._resolver = resolver
        self._standing = standing

    async def lock(
        self, keys: Mapping[bytes, bool], patience: Patience
    ) -> dict[bytes, bytes | None]:
        """Lock all keys, each with "must be absent"; their values, None for what is not there.

        Raises:
            Definite: already-exists, deadlock, aborted ...; some keys may be locked all the same.
            OutOfPatience: likewise.
        """
        standing, newest = self._standing, 0
        first = not standing.for_update_ts
        if first:
            standing.primary = next(iter(keys))
        while True:
            patience.left_s("lock-timeout")
            for_update_ts = max(await self._access.pd.timestamp(patience), newest)
            for key in keys:
                standing.for_update_ts[key] = for_update_ts
            try:
                values = await self._lock_at(for_update_ts, keys, first, patience)
            except _Written as written:
                newest = written.commit_ts
                continue
            standing.granted.update(dict.fromkeys(keys, for_update_ts))
            return values

    async def _lock_at(
        self, for_update_ts: int, keys: Mapping[bytes, bool], first: bool, patience: Patience
    ) -> dict[bytes, bytes | None]:
        async def lock(
            place: Place, mine: list[bytes], own: Patience
        ) -> dict[bytes, bytes | None]:
            wanted = {key: keys[key] for key in mine}
            return await self._lock_part(place, wanted, for_update_ts, first, own)

        # One region after the other, in one order for all: fewer circles.
        parts = await self._access.by_region(sorted(keys), patience, lock, parallel=False)
        return {key: value for part in parts for key, value in part.items()}

    async def _lock_part(
        self,
        place: Place,
        keys: Mapping[bytes, bool],
        for_update_ts: int,
        first: bool,
        patience: Patience,
    ) -> dict[bytes, bytes | None]:
        standing = self._standing
        while True:
            request = PessimisticLock(
                tuple(keys.items()),
                standing.primary,
                standing.start_ts,
                for_update_ts,
                standing.ttl_ms(),
                is_first_lock=first and standing.primary in keys,
                wait_ms=self._wait_ms(),
                return_values=True,
                min_commit_ts=for_update_ts + 1,
            )
            reply = await self._access.sender.send(request, place, patience)
            if not reply.errors:
                return dict(zip(keys, reply.values, strict=True))
            locks: list[LockInfo] = []
            for error in reply.errors:
                if isinstance(error, WriteConflict):
                    raise _Written(error.conflict_commit_ts)
                if not isinstance(error, Locked):
                    raise refusal(error)
                locks.append(error.lock)
            await settle(self._resolver, locks, patience)

    def _wait_ms(self) -> int:
        """Not so long that the answer would come after we stopped waiting for it."""
        chosen = self._standing.options.wait_ms
        longest = int(self._access.sender.rpc_timeout_s * 500)
        return chosen if chosen < 0 else min(chosen or 1000, longest)
