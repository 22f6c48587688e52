"""A small language in which one table says how a struct and a protobuf message correspond, both ways.

    >>> from splitbrain.cluster import messages as m
    >>> from splitbrain.cluster.messages.txn import Mutation, MutationKind
    >>> from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
    >>> shape = Shape(Mutation, kvrpcpb.Mutation, choice("kind", MutationKind, "op"), *same("key"))
    >>> wire = shape.to_wire(Mutation(MutationKind.DELETE, b"k"), NOBODY)
    >>> wire.op, wire.key
    (1, b'k')
    >>> shape.from_wire(wire, NOBODY)
    Mutation(kind=<MutationKind.DELETE: 1>, key=b'k', value=b'', assertion=<Assertion.NONE: 0>)

A :class:`Shape` is a struct's type, its message's class and a row of :class:`Field`; a
:class:`Codec` is a method: the shapes of its request and its answer.  Because a row serves both
directions, what one side writes the other side reads.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from splitbrain.cluster.rpc.names import Names

__all__ = [
    "NOBODY",
    "Codec",
    "Field",
    "Refused",
    "Shape",
    "choice",
    "constant",
    "custom",
    "many",
    "named",
    "part",
    "parts",
    "refuse",
    "same",
    "unread",
    "unwritten",
]

NOBODY = Names(())
"""Where no store is named."""


class Refused(Exception):
    """A message asks for something, or says something, that minitikv does not have."""


class Field(NamedTuple):
    """How one thing is told.

    Attributes:
        write: (struct, names) -> fields of the protobuf message.
        read: (protobuf message, names) -> fields of the struct; may raise Refused.
    """

    write: Callable[[Any, Names], Mapping[str, Any]]
    read: Callable[[Any, Names], Mapping[str, Any]]


def unwritten(_: Any, __: Names) -> Mapping[str, Any]:
    """``Field.write`` of what is never written."""
    return {}


def unread(_: Any, __: Names) -> Mapping[str, Any]:
    """``Field.read`` of what is never read."""
    return {}


class Shape:
    """A struct and its protobuf message.

    Args:
        kind: the struct's type.
        wire: the message's class.
        fields: how everything is told.
        failure: told instead of the fields, when there is one: it writes or reads nothing when
            nothing went wrong.
    """

    def __init__(
        self, kind: type[Any], wire: Any, *fields: Field, failure: Field | None = None
    ) -> None:
        self.kind = kind
        self.wire = wire
        self._writers = [field.write for field in fields if field.write is not unwritten]
        self._readers = [field.read for field in fields if field.read is not unread]
        self._failure = failure

    def to_wire(self, struct: Any, names: Names) -> Any:
        """The protobuf message that tells ``struct``."""
        if self._failure is not None and (told := self._failure.write(struct, names)):
            return self.wire(**told)
        said: dict[str, Any] = {}
        for write in self._writers:
            said.update(write(struct, names))
        return self.wire(**said)

    def from_wire(self, wire: Any, names: Names) -> Any:
        """The struct that ``wire`` tells.

        Raises:
            Refused: it tells what minitikv has no word for.
        """
        if self._failure is not None and (told := self._failure.read(wire, names)):
            return self.kind(**told)
        said: dict[str, Any] = {}
        for read in self._readers:
            said.update(read(wire, names))
        return self.kind(**said)


class Codec(NamedTuple):
    """One method of a service.

    Attributes:
        path: its full path.
        request: what is asked.
        answer: what is answered.
        batched: its name in a BatchCommands stream; empty: never sent there.
    """

    path: str
    request: Shape
    answer: Shape
    batched: str = ""


def same(*names: str) -> tuple[Field, ...]:
    """Plain values under the same names."""
    return tuple(named(name, name) for name in names)


def named(ours: str, theirs: str) -> Field:
    """A plain value under two names."""
    return Field(
        lambda struct, _: {theirs: getattr(struct, ours)},
        lambda wire, _: {ours: getattr(wire, theirs)},
    )


def many(ours: str, theirs: str = "") -> Field:
    """A tuple of plain values; a repeated field."""
    theirs = theirs or ours
    return Field(
        lambda struct, _: {theirs: getattr(struct, ours)},
        lambda wire, _: {ours: tuple(getattr(wire, theirs))},
    )


def choice(ours: str, kind: type[enum.IntEnum], theirs: str = "") -> Field:
    """One of an enumeration whose numbers are the wire's."""
    theirs = theirs or ours
    return Field(
        lambda struct, _: {theirs: int(getattr(struct, ours))},
        lambda wire, _: {ours: member(kind, getattr(wire, theirs))},
    )


def member(kind: type[enum.IntEnum], number: int) -> enum.IntEnum:
    """The member of a number.

    Raises:
        Refused: there is none.
    """
    try:
        return kind(number)
    except ValueError:
        raise Refused(f"minitikv has no {kind.__name__} number {number}") from None


def part(ours: str, shape: Shape, theirs: str = "", *, needed: bool = False) -> Field:
    """A struct in the struct, or the default in its place; ``needed``: there is no default."""
    theirs = theirs or ours

    def write(struct: Any, names: Names) -> Mapping[str, Any]:
        inner = getattr(struct, ours)
        return {} if inner is None else {theirs: shape.to_wire(inner, names)}

    def read(wire: Any, names: Names) -> Mapping[str, Any]:
        if not wire.HasField(theirs):
            if needed:
                raise Refused(f"a {type(wire).__name__} must have {theirs}")
            return {}
        return {ours: shape.from_wire(getattr(wire, theirs), names)}

    return Field(write, read)


def parts(ours: str, shape: Shape, theirs: str = "") -> Field:
    """A tuple of structs; a repeated message."""
    theirs = theirs or ours
    return Field(
        lambda struct, names: {
            theirs: [shape.to_wire(x, names) for x in getattr(struct, ours)]
        },
        lambda wire, names: {
            ours: tuple(shape.from_wire(x, names) for x in getattr(wire, theirs))
        },
    )


def constant(theirs: str, value: Any) -> Field:
    """Always written, never read."""
    return Field(lambda _, __: {theirs: value}, unread)


def refuse(theirs: str, reason: str) -> Field:
    """Never written; whoever sets it is refused."""

    def read(wire: Any, _: Names) -> Mapping[str, Any]:
        value = getattr(wire, theirs)
        if any(value) if hasattr(value, "append") else value:  # a repeated field, or one value
            raise Refused(reason)
        return {}

    return Field(unwritten, read)


def custom(
    write: Callable[[Any], Mapping[str, Any]], read: Callable[[Any], Mapping[str, Any]]
) -> Field:
    """What has a form of its own, and names no store."""
    return Field(lambda struct, _: write(struct), lambda wire, _: read(wire))
