"""What plug-ins return is checked, and all that is wrong is told at once.

A client that answers for another process, or a generator that uses a busy one, would make a history
that no checker can trust.  Each check is a few comparisons when all is well; only a failure pays
for the words.
"""

from __future__ import annotations

from typing import Any

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.contracts.workload import Client
from splitbrain.errors import HarnessError
from splitbrain.history.op import NEMESIS, Op

__all__ = [
    "check_client",
    "check_client_answer",
    "check_emitted",
    "check_nemesis_answer",
    "check_offer",
    "told",
]

_CLIENT_TYPES = ("ok", "fail", "info")
_CLIENT_METHODS = ("open", "setup", "invoke", "teardown", "close")


def check_offer(offer: Any, generator: Any, ctx: Context) -> None:
    """What ``Generator.op`` gave must be an Emit of a sound operation, PENDING or None."""
    if offer is None or offer is PENDING:
        return
    if not isinstance(offer, Emit) or not isinstance(offer.op, Op):
        raise HarnessError(
            f"generator {_short(generator)} gave {_short(offer)}; "
            f"it must give Emit(op, next), PENDING or None"
        )
    check_emitted(offer.op, generator, ctx)


def check_emitted(op: Op, generator: Any, ctx: Context) -> None:
    """An operation from a generator: a free process, a time, a type, a name."""
    process = op.process
    if (
        type(process) is int
        and process >= -1
        and (ctx.free_mask >> (ctx.thread(process) + 1)) & 1
        and ctx.process(ctx.thread(process)) == process
        and (op.type == "invoke" or (op.type == "info" and process == NEMESIS))
        and type(op.f) is str
        and type(op.time_ns) is int
    ):
        return
    raise HarnessError(
        f"generator {_short(generator)} gave {_short(op)}: {'; '.join(_emit_problems(op, ctx))}"
    )


def _emit_problems(op: Op, ctx: Context) -> list[str]:
    problems = []
    process = op.process
    if type(process) is not int or process < NEMESIS:
        problems.append(f"process should be an integer >= -1, was {process!r}")
    else:
        thread = ctx.thread(process)
        if not (ctx.mask >> (thread + 1)) & 1:
            problems.append(f"process {process} belongs to no thread of this test")
        elif ctx.process(thread) != process:
            problems.append(f"process should be {ctx.process(thread)}, was {process}")
        elif not (ctx.free_mask >> (thread + 1)) & 1:
            problems.append(f"process {process} is busy, free are {list(ctx.free_threads)}")
    if op.type != "invoke" and not (op.type == "info" and process == NEMESIS):
        problems.append(f"type should be invoke, was {op.type!r}")
    if type(op.f) is not str:
        problems.append(f"f should be a string, was {op.f!r}")
    if type(op.time_ns) is not int:
        problems.append(f"time_ns should be an integer, was {op.time_ns!r}")
    return problems


def check_client_answer(invocation: Op, answer: Any) -> Op:
    """A client's completion: same process, f and key, and one of the three types."""
    if (
        type(answer) is Op
        and answer.process == invocation.process
        and answer.f == invocation.f
        and answer.key == invocation.key
        and answer.type in _CLIENT_TYPES
    ):
        return answer
    raise _wrong("client", invocation, answer, _CLIENT_TYPES)


def check_nemesis_answer(invocation: Op, answer: Any) -> Op:
    """A nemesis's completion: process -1, the same f, type info."""
    if (
        type(answer) is Op
        and answer.process == NEMESIS
        and answer.f == invocation.f
        and answer.key == invocation.key
        and answer.type == "info"
    ):
        return answer
    raise _wrong("nemesis", invocation, answer, ("info",))


def _wrong(who: str, invocation: Op, answer: Any, types: tuple[str, ...]) -> HarnessError:
    if not isinstance(answer, Op):
        problems = [f"an Op should be returned, was {type(answer).__name__}"]
    else:
        problems = [
            f"{name} should stay {getattr(invocation, name)!r}, was {getattr(answer, name)!r}"
            for name in ("process", "f", "key")
            if getattr(answer, name) != getattr(invocation, name)
        ]
        if answer.type not in types:
            problems.append(f"type should be {' or '.join(types)}, was {answer.type!r}")
    return HarnessError(
        f"{who} broke its contract: {'; '.join(problems)}; "
        f"invocation {_short(invocation)}, completion {_short(answer)}"
    )


def _short(value: Any, limit: int = 300) -> str:
    """At most ``limit`` characters of a repr, on one line."""
    if isinstance(value, Op):
        fields = {
            name: getattr(value, name)
            for name in ("time_ns", "process", "type", "f", "key", "value", "error")
            if getattr(value, name) is not None
        }
        text = f"Op({', '.join(f'{name}={field!r}' for name, field in fields.items())})"
    else:
        text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def check_client(opened: Any, client: Any, node: str) -> Client:
    """What ``Client.open`` gave must be a client."""
    missing = [name for name in _CLIENT_METHODS if not hasattr(opened, name)]
    if missing:
        raise HarnessError(
            f"{type(client).__name__}.open({node!r}) gave {_short(opened)}, which lacks "
            f"{', '.join(missing)}; it must return a client"
        )
    checked: Client = opened
    return checked


def told(
    generator: Generator, ctx: Context, doing: str, event: Op | None, exc: Exception
) -> HarnessError:
    """An exception of a generator, with what it was asked: generator, context and event."""
    about = "" if event is None else f" at event {_short(event)}"
    return HarnessError(
        f"generator failed in {doing}{about}, time {ctx.time_ns} ns, free threads "
        f"{list(ctx.free_threads)}: {type(exc).__name__}: {exc}; generator {_short(generator)}"
    )
