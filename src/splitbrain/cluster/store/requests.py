"""A peer's clients: is the request for us, and when is it handed to the core?

Second chapter of :class:`~splitbrain.cluster.store.peer.Peer`.  The checks are TiKV's, in TiKV's
order.  All of them come before anything is appended, so each refusal is a true no.

**Batching.**  Requests are queued and proposed at the end of the turn, and not while the log is
busy syncing: then they would only wait for the next sync anyway, so they go into it together, in
one Ready, one append message per peer.  Reads of one turn share one ReadIndex round.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

from splitbrain.cluster.messages import (
    DataIsNotReady,
    EntryTooLarge,
    KeyNotInRegion,
    NotLeader,
    PeerNotMatch,
    RawCas,
    ReadGrant,
    RegionError,
    RegionNotInitialized,
    ServerIsBusy,
    StaleCommand,
)
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.txn import ListRecords
from splitbrain.cluster.mvcc.service import READS
from splitbrain.cluster.raft.types import Role
from splitbrain.cluster.storage.commands import encode_command
from splitbrain.cluster.storage.logfile import GroupLog
from splitbrain.cluster.store.applier import Applying
from splitbrain.cluster.store.host import Host
from splitbrain.cluster.store.proposals import Waiting
from splitbrain.cluster.store.replies import (
    RAW_READS,
    REPLY,
    AnyRaw,
    Reply,
    Request,
    answer_raw,
    command_of,
    keys_read,
    refused,
    size_of,
)

__all__ = ["Requests"]

LEADER = Role.LEADER
ALL_READS = frozenset((*RAW_READS, *READS, ListRecords))


class Requests(Applying):
    """Requests from their arrival to the core."""

    def __init__(self, host: Host, log: GroupLog, region_id: int, peer_id: int) -> None:
        super().__init__(host, log, region_id, peer_id)
        self._writes: list[Waiting] = []
        self._admin_index = 0

    # -- arrival ---------------------------------------------------------------------------------

    def on_request(self, waiting: Waiting) -> None:
        """A request of a client has come."""
        request = waiting.request
        assert request is not None
        error = self.refusal(request)
        if error is None and self.held() >= self.config.max_pending:
            error = ServerIsBusy(f"{self.held()} requests wait")
        if error is not None:
            self.refuse(waiting, error)
        elif type(request) in ALL_READS:
            self._on_read(waiting, request)
        else:
            self._on_write(waiting)

    def _on_write(self, waiting: Waiting) -> None:
        self._queue_write(waiting)

    def _queue_write(self, waiting: Waiting) -> None:
        self._writes.append(waiting)
        self.host.flush_soon(self)

    def refusal(self, request: Request) -> RegionError | None:
        """Why ``request`` cannot be served here and now; None if it can."""
        context, raft, region = request.context, self.raft, self.region
        if context.peer_id and context.peer_id != self.peer_id:
            return PeerNotMatch(context.peer_id, self.peer_id)
        if raft.role is not LEADER and _how(request) is ReplicaRead.LEADER:
            return self.not_leader()
        if region is None:
            return RegionNotInitialized(self.region_id)
        if context.term and raft.term > context.term + 1:
            return StaleCommand()
        if context.version != region.epoch.version:
            return self._epoch_error()
        size, limit = size_of(request), self.config.max_entry_bytes
        return EntryTooLarge(size, limit, self.region_id) if size > limit else None

    def not_leader(self) -> NotLeader:
        """Who leads instead, as far as known."""
        leader = self.raft.leader
        peer = None
        if leader and self.region is not None:
            peer = self.region.peer_on(self.config.nodes.index(leader) + 1)
        return NotLeader(leader, self.region_id, peer.id if peer else 0)

    def send(self, sender: str, reply: Reply | ReadGrant) -> None:
        """Answer."""
        self._send(sender, reply)

    def held(self) -> int:
        """How many requests wait here."""
        return len(self._writes) + len(self._proposals) + len(self._reads)

    # -- writes ----------------------------------------------------------------------------------

    @property
    def has_writes(self) -> bool:
        """Does anything wait to be proposed?"""
        return bool(self._writes)

    def propose_queued(self) -> None:
        """Append what waits to the log, but for what must wait longer."""
        if self.raft.role is LEADER and self._holds_back():
            return
        writes, self._writes = self._writes, []
        for waiting in writes:
            request = waiting.request
            assert request is not None
            if self.region is None or request.context.version != self.region.epoch.version:
                self.refuse(waiting, self._moved_on())
            else:
                self._propose_one(waiting)

    def _moved_on(self) -> RegionError:
        """What to say when the region has changed while the request was waiting."""
        return self._epoch_error() if self.region is not None else self.not_leader()

    def _propose_one(self, waiting: Waiting) -> None:
        raft, request = self.raft, cast(AnyRaw, waiting.request)
        place = raft.propose(encode_command(command_of(request)))
        if place is None:
            self.refuse(waiting, self.no_leader())  # before the append: a true no
            return
        index, term = place
        if raft.acked_early(index) and not isinstance(request, RawCas):
            self._send(waiting.sender, REPLY[type(request)]())
        else:
            self._proposals.add(index, term, waiting)

    def no_leader(self) -> RegionError:
        """Why the core took nothing: not leader, or leader and not ready for it."""
        if self.raft.role is LEADER:
            return ServerIsBusy("the leader is not ready: new, handing over, or overloaded")
        return self.not_leader()

    def _holds_back(self) -> bool:
        """Is a split proposed and not applied?  What comes behind it would fail there.

        It waits, and is told of the new regions as soon as they are.
        """
        return self._admin_index > self.raft.applied_index

    # -- reads -----------------------------------------------------------------------------------

    def _on_read(self, waiting: Waiting, request: Request) -> None:
        how = _how(request)
        if how is ReplicaRead.STALE:
            self.refuse(waiting, DataIsNotReady(self.region_id, self.peer_id))
            return
        if how is ReplicaRead.EVENTUAL:
            self._send(waiting.sender, self.read(request))
            return
        if how is ReplicaRead.FOLLOWER and self.raft.role is not LEADER:
            self._ask_leader(waiting, request)
            return
        if self.config.lease_reads:
            answer = self.read(request)  # the state first, then the time
            if self._lease_holds():
                self._send(waiting.sender, answer)
                return
        self._reads.queue(waiting)
        self.host.flush_soon(self)

    @abstractmethod
    def _ask_leader(self, waiting: Waiting, request: Request) -> None:
        """Ask the region's leader from where on this replica may serve the read."""

    def _lease_holds(self) -> bool:
        """May the state be shown without asking anybody?

        Not while a split is under way: a part of the region may be led by somebody else already,
        who owes nothing to this lease.
        """
        now = self._clock.monotonic_ns()
        return self.raft.lease_valid(now) and self._admin_index <= self.raft.applied_index

    def read(self, request: Request) -> Reply:
        """The answer of a read in the present state, if the region is still as the client thinks."""
        region = self.region
        if region is None or request.context.version != region.epoch.version:
            return refused(request, self._moved_on())
        assert isinstance(request, RAW_READS)
        for key in keys_read(request):
            if not region.covers(key):
                error = KeyNotInRegion(key, region.id, region.start, region.end)
                return refused(request, error)
        return answer_raw(request, self.state)

    @property
    def has_reads(self) -> bool:
        """Is there anything to ask a round for?"""
        return self._reads.queued

    def ask_reads(self) -> None:
        """Begin one round for all reads of the turn."""
        context = self._reads.next_round()
        if not self.raft.read_index(context, self._clock.monotonic_ns()):
            for waiting in self._reads.dropped(context):
                self.refuse(waiting, self.no_leader())

    def drop_reads(self, contexts: tuple[bytes, ...]) -> None:
        """These rounds will never be confirmed."""
        for context in contexts:
            for waiting in self._reads.dropped(context):
                self.refuse(waiting, self.not_leader())


def _how(request: Request) -> ReplicaRead:
    """Which replica may serve the request."""
    reads = type(request) in ALL_READS
    return request.context.replica_read if reads else ReplicaRead.LEADER
