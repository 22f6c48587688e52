"""``bank``: money is moved between accounts, and all of it together stays the same.

An account that was never written holds the opening balance, so that nothing has to be set up.  Reads
get every account, every second one by a scan of those that were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.bank import BankChecker
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
    lawful_losses,
    options_of,
    read,
    replayed,
)
from splitbrain.workloads.txn_keys import FinalTxns, SlidingTxns

__all__ = ["OPTIONS", "bank"]

OPTIONS: Mapping[str, Any] = {
    **txn_client.OPTIONS,
    "accounts": 6,
    "opening": 20,
    "overdraft": False,
    "read-share": 0.4,
}
"""Options and their defaults: accounts, what each holds at first, whether a balance may be negative,
share of reads."""


def bank(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    accounts, opening = int(option["accounts"]), int(option["opening"])
    overdraft, reads = bool(option["overdraft"]), float(option["read-share"])
    names = [f"bank-{number:08d}" for number in range(accounts)]

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        options = options_of(option, op)
        locking = options.mode == "pessimistic" and bool(option["locking-reads"])

        async def balance(txn: Txn, number: int) -> int:
            held = await read(txn, names[number], locking=locking)
            return opening if held is None else int(held)

        async def transfer(txn: Txn) -> Any:
            source, target = op.value["from"], op.value["to"]
            amount = op.value["amount"]
            left = await balance(txn, source) - amount
            if left < 0 and not overdraft:
                raise Definite("overdraft", f"account {source} holds {left + amount}")
            more = await balance(txn, target) + amount
            await txn.put(names[source], left)
            await txn.put(names[target], more)
            return op.value

        async def read_all(txn: Txn) -> Any:
            if op.index % 2:
                held = dict(await txn.scan(names[0], names[-1] + "\0"))
            else:
                held = {name: await txn.get(name) for name in names}
            found = [held.get(name) for name in names]
            return {str(n): opening if b is None else b for n, b in enumerate(found)}

        if op.f not in ("transfer", "read"):
            raise HarnessError(f"a bank has no operation {op.f!r}")
        return await session.transact(
            transfer if op.f == "transfer" else read_all, options, foot
        )

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        if accounts < 2 or stream.random() < reads:
            return "read", None, None, unique
        source = stream.randrange(accounts)
        target = (source + 1 + stream.randrange(accounts - 1)) % accounts
        value = {"from": source, "to": target, "amount": stream.randint(1, 5)}
        return "transfer", None, value, unique

    return Workload(
        name="bank",
        vocabulary="txn",
        generator=SlidingTxns(draw=draw, width=1),
        final_generator=FinalTxns(
            read=lambda keys: ("read", None, None),
            keys_of=lambda op: (0,),
            nodes=len(spec.nodes),
        ),
        client=lambda opener: TxnClient(opener, act),
        checkers={
            "bank": BankChecker(
                accounts, opening, negative=overdraft, lawful=lawful_losses(option)
            ),
            **replayed(),
        },
        functions=("transfer", "read"),
        answers=ANSWERS | {"overdraft"},
    )
