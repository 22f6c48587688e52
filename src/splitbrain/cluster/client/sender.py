"""One request to one region: which replica, how long, and what its refusals ask for.

    region error, or exception          what is done
    NotLeader that names a peer         ask that one, at once
    NotLeader                           wait, ask the next
    EpochNotMatch                       believe what it tells; to the caller
      telling nothing                   forget the region, wait; to the caller
      the client knows a newer one      wait, ask the same again
    RegionNotFound, KeyNotInRegion,
      PeerNotMatch                      forget the region, wait; to the caller
    StoreNotMatch                       forget region and store, wait; to the caller
    StaleCommand                        ask the same again
    ServerIsBusy                        leader: wait, ask again; follower: the next, then wait
    DataIsNotReady                      ask the leader
    MaxTimestampNotSynced, RegionNotInitialized, ReadIndexNotReady
                                        wait, ask again
    EntryTooLarge, MismatchMode         Definite
    no connection, no answer            the next replica
    UndeterminedResult, another answer  wait, ask again

"To the caller" is :class:`Moved`: the keys may lie in other regions now, so they must be grouped anew.

Requests are sent again even after one that may have taken effect: transactional ones may be
repeated.  What the caller must know is noted in its :class:`Doubt`.  (A raw write may not be
repeated; ``raw`` sends those.)
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from splitbrain.cluster.client.backoff import Patience
from splitbrain.cluster.client.breaker import Breakers
from splitbrain.cluster.client.options import ClientOptions, ReadFrom
from splitbrain.cluster.client.outcome import End, Fate, judge, region_error
from splitbrain.cluster.client.regions import Place, RegionCache
from splitbrain.cluster.client.replicas import REPLICA_READ, candidates
from splitbrain.cluster.messages.pd_types import StoreMeta
from splitbrain.cluster.messages.region import Peer
from splitbrain.cluster.messages.region_errors import (
    DataIsNotReady,
    EpochNotMatch,
    KeyNotInRegion,
    MaxTimestampNotSynced,
    NotLeader,
    PeerNotMatch,
    ReadIndexNotReady,
    RegionNotFound,
    RegionNotInitialized,
    ServerIsBusy,
    StaleCommand,
    StoreNotMatch,
)
from splitbrain.env import Caller, Pacer
from splitbrain.errors import Definite

__all__ = ["Doubt", "Moved", "Sender"]

_WAITS: dict[type, str] = {
    MaxTimestampNotSynced: "max-ts",
    RegionNotInitialized: "not-initialized",
    ReadIndexNotReady: "region-miss",
}
_LOST = (ConnectionError, TimeoutError, EOFError)


class Moved(Exception):
    """The keys may be in other regions now: locate them again."""


class Doubt:
    """Whether a request may have taken effect without an answer.

    Attributes:
        code: the attempt that may have: ``timeout``, ``connection-lost`` ...; empty: none.
            An answer (which a repeated request gives) clears it.
        ever: there was such an attempt, whatever came of it later.
        sent: some attempt has left.
    """

    def __init__(self) -> None:
        self.code = ""
        self.ever = False
        self.sent = False

    def note(self, code: str) -> None:
        """An attempt of unknown fate."""
        self.code, self.ever = code, True

    def clear(self) -> None:
        """The request was answered after all."""
        self.code = ""


class _Turn:
    """One ``send``: what was tried already."""

    def __init__(self, place: Place, read_from: ReadFrom, doubt: Doubt) -> None:
        self.place = place
        self.read_from = read_from
        self.doubt = doubt
        self.tried: set[int] = set()
        self.redirects = 0
        self.code = "no-leader"


class Sender:
    """Sends to regions, and mends the cache by what comes back.

    Attributes:
        attempts: requests sent so far, by the store's node.
        rpc_timeout_s: longest wait for one answer.
    """

    def __init__(
        self,
        caller: Caller,
        pacer: Pacer,
        cache: RegionCache,
        breakers: Breakers,
        options: ClientOptions,
    ) -> None:
        self._caller = caller
        self._pacer = pacer
        self._cache = cache
        self._breakers = breakers
        self._options = options
        limit_s = options.rpc_timeout_s
        self.rpc_timeout_s = options.op_timeout_s / 4 if limit_s is None else limit_s
        self._turns = 0
        self.attempts: dict[str, int] = {}

    async def send(
        self,
        request: Any,
        place: Place,
        patience: Patience,
        *,
        doubt: Doubt | None = None,
        read_from: ReadFrom = "leader",
    ) -> Any:
        """The answer of the region, one without region error.

        Raises:
            Moved: locate the keys again.
            Definite: the request was refused for good.
            OutOfPatience: nobody has served it in time; ``doubt`` tells whether it may yet be.
        """
        self._turns += 1
        turn = _Turn(place, read_from, doubt or Doubt())
        while True:
            patience.left_s(turn.code)
            peer, store = self._choose(turn)
            if peer is None or store is None:
                await self._all_tried(turn, patience)
                continue
            answer = await self._attempt(request, turn, peer, store, patience)
            end = judge(request, answer, trust_refusals=self._options.trust_refusals)
            self._note(end, answer, store, turn.doubt)
            if end.fate is Fate.DONE:
                return answer
            if end.fate is Fate.REFUSED:
                raise Definite(end.code, f"by {store.node}")
            turn.code = end.code
            await self._react(answer, end, turn, peer, patience)

    # -- one attempt -------------------------------------------------------------------------

    def _choose(self, turn: _Turn) -> tuple[Peer | None, StoreMeta | None]:
        """The best replica that was not tried yet and whose store is not left alone."""
        now_ns = self._pacer.monotonic_ns()
        peers = candidates(
            turn.place,
            turn.read_from,
            turn=self._turns,
            labels=self._options.labels,
            store=self._cache.store,
        )
        for peer in peers:
            store = self._cache.store(peer.store_id)
            if peer.id in turn.tried or store is None:
                continue
            if self._breakers.passes(peer.store_id, now_ns):
                return peer, store
        return None, None

    async def _all_tried(self, turn: _Turn, patience: Patience) -> NoReturn:
        """Nobody is left to ask: PD may know better."""
        self._cache.drop(turn.place)
        await patience.pause("rpc", turn.code)
        raise Moved

    async def _attempt(
        self, request: Any, turn: _Turn, peer: Peer, store: StoreMeta, patience: Patience
    ) -> Any:
        region = turn.place.region
        context = msgspec.structs.replace(
            request.context,
            region_id=region.id,
            conf_version=region.epoch.conf_version,
            version=region.epoch.version,
            store_id=peer.store_id,
            peer_id=peer.id,
            replica_read=REPLICA_READ[turn.read_from],
            is_retry=request.context.is_retry or turn.doubt.ever,
        )
        stamped = msgspec.structs.replace(request, context=context)
        timeout_s = min(self.rpc_timeout_s, patience.left_s(turn.code))
        breaker = self._breakers.of(peer.store_id)
        breaker.sent()
        self.attempts[store.node] = self.attempts.get(store.node, 0) + 1
        try:
            return await self._caller.call(store.node, stamped, timeout_s=timeout_s)
        except _LOST as error:
            return error
        finally:
            breaker.given_up()

    def _note(self, end: End, answer: Any, store: StoreMeta, doubt: Doubt) -> None:
        """Keep the books: breaker and doubt."""
        if isinstance(answer, _LOST) or isinstance(region_error(answer), ServerIsBusy):
            self._breakers.failed(store.id, self._pacer.monotonic_ns())
        else:
            self._breakers.of(store.id).succeeded()
        if not isinstance(answer, ConnectionError):
            doubt.sent = True
        if end.fate is Fate.UNKNOWN:
            doubt.note(end.code)
        elif end.fate in (Fate.DONE, Fate.REFUSED) and doubt.code:
            doubt.clear()

    # -- reactions ---------------------------------------------------------------------------

    async def _react(
        self, answer: Any, end: End, turn: _Turn, peer: Peer, patience: Patience
    ) -> None:
        """Change who is asked next, wait, or hand back to the caller."""
        cause = region_error(answer)
        if isinstance(answer, _LOST):
            self._lost(turn, peer)
        elif isinstance(cause, NotLeader):
            await self._not_leader(cause, turn, peer, patience)
        elif isinstance(cause, EpochNotMatch):
            await self._epoch(cause, turn, peer, patience)
        elif isinstance(cause, RegionNotFound | KeyNotInRegion | PeerNotMatch | StoreNotMatch):
            if isinstance(cause, StoreNotMatch):
                self._cache.forget_store(peer.store_id)
            self._cache.drop(turn.place)
            await patience.pause("region-miss", end.code)
            raise Moved
        elif isinstance(cause, DataIsNotReady):
            turn.read_from = "leader"
        elif isinstance(cause, ServerIsBusy):
            if turn.read_from != "leader":
                turn.tried.add(peer.id)
            else:
                await patience.pause("busy", end.code)
        elif not isinstance(cause, StaleCommand):
            await patience.pause(_WAITS.get(type(cause), "rpc"), end.code)

    def _lost(self, turn: _Turn, peer: Peer) -> None:
        turn.tried.add(peer.id)
        self._cache.store_failed(peer.store_id)
        if turn.place.leader is not None and turn.place.leader.id == peer.id:
            turn.place = msgspec.structs.replace(turn.place, leader=None)

    async def _not_leader(
        self, cause: NotLeader, turn: _Turn, peer: Peer, patience: Patience
    ) -> None:
        store = self._cache.store_of(cause.leader) if cause.leader else None
        leader = turn.place.region.peer_on(store.id) if store is not None else None
        turn.tried.add(peer.id)
        turn.read_from = (
            "leader"  # a store that serves no reads of followers says so in this way
        )
        turn.place = self._cache.leader_is(turn.place, leader)
        if leader is None or leader.id == peer.id:
            await patience.pause("no-leader", "no-leader")
            return
        turn.redirects += 1
        if leader.id in turn.tried or turn.redirects > 2:
            # Stores that name each other are not a race track.
            await patience.pause("no-leader", "no-leader")
            turn.redirects = 0
            turn.tried.clear()

    async def _epoch(
        self, cause: EpochNotMatch, turn: _Turn, peer: Peer, patience: Patience
    ) -> None:
        mine = turn.place.region
        same = next((region for region in cause.regions if region.id == mine.id), None)
        if same is not None and same.epoch.version < mine.epoch.version:
            await patience.pause("region-miss", "epoch-not-match")  # the store is behind
            return
        self._cache.drop(turn.place)
        if not cause.regions:
            await patience.pause("region-miss", "epoch-not-match")
        for region in cause.regions:
            leader = region.peer_on(peer.store_id)
            self._cache.insert(region, leader, self._pacer.monotonic_ns())
        raise Moved
