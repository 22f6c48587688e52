"""Asking the placement driver: who leads it, timestamps, regions, stores.

**Timestamps.**  Callers that come while a request is under way wait for the next one, which asks for
as many timestamps as there are callers by then, and gives each its own.  Nobody is given one of a
request that was sent before they came: it may be older than something that the caller has seen.

**The leader** is looked for among all members: one that says "not me, but n2" is believed, one that
does not answer is passed over.  All questions may be asked again, whatever became of the first try:
a timestamp or an id that is lost is no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from splitbrain.cluster.client.backoff import OutOfPatience, Patience
from splitbrain.cluster.messages.pd import (
    GetAllStores,
    GetMembers,
    GetMembersReply,
    GetPrevRegion,
    GetRegion,
    ScanRegions,
    Tso,
    TsoReply,
)
from splitbrain.cluster.messages.pd_errors import PdBusy, PdNotLeader, PdUndetermined
from splitbrain.cluster.messages.pd_types import PdRegion, StoreMeta, compose_ts
from splitbrain.env import Caller, Pacer
from splitbrain.errors import Definite

__all__ = ["PdClient", "PdFailed"]

_RETRIED = (PdNotLeader, PdBusy, PdUndetermined)
_TSO_BATCH_MAX = 256


class PdFailed(Definite):
    """PD's leader has answered with an error that asking again does not mend: ``pd-refused``."""

    def __init__(self, error: Any) -> None:
        super().__init__("pd-refused", f"{error}")
        self.error = error


class _Waiter(NamedTuple):
    future: asyncio.Future[int]
    patience: Patience

    def fail(self, error: Exception) -> None:
        """No timestamp for this one."""
        if not self.future.done():
            self.future.set_exception(error)


class PdClient:
    """One client's way to PD.

    Attributes:
        batches: Tso requests sent so far.
        given: timestamps given to callers so far.
    """

    def __init__(
        self, caller: Caller, pacer: Pacer, members: Sequence[str], *, timeout_s: float = 0.5
    ) -> None:
        self._caller = caller
        self._pacer = pacer
        self._members = tuple(members)
        self._timeout_s = timeout_s
        self._leader = self._members[0]
        self._waiting: list[_Waiter] = []
        self._batching: asyncio.Task[None] | None = None
        self.batches = 0
        self.given = 0

    async def close(self) -> None:
        """Give up all that is under way."""
        if self._batching is not None:
            self._batching.cancel()
            await asyncio.gather(self._batching, return_exceptions=True)

    # -- one question ------------------------------------------------------------------------

    async def ask(self, request: Any, patience: Patience) -> Any:
        """The leader's answer.

        Raises:
            PdFailed: it is an error that no other try would mend.
            OutOfPatience: nobody who leads has answered.
        """
        redirects = 0
        while True:
            answer = await self._attempt(request, patience.left_s("no-pd"))
            error = getattr(answer, "error", None)
            if not isinstance(answer, Exception) and error is None:
                return answer
            if error is not None and not isinstance(error, _RETRIED):
                raise PdFailed(error)
            before = self._leader
            await self._look_elsewhere(error, patience)
            redirects = redirects + 1 if self._leader != before else 0
            if not 1 <= redirects <= 2:
                redirects = 0
                await patience.pause("pd", "no-pd")

    async def _attempt(self, request: Any, left_s: float) -> Any:
        timeout_s = min(self._timeout_s, left_s)
        try:
            return await self._caller.call(self._leader, request, timeout_s=timeout_s)
        except (ConnectionError, TimeoutError, EOFError) as error:
            return error

    async def _look_elsewhere(self, error: Any, patience: Patience) -> None:
        """Choose whom to take for the leader next."""
        if isinstance(error, PdBusy):
            return
        if isinstance(error, PdNotLeader) and error.leader in self._members:
            self._leader = error.leader
            return
        at = self._members.index(self._leader)
        self._leader = self._members[(at + 1) % len(self._members)]
        answer = await self._attempt(GetMembers(), patience.left_s("no-pd"))
        if isinstance(answer, GetMembersReply) and answer.leader in self._members:
            self._leader = answer.leader

    # -- timestamps --------------------------------------------------------------------------

    async def timestamp(self, patience: Patience) -> int:
        """A timestamp larger than any that anybody had before this call.

        Raises:
            OutOfPatience: PD gave none in time.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(future, patience))
        if self._batching is None or self._batching.done():
            self._batching = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        """One batch after the other, until nobody waits."""
        while self._waiting:
            batch = self._waiting[:_TSO_BATCH_MAX]
            self._waiting = self._waiting[_TSO_BATCH_MAX:]
            batch = [waiter for waiter in batch if not waiter.future.done()]
            if batch:
                await self._serve_batch(batch)

    async def _serve_batch(self, batch: list[_Waiter]) -> None:
        hasty = min(batch, key=lambda waiter: waiter.patience.deadline_ns)
        self.batches += 1
        try:
            reply = await self.ask(Tso(len(batch)), hasty.patience.fork())
        except OutOfPatience as error:
            hasty.fail(error)
            self._waiting[:0] = [waiter for waiter in batch if waiter is not hasty]
            return
        except Exception as error:  # noqa: BLE001 - it is told to those who wait
            for waiter in batch:
                waiter.fail(error)
            return
        self._hand_out(batch, reply)

    def _hand_out(self, batch: list[_Waiter], reply: TsoReply) -> None:
        """The reply names the last of the batch: the others lie just below it."""
        last = compose_ts(reply.physical, reply.logical)
        first = last - len(batch) + 1
        for number, waiter in enumerate(batch):
            if not waiter.future.done():
                self.given += 1
                waiter.future.set_result(first + number)

    # -- regions and stores ------------------------------------------------------------------

    async def region(self, key: bytes, patience: Patience) -> PdRegion:
        """The region that holds a stored key."""
        return await self._region(GetRegion(key), patience)

    async def region_before(self, bound: bytes, patience: Patience) -> PdRegion:
        """The region of the keys just below ``bound``; empty: of the last keys there are."""
        if not bound:
            reply = await self.ask(ScanRegions(), patience)
            if not reply.regions:
                raise PdFailed(reply)
            last: PdRegion = reply.regions[-1]
            return last
        found = await self.region(bound, patience)
        if found.region.start < bound:
            return found
        return await self._region(GetPrevRegion(bound), patience)

    async def _region(self, request: Any, patience: Patience) -> PdRegion:
        reply = await self.ask(request, patience)
        region: PdRegion = reply.region
        return region

    async def stores(self, patience: Patience) -> tuple[StoreMeta, ...]:
        """All stores that are not gone for good."""
        reply = await self.ask(GetAllStores(exclude_tombstone=True), patience)
        stores: tuple[StoreMeta, ...] = reply.stores
        return stores
