"""``lock``: locks made of transactions; never two hold one at once.

A lock is a key that holds its holder's token, or is absent.  Whoever has one gives it back by its next
operation.  A lock whose holder went away stays held: locks are retired after some operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from splitbrain.checkers.holders import HoldersChecker
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.generator import Context, Emit, Generator, Pending
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

__all__ = ["OPTIONS", "GiveBack", "lock"]

OPTIONS: Mapping[str, Any] = {**txn_client.OPTIONS, "keys": 3, "key-life": 60}
"""Options and their defaults: locks in use at once, operations after which one is retired."""

_GIVEN_UP: Final = frozenset({"not-held"})


class GiveBack(msgspec.Struct, frozen=True):
    """A process that holds a lock releases it; the others do what the generator says.

    Attributes:
        held: process -> (lock, token).
    """

    generator: Generator
    held: Mapping[int, tuple[int, int]] = {}

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The generator's operation; a release, if it would go to a process that holds a lock."""
        offer = self.generator.op(test, ctx)
        if not isinstance(offer, Emit):
            return offer
        op, then = offer.op, offer.next
        if op.process in self.held:
            key, token = self.held[op.process]
            op = msgspec.structs.replace(op, f="release", key=key, value=token)
            then = self.generator
        return Emit(op, GiveBack(then, self.held))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Learns who holds what."""
        held = dict(self.held)
        if event.f == "acquire" and event.type == "ok":
            held[event.process] = (event.key, event.value)
        elif event.type == "info":
            held.pop(event.process, None)
        elif event.f == "release" and event.type in ("ok", "fail"):
            code = (event.error or "").split(":", 1)[0]
            if event.type == "ok" or code in _GIVEN_UP:
                held.pop(event.process, None)
        inner = self.generator.update(test, ctx, event)
        if inner is self.generator and held == self.held:
            return self
        return GiveBack(inner, held)


def lock(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    promised("lock", option)

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        options = options_of(option, op)
        locking = options.mode == "pessimistic"
        key = f"lock-{op.key:08d}"

        async def acquire(txn: Txn) -> Any:
            holder = await read(txn, key, locking=locking)
            if holder is not None:
                raise Definite("lock-held", f"by {holder}")
            await txn.put(key, op.value)
            return op.value

        async def release(txn: Txn) -> Any:
            if await read(txn, key, locking=locking) != op.value:
                raise Definite("not-held")
            await txn.delete(key)
            return op.value

        async def look(txn: Txn) -> Any:
            return await txn.get(key)

        bodies = {"acquire": acquire, "release": release, "read": look}
        if op.f not in bodies:
            raise HarnessError(f"a lock has no operation {op.f!r}")
        return await session.transact(bodies[op.f], options, foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        return "acquire", stream.choice(keys), unique, unique + 1

    generator = SlidingTxns(draw=draw, width=int(option["keys"]), life=int(option["key-life"]))
    return Workload(
        name="lock",
        vocabulary="txn",
        generator=GiveBack(generator),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={"lock": HoldersChecker(), **replayed()},
        functions=("acquire", "release"),
        answers=ANSWERS | {"lock-held", "not-held"},
    )
