"""Random transactions on the database in memory, as a history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from splitbrain.checkers.transactions.evidence import Footprint
from splitbrain.contracts.workload import TxnOptions
from splitbrain.env.random import Random, Stream
from splitbrain.errors import Definite, Undetermined
from splitbrain.history.history import History

from .memory import Database, Recorder, Transaction, interleave

KINDS = ("snapshot", "serializable", "locking", "mixed", "read-committed")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a history is made of."""

    seed: int
    kinds: tuple[str, ...] = KINDS
    processes: int = 4
    transactions: int = 8
    keys: int = 4
    unique: bool = True
    sins: tuple[str, ...] = ()
    unknown: float = 0.0
    untraced: float = 0.0
    tell_versions: bool = True
    dump: bool = True


def recipe(seed: int, *, sins: Iterable[str] = (), **fixed: Any) -> Recipe:
    """A recipe drawn from the seed."""
    draw = Random(seed).stream("recipe")
    fields: dict[str, Any] = {
        "kinds": tuple(draw.nonempty_subset(KINDS)),
        "processes": draw.randint(2, 5),
        "transactions": draw.randint(2, 9),
        "keys": draw.randint(1, 5),
        "unique": draw.random() < 0.6,
        "unknown": draw.choice((0.0, 0.0, 0.2)),
        "untraced": draw.choice((0.0, 0.0, 0.3)),
        "tell_versions": draw.random() < 0.6,
        "dump": draw.random() < 0.6,
    }
    return Recipe(seed=seed, sins=tuple(sins), **{**fields, **fixed})


def played(plan: Recipe) -> tuple[History, Database]:
    """The history that the recipe makes, and the database after it."""
    random = Random(plan.seed)
    database = Database(
        random.stream("database"),
        sins=plan.sins,
        unknown_chance=plan.unknown,
        tell_versions=plan.tell_versions,
    )
    recorder = Recorder()
    player = _Player(plan, database, recorder, random.stream("clients"))
    interleave(
        [player.client(process) for process in range(plan.processes)], random.stream("order")
    )
    while database.orphans:
        database.settle()
    interleave([player.last()], random.stream("last"))
    return History(recorder.ops), database


class _Player:
    def __init__(
        self, plan: Recipe, database: Database, recorder: Recorder, stream: Stream
    ) -> None:
        self.plan, self.database, self.recorder, self.stream = plan, database, recorder, stream
        self.next_value = 1
        self.processes = plan.processes

    async def client(self, process: int) -> None:
        session = self.database.open()
        for _ in range(self.plan.transactions):
            ended = await self._one(session, process, self._options(), self._body())
            if not ended:
                process = self.processes
                self.processes += 1

    async def last(self) -> None:
        session = self.database.open()

        async def body(txn: Transaction) -> None:
            for key in range(self.plan.keys):
                await txn.get(f"k{key}")

        await self._one(session, 1000, TxnOptions(), body)
        if self.plan.dump:
            self.recorder.event(1000, "invoke", "dump")
            self.recorder.event(1000, "ok", "dump", value=await session.dump())

    async def _one(self, session: Any, process: int, options: TxnOptions, body: Any) -> bool:
        foot = Footprint()
        self.recorder.event(process, "invoke", "txn")
        try:
            await session.transact(body, options, foot)
        except Definite as error:
            self.recorder.event(process, "fail", "txn", error=str(error), ext=foot.ext())
        except Undetermined as error:
            traced = self.stream.random() >= self.plan.untraced
            ext = foot.ext() if traced else None
            self.recorder.event(process, "info", "txn", error=str(error), ext=ext)
            return False
        else:
            self.recorder.event(process, "ok", "txn", ext=foot.ext())
        return True

    def _options(self) -> TxnOptions:
        kind = self.stream.choice(self.plan.kinds)
        if kind in ("locking", "mixed"):
            return TxnOptions(mode="pessimistic")
        return TxnOptions(isolation=kind)

    def _body(self) -> Any:
        draw = self.stream
        moves = [
            (draw.random(), f"k{draw.randrange(self.plan.keys)}")
            for _ in range(draw.randint(1, 4))
        ]

        async def body(txn: Transaction) -> None:
            locking = txn.options.mode == "pessimistic" and self.plan.kinds != ("mixed",)
            for chance, key in moves:
                if locking and chance < 0.45:
                    await txn.get_for_update(key)
                elif chance < 0.4:
                    await txn.get(key)
                elif chance < 0.5:
                    await txn.scan("k1", "k3" if chance < 0.45 else "")
                elif chance < 0.6:
                    await txn.delete(key)
                elif chance < 0.65:
                    await txn.insert(key, self._value())
                else:
                    await txn.put(key, self._value())

        return body

    def _value(self) -> Any:
        if not self.plan.unique:
            return self.stream.randrange(3)
        self.next_value += 1
        return self.next_value
