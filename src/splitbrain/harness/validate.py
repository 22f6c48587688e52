"""What plug-ins return is checked, and all that is wrong is told at once, with whose fault it is.

A client that answers for another process, or a generator that uses a busy one, would make a history
that no checker can trust.  Each check is a few comparisons when all is well; only a failure pays
for the words.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from splitbrain.contracts.fault import Proof
from splitbrain.contracts.generator import PENDING, Context, Emit, Generator
from splitbrain.contracts.workload import Client
from splitbrain.errors import HarnessError, whose
from splitbrain.history.op import NEMESIS, Op
from splitbrain.history.writable import unwritable

__all__ = [
    "awaited",
    "check_client",
    "check_client_answer",
    "check_emitted",
    "check_nemesis_answer",
    "check_offer",
    "check_update",
    "proof_problems",
    "short",
    "told",
]

_CLIENT_TYPES = ("ok", "fail", "info")
_CLIENT_METHODS = ("open", "setup", "invoke", "teardown", "close")
_DEPTH = 12
_INSIDE = 100


# --- generators -----------------------------------------------------------------------------------


def check_offer(offer: Any, generator: Any, ctx: Context) -> None:
    """What ``Generator.op`` gave must be an Emit of a sound operation, PENDING or None.

    Sound: a free process of this test, type invoke, a name, a time (one that has passed means at
    once), a key and value that can be written as JSON; and what follows must be a generator.

    >>> from splitbrain.harness.generator import invocations, map
    >>> from msgspec.structs import replace
    >>> gen = map(lambda op: replace(op, process=7, type="ok"), {"f": "read"})
    >>> try:
    ...     invocations(gen, concurrency=2)
    ... except HarnessError as error:
    ...     print(str(error).split(": ", 1)[1])
    process should be 1, was 7; type should be invoke, was 'ok'
    """
    if offer is None or offer is PENDING:
        return
    if not isinstance(offer, Emit) or not isinstance(offer.op, Op):
        got = short(offer) if not isinstance(offer, Emit) else f"Emit of {short(offer.op)}"
        raise HarnessError(
            f"{_described(generator)} gave {got}; it must give Emit(op, next), PENDING or None, "
            "and op must be an Op"
        )
    if hasattr(offer.next, "op") and hasattr(offer.next, "update"):
        check_emitted(offer.op, generator, ctx)
        return
    problems = [
        *_emit_problems(offer.op, ctx),
        f"what follows is {short(offer.next)}, no generator",
    ]
    raise _bad_offer(offer.op, generator, problems)


def check_update(following: Any, generator: Any, event: Op) -> Generator:
    """What ``Generator.update`` gave must be a generator."""
    if hasattr(following, "op") and hasattr(following, "update"):
        checked: Generator = following
        return checked
    raise HarnessError(
        f"{_described(generator)} gave {short(following)} for what follows event {short(event)}; "
        "update must return a generator, such as self"
    )


def check_emitted(op: Op, generator: Any, ctx: Context) -> None:
    """An operation from a generator: a free process, a time, a type, a name, a value."""
    process = op.process
    if (
        type(process) is int
        and process >= -1
        and (ctx.free_mask >> (ctx.thread(process) + 1)) & 1
        and ctx.process(ctx.thread(process)) == process
        and (op.type == "invoke" or (op.type == "info" and process == NEMESIS))
        and type(op.f) is str
        and type(op.time_ns) is int
        and op.time_ns >= 0
        and unwritable("", (op.key, op.value, op.ext)) is None
    ):
        return
    raise _bad_offer(op, generator, _emit_problems(op, ctx))


def _bad_offer(op: Op, generator: Any, problems: list[str]) -> HarnessError:
    return HarnessError(f"{_described(generator)} gave {short(op)}: {'; '.join(problems)}")


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
    elif op.time_ns < 0:
        problems.append(f"time_ns should be 0 or more (now is {ctx.time_ns}), was {op.time_ns}")
    return [*problems, *_unwritable_parts(op, ("key", "value", "ext"))]


def _unwritable_parts(op: Op, names: tuple[str, ...]) -> list[str]:
    found = (unwritable(name, getattr(op, name)) for name in names)
    return [problem for problem in found if problem is not None]


def _described(generator: Any) -> str:
    """The parts of the generator that are not ours, and what they are inside of."""
    foreign = dict.fromkeys(text for text in _parts(generator, _DEPTH) if "(" in text)
    if not foreign:
        return f"generator {short(generator)}"
    inside = "" if whose(generator) in foreign else f" inside {short(generator, _INSIDE)}"
    return f"generator {', '.join(foreign)}{inside}"


def _parts(value: Any, depth: int) -> Iterator[str]:
    """Names of an object and of all that it holds, from the outside inwards."""
    if depth == 0 or value is None or isinstance(value, str | bytes | int | float | Op):
        return
    if isinstance(value, tuple | list):
        for each in value:
            yield from _parts(each, depth - 1)
        return
    yield whose(value)
    for name in getattr(type(value), "__struct_fields__", ()):
        yield from _parts(getattr(value, name), depth - 1)


def told(
    generator: Generator, ctx: Context, doing: str, event: Op | None, exc: Exception
) -> HarnessError:
    r"""An exception of a generator, with what it was asked: generator, context and event.

    >>> from splitbrain.harness.generator import invocations, map
    >>> try:
    ...     invocations(map(lambda op: op.valeu, {"f": "read"}))
    ... except HarnessError as error:
    ...     print(str(error).split("; ")[0].replace(": ", ":\n", 1))
    generator failed in op, time 0 ns, free threads [-1, 0, 1]:
    AttributeError: 'Op' object has no attribute 'valeu'
    """
    about = "" if event is None else f" at event {short(event)}"
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return HarnessError(
        f"generator failed in {doing}{about}, time {ctx.time_ns} ns, free threads "
        f"{list(ctx.free_threads)}: {type(exc).__name__}: {exc}; at {frame.filename}:{frame.lineno}; "
        f"{_described(generator)}"
    )


# --- clients --------------------------------------------------------------------------------------


def check_client(opened: Any, client: Any, node: str) -> Client:
    """What ``Client.open`` gave must be a client."""
    missing = [name for name in _CLIENT_METHODS if not hasattr(opened, name)]
    if missing:
        raise HarnessError(
            f"{whose(client)}.open({node!r}) gave {short(opened)}, which lacks "
            f"{', '.join(missing)}; it must return a client"
        )
    checked: Client = opened
    return checked


def awaited(answer: Any, plugin: Any, method: str) -> Any:
    """What a method gave must be awaitable: a plain ``def`` would else seem to fail each time."""
    if hasattr(answer, "__await__"):
        return answer
    raise HarnessError(
        f"{whose(plugin)}.{method} gave {short(answer)} where a coroutine is needed; "
        f"write it as async def {method}"
    )


def check_client_answer(invocation: Op, answer: Any, client: Any = None) -> Op:
    """A client's completion: same process, f and key, one of the three types, a value to write."""
    if (
        type(answer) is Op
        and answer.process == invocation.process
        and answer.f == invocation.f
        and answer.key == invocation.key
        and answer.type in _CLIENT_TYPES
        and answer.index in (-1, invocation.index)
        and answer.time_ns in (-1, invocation.time_ns)
        and (answer.error is None or type(answer.error) is str)
        and unwritable("", (answer.value, answer.ext)) is None
    ):
        return answer
    raise _wrong("client", client, invocation, _answer_problems(invocation, answer), answer)


def _answer_problems(
    invocation: Op, answer: Any, types: tuple[str, ...] = _CLIENT_TYPES
) -> list[str]:
    if not isinstance(answer, Op):
        return [f"an Op should be returned, was {type(answer).__name__}"]
    problems = [
        f"{name} should stay {getattr(invocation, name)!r}, was {getattr(answer, name)!r}"
        for name in ("process", "f", "key")
        if getattr(answer, name) != getattr(invocation, name)
    ]
    if answer.type not in types:
        problems.append(f"type should be {' or '.join(types)}, was {answer.type!r}")
    for name in ("index", "time_ns"):
        mine, was = getattr(answer, name), getattr(invocation, name)
        if mine not in (-1, was):
            problems.append(f"{name} is the harness's to set (leave it {was}), was {mine!r}")
    if answer.error is not None and not isinstance(answer.error, str):
        problems.append(f"error should be a string or None, was {answer.error!r}")
    if answer.ext is not None and not isinstance(answer.ext, Mapping):
        problems.append(f"ext should be a mapping or None, was {answer.ext!r}")
    return [*problems, *_unwritable_parts(answer, ("value", "ext"))]


# --- the nemesis ----------------------------------------------------------------------------------


def check_nemesis_answer(invocation: Op, answer: Any, nemesis: Any = None) -> Op:
    """A nemesis's completion: process -1, the same f, type info, the same id, sound proofs."""
    problems = _answer_problems(invocation, answer, ("info",))
    if isinstance(answer, Op) and not problems:
        problems = _value_problems(invocation.value, answer.value)
    if problems:
        raise _wrong("nemesis", nemesis, invocation, problems, answer)
    checked: Op = answer
    return checked


def _value_problems(asked: Any, value: Any) -> list[str]:
    """What is wrong with a completion's {"id", "fault", "targets", "parameters", "proof"}."""
    if not isinstance(asked, Mapping) or "id" not in asked:
        return []
    if not isinstance(value, Mapping):
        return [f"value should be a mapping with the id {asked['id']!r}, was {short(value)}"]
    problems = [
        f"value's {name} should stay {asked[name]!r}, was {value.get(name)!r}"
        for name in ("id", "fault")
        if name in asked and value.get(name) != asked[name]
    ]
    targets = value.get("targets", [])
    if not isinstance(targets, list | tuple) or not all(isinstance(t, str) for t in targets):
        problems.append(f"value's targets should be a list of names, was {short(targets)}")
    parameters = value.get("parameters", {})
    if not isinstance(parameters, Mapping):
        problems.append(f"value's parameters should be a mapping, was {short(parameters)}")
    proofs = value.get("proof", [])
    if not isinstance(proofs, list | tuple):
        return [*problems, f"value's proof should be a list, was {short(proofs)}"]
    return [*problems, *(p for proof in proofs for p in proof_problems(proof))]


def proof_problems(proof: Any) -> list[str]:
    """What is wrong with one observation: a ``Proof``, or the same as a JSON object.

    >>> proof_problems({"target": "n1", "effective": "yes"})
    ["proof {'target': 'n1', 'effective': 'yes'}: Expected `bool | null`, got `str` - at `$.effective`"]
    """
    try:
        plain = msgspec.to_builtins(proof)
        msgspec.convert(plain, Proof)
    except (msgspec.ValidationError, TypeError, ValueError) as exc:
        return [f"proof {short(proof)}: {exc}"]
    unknown = sorted(set(plain) - set(Proof.__struct_fields__))
    return [f"proof {short(proof)}: unknown field {unknown[0]!r}"] if unknown else []


# --- words ----------------------------------------------------------------------------------------


def _wrong(
    who: str, plugin: Any, invocation: Op, problems: list[str], answer: Any
) -> HarnessError:
    name = who if plugin is None else f"{who} {whose(plugin)}"
    return HarnessError(
        f"{name} broke its contract: {'; '.join(problems)}; "
        f"invocation {short(invocation)}, completion {short(answer)}"
    )


def short(value: Any, limit: int = 300) -> str:
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
