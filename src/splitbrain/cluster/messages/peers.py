"""What nodes say to each other."""

from __future__ import annotations

import msgspec

from splitbrain.cluster.raft.types import Message as RaftMessage

__all__ = ["Echo", "EchoReply", "Probe", "RaftBatch", "RaftMessage"]


class RaftBatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Messages of one store's Raft core to another's, in the order of their making."""

    messages: tuple[RaftMessage, ...]


class Echo(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Please answer with the same number, over the ordinary link."""

    nonce: int


class EchoReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The answer to :class:`Echo`."""

    nonce: int


class Probe(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Counted where it arrives; never answered, so it tests one direction alone."""

    nonce: int
