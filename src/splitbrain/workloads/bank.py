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


class _Bank:
    """The accounts, and what is done with them in one session."""

    def __init__(self, option: Mapping[str, Any]) -> None:
        self.option = option
        self.opening = int(option["opening"])
        self.overdraft = bool(option["overdraft"])
        self.names = [f"bank-{number:08d}" for number in range(int(option["accounts"]))]

    async def act(self, session: Transactions, op: Op, foot: Footprint) -> Any:
        """One operation."""
        options = options_of(self.option, op)
        locking = options.mode == "pessimistic" and bool(self.option["locking-reads"])

        async def transfer(txn: Txn) -> Any:
            return await self._transfer(txn, op, locking=locking)

        async def read_all(txn: Txn) -> Any:
            return await self._read_all(txn, scan=bool(op.index % 2))

        if op.f not in ("transfer", "read"):
            raise HarnessError(f"a bank has no operation {op.f!r}")
        body = transfer if op.f == "transfer" else read_all
        return await session.transact(body, options, foot)

    async def _balance(self, txn: Txn, number: int, *, locking: bool) -> int:
        held = await read(txn, self.names[number], locking=locking)
        return self.opening if held is None else int(held)

    async def _transfer(self, txn: Txn, op: Op, *, locking: bool) -> Any:
        source, target, amount = op.value["from"], op.value["to"], op.value["amount"]
        left = await self._balance(txn, source, locking=locking) - amount
        if left < 0 and not self.overdraft:
            raise Definite("overdraft", f"account {source} holds {left + amount}")
        more = await self._balance(txn, target, locking=locking) + amount
        await txn.put(self.names[source], left)
        await txn.put(self.names[target], more)
        return op.value

    async def _read_all(self, txn: Txn, *, scan: bool) -> Any:
        if scan:
            held = dict(await txn.scan(self.names[0], self.names[-1] + "\0"))
        else:
            held = {name: await txn.get(name) for name in self.names}
        found = [held.get(name) for name in self.names]
        return {str(n): self.opening if b is None else b for n, b in enumerate(found)}


def bank(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    there, reads = _Bank(option), float(option["read-share"])
    accounts = len(there.names)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        if stream.random() < reads:
            return "read", None, None, unique
        source = stream.randrange(accounts)
        target = (source + 1 + stream.randrange(accounts - 1)) % accounts
        value = {"from": source, "to": target, "amount": stream.randint(1, 5)}
        return "transfer", None, value, unique

    checker = BankChecker(
        accounts, there.opening, negative=there.overdraft, lawful=lawful_losses(option)
    )
    return Workload(
        name="bank",
        vocabulary="txn",
        generator=SlidingTxns(draw=draw, width=1),
        final_generator=FinalTxns(
            read=lambda keys: ("read", None, None),
            keys_of=lambda op: (0,),
            nodes=len(spec.nodes),
        ),
        client=lambda opener: TxnClient(opener, there.act),
        checkers={"bank": checker, **replayed()},
        functions=("transfer", "read"),
        answers=ANSWERS | {"overdraft"},
    )
