"""How the log file is cut into records, and how a damaged one is told from a torn one.

A record is a 12-byte header and a payload:

    magic 2 | type 1 | reserved 1 | length 4 | checksum 4 | payload

The checksum (CRC-32) covers the record's own place in the file, its type, its length and the
payload.  The place is in it so that bytes which happen to look like a record, say a log file stored
as somebody's value, are not taken for one.

Reading stops at the first thing that is not a valid record.  Two causes must be told apart, because
one is harmless and the other a loss of acknowledged data:

- A **torn tail**: the machine lost power while the last bytes were on their way.  They were never
  acknowledged; nothing valid can follow them.  They are cut off.
- A **corrupt middle**: a bit has rotted under records that were written long ago.  A valid record
  follows somewhere behind.  Cutting here would silently forget what was acknowledged, so the store
  must refuse to start (:class:`CorruptLog`).

The one case that no checksum can tell apart is damage to the very last record; it is taken for a
torn tail, as in every write-ahead log (RocksDB's kPointInTimeRecovery has the same gap).
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from splitbrain.errors import HostError

__all__ = ["HEADER_BYTES", "CorruptLog", "Record", "pack", "scan"]

MAGIC = b"\xb5\x1b"
_HEADER = struct.Struct("<2sBBII")
_SEALED = struct.Struct("<QBI")
HEADER_BYTES = _HEADER.size


class CorruptLog(HostError):
    """A log file is damaged in its middle: this store must not start, its data must be replaced."""

    def __init__(self, file: str, offset: int, problem: str) -> None:
        super().__init__(
            f"log file {file} is corrupt at byte {offset}: {problem}; acknowledged data may be "
            f"lost, so this store refuses to start: remove its data and let it join as a new one"
        )
        self.file = file
        self.offset = offset


class Record(NamedTuple):
    """One record as found in the file."""

    offset: int
    type: int
    payload: bytes


def _seal(offset: int, type_: int, payload: bytes | memoryview) -> int:
    return crc32(payload, crc32(_SEALED.pack(offset, type_, len(payload))))


def pack(offset: int, type_: int, payload: bytes) -> bytes:
    """The bytes of a record that will stand at ``offset``."""
    size = len(payload)
    seal = crc32(payload, crc32(_SEALED.pack(offset, type_, size)))  # as _seal: a hot place
    return _HEADER.pack(MAGIC, type_, 0, size, seal) + payload


def _record_at(view: memoryview, offset: int) -> Record | None:
    if len(view) - offset < HEADER_BYTES:
        return None
    magic, type_, reserved, length, seal = _HEADER.unpack_from(view, offset)
    start = offset + HEADER_BYTES
    if magic != MAGIC or reserved or length > len(view) - start:
        return None
    payload = view[start : start + length]
    if _seal(offset, type_, payload) != seal:
        return None
    return Record(offset, type_, bytes(payload))


def scan(file: str, data: bytes) -> tuple[list[Record], int]:
    """All records from the start, and the offset where the good part ends.

    Returns:
        The records, and ``len(data)`` or the offset of a torn tail to be cut off.

    Raises:
        CorruptLog: a valid record stands behind the first invalid one.

    Linear in the file's size, but for a damaged file: there each occurrence of the magic bytes
    behind the damage is tried.
    """
    view = memoryview(data)
    records: list[Record] = []
    offset = 0
    while offset < len(data):
        record = _record_at(view, offset)
        if record is None:
            break
        records.append(record)
        offset += HEADER_BYTES + len(record.payload)
    if offset < len(data):
        behind = data.find(MAGIC, offset + 1)
        while behind >= 0:
            if _record_at(view, behind) is not None:
                problem = f"no valid record here, but one at byte {behind}"
                raise CorruptLog(file, offset, problem)
            behind = data.find(MAGIC, behind + 1)
    return records, offset
