"""``txn-set``: a set whose elements are keys of their own: added by inserts, read by scans.

What :mod:`.set` does in one raw key, here in many, over as many regions as they lie in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.only import Only
from splitbrain.checkers.set_full import SetFullChecker
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import ANSWERS, TxnClient, options_of, replayed
from splitbrain.workloads.txn_keys import SlidingTxns, final_by_key

__all__ = ["OPTIONS", "txn_set"]

OPTIONS: Mapping[str, Any] = {
    **txn_client.OPTIONS,
    "keys": 3,
    "key-life": 100,
    "read-share": 0.4,
    "linearizable": True,
}
"""Options and their defaults: sets in use at once, operations after which one is retired, share of
reads, whether a stale element is an anomaly."""


def txn_set(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    reads = float(option["read-share"])
    # A store that looks at no locks may miss what was acknowledged, for a while.
    strict = bool(option["linearizable"]) and option["isolation"] != "read-committed"

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        begin = f"txn-set-{op.key:08d}-"

        async def add(txn: Txn) -> Any:
            await txn.insert(f"{begin}{op.value:08d}", op.value)
            return op.value

        async def look(txn: Txn) -> Any:
            return [value for _, value in await txn.scan(begin, f"{begin}~")]

        if op.f not in ("add", "read"):
            raise HarnessError(f"a set has no operation {op.f!r}")
        return await session.transact(
            add if op.f == "add" else look, options_of(option, op), foot
        )

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        if stream.random() < reads:
            return "read", stream.choice(keys), None, unique
        return "add", stream.choice(keys), unique, unique + 1

    return Workload(
        name="txn-set",
        vocabulary="txn",
        generator=SlidingTxns(
            draw=draw, width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={
            "set": Only(SetFullChecker(linearizable=strict), "add", "read"),
            **replayed(),
        },
        functions=("add", "read"),
        answers=ANSWERS,
    )
