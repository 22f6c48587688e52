"""``write-skew``: of each pair of doctors one must stay on call; each looks at both before leaving.

Under snapshot isolation two may leave at once, and that is named as allowed; a serializable system, or
pessimistic transactions that lock what they read, must not let it happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.checkers.write_skew import WriteSkewChecker
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import Definite, HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import ANSWERS, TxnClient, options_of, read, replayed
from splitbrain.workloads.txn_keys import SlidingTxns, final_by_key

__all__ = ["OPTIONS", "write_skew"]

OPTIONS: Mapping[str, Any] = {**txn_client.OPTIONS, "keys": 2, "key-life": 60}
"""Options and their defaults: pairs in use at once, operations after which one is retired."""


def write_skew(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    serializable = option["isolation"] == "serializable" or (
        option["txn-mode"] == "pessimistic"
        and option["isolation"] == "snapshot"
        and bool(option["locking-reads"])
    )

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        options = options_of(option, op)
        locking = options.mode == "pessimistic" and bool(option["locking-reads"])
        names = [f"call-{op.key:08d}-{member}" for member in (0, 1)]

        async def on_call(txn: Txn, *, lock: bool) -> list[bool]:
            return [await read(txn, name, locking=lock) != "off" for name in names]

        async def leave(txn: Txn) -> Any:
            both = await on_call(txn, lock=locking)
            if not both[1 - op.value]:
                raise Definite("alone", "the other is off")
            await txn.put(names[op.value], "off")
            return op.value

        async def back(txn: Txn) -> Any:
            await txn.put(names[op.value], "on")
            return op.value

        async def look(txn: Txn) -> Any:
            return await on_call(txn, lock=False)

        bodies = {"leave": leave, "return": back, "read": look}
        if op.f not in bodies:
            raise HarnessError(f"write-skew has no operation {op.f!r}")
        return await session.transact(bodies[op.f], options, foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        f = stream.choice(("leave", "leave", "return", "read"))
        member = None if f == "read" else stream.randrange(2)
        return f, stream.choice(keys), member, unique

    return Workload(
        name="write-skew",
        vocabulary="txn",
        generator=SlidingTxns(
            draw=draw, width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={"write-skew": WriteSkewChecker(lawful=not serializable), **replayed()},
        functions=("leave", "return", "read"),
        answers=ANSWERS | {"alone"},
    )
