"""Transactions over a window of keys that slides: lists stay short, and keys are contended.

As :mod:`.keys`, but an operation touches several keys at once.  At the end come final reads of every
key that was ever used, a few in each transaction, and then a dump of each node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.env.random import Stream
from splitbrain.history.op import Op

__all__ = ["DrawTxn", "FinalTxns", "SlidingTxns", "final_by_key"]

DrawTxn = Callable[[Stream, tuple[int, ...], int], tuple[str, Any, Any, int]]
"""Draws (f, key, value, next unique integer) of an operation over the keys in use."""


class SlidingTxns(msgspec.Struct, frozen=True, kw_only=True):
    """For ever: a random transaction over the window; after each the oldest key may be retired.

    Attributes:
        draw: draws the operation.
        width: keys in use at once.
        life: how many operations the window lasts before its oldest key goes.
    """

    draw: DrawTxn
    width: int
    life: int = 40
    age: int = 0
    first: int = 0
    unique: int = 1

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """A transaction for a random free process, now."""
        process = ctx.some_free_process()
        if process is None:
            return PENDING
        keys = tuple(range(self.first, self.first + self.width))
        f, key, value, unique = self.draw(ctx.random, keys, self.unique)
        op = Op(time_ns=ctx.time_ns, process=process, type="invoke", f=f, key=key, value=value)
        old = self.age + 1 >= self.life
        then = SlidingTxns(
            draw=self.draw,
            width=self.width,
            life=self.life,
            age=0 if old else self.age + 1,
            first=self.first + old,
            unique=unique,
        )
        return Emit(op, then)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Nothing to learn."""
        return self


class FinalTxns(msgspec.Struct, frozen=True, kw_only=True):
    """Reads of all keys that were used, then a dump of each node; what fails is asked again.

    Attributes:
        read: the operation (f, key, value) that reads some keys.
        keys_of: the keys of an event, as integers.
        nodes: how many nodes to dump: worker w is bound to node w.
        chunk: keys of one read.
        used: the keys seen so far.
        begun: whether its own reads have begun.
        waiting: reads that are still to be made; ``out``: processes that are at one.
        dumps: workers that have still to dump their node.
        retries: how much may yet be repeated, so that a dead system ends the test too.
    """

    read: Callable[[tuple[int, ...]], tuple[str, Any, Any]]
    keys_of: Callable[[Op], Iterable[int]]
    nodes: int
    chunk: int = 4
    used: frozenset[int] = frozenset()
    begun: bool = False
    waiting: tuple[tuple[int, ...], ...] = ()
    out: frozenset[int] = frozenset()
    dumps: tuple[int, ...] = ()
    retries: int = 100

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The next read; once all have ended, the next dump."""
        if not self.begun:
            return self._begun(ctx).op(test, ctx)
        if self.waiting:
            process = ctx.some_free_process()
            if process is None:
                return PENDING
            f, key, value = self.read(self.waiting[0])
            op = Op(
                time_ns=ctx.time_ns, process=process, type="invoke", f=f, key=key, value=value
            )
            replaced = msgspec.structs.replace(
                self, waiting=self.waiting[1:], out=self.out | {process}
            )
            return Emit(op, replaced)
        if self.out:
            return PENDING
        if not self.dumps:
            return None
        free = [thread for thread in self.dumps if thread in ctx.free_threads]
        if not free:
            return PENDING
        process = ctx.process(free[0])
        op = Op(time_ns=ctx.time_ns, process=process, type="invoke", f="dump")
        left = tuple(thread for thread in self.dumps if thread != free[0])
        return Emit(op, msgspec.structs.replace(self, dumps=left))

    def _begun(self, ctx: Context) -> FinalTxns:
        keys = sorted(self.used)
        chunks = [tuple(keys[at : at + self.chunk]) for at in range(0, len(keys), self.chunk)]
        threads = tuple(thread for thread in ctx.threads if 0 <= thread < self.nodes)
        return msgspec.structs.replace(self, begun=True, waiting=tuple(chunks), dumps=threads)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Before its turn it learns keys; later it counts what has ended and what came to nothing."""
        if not self.begun:
            fresh = frozenset(self.keys_of(event)) - self.used
            return msgspec.structs.replace(self, used=self.used | fresh) if fresh else self
        if event.type == "invoke" or (event.f != "dump" and event.process not in self.out):
            return self
        again = event.type != "ok" and self.retries > 0
        if event.f == "dump":
            if not again or (event.error or "").startswith("no-dump"):
                return self
            dumps = (*self.dumps, ctx.thread(event.process))
            return msgspec.structs.replace(self, dumps=dumps, retries=self.retries - 1)
        waiting, retries = self.waiting, self.retries
        if again:
            chunk = tuple(sorted(self.keys_of(event)))
            waiting, retries = (*waiting, chunk), retries - 1
        return msgspec.structs.replace(
            self, waiting=waiting, retries=retries, out=self.out - {event.process}
        )


def final_by_key(f: str, nodes: int, value: Any = None) -> FinalTxns:
    """A final operation ``f`` on each key that was used, then the dumps."""
    return FinalTxns(
        read=lambda keys: (f, keys[0], value),
        keys_of=lambda op: (op.key,) if isinstance(op.key, int) else (),
        nodes=nodes,
        chunk=1,
    )
