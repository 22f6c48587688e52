r"""Jepsen's and Knossos's histories in EDN, read so that nothing is lost.

A history is a vector or list of maps, or maps one after another:

    {:process 0, :type :invoke, :f :write, :value [7 3], :time 12000, :index 0}
    {:process :nemesis, :type :info, :f :start-partition, :value nil}

How a map becomes an op, and back, is told in ``edn_ops``; the writer is ``edn_write``.  Two laws hold:

- ``read_edn`` gives back each op of what ``write_edn`` wrote, in all its fields;
- ``write_edn`` gives back each map of what ``read_edn`` read, as the same EDN data, also if it was
  kept as JSON lines meanwhile.  What stands around the maps (one bracket, comments, blanks) is no
  part of a history and is not kept.

A file of another origin does not say whether its values are the tuples of ``jepsen.independent``
(a cas value looks the same), hence the flag ``independent``.

Files are read in pieces.  Most lines of Jepsen's are plain enough for one regular
expression (``edn_quick``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from splitbrain.errors import MalformedFile
from splitbrain.history.edn_data import EdnError, Keyword, plain
from splitbrain.history.edn_ops import op_of_value
from splitbrain.history.edn_quick import LINE, quick_op
from splitbrain.history.edn_reader import Reader, Token
from splitbrain.history.history import History, Mispaired
from splitbrain.history.op import Op

__all__ = [
    "EdnError",
    "Keyword",
    "parse_all",
    "read_edn",
]


def parse_all(text: str) -> list[Any]:
    r"""All values of a text, as the nearest JSON-able values.

    >>> parse_all('[:a "b\\n" nil #{2 1}] ; comment')
    [['a', 'b\n', None, [1, 2]]]

    Raises:
        EdnError: malformed; names the line.
    """
    return [plain(value) for value in Reader.of(text).values()]


# --- reading ------------------------------------------------------------------------------------


def read_edn(path: str | os.PathLike[str], *, independent: bool = False) -> History:
    """Read a Jepsen or Knossos history.

    Args:
        path: the file.
        independent: whether each client operation's value is ``[key value]``, although the file
            does not say so by ``:independent true``.

    Raises:
        MalformedFile: not EDN, a map that is no operation, or operations that are no history.
    """
    lines: list[int] = []
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            ops = list(_ops(Reader(file), lines, independent))
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MalformedFile(path, None, f"not UTF-8 text: {error.reason}") from error
    except EdnError as error:
        raise MalformedFile(path, error.line, error.problem) from error
    try:
        return History(ops)
    except Mispaired as error:
        raise MalformedFile(path, lines[error.position], error.problem) from error


def _ops(reader: Reader, lines: list[int], independent: bool) -> Iterator[Op]:
    """The ops one by one; ``lines`` gets the line of each.

    They are the text's values; the elements instead, if the first value is a vector or list.
    """
    token = reader.significant()
    closer: Token | None = None
    opened = reader.line
    if token is not None and token[0] == "open" and token[1] in ("[", "("):
        closer = ("close", "]" if token[1] == "[" else ")")
        token = reader.significant()
    while token is not None and token != closer:
        lines.append(reader.line)
        index = len(lines) - 1
        quick = None if independent else _quick(reader, token, index)
        if quick is not None:
            yield quick
        else:
            place = reader.line
            value = reader.value(token)
            yield op_of_value(value, index, place, independent=independent)
        token = reader.significant()
    if closer is not None and token is None:
        raise EdnError(opened, "the history's bracket is not closed")
    if closer is not None and reader.significant() is not None:
        raise EdnError(reader.line, "something follows the history's closing bracket")


def _quick(reader: Reader, token: Token, index: int) -> Op | None:
    if token != ("open", "{"):
        return None
    text = reader.ahead(LINE)
    op = None if text is None else quick_op(text, index)
    if text is not None and op is not None:
        reader.skip(text)
    return op
