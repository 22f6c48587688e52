"""``monotonic``: counters grow with their commit timestamps, and timestamps with real time.

An ``inc`` reads a counter and writes one more.  Between them clients ask for bare timestamps, which no
two may share, and which must grow from one that was answered to one that was asked for later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.monotonic import MonotonicChecker
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import (
    ANSWERS,
    TxnClient,
    lawful_losses,
    options_of,
    read,
    replayed,
)
from splitbrain.workloads.txn_keys import SlidingTxns, final_by_key

__all__ = ["OPTIONS", "monotonic"]

OPTIONS: Mapping[str, Any] = {**txn_client.OPTIONS, "keys": 4, "key-life": 200}
"""Options and their defaults: counters in use at once, operations after which one is retired."""


def monotonic(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        options = options_of(option, op)
        locking = options.mode == "pessimistic" and bool(option["locking-reads"])
        key = f"counter-{op.key:08d}"

        async def inc(txn: Txn) -> Any:
            value = (await read(txn, key, locking=locking) or 0) + 1
            await txn.put(key, value)
            return value

        async def get(txn: Txn) -> Any:
            return await txn.get(key)

        if op.f not in ("inc", "read"):
            raise HarnessError(f"a counter has no operation {op.f!r}")
        return await session.transact(inc if op.f == "inc" else get, options, foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        chance = stream.random()
        if chance < 0.3:
            return "timestamp", None, None, unique
        return ("inc" if chance < 0.8 else "read"), stream.choice(keys), None, unique

    return Workload(
        name="monotonic",
        vocabulary="txn",
        generator=SlidingTxns(
            draw=draw, width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={"monotonic": MonotonicChecker(lawful=lawful_losses(option)), **replayed()},
        functions=("inc", "read", "timestamp"),
        answers=ANSWERS,
    )
