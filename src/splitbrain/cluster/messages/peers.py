"""What nodes say to each other."""

from __future__ import annotations

import msgspec

from splitbrain.cluster.messages.key_errors import Locked
from splitbrain.cluster.messages.raw import RawBatchRequest, RawRequest
from splitbrain.cluster.messages.region import Epoch
from splitbrain.cluster.messages.region_errors import RegionError
from splitbrain.cluster.messages.txn import TxnRequest
from splitbrain.cluster.raft.types import Message as RaftMessage

__all__ = [
    "Echo",
    "EchoReply",
    "Probe",
    "RaftBatch",
    "RaftMessage",
    "ReadAsk",
    "ReadGrant",
    "RegionMessage",
]


class RegionMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message between two peers of a region.

    Attributes:
        region_id: of which region.
        from_peer: id of the sending peer.
        to_peer: id of the peer that it is for: another one that sits there, before or after it,
            must not take it.
        epoch: of the region as the sender has applied it; zeros: it has nothing yet.
        message: between their Raft cores, which name peers by their stores; None: in the region of
            ``epoch`` the receiver is no member any more, and may go.
        start: of the region, in messages that may bring a peer into being.
        end: likewise.
    """

    region_id: int
    from_peer: int
    to_peer: int
    epoch: Epoch
    message: RaftMessage | None = None
    start: bytes = b""
    end: bytes = b""


class RaftBatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Messages of one store to another, in the order of their making."""

    messages: tuple[RegionMessage, ...]


class ReadAsk(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A replica asks its region's leader from where on it may serve a read, and for leave to do so."""

    region_id: int
    from_peer: int
    token: int
    """The answer repeats it."""
    request: RawRequest | RawBatchRequest | TxnRequest


class ReadGrant(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The answer to :class:`ReadAsk`.

    Attributes:
        index: serve it once this is applied.
        error: not now: the leader is none, or cannot say.
        locked: a lock in the leader's memory is in the way of the whole request.
    """

    region_id: int
    to_peer: int
    token: int
    index: int = 0
    error: RegionError | None = None
    locked: Locked | None = None


class Echo(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Please answer with the same number, over the ordinary link."""

    nonce: int


class EchoReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The answer to :class:`Echo`."""

    nonce: int


class Probe(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Counted where it arrives; never answered, so it tests one direction alone."""

    nonce: int
