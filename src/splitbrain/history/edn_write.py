"""Writes histories as Jepsen's EDN: one map a line, which Jepsen's tools read; nothing is lost.

    {:index 0, :time 1200, :type :invoke, :process 0, :f :write, :value ["x" 3], :independent true}

What each field becomes is told in ``edn_ops``, also what the mark of an op is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

from splitbrain.errors import HostError
from splitbrain.history.edn_ops import MARK, fields_of_op, op_of_value, unmarked
from splitbrain.history.edn_quick import LINE, quick_op
from splitbrain.history.edn_reader import Reader
from splitbrain.history.jsonl import encode_op
from splitbrain.history.op import Op

__all__ = ["line_of_op", "write_edn", "write_lines"]

_BATCH: Final = 4096


def line_of_op(op: Op) -> str:
    """The op as an EDN map on one line, without newline.

    >>> print(line_of_op(Op(index=3, process=-1, type="info", f="start-kill", value={"id": "k1"})))
    {:index 3, :type :info, :process :nemesis, :f :start-kill, :value {:id "k1"}}
    """
    if op.ext is not None and MARK in op.ext:
        marked = _marked_line(op, op.ext[MARK])
        if marked is not None:
            return marked
    return _joined(fields_of_op(op))


def _joined(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join([f"{name} {text}" for name, text in fields.items()]) + "}"


def _marked_line(op: Op, mark: object) -> str | None:
    """The line that the mark tells of; None if it is no mark, or no longer true of this op."""
    if not isinstance(mark, Mapping) or not all(
        isinstance(text, str) for text in mark.values()
    ):
        return None
    fields = fields_of_op(unmarked(op))
    for name, text in mark.items():
        if text:
            fields[name] = text
        else:
            fields.pop(name, None)
    tag = fields.pop("#", None)
    line = _joined(fields) if tag is None else f"#{tag} {_joined(fields)}"
    bare = mark.get(":independent") == ""
    try:
        again = _read_back(line, op.index, bare)
    except ValueError:
        return None
    return line if again is not None and encode_op(again) == encode_op(op) else None


def _read_back(line: str, index: int, bare: bool) -> Op | None:
    """The op of a line, if it is one line and one map."""
    if "\n" in line:
        return None
    quick = quick_op(line, index) if not bare and LINE.fullmatch(line) else None
    if quick is not None:
        return quick
    values = list(Reader.of(line).values())
    return op_of_value(values[0], index, 1, independent=bare) if len(values) == 1 else None


def write_edn(path: str | os.PathLike[str], history: Iterable[Op]) -> None:
    """Write a history to a new file, or over an old one.

    Raises:
        HostError: the file cannot be written.
    """
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            write_lines(file, history)
    except OSError as error:
        raise HostError(f"{path}: cannot write: {error.strerror}") from error


def write_lines(file: TextIO, history: Iterable[Op]) -> None:
    """As ``write_edn``, to an open file; some thousand lines are held at a time."""
    ops = iter(history)
    while batch := list(islice(ops, _BATCH)):
        file.write("".join([f"{line_of_op(op)}\n" for op in batch]))
