"""Reads that a replica serves which does not lead: by leave of the leader, from its own state.

Fourth chapter of :class:`~splitbrain.cluster.store.peer.Peer`.  The replica sends the read to the
leader (``ReadAsk``).  The leader confirms that it leads, as for a read of its own, and in that moment
does what it owes a reader: it raises ``max_ts`` and looks at the locks in its memory.  It answers with
its applied index (``ReadGrant``): all that was acknowledged before the read came is in the state by
then.  The replica serves the read once it has applied as much.

Either message may be lost; then the client is told, after a while, to come again.
"""

from __future__ import annotations

from splitbrain.cluster.messages import ReadAsk, ReadGrant, ReadIndexNotReady, RegionError
from splitbrain.cluster.messages.key_errors import Locked
from splitbrain.cluster.mvcc.service import READS
from splitbrain.cluster.raft.types import Role
from splitbrain.cluster.storage.logfile import GroupLog
from splitbrain.cluster.store.host import Host
from splitbrain.cluster.store.proposals import Waiting
from splitbrain.cluster.store.replies import Request
from splitbrain.cluster.store.transactions import Transactions

__all__ = ["FollowerReads"]

PATIENCE = 2
"""Election timeouts for which an answer is waited for."""


class FollowerReads(Transactions):
    """Both sides of a replica's read."""

    def __init__(self, host: Host, log: GroupLog, region_id: int, peer_id: int) -> None:
        super().__init__(host, log, region_id, peer_id)
        self._asked: dict[int, tuple[Waiting, int]] = {}
        self._tokens = 0
        self._patience_ns = int(PATIENCE * host.config.election_timeout_s * 1e9)

    def held(self) -> int:
        """How many requests wait here."""
        return super().held() + len(self._asked)

    def _ask_leader(self, waiting: Waiting, request: Request) -> None:
        leader = self.raft.leader
        if not leader:
            self.refuse(waiting, ReadIndexNotReady(self.region_id, "no leader is known"))
            return
        self._tokens += 1
        until_ns = self._clock.monotonic_ns() + self._patience_ns
        self._asked[self._tokens] = waiting, until_ns
        self._send(leader, ReadAsk(self.region_id, self.peer_id, self._tokens, request))

    def on_read_ask(self, sender: str, ask: ReadAsk) -> None:
        """Another replica asks."""
        grant = _Grant(self, sender, ask)
        if self.raft.role is not Role.LEADER:
            grant.finished(self.not_leader())
            return
        self._reads.queue(Waiting(sender, None, grant))
        self.host.flush_soon(self)

    def on_read_grant(self, grant: ReadGrant) -> None:
        """The leader has answered; or one that was, which cannot be told and need not be."""
        waiting, _ = self._asked.pop(grant.token, (None, 0))
        if waiting is None or grant.to_peer != self.peer_id:
            return
        request = waiting.request
        if grant.error is not None:
            self.refuse(waiting, ReadIndexNotReady(self.region_id, type(grant.error).__name__))
        elif grant.locked is not None and isinstance(request, READS):
            reply = self.host.mvcc.refused_read(request, grant.locked)
            self._send(waiting.sender, reply)
        else:
            self._reads.granted(waiting, grant.index)
            self.serve()

    def expire_asked(self, now_ns: int) -> None:
        """Give up those that have waited for long."""
        for token, (waiting, until_ns) in list(self._asked.items()):
            if now_ns >= until_ns:
                del self._asked[token]
                self.refuse(waiting, ReadIndexNotReady(self.region_id, "no answer"))

    def drop_asked(self, error: RegionError) -> None:
        """The peer is no more."""
        asked, self._asked = self._asked, {}
        for waiting, _ in asked.values():
            self.refuse(waiting, error)


class _Grant:
    """A replica's read in the leader's queue of its own."""

    def __init__(self, peer: FollowerReads, sender: str, ask: ReadAsk) -> None:
        self._peer, self._sender, self._ask = peer, sender, ask

    def finished(self, error: RegionError | None) -> None:
        """See :class:`~splitbrain.cluster.store.proposals.Job`."""
        peer, ask = self._peer, self._ask
        locked: Locked | None = None
        if error is None and isinstance(ask.request, READS):
            locked = peer.host.mvcc.observe(ask.request, peer.host.memory)
        index = peer.raft.applied_index
        grant = ReadGrant(ask.region_id, ask.from_peer, ask.token, index, error, locked)
        peer.send(self._sender, grant)
