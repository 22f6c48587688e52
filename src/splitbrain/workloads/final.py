"""Final reads by everyone: each worker reads each key that was ever used.

Workers are bound to nodes, so that each node is asked for each key.  That shows an element or a write
that one replica lacks, and whether replicas agree once faults are over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.history.op import Op

__all__ = ["FinalReadsByAll"]


class FinalReadsByAll(msgspec.Struct, frozen=True, kw_only=True):
    """For each worker a read of each key; it learns the keys from the events of the test.

    A read that comes to nothing is asked again by the same worker, ``retries`` times in all, so that
    a dead system ends the test too.

    Attributes:
        wait_ns: how long after the last event before its turn the first read may begin.
        keys: one more than the highest key seen, so far.
        places: the next key of each thread.
        again: (thread, key) of reads that failed.
        last_ns: when the last event before the first read happened.
    """

    wait_ns: int = 0
    keys: int = 0
    places: tuple[int, ...] = ()
    again: tuple[tuple[int, int], ...] = ()
    retries: int = 200
    last_ns: int = 0

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """A read of the next key of some free worker that has not done."""
        waiting = any(self._next(thread) is not None for thread in ctx.threads)
        if not waiting:
            return None
        threads = [thread for thread in ctx.free_threads if self._next(thread) is not None]
        if not threads:
            return PENDING
        thread = threads[int(ctx.random.random() * len(threads))]
        key = self._next(thread)
        op = Op(
            time_ns=max(ctx.time_ns, self.last_ns + self.wait_ns),
            process=ctx.process(thread),
            type="invoke",
            f="read",
            key=key,
        )
        return Emit(op, self._after(thread))

    def _next(self, thread: int) -> int | None:
        place = self.places[thread] if thread < len(self.places) else 0
        if place < self.keys:
            return place
        return next((key for other, key in self.again if other == thread), None)

    def _after(self, thread: int) -> FinalReadsByAll:
        places = (*self.places, *(0 for _ in range(thread + 1 - len(self.places))))
        if places[thread] < self.keys:
            places = (*places[:thread], places[thread] + 1, *places[thread + 1 :])
            return msgspec.structs.replace(self, places=places)
        again = list(self.again)
        again.remove(next(pair for pair in again if pair[0] == thread))
        return msgspec.structs.replace(self, places=places, again=tuple(again))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Remembers the highest key and the last moment, and once it reads, the reads that failed."""
        key = event.key
        if not isinstance(key, int):
            return self
        if not self.places:
            if key < self.keys and event.time_ns <= self.last_ns:
                return self
            return msgspec.structs.replace(
                self,
                keys=max(self.keys, key + 1),
                last_ns=max(self.last_ns, event.time_ns),
            )
        if event.f != "read" or event.type not in ("fail", "info") or not self.retries:
            return self
        again = (*self.again, (ctx.thread(event.process), key))
        return msgspec.structs.replace(self, again=again, retries=self.retries - 1)
