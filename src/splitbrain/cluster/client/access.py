"""Finding the regions of keys, and asking them: what all operations of a client share.

:class:`Access` has the way to PD, the region cache and the sender.  Keys here are the user's; in
transactional mode they are stored encoded, and this is the place that knows.

A question to several regions is cut up by :meth:`Access.by_region`; where a region turns out to be
another than believed (:class:`~.sender.Moved`), its part is cut up anew.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from splitbrain.cluster.client.background import Background
from splitbrain.cluster.client.backoff import OutOfPatience, Patience
from splitbrain.cluster.client.breaker import Breakers
from splitbrain.cluster.client.options import ClientOptions, ReadFrom
from splitbrain.cluster.client.pd_client import PdClient, PdFailed
from splitbrain.cluster.client.regions import Place, RegionCache
from splitbrain.cluster.client.sender import Doubt, Moved, Sender
from splitbrain.cluster.messages.pd_errors import PdRegionNotFound
from splitbrain.cluster.messages.pd_types import PdRegion
from splitbrain.cluster.mvcc.codec import decode_key, encode_key
from splitbrain.env import Caller, Pacer
from splitbrain.env.random import Stream

__all__ = ["Access", "together"]

T = TypeVar("T")


class Access:
    """One client's way to PD and to regions.

    Attributes:
        encoded: keys are stored encoded (transactional mode).
    """

    def __init__(
        self,
        caller: Caller,
        pacer: Pacer,
        members: Sequence[str],
        stream: Stream,
        options: ClientOptions,
        *,
        encoded: bool,
    ) -> None:
        self.pacer = pacer
        self.stream = stream
        self.options = options
        self.encoded = encoded
        self.pd = PdClient(caller, pacer, members, timeout_s=options.pd_timeout_s)
        self.cache = RegionCache(idle_s=options.region_idle_s)
        self.breakers = Breakers(
            failures_max=options.breaker_failures, cooldown_s=options.breaker_cooldown_s
        )
        self.sender = Sender(caller, pacer, self.cache, self.breakers, options)
        self.background = Background()

    def patience(self, timeout_s: float | None = None) -> Patience:
        """That of one new operation."""
        return Patience(
            self.pacer,
            self.stream,
            timeout_s=self.options.op_timeout_s if timeout_s is None else timeout_s,
            budget_s=self.options.budget_s,
            policy=self.options.backoff,
        )

    async def close(self) -> None:
        """Give up what is under way."""
        await self.background.close()
        await self.pd.close()

    # -- keys --------------------------------------------------------------------------------

    def stored(self, key: bytes) -> bytes:
        """The stored form of a user's key."""
        return encode_key(key) if self.encoded else key

    def bound(self, stored: bytes) -> bytes:
        """The user's key of a region's bound; empty stays empty."""
        return decode_key(stored) if self.encoded and stored else stored

    # -- regions -----------------------------------------------------------------------------

    async def locate(self, key: bytes, patience: Patience) -> Place:
        """The region that holds a user's key."""
        stored = self.stored(key)
        while True:
            place = self.cache.find(stored, self.pacer.monotonic_ns())
            if place is not None and self._reachable(place):
                return place
            await self._learn(lambda: self.pd.region(stored, patience), patience)

    async def locate_before(self, bound: bytes, patience: Patience) -> Place:
        """The region of the keys just below a user's key; empty: of the last ones there are."""
        stored = self.stored(bound) if bound else b""
        while True:
            place = self.cache.find_before(stored, self.pacer.monotonic_ns())
            if place is not None and self._reachable(place):
                return place
            await self._learn(lambda: self.pd.region_before(stored, patience), patience)

    def _reachable(self, place: Place) -> bool:
        """Is the store of every peer known?"""
        return self.cache.knows_stores(place.region)

    async def _learn(
        self, look_up: Callable[[], Awaitable[PdRegion]], patience: Patience
    ) -> None:
        patience.left_s("no-region")
        try:
            found = await look_up()
        except PdFailed as failed:
            if not isinstance(failed.error, PdRegionNotFound):
                raise
            await patience.pause("pd", "no-region")
            return
        self.cache.insert(found.region, found.leader, self.pacer.monotonic_ns())
        if not self._reachable(Place(found.region)):
            self.cache.put_stores(await self.pd.stores(patience))
            if not self._reachable(Place(found.region)):
                await patience.pause("pd", "no-store")

    # -- questions ---------------------------------------------------------------------------

    async def ask(
        self,
        key: bytes,
        request: Any,
        patience: Patience,
        *,
        doubt: Doubt | None = None,
        read_from: ReadFrom = "leader",
    ) -> Any:
        """Ask the region of ``key``; see :meth:`~.sender.Sender.send`."""
        moves = 0
        while True:
            place = await self.locate(key, patience)
            try:
                return await self.sender.send(
                    request, place, patience, doubt=doubt, read_from=read_from
                )
            except Moved:
                moves += 1
                await self.after_move(moves, patience)

    async def after_move(self, moves: int, patience: Patience) -> None:
        """A region has moved for the ``moves``-th time.

        Stores that contradict each other, or PD, are not to be asked in a tight loop.
        """
        if moves > 2:
            await patience.pause("region-miss")

    async def groups(
        self, keys: Sequence[bytes], patience: Patience
    ) -> list[tuple[Place, list[bytes]]]:
        """Keys by region, in the order in which their first key comes."""
        found: dict[bytes, tuple[Place, list[bytes]]] = {}
        for key in keys:
            place = await self.locate(key, patience)
            found.setdefault(place.region.start, (place, []))[1].append(key)
        return list(found.values())

    async def by_region(
        self,
        keys: Sequence[bytes],
        patience: Patience,
        do: Callable[[Place, list[bytes], Patience], Awaitable[T]],
        *,
        parallel: bool = True,
    ) -> list[T]:
        """Do something with the keys of each region; a part whose region moved is cut up anew.

        Raises:
            The first part's exception, after all parts have ended.
        """

        async def part(place: Place, mine: list[bytes], own: Patience) -> list[T]:
            for moves in itertools.count(1):
                try:
                    return [await do(place, mine, own)]
                except Moved:
                    await self.after_move(moves, own)
                groups = await self.groups(mine, own)
                if len(groups) > 1:
                    return await self.by_region(mine, own, do, parallel=parallel)
                place = groups[0][0]
            raise AssertionError("unreachable")

        groups = await self.groups(keys, patience)
        if not parallel or len(groups) == 1:
            return [r for place, mine in groups for r in await part(place, mine, patience)]
        done = await together(part(place, mine, patience.fork()) for place, mine in groups)
        return [result for results in done for result in results]


async def together(parts: Any) -> list[Any]:
    """Results of all, once ALL have ended; else the exception that matters most.

    A part that goes on after its operation was reported as failed would act behind its back.
    """
    ended = await asyncio.gather(*parts, return_exceptions=True)
    errors = [one for one in ended if isinstance(one, BaseException)]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, OutOfPatience))
    return ended
