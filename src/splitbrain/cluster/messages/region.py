"""A region: a range of keys, its replicas, and the two counters that tell its descriptions apart."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["Epoch", "Peer", "PeerRole", "Region"]


class PeerRole(enum.IntEnum):
    """What a replica may do; the numbers are metapb.PeerRole's."""

    VOTER = 0
    LEARNER = 1
    INCOMING_VOTER = 2
    """In a joint configuration: votes in the new one only."""
    DEMOTING_VOTER = 3
    """In a joint configuration: votes in the old one only."""


class Peer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One replica: ``id`` is never used again, by whichever region or store."""

    id: int
    store_id: int
    role: PeerRole = PeerRole.VOTER


class Epoch(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """``conf_version`` grows with each change of the peers, ``version`` with each of the range."""

    conf_version: int = 1
    version: int = 1


class Region(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Keys of [start, end), as they are stored; an empty bound is none."""

    id: int
    start: bytes = b""
    end: bytes = b""
    epoch: Epoch = Epoch()
    peers: tuple[Peer, ...] = ()

    def covers(self, key: bytes) -> bool:
        """Is ``key`` in the range?"""
        return self.start <= key and (not self.end or key < self.end)

    def peer_on(self, store_id: int) -> Peer | None:
        """The replica on a store."""
        for peer in self.peers:  # no generator: asked for with every request
            if peer.store_id == store_id:
                return peer
        return None
