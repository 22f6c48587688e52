"""Is a request for this store, this region and this leader?  TiKV's checks, in TiKV's order.

All of them come before anything is appended, so each refusal is a true no.
"""

from __future__ import annotations

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages import (
    CONF_VERSION,
    REGION_ID,
    REGION_VERSION,
    EntryTooLarge,
    EpochNotMatch,
    MismatchMode,
    NotLeader,
    PeerNotMatch,
    RawCas,
    RawCasReply,
    RawDelete,
    RawDeleteReply,
    RawGet,
    RawGetReply,
    RawPut,
    RawPutReply,
    RawScan,
    RawScanReply,
    RegionError,
    RegionNotFound,
    Request,
    StaleCommand,
    StoreNotMatch,
)
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import Role
from splitbrain.cluster.storage.kv import Cas, Command, Delete, Outcome, Put

__all__ = ["REPLY", "Guard", "Reply", "command_of", "reply_to"]

Reply = RawGetReply | RawPutReply | RawDeleteReply | RawCasReply | RawScanReply

REPLY: dict[type, type[Reply]] = {
    RawGet: RawGetReply,
    RawPut: RawPutReply,
    RawDelete: RawDeleteReply,
    RawCas: RawCasReply,
    RawScan: RawScanReply,
}
"""The answer of each request."""


class Guard:
    """Checks of one store."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._store_id = config.store_id

    def refusal(self, request: Request, raft: Raft) -> RegionError | None:
        """Why ``request`` cannot be served here and now; None if it can."""
        if self._config.mode != "raw":
            return MismatchMode(self._config.mode)
        context, own = request.context, self._store_id
        if context.store_id and context.store_id != own:
            return StoreNotMatch(context.store_id, own)
        if context.region_id != REGION_ID:
            return RegionNotFound(context.region_id)
        if context.peer_id and context.peer_id != own:
            return PeerNotMatch(context.peer_id, own)
        if raft.role is not Role.LEADER:
            return NotLeader(raft.leader)
        if context.term and raft.term > context.term + 1:
            return StaleCommand()
        if context.version != REGION_VERSION:
            return EpochNotMatch(CONF_VERSION, REGION_VERSION)
        return self._too_large(request)

    def _too_large(self, request: Request) -> RegionError | None:
        limit = self._config.max_entry_bytes
        if isinstance(request, RawPut):
            size = len(request.key) + len(request.value)
        elif isinstance(request, RawCas):
            size = len(request.key) + len(request.value or b"") + len(request.previous or b"")
        else:
            size = len(request.start if isinstance(request, RawScan) else request.key)
        return EntryTooLarge(size, limit) if size > limit else None


def command_of(request: Request) -> Command | None:
    """What a write puts into the log; None for a read."""
    if isinstance(request, RawPut):
        return Put(request.key, request.value)
    if isinstance(request, RawDelete):
        return Delete(request.key)
    if isinstance(request, RawCas):
        return Cas(request.key, request.previous, request.value)
    return None


def reply_to(request: Request, outcome: Outcome) -> Reply:
    """What the client of a write is told when it was applied with ``outcome``."""
    if isinstance(request, RawCas):
        return RawCasReply(outcome.succeed, outcome.previous)
    return REPLY[type(request)]()
