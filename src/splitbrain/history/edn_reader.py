"""Reads EDN text into exact data, from a string or from a file that need not fit into memory.

One token at a time, with the line on which it stands; a file is read in pieces, so that only the
value being parsed is held.  What makes an operation out of a value lives in ``edn``.

    >>> list(Reader.of('1 [:a #_ left-out "b"]').values())
    [1, ['a', 'b']]
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, Final, TextIO

from splitbrain.history.edn_data import (
    EdnError,
    EdnList,
    EdnMap,
    EdnSet,
    Tagged,
    atom,
    character,
    edn_text,
    unquoted,
)

__all__ = ["Reader", "Token"]

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>    (?:[\s,]+|;[^\n]*)+ )
    | (?P<string>  "[^"\\]*(?:\\.[^"\\]*)*" )
    | (?P<open>    \#\{|[\[({] )
    | (?P<close>   [\])}] )
    | (?P<discard> \#_ )
    | (?P<tag>     \#[^\W\d_][^\s,;"()\[\]{}\\]* )
    | (?P<char>    \\.[^\s,;"()\[\]{}\\]* )
    | (?P<atom>    [^\s,;"()\[\]{}\\]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSERS: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_DEPTH_MAX: Final = 200
_PIECE: Final = 1 << 20

Token = tuple[str, str]


class Reader:
    """Tokens and values of one text.

    Args:
        source: text is read from it as it is needed.

    Attributes:
        line: on which the last token began, from 1.
    """

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._text = ""
        self._place = 0
        self._ended = False
        self._next_line = 1
        self.line = 1

    @classmethod
    def of(cls, text: str) -> Reader:
        """A reader of a string."""
        return cls(io.StringIO(text))

    # --- tokens ---------------------------------------------------------------------------------

    def _more(self) -> bool:
        """Read on, at least doubling what is still unread, so that a long string costs no square."""
        if self._ended:
            return False
        rest = self._text[self._place :]
        piece = self._source.read(max(_PIECE, len(rest)))
        self._ended = not piece
        self._text, self._place = rest + piece, 0
        return not self._ended

    def ahead(self, pattern: re.Pattern[str]) -> str | None:
        """What the pattern matches from the opening bracket on that was the last token.

        None also if it would need text that has not been read yet.  The pattern must end in a
        closing bracket, so that no further text could prolong it.
        """
        found = pattern.match(self._text, self._place - 1)
        return None if found is None else found.group()

    def skip(self, text: str) -> None:
        """Go on behind what ``ahead`` gave, which holds no newline."""
        self._place += len(text) - 1

    def _token(self) -> Token | None:
        while True:
            match = _TOKEN.match(self._text, self._place)
            if (match is None or match.end() == len(self._text)) and self._more():
                continue
            self.line = self._next_line
            if match is None:
                break
            self._place = match.end()
            text, kind = match.group(), str(match.lastgroup)
            if kind in ("skip", "string"):
                self._next_line += text.count("\n")
            if kind != "skip":
                return kind, text
        if self._place < len(self._text):
            odd = self._text[self._place]
            problem = "a string is not closed" if odd == '"' else f"unexpected {odd}"
            raise EdnError(self.line, problem)
        return None

    def significant(self, depth: int = 0) -> Token | None:
        """The next token, ``#_ value`` left out; None at the end."""
        token = self._token()
        while token is not None and token[0] == "discard":
            self._following("#_", depth + 1)
            token = self._token()
        return token

    # --- values ---------------------------------------------------------------------------------

    def values(self) -> Iterator[Any]:
        """All values of the text.

        Raises:
            EdnError: malformed; names the line.
        """
        while (token := self.significant()) is not None:
            yield self.value(token)

    def value(self, token: Token, depth: int = 1) -> Any:
        """The value that begins with ``token``."""
        kind, text = token
        if depth > _DEPTH_MAX:
            raise EdnError(self.line, f"nested deeper than {_DEPTH_MAX}")
        if kind == "open":
            return self._collection(text, depth)
        if kind == "close":
            raise EdnError(self.line, f"unexpected {text}")
        if kind == "tag":
            return Tagged(text[1:], self._following(text, depth))
        line = self.line
        try:
            if kind == "string":
                return unquoted(text[1:-1])
            return character(text[1:]) if kind == "char" else atom(text)
        except ValueError as error:
            raise EdnError(line, str(error)) from None

    def _following(self, what: str, depth: int) -> Any:
        line = self.line
        token = self.significant(depth)
        if token is None:
            raise EdnError(line, f"nothing follows {what}")
        return self.value(token, depth + 1)

    def _collection(self, opener: str, depth: int) -> Any:
        line, closer = self.line, _CLOSERS[opener]
        items: list[Any] = []
        while True:
            token = self.significant(depth)
            if token is None:
                raise EdnError(line, f"{opener} is not closed")
            if token[0] == "close":
                break
            items.append(self.value(token, depth + 1))
        if token[1] != closer:
            raise EdnError(self.line, f"{token[1]} closes {opener} opened on line {line}")
        if opener == "{":
            return _map(items, line)
        if opener == "#{":
            _distinct(items, line, "a set holds")
            return EdnSet(items)
        return EdnList(items) if opener == "(" else items


def _map(items: list[Any], line: int) -> EdnMap:
    if len(items) % 2:
        raise EdnError(line, "a map has a key without a value")
    _distinct(items[::2], line, "a map has the key")
    return EdnMap(tuple(zip(items[::2], items[1::2], strict=True)))


def _distinct(items: list[Any], line: int, what: str) -> None:
    seen: set[str] = set()
    for item in items:
        text = edn_text(item)
        if text in seen:
            raise EdnError(line, f"{what} {text[:40]} twice")
        seen.add(text)
