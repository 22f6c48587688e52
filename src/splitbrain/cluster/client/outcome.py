"""What an attempt's end means: the one table on which every verdict rests.

A client may call an operation failed only if it certainly did not and will not happen.  One wrong
word here, and a correct cluster is called broken, or a broken one correct.

    end of an attempt                       read        write
    answer without error                    DONE        DONE
    NotLeader, ServerIsBusy, StaleCommand,
      StoreNotMatch, PeerNotMatch,
      RegionNotFound, EpochNotMatch,
      KeyNotInRegion, RegionNotInitialized,
      MaxTimestampNotSynced                 RETRY       RETRY       never appended, or overwritten
    ReadIndexNotReady, DataIsNotReady       RETRY       RETRY       told of reads only
    EntryTooLarge, MismatchMode             REFUSED     REFUSED     no retry will help
    ConnectionError                         RETRY       RETRY       it never left
    TimeoutError, EOFError                  RETRY       UNKNOWN     it may be on its way still
    UndeterminedResult, OtherError,
      an answer of another kind             RETRY       UNKNOWN

UNKNOWN ends a write: it is NOT sent again.  TiKV's own clients do send it again, and so a put may
be applied twice, over another client's put between the two, and a CAS may answer "no" after its own
success (seeded bugs C03 and C04 do what they do).

StaleCommand and RegionNotFound are a true no from minitikv, which says them only where it knows.  A
real TiKV also says them when it does not know; for one, ``trust_refusals=False`` makes them UNKNOWN.
"""

from __future__ import annotations

import enum
from typing import Any, get_args

import msgspec

from splitbrain.cluster.messages import (
    DataIsNotReady,
    EntryTooLarge,
    EpochNotMatch,
    KeyNotInRegion,
    MaxTimestampNotSynced,
    MismatchMode,
    NotLeader,
    PeerNotMatch,
    RawBatchGet,
    RawBatchScan,
    RawGet,
    RawScan,
    ReadIndexNotReady,
    RegionNotFound,
    RegionNotInitialized,
    ServerIsBusy,
    StaleCommand,
    StoreNotMatch,
)
from splitbrain.cluster.messages.raw import (
    RawAnswer,
    RawBatchAnswer,
    RawBatchRequest,
    RawRequest,
)
from splitbrain.cluster.messages.txn import (
    BatchGet,
    Get,
    ListRecords,
    Scan,
    ScanLock,
    TxnAnswer,
    TxnRequest,
)

__all__ = ["REPLIES", "End", "Fate", "is_write", "judge", "region_error"]

REPLIES: dict[type, type] = {
    request: reply
    for asked, answered in (
        (RawRequest, RawAnswer),
        (RawBatchRequest, RawBatchAnswer),
        (TxnRequest, TxnAnswer),
    )
    for request, reply in zip(get_args(asked), get_args(answered), strict=True)
}
"""The kind of answer to each kind of request."""

assert all(reply.__name__ == f"{asked.__name__}Reply" for asked, reply in REPLIES.items())

_READS: frozenset[type] = frozenset(
    (
        RawGet,
        RawScan,
        RawBatchGet,
        RawBatchScan,
        Get,
        BatchGet,
        Scan,
        ScanLock,
        ListRecords,
    )
)


class Fate(enum.Enum):
    """What follows from an attempt's end."""

    DONE = "done"
    RETRY = "retry"
    """Certainly not done; may be sent again."""
    REFUSED = "refused"
    """Certainly not done, and never will be."""
    UNKNOWN = "unknown"


class End(msgspec.Struct, frozen=True):
    """An attempt's end.

    Attributes:
        fate: what follows.
        code: short word for the history's error.
        leader: whom a NotLeader named.
        moved: another node may do better (else the same one is asked again).
    """

    fate: Fate
    code: str = ""
    leader: str = ""
    moved: bool = False


_CODES: dict[type, tuple[Fate, str, bool]] = {
    NotLeader: (Fate.RETRY, "no-leader", True),
    StaleCommand: (Fate.RETRY, "stale-command", True),
    ServerIsBusy: (Fate.RETRY, "busy", False),
    StoreNotMatch: (Fate.RETRY, "store-not-match", True),
    PeerNotMatch: (Fate.RETRY, "peer-not-match", True),
    RegionNotFound: (Fate.RETRY, "region-not-found", True),
    EpochNotMatch: (Fate.RETRY, "epoch-not-match", False),
    KeyNotInRegion: (Fate.RETRY, "key-not-in-region", True),
    RegionNotInitialized: (Fate.RETRY, "region-not-initialized", False),
    MaxTimestampNotSynced: (Fate.RETRY, "max-ts-not-synced", False),
    ReadIndexNotReady: (Fate.RETRY, "read-index-not-ready", False),
    DataIsNotReady: (Fate.RETRY, "data-not-ready", True),
    EntryTooLarge: (Fate.REFUSED, "too-large", False),
    MismatchMode: (Fate.REFUSED, "mismatch-mode", False),
    ConnectionError: (Fate.RETRY, "refused", True),
    TimeoutError: (Fate.UNKNOWN, "timeout", True),
    EOFError: (Fate.UNKNOWN, "connection-lost", True),
}
_UNSURE_ELSEWHERE = (StaleCommand, RegionNotFound)


def is_write(request: Any) -> bool:
    """May the request change anything?"""
    return type(request) not in _READS


def region_error(answer: Any) -> object:
    """Why an answer is none, or None."""
    raw = not hasattr(answer, "region_error")
    return getattr(answer, "error" if raw else "region_error", None)


def judge(request: Any, answer: object, *, trust_refusals: bool = True) -> End:
    """What ``answer`` (or the exception in its place) says of ``request``'s fate.

    DONE says that the store has dealt with it.  Of a transactional request it may still have said
    no: by an error of a key, which is for the caller to read.
    """
    cause: object = answer
    if type(answer) is REPLIES[type(request)]:
        cause = region_error(answer)
        if cause is None:
            return End(Fate.DONE)
    fate, code, moved = _look_up(cause)
    if not trust_refusals and isinstance(cause, _UNSURE_ELSEWHERE):
        fate = Fate.UNKNOWN
    if fate is Fate.UNKNOWN and not is_write(request):
        fate = Fate.RETRY
    return End(fate, code, cause.leader if isinstance(cause, NotLeader) else "", moved)


def _look_up(cause: object) -> tuple[Fate, str, bool]:
    for kind in type(cause).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return Fate.UNKNOWN, _kebab(type(cause).__name__), True


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
