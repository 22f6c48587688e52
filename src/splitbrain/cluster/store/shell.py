"""A store: one node of minitikv, a callback state machine over one Env.

    client request --guard--> queue --end of turn--> Raft core --Ready--> log file, peers
                                                                   |
    client answer <--proposals, reads-- state machine <--committed-+

All work is done in :meth:`Store._work`, which takes the core's Readys and does what each says in
the order that ``raft.types`` lays down; every callback (message, tick, disk) ends there.

**Batching.**  Requests are queued and proposed at the end of the turn, and not while the log is
busy syncing: then they would only wait for the next sync anyway, so they go into it together, in
one Ready, one append message per peer.  Reads of one turn share one ReadIndex round.  Messages to
one peer made in one turn travel as one RaftBatch.

**Recovery.**  The applied state is in memory.  After a restart it is the stored snapshot, and the
entries behind it are applied again as the core learns that they are committed.

A subclass may override ``_stepped_down``; ``raft_class`` may be a subclass of Raft: so are seeded
bugs made, see ``factory``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages import (
    Echo,
    EchoReply,
    NotLeader,
    Probe,
    RaftBatch,
    RaftMessage,
    RawCas,
    RawDelete,
    RawGet,
    RawPut,
    RawScan,
    RegionError,
    ServerIsBusy,
)
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import (
    MessageKind,
    Ready,
    Restored,
    Role,
    Snapshot,
    SoftState,
)
from splitbrain.cluster.storage.kv import encode_command
from splitbrain.cluster.storage.wal import Stored, Wal
from splitbrain.cluster.store.applier import Applier
from splitbrain.cluster.store.guard import REPLY, Guard, command_of
from splitbrain.cluster.store.proposals import Waiting
from splitbrain.env import Env

__all__ = ["Store"]

APPEND = MessageKind.APPEND
LEADER = Role.LEADER


class Store:
    """One node.  ``start`` it once; the Env does the rest."""

    def __init__(self, config: StoreConfig, env: Env, *, raft_class: type[Raft] = Raft) -> None:
        self.config = config
        self.env = env
        self.probes: dict[str, int] = {}
        """How often the changed path of each seeded bug of this class ran."""
        self._raft_class = raft_class
        self._clock = env.clock
        self._send = env.transport.send
        self._guard = Guard(config)
        self._wal = Wal(env.disk, settled=self._settled)
        self._raft: Raft | None = None
        self._applier = Applier(config, env, advanced=self._after_apply)
        self._proposals = self._applier.proposals
        self._reads = self._applier.reads
        self._refuse = self._applier.refuse
        self._writes: list[Waiting] = []
        self._outbox: dict[str, list[RaftMessage]] = {}
        self._flush_armed = False
        self._next_tick_ns = 0
        self._snapshot_index = 0
        self._elections = 0

    # -- start -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the log; serve once all that was read is durable."""
        stored: list[Stored] = []
        stored.append(self._wal.open(lambda: self._recovered(stored[0])))
        if self._wal.torn_bytes:
            self.env.log(f"cut {self._wal.torn_bytes} bytes of a torn tail off the log")

    def _recovered(self, stored: Stored) -> None:
        meta = stored.snapshot.meta
        self._applier.state.restore(stored.snapshot.data)
        self._snapshot_index = meta.index
        restored = Restored(
            hard_state=stored.hard_state,
            snapshot_meta=meta,
            snapshot_data=stored.snapshot.data,
            entries=stored.entries,
            applied=meta.index,
        )
        # Each incarnation draws anew: its term differs from that of the last one.
        stream = self.env.random.stream("raft", self.env.node, stored.hard_state.term)
        self._raft = self._raft_class(self.config.raft(), restored, stream)
        last = meta.index + len(stored.entries)
        self.env.event("start", term=stored.hard_state.term, last=last, snapshot=meta.index)
        self.env.log(f"started: term {stored.hard_state.term}, last index {last}")
        # Stores that start together must not tick together: with equal timeouts (a knob) they would
        # become candidates in the same moment, again and again.
        phase_ns = int(stream.random() * self.config.tick_ns)
        self._next_tick_ns = self._clock.monotonic_ns() - phase_ns
        self._arm_tick()
        self._work(self._raft)

    # -- callbacks -------------------------------------------------------------------------------

    def _arm_tick(self) -> None:
        """One tick a period; after a pause one tick, not all those that were missed.

        It keeps its phase: stores that are resumed together must not tick together either.
        """
        tick_ns = self.config.tick_ns
        missed = max(0, (self._clock.monotonic_ns() - self._next_tick_ns) // tick_ns)
        self._next_tick_ns += (missed + 1) * tick_ns
        self._clock.call_at(self._next_tick_ns, self._tick)

    def _tick(self) -> None:
        self._arm_tick()
        raft = self._raft
        assert raft is not None
        raft.tick(self._clock.monotonic_ns())
        self._work(raft)

    def on_message(self, sender: str, message: Any) -> None:
        """A message of a peer or a request of a client has come."""
        raft = self._raft
        if type(message) is RaftBatch:
            if raft is not None:
                now = self._clock.monotonic_ns()
                for one in message.messages:
                    raft.step(one, now)
                self._work(raft)
        elif isinstance(message, (RawGet, RawPut, RawDelete, RawCas, RawScan)):
            if raft is None:
                self._refuse(sender, message, ServerIsBusy("recovering"))
            else:
                self._on_request(Waiting(sender, message), raft)
        elif type(message) is Echo:
            self._send(sender, EchoReply(message.nonce))
        elif type(message) not in (EchoReply, Probe):
            raise TypeError(f"store {self.env.node}: cannot take a {type(message).__name__}")

    def _on_request(self, waiting: Waiting, raft: Raft) -> None:
        request = waiting.request
        error = self._guard.refusal(request, raft)
        if error is None and self._held() >= self.config.max_pending:
            error = ServerIsBusy(f"{self._held()} requests wait")
        if error is not None:
            self._refuse(waiting.sender, request, error)
            return
        if isinstance(request, (RawGet, RawScan)):
            if self.config.lease_reads:
                answer = self._applier.read(request)  # the state first, then the time
                if raft.lease_valid(self._clock.monotonic_ns()):
                    self._send(waiting.sender, answer)
                    return
            self._reads.queue(waiting)
        else:
            self._writes.append(waiting)
        self._arm_flush()

    def _held(self) -> int:
        return len(self._writes) + len(self._proposals) + len(self._reads)

    def _arm_flush(self) -> None:
        if not self._flush_armed:
            self._flush_armed = True
            self._clock.call_at(self._clock.monotonic_ns(), self._flush)

    def _flush(self) -> None:
        """The turn ends: hand the queued requests to the core."""
        self._flush_armed = False
        raft = self._raft
        assert raft is not None
        if self._reads.queued:
            self._ask_reads(raft)
        if self._writes and not self._wal.busy:  # else ``_settled`` does it
            self._propose(raft)
        self._work(raft)

    def _settled(self) -> None:
        """A sync of the log is complete, and all who waited for it were told."""
        raft = self._raft
        if raft is not None:
            if self._writes:
                self._propose(raft)
            self._work(raft)

    # -- requests --------------------------------------------------------------------------------

    def _propose(self, raft: Raft) -> None:
        writes, self._writes = self._writes, []
        for waiting in writes:
            command = command_of(waiting.request)
            assert command is not None
            place = raft.propose(encode_command(command))
            if place is None:
                self._refuse(*waiting, self._no_leader(raft))  # before the append: a true no
                continue
            index, term = place
            if raft.acked_early(index) and not isinstance(waiting.request, RawCas):
                self._send(waiting.sender, REPLY[type(waiting.request)]())
            else:
                self._proposals.add(index, term, waiting)

    def _ask_reads(self, raft: Raft) -> None:
        context = self._reads.next_round()
        if not raft.read_index(context, self._clock.monotonic_ns()):
            for waiting in self._reads.dropped(context):
                self._refuse(*waiting, self._no_leader(raft))

    def _no_leader(self, raft: Raft) -> RegionError:
        """Why the core took nothing: not leader, or leader and not ready for it."""
        if raft.role is LEADER:
            return ServerIsBusy("the leader is not ready: new, handing over, or overloaded")
        return NotLeader(raft.leader)

    # -- the core's work -------------------------------------------------------------------------

    def _work(self, raft: Raft) -> None:
        """Do all that the core asks for, then let the messages go."""
        while raft.has_ready():
            self._do(raft, raft.ready())
        if self._outbox:
            outbox, self._outbox = self._outbox, {}
            for peer, messages in outbox.items():
                self._send(peer, RaftBatch(tuple(messages)))

    def _do(self, raft: Raft, ready: Ready) -> None:
        if ready.soft_state is not None:
            self._on_role(raft, ready.soft_state)
        self._persist(raft, ready)
        self._post(ready.messages)
        if ready.snapshot is not None:
            self._restore(raft, ready.snapshot)
        for context in ready.dropped_reads:
            for waiting in self._reads.dropped(context):
                self._refuse(*waiting, NotLeader(raft.leader))
        if ready.committed:
            self._applier.committed(raft, ready.committed)
            self._maybe_compact(raft)
        if ready.read_states:
            self._applier.confirmed(raft, ready.read_states)

    def _persist(self, raft: Raft, ready: Ready) -> None:
        if ready.snapshot is not None:
            done = partial(self._persisted, raft, ready)
            self._wal.install(ready.snapshot, ready.hard_state, ready.entries, done)
        elif ready.entries or ready.hard_state is not None or ready.after_persist:
            done = partial(self._persisted, raft, ready)
            self._wal.append(ready.hard_state, ready.entries, sync=ready.must_sync, done=done)

    def _persisted(self, raft: Raft, ready: Ready) -> None:
        """``ready`` and all before it are durable.  ``_work`` follows, by caller or ``_settled``."""
        self._post(ready.after_persist)
        raft.persisted(ready.number)

    def _post(self, messages: Sequence[RaftMessage]) -> None:
        slow_ms = self.config.slow_commit_ms
        for message in messages:
            if slow_ms and message.kind is APPEND and not message.entries:
                due = self._clock.monotonic_ns() + int(slow_ms * 1e6)
                late = partial(self._send, message.to, RaftBatch((message,)))
                self._clock.call_at(due, late)
            else:
                self._outbox.setdefault(message.to, []).append(message)

    def _on_role(self, raft: Raft, soft: SoftState) -> None:
        role = soft.role.value
        self.env.event(role, term=raft.term, leader=soft.leader)
        self.env.log(f"{role} in term {raft.term}, leader {soft.leader or 'unknown'}")
        if soft.role is LEADER:
            self._elections += 1
        else:
            self._stepped_down(raft)

    def _stepped_down(self, raft: Raft) -> None:
        """This store does not lead (any more).

        What was appended is left waiting: its fate is decided by the log alone.
        """

    # -- snapshots -------------------------------------------------------------------------------

    def _after_apply(self) -> None:
        raft = self._raft
        assert raft is not None
        self._maybe_compact(raft)
        self._work(raft)

    def _maybe_compact(self, raft: Raft) -> None:
        if raft.applied_index - self._snapshot_index >= self.config.snapshot_every:
            self._compact(raft)

    def _compact(self, raft: Raft) -> None:
        """Keep the state instead of the log that led to it."""
        snapshot = Snapshot(raft.applied_meta(), self._applier.state.snapshot())
        index = self._snapshot_index = snapshot.meta.index
        self._wal.compact(snapshot, lambda: None)
        keep_from = max(raft.first_index - 1, index - self.config.snapshot_tail)
        raft.compact(keep_from, snapshot)
        self.env.event("compact", index=index, first=raft.first_index)

    def _restore(self, raft: Raft, snapshot: Snapshot) -> None:
        """Become a leader's snapshot; the log file does so, too (``_persist``)."""
        index = self._snapshot_index = snapshot.meta.index
        self._applier.restore(raft, snapshot)
        self.env.event("snapshot", index=index, bytes=len(snapshot.data))
        self.env.log(f"installed a snapshot at index {index}")

    # -- looks and acts from outside -------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """What the node says of itself; JSON-able."""
        raft = self._raft
        if raft is None:
            return {"node": self.env.node, "role": "recovering", "probes": dict(self.probes)}
        return {
            **raft.status(),
            "elections": self._elections,
            "snapshot": self._snapshot_index,
            "keys": len(self._applier.state),
            "waiting": self._held(),
            "log_bytes": self._wal.size,
            "syncs": self._wal.fsyncs,
            "entries_written": self._wal.entries_written,
            "probes": {**self.probes, **self._raft_probes(raft)},
        }

    def _raft_probes(self, raft: Raft) -> dict[str, int]:
        """Cores with a bug have a name and a count (one together, if several are joined)."""
        names = [vars(one).get("name") for one in type(raft).__mro__]
        return {
            name: getattr(raft, "probe", 0) for name in names if isinstance(name, str) and name
        }

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """status, transfer-leader {to}, campaign, compact, dump; ValueError on a wrong one."""
        if verb == "status":
            return self.status()
        raft = self._raft
        if raft is None:
            raise ValueError(f"store {self.env.node} is recovering; ask again")
        if verb == "transfer-leader":
            to = arguments.get("to")
            if to not in self.config.nodes:
                raise ValueError(f"transfer-leader: to={to!r} is not a store of this cluster")
            answer: dict[str, Any] = {"started": raft.transfer_leader(to)}
        elif verb == "campaign":
            answer = {"started": raft.campaign()}
        elif verb == "compact":
            if raft.applied_index > self._snapshot_index:
                self._compact(raft)
            answer = {"snapshot": self._snapshot_index}
        elif verb == "dump":
            answer = {"applied": raft.applied_index, "digest": self._applier.state.digest()}
        else:
            known = "status, transfer-leader, campaign, compact, dump"
            raise ValueError(f"unknown verb {verb!r}; known: {known}")
        self._work(raft)
        return answer
