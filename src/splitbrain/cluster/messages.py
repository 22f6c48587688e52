"""Everything that nodes of minitikv and their clients say to each other.

The meaning is TiKV's (kvproto: ``kvrpcpb``, ``errorpb``, ``metapb``), the words are our own frozen
structs: the simulator passes them as they are, ``cluster/rpc`` translates them to protobuf, and
``encode``/``decode`` make bytes of them (MessagePack arrays) for links between stores.

    request                 answer                  sent by
    RawGet                  RawGetReply             client
    RawPut                  RawPutReply             client
    RawDelete               RawDeleteReply          client
    RawCas                  RawCasReply             client
    RawScan                 RawScanReply            client
    RaftBatch               none                    store to store
    Echo                    EchoReply               store to store: is the link there and back?
    Probe                   none                    store to store: did it arrive? (one way)

Requests carry no number: an answer goes to the ``sender`` with which the request came, and whoever
carries the message (rpc, simulator) gives each request a sender of its own.

Every answer to a client has ``error``: None, or one of :data:`RegionError`.  Which of these say that
a write certainly did not and will not happen is written at each class; ``cluster/client`` relies on
it.

    >>> decode(encode(RawPut(key=b"k", value=b"v"))) == RawPut(key=b"k", value=b"v")
    True
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from splitbrain.cluster.raft.types import Message as RaftMessage

__all__ = [
    "CONF_VERSION",
    "REGION_ID",
    "REGION_VERSION",
    "Answer",
    "Context",
    "Echo",
    "EchoReply",
    "EntryTooLarge",
    "EpochNotMatch",
    "Message",
    "MismatchMode",
    "NotLeader",
    "OtherError",
    "PeerNotMatch",
    "Probe",
    "RaftBatch",
    "RaftMessage",
    "RawCas",
    "RawCasReply",
    "RawDelete",
    "RawDeleteReply",
    "RawGet",
    "RawGetReply",
    "RawPut",
    "RawPutReply",
    "RawScan",
    "RawScanReply",
    "RegionError",
    "RegionNotFound",
    "Request",
    "ServerIsBusy",
    "StaleCommand",
    "StoreNotMatch",
    "UndeterminedResult",
    "decode",
    "encode",
]

REGION_ID = 1
"""The one region over all stores."""
CONF_VERSION = 1
REGION_VERSION = 1


class Context(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """To whom a request believes to speak.  Zero means "not said", and is not checked.

    Attributes:
        region_id: region of the key.
        conf_version: membership part of the region's epoch; not checked for reads and writes.
        version: range part of the epoch; must be equal, a newer client is refused too.
        store_id: position of the store in the configuration, from 1.
        peer_id: id of the region's peer on that store; here the same number.
        term: not 0 only from a caller that wants StaleCommand when the term has moved on.
    """

    region_id: int = REGION_ID
    conf_version: int = CONF_VERSION
    version: int = REGION_VERSION
    store_id: int = 0
    peer_id: int = 0
    term: int = 0


HERE = Context()
"""The context of a client that knows the one region and names no store."""


class NotLeader(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Only the leader serves this.  A true no: the write was never appended."""

    leader: str = ""
    """Name of the node that is leader as far as known, or empty."""


class StaleCommand(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The term has moved on.  A true no: another entry is committed in the write's place."""


class ServerIsBusy(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A queue is full.  A true no: nothing was appended."""

    reason: str = ""


class StoreNotMatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The request was for another store.  A true no."""

    wanted: int = 0
    actual: int = 0


class PeerNotMatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The request was for another peer of the region (MismatchPeerId).  A true no."""

    wanted: int = 0
    actual: int = 0


class RegionNotFound(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """No such region here.  A true no: told before anything is appended."""

    region_id: int = 0


class EpochNotMatch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The region's range has changed since the client looked it up.  A true no."""

    conf_version: int = CONF_VERSION
    version: int = REGION_VERSION


class EntryTooLarge(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The write is larger than the log takes.  A true no, and no retry will help."""

    size: int = 0
    limit: int = 0


class MismatchMode(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """A transactional request to a raw cluster or the other way.  A true no, for good."""

    mode: str = ""
    """The mode of this cluster: ``raw`` or ``txn``."""


class UndeterminedResult(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """The write was appended, and this store cannot know any more what became of it."""

    message: str = ""


class OtherError(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """What another system said and we have no word for; says nothing about the write's fate."""

    message: str = ""


RegionError: TypeAlias = (
    NotLeader
    | StaleCommand
    | ServerIsBusy
    | StoreNotMatch
    | PeerNotMatch
    | RegionNotFound
    | EpochNotMatch
    | EntryTooLarge
    | MismatchMode
    | UndeterminedResult
    | OtherError
)


class RawGet(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read one key, linearizably."""

    key: bytes
    context: Context = HERE


class RawGetReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``value`` is None if the key is absent."""

    value: bytes | None = None
    error: RegionError | None = None


class RawPut(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Set one key."""

    key: bytes
    value: bytes
    context: Context = HERE


class RawPutReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawDelete(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Remove one key, if it is there."""

    key: bytes
    context: Context = HERE


class RawDeleteReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Done, unless ``error``."""

    error: RegionError | None = None


class RawCas(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Set the key to ``value`` (None: remove it) if it now is ``previous`` (None: absent)."""

    key: bytes
    previous: bytes | None
    value: bytes | None
    context: Context = HERE


class RawCasReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """``previous`` is what the key was when the comparison was made."""

    succeed: bool = False
    previous: bytes | None = None
    error: RegionError | None = None


class RawScan(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Read up to ``limit`` keys in [start, end) in ascending order; empty ``end`` is unbounded.

    All pairs are of one moment (one region, one state machine).
    """

    start: bytes
    end: bytes = b""
    limit: int = 256
    context: Context = HERE


class RawScanReply(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Pairs of key and value."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()
    error: RegionError | None = None


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


Request: TypeAlias = RawGet | RawPut | RawDelete | RawCas | RawScan
"""What a client asks."""
Answer: TypeAlias = RawGetReply | RawPutReply | RawDeleteReply | RawCasReply | RawScanReply
"""What it gets."""
Message: TypeAlias = Request | Answer | RaftBatch | Echo | EchoReply | Probe
"""All that travels."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Bytes of one message."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """The message of ``encode``'s bytes; ``msgspec.ValidationError`` if they are not one."""
    message: Message = _decoder.decode(data)
    return message
