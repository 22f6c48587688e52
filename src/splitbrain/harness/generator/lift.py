"""Plain Python values as generators.

``None`` yields nothing; a mapping yields ONE operation, whose missing fields are filled in from the
context; a callable of ``()`` or ``(test, ctx)`` is called for ever, and each of its results (lifted
too) is played out before the next call; an iterable yields its elements (lifted too) one after the
other.  A list is copied, an iterator is read as far as it is needed and remembered, so that the
generator stays a value: asking it twice gives the same answer.

What is known only later comes as a :class:`Promise` (pending until it is kept) or by
:func:`lazily` (a function called once, when its turn has come).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Set
from operator import length_hint
from typing import Any, Final, Literal

import msgspec

from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.errors import HarnessError, whose
from splitbrain.harness.generator.checked import checked
from splitbrain.history.op import Op

__all__ = [
    "DONE",
    "PSEUDO",
    "Answer",
    "Concat",
    "Done",
    "Lazy",
    "One",
    "Promise",
    "concat",
    "elements_of",
    "lazily",
    "lift",
]

Answer = Emit | Literal[Pending.PENDING] | None
"""What ``Generator.op`` gives."""

PSEUDO = frozenset({"sleep", "log"})
"""Operations that the harness carries out itself and does not record."""

_FIELDS = frozenset(Op.__struct_fields__) - {"index"}
_TupleIterator = type(iter(()))
_EMPTY_LIMIT = 10_000
"""So many exhausted elements in a row are taken for a sequence that will never yield."""


class Done(msgspec.Struct, frozen=True):
    """The generator that is exhausted."""

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """Nothing, for ever."""
        return None

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Stays as it is."""
        return self


DONE: Final = Done()


class One(msgspec.Struct, frozen=True):
    """One operation, its missing fields filled in when it is asked for.

    A process of its own makes it wait for that process; a time of its own makes it wait till then.
    """

    f: str
    key: Any = None
    value: Any = None
    process: int | None = None
    time_ns: int = -1
    type: Literal["invoke", "ok", "fail", "info"] = "invoke"
    node: str | None = None
    ext: Mapping[str, Any] | None = None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The operation, for a free process drawn at random."""
        process = self.process
        if process is None:
            process = ctx.some_free_process()
            if process is None:
                return PENDING
        elif not (ctx.free_mask >> (ctx.thread(process) + 1)) & 1:
            return PENDING
        now = ctx.time_ns
        return Emit(
            Op(
                time_ns=max(self.time_ns, now),
                process=process,
                type=self.type,
                f=self.f,
                key=self.key,
                value=self.value,
                node=self.node,
                ext=self.ext,
            ),
            DONE,
        )

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Stays as it is."""
        return self


class Calls(msgspec.Struct, frozen=True):
    """A callable: called for ever, each result played out; None ends it."""

    function: Callable[..., Any]
    takes_context: bool

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The first operation of a fresh result.

        The function is not called while no thread is free: its draws and counters would be wasted.
        """
        if not ctx.free_mask:
            return PENDING
        for _ in range(_EMPTY_LIMIT):
            value = self.function(test, ctx) if self.takes_context else self.function()
            if value is None:
                return None
            answer = self._lifted(value).op(test, ctx)
            if answer is PENDING:
                return PENDING
            if answer is not None:
                following = answer.next
                return Emit(answer.op, self if following is DONE else _then(following, self))
        raise HarnessError(
            f"{whose(self.function)} gave {_EMPTY_LIMIT} generators in a row that yield nothing; "
            f"return None to end"
        )

    def _lifted(self, value: Any) -> Generator:
        try:
            return lift(value)
        except HarnessError as exc:
            raise HarnessError(f"what {whose(self.function)} gave: {exc}") from exc

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Stays as it is."""
        return self


class Lazy:
    """A sequence read from an iterator as far as needed, and remembered: a value from outside."""

    __slots__ = ("_head", "_iterator", "_tail")

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator: Iterator[Any] | None = iterator
        self._head: Any = None
        self._tail: Lazy | None = None

    @property
    def ended(self) -> bool:
        """True if nothing is left and that is known without reading on."""
        iterator = self._iterator
        if iterator is None:
            return self._tail is None
        return type(iterator) is _TupleIterator and length_hint(iterator) == 0

    def split(self) -> tuple[Any, Lazy] | None:
        """The first element and the rest; None if there is none."""
        iterator = self._iterator
        if iterator is not None:
            self._iterator = None
            try:
                self._head = next(iterator)
            except StopIteration:
                return None
            self._tail = Lazy(iterator)
        return None if self._tail is None else (self._head, self._tail)


class Concat(msgspec.Struct, frozen=True):
    """One generator, and then the elements of a sequence."""

    first: Generator
    rest: Lazy

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The next operation of the first generator that still has one."""
        first, rest = self.first, self.rest
        for _ in range(_EMPTY_LIMIT):
            answer = first.op(test, ctx)
            if answer is PENDING:
                return PENDING
            if answer is not None:
                # Without this a callable whose results hold several operations would nest for ever.
                following = answer.next
                return Emit(answer.op, following if rest.ended else Concat(following, rest))
            split = rest.split()
            if split is None:
                return None
            first, rest = lift(split[0]), split[1]
        raise HarnessError(
            f"a sequence gave {_EMPTY_LIMIT} generators in a row that yield nothing; end it instead"
        )

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Only the generator in front learns of events."""
        first = self.first.update(test, ctx, event)
        return self if first is self.first else Concat(first, self.rest)


class Promise:
    """A generator that is pending until ``keep`` says what it is.

    For what another part of the test finds out, such as the keys that were written: the final reads
    wait for it, and nothing else has to know of them.

    >>> from splitbrain.harness.generator import any_of, invocations, map
    >>> keys = Promise()
    >>> tell = lambda op: keys.keep({"f": "read", "key": op.key}) or op
    >>> [op.f for op in invocations(any_of(keys, map(tell, {"f": "write", "key": "x"})))]
    ['write', 'read']
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: Generator | None = None

    def keep(self, generator: Any) -> None:
        """Say what it is.

        Raises:
            HarnessError: it has been said already: what was asked since then would not hold.
        """
        if self._kept is not None:
            raise HarnessError(
                "a promise is kept once; make another Promise for what comes next"
            )
        self._kept = lift(generator)

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """Pending, or the operation of what it has become."""
        return PENDING if self._kept is None else self._kept.op(test, ctx)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """What it has become learns of it."""
        return self if self._kept is None else self._kept.update(test, ctx, event)


class Lazily:
    """A generator made by a function at the first question."""

    __slots__ = ("_function", "_made")

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._made: Generator | None = None

    def op(self, test: Mapping[str, Any], ctx: Context) -> Answer:
        """The operation of what the function gave."""
        if self._made is None:
            self._made = lift(self._function())
        return self._made.op(test, ctx)

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """What it has become learns of it."""
        return self if self._made is None else self._made.update(test, ctx, event)


def lazily(function: Callable[[], Any]) -> Generator:
    """What ``function()`` gives, called once, when its turn has come; played to its end.

    >>> from splitbrain.harness.generator import invocations, map, phases
    >>> seen = []
    >>> note = lambda op: seen.append(op.key) or op
    >>> final = lazily(lambda: [{"f": "read", "key": key} for key in seen])
    >>> gen = phases(map(note, [{"f": "write", "key": key} for key in "ab"]), final)
    >>> [(op.f, op.key) for op in invocations(gen)]
    [('write', 'a'), ('write', 'b'), ('read', 'a'), ('read', 'b')]
    """
    return Lazily(function)


def _then(first: Generator, second: Generator) -> Generator:
    return Concat(first, Lazy(iter((second,))))


def elements_of(elements: Iterable[Any]) -> Lazy:
    """The elements as a value: a list may change later, so it is copied; others are read lazily."""
    if isinstance(elements, Set):
        raise HarnessError(
            f"a set has no fixed order, so a run could not be repeated; give sorted(...) of "
            f"{elements!r}"
        )
    if isinstance(elements, MutableSequence):
        elements = tuple(elements)
    return Lazy(iter(elements))


def _sequence(elements: Iterable[Any]) -> Generator:
    split = elements_of(elements).split()
    return DONE if split is None else Concat(lift(split[0]), split[1])


def concat(*generators: Any) -> Generator:
    """All operations of the first generator, then all of the second, and so on.

    >>> from splitbrain.harness.generator import invocations
    >>> [op.f for op in invocations(concat({"f": "a"}, [{"f": "b"}, {"f": "c"}]))]
    ['a', 'b', 'c']
    """
    return _sequence(generators)


def _one(fields: Mapping[str, Any]) -> One:
    unknown = sorted(str(name) for name in fields if name not in _FIELDS)
    if unknown or not isinstance(fields.get("f"), str):
        what = f"unknown field {unknown[0]!r}" if unknown else "no field 'f' that is a string"
        raise HarnessError(
            f"operation {dict(fields)!r} has {what}; fields are {', '.join(sorted(_FIELDS))}"
        )
    return One(**fields)


def _calls(function: Callable[..., Any]) -> Calls:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return Calls(function, False)
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) not in (0, 2):
        raise HarnessError(
            f"{whose(function)} takes {len(needed)} arguments; "
            f"as a generator it must take none, or (test, ctx)"
        )
    return Calls(function, len(needed) == 2)


def lift(source: Any) -> Generator:
    """Make a generator of a plain value (see the module's text); a generator stays itself.

    >>> from splitbrain.harness.generator import invocations
    >>> ops = invocations([{"f": "write", "value": 1}, None, {"f": "read"}])
    >>> [(op.f, op.value) for op in ops]
    [('write', 1), ('read', None)]

    Raises:
        HarnessError: it cannot be made a generator.
    """
    if source is None:
        return DONE
    if isinstance(source, Mapping):
        return _one(source)
    if isinstance(source, Op):
        return One(
            source.f, source.key, source.value, source.process, source.time_ns,
            source.type, source.node, source.ext,
        )  # fmt: skip
    if hasattr(source, "op") and hasattr(source, "update"):
        return checked(source)
    if callable(source):
        return _calls(source)
    if isinstance(source, Iterable) and not isinstance(source, str | bytes):
        return _sequence(source)
    raise HarnessError(
        f"{source!r} cannot be made a generator; "
        f"give None, a mapping, a callable, an iterable or a generator"
    )
