"""The state machine's side of a store: apply what is committed, and answer those who waited for it.

Committed entries come in order, from the core's Readys.  They are applied at once, or, with the
knob ``slow-apply-ms``, after a while; a snapshot may overtake those that still wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages import (
    RawGet,
    RawGetReply,
    RawScan,
    RawScanReply,
    RegionError,
    Request,
    StaleCommand,
    UndeterminedResult,
)
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import Entry, EntryKind, ReadState, Snapshot
from splitbrain.cluster.storage.kv import KvState, decode_command
from splitbrain.cluster.store.guard import REPLY, Reply, reply_to
from splitbrain.cluster.store.proposals import Proposals
from splitbrain.cluster.store.reads import PendingReads
from splitbrain.env import Env

__all__ = ["Applier"]

NORMAL = EntryKind.NORMAL


class Applier:
    """State machine, and who waits for it.

    ``advanced`` is called after the applied index has moved by itself (slow apply): there may be
    work for the core.
    """

    def __init__(self, config: StoreConfig, env: Env, *, advanced: Callable[[], None]) -> None:
        self.state = KvState()
        self.proposals = Proposals()
        self.reads = PendingReads()
        self._clock = env.clock
        self._send = env.transport.send
        self._stream = env.random.stream("apply", env.node)
        self._slow_ns = config.slow_apply_ms * 1e6
        self._queue: deque[tuple[int, Raft, tuple[Entry, ...]]] = deque()
        self._advanced = advanced

    def committed(self, raft: Raft, entries: tuple[Entry, ...]) -> None:
        """Apply ``entries``, now or after those that are waiting."""
        if not self._slow_ns:
            self._apply(raft, entries)
            return
        due = self._clock.monotonic_ns() + int(self._stream.random() * self._slow_ns)
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, raft, entries))
        self._clock.call_at(due, self._apply_next)

    def _apply_next(self) -> None:
        _, raft, entries = self._queue.popleft()
        self._apply(raft, entries)
        self._advanced()

    def _apply(self, raft: Raft, entries: tuple[Entry, ...]) -> None:
        done, last = raft.applied_index, entries[-1].index
        for entry in entries:
            if entry.index <= done:
                continue  # a snapshot was installed meanwhile
            outcome = None
            if entry.kind is NORMAL:
                outcome = self.state.apply(decode_command(entry.data))
            if len(self.proposals):
                mine, lost = self.proposals.applied(entry.index, entry.term)
                if mine is not None:
                    assert outcome is not None, "a write was proposed and another kind applied"
                    self._send(mine.sender, reply_to(mine.request, outcome))
                for waiting in lost:
                    self.refuse(*waiting, StaleCommand())
        if last > done:
            raft.applied(last)
            self.serve(last)

    def confirmed(self, raft: Raft, reads: tuple[ReadState, ...]) -> None:
        """The core has confirmed these rounds of reads."""
        for read in reads:
            self.reads.confirmed(read.context, read.index)
        self.serve(raft.applied_index)

    def serve(self, applied: int) -> None:
        """Answer the confirmed reads for which the state is fresh enough."""
        for waiting in self.reads.served(applied):
            self._send(waiting.sender, self.read(waiting.request))

    def read(self, request: Request) -> Reply:
        """The answer of a read in the present state."""
        if isinstance(request, RawGet):
            return RawGetReply(self.state.get(request.key))
        assert isinstance(request, RawScan)
        pairs = self.state.scan(
            request.start, request.end, limit=request.limit, reverse=request.reverse
        )
        if request.key_only:
            return RawScanReply(tuple((key, b"") for key, _ in pairs))
        return RawScanReply(tuple(pairs))

    def restore(self, raft: Raft, snapshot: Snapshot) -> None:
        """Become a leader's snapshot; writes that it covers cannot be answered any more."""
        self.state.restore(snapshot.data)
        raft.applied(snapshot.meta.index)
        for waiting in self.proposals.skipped(snapshot.meta.index):
            self.refuse(*waiting, UndeterminedResult("caught up by a snapshot"))
        self.serve(snapshot.meta.index)

    def refuse(self, sender: str, request: Request, error: RegionError) -> None:
        """Answer with an error."""
        self._send(sender, REPLY[type(request)](error=error))
