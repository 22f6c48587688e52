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
    RawBatch..., RawDeleteRange, each with its reply   client
    those of ``txn``        see there               client
    those of ``pd``         see there               client, store: to the placement driver
    PdRaftBatch             none                    member to member of the placement driver
    RaftBatch               none                    store to store
    ReadAsk                 ReadGrant               store to store: a replica's read
    Echo                    EchoReply               store to store: is the link there and back?
    Probe                   none                    store to store: did it arrive? (one way)

Requests carry no number: an answer goes to the ``sender`` with which the request came, and whoever
carries the message (rpc, simulator) gives each request a sender of its own.

Every answer to a raw client has ``error``, to a transactional one ``region_error``: None, or one of
:data:`RegionError`.

    >>> decode(encode(RawPut(key=b"k", value=b"v"))) == RawPut(key=b"k", value=b"v")
    True
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from splitbrain.cluster.messages.context import (
    CONF_VERSION,
    REGION_ID,
    REGION_VERSION,
    Context,
)
from splitbrain.cluster.messages.pd import PdAnswer, PdRaftBatch, PdRequest
from splitbrain.cluster.messages.peers import (
    Echo,
    EchoReply,
    Probe,
    RaftBatch,
    RaftMessage,
    ReadAsk,
    ReadGrant,
    RegionMessage,
)
from splitbrain.cluster.messages.raw import (
    RawAnswer,
    RawBatchAnswer,
    RawBatchDelete,
    RawBatchDeleteReply,
    RawBatchGet,
    RawBatchGetReply,
    RawBatchPut,
    RawBatchPutReply,
    RawBatchRequest,
    RawBatchScan,
    RawBatchScanReply,
    RawCas,
    RawCasReply,
    RawDelete,
    RawDeleteRange,
    RawDeleteRangeReply,
    RawDeleteReply,
    RawGet,
    RawGetReply,
    RawPut,
    RawPutReply,
    RawRequest,
    RawScan,
    RawScanReply,
)
from splitbrain.cluster.messages.region_errors import (
    DataIsNotReady,
    EntryTooLarge,
    EpochNotMatch,
    KeyNotInRegion,
    MaxTimestampNotSynced,
    MismatchMode,
    NotLeader,
    OtherError,
    PeerNotMatch,
    ReadIndexNotReady,
    RegionError,
    RegionNotFound,
    RegionNotInitialized,
    ServerIsBusy,
    StaleCommand,
    StoreNotMatch,
    UndeterminedResult,
)
from splitbrain.cluster.messages.txn import TxnAnswer, TxnRequest

__all__ = [
    "CONF_VERSION",
    "REGION_ID",
    "REGION_VERSION",
    "Answer",
    "Context",
    "DataIsNotReady",
    "Echo",
    "EchoReply",
    "EntryTooLarge",
    "EpochNotMatch",
    "KeyNotInRegion",
    "MaxTimestampNotSynced",
    "Message",
    "MismatchMode",
    "NotLeader",
    "OtherError",
    "PdAnswer",
    "PdRaftBatch",
    "PdRequest",
    "PeerNotMatch",
    "Probe",
    "RaftBatch",
    "RaftMessage",
    "RawBatchDelete",
    "RawBatchDeleteReply",
    "RawBatchGet",
    "RawBatchGetReply",
    "RawBatchPut",
    "RawBatchPutReply",
    "RawBatchScan",
    "RawBatchScanReply",
    "RawCas",
    "RawCasReply",
    "RawDelete",
    "RawDeleteRange",
    "RawDeleteRangeReply",
    "RawDeleteReply",
    "RawGet",
    "RawGetReply",
    "RawPut",
    "RawPutReply",
    "RawScan",
    "RawScanReply",
    "ReadAsk",
    "ReadGrant",
    "ReadIndexNotReady",
    "RegionError",
    "RegionMessage",
    "RegionNotFound",
    "RegionNotInitialized",
    "Request",
    "ServerIsBusy",
    "StaleCommand",
    "StoreNotMatch",
    "UndeterminedResult",
    "decode",
    "encode",
]

Request: TypeAlias = RawRequest
"""What a client asks."""
Answer: TypeAlias = RawAnswer
"""What it gets."""
Message: TypeAlias = (
    Request
    | Answer
    | RawBatchRequest
    | RawBatchAnswer
    | TxnRequest
    | TxnAnswer
    | PdRequest
    | PdAnswer
    | PdRaftBatch
    | RaftBatch
    | ReadAsk
    | ReadGrant
    | Echo
    | EchoReply
    | Probe
)
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
