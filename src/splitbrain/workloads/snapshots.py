"""``snapshot-reads`` and ``versioned``: reads of groups in one snapshot, and of keys as they once were.

``snapshot-reads`` writes all keys of a group together, with one value, and reads them twice in one
transaction, by gets and by a scan: all must be alike.

``versioned`` writes single keys, and reads them at timestamps of transactions that ended a while ago:
what a key held then never changes.  Where versions that old were collected, a read must be refused
(``collected``, an answer), never be silently wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from splitbrain.checkers.snapshots import SnapshotChecker, VersionedChecker
from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.generator import Context, Emit, Generator, Pending
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, TxnOptions, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import HarnessError
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import ANSWERS, TxnClient, options_of, replayed
from splitbrain.workloads.txn_keys import SlidingTxns, final_by_key

__all__ = ["OPTIONS", "AtOlderVersions", "snapshot_reads", "versioned"]

OPTIONS: Mapping[str, Any] = {
    **txn_client.OPTIONS,
    "keys": 3,
    "group-size": 4,
    "key-life": 100,
    "read-share": 0.5,
}
"""Options and their defaults: groups (versioned: keys) in use at once, keys of a group, operations
after which one is retired, share of reads."""

_REMEMBERED: Final = 200
"""Of so many ended transactions the timestamps may be asked for again."""


def snapshot_reads(spec: TestSpec) -> Workload:
    """The workload ``snapshot-reads`` for one test."""
    option = {**OPTIONS, **spec.options}
    size, reads = int(option["group-size"]), float(option["read-share"])

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        names = [f"group-{op.key:08d}-{member:04d}" for member in range(size)]

        async def write(txn: Txn) -> Any:
            for name in names:
                await txn.put(name, op.value)
            return op.value

        async def look(txn: Txn) -> Any:
            first = [await txn.get(name) for name in names]
            found = dict(await txn.scan(names[0], names[-1] + "\0"))
            return [first, [found.get(name) for name in names]]

        if op.f not in ("write", "read"):
            raise HarnessError(f"snapshot-reads has no operation {op.f!r}")
        body = write if op.f == "write" else look
        return await session.transact(body, options_of(option, op), foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        if stream.random() < reads:
            return "read", stream.choice(keys), None, unique
        return "write", stream.choice(keys), unique, unique + 1

    return Workload(
        name="snapshot-reads",
        vocabulary="txn",
        generator=SlidingTxns(
            draw=draw, width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={
            "snapshots": SnapshotChecker(lawful=option["isolation"] == "read-committed"),
            **replayed(),
        },
        functions=("write", "read"),
        answers=ANSWERS,
    )


class AtOlderVersions(msgspec.Struct, frozen=True):
    """Gives each ``read-at`` a timestamp of a transaction that has ended; a plain read before any has.

    Attributes:
        generator: whose ``read-at`` has no version.
        ended: start timestamps, oldest first.
    """

    generator: Generator
    ended: tuple[int, ...] = ()

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The generator's operation, with a version where it wants one."""
        offer = self.generator.op(test, ctx)
        if not isinstance(offer, Emit):
            return offer
        op = offer.op
        if op.f == "read-at" and self.ended:
            op = msgspec.structs.replace(op, value=[ctx.random.choice(self.ended), None])
        elif op.f == "read-at":
            op = msgspec.structs.replace(op, f="read")
        return Emit(op, AtOlderVersions(offer.next, self.ended))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Remembers the timestamps of what has ended well."""
        inner = self.generator.update(test, ctx, event)
        start_ts = (event.ext or {}).get("start_ts")
        if event.type != "ok" or not start_ts or event.f == "read-at":
            return self if inner is self.generator else AtOlderVersions(inner, self.ended)
        return AtOlderVersions(inner, (*self.ended[-_REMEMBERED + 1 :], start_ts))


def versioned(spec: TestSpec) -> Workload:
    """The workload ``versioned`` for one test."""
    option = {**OPTIONS, **spec.options}
    reads = float(option["read-share"])

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        key = f"versioned-{op.key:08d}"

        async def write(txn: Txn) -> Any:
            await txn.put(key, op.value)
            return op.value

        async def get(txn: Txn) -> Any:
            return await txn.get(key)

        if op.f == "read-at":
            version = int(op.value[0])
            then = TxnOptions(version=version)
            return [version, await session.transact(get, then, foot)]
        if op.f not in ("write", "read"):
            raise HarnessError(f"versioned has no operation {op.f!r}")
        body = write if op.f == "write" else get
        return await session.transact(body, options_of(option, op), foot)

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        if stream.random() < reads:
            return (
                stream.choice(("read", "read-at", "read-at")),
                stream.choice(keys),
                None,
                unique,
            )
        return "write", stream.choice(keys), unique, unique + 1

    return Workload(
        name="versioned",
        vocabulary="txn",
        generator=AtOlderVersions(
            SlidingTxns(draw=draw, width=int(option["keys"]), life=int(option["key-life"]))
        ),
        final_generator=final_by_key("read", len(spec.nodes)),
        client=lambda opener: TxnClient(opener, act),
        checkers={"versioned": VersionedChecker(), **replayed()},
        functions=("write", "read", "read-at"),
        answers=ANSWERS | {"collected"},
    )
