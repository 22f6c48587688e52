"""What a generator is: an immutable value that says which operation comes next.

``op`` gives an :class:`Emit` (the operation, at its time, and the generator that follows), PENDING
(nothing now; ask again when something has happened or time has passed), or None (exhausted).
``update`` is told of every event and gives the generator that follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, Protocol

import msgspec

from splitbrain.env.random import Stream
from splitbrain.history.op import Op

__all__ = ["PENDING", "Context", "Emit", "Generator", "Pending"]


class Pending(Enum):
    """The type of PENDING."""

    PENDING = "pending"

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending.PENDING


class Emit(msgspec.Struct, frozen=True):
    """An operation to invoke (its ``time_ns`` says when, at the earliest) and what follows it.

    The operation is an ``invoke`` whose process is free in the context; the pseudo-operations
    ``sleep`` (value: seconds) and ``log`` (value: text) are carried out and not recorded.
    """

    op: Op
    next: Generator


class Context(Protocol):
    """What a generator may know: the time, which threads are free, and a stream of draws."""

    @property
    def time_ns(self) -> int:
        """Now, since the test began."""

    @property
    def threads(self) -> Sequence[int]:
        """All threads of this context: 0 .. concurrency-1 for clients, NEMESIS for the nemesis."""

    @property
    def free_threads(self) -> Sequence[int]:
        """Those with no operation in flight, ascending."""

    @property
    def free_processes(self) -> Sequence[int]:
        """The processes of the free threads."""

    @property
    def random(self) -> Stream:
        """The generator's own stream of draws."""

    def process(self, thread: int) -> int:
        """The process that the thread now is."""

    def thread(self, process: int) -> int:
        """The thread that carries out this process."""

    def some_free_process(self) -> int | None:
        """A free process of this context, drawn at random; None if all are busy."""

    @property
    def mask(self) -> int:
        """``threads`` as a bit set: thread t is bit t + 1, so that the nemesis is bit 0."""

    @property
    def free_mask(self) -> int:
        """``free_threads`` as a bit set."""

    def restrict(self, mask: int) -> Context:
        """The same context with only the threads of ``mask``."""

    def at(self, time_ns: int) -> Context:
        """The same context at another time."""


class Generator(Protocol):
    """An immutable source of operations."""

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The next operation."""

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """The generator that follows once ``event`` (an invocation or completion) is known."""
