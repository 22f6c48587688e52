"""The short way from a line of EDN to an op, for lines as Jepsen and splitbrain write them.

Parsing token by token costs some 150 microseconds a line; nearly all lines of a long history are
plain enough for two regular expressions, which cost a tenth.  A line is taken only if all of it was
understood and its words stand in their one form, so that a mark, where one is due, can hold them as
they are; ``quick_op`` gives None for any other, and the caller goes the long way.  Both ways give the
same op.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

import msgspec

from splitbrain.history.edn_ops import MARK, OWN, value_text
from splitbrain.history.op import NEMESIS, Op, OpType

__all__ = ["LINE", "quick_op"]

LINE: Final = re.compile(r'\{[^{}"\\;#()\n]*(?:"[^"\\\n]*"[^{}"\\;#()\n]*)*\}')
"""A map without maps, sets, lists, tags, comments or escapes."""

_FIELD: Final = re.compile(
    r""" :([A-Za-z][A-Za-z0-9_-]*)[ ]
         ( 0 | -?[1-9][0-9]{0,17} | nil | true | false | :[A-Za-z][A-Za-z0-9_-]*
         | "[^"\\\x00-\x1f\x7f]*" | \[[A-Za-z0-9_:\-\[\]\ "]*\] ) (?:,[ ]|\}$) """,
    re.VERBOSE,
)
_ODD: Final = re.compile(r"-0|[0-9]{19}")
"""In a vector: numbers that may stand in another form than the one they are written in."""
_KEYWORD: Final = re.compile(r":([A-Za-z][A-Za-z0-9_-]*)")
_WORDS: Final[dict[str, Any]] = {"nil": None, "true": True, "false": False}
_TYPES: Final = {f":{kind}": kind for kind in ("invoke", "ok", "fail", "info")}
_REST: Final = OWN - {"index", "time", "type", "process", "f", "value"}
_DECODE: Final = msgspec.json.Decoder().decode
_UNKNOWN: Final = object()


def quick_op(text: str, index: int) -> Op | None:
    """The op of a line that ``LINE`` matched, if it is one of the plain ones."""
    found = _FIELD.findall(text)
    if "{" + ", ".join([f":{name} {value}" for name, value in found]) + "}" != text:
        return None
    fields = dict(found)
    if len(fields) != len(found) or fields.pop("index", "") != str(index):
        return None
    kind = _TYPES.get(fields.pop("type", ""))
    time_ns = _digits(fields.pop("time")) if "time" in fields else -1
    process = fields.pop("process", "")
    number = NEMESIS if process == ":nemesis" else _digits(process)
    f, words = fields.pop("f", ""), fields.pop("value", None)
    if kind is None or f[:1] != ":" or words is None or number is None or time_ns is None:
        return None
    value = _value(words)
    as_written = None if value is _UNKNOWN else _as_written(words, value, f)
    if as_written is None or (number == NEMESIS and kind != "info"):
        return None
    op = Op(
        index=index,
        time_ns=time_ns,
        process=number,
        type=cast(OpType, kind),
        f=f[1:],
        value=value,
        ext=None if as_written else {MARK: {":value": words}},
    )
    return _completed(op, fields) if fields else op


def _digits(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _value(text: str) -> Any:
    if text[0] == "[":
        return _vector(text)
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == '"':
        return text[1:-1]
    return text[1:] if text[0] == ":" else int(text)


def _vector(text: str) -> Any:
    """By way of JSON, which refuses what is not balanced or not single words and blanks."""
    if _ODD.search(text):
        return _UNKNOWN
    words = '"'.join(_KEYWORD.split(text)) if ":" in text else text
    try:
        return _DECODE(words.replace(" ", ",").replace("nil", "null"))
    except msgspec.DecodeError:
        return _UNKNOWN


def _as_written(text: str, value: Any, f: str) -> bool | None:
    """Whether the value would be written as this text; None if that is not told so quickly.

    Keywords are written as the functions of micro-operations, and nowhere else.
    """
    if text[0] != "[":
        return text[0] != ":"
    if '"' in text:
        return value_text(value, txn=f == ":txn") == text or None
    if f != ":txn":
        return ":" not in text
    heads = [1 for micro in value if type(micro) is list and micro and type(micro[0]) is str]
    return text.count(":") == len(heads)


def _completed(op: Op, fields: dict[str, str]) -> Op | None:
    """The op with its error, node, key and free fields."""
    error, node = fields.pop("error", None), fields.pop("node", None)
    key, value = None, op.value
    if "independent" in fields:
        if fields.pop("independent") != "true" or op.process == NEMESIS:
            return None
        if op.f == "txn" or op.ext is not None or type(value) is not list or len(value) != 2:
            return None
        if value[0] is None:
            return None
        key, value = value
    if (error is not None and error[0] != ":") or (node is not None and node[0] != '"'):
        return None
    if not _REST.isdisjoint(fields) or any(text[0] in ":[" for text in fields.values()):
        return None
    ext = {**{name: _value(text) for name, text in fields.items()}, **(op.ext or {})}
    return msgspec.structs.replace(
        op,
        key=key,
        value=value,
        node=None if node is None else node[1:-1],
        error=None if error is None else error[1:],
        ext=ext or None,
    )
