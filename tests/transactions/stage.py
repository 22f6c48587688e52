"""A workload on the database in memory: its generator, its clients, its final phase."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.generator import Generator
from splitbrain.contracts.workload import Client, Workload
from splitbrain.env.random import Random
from splitbrain.harness.generator import clients, limit
from splitbrain.harness.generator.lift import lift
from splitbrain.harness.interpreter import Interpreter, Invoke
from splitbrain.history.history import History
from splitbrain.history.op import Op

from .memory import Database


def run_workload(
    workload: Workload,
    database: Database,
    *,
    seed: int,
    ops: int = 150,
    workers: int = 4,
    test: Mapping[str, Any] | None = None,
) -> History:
    """The history of ``ops`` operations and the final phase; every step's turn drawn from the seed."""
    return History(_Stage(workload, database, seed, workers).played(ops))


class _Stage:
    def __init__(self, workload: Workload, database: Database, seed: int, workers: int) -> None:
        self.workload, self.database, self.workers = workload, database, workers
        self.random = Random(seed).child("stage")
        self.turns = self.random.stream("turns")
        self.history: list[Op] = []
        self.now = 0
        self.clients: dict[int, Client] = {}
        self.factory = workload.client(self._opened)

    async def _opened(self, node: str) -> Any:
        return self.database.open(node)

    def played(self, ops: int) -> list[Op]:
        final = self.workload.final_generator
        heard = self._play(limit(ops, self.workload.generator), "main", final)
        while self.database.orphans:
            self.database.settle()
        if heard is not None:
            self.database.unknown_chance = 0.0
            self._play(heard, "final", None)
        return self.history

    def _play(self, generator: Any, name: str, listener: Generator | None) -> Generator | None:
        begun = len(self.history)
        processes = self.workers * (1 + begun)
        interpreter = Interpreter(
            lift(clients(generator)),
            {},
            concurrency=self.workers,
            random=self.random.stream(name),
            record=lambda op: self.history.append(self._shifted(op, begun, processes)),
        )
        running: dict[int, Coroutine[Any, Any, Op]] = {}
        idle = 0
        while idle < 10_000:
            action = interpreter.poll(self.now)
            if isinstance(action, Invoke):
                idle = 0
                running[action.thread] = self._client(action.thread).invoke(action.op)
            elif not running:
                idle += 1
                if action.__class__.__name__ == "Done":
                    break
            if running and (not isinstance(action, Invoke) or self.turns.random() < 0.7):
                thread = self.turns.choice(sorted(running))
                try:
                    running[thread].send(None)
                except StopIteration as done:
                    del running[thread]
                    interpreter.complete(thread, done.value, self.now)
            self.now += 1000
        if listener is not None:
            for op in self.history[begun:]:
                listener = listener.update({}, None, op)  # type: ignore[arg-type]
        return listener

    def _shifted(self, op: Op, begun: int, processes: int) -> Op:
        """The final phase goes on with indexes and with processes of its own."""
        process = op.process + (processes if begun else 0)
        return msgspec.structs.replace(op, index=op.index + begun, process=process)

    def _client(self, thread: int) -> Client:
        if thread not in self.clients:
            opening = self.factory.open(f"n{thread + 1}")
            try:
                opening.send(None)  # type: ignore[attr-defined]
            except StopIteration as done:
                self.clients[thread] = done.value
        return self.clients[thread]
