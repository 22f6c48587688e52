"""``append``, ``wr`` and ``txn-kv``: random transactions, judged by their timestamps.

    append   reads of lists, and appends of elements that are unique in the test
    wr       reads and writes of registers, values unique
    txn-kv   also scans, inserts, deletes and compares, values not unique

A transaction reads some keys and changes some, often the same ones, so that two at once conflict.  The
replay needs no unique values; they make what it finds readable, and let other checkers look too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Transactions, Txn, Workload
from splitbrain.env.random import Stream
from splitbrain.history.op import Op
from splitbrain.workloads import txn_client
from splitbrain.workloads.txn_client import (
    ANSWERS,
    TxnClient,
    options_of,
    replayed,
    run_micros,
)
from splitbrain.workloads.txn_keys import DrawTxn, FinalTxns, SlidingTxns

__all__ = ["OPTIONS", "append", "keys_of_micros", "txn_kv", "wr"]

OPTIONS: Mapping[str, Any] = {
    **txn_client.OPTIONS,
    "keys": 5,
    "txn-length": 4,
    "key-life": 40,
    "read-share": 0.5,
}
"""Options and their defaults: keys in use at once, most micro-operations of a transaction, operations
after which a key is retired, share of reads."""

_CHANGES: Final = {
    "append": ("append",),
    "wr": ("w",),
    "txn-kv": ("w", "w", "w", "delete", "insert", "compare"),
}
_READS: Final = {"append": ("r",), "wr": ("r",), "txn-kv": ("r", "r", "lock", "scan")}


def append(spec: TestSpec) -> Workload:
    """The workload ``append`` for one test."""
    return _workload("append", spec)


def wr(spec: TestSpec) -> Workload:
    """The workload ``wr`` for one test."""
    return _workload("wr", spec)


def txn_kv(spec: TestSpec) -> Workload:
    """The workload ``txn-kv`` for one test."""
    return _workload("txn-kv", spec)


def keys_of_micros(op: Op) -> Iterable[int]:
    """The keys of a ``txn`` operation."""
    if op.f != "txn" or not isinstance(op.value, Sequence):
        return ()
    return {key for kind, key, _ in op.value if kind != "scan"}


def _workload(name: str, spec: TestSpec) -> Workload:
    option = {**OPTIONS, **spec.options}
    locking = bool(option["locking-reads"])

    def naming(key: Any) -> str:
        return f"{name}-{key:08d}"

    async def act(session: Transactions, op: Op, foot: Footprint) -> Any:
        options = options_of(option, op)

        async def body(txn: Txn) -> Any:
            return await run_micros(txn, op.value, naming, mode=options.mode, locking=locking)

        return await session.transact(body, options, foot)

    return Workload(
        name=name,
        vocabulary="txn",
        generator=SlidingTxns(
            draw=_draw(name, option), width=int(option["keys"]), life=int(option["key-life"])
        ),
        final_generator=FinalTxns(
            read=lambda keys: ("txn", None, [["r", key, None] for key in keys]),
            keys_of=keys_of_micros,
            nodes=len(spec.nodes),
        ),
        client=lambda opener: TxnClient(opener, act),
        checkers=replayed(),
        functions=("txn",),
        answers=ANSWERS | {"compare-failed"},
    )


def _draw(name: str, option: Mapping[str, Any]) -> DrawTxn:
    reads, longest = float(option["read-share"]), int(option["txn-length"])

    def draw(stream: Stream, keys: tuple[int, ...], unique: int) -> tuple[str, Any, Any, int]:
        micros: list[list[Any]] = []
        for _ in range(stream.randint(1, longest)):
            key = stream.choice(keys)
            kinds = _READS[name] if stream.random() < reads else _CHANGES[name]
            kind = stream.choice(kinds)
            value: Any = None
            if kind == "scan":
                micros.append(["scan", [keys[0], keys[-1] + 1], None])
                continue
            if kind in ("append", "w") and name != "txn-kv":
                value, unique = unique, unique + 1
            elif kind in ("w", "insert"):
                value = stream.randrange(5)
            micros.append([kind, key, value])
        return "txn", None, micros, unique

    return draw
