"""The state machine that the log feeds: keys and values, ordered by key.

It is deterministic: equal commands in equal order give equal states, equal outcomes and equal
snapshot bytes on every store.  A compare-and-swap is decided here, AT APPLY, when every store has
the same state before it; deciding it earlier, on the leader, would need a latch held until the
command is applied, and would be wrong on a leader that has been deposed without knowing.

    >>> state = KvState()
    >>> state.apply(Put(b"k", b"1")).succeed
    True
    >>> state.apply(Cas(b"k", b"2", b"3"))
    Outcome(succeed=False, previous=b'1')
    >>> state.apply(Cas(b"k", b"1", None)), state.get(b"k")
    (Outcome(succeed=True, previous=b'1'), None)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec
from sortedcontainers import SortedDict

__all__ = [
    "Cas",
    "Command",
    "Delete",
    "KvState",
    "Outcome",
    "Put",
    "decode_command",
    "encode_command",
]


class Put(msgspec.Struct, frozen=True, tag=1, array_like=True, gc=False):
    """Set one key."""

    key: bytes
    value: bytes


class Delete(msgspec.Struct, frozen=True, tag=2, array_like=True, gc=False):
    """Remove one key, if it is there."""

    key: bytes


class Cas(msgspec.Struct, frozen=True, tag=3, array_like=True, gc=False):
    """Set (None: remove) one key if its value is ``previous`` (None: if it is absent)."""

    key: bytes
    previous: bytes | None
    value: bytes | None


Command: TypeAlias = Put | Delete | Cas
"""What an entry of the log holds."""


class Outcome(NamedTuple):
    """What a command did; ``previous`` is told for Cas alone."""

    succeed: bool
    previous: bytes | None


DONE = Outcome(True, None)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Command)
_pairs = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...])


def encode_command(command: Command) -> bytes:
    """An entry's data."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """The command of ``encode_command``'s bytes."""
    command: Command = _decoder.decode(data)
    return command


class KvState:
    """All keys of the region, at one place in the log."""

    def __init__(self) -> None:
        self._values: SortedDict = SortedDict()

    def __len__(self) -> int:
        return len(self._values)

    def apply(self, command: Command) -> Outcome:
        """Do ``command``; constant time, but for a new or removed key (logarithmic)."""
        values = self._values
        if isinstance(command, Put):
            values[command.key] = command.value
            return DONE
        if isinstance(command, Delete):
            values.pop(command.key, None)
            return DONE
        previous = values.get(command.key)
        if previous != command.previous:
            return Outcome(False, previous)
        if command.value is None:
            values.pop(command.key, None)
        else:
            values[command.key] = command.value
        return Outcome(True, previous)

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        value: bytes | None = self._values.get(key)
        return value

    def scan(
        self, start: bytes, end: bytes = b"", *, limit: int, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Up to ``limit`` pairs of [start, end) in order; empty ``end``: no upper bound.

        With ``reverse``: of [end, start) downwards, and an empty ``start`` is above nothing.
        """
        low, high = (end, start) if reverse else (start, end or None)
        keys = self._values.irange(low, high, inclusive=(True, False), reverse=reverse)
        for _, key in zip(range(limit), keys, strict=False):
            yield key, self._values[key]

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return _encoder.encode(list(self._values.items()))

    def restore(self, data: bytes) -> None:
        """Become the state of ``snapshot``'s bytes; no bytes at all are the empty state."""
        self._values = SortedDict(_pairs.decode(data) if data else ())

    def digest(self) -> str:
        """A short hash of the state, by which replicas at the same log index are compared."""
        return hashlib.sha256(self.snapshot()).hexdigest()[:16]
