"""The adapter from a workload's operations to the vocabulary ``txn``.

A workload gives one function that does an operation in a session; the client here keeps what became
known of the transaction (its footprint) in the completion's ``ext``, also where it failed, or nobody
knows how it ended: the checkers need that to tell whose write a later read saw.

Micro-operations, the lists of ``txn`` operations, keys as the workload names them:

    ["r", k, null]            read; the result stands in place of null
    ["lock", k, null]         read and lock (a plain read in an optimistic transaction)
    ["w", k, v]               write
    ["append", k, v]          read a list and write it with one more element
    ["insert", k, v]          write a key that must be absent
    ["delete", k, null]       remove
    ["scan", [k, k2], null]   read all keys from k to before k2: [[k, v], ...]
    ["compare", k, v]         go on only if the key holds v, else ``compare-failed``
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.checkers.transactions.invariants import InvariantChecker
from splitbrain.checkers.transactions.timestamps import TimestampChecker
from splitbrain.checkers.verdict import Checker
from splitbrain.contracts.workload import (
    Client,
    OpenTransactions,
    Transactions,
    Txn,
    TxnOptions,
)
from splitbrain.errors import Definite, HarnessError, RequestError, Undetermined
from splitbrain.history.op import Op

__all__ = [
    "ANSWERS",
    "OPTIONS",
    "Act",
    "Naming",
    "TxnClient",
    "lawful_losses",
    "options_of",
    "promised",
    "read",
    "replayed",
    "run_micros",
]

OPTIONS: Mapping[str, Any] = {
    "txn-mode": "optimistic",
    "isolation": "snapshot",
    "commit-path": "",
    "locking-reads": True,
}
"""Options and their defaults; ``txn-mode`` may be ``both``; ``locking-reads``: of pessimistic ones."""

ANSWERS: Final = frozenset(
    {"write-conflict", "deadlock", "lock-timeout", "already-exists", "aborted"}
)
"""What a system may lawfully answer to any transaction."""

Act = Callable[[Transactions, Op, Footprint], Awaitable[Any]]
"""Does one operation and gives the value of its completion."""

Naming = Callable[[Any], str]
"""From the workload's name of a key to the system's."""


class TxnClient:
    """Does operations by ``act``."""

    def __init__(
        self, opener: OpenTransactions, act: Act, session: Transactions | None = None
    ) -> None:
        self._opener = opener
        self._act = act
        self._session = session

    async def open(self, node: str) -> Client:
        """A client with a session of its own."""
        return TxnClient(self._opener, self._act, await self._opener(node))

    async def setup(self) -> None:
        """Keys begin absent; nothing to prepare."""

    async def invoke(self, op: Op) -> Op:
        """Do the operation; its completion tells what became known of its transaction."""
        session, foot = self._session, Footprint()
        if session is None:
            raise HarnessError("this client was not opened")
        value: Any
        try:
            if op.f == "dump":
                value = await session.dump()
            elif op.f == "timestamp":
                value = await session.timestamp()
            else:
                value = await self._act(session, op, foot)
        except HarnessError:
            raise
        except Definite as refusal:
            observed = {} if refusal.observed is None else {"observed": refusal.observed}
            return _ended(op, "fail", str(refusal), {**_ext(foot), **observed})
        except Undetermined as loss:
            return _ended(op, "info", str(loss), _ext(foot))
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody knows what happened
            return _ended(op, "info", f"{type(error).__name__}: {error}", _ext(foot))
        return msgspec.structs.replace(op, type="ok", value=value, ext=_ext(foot) or None)

    async def teardown(self) -> None:
        """Leave the data for whoever wants to look."""

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()


def _ext(foot: Footprint) -> dict[str, Any]:
    return foot.ext() if foot.start_ts else {}


def _ended(op: Op, kind: Any, error: str, ext: Mapping[str, Any]) -> Op:
    text = " ".join(error.split())
    return msgspec.structs.replace(op, type=kind, error=text, ext=ext or None)


def options_of(option: Mapping[str, Any], op: Op) -> TxnOptions:
    """How to run an operation's transaction; with mode ``both`` every second one is pessimistic."""
    mode = option["txn-mode"]
    if mode == "both":
        mode = "pessimistic" if op.index % 2 else "optimistic"
    return TxnOptions(mode=mode, isolation=option["isolation"], path=option["commit-path"])


def replayed() -> dict[str, Checker]:
    """The checkers of every transactional workload, beside its own."""
    return {"timestamps": TimestampChecker(), "invariants": InvariantChecker()}


def lawful_losses(option: Mapping[str, Any]) -> bool:
    """Whether what is asked for lets an update be lost: read committed, or reads without locks."""
    unlocked = option["txn-mode"] != "optimistic" and not option["locking-reads"]
    return bool(option["isolation"] == "read-committed" or unlocked)


def promised(name: str, option: Mapping[str, Any]) -> None:
    """Refuse a level at which the workload's own promise does not hold.

    Raises:
        RequestError: updates may be lost.
    """
    if lawful_losses(option):
        raise RequestError(
            f"{name}: with isolation={option['isolation']}, txn-mode={option['txn-mode']} and "
            f"locking-reads={str(option['locking-reads']).lower()} an update may lawfully be lost; "
            "choose isolation=snapshot or serializable, and locking-reads=true"
        )


async def read(txn: Txn, key: str, *, locking: bool) -> Any:
    """The key's value, locked if the transaction is to be serializable by its locks."""
    return await (txn.get_for_update(key) if locking else txn.get(key))


async def run_micros(
    txn: Txn, micros: Sequence[Sequence[Any]], naming: Naming, *, mode: str, locking: bool
) -> list[list[Any]]:
    """Do micro-operations in order; the same list with what was read.

    Args:
        txn: the transaction.
        micros: see above.
        naming: keys of the workload to keys of the system.
        mode: of the transaction.
        locking: whether reads of a pessimistic transaction lock.

    Raises:
        HarnessError: an unknown micro-operation.
    """
    pessimistic = mode == "pessimistic"
    done: list[list[Any]] = []
    for kind, key, value in micros:
        result = value
        if kind in ("r", "lock"):
            lock = pessimistic and (locking or kind == "lock")
            result = await read(txn, naming(key), locking=lock)
        elif kind == "scan":
            begin, end = (naming(each) for each in key)
            result = [list(pair) for pair in await txn.scan(begin, end)]
        else:
            await _change(txn, kind, naming(key), value, locking=pessimistic and locking)
        done.append([kind, key, result])
    return done


async def _change(txn: Txn, kind: str, key: str, value: Any, *, locking: bool) -> None:
    if kind == "w":
        await txn.put(key, value)
    elif kind == "append":
        await txn.put(key, [*(await read(txn, key, locking=locking) or []), value])
    elif kind == "insert":
        await txn.insert(key, value)
    elif kind == "delete":
        await txn.delete(key)
    elif kind == "compare":
        seen = await read(txn, key, locking=locking)
        if seen != value:
            raise Definite("compare-failed", f"saw {seen}", observed=seen)
    else:
        raise HarnessError(f"a transaction has no micro-operation {kind!r}")
