"""What a majority of PD's members remembers, and how it changes.

All members apply the same commands in the same order; so whoever leads next knows the bound of the
timestamps given, the ids given, the stores, the safe points, and the regions as last reported to a
leader.  Which store leads a region, what is down or busy, and what is being moved is the leader's own
knowledge: a new one learns it from the next heartbeats.

    >>> state = PdState(replicas=3)
    >>> state.apply(SaveWindow(5000)), state.saved_ms
    (None, 5000)
    >>> state.apply(ReserveIds(10))
    (1000, 1010)
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import msgspec

from splitbrain.cluster.messages.pd import SetStoreState, SetStoreStateReply
from splitbrain.cluster.messages.pd_errors import (
    PdAlreadyBootstrapped,
    PdError,
    PdInvalid,
    PdNotBootstrapped,
    PdStoreNotFound,
    PdStoreTombstone,
)
from splitbrain.cluster.messages.pd_gc import (
    UpdateGcSafePoint,
    UpdateGcSafePointReply,
    UpdateServiceGcSafePoint,
    UpdateServiceGcSafePointReply,
)
from splitbrain.cluster.messages.pd_stores import (
    Bootstrap,
    BootstrapReply,
    PutStore,
    PutStoreReply,
)
from splitbrain.cluster.messages.pd_types import StoreMeta, StoreState
from splitbrain.cluster.pd.regions import RegionInfo, RegionTree

__all__ = [
    "FOUNDERS",
    "Change",
    "Changing",
    "Command",
    "PdState",
    "ReserveIds",
    "SaveRegions",
    "SaveWindow",
    "decode_command",
    "encode_command",
]

FOUNDERS = 1000
"""Ids below are for those who found the cluster, and are never allocated."""
FOR_EVER_S = 1 << 40
"""Longer than any service's word."""

Changing: TypeAlias = (
    Bootstrap | PutStore | SetStoreState | UpdateGcSafePoint | UpdateServiceGcSafePoint
)
"""Requests that change what must last."""


class SaveWindow(msgspec.Struct, frozen=True, tag=1, array_like=True, gc=False):
    """All timestamps given until the next such command are below ``until_ms``."""

    until_ms: int


class ReserveIds(msgspec.Struct, frozen=True, tag=2, array_like=True, gc=False):
    """The proposing leader may give out ``count`` ids."""

    count: int


class SaveRegions(msgspec.Struct, frozen=True, tag=3, array_like=True, gc=False):
    """These regions were reported to the leader."""

    regions: tuple[RegionInfo, ...]


class Change(msgspec.Struct, frozen=True, tag=4, array_like=True, gc=False):
    """A request; ``now_ms`` is the oracle's physical time as the leader had it."""

    request: Changing
    now_ms: int = 0


Command: TypeAlias = SaveWindow | ReserveIds | SaveRegions | Change

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """An entry's data."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """The command of ``encode_command``'s bytes."""
    command: Command = _decoder.decode(data)
    return command


class Service(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who forbids garbage collection beyond ``safe_point``, until the oracle's ``until_ms``."""

    id: str
    safe_point: int
    until_ms: int


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot's form."""

    saved_ms: int
    ids_end: int
    gc_safe_point: int
    services: tuple[Service, ...]
    stores: tuple[StoreMeta, ...]
    regions: tuple[RegionInfo, ...]


class PdState:
    """The replicated state; deterministic.

    Attributes:
        saved_ms: bound of all timestamps ever given.
        ids_end: the next id that nobody has reserved.
        gc_safe_point: where garbage collection may go.
        services: by id, also those whose time is over.
        stores: by id.
        regions: as last saved.
    """

    def __init__(self, *, replicas: int) -> None:
        self._replicas = replicas
        self.saved_ms = 0
        self.ids_end = FOUNDERS
        self.gc_safe_point = 0
        self.services: dict[str, Service] = {}
        self.stores: dict[int, StoreMeta] = {}
        self.regions = RegionTree()

    def apply(self, command: Command) -> Any:
        """Do it; what the proposer is told.

        None for SaveWindow and SaveRegions, (first id, end) for ReserveIds, the answer for a Change.
        """
        if isinstance(command, SaveWindow):
            self.saved_ms = max(self.saved_ms, command.until_ms)
            return None
        if isinstance(command, ReserveIds):
            start, self.ids_end = self.ids_end, self.ids_end + command.count
            return start, self.ids_end
        if isinstance(command, SaveRegions):
            for info in command.regions:
                self.regions.put(info)
            return None
        return self._change(command.request, command.now_ms)

    def _change(self, request: Changing, now_ms: int) -> Any:
        if isinstance(request, Bootstrap):
            return BootstrapReply(self._bootstrap(request))
        if isinstance(request, PutStore):
            return PutStoreReply(self._put_store(request.store))
        if isinstance(request, SetStoreState):
            return SetStoreStateReply(self._set_state(request.store_id, request.state))
        if isinstance(request, UpdateGcSafePoint):
            wanted = min([request.safe_point, *(s.safe_point for s in self.alive(now_ms))])
            self.gc_safe_point = max(self.gc_safe_point, wanted)
            return UpdateGcSafePointReply(self.gc_safe_point)
        return self._service(request, now_ms)

    # -- stores and the first region -------------------------------------------------------------

    @property
    def bootstrapped(self) -> bool:
        """Is there a first region?"""
        return len(self.regions) > 0

    def _bootstrap(self, request: Bootstrap) -> PdError | None:
        region, store = request.region, request.store
        if self.bootstrapped:
            return PdAlreadyBootstrapped()
        if region.start or region.end or region.peer_on(store.id) is None:
            return PdInvalid("the first region holds all keys and has a peer on its store")
        self.regions.put(RegionInfo(region))
        self.stores |= {one.id: one for one in (store, *request.others)}
        used = max(region.id, store.id, *(max(p.id, p.store_id) for p in region.peers))
        self.ids_end = max(self.ids_end, used + 1)
        return None

    def _put_store(self, store: StoreMeta) -> PdError | None:
        """A known store keeps the state that PD wants of it."""
        if not self.bootstrapped:
            return PdNotBootstrapped()
        known = self.stores.get(store.id)
        if known is not None and known.state is StoreState.TOMBSTONE:
            return PdStoreTombstone(store.id)
        for other in self.stores.values():
            same = store.node == other.node and store.address == other.address
            if same and other.id != store.id and other.state is not StoreState.TOMBSTONE:
                return PdInvalid(f"store {other.id} is at {store.node} {store.address} already")
        state = StoreState.UP if known is None else known.state
        self.stores[store.id] = msgspec.structs.replace(store, state=state)
        self.ids_end = max(self.ids_end, store.id + 1)
        return None

    def _set_state(self, store_id: int, state: StoreState) -> PdError | None:
        store = self.stores.get(store_id)
        if store is None:
            return PdStoreNotFound(store_id)
        if store.state is state:
            return None
        if store.state is StoreState.TOMBSTONE:
            return PdStoreTombstone(store_id)
        if state is StoreState.OFFLINE:
            left = sum(one.state is StoreState.UP for one in self.stores.values()) - 1
            if left < self._replicas:
                return PdInvalid(f"{left} stores would be left for {self._replicas} replicas")
        elif state is StoreState.TOMBSTONE and store.state is not StoreState.OFFLINE:
            return PdInvalid(f"store {store_id} must be offline before it is a tombstone")
        self.stores[store_id] = msgspec.structs.replace(store, state=state)
        return None

    # -- garbage collection ----------------------------------------------------------------------

    def alive(self, now_ms: int) -> list[Service]:
        """The services whose word still holds, in the order of their ids."""
        services = sorted(self.services.values(), key=lambda one: one.id)
        return [one for one in services if one.until_ms > now_ms]

    def _service(
        self, request: UpdateServiceGcSafePoint, now_ms: int
    ) -> UpdateServiceGcSafePointReply:
        """Refused below the lowest of all: what it wants to keep may be gone.

        The lowest is that of the services, or the cluster's own where no service holds it.
        """
        alive = self.alive(now_ms)
        lowest = min((one.safe_point for one in alive), default=self.gc_safe_point)
        if request.ttl_s <= 0:
            self.services.pop(request.service_id, None)
        elif request.safe_point >= max(lowest, self.gc_safe_point):
            until = now_ms + min(request.ttl_s, FOR_EVER_S) * 1000
            service = Service(request.service_id, request.safe_point, until)
            self.services[request.service_id] = service
        least = min(self.alive(now_ms), key=lambda one: (one.safe_point, one.id), default=None)
        if least is None:
            return UpdateServiceGcSafePointReply("", 0, self.gc_safe_point)
        left_s = (least.until_ms - now_ms) // 1000
        return UpdateServiceGcSafePointReply(least.id, left_s, least.safe_point)

    # -- as bytes --------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        stored = _Stored(
            self.saved_ms,
            self.ids_end,
            self.gc_safe_point,
            tuple(self.services[name] for name in sorted(self.services)),
            tuple(self.stores[store_id] for store_id in sorted(self.stores)),
            tuple(self.regions),
        )
        return _encoder.encode(stored)

    def restore(self, data: bytes) -> None:
        """Become the state of ``snapshot``'s bytes; no bytes at all are the first state."""
        stored = _Stored(0, FOUNDERS, 0, (), (), ())
        if data:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        self.saved_ms = stored.saved_ms
        self.ids_end = stored.ids_end
        self.gc_safe_point = stored.gc_safe_point
        self.services = {one.id: one for one in stored.services}
        self.stores = {one.id: one for one in stored.stores}
        self.regions = RegionTree()
        for info in stored.regions:
            self.regions.put(info)

    def digest(self) -> str:
        """A short hash of the state, by which members at the same log index are compared."""
        return hashlib.sha256(self.snapshot()).hexdigest()[:16]
