"""Run a generator with no cluster: what would it do, and what would the history look like?

The same interpreter as in a real test is told an imaginary time, and a *completion* function says
how each operation ends and how long that takes.  Everything is drawn from one seed, so the outcome
is the same each time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from splitbrain.env.random import Random, Stream
from splitbrain.harness.generator.lift import lift
from splitbrain.harness.interpreter import Done, Interpreter, Invoke, Pseudo, WaitUntil
from splitbrain.history.op import Op

__all__ = [
    "Completion",
    "imperfect",
    "instant",
    "invocations",
    "perfect",
    "perfect_info",
    "simulate",
]

Completion = Callable[[Op, Stream], tuple[int, Op]]
"""Of an invocation and a stream of draws: nanoseconds that it takes, and how it ends."""

_LATENCY_NS = 10
_THINK_LIMIT = 100_000
"""So many waits in a row, with nothing done, end a simulation."""


def instant(op: Op, random: Stream) -> tuple[int, Op]:
    """Everything succeeds at once.

    >>> [op.time_ns for op in simulate([{"f": "a"}, {"f": "b"}], completion=instant)]
    [0, 0, 0, 0]
    """
    return 0, replace(op, type="ok")


def perfect(op: Op, random: Stream) -> tuple[int, Op]:
    """Everything succeeds in 10 ns.

    >>> [(op.time_ns, op.type) for op in simulate({"f": "a"}, completion=perfect)]
    [(0, 'invoke'), (10, 'ok')]
    """
    return _LATENCY_NS, replace(op, type="ok")


def perfect_info(op: Op, random: Stream) -> tuple[int, Op]:
    """Every operation's outcome is unknown, after 10 ns.

    >>> [(op.time_ns, op.type) for op in simulate({"f": "a"}, completion=perfect_info, seed=3)]
    [(0, 'invoke'), (10, 'info')]
    """
    return _LATENCY_NS, replace(op, type="info")


def imperfect(op: Op, random: Stream) -> tuple[int, Op]:
    """Each operation is ok, fails or stays unknown, with equal chance, after 10 ns.

    >>> history = simulate([{"f": "a"} for _ in range(99)], completion=imperfect)
    >>> sorted({op.type for op in history})
    ['fail', 'info', 'invoke', 'ok']
    """
    return _LATENCY_NS, replace(op, type=random.choice(("ok", "fail", "info")))


def simulate(
    generator: Any,
    *,
    completion: Completion = perfect,
    concurrency: int = 2,
    seed: int = 0,
    max_ops: int = 10_000,
    test: Mapping[str, Any] | None = None,
) -> list[Op]:
    """The history that a generator makes with imaginary clients: invocations and completions.

    Ends when the generator is exhausted, or after ``max_ops`` invocations.

    >>> [(op.time_ns, op.process, op.type, op.f) for op in simulate({"f": "read"}, seed=3)]
    [(0, 0, 'invoke', 'read'), (10, 0, 'ok', 'read')]
    """
    history: list[Op] = []
    random = Random(seed).child("simulate")
    draws = random.stream("completions")
    interpreter = Interpreter(
        lift(generator),
        {"concurrency": concurrency} if test is None else test,
        concurrency=concurrency,
        random=random.stream("generator"),
        record=history.append,
    )
    in_flight: list[tuple[int, int, int, Op]] = []
    now = started = idle = 0
    while idle < _THINK_LIMIT:
        if in_flight and in_flight[0][0] <= now:
            _, _, thread, ended = heapq.heappop(in_flight)
            interpreter.complete(thread, ended, now)
            continue
        action = interpreter.poll(now)
        if isinstance(action, Invoke | Pseudo):
            idle = 0
            if isinstance(action, Pseudo):
                taken = round(float(action.op.value) * 1e9) if action.op.f == "sleep" else 0
                ended = action.op
            elif started == max_ops:
                history.pop()
                break
            else:
                started += 1
                taken, ended = completion(action.op, draws)
            heapq.heappush(in_flight, (now + taken, interpreter.count, action.thread, ended))
        elif isinstance(action, Done):
            break
        else:
            idle += 1
            until = action.time_ns if isinstance(action, WaitUntil) else None
            if in_flight and (until is None or in_flight[0][0] <= until):
                until = in_flight[0][0]
            if until is None:
                break
            now = max(now, until)
    return history


def invocations(generator: Any, **options: Any) -> list[Op]:
    """Only the operations that begin, of ``simulate`` with the same options.

    >>> [op.f for op in invocations([{"f": "a"}, {"f": "b"}])]
    ['a', 'b']
    """
    pending: set[int] = set()
    begun = []
    for op in simulate(generator, **options):
        if op.process in pending:
            pending.discard(op.process)
        else:
            pending.add(op.process)
            begun.append(op)
    return begun
