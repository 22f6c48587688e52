"""Transactions: latch the keys, decide by ``mvcc``'s rules, propose ONE batch, reply once applied.

Third chapter of :class:`~splitbrain.cluster.store.peer.Peer`; the contract is in ``mvcc.engine``.

A request that writes goes through these stops:

1. *latched*: it waits until the latches of all its keys are its own;
2. *queued*, with the other writes, for the end of the turn;
3. *decided* and proposed, in one turn: by a leader that has applied all that earlier leaders have
   committed, so that no other leader's write can come between what it reads and what it writes;
4. *applied*: the answer leaves, the latches are free, who waits for a lock that went tries again.

A decision without writes is an observation, and waits for a round like any read.  A pessimistic lock
that finds another's lock may wait for it, without latches, for a while.

At step-down all latches, and the locks held in memory, are let go: another leader decides now.  What
was proposed keeps its place in ``proposals``, as every write does.
"""

from __future__ import annotations

from splitbrain.cluster.messages import (
    KeyNotInRegion,
    MaxTimestampNotSynced,
    RegionError,
)
from splitbrain.cluster.messages.key_errors import WaitForEntry
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.messages.txn import (
    BatchGet,
    Get,
    ListRecords,
    PessimisticLockReply,
    Scan,
    ScanLock,
    TxnAnswer,
    TxnRequest,
)
from splitbrain.cluster.mvcc.codec import encode_key
from splitbrain.cluster.mvcc.engine import Decision, Wait
from splitbrain.cluster.mvcc.latches import Latches
from splitbrain.cluster.mvcc.listing import listing
from splitbrain.cluster.mvcc.service import READS, WriteRequest, needs_max_ts
from splitbrain.cluster.raft.types import Role
from splitbrain.cluster.storage.commands import Batch, encode_command
from splitbrain.cluster.storage.logfile import GroupLog
from splitbrain.cluster.store.host import Host
from splitbrain.cluster.store.proposals import Waiting
from splitbrain.cluster.store.replies import TXN_REQUESTS, Reply, Request, refused
from splitbrain.cluster.store.requests import Requests

__all__ = ["Transactions"]

ReadRequest = Get | BatchGet | Scan | ScanLock


class Command:
    """One transactional request that may write, on its way."""

    __slots__ = ("decision", "keys", "number", "peer", "request", "sender", "wait")

    def __init__(
        self, peer: Transactions, sender: str, request: WriteRequest, number: int
    ) -> None:
        self.peer = peer
        self.sender = sender
        self.request = request
        self.number = number
        self.keys: tuple[bytes, ...] = ()
        self.decision: Decision | None = None
        self.wait: Wait | None = None

    def finished(self, error: RegionError | None) -> None:
        """See :class:`~splitbrain.cluster.store.proposals.Job`."""
        self.peer.finish(self, error)


class Transactions(Requests):
    """Transactional requests from their arrival to the answer."""

    def __init__(self, host: Host, log: GroupLog, region_id: int, peer_id: int) -> None:
        super().__init__(host, log, region_id, peer_id)
        self._latches = Latches()
        self._commands: dict[int, Command] = {}
        self._lock_waits: dict[bytes, list[Command]] = {}
        self._numbers = 0
        self.max_ts_term = 0
        """The term in which this leader has learned a timestamp above all that others were read at."""

    # -- arrival and latches ---------------------------------------------------------------------

    def held(self) -> int:
        """How many requests wait here."""
        return super().held() + len(self._commands)

    def _on_write(self, waiting: Waiting) -> None:
        request = waiting.request
        if type(request) not in TXN_REQUESTS:
            super()._on_write(waiting)
            return
        self._numbers += 1
        command = Command(self, waiting.sender, request, self._numbers)  # type: ignore[arg-type]
        self._latch(command)

    def _latch(self, command: Command) -> None:
        command.keys = self.host.mvcc.keys_of(command.request, self.state)
        self._commands[command.number] = command
        if self._latches.acquire(command.number, command.keys):
            self._queue_write(Waiting(command.sender, command.request, command))

    def _release(self, command: Command) -> None:
        """Let go what ``command`` holds; the next ones at its latches are queued."""
        if self._commands.pop(command.number, None) is None:
            return  # at step-down
        if command.decision is not None:
            self.host.memory.release(command.decision.held)
        for number in self._latches.release(command.number):
            following = self._commands[number]
            self._queue_write(Waiting(following.sender, following.request, following))

    # -- deciding --------------------------------------------------------------------------------

    def _propose_one(self, waiting: Waiting) -> None:
        command = waiting.job
        if not isinstance(command, Command):
            super()._propose_one(waiting)
            return
        error = self._undecidable(command)
        if error is not None:
            self.finish(command, error)
            return
        host = self.host
        decision = host.mvcc.decide(command.request, self.state, host.memory, command.keys)
        if decision.wait is not None:
            self._wait_for_lock(command, decision)
        elif decision.writes:
            self._propose_writes(command, decision)
        else:
            self._observe(command, decision)

    def _undecidable(self, command: Command) -> RegionError | None:
        region = self.region
        assert region is not None
        if not self.raft.knows_all:
            return self.no_leader()
        if needs_max_ts(command.request) and self.max_ts_term != self.raft.term:
            return MaxTimestampNotSynced()
        return _outside(command.keys, region)

    def _propose_writes(self, command: Command, decision: Decision) -> None:
        batch = Batch(decision.writes, command.request.context.version)
        place = self.raft.propose(encode_command(batch))
        if place is None:
            self.finish(command, self.no_leader())  # before the append: a true no
            return
        command.decision = decision
        self.host.memory.hold(decision.held)
        self._proposals.add(*place, Waiting(command.sender, None, command))

    def _observe(self, command: Command, decision: Decision) -> None:
        """Nothing is written: the answer waits for proof that nobody else leads."""
        self._release(command)
        if self.config.lease_reads and self._lease_holds():
            self._send(command.sender, decision.reply)
            return
        self._reads.queue(Waiting(command.sender, None, _Seen(self, command, decision.reply)))
        self.host.flush_soon(self)

    def finish(self, command: Command, error: RegionError | None) -> None:
        """The fate of ``command`` is known: it was applied, or had no effect because of ``error``."""
        self._release(command)
        decision = command.decision
        if error is not None or decision is None:
            assert error is not None, "applied without a decision"
            self._send(command.sender, refused(command.request, error))
            return
        self._send(command.sender, decision.reply)
        for key in decision.released:
            self._wake(key)

    # -- waiting for locks -----------------------------------------------------------------------

    def _wait_for_lock(self, command: Command, decision: Decision) -> None:
        """Stand by without latches until the lock goes or the time is up.

        A wait that would close a circle is refused, as far as this store knows of the waits.
        """
        wait = decision.wait
        assert wait is not None
        self._release(command)
        now_ms = self._clock.monotonic_ns() // 1_000_000
        edge = WaitForEntry(wait.start_ts, wait.lock_ts, wait.key)
        found = None if wait.first_lock else self.host.waits.detect(edge, now_ms)
        if found is not None:
            self._send(command.sender, PessimisticLockReply(errors=(found,)))
            return
        command.wait = wait
        self._lock_waits.setdefault(wait.key, []).append(command)

        def overdue() -> None:
            if command.wait is wait and not self.gone:
                self._stand_down(command, wait)
                self._send(command.sender, decision.reply)

        self._clock.call_at(self._clock.monotonic_ns() + wait.limit_ms * 1_000_000, overdue)

    def _stand_down(self, command: Command, wait: Wait) -> None:
        command.wait = None
        waiting = self._lock_waits[wait.key]
        waiting.remove(command)
        if not waiting:
            del self._lock_waits[wait.key]
        self.host.waits.ended(WaitForEntry(wait.start_ts, wait.lock_ts, wait.key))

    def _wake(self, key: bytes) -> None:
        """The lock of ``key`` has gone: all who wait for it try again, in their order."""
        for command in list(self._lock_waits.get(key, ())):
            if command.wait is not None:
                self._stand_down(command, command.wait)
                self._latch(command)

    def drop_outer_waits(self) -> None:
        """The region has been split: a lock that another region holds now is not waited for here."""
        region = self.region
        assert region is not None
        for key in [key for key in self._lock_waits if not region.covers(encode_key(key))]:
            for command in list(self._lock_waits[key]):
                assert command.wait is not None
                self._stand_down(command, command.wait)
                self._send(command.sender, refused(command.request, self._epoch_error()))

    # -- the end of leadership -------------------------------------------------------------------

    def drop_commands(self, error: RegionError) -> None:
        """Another leader decides from now on, or nobody: free everything."""
        proposed = {
            id(waiting.job) for waiting in self._proposals.all() if waiting.job is not None
        }
        commands, self._commands, self._latches = self._commands, {}, Latches()
        for command in commands.values():
            if command.decision is not None:
                self.host.memory.release(command.decision.held)
            if id(command) not in proposed:
                self._send(command.sender, refused(command.request, error))
        self._writes = [one for one in self._writes if not isinstance(one.job, Command)]
        for waiting in [one for group in self._lock_waits.values() for one in group]:
            assert waiting.wait is not None
            self._stand_down(waiting, waiting.wait)
            self._send(waiting.sender, refused(waiting.request, error))

    # -- reads -----------------------------------------------------------------------------------

    def read(self, request: Request) -> Reply:
        """The answer of a read in the present state, if the region is still as the client thinks."""
        if not isinstance(request, (*READS, ListRecords)):
            return super().read(request)
        region = self.region
        if region is None or request.context.version != region.epoch.version:
            return refused(request, self._moved_on())
        if isinstance(request, ListRecords):
            return listing(self.state, region.start, region.end, self.raft.applied_index)
        error = _outside(_keys_read(request), region)
        if error is not None:
            return refused(request, error)
        # Of a read that another replica serves its leader has taken note.
        memory = self.host.memory if self.raft.role is Role.LEADER else None
        answer: TxnAnswer = self.host.mvcc.read(request, self.state, memory)
        return answer


class _Seen:
    """The answer of a decision without writes, until it is confirmed."""

    def __init__(self, peer: Transactions, command: Command, reply: TxnAnswer) -> None:
        self._peer, self._command, self._reply = peer, command, reply

    def finished(self, error: RegionError | None) -> None:
        """See :class:`~splitbrain.cluster.store.proposals.Job`."""
        request: TxnRequest = self._command.request
        reply = self._reply if error is None else refused(request, error)
        self._peer.send(self._command.sender, reply)


def _keys_read(request: ReadRequest) -> tuple[bytes, ...]:
    """Users' keys that must be in the region; a scan's other end is cut to it."""
    match request:
        case Get():
            return (request.key,)
        case BatchGet():
            return request.keys
        case Scan(reverse=False) if request.start:
            return (request.start,)
    return ()


def _outside(keys: tuple[bytes, ...], region: Region) -> KeyNotInRegion | None:
    """An error that names the first of users' ``keys`` whose stored form is not in ``region``."""
    for key in keys:
        if not region.covers(encode_key(key)):
            return KeyNotInRegion(key, region.id, region.start, region.end)
    return None
