"""What a leader knows of one peer's log, and how fast it may send.

Three states, as in etcd's Raft:

- PROBE: where the logs agree is not known.  One append in flight; the next waits for its answer or
  for a heartbeat's.
- REPLICATE: the last append was accepted.  Appends are sent without waiting, up to a window;
  ``next`` runs ahead of ``match``.
- SNAPSHOT: the peer needs entries that are gone; nothing is sent until it has the snapshot.
"""

from __future__ import annotations

import enum
from collections import deque

__all__ = ["Flow", "Progress"]


class Flow(enum.Enum):
    """How entries flow to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One peer, in the leader's eyes.

    ``match``: last index known to be durable there.  ``next``: first index to send.  ``paused``: in
    PROBE, an append is in flight; in REPLICATE, the window is full.  ``acked_round``: the latest
    heartbeat round that it answered.
    """

    __slots__ = (
        "acked_round",
        "active",
        "flow",
        "inflight",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "snapshot_periods",
    )

    def __init__(self, next_index: int, *, match: int = 0, active: bool = False) -> None:
        self.match = match
        self.next = next_index
        self.flow = Flow.PROBE
        self.paused = False
        self.active = active
        self.inflight: deque[int] = deque()
        self.pending_snapshot = 0
        self.snapshot_periods = 0
        self.acked_round = 0

    def _become(self, flow: Flow) -> None:
        self.flow = flow
        self.paused = False
        self.pending_snapshot = 0
        self.snapshot_periods = 0
        self.inflight.clear()

    def probe(self) -> None:
        """Start looking for the place of agreement, from what is certain (or the snapshot)."""
        start = max(self.match, self.pending_snapshot)
        self._become(Flow.PROBE)
        self.next = start + 1

    def replicate(self) -> None:
        """Stream from ``match`` on."""
        self._become(Flow.REPLICATE)
        self.next = self.match + 1

    def wait_for_snapshot(self, index: int) -> None:
        """A snapshot at ``index`` is on its way."""
        self._become(Flow.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1

    def is_paused(self) -> bool:
        """No append may be sent now."""
        return self.paused or self.flow is Flow.SNAPSHOT

    def sent(self, count: int, window: int) -> None:
        """An append with ``count`` entries has been sent."""
        if self.flow is Flow.REPLICATE:
            if count:
                self.next += count
                self.inflight.append(self.next - 1)
            self.paused = len(self.inflight) >= window
        elif count:
            self.paused = True

    def acknowledged(self, index: int) -> bool:
        """The peer holds everything up to ``index``; True if that is news."""
        if index >= self.next:
            self.next = index + 1
        if index <= self.match:
            return False
        self.match = index
        self.paused = False
        return True

    def free(self, index: int) -> None:
        """Appends up to ``index`` have arrived."""
        inflight = self.inflight
        while inflight and inflight[0] <= index:
            inflight.popleft()

    def refused(self, index: int, hint: int) -> bool:
        """An append after ``index`` was refused; True if the refusal is not stale.

        In REPLICATE a refusal at or below ``match`` is an old message, as ``match`` is durable
        there.  In PROBE only the one outstanding append can be refused.
        """
        if self.flow is Flow.REPLICATE:
            if index <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.next - 1 != index:
            return False
        self.next = max(min(index, hint + 1), self.match + 1)
        self.paused = False
        return True
