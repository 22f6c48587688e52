r"""EDN, Clojure's data notation, and Jepsen's histories in it: read and written.

A history is a vector or list of maps, or maps one after another:

    {:process 0, :type :invoke, :f :write, :value [7 3], :time 12000, :index 0}
    {:process :nemesis, :type :info, :f :start-partition, :value nil}

Values become JSON-able ones: nil None, vectors, lists and sets lists (sets sorted), keywords and
symbols strings, maps dictionaries with string keys, ``#tag value`` the value alone (so
``#jepsen.history.Op{...}`` is its map and ``#inst "..."`` a string).

Jepsen's ``independent`` wraps the value of each operation as ``[key value]``.  Only the reader knows
whether that was so (a cas value looks the same), hence the flag ``independent``.

``write_edn`` writes keys that way round: ``:key`` as a field of its own, and ``:node``, ``:ext`` as
our own fields; with ``independent=True`` as Jepsen does.  What it wrote, ``read_edn`` reads back to
an equal history (keywords and strings inside values excepted: we write strings as strings).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from splitbrain.errors import MalformedFile
from splitbrain.history.history import History, Mispaired
from splitbrain.history.op import NEMESIS, Op, OpType

__all__ = ["EdnError", "Keyword", "parse_all", "read_edn", "to_edn", "write_edn"]


class Keyword(str):
    """``:name``, as the string ``name``; equal to that string."""

    __slots__ = ()


class EdnError(ValueError):
    """Text that is not EDN; ``line`` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class Located(msgspec.Struct, frozen=True):
    """A top-level value, or element of the one top-level collection, and its line."""

    line: int
    value: Any


# --- reading values -----------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>    (?:[\s,]+|;[^\n]*)+ )
    | (?P<string>  "(?:[^"\\]|\\.)*" )
    | (?P<open>    \#\{|[\[({] )
    | (?P<close>   [\])}] )
    | (?P<discard> \#_ )
    | (?P<tag>     \#[A-Za-z][^\s,;"()\[\]{}]* )
    | (?P<char>    \\(?:[A-Za-z]+|.) )
    | (?P<atom>    [^\s,;"()\[\]{}\\]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSERS: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_INTEGER: Final = re.compile(r"[+-]?\d+N?")
_FLOAT: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_CHARS: Final = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}
_WORDS: Final = {"nil": None, "true": True, "false": False}
_DEPTH_MAX: Final = 200


class _Parser:
    """Tokens with one look ahead, and the line that each stands on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._line = 1
        self.line = 1

    def next(self) -> tuple[str, str] | None:
        """Kind and text of the next token, whitespace and comments left out."""
        while self._place < len(self._text):
            match = _TOKEN.match(self._text, self._place)
            self.line = self._line
            if match is None:
                raise EdnError(self._line, "a string is not closed")
            self._place = match.end()
            text = match.group()
            self._line += text.count("\n")
            if match.lastgroup != "skip":
                return str(match.lastgroup), text
        self.line = self._line
        return None

    def value(self, token: tuple[str, str], depth: int) -> Any:
        """The value that begins with ``token``."""
        kind, text = token
        if depth > _DEPTH_MAX:
            raise EdnError(self.line, f"nested deeper than {_DEPTH_MAX}")
        if kind == "open":
            return self._collection(text, depth)
        if kind == "close":
            raise EdnError(self.line, f"unexpected {text}")
        if kind == "string":
            return _ESCAPE.sub(_unescape, text[1:-1])
        if kind == "char":
            return _CHARS.get(text[1:], text[1:])
        if kind == "tag":
            return self._following(text, depth)
        return self._atom(text)

    def _following(self, what: str, depth: int) -> Any:
        line = self.line
        token = self.significant(depth)
        if token is None:
            raise EdnError(line, f"nothing follows {what}")
        return self.value(token, depth + 1)

    def significant(self, depth: int = 0) -> tuple[str, str] | None:
        """The next token, ``#_ value`` left out."""
        token = self.next()
        while token is not None and token[0] == "discard":
            self._following("#_", depth + 1)
            token = self.next()
        return token

    def _collection(self, opener: str, depth: int) -> Any:
        line, closer = self.line, _CLOSERS[opener]
        items: list[Any] = []
        while True:
            token = self.significant(depth)
            if token is None:
                raise EdnError(line, f"{opener} is not closed")
            if token[0] == "close":
                if token[1] != closer:
                    raise EdnError(
                        self.line, f"{token[1]} closes {opener} opened on line {line}"
                    )
                break
            items.append(self.value(token, depth + 1))
        if opener == "{":
            return self._map(items, line)
        return sorted(items, key=repr) if opener == "#{" else items

    def _map(self, items: list[Any], line: int) -> dict[Any, Any]:
        if len(items) % 2:
            raise EdnError(line, "a map has a key without a value")
        pairs = zip(items[::2], items[1::2], strict=True)
        return {_map_key(key): value for key, value in pairs}

    def _atom(self, text: str) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if text.startswith(":"):
            return Keyword(text[1:])
        if _INTEGER.fullmatch(text):
            return int(text.rstrip("N"))
        if _FLOAT.fullmatch(text):
            return float(text.rstrip("M"))
        if text[0].isdigit():
            raise EdnError(self.line, f"not a number: {text[:40]}")
        return text


def _map_key(key: Any) -> str:
    """JSON has string keys only; a number keeps its digits."""
    return key if isinstance(key, str) else to_edn(key)


def _unescape(match: re.Match[str]) -> str:
    what = match.group(1)
    if len(what) == 5:
        return chr(int(what[1:], 16))
    return _ESCAPES.get(what, what)


def _parse_located(text: str) -> list[Located]:
    """Top-level values; the elements instead, if there is one value and it is a collection."""
    parser = _Parser(text)
    found: list[Located] = []
    token = parser.significant()
    if token is not None and token[0] == "open" and token[1] in ("[", "("):
        line, closer = parser.line, _CLOSERS[token[1]]
        while True:
            token = parser.significant()
            if token is None:
                raise EdnError(line, "the history's bracket is not closed")
            if token == ("close", closer):
                break
            place = parser.line
            found.append(Located(place, parser.value(token, 1)))
        token = parser.significant()
        if token is not None:
            raise EdnError(parser.line, "something follows the history's closing bracket")
        return found
    while token is not None:
        place = parser.line
        found.append(Located(place, parser.value(token, 1)))
        token = parser.significant()
    return found


def parse_all(text: str) -> list[Any]:
    r"""All values of a text, as JSON-able values (keywords as Keyword).

    >>> parse_all('[:a "b\\n" nil #{2 1}] ; comment')
    [['a', 'b\n', None, [1, 2]]]

    Raises:
        EdnError: malformed; names the line.
    """
    parser = _Parser(text)
    values: list[Any] = []
    while (token := parser.significant()) is not None:
        values.append(parser.value(token, 1))
    return values


# --- histories ----------------------------------------------------------------------------------


def read_edn(path: str | os.PathLike[str], *, independent: bool = False) -> History:
    """Read a Jepsen or Knossos history.

    Args:
        path: the file.
        independent: whether each client operation's value is ``[key value]``.

    Raises:
        MalformedFile: not EDN, a map that is no operation, or operations that are no history.
    """
    try:
        text = Path(path).read_bytes().decode()
        located = _parse_located(text)
        ops = [_op(item, independent) for item in located]
    except OSError as error:
        raise MalformedFile(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MalformedFile(path, None, f"not UTF-8 text: {error.reason}") from error
    except EdnError as error:
        raise MalformedFile(path, error.line, error.problem) from error
    try:
        return History(ops)
    except Mispaired as error:
        raise MalformedFile(path, located[error.position].line, error.problem) from error


def _op(item: Located, independent: bool) -> Op:
    fields = item.value
    if not isinstance(fields, dict):
        raise EdnError(item.line, "not an operation: expected a map with :process, :type, :f")
    for name in ("process", "type", "f"):
        if name not in fields:
            raise EdnError(item.line, f"the operation lacks :{name}")
    kind, process = fields["type"], fields["process"]
    if kind not in ("invoke", "ok", "fail", "info"):
        raise EdnError(item.line, f":type is :invoke, :ok, :fail or :info, not {kind!r}")
    if process == "nemesis":
        process = NEMESIS
    if not isinstance(process, int) or isinstance(process, bool):
        raise EdnError(item.line, f":process is a number or :nemesis, not {process!r}")
    if process == NEMESIS:
        kind = "info"
    key, value = fields.get("key"), plain(fields.get("value"))
    if independent and process != NEMESIS:
        if not isinstance(value, list) or len(value) != 2:
            raise EdnError(item.line, "the value is not [key value], as --independent says")
        key, value = value
    return Op(
        time_ns=_time(item, fields),
        process=process,
        type=cast(OpType, str(kind)),
        f=str(fields["f"]),
        key=plain(key),
        value=value,
        node=_string(fields.get("node")),
        error=_string(fields.get("error")),
        ext=plain(fields["ext"]) if isinstance(fields.get("ext"), dict) else None,
    )


def _time(item: Located, fields: Mapping[Any, Any]) -> int:
    time = fields.get("time", -1)
    if not isinstance(time, int) or isinstance(time, bool):
        raise EdnError(item.line, f":time is a number of nanoseconds, not {time!r}")
    return time


def _string(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return to_edn(value)


def plain(value: Any) -> Any:
    """Keywords made strings, all the way down."""
    if isinstance(value, Keyword):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value


# --- writing ------------------------------------------------------------------------------------


def to_edn(value: Any) -> str:
    r"""A JSON-able value as EDN.

    >>> to_edn({"a": [1, None, True, "x\ny"], "b": Keyword("k")})
    '{"a" [1 nil true "x\\ny"], "b" :k}'
    """
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, Keyword):
        return f":{value}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        pairs = (f"{to_edn(name)} {to_edn(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(to_edn(item) for item in value) + "]"
    if isinstance(value, set | frozenset):
        return "#{" + " ".join(sorted(to_edn(item) for item in value)) + "}"
    return repr(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for letter, character in _ESCAPES.items():
        escaped = escaped.replace(character, f"\\{letter}")
    return f'"{escaped}"'


def write_edn(
    path: str | os.PathLike[str], history: History, *, independent: bool = False
) -> None:
    """Write a history as maps, one a line, that Jepsen's tools and ``read_edn`` read."""
    Path(path).write_text("".join(f"{line}\n" for line in _lines(history, independent)))


def _lines(history: History, independent: bool) -> Iterator[str]:
    for op in history:
        nemesis = op.process == NEMESIS
        wrap = independent and not nemesis
        fields: dict[str, Any] = {
            "process": Keyword("nemesis") if nemesis else op.process,
            "type": Keyword(op.type),
            "f": Keyword(op.f),
            "value": [op.key, op.value] if wrap else op.value,
            "time": op.time_ns,
            "index": op.index,
        }
        if op.key is not None and not wrap:
            fields["key"] = op.key
        for name in ("node", "error", "ext"):
            if getattr(op, name) is not None:
                fields[name] = getattr(op, name)
        yield "{" + ", ".join(f":{name} {to_edn(item)}" for name, item in fields.items()) + "}"
