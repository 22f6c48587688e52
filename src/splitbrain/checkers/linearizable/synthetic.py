"""Histories whose verdict is known by construction: for tests and benchmarks.

Processes act on an atomic object in memory.  Each operation begins, takes effect at one moment, and
ends, in that order, with the steps of different processes shuffled: so the history is linearizable
by construction, whatever the shuffle.  Some operations lose their completion: their effect comes
before, never, or long after; and some are refused without effect.

    >>> from splitbrain.env.random import Random
    >>> history = synthetic(Random(1).stream("demo"), Shape(calls=3, processes=2))
    >>> sum(op.type == "invoke" for op in history)
    3
"""

from __future__ import annotations

from typing import Any

import msgspec

from splitbrain.checkers.linearizable.model import make_model
from splitbrain.env.random import Stream
from splitbrain.history.history import History
from splitbrain.history.op import Op, OpType

__all__ = ["Shape", "broken", "synthetic"]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a synthetic history looks like.

    Attributes:
        calls: number of operations.
        processes: how many at once.
        keys: over how many independent keys.
        functions: of a kv model, repeated for more weight.
        values: how many distinct values are written; 0 for a new one each time.
        crash: share of operations whose outcome stays unknown.
        refuse: share of operations that certainly do not happen.
        observe: whether a failed cas tells the value that it saw.
        step_ns: time between events.
    """

    calls: int = 100
    processes: int = 5
    keys: int = 1
    functions: tuple[str, ...] = ("read", "write")
    values: int = 0
    crash: float = 0.0
    refuse: float = 0.0
    observe: bool = False
    step_ns: int = 1_000_000


class _Running(msgspec.Struct):
    """An operation between its invocation and its completion."""

    invoke: Op
    fate: str
    completion: Op | None = None


def synthetic(stream: Stream, shape: Shape) -> History:
    """A linearizable history of that shape."""
    model = make_model("kv")
    states: dict[Any, Any] = {}
    ops: list[Op] = []
    running: dict[int, _Running] = {}
    late: list[_Running] = []
    process_of = list(range(shape.processes))
    begun = 0
    fresh = 0

    def emit(op: Op) -> Op:
        op = msgspec.structs.replace(op, index=len(ops), time_ns=len(ops) * shape.step_ns)
        ops.append(op)
        return op

    while begun < shape.calls or running:
        if late and stream.random() < 0.05:
            _take_effect(late.pop(stream.randrange(len(late))), model, states, shape)
        worker = stream.randrange(shape.processes)
        process = process_of[worker]
        run = running.get(process)
        if run is None:
            if begun < shape.calls:
                fresh += 1
                invoke = emit(_invocation(stream, shape, process, fresh))
                running[process] = _Running(invoke, _fate(stream, shape))
                begun += 1
        elif run.completion is None:
            run.completion = _take_effect(run, model, states, shape)
        else:
            emit(run.completion)
            del running[process]
            if run.completion.type == "info":
                process_of[worker] += shape.processes
            if run.fate == "crash-late":
                run.fate = "crash-after"
                late.append(run)
    return History(ops)


def broken(stream: Stream, history: History) -> History:
    """The same history, but one ok read returned what some other write had written.

    Whether that is still linearizable is for a checker to say; often it is not.
    """
    reads = [op.index for op in history if op.type == "ok" and op.f == "read"]
    values = sorted({op.value for op in history if op.f == "write"}, key=repr)
    if not reads or not values:
        return history
    victim = stream.choice(reads)
    value = stream.choice([*values, None, 999_999])
    return History(
        msgspec.structs.replace(op, value=value) if op.index == victim else op for op in history
    )


def _invocation(stream: Stream, shape: Shape, process: int, fresh: int) -> Op:
    f = stream.choice(shape.functions)
    key = f"k{stream.randrange(shape.keys)}"

    def value() -> int:
        return stream.randrange(shape.values) if shape.values else fresh

    argument: Any = None
    if f == "write":
        argument = value()
    elif f == "cas":
        argument = [stream.randrange(shape.values or max(1, fresh)), value()]
    elif f == "append":
        argument = f"{value()},"
    return Op(process=process, type="invoke", f=f, key=key, value=argument)


def _fate(stream: Stream, shape: Shape) -> str:
    draw = stream.random()
    if draw < shape.crash:
        return stream.choice(("crash-before", "crash-after", "crash-late"))
    return "refused" if draw < shape.crash + shape.refuse else "done"


def _take_effect(run: _Running, model: Any, states: dict[Any, Any], shape: Shape) -> Op:
    """Act on the object, as far as the operation's fate lets it; the completion to come."""
    invoke = run.invoke
    state = states.get(invoke.key, model.init())
    completion: Op = msgspec.structs.replace(invoke, type="ok")

    def ended(kind: OpType, error: str, **ext: Any) -> Op:
        return msgspec.structs.replace(
            invoke, type=kind, error=error, ext={**ext} if ext else None
        )

    if run.fate in ("crash-before", "crash-late"):
        return ended("info", "timeout")
    if run.fate == "refused":
        return ended("fail", "no-leader")
    seen = None if state == model.init() else state
    if invoke.f == "read":
        completion = msgspec.structs.replace(invoke, type="ok", value=seen)
    else:
        after = model.step(state, model.action(invoke, None))
        if after is None:
            completion = (
                ended("fail", "cas-mismatch", observed=seen)
                if shape.observe
                else ended("fail", "cas-mismatch")
            )
        else:
            states[invoke.key] = after
    if run.fate == "crash-after":
        return ended("info", "timeout")
    return completion
