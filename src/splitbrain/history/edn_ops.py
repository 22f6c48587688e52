"""One operation as one EDN map, and back, so that neither way loses anything.

**As Jepsen writes it.**  An op becomes the map that Jepsen's own tools expect:

    Op(index=4, time_ns=9, process=1, type="ok", f="read", key="x", value=3, ext={"term": 2})
    {:index 4, :time 9, :type :ok, :process 1, :f :read, :value ["x" 3], :independent true, :term 2}

- Process -1 is ``:nemesis``.  A key is joined with the value to the tuple of ``jepsen.independent``;
  ``:independent true``, which Jepsen passes over, tells our reader so.
- ``f`` is a keyword.  So is an error of one word; ``code: detail`` is ``[:code "detail"]``.
- Strings stay strings, but for the function of a micro-operation (``:append``, ``:r``) in the value of
  a ``txn``, and but for the keys of maps: keywords where they are names, numbers where they are digits.
- What is in ``ext`` becomes free keys of the map; what cannot, because its name is no keyword or is
  taken, stays in a map ``:ext``.

**What JSON cannot say.**  A file of another origin may hold more: a value of keywords, a set, ``7N``,
no ``:index``.  The op then has the nearest JSON-able values, which checkers read, and the mark
``ext["edn"]``: for each field that would be written otherwise, its EDN text, and the empty text for a
field that was not there ("#" holds the tag of the whole map):

    {:process 0, :type :ok, :f :read, :value #{:a}}
    Op(index=4, process=0, type="ok", f="read", value=["a"],
       ext={"edn": {":value": "#{:a}", ":index": ""}})

A mark outlives JSON lines.  It is obeyed only as long as it tells the truth: if the line made by it
does not read back as this very op, because somebody changed its value, it is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from splitbrain.history.edn_data import (
    EdnError,
    EdnMap,
    Keyword,
    Tagged,
    edn_text,
    plain,
    quoted,
)
from splitbrain.history.op import NEMESIS, Op, OpType

__all__ = ["MARK", "OWN", "fields_of_op", "op_of_value", "unmarked", "value_text"]

MARK: Final = "edn"
"""The entry of ``ext`` that holds what JSON cannot say."""

_NAME: Final = re.compile(r"[A-Za-z][\w*+!?<>=.-]*(?:/[A-Za-z][\w*+!?<>=.-]*)?", re.ASCII)
_DIGITS: Final = re.compile(r"-?[1-9]\d{0,17}|0", re.ASCII)
_CODED: Final = re.compile(r"([A-Za-z][\w*+!?<>=.-]*): (.+)", re.ASCII | re.DOTALL)
_TYPES: Final = {kind: f":{kind}" for kind in ("invoke", "ok", "fail", "info")}
OWN: Final = frozenset(
    {"index", "time", "type", "process", "f", "value", "key", "node", "error", "ext"}
    | {"independent", MARK}
)
"""Names of fields that are no free keys."""


# --- writing ------------------------------------------------------------------------------------


def fields_of_op(op: Op) -> dict[str, str]:
    """Key and text of each entry of the op's map in EDN; a mark is taken for a free field."""
    nemesis = op.process == NEMESIS
    fields = {":index": str(op.index)}
    if op.time_ns != -1:
        fields[":time"] = str(op.time_ns)
    fields[":type"] = _TYPES[op.type]
    fields[":process"] = ":nemesis" if nemesis else str(op.process)
    fields[":f"] = _name_text(op.f)
    value = value_text(op.value, txn=op.f == "txn")
    if op.key is None:
        fields[":value"] = value
    elif nemesis:
        fields[":value"], fields[":key"] = value, value_text(op.key)
    else:
        fields[":value"] = f"[{value_text(op.key)} {value}]"
        fields[":independent"] = "true"
    if op.error is not None:
        fields[":error"] = _error_text(op.error)
    if op.node is not None:
        fields[":node"] = quoted(op.node)
    if op.ext is not None:
        _add_ext(op.ext, fields)
    return fields


def _add_ext(ext: Mapping[str, Any], fields: dict[str, str]) -> None:
    kept = {}
    for name, value in ext.items():
        if name in OWN or not _NAME.fullmatch(name):
            kept[name] = value
        else:
            fields[f":{name}"] = value_text(value)
    if kept or not ext:
        fields[":ext"] = value_text(kept)


def value_text(value: Any, *, txn: bool = False) -> str:
    """A JSON-able value as EDN: strings as strings, keys of maps as Clojure writes them.

    Args:
        value: the value.
        txn: its elements are micro-operations, whose functions are keywords.

    >>> value_text({"from": 0, "to": "a", "1": None, "a b": [True]})
    '{:from 0, :to "a", 1 nil, "a b" [true]}'
    >>> value_text([["append", "x", 1]], txn=True)
    '[[:append "x" 1]]'
    """
    if txn and (type(value) is list or type(value) is tuple):
        return "[" + " ".join([_micro_text(micro) for micro in value]) + "]"
    if isinstance(value, Mapping):
        pairs = [f"{_key_text(key)} {value_text(item)}" for key, item in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if type(value) is list or type(value) is tuple:
        return "[" + " ".join([value_text(item) for item in value]) + "]"
    return edn_text(value)


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return key if _DIGITS.fullmatch(key) else _name_text(key)
    return edn_text(key)


def _name_text(name: str) -> str:
    return f":{name}" if _NAME.fullmatch(name) else quoted(name)


def _micro_text(micro: Any) -> str:
    if isinstance(micro, list | tuple) and micro and isinstance(micro[0], str):
        words = [_name_text(micro[0]), *[value_text(item) for item in micro[1:]]]
        return "[" + " ".join(words) + "]"
    return value_text(micro)


def _error_text(error: str) -> str:
    coded = _CODED.fullmatch(error)
    return f"[:{coded[1]} {quoted(coded[2])}]" if coded else _name_text(error)


def unmarked(op: Op) -> Op:
    """The op without its mark."""
    rest = {name: value for name, value in (op.ext or {}).items() if name != MARK}
    return msgspec.structs.replace(op, ext=rest or None)


# --- reading ------------------------------------------------------------------------------------


def op_of_value(value: Any, index: int, line: int, *, independent: bool = False) -> Op:
    """The op of a parsed map.

    Args:
        value: as ``Reader`` gives it.
        index: the op's position in its history.
        line: for messages.
        independent: the value of a client's operation is ``[key value]``, unless the map has an
            ``:independent`` of its own to say so.

    Raises:
        EdnError: a map that is no operation.
    """
    tag = value.tag if isinstance(value, Tagged) else None
    map_ = value.value if isinstance(value, Tagged) else value
    if not isinstance(map_, EdnMap):
        raise EdnError(line, "not an operation: expected a map with :process, :type, :f")
    fields = {str(key): item for key, item in map_.pairs if isinstance(key, Keyword)}
    for name in ("process", "type", "f"):
        if name not in fields:
            raise EdnError(line, f"the operation lacks :{name}")
    process = _process(fields["process"], line)
    found_key, found_value, unwrapped = _keyed(fields, process, line, independent)
    op = Op(
        index=index,
        time_ns=_time(fields, line),
        process=process,
        type=_type(fields["type"], process, line),
        f=_word(fields["f"]),
        key=found_key,
        value=found_value,
        node=_optional_word(fields.get("node")),
        error=_error(fields.get("error")),
        ext=_ext(map_, fields, unwrapped),
    )
    written = {edn_text(key): edn_text(item) for key, item in map_.pairs}
    return _with_mark(op, written, tag, bare=unwrapped and "independent" not in fields)


def _with_mark(op: Op, written: dict[str, str], tag: str | None, *, bare: bool) -> Op:
    """The op, marked if its line would not be written as it stood."""
    if tag is None and not bare and written == fields_of_op(op):
        return op
    rest = unmarked(op)
    default = fields_of_op(rest)
    mark = {name: text for name, text in written.items() if default.get(name) != text}
    mark |= dict.fromkeys((name for name in default if name not in written), "")
    if bare:
        mark[":independent"] = ""
    if tag is not None:
        mark["#"] = tag
    return msgspec.structs.replace(rest, ext={**(rest.ext or {}), MARK: mark})


def _process(found: Any, line: int) -> int:
    number = getattr(found, "plain", found)
    if isinstance(found, Keyword) and found == "nemesis":
        return NEMESIS
    if type(number) is not int:
        raise EdnError(line, f":process is a number or :nemesis, not {edn_text(found)[:40]}")
    return number


def _type(found: Any, process: int, line: int) -> OpType:
    if not isinstance(found, Keyword) or found not in _TYPES:
        words = edn_text(found)[:40]
        raise EdnError(line, f":type is :invoke, :ok, :fail or :info, not {words}")
    return "info" if process == NEMESIS else cast(OpType, str(found))


def _time(fields: Mapping[str, Any], line: int) -> int:
    found = fields.get("time", -1)
    number = getattr(found, "plain", found)
    if type(number) is not int:
        words = edn_text(found)[:40]
        raise EdnError(line, f":time is a whole number of nanoseconds, not {words}")
    return number


def _keyed(
    fields: Mapping[str, Any], process: int, line: int, independent: bool
) -> tuple[Any, Any, bool]:
    """Key, value, and whether they stood as a tuple."""
    value = fields.get("value")
    if "key" in fields:
        return plain(fields["key"]), plain(value), False
    pair = value if type(value) is list and len(value) == 2 else None
    said = fields.get("independent") is True and pair is not None
    asked = independent and "independent" not in fields
    if process == NEMESIS or not (asked or said):
        return None, plain(value), False
    if pair is None:
        raise EdnError(line, "the value is not [key value], as --independent says")
    return plain(pair[0]), plain(pair[1]), True


def _ext(map_: EdnMap, fields: Mapping[str, Any], unwrapped: bool) -> dict[str, Any] | None:
    """Free keys, and the entries of ``:ext``; None if there are neither."""
    inner = fields.get("ext")
    given: dict[str, Any] = plain(inner) if isinstance(inner, EdnMap) else {}
    for key, item in map_.pairs:
        if not isinstance(key, Keyword):
            given[edn_text(key)] = plain(item)
        elif key not in OWN or key == MARK:
            given[str(key)] = plain(item)
    if "ext" in fields and not isinstance(inner, EdnMap):
        given["ext"] = plain(inner)
    if "independent" in fields and not unwrapped:
        given["independent"] = plain(fields["independent"])
    return given if given or "ext" in fields else None


def _word(found: Any) -> str:
    return str(found) if isinstance(found, str) else edn_text(found)


def _optional_word(found: Any) -> str | None:
    return None if found is None else _word(found)


def _error(found: Any) -> str | None:
    if type(found) is list and len(found) == 2 and isinstance(found[0], Keyword):
        code, detail = found
        if type(detail) is str:
            return f"{code}: {detail}"
    return _optional_word(found)
