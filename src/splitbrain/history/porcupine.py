r"""Two text forms in which linearizability corpora are handed around.

**etcd log**: what a Jepsen test of etcd printed, one event a line; one register with compare-and-set:

    INFO  jepsen.util - 4	:invoke	:cas	[2 4]
    INFO  jepsen.util - 4	:fail	:cas	[2 4]

A value is nil, an integer, ``[old new]``, or ``:timed-out``.  A cas that failed had seen a mismatch:
its completion gets ``ext`` {"mismatch": true}.  A read that timed out is a fail and says nothing; a
write or cas that timed out is an info.

**kv text**: one map a line; a string per key, "" at first, with ``get``, ``put`` and ``append``:

    {:process 2, :type :invoke, :f :append, :key "1", :value "x 2 0 y"}

Neither has times; lines that are neither event nor blank are an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

from splitbrain.errors import MalformedFile
from splitbrain.history.edn import EdnError, Keyword, parse_all
from splitbrain.history.history import History, Mispaired
from splitbrain.history.op import Op, OpType

__all__ = ["ETCD_LINE", "history_of_lines", "read_etcd_log", "read_kv_text", "read_text"]

ETCD_LINE: Final = re.compile(
    r"INFO\s+jepsen\.util - (\d+)\s+:(invoke|ok|fail|info)\s+:(\w+)\s+(.*\S)\s*"
)
TIMED_OUT: Final = ":timed-out"


def read_text(path: str | os.PathLike[str]) -> str:
    """A file's text.

    Raises:
        MalformedFile: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MalformedFile(path, None, f"not UTF-8 text: {error.reason}") from error


def read_etcd_log(path: str | os.PathLike[str]) -> History:
    """Read an etcd log (see the module).

    Raises:
        MalformedFile: a line that is no event, or events that are no history.
    """
    return history_of_lines(path, read_text(path), _etcd_op)


def read_kv_text(path: str | os.PathLike[str]) -> History:
    """Read kv text (see the module).

    Raises:
        MalformedFile: a line that is no event, or events that are no history.
    """
    return history_of_lines(path, read_text(path), _kv_op)


def history_of_lines(
    path: str | os.PathLike[str], text: str, parse: Callable[[str], Op]
) -> History:
    """A history from one event per line; ``parse`` raises ValueError on a line that is none."""
    numbers: list[int] = []

    def ops() -> Iterator[Op]:
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                op = parse(line)
            except ValueError as error:
                raise MalformedFile(path, number, str(error)) from None
            numbers.append(number)
            yield op

    try:
        return History(ops())
    except Mispaired as error:
        raise MalformedFile(path, numbers[error.position], error.problem) from error


def _etcd_op(line: str) -> Op:
    match = ETCD_LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError("not an event: expected 'INFO  jepsen.util - PROCESS :type :f VALUE'")
    process, kind, f, text = match.groups()
    op_type = cast(OpType, kind)
    if text == TIMED_OUT:
        return Op(process=int(process), type=op_type, f=f, error="timed-out")
    value = _value(text)
    if f == "cas" and not _is_pair(value):
        raise ValueError(f"the value of a cas is [old new], not {text}")
    ext = {"mismatch": True} if f == "cas" and op_type == "fail" else None
    return Op(process=int(process), type=op_type, f=f, value=value, ext=ext)


def _kv_op(line: str) -> Op:
    fields = _value(line)
    if not isinstance(fields, dict):
        raise ValueError("not an event: expected a map {:process ... :type ... :f ...}")
    try:
        kind, f = fields[Keyword("type")], fields[Keyword("f")]
        process = fields[Keyword("process")]
    except KeyError as error:
        raise ValueError(f"the event lacks {error.args[0]}") from None
    if kind not in ("invoke", "ok", "fail", "info"):
        raise ValueError(f":type is :invoke, :ok, :fail or :info, not {kind!r}")
    if not isinstance(process, int) or isinstance(process, bool):
        raise ValueError(f":process is a number, not {process!r}")
    return Op(
        process=process,
        type=cast(OpType, str(kind)),
        f=str(f),
        key=fields.get(Keyword("key")),
        value=fields.get(Keyword("value")),
    )


def _value(text: str) -> Any:
    try:
        values = parse_all(text)
    except EdnError as error:
        raise ValueError(error.problem) from None
    if len(values) != 1:
        raise ValueError(f"expected one value, found {len(values)}: {text[:60]}")
    return values[0]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2
