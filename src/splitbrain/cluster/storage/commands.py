"""What an entry of a region's log holds, and what it does to the region's state.

Execution is deterministic: equal commands in equal order give equal states, equal outcomes and equal
snapshot bytes on every store.  A raw compare-and-swap is decided here, AT APPLY, when every store has
the same state before it.  A transaction's command was decided before it was proposed, under latches,
and is a plain batch.

Each command carries the ``version`` of the region for which it was proposed; whoever applies it
compares it with the region's, see ``store.applier``.

    >>> state = Columns()
    >>> execute(state, Put(b"k", b"1")).succeed
    True
    >>> execute(state, Cas(b"k", b"2", b"3"))
    Outcome(succeed=False, previous=b'1')
    >>> execute(state, Cas(b"k", b"1", None)), state.get(Column.RAW, b"k")
    (Outcome(succeed=True, previous=b'1'), None)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from splitbrain.cluster.messages.pd_types import SplitIds
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.storage.columns import Column, Columns

__all__ = [
    "Batch",
    "Cas",
    "Command",
    "ComputeHash",
    "DataCommand",
    "Delete",
    "DeleteRange",
    "Outcome",
    "Put",
    "Split",
    "decode_command",
    "encode_command",
    "execute",
    "outside",
    "raw_pairs",
]

RAW = Column.RAW


class Put(msgspec.Struct, frozen=True, tag=1, array_like=True, gc=False):
    """Set one key."""

    key: bytes
    value: bytes
    version: int = 1


class Delete(msgspec.Struct, frozen=True, tag=2, array_like=True, gc=False):
    """Remove one key, if it is there."""

    key: bytes
    version: int = 1


class Cas(msgspec.Struct, frozen=True, tag=3, array_like=True, gc=False):
    """Set (None: remove) one key if its value is ``previous`` (None: if it is absent)."""

    key: bytes
    previous: bytes | None
    value: bytes | None
    version: int = 1


class Batch(msgspec.Struct, frozen=True, tag=4, array_like=True, gc=False):
    """Set (None: remove) stored keys, all of them."""

    writes: tuple[tuple[Column, bytes, bytes | None], ...]
    version: int = 1


class DeleteRange(msgspec.Struct, frozen=True, tag=5, array_like=True, gc=False):
    """Remove all raw keys of [start, end); empty ``end``: to the region's."""

    start: bytes
    end: bytes
    version: int = 1


class Split(msgspec.Struct, frozen=True, tag=6, array_like=True):
    """Cut the region at ``keys``, ascending: new regions to the left, the old one keeps the rest.

    Attributes:
        keys: the end of each new region.
        ids: of each new region, and of its peers.
        version: of the region.
        conf_version: likewise.
    """

    keys: tuple[bytes, ...]
    ids: tuple[SplitIds, ...]
    version: int = 1
    conf_version: int = 1


class ComputeHash(msgspec.Struct, frozen=True, tag=7, array_like=True):
    """Every replica hashes its state as it is at this entry; the state stays as it is.

    ``safe_point``: what is garbage by it is left out, as some replicas may have collected it.
    """

    safe_point: int = 0


DataCommand: TypeAlias = Put | Delete | Cas | Batch | DeleteRange
Command: TypeAlias = DataCommand | Split | ComputeHash
"""What an entry of the log holds."""


class Outcome(NamedTuple):
    """What a command did; ``previous`` is told for Cas alone."""

    succeed: bool
    previous: bytes | None


DONE = Outcome(True, None)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """An entry's data."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """The command of ``encode_command``'s bytes."""
    command: Command = _decoder.decode(data)
    return command


def execute(state: Columns, command: DataCommand) -> Outcome:
    """Do ``command``; constant time for each key, but for a new or removed one (logarithmic)."""
    if isinstance(command, Put):
        state.put(RAW, command.key, command.value)
        return DONE
    if isinstance(command, Delete):
        state.apply(((RAW, command.key, None),))
        return DONE
    if isinstance(command, Batch):
        state.apply(command.writes)
        return DONE
    if isinstance(command, DeleteRange):
        keys = [key for key, _ in state.scan(RAW, command.start, command.end)]
        state.apply([(RAW, key, None) for key in keys])
        return DONE
    previous = state.get(RAW, command.key)
    if previous != command.previous:
        return Outcome(False, previous)
    state.apply(((RAW, command.key, command.value),))
    return Outcome(True, previous)


def outside(command: DataCommand, region: Region) -> bytes | None:
    """The first key of ``command`` that is not in ``region``; None: all are."""
    if isinstance(command, Put):
        return None if region.covers(command.key) else command.key
    if isinstance(command, Batch):
        return next((key for _, key, _ in command.writes if not region.covers(key)), None)
    if isinstance(command, DeleteRange):
        if region.end and (not command.end or command.end > region.end):
            return command.end
        return None if region.covers(command.start) else command.start
    return None if region.covers(command.key) else command.key


def raw_pairs(
    state: Columns, start: bytes, end: bytes, *, limit: int, reverse: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """Up to ``limit`` raw pairs of [start, end) in order; empty ``end``: no upper bound.

    With ``reverse``: of [end, start) downwards, and an empty ``start`` is above nothing.
    """
    if reverse and not start:
        return
    low, high = (end, start) if reverse else (start, end)
    pairs = state.scan(RAW, low, high, reverse=reverse)
    for _, pair in zip(range(limit), pairs, strict=False):
        yield pair
