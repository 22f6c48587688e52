"""A window of keys that slides over the test: many short histories instead of one long one.

Checking one key's history is exponential in what is concurrent, so a key gets only so many
operations and so many crashed processes before it is retired for a fresh one.  Several keys are in
use at once, so that each lives long enough to see a fault begin and end: a write that a deposed
leader acknowledged is read again, on the same key, after the next leader was elected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.env.random import Stream
from splitbrain.history.op import Op

__all__ = ["DrawOp", "FinalReads", "SlidingKeys", "sliding"]

DrawOp = Callable[[Stream, int], tuple[str, Any]]
"""Draws (f, value) of the next operation; the integer is unique in the test and can be written."""


class _Key(msgspec.Struct, frozen=True, gc=False):
    """A key in use: how many operations are left to it, and how many of its processes crashed."""

    key: int
    left: int
    crashed: int = 0


class SlidingKeys(msgspec.Struct, frozen=True, kw_only=True):
    """For ever: a random operation on a random key of the window.

    Attributes:
        draw: draws the operation.
        width: keys in use at once.
        least: each key gets between ``least`` and ``most`` operations.
        crashes: a key is retired once so many of its operations ended in ``info``.
        window: the keys in use.
        unique: the next unique integer.
    """

    draw: DrawOp
    width: int
    least: int = 100
    most: int = 200
    crashes: int = 20
    window: tuple[_Key, ...] = ()
    next_key: int = 0
    unique: int = 1

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """An operation for a random free process, now."""
        process = ctx.some_free_process()
        if process is None:
            return PENDING
        window, next_key = self.window, self.next_key
        if len(window) < self.width:
            window, next_key = self._filled(ctx.random)
        place = int(ctx.random.random() * len(window))
        chosen = window[place]
        f, value = self.draw(ctx.random, self.unique)
        op = Op(
            time_ns=ctx.time_ns,
            process=process,
            type="invoke",
            f=f,
            key=chosen.key,
            value=value,
        )
        left = chosen.left - 1
        kept = (_Key(chosen.key, left, chosen.crashed),) if left else ()
        window = (*window[:place], *kept, *window[place + 1 :])
        return Emit(op, self._with(window, next_key, self.unique + 1))

    def _filled(self, stream: Stream) -> tuple[tuple[_Key, ...], int]:
        window, next_key = list(self.window), self.next_key
        while len(window) < self.width:
            window.append(_Key(next_key, stream.randint(self.least, self.most)))
            next_key += 1
        return tuple(window), next_key

    def _with(self, window: tuple[_Key, ...], next_key: int, unique: int) -> SlidingKeys:
        # Said out in full: msgspec.structs.replace takes several times as long here.
        return SlidingKeys(
            draw=self.draw,
            width=self.width,
            least=self.least,
            most=self.most,
            crashes=self.crashes,
            window=window,
            next_key=next_key,
            unique=unique,
        )

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Counts crashed operations against their key."""
        if event.type != "info" or event.key is None:
            return self
        window = []
        for one in self.window:
            if one.key == event.key:
                if one.crashed + 1 >= self.crashes:
                    continue
                one = _Key(one.key, one.left, one.crashed + 1)
            window.append(one)
        return self._with(tuple(window), self.next_key, self.unique)


def sliding(draw: DrawOp, option: Mapping[str, Any]) -> SlidingKeys:
    """The window that a workload's options ask for: ``keys``, ``ops-per-key-min`` and ``-max``."""
    return SlidingKeys(
        draw=draw,
        width=int(option["keys"]),
        least=int(option["ops-per-key-min"]),
        most=int(option["ops-per-key-max"]),
    )


class FinalReads(msgspec.Struct, frozen=True, kw_only=True):
    """Reads each key that was ever used; it learns them from the events of the test.

    A write that was acknowledged and lost shows in a read after it, so a read that comes to nothing
    is asked again.

    Attributes:
        keys: one more than the highest key seen, so far.
        at: the next key to read.
        again: keys whose read failed.
        retries: how many reads may yet be repeated, so that a dead system ends the test too.
    """

    keys: int = 0
    at: int = 0
    again: tuple[int, ...] = ()
    retries: int = 100

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """A read of the next key."""
        if self.at >= self.keys and not self.again:
            return None
        process = ctx.some_free_process()
        if process is None:
            return PENDING
        key, at, again = self.at, self.at + 1, self.again
        if self.at >= self.keys:
            key, at, again = again[0], self.at, again[1:]
        op = Op(time_ns=ctx.time_ns, process=process, type="invoke", f="read", key=key)
        then = FinalReads(keys=self.keys, at=at, again=again, retries=self.retries)
        return Emit(op, then)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Remembers the highest key, and once it reads itself, the reads that failed."""
        key = event.key
        if not isinstance(key, int):
            return self
        keys, again, retries = max(self.keys, key + 1), self.again, self.retries
        if self.at and retries and event.f == "read" and event.type in ("fail", "info"):
            again, retries = (*again, key), retries - 1
        if (keys, again) == (self.keys, self.again):
            return self
        return FinalReads(keys=keys, at=self.at, again=again, retries=retries)
