"""A node's data links as a tool sees them: probes, echoes and counts, over the ordinary way.

What carries a node's messages implements :class:`Links`, and the control socket offers it as verbs,
so that a tool can find out whether payload passes from one node to another *now*, by the very path
that the nodes' own messages take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

__all__ = ["LinkCounts", "Links"]


class LinkCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One node's count of the traffic with one peer since its process began.

    Attributes:
        sent: messages handed over for the peer, also those dropped.
        dropped: of them, never written: the link was down, or too much was waiting.
        connected: a stream to the peer stands now, as far as this end knows.
        received: messages that came from the peer.
        duplicates: received more than once (never over one TCP stream).
        reordered: received after one that was sent later.
        lateness_ns: sum over received messages of arrival minus sending; both ends on one machine.
    """

    sent: int = 0
    dropped: int = 0
    connected: bool = False
    received: int = 0
    duplicates: int = 0
    reordered: int = 0
    lateness_ns: int = 0


class Links(Protocol):
    """A node's way to its peers; a ValueError names an unknown peer."""

    def probe_send(self, to: str, nonce: int, wait_s: float) -> bool:
        """Send a one-way probe, or within ``wait_s`` when the link comes up; True: sent now."""

    def probe_seen(self, nonce: int) -> int | None:
        """When a probe arrived here, on the machine's monotonic clock."""

    async def echo(self, to: str, timeout_s: float) -> float | None:
        """Milliseconds to a peer and back; None if nothing came back in time."""

    def counts(self) -> Mapping[str, LinkCounts]:
        """For each peer."""
