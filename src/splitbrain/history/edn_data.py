r"""EDN, Clojure's data notation, as exact data: nothing that was read is lost, and it can be printed.

EDN says more than JSON: keywords and symbols beside strings, sets and lists beside vectors, maps with
keys of any kind, characters, ratios, ``N`` and ``M`` numbers, tagged literals.  So a text is parsed
to Python values that keep the difference, and two functions lead on from there:

    edn_text(parse_one('#{:a \\x 1/2}'))  ->  '#{:a \\x 1/2}'      the same data, as text
    plain(parse_one('#{:a \\x 1/2}'))     ->  ['1/2', 'a', 'x']    what a checker can work with

| EDN | parsed to | plain |
|---|---|---|
| nil, true, 1, 1.5, "s" | None, True, 1, 1.5, "s" | the same |
| :k, sym, \c, 1/2, 7N, 1.5M, ##NaN | Keyword, Atom | a string, or the number where it is exact |
| [1 2], (1 2), #{1 2} | list, EdnList, EdnSet | a list; a set's is sorted |
| {:a 1} | EdnMap (pairs, in order) | a dictionary; a key that is no name is its EDN text |
| #tag v | Tagged | that of v |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import msgspec

__all__ = [
    "Atom",
    "EdnError",
    "EdnList",
    "EdnMap",
    "EdnSet",
    "Keyword",
    "Tagged",
    "atom",
    "character",
    "edn_text",
    "plain",
    "quoted",
    "unquoted",
]


class EdnError(ValueError):
    """Text that is not EDN; ``line`` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class Keyword(str):
    """``:name``, as the string ``name``; equal to that string."""

    __slots__ = ()


class Atom(msgspec.Struct, frozen=True):
    """A symbol, character, ratio, ``N`` or ``M`` number, NaN or infinity.

    Attributes:
        text: as EDN, in one form for equal values.
        plain: the nearest JSON-able value that no unequal atom of its kind shares.
    """

    text: str
    plain: str | int | float


class EdnList(list[Any]):
    """``(1 2)``."""

    __slots__ = ()


class EdnSet(list[Any]):
    """``#{1 2}``, its elements in the order in which they were written."""

    __slots__ = ()


class EdnMap(msgspec.Struct, frozen=True):
    """``{:a 1}``; keys may be anything, so it is pairs and no dictionary."""

    pairs: tuple[tuple[Any, Any], ...]


class Tagged(msgspec.Struct, frozen=True):
    """``#tag value``."""

    tag: str
    value: Any


# --- atoms --------------------------------------------------------------------------------------

_WORDS: Final[Mapping[str, Any]] = {
    "nil": None,
    "true": True,
    "false": False,
    "##NaN": Atom("##NaN", "NaN"),
    "##Inf": Atom("##Inf", "Infinity"),
    "##-Inf": Atom("##-Inf", "-Infinity"),
}
_INTEGER: Final = re.compile(r"[+-]?\d+(N?)", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?(M?)", re.ASCII)
_RATIO: Final = re.compile(r"[+-]?\d+/\d+", re.ASCII)
_NUMBER_START: Final = re.compile(r"[+-]?\d", re.ASCII)
_LONG: Final = 1 << 63
_DIGITS_MAX: Final = 4000
"""Python refuses to turn more digits than about this into a number."""


def atom(text: str) -> Any:
    """The value of a word that is neither string, character, tag nor bracket.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ":":
        if text in (":", "::") or text.startswith("::"):
            raise ValueError(f"not a keyword: {text[:40]}")
        return Keyword(text[1:])
    if _NUMBER_START.match(text):
        return _number(text)
    if text[0] in "#^@`~'" or text.endswith(":"):
        raise ValueError(f"not EDN: {text[:40]}")
    return Atom(text, text)


def _number(text: str) -> Any:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"a number of {len(text)} digits; at most {_DIGITS_MAX} are read")
    if match := _INTEGER.fullmatch(text):
        number = int(text.rstrip("N"))
        small = -_LONG <= number < _LONG
        return Atom(f"{number}N", number) if match.group(1) and small else number
    if match := _FLOAT.fullmatch(text):
        return _decimal(text[:-1]) if match.group(3) else _float(text)
    if _RATIO.fullmatch(text) and int(text.partition("/")[2]):
        ratio = Fraction(text)
        same = str(ratio)
        return ratio.numerator if ratio.denominator == 1 else Atom(same, same)
    raise ValueError(f"not a number: {text[:40]}")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"a number too large for 64 bits: {text[:40]} (write it with M)")
    return number


def _decimal(text: str) -> Atom:
    """A float for it only if that is the same number; 1.1M and 1.1000000000000000001M differ."""
    near = float(text)
    exact = math.isfinite(near) and Decimal(repr(near)) == Decimal(text)
    return Atom(f"{text}M", near if exact else f"{text}M")


_CHARACTERS: Final = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "backspace": "\b",
    "formfeed": "\f",
}
_CHARACTER_NAMES: Final = {character: name for name, character in _CHARACTERS.items()}
_CODE: Final = re.compile(r"u[0-9A-Fa-f]{4}")


def character(name: str) -> Atom:
    r"""The character written as a backslash and ``name``.

    Raises:
        ValueError: there is no such character.
    """
    if len(name) == 1:
        found = name
    elif name in _CHARACTERS:
        found = _CHARACTERS[name]
    elif _CODE.fullmatch(name):
        found = chr(int(name[1:], 16))
    else:
        raise ValueError(f"not a character: \\{name[:40]}")
    if "\ud800" <= found <= "\udfff":
        raise ValueError(f"half of a character outside 16 bits: \\{name}")
    name = _CHARACTER_NAMES.get(found, found if found.isprintable() else f"u{ord(found):04x}")
    return Atom(f"\\{name}", found)


# --- strings ------------------------------------------------------------------------------------

_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", '"': '"'}
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|[0-7]{1,3}|.)", re.DOTALL)
_SPECIAL: Final = re.compile(r'["\\\x00-\x1f\x7f]')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def unquoted(text: str) -> str:
    r"""The string of a literal without its quotes: escapes as in Clojure and Java.

    Raises:
        ValueError: an unknown escape, or half of a surrogate pair.
    """
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_unescape, text)
    if _SURROGATE.search(text):
        try:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ValueError("a string holds half of a \\u pair") from None
    return text


def _unescape(match: re.Match[str]) -> str:
    what = match.group(1)
    if len(what) == 5:
        return chr(int(what[1:], 16))
    if what[0] in "01234567":
        return chr(int(what, 8))
    if what not in _ESCAPES:
        raise ValueError(f"a string holds the unknown escape \\{what}")
    return _ESCAPES[what]


def quoted(text: str) -> str:
    r"""A string as EDN.

    >>> print(quoted('a "b"\n\x00'))
    "a \"b\"\n\u0000"
    """
    return f'"{_SPECIAL.sub(_escaped, text)}"' if _SPECIAL.search(text) else f'"{text}"'


_ESCAPED: Final = {found: f"\\{letter}" for letter, found in _ESCAPES.items()}


def _escaped(match: re.Match[str]) -> str:
    found = match.group()
    return _ESCAPED.get(found) or f"\\u{ord(found):04x}"


# --- printing -----------------------------------------------------------------------------------


def edn_text(value: Any) -> str:
    r"""A parsed or JSON-able value as EDN text; strings stay strings, at every place.

    >>> edn_text({"a": [1, None, True, "x\ny"], "b": Keyword("k")})
    '{"a" [1 nil true "x\\ny"], "b" :k}'
    """
    printer = _PRINTERS.get(type(value))
    if printer is not None:
        return printer(value)
    for kind, general in _GENERAL:
        if isinstance(value, kind):
            return general(value)
    raise TypeError(f"cannot be written as EDN: {type(value).__name__}")


def _float_text(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "##NaN" if math.isnan(value) else "##Inf" if value > 0 else "##-Inf"


def _int_text(value: int) -> str:
    return str(value) if -_LONG <= value < _LONG else f"{value}N"


def _joined(values: Iterable[Any]) -> str:
    return " ".join([edn_text(value) for value in values])


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> str:
    return "{" + ", ".join([f"{edn_text(k)} {edn_text(v)}" for k, v in pairs]) + "}"


_PRINTERS: Final[Mapping[type, Callable[[Any], str]]] = {
    type(None): lambda _: "nil",
    bool: lambda value: "true" if value else "false",
    int: _int_text,
    float: _float_text,
    str: quoted,
    Keyword: lambda value: f":{value}",
    Atom: lambda value: value.text,
    Tagged: lambda value: f"#{value.tag} {edn_text(value.value)}",
    EdnMap: lambda value: _pairs(value.pairs),
    dict: lambda value: _pairs(value.items()),
    EdnSet: lambda value: f"#{{{_joined(value)}}}",
    EdnList: lambda value: f"({_joined(value)})",
    list: lambda value: f"[{_joined(value)}]",
    tuple: lambda value: f"[{_joined(value)}]",
}
_GENERAL: Final[tuple[tuple[type, Callable[[Any], str]], ...]] = (
    (Mapping, lambda value: _pairs(value.items())),
    (set, lambda value: "#{" + " ".join(sorted(map(edn_text, value))) + "}"),
    (frozenset, lambda value: "#{" + " ".join(sorted(map(edn_text, value))) + "}"),
)


# --- plain values -------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The JSON-able value nearest to a parsed one.

    >>> plain([Keyword("a"), Atom("7N", 7), Tagged("inst", "2024-01-01"), EdnSet([10, 9])])
    ['a', 7, '2024-01-01', [9, 10]]
    """
    kind = type(value)
    if kind is Keyword:
        return str(value)
    if kind is list or kind is EdnList:
        return [plain(item) for item in value]
    if kind is EdnMap:
        return _plain_map(value)
    if kind is EdnSet:
        return sorted([plain(item) for item in value], key=_set_order)
    if kind is Tagged:
        return plain(value.value)
    return value.plain if kind is Atom else value


def _set_order(value: Any) -> tuple[bool, float, str]:
    """Whole numbers by size before all else, by its text."""
    if type(value) is int and abs(value) < _LONG:
        return (False, value, "")
    return (True, 0, repr(value))


def _plain_map(value: EdnMap) -> dict[str, Any]:
    """JSON has string keys only: a name for itself, else its EDN text; so too where two would meet."""
    found: dict[str, Any] = {}
    for key, item in value.pairs:
        name = plain(key)
        if not isinstance(name, str) or name in found:
            name = edn_text(key)
        found[name] = plain(item)
    return found
