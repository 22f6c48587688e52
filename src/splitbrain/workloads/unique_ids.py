"""``unique-ids``: every client asks for ids, and no two may be given the same.

An id is the next value of a counter in a raw key, taken by compare-and-swap.  A system whose
compare-and-swap decides by what one replica alone knows gives an id twice: once on either side of a
split.  Every worker uses every counter in turn; of k counters, number c gives c, k + c, 2 k + c ...,
so that ids of different ones differ.

There are several (``keys``) because one counter is unfair: a worker far from the leader is beaten by
the near ones each time, for ever, as soon as they take ids faster than its compare-and-swap travels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.checkers.unique_ids import UniqueIdsChecker
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Client, Kv, OpenKv, Workload
from splitbrain.errors import HarnessError
from splitbrain.harness.generator import repeat
from splitbrain.history.op import Op
from splitbrain.workloads.by_cas import CONTENDED, change

__all__ = ["OPTIONS", "IdsClient", "unique_ids"]

OPTIONS: Mapping[str, Any] = {"keys": 8, "tries": 20}
"""Options and their defaults: counters, compare-and-swaps for one id."""


class IdsClient:
    """``generate``: the next value of the counter whose turn it is, by the operation's index."""

    def __init__(
        self, open_kv: OpenKv, counters: int, tries: int, session: Kv | None = None
    ) -> None:
        self._open_kv = open_kv
        self._counters = counters
        self._tries = tries
        self._session = session

    async def open(self, node: str) -> Client:
        """A client with a session of its own."""
        session = await self._open_kv(node)
        return IdsClient(self._open_kv, self._counters, self._tries, session)

    async def setup(self) -> None:
        """Counters begin absent; nothing to prepare."""

    async def invoke(self, op: Op) -> Op:
        """Take the next id."""
        if self._session is None:
            raise HarnessError("this client was not opened")
        if op.f != "generate":
            raise HarnessError(f"unique-ids has no operation {op.f!r}")
        step, first = self._counters, op.index % self._counters
        own = await change(
            self._session,
            f"ids-{first}",
            lambda seen: first if seen is None else seen + step,
            tries=self._tries,
        )
        return msgspec.structs.replace(op, type="ok", value=own)

    async def teardown(self) -> None:
        """Leave the data for whoever wants to look."""

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()


def unique_ids(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    counters, tries = int(option["keys"]), int(option["tries"])
    return Workload(
        name="unique-ids",
        vocabulary="kv",
        generator=repeat({"f": "generate"}),
        client=lambda open_kv: IdsClient(open_kv, counters, tries),
        checkers={"unique-ids": UniqueIdsChecker()},
        functions=("generate",),
        answers=frozenset({CONTENDED}),
    )
