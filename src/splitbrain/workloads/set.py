"""``set``: elements are added, never removed; at the end every worker reads every set.

A set is a list in one raw key; an add reads it and swaps in the list with one more element, so that
an acknowledged add that a later leader does not know of is a lost element.  Every element of a test
is another integer.  Several sets are in use at once and each is retired after some operations, so
that its list, and the reads of it, stay short.  With ``--option keys=1`` and a large
``ops-per-key-min`` and ``-max`` there is one long one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splitbrain.checkers.set_full import SetFullChecker
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Client, Kv, OpenKv, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads.by_cas import CONTENDED, change
from splitbrain.workloads.final import FinalReadsByAll
from splitbrain.workloads.keys import sliding

__all__ = ["OPTIONS", "SetClient", "set_workload"]

OPTIONS: Mapping[str, Any] = {
    "keys": 4,
    "read-share": 0.4,
    "ops-per-key-min": 200,
    "ops-per-key-max": 400,
    "linearizable": True,
    "tries": 10,
}
"""Options and their defaults: sets in use at once, share of reads, operations a set gets, whether a
stale element is an anomaly, compare-and-swaps for one add."""


class SetClient:
    """``add`` and ``read`` of sets that are lists in raw keys."""

    def __init__(self, open_kv: OpenKv, tries: int, session: Kv | None = None) -> None:
        self._open_kv = open_kv
        self._tries = tries
        self._session = session

    async def open(self, node: str) -> Client:
        """A client with a session of its own."""
        return SetClient(self._open_kv, self._tries, await self._open_kv(node))

    async def setup(self) -> None:
        """Keys begin absent; nothing to prepare."""

    async def invoke(self, op: Op) -> Op:
        """Do the operation; an absent list is an empty set."""
        if self._session is None:
            raise HarnessError("this client was not opened")
        key = f"set-{op.key}"
        if op.f == "read":
            found = await self._session.get(key)
            return msgspec.structs.replace(op, type="ok", value=found or [])
        if op.f != "add":
            raise HarnessError(f"a set has no operation {op.f!r}")
        await change(
            self._session, key, lambda seen: [*(seen or []), op.value], tries=self._tries
        )
        return msgspec.structs.replace(op, type="ok")

    async def teardown(self) -> None:
        """Leave the data for whoever wants to look."""

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()


def set_workload(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    reads, tries = float(option["read-share"]), int(option["tries"])

    def draw(stream: Stream, unique: int) -> tuple[str, Any]:
        return ("read", None) if stream.random() < reads else ("add", unique)

    return Workload(
        name="set",
        vocabulary="kv",
        generator=sliding(draw, option),
        final_generator=FinalReadsByAll(),
        client=lambda open_kv: SetClient(open_kv, tries),
        checkers={"set": SetFullChecker(linearizable=bool(option["linearizable"]))},
        functions=("add", "read"),
        answers=frozenset({CONTENDED}),
    )
