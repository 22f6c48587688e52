"""The first half of a commit: lock every key, and with some ways of committing that is all.

Keys go out by region, in requests of at most ``batch_bytes``.  Others' locks in the way are resolved or
waited for; every other error of a key ends the transaction.

With ``async`` and ``one-phase`` the stores choose the commit timestamp.  A timestamp is taken before
all the same, and asked for as a lower bound: else a transaction could be committed below one that had
been answered before it began.  Where a store falls back (0 in its reply), so does the transaction.
"""

from __future__ import annotations

from collections.abc import Iterator

from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.backoff import Patience
from splitbrain.cluster.client.regions import Place
from splitbrain.cluster.client.resolver import Resolver
from splitbrain.cluster.client.sender import Doubt
from splitbrain.cluster.client.snapshot import wait_for
from splitbrain.cluster.client.standing import Standing, refusal
from splitbrain.cluster.messages.key_errors import AlreadyExist, Locked, LockInfo, WriteConflict
from splitbrain.cluster.messages.pd_types import LOGICAL_BITS
from splitbrain.cluster.messages.txn import (
    Mutation,
    MutationKind,
    PessimisticAction,
    Prewrite,
    PrewriteReply,
)

__all__ = ["Prewriter", "settle"]

_ASYNC_KEYS_MAX = 256
_ASYNC_KEY_BYTES_MAX = 4096
_AHEAD_MS_MAX = 2000


class Prewriter:
    """Prewrites one transaction.

    Attributes:
        keys: all that are written, the primary first.
        doubts: of every request sent, whether it may have taken effect without an answer.
        decided_by_prewrite: prewriting may commit it (async, one-phase).
        hopeless: a key's answer was of a kind that no repetition changes.
        probes: how often the changed path of each seeded bug of this class ran.
    """

    def __init__(
        self,
        access: Access,
        resolver: Resolver,
        standing: Standing,
        probes: dict[str, int] | None = None,
    ) -> None:
        self.access = access
        self.resolver = resolver
        self.standing = standing
        self.keys: tuple[bytes, ...] = ()
        self.doubts: list[Doubt] = []
        self.decided_by_prewrite = self.hopeless = False
        self.probes = {} if probes is None else probes
        self._floor_ts = 0

    async def _prewrite_phase(self, patience: Patience) -> bool:
        """Prewrite all; True: that has committed the transaction."""
        standing = self.standing
        self._choose_primary()
        await self._choose_path(patience)
        standing.prewriting = True
        if standing.path == "plain":
            for key in self.keys:
                await self.access.by_region([key], patience, self._prewrite_part)
            return False
        parts = await self.access.by_region(self.keys, patience, self._prewrite_part)
        replies = [reply for part in parts for reply in part]
        if standing.path == "one-phase":
            standing.commit_ts = replies[0].one_pc_commit_ts if len(replies) == 1 else 0
        elif standing.path == "async" and all(reply.min_commit_ts for reply in replies):
            standing.commit_ts = max(reply.min_commit_ts for reply in replies)
        if not standing.commit_ts:
            self._fall_back()
        return bool(standing.commit_ts)

    def _choose_primary(self) -> None:
        """The first key locked, or else the first one really written."""
        standing = self.standing
        if not standing.primary:
            written = [k for k, m in standing.mutations.items() if m.kind != MutationKind.LOCK]
            standing.primary = (written or list(standing.mutations))[0]
        others = (key for key in standing.mutations if key != standing.primary)
        self.keys = (standing.primary, *others)

    async def _choose_path(self, patience: Patience) -> None:
        standing, keys = self.standing, self.keys
        if standing.path == "one-phase":
            size = sum(_size(standing.mutations[key]) for key in keys)
            groups = await self.access.groups(keys, patience)
            if len(groups) > 1 or size > standing.options.batch_bytes:
                standing.path = "parallel"
        elif standing.path == "async":
            size = sum(map(len, keys))
            if len(keys) > _ASYNC_KEYS_MAX or size > _ASYNC_KEY_BYTES_MAX:
                standing.path = "parallel"
        self.decided_by_prewrite = standing.path in ("async", "one-phase")
        if self.decided_by_prewrite:
            self._floor_ts = await self.access.pd.timestamp(patience)

    def _fall_back(self) -> None:
        """All keys are locked, and the second phase is to come after all."""
        self.standing.path = "parallel"

    def may_be_committed(self) -> bool:
        """Whether prewriting alone may have committed it, for all that is known."""
        doubtful = any(doubt.ever for doubt in self.doubts)
        return self.decided_by_prewrite and doubtful and not self.hopeless

    def answered(self) -> bool:
        """Whether every prewrite that can commit the transaction was answered."""
        return not (self.decided_by_prewrite and any(doubt.ever for doubt in self.doubts))

    # -- requests ----------------------------------------------------------------------------

    async def _prewrite_part(
        self, place: Place, keys: list[bytes], patience: Patience
    ) -> list[PrewriteReply]:
        batches = self._batches(keys)
        return [await self._prewrite_batch(place, batch, patience) for batch in batches]

    def _batches(self, keys: list[bytes]) -> Iterator[list[bytes]]:
        batch: list[bytes] = []
        size = 0
        for key in keys:
            more = _size(self.standing.mutations[key])
            if batch and size + more > self.standing.options.batch_bytes:
                yield batch
                batch, size = [], 0
            batch.append(key)
            size += more
        yield batch

    async def _prewrite_batch(
        self, place: Place, keys: list[bytes], patience: Patience
    ) -> PrewriteReply:
        doubt = Doubt()
        self.doubts.append(doubt)
        while True:
            request = self._request(keys)
            reply: PrewriteReply = await self.access.sender.send(
                request, place, patience, doubt=doubt
            )
            if not reply.errors:
                return reply
            locks: list[LockInfo] = []
            for error in reply.errors:
                if not isinstance(error, Locked):
                    self.hopeless |= isinstance(error, WriteConflict | AlreadyExist)
                    raise refusal(error)
                locks.append(error.lock)
            await settle(self.resolver, locks, patience)

    def _request(self, keys: list[bytes]) -> Prewrite:
        standing = self.standing
        pessimistic = standing.options.pessimistic
        newest = max(standing.for_update_ts.values(), default=standing.start_ts)
        least = max(self._floor_ts, newest if pessimistic else standing.start_ts) + 1
        asynchronous = standing.path == "async"
        # Keys that turn out to be of several regions cannot be committed by one request.
        one_phase = standing.path == "one-phase" and len(keys) == len(self.keys)
        return Prewrite(
            tuple(standing.mutations[key] for key in keys),
            standing.primary,
            standing.start_ts,
            standing.ttl_ms(),
            for_update_ts=newest if pessimistic else 0,
            pessimistic_actions=tuple(map(self._action, keys)) if pessimistic else (),
            txn_size=len(self.keys),
            min_commit_ts=least,
            use_async_commit=asynchronous,
            secondaries=self.keys[1:] if asynchronous else (),
            try_one_pc=one_phase,
            max_commit_ts=self._floor_ts + (_AHEAD_MS_MAX << LOGICAL_BITS)
            if self.decided_by_prewrite
            else 0,
        )

    def _action(self, key: bytes) -> PessimisticAction:
        """Locked keys need their lock; others (reads to be validated) are checked as at the start."""
        if key in self.standing.for_update_ts:
            return PessimisticAction.DO_PESSIMISTIC_CHECK
        return PessimisticAction.DO_CONSTRAINT_CHECK


async def settle(resolver: Resolver, locks: list[LockInfo], patience: Patience) -> None:
    """Get locks out of a writer's way: finish what is left over, give time to what lives."""
    statuses = await resolver.resolve(locks, 0, patience)
    alive = [one for one in statuses.values() if not (one.final or one.undecided)]
    if alive:
        await wait_for(max(one.left_ms for one in alive) + 1, "lock", patience)


def _size(mutation: Mutation) -> int:
    return len(mutation.key) + len(mutation.value)
