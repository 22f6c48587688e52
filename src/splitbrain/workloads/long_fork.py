"""``long-fork``: every key is written once; no two readers may disagree on which write came first.

Keys come in groups.  A write puts one key of a group, a read gets them all, in an order of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.long_fork import LongForkChecker
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import ANSWERS, TxnClient, options_of, promised, replayed
from splitbrain.workloads.txn_keys import SlidingTxns, final_by_key

__all__ = ["OPTIONS", "long_fork"]

OPTIONS: Mapping[str, Any] = {**txn_client.OPTIONS, "keys": 2, "group-size": 4, "key-life": 12}
"""Options and their defaults: groups in use at once, keys of a group, operations after which a group is
retired."""


def long_fork(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    promised("long-fork", option)
    size = int(option["group-size"])

    def name(group: int, member: int) -> str:
        return f"fork-{group:08d}-{member:04d}"

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        async def write(txn: Txn) -> Any:
            # Each key once: one that is there is left as it is.
            key = name(op.key, op.value)
            if await txn.get(key) is None:
                await txn.put(key, 1)
            return op.value

        async def read(txn: Txn) -> Any:
            turn = op.index % size
            order = [(turn + place) % size for place in range(size)]
            seen = {member: await txn.get(name(op.key, member)) for member in order}
            return [[member, seen[member]] for member in range(size)]

        if op.f not in ("write", "read"):
            raise HarnessError(f"long-fork has no operation {op.f!r}")
        body = write if op.f == "write" else read
        return await session.transact(body, options_of(option, op), foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        group = stream.choice(keys)
        if stream.random() < 0.4:
            return "write", group, stream.randrange(size), unique
        return "read", group, None, unique

    return Workload(
        name="long-fork",
        vocabulary="txn",
        generator=SlidingTxns(
            draw=draw, width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={"long-fork": LongForkChecker(), **replayed()},
        functions=("write", "read"),
        answers=ANSWERS,
    )
