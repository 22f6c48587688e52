"""What one transaction has come to, shared by those who work at it; and its named steps.

**Steps.**  Before and after each phase of a commit a hook is called, if one was given: it may sleep (a
client that is paused, with its heartbeats, perhaps for longer than its locks live) or raise
:class:`Dropped` (a client that dies there: not one more request of the transaction is sent).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec

from splitbrain.cluster.client.options import CommitPath, TxnOptions
from splitbrain.cluster.messages.key_errors import (
    AlreadyExist,
    AssertionFailed,
    ConflictReason,
    Deadlock,
    TxnError,
    WriteConflict,
)
from splitbrain.cluster.messages.txn import Mutation
from splitbrain.env import Pacer
from splitbrain.errors import Definite

__all__ = ["Dropped", "Facts", "Hook", "Standing", "Step", "refusal"]

Step = Literal[
    "before-prewrite",
    "after-prewrite",
    "before-commit-primary",
    "after-commit-primary",
    "before-commit-secondaries",
    "after-commit-secondaries",
]


class Dropped(Exception):
    """Raised by a hook: the client is no more."""


class Facts(msgspec.Struct, frozen=True):
    """What is known of a transaction, for its history.

    Attributes:
        start_ts: as of when it read.
        commit_ts: 0 while (or if for ever) unknown.
        primary: the key that decides over it; empty if it wrote nothing.
        path: how it committed, which may be simpler than it was asked to.
        for_update_ts: as of when it locked each key, if it is pessimistic; granted locks only.
    """

    start_ts: int
    commit_ts: int
    primary: bytes
    path: CommitPath
    for_update_ts: dict[bytes, int]


class Standing:
    """Mutable; everything about one transaction that others than its user need.

    Attributes:
        mutations: what it writes, in the order of first writing.
        for_update_ts: the keys that it has locked, or may have, and as of when.
        granted: of those, the ones whose lock was answered.
        prewriting: locks of a prewrite may be there.
        sent_commit: nobody but the stores can undo it any more.
        over: committed, rolled back, unknown or dropped.
        still: inside a hook, when no heartbeat is sent.
    """

    def __init__(
        self, start_ts: int, options: TxnOptions, pacer: Pacer, hook: Hook | None
    ) -> None:
        self.start_ts = start_ts
        self.options = options
        self.began_ns = pacer.monotonic_ns()
        self.mutations: dict[bytes, Mutation] = {}
        self.for_update_ts: dict[bytes, int] = {}
        self.granted: dict[bytes, int] = {}
        self.primary = b""
        self.commit_ts = 0
        self.path: CommitPath = options.commit_path
        self.prewriting = self.sent_commit = self.over = self.still = False
        self._pacer = pacer
        self._hook = hook

    def facts(self) -> Facts:
        """As of now."""
        return Facts(self.start_ts, self.commit_ts, self.primary, self.path, dict(self.granted))

    def age_s(self) -> float:
        """Since it began."""
        return (self._pacer.monotonic_ns() - self.began_ns) / 1e9

    def ttl_ms(self) -> int:
        """Counted from its start: locks are to be respected for lock_ttl_ms from now on."""
        return int(self.age_s() * 1e3) + self.options.lock_ttl_ms

    def check_age(self) -> None:
        """Not over its limit.

        Raises:
            Definite: txn-timeout.
        """
        if self.age_s() > self.options.limit_s:
            raise Definite("txn-timeout", f"older than {self.options.limit_s:g} s")

    async def step(self, name: Step) -> None:
        """Come to a named step."""
        if self._hook is None:
            return
        self.still = True
        try:
            await self._hook(name, self)
        except Dropped:
            self.over = True
            raise
        self.still = False


Hook: TypeAlias = Callable[[Step, Standing], Awaitable[None]]


def refusal(error: TxnError) -> Definite:
    """What the user of a transaction is told of a key error that ended it."""
    code = "aborted"
    if isinstance(error, WriteConflict):
        if error.reason is not ConflictReason.SELF_ROLLED_BACK:
            code = "write-conflict"
    elif isinstance(error, AlreadyExist):
        code = "already-exists"
    elif isinstance(error, Deadlock):
        code = "deadlock"
    elif isinstance(error, AssertionFailed):
        code = "assertion-failed"
    return Definite(code, f"{error}")
