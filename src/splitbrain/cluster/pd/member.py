"""One member's side of PD's own Raft group: log file, ticks, messages, replicated state.

The lower half of the shell; :class:`~.node.PdNode` is the upper one and answers requests.  It is a
callback machine as a store is (see ``store``), smaller: one group, one state machine in memory, and
whatever is proposed is applied as soon as it is committed.

The half above is told:

- ``_led``: an entry of this member's own term is applied.  Only now it knows all that its
  predecessors promised, and may promise something itself.
- ``_stepped_down``: it does not lead (any more).
- ``_applied``: one entry, and what applying it gave.
- ``_confirmed``, ``_unconfirmed``: how a question to the majority, "do I still lead?", came out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from splitbrain.cluster.messages import PdRaftBatch, RaftMessage
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.state import Command, PdState, decode_command, encode_command
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import Entry, EntryKind, Ready, Restored, Role, Snapshot
from splitbrain.cluster.storage.wal import Stored, Wal
from splitbrain.env import Env

__all__ = ["PD_LOG_FILE", "Member"]

PD_LOG_FILE = "pd.log"
LEADER = Role.LEADER


class Member:
    """A replica of PD's state, and its voice in PD's elections.

    Attributes:
        state: the replicated state as applied here.
    """

    def __init__(self, config: PdConfig, env: Env, *, raft_class: type[Raft] = Raft) -> None:
        self.config = config
        self.env = env
        self.state = PdState(replicas=config.replicas)
        self._raft_class = raft_class
        self._clock = env.clock
        self._send = env.transport.send
        self._wal = Wal(env.disk, PD_LOG_FILE, settled=self._settled)
        self._raft: Raft | None = None
        self._outbox: dict[str, list[RaftMessage]] = {}
        self._next_tick_ns = 0
        self._snapshot_index = 0
        self._led_term = 0
        self._elections = 0

    # -- what the upper half does ----------------------------------------------------------------

    def _led(self, raft: Raft) -> None:
        """This member leads, and knows all that was promised before."""

    def _stepped_down(self, raft: Raft) -> None:
        """This member does not lead (any more); may be told again."""

    def _applied(self, raft: Raft, entry: Entry, command: Command | None, outcome: Any) -> None:
        """``command`` (None: an entry without one) was applied."""

    def _jumped(self, raft: Raft, index: int) -> None:
        """A snapshot took the place of all entries up to ``index``."""

    def _confirmed(self, raft: Raft, context: bytes) -> None:
        """A majority says: when it was asked for ``context``, this member led."""

    def _unconfirmed(self, raft: Raft, context: bytes) -> None:
        """Nobody will ever say so."""

    def _on_tick(self, raft: Raft) -> None:
        """A tick has passed."""

    # -- start -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the log; take part once all that was read is durable."""
        stored: list[Stored] = []
        stored.append(self._wal.open(lambda: self._recovered(stored[0])))
        if self._wal.torn_bytes:
            self.env.log(f"pd: cut {self._wal.torn_bytes} bytes of a torn tail off the log")

    def _recovered(self, stored: Stored) -> None:
        meta = stored.snapshot.meta
        self.state.restore(stored.snapshot.data)
        self._snapshot_index = meta.index
        restored = Restored(
            hard_state=stored.hard_state,
            snapshot_meta=meta,
            snapshot_data=stored.snapshot.data,
            entries=stored.entries,
            applied=meta.index,
        )
        stream = self.env.random.stream("pd-raft", self.env.node, stored.hard_state.term)
        self._raft = self._raft_class(self.config.raft(), restored, stream)
        self.env.event("pd-start", term=stored.hard_state.term, snapshot=meta.index)
        # Members that start together must not tick together: see ``store``.
        phase_ns = int(stream.random() * self.config.tick_ns)
        self._next_tick_ns = self._clock.monotonic_ns() - phase_ns
        self._arm_tick()
        self._work(self._raft)

    # -- callbacks -------------------------------------------------------------------------------

    def _arm_tick(self) -> None:
        """One tick a period, in its own phase; after a pause one tick, not all that were missed."""
        tick_ns = self.config.tick_ns
        missed = max(0, (self._clock.monotonic_ns() - self._next_tick_ns) // tick_ns)
        self._next_tick_ns += (missed + 1) * tick_ns
        self._clock.call_at(self._next_tick_ns, self._tick)

    def _tick(self) -> None:
        self._arm_tick()
        raft = self._raft
        assert raft is not None
        raft.tick(self._clock.monotonic_ns())
        self._on_tick(raft)
        self._work(raft)

    def _on_raft(self, batch: PdRaftBatch) -> None:
        raft = self._raft
        if raft is not None:
            now_ns = self._clock.monotonic_ns()
            for message in batch.messages:
                raft.step(message, now_ns)
            self._work(raft)

    def _settled(self) -> None:
        if self._raft is not None:
            self._work(self._raft)

    # -- leading ---------------------------------------------------------------------------------

    def _leads(self, raft: Raft) -> bool:
        """Does this member take itself for the leader, and has it been told ``_led``?"""
        return raft.role is LEADER and self._led_term == raft.term

    def _propose(self, raft: Raft, command: Command) -> tuple[int, int] | None:
        """(index, term) of the entry; None: refused before it was appended."""
        return raft.propose(encode_command(command))

    # -- the core's work -------------------------------------------------------------------------

    def _work(self, raft: Raft) -> None:
        """Do all that the core asks for, then let the messages go."""
        while raft.has_ready():
            self._do(raft, raft.ready())
        if self._outbox:
            outbox, self._outbox = self._outbox, {}
            for peer, messages in outbox.items():
                self._send(peer, PdRaftBatch(tuple(messages)))

    def _do(self, raft: Raft, ready: Ready) -> None:
        if ready.soft_state is not None:
            role, leader = raft.role, ready.soft_state.leader
            self.env.event(f"pd-{role.value}", term=raft.term, leader=leader)
            self.env.log(f"pd: {role.value} in term {raft.term}, leader {leader or 'unknown'}")
            if ready.soft_state.role is not LEADER:
                self._stepped_down(raft)
        self._persist(raft, ready)
        self._post(ready.messages)
        if ready.snapshot is not None:
            self._restore(raft, ready.snapshot)
        for context in ready.dropped_reads:
            self._unconfirmed(raft, context)
        if ready.committed:
            self._apply(raft, ready.committed)
        for read in ready.read_states:
            # The index matters to nobody: the state needed was applied before ``_led``.
            self._confirmed(raft, read.context)

    def _persist(self, raft: Raft, ready: Ready) -> None:
        done = partial(self._persisted, raft, ready)
        if ready.snapshot is not None:
            self._wal.install(ready.snapshot, ready.hard_state, ready.entries, done)
        elif ready.entries or ready.hard_state is not None or ready.after_persist:
            self._wal.append(ready.hard_state, ready.entries, sync=ready.must_sync, done=done)

    def _persisted(self, raft: Raft, ready: Ready) -> None:
        """``ready`` and all before it are durable.  ``_work`` follows, by caller or ``_settled``."""
        self._post(ready.after_persist)
        raft.persisted(ready.number)

    def _post(self, messages: Sequence[RaftMessage]) -> None:
        for message in messages:
            self._outbox.setdefault(message.to, []).append(message)

    def _apply(self, raft: Raft, entries: Sequence[Entry]) -> None:
        for entry in entries:
            command, outcome = None, None
            if entry.kind is EntryKind.NORMAL:
                command = decode_command(entry.data)
                outcome = self.state.apply(command)
            raft.applied(entry.index)
            if raft.role is LEADER and entry.term == raft.term != self._led_term:
                self._led_term = raft.term
                self._elections += 1
                self._led(raft)
            self._applied(raft, entry, command, outcome)
        if raft.applied_index - self._snapshot_index >= self.config.pd_snapshot_every:
            self._compact(raft)

    # -- snapshots -------------------------------------------------------------------------------

    def _compact(self, raft: Raft) -> None:
        """Keep the state instead of the log that led to it."""
        snapshot = Snapshot(raft.applied_meta(), self.state.snapshot())
        index = self._snapshot_index = snapshot.meta.index
        self._wal.compact(snapshot, lambda: None)
        raft.compact(max(raft.first_index - 1, index - self.config.pd_snapshot_tail), snapshot)
        self.env.event("pd-compact", index=index, first=raft.first_index)

    def _restore(self, raft: Raft, snapshot: Snapshot) -> None:
        """Become a leader's snapshot; the log file does so, too (``_persist``)."""
        index = self._snapshot_index = snapshot.meta.index
        self.state.restore(snapshot.data)
        raft.applied(index)
        self._jumped(raft, index)
        self.env.event("pd-snapshot", index=index, bytes=len(snapshot.data))
