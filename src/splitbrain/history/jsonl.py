"""Histories as JSON lines: one op a line, written as it happens, readable after a crash.

A line is appended whole, by one ``write`` for a batch of lines, so whatever kills the writer leaves
a file that is a valid history but perhaps for its last line.  The reader therefore drops a last
line that lacks its newline, and says so; anything else that is malformed is an error with file,
line and field.

    {"index":0,"time_ns":1200,"process":0,"type":"invoke","f":"write","key":"x","value":3}

Attributes at their default (no key, no value, no error) are left out.  Equal ops give equal bytes:
mappings are written in sorted order.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from splitbrain.errors import HostError, MalformedFile
from splitbrain.history.history import History, Mispaired
from splitbrain.history.op import Op

__all__ = ["JsonlWriter", "decode_history", "encode_op", "read_history", "write_history"]

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_DECODER: Final = msgspec.json.Decoder(Op)

encode_op = _ENCODER.encode
"""One op (or any record) as JSON bytes, without newline; equal records give equal bytes."""


class JsonlWriter:
    """Appends records to a file, a JSON line each; nothing is on disk before ``flush``.

    ``write`` only collects; ``flush`` hands all that was collected to the operating system in one
    write, after which a SIGKILL of this process loses none of it.  Whoever holds the writer decides
    how often that is (the driver: at most every 10 ms).

    Args:
        path: created if absent; appended to otherwise.

    Raises:
        HostError: the file cannot be opened or written (no permission, disk full).
    """

    __slots__ = ("_buffer", "_fd", "_torn", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._buffer: list[bytes] = []
        self._torn = False
        try:
            self._fd = os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise _host_error(self.path, "open", error) from error

    def write(self, record: Any) -> None:
        """Collect one record (a struct, or a mapping) for the next flush."""
        self._buffer.append(_ENCODER.encode(record))

    def flush(self) -> None:
        """Hand every collected line to the operating system; nothing to do is harmless."""
        if self._torn:
            self._buffer = []  # behind a torn line nothing could be read
        if not self._buffer:
            return
        self._buffer.append(b"")
        data = memoryview(b"\n".join(self._buffer))
        self._buffer = []
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self._torn = True
            raise _host_error(self.path, "write", error) from error

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> JsonlWriter:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def write_history(path: str | os.PathLike[str], history: History) -> None:
    """Write a history to a new file, or over an old one."""
    lines = [_ENCODER.encode(op) for op in history]
    lines.append(b"")
    try:
        Path(path).write_bytes(b"\n".join(lines))
    except OSError as error:
        raise _host_error(Path(path), "write", error) from error


def read_history(path: str | os.PathLike[str]) -> tuple[History, tuple[str, ...]]:
    """Read a history, with notes on what was left out.

    Raises:
        MalformedFile: no such file, or a line that is no op, or ops that are no history.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    return decode_history(data, path)


def decode_history(
    data: bytes, path: str | os.PathLike[str]
) -> tuple[History, tuple[str, ...]]:
    """As ``read_history``, from the file's bytes; ``path`` is for messages."""
    notes: tuple[str, ...] = ()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        last = data.count(b"\n") + 1
        note = f"{path}:{last}: the last line has no newline and was dropped "
        notes = (note + f"({len(data) - end} bytes): the writer was cut short",)
    whole = data[:end]
    try:
        ops = _DECODER.decode_lines(whole)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _first_malformed(whole, path) from None
    try:
        return History(ops), notes
    except Mispaired as error:
        line = _line_of(whole, error.position)
        raise MalformedFile(path, line, error.problem) from error


def _first_malformed(data: bytes, path: str | os.PathLike[str]) -> MalformedFile:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            _DECODER.decode(line)
        except msgspec.ValidationError as error:
            return MalformedFile(path, number, f"not an operation: {_words(str(error))}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return MalformedFile(path, number, f"not JSON: {error}")
    return MalformedFile(path, None, "a record spans several lines; write one operation a line")


def _words(problem: str) -> str:
    """Put the field of msgspec's "... - at `$.type`" first."""
    text, _, where = problem.partition(" - at `$.")
    return f"field {where.rstrip('`')}: {text}" if where else text


def _line_of(data: bytes, position: int) -> int:
    """Line number of the op at ``position``, where blank lines do not count as ops."""
    seen = -1
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            seen += 1
            if seen == position:
                return number
    return 1


def _host_error(path: Path, verb: str, error: OSError) -> HostError:
    return HostError(
        f"{path}: cannot {verb}: {error.strerror}; choose another place with --store, "
        "or make room or permission there"
    )
