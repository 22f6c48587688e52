"""``queue``: first in, first out, made of transactions; at the end all that is left is drained.

A queue has a key for its head, one for its tail, and one for each element between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.queue import QueueChecker
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import Definite, HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import (
    ANSWERS,
    TxnClient,
    options_of,
    promised,
    read,
    replayed,
)
from splitbrain.workloads.txn_keys import SlidingTxns, final_by_key

__all__ = ["OPTIONS", "queue"]

OPTIONS: Mapping[str, Any] = {**txn_client.OPTIONS, "keys": 4, "key-life": 100}
"""Options and their defaults: queues in use at once, operations after which one is retired."""


class _Queue:
    """One queue inside one transaction."""

    def __init__(self, txn: Txn, key: int, *, locking: bool) -> None:
        self._txn = txn
        self._name = f"queue-{key:08d}"
        self._locking = locking

    async def put(self, element: Any) -> None:
        tail = await self._count("tail")
        await self._txn.put(self._place(tail), element)
        await self._txn.put(f"{self._name}-tail", tail + 1)

    async def take(self) -> Any:
        head = await self._count("head")
        element = await read(self._txn, self._place(head), locking=self._locking)
        if element is None:
            raise Definite("empty")
        await self._txn.delete(self._place(head))
        await self._txn.put(f"{self._name}-head", head + 1)
        return element

    async def drain(self) -> list[Any]:
        head, tail = await self._count("head"), await self._count("tail")
        taken = []
        for place in range(head, tail):
            taken.append(await read(self._txn, self._place(place), locking=self._locking))
            await self._txn.delete(self._place(place))
        await self._txn.put(f"{self._name}-head", tail)
        return taken

    async def _count(self, end: str) -> int:
        held = await read(self._txn, f"{self._name}-{end}", locking=self._locking)
        return int(held or 0)

    def _place(self, number: int) -> str:
        return f"{self._name}-{number:08d}"


def queue(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    promised("queue", option)

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        options = options_of(option, op)

        async def body(txn: Txn) -> Any:
            inside = _Queue(txn, op.key, locking=options.mode == "pessimistic")
            if op.f == "dequeue":
                return await inside.take()
            if op.f == "drain":
                return await inside.drain()
            await inside.put(op.value)
            return op.value

        if op.f not in ("enqueue", "dequeue", "drain"):
            raise HarnessError(f"a queue has no operation {op.f!r}")
        return await session.transact(body, options, foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        if stream.random() < 0.5:
            return "dequeue", stream.choice(keys), None, unique
        return "enqueue", stream.choice(keys), unique, unique + 1

    return Workload(
        name="queue",
        vocabulary="txn",
        generator=SlidingTxns(
            draw=draw, width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=final_by_key("drain", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={"queue": QueueChecker(), **replayed()},
        functions=("enqueue", "dequeue", "drain"),
        answers=ANSWERS | {"empty"},
    )
