"""A store: one node of minitikv, a callback state machine over one Env, and the peers in it.

The peers share the log file, so that one fsync covers what all of them have written; the ticks; the
messages, of which those to one store made in one turn travel as one RaftBatch; and the turn itself:
every callback (message, tick, disk) ends in :meth:`Store.work`, which lets each woken peer do what its
core asks for.  See ``peer`` for one region, ``routing`` for how peers come and go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages import (
    Echo,
    EchoReply,
    MismatchMode,
    Probe,
    RaftBatch,
    ReadAsk,
    ReadGrant,
    RegionError,
    RegionMessage,
    RegionNotFound,
    ServerIsBusy,
    StoreNotMatch,
)
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.storage.logfile import LogFile
from splitbrain.cluster.store.applier import Applying
from splitbrain.cluster.store.pdlink import ANSWERS, PdLink
from splitbrain.cluster.store.peer import Peer
from splitbrain.cluster.store.proposals import Waiting
from splitbrain.cluster.store.replies import RAW_REQUESTS, REPLY, Request, refused
from splitbrain.cluster.store.routing import Routing
from splitbrain.cluster.store.verbs import act
from splitbrain.env import Env

__all__ = ["Store"]

_TOLD = ("role", "term", "leader", "commit", "applied", "last", "epoch", "snapshot")
"""What a store's status says of each region."""


class Store(Routing):
    """One node.  ``start`` it once; the Env does the rest."""

    def __init__(
        self,
        config: StoreConfig,
        env: Env,
        *,
        raft_class: type[Raft] = Raft,
        peer_class: type[Peer] = Peer,
        mvcc_class: type[Mvcc] = Mvcc,
    ) -> None:
        super().__init__(config, env, raft_class, peer_class, mvcc_class)
        self._clock = env.clock
        self._send = env.transport.send
        self.file = LogFile(env.disk, settled=self._settled)
        self._ready = False
        self._woken: dict[Applying, None] = {}
        self._flushing: dict[Peer, None] = {}
        self._blocked: dict[Peer, None] = {}
        self._flush_armed = False
        self._outbox: dict[str, list[RegionMessage]] = {}
        self._next_tick_ns = 0
        self._pd = PdLink(self) if config.pd else None

    # -- start -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the log; serve once all that was read is durable."""
        if not self.file.open(self._recovered):
            self.begin_cluster()
        self.file.start()
        if self.file.torn_bytes:
            self.env.log(f"cut {self.file.torn_bytes} bytes of a torn tail off the log")

    def _recovered(self) -> None:
        self.restore_peers(self.file.stored())
        self._ready = True
        # Stores that start together must not tick together: with equal timeouts (a knob) they would
        # become candidates in the same moment, again and again.
        first = self.peers.get(self.first_region)
        stream = (
            self.env.random.stream("ticks", self.env.node) if first is None else first.stream
        )
        phase_ns = int(stream.random() * self.config.tick_ns)
        self._next_tick_ns = self._clock.monotonic_ns() - phase_ns
        self._arm_tick()
        self.work()

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
        now = self._clock.monotonic_ns()
        for peer in list(self.peers.values()):
            peer.tick(now)
            self._woken[peer] = None
        if self._pd is not None:
            self._pd.tick(now)
        self.work()

    def on_message(self, sender: str, message: Any) -> None:
        """A message of a peer or a request of a client has come."""
        kind = type(message)
        if kind is RaftBatch:
            if self._ready:
                now = self._clock.monotonic_ns()
                for one in message.messages:
                    self.on_region_message(sender, one, now)
                self.work()
        elif kind in REPLY:
            self._on_request(Waiting(sender, message), message)
        elif kind is ReadAsk or kind is ReadGrant:
            peer = self.peers.get(message.region_id)
            if peer is not None and kind is ReadAsk:
                peer.on_read_ask(sender, message)
            elif peer is not None:
                peer.on_read_grant(message)
        elif kind in ANSWERS:
            if self._pd is not None:
                self._pd.on_answer(message)
                self.work()
        elif kind is Echo:
            self._send(sender, EchoReply(message.nonce))
        elif kind not in (EchoReply, Probe):
            raise TypeError(f"store {self.env.node}: cannot take a {kind.__name__}")

    def _on_request(self, waiting: Waiting, request: Request) -> None:
        peer = self.peers.get(request.context.region_id)
        error = self._refusal(request, peer)
        if error is None and peer is not None:
            peer.on_request(waiting)
        elif error is not None:
            self._send(waiting.sender, refused(request, error))

    def _refusal(self, request: Request, peer: Peer | None) -> RegionError | None:
        """What can be said without the region."""
        if not self._ready:
            return ServerIsBusy("recovering")
        raw = type(request) in RAW_REQUESTS
        if raw is not (self.config.mode == "raw"):
            return MismatchMode(self.config.mode)
        context, own = request.context, self.config.store_id
        if context.store_id and context.store_id != own:
            return StoreNotMatch(context.store_id, own)
        return RegionNotFound(context.region_id) if peer is None else None

    # -- turns -----------------------------------------------------------------------------------

    def flush_soon(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""
        assert isinstance(peer, Peer)
        self._flushing[peer] = None
        if not self._flush_armed:
            self._flush_armed = True
            self._clock.call_at(self._clock.monotonic_ns(), self._flush)

    def _flush(self) -> None:
        """The turn ends: hand the queued requests to the cores."""
        self._flush_armed = False
        flushing, self._flushing = self._flushing, {}
        for peer in flushing:
            if peer.gone:
                continue
            if peer.has_reads:
                peer.ask_reads()
            if peer.has_writes:
                if self.file.busy:
                    self._blocked[peer] = None  # ``_settled`` does it
                else:
                    peer.propose_queued()
            self._woken[peer] = None
        self.work()

    def _settled(self) -> None:
        """A sync of the log is complete, and all who waited for it were told."""
        if self._blocked:
            blocked, self._blocked = self._blocked, {}
            for peer in blocked:
                if not peer.gone:
                    peer.propose_queued()
                    self._woken[peer] = None
        self.work()

    def wake(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""
        self._woken[peer] = None

    def post(self, node: str, message: RegionMessage) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""
        self._outbox.setdefault(node, []).append(message)

    def changed(self, peer: Applying) -> None:
        """See :class:`~splitbrain.cluster.store.host.Host`."""
        if self._pd is not None:
            self._pd.changed(peer.region_id)

    def work(self) -> None:
        """Let all woken peers do their work, then let the messages go."""
        while self._woken:
            woken, self._woken = self._woken, {}
            for peer in woken:
                peer.work()
        if self._outbox:
            outbox, self._outbox = self._outbox, {}
            for node, messages in outbox.items():
                self._send(node, RaftBatch(tuple(messages)))

    # -- looks and acts from outside -------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """What the node says of itself; JSON-able.

        The first region's peer, or that of the smallest number, speaks for the store; ``regions``
        has all.
        """
        if not self._ready:
            return {"node": self.env.node, "role": "recovering", "probes": dict(self.probes)}
        speaker = self.peers[min(self.peers)] if self.peers else None
        return {
            **({"role": "empty", "term": 0} if speaker is None else speaker.status()),
            "node": self.env.node,
            "log_bytes": self.file.size,
            "syncs": self.file.fsyncs,
            "entries_written": self.file.entries_written,
            "probes": {**self.probes, **self._raft_probes(), **self.mvcc.probes()},
            **({} if self._pd is None else {"pd": dict(self._pd.status())}),
            "regions": {
                str(number): {
                    name: value for name, value in peer.status().items() if name in _TOLD
                }
                for number, peer in sorted(self.peers.items())
            },
        }

    def _raft_probes(self) -> dict[str, int]:
        """Cores with a bug have a name and a count (one together, if several are joined)."""
        names = [vars(one).get("name") for one in self._raft_class.__mro__]
        count = sum(getattr(peer.raft, "probe", 0) for peer in self.peers.values())
        return {name: count for name in names if isinstance(name, str) and name}

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """status, and the acts of ``verbs``; ValueError on a wrong one."""
        if verb == "status":
            return self.status()
        if not self._ready:
            raise ValueError(f"store {self.env.node} is recovering; ask again")
        answer = act(self, verb, arguments)
        self.work()
        return answer
