"""What a transaction does to keys, and the small words in which the store speaks of it."""

from __future__ import annotations

import enum

import msgspec

from splitbrain.cluster.messages.key_errors import TxnError

__all__ = [
    "Action",
    "Assertion",
    "AssertionLevel",
    "Mutation",
    "MutationKind",
    "Pair",
    "PessimisticAction",
]


class MutationKind(enum.IntEnum):
    """What a transaction does to a key; the numbers are kvrpcpb.Op's."""

    PUT = 0
    DELETE = 1
    LOCK = 2
    """Guards the key and leaves it as it is."""
    INSERT = 4
    """A put that wants the key to be absent."""
    CHECK_NOT_EXISTS = 6
    """Wants the key to be absent, and locks nothing."""


class Assertion(enum.IntEnum):
    """What a mutation takes for granted about its key."""

    NONE = 0
    EXIST = 1
    NOT_EXIST = 2


class AssertionLevel(enum.IntEnum):
    """How eagerly assertions are tested."""

    OFF = 0
    FAST = 1
    """Where the newest record was read anyway."""
    STRICT = 2


class PessimisticAction(enum.IntEnum):
    """How a pessimistic transaction's prewrite treats one mutation."""

    SKIP_PESSIMISTIC_CHECK = 0
    DO_PESSIMISTIC_CHECK = 1
    """The key must hold this transaction's pessimistic lock."""
    DO_CONSTRAINT_CHECK = 2
    """The key was not locked: check it as an optimistic transaction would."""


class Action(enum.IntEnum):
    """What CheckTxnStatus did."""

    NO_ACTION = 0
    TTL_EXPIRE_ROLLBACK = 1
    LOCK_NOT_EXIST_ROLLBACK = 2
    MIN_COMMIT_TS_PUSHED = 3
    TTL_EXPIRE_PESSIMISTIC_ROLLBACK = 4
    LOCK_NOT_EXIST_DO_NOTHING = 5


class Mutation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One key of a transaction's writes; ``value`` counts for PUT and INSERT."""

    kind: MutationKind
    key: bytes
    value: bytes = b""
    assertion: Assertion = Assertion.NONE


class Pair(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key, and its value or why it cannot be told."""

    key: bytes
    value: bytes = b""
    error: TxnError | None = None
    commit_ts: int = 0
