"""What reads to come say of a string that only grows: a way to give up a wrong order of appends early.

k concurrent appends make k! strings, of which one read later admits one.  Until the string is next
overwritten, every read returns an extension of what is there now.  So with no overwrite open or
begun, a state that is no prefix of what a read returns that is open, or is the first to begin, and
ends before the next overwrite begins, explains nothing.

And a string that is no prefix of anything that a call still to end asks for will not be seen as
such by anybody: all such strings are one state, UNSEEN, from which only an overwrite leads on.  It
is worth reaching only where a "not v" is glad of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

from splitbrain.checkers.linearizable.model import NIL
from splitbrain.checkers.linearizable.prepare import OPEN, Call

__all__ = ["UNSEEN", "Prefixes"]

OVERWRITES: Final = ("write", "cas")
ASKING: Final = ("read", "cas", "not")


class _Unseen:
    """Any string that nobody will ask for."""

    def __repr__(self) -> str:
        return "a string that no later operation saw"


UNSEEN: Final = _Unseen()


class Prefixes:
    """Judges states of one key's calls; ``at`` moves it to an event, in order of events."""

    __slots__ = (
        "_asked",
        "_asked_until",
        "_first_end",
        "_next",
        "_open",
        "_overwrite_begins",
        "_overwrite_crashed",
        "_position",
        "_read_begins",
        "_read_text",
        "_until",
        "avoided",
        "hopes",
        "useful",
    )

    def __init__(self, calls: Sequence[Call]) -> None:
        self.hopes = False
        self.useful = any(call.action[0] == "append" for call in calls)
        self.avoided = any(call.action[0] == "not" for call in calls)
        overwrites = [call for call in calls if call.action[0] in OVERWRITES]
        self._overwrite_begins = [call.begin for call in overwrites]
        crashed = [call.begin for call in overwrites if call.crashed]
        self._overwrite_crashed = min(crashed, default=OPEN)
        reads = [call for call in calls if call.action[0] == "read"] if self.useful else []
        self._read_begins = [call.begin for call in reads]
        self._first_end: list[int] = [OPEN] * (len(reads) + 1)
        self._read_text: list[str] = [""] * (len(reads) + 1)
        for place in range(len(reads) - 1, -1, -1):
            end = reads[place].end
            if end < self._first_end[place + 1]:
                self._first_end[place] = end
                self._read_text[place] = _text(reads[place].action[1])
            else:
                self._first_end[place] = self._first_end[place + 1]
                self._read_text[place] = self._read_text[place + 1]
        until: dict[str, int] = {}
        for call in calls:
            if call.action[0] in ASKING:
                text = _text(call.action[1])
                until[text] = max(until.get(text, -1), call.end)
        self._asked = sorted(until)
        self._asked_until = [until[text] for text in self._asked]
        self._until: dict[str, int] = {}
        self._position = -1
        self._next: str | None = None
        self._open: list[tuple[int, str]] = []

    def at(self, position: int, calls: Mapping[int, Call]) -> None:
        """The search is at the event with that index, where ``calls`` are open, by bit."""
        self._position = position
        if position > self._overwrite_crashed:
            self.hopes = True
            return
        place = bisect_right(self._overwrite_begins, position)
        begins = self._overwrite_begins
        overwrite = begins[place] if place < len(begins) else OPEN
        read = bisect_right(self._read_begins, position)
        seen = self._first_end[read] < overwrite
        self._next = self._read_text[read] if seen else None
        self._open = [
            (bit, _text(call.action[1]))
            for bit, call in calls.items()
            if call.action[0] == "read" and call.end < overwrite
        ]

    def hopeless(self, state: Any, done: int) -> bool:
        """Whether no read can follow; only to be asked while no overwrite is open and undone."""
        if self.hopes:
            return False
        if state is UNSEEN:
            return self._next is not None or any(not bit & done for bit, _ in self._open)
        text = _text(state)
        if self._next is not None and not self._next.startswith(text):
            return True
        return any(not bit & done and not seen.startswith(text) for bit, seen in self._open)

    def canonical(self, state: Any) -> Any:
        """The state, or UNSEEN if no call that ends after this event asks for an extension."""
        if state is UNSEEN:
            return UNSEEN
        text = _text(state)
        until = self._until.get(text)
        if until is None:
            until = -1
            for place in range(bisect_left(self._asked, text), len(self._asked)):
                if not self._asked[place].startswith(text):
                    break
                until = max(until, self._asked_until[place])
            self._until[text] = until
        return state if until >= self._position else UNSEEN


def _text(value: Any) -> str:
    return "" if value is NIL else str(value)
