"""Steps of a build as they end, with their seconds, for whoever wants to tell them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import msgspec

__all__ = ["Progress", "Step", "Told"]


class Step(msgspec.Struct, frozen=True):
    """One step of a build.

    Attributes:
        name: ``base``, ``wheels``, ``build``, or ``note`` for what a reader has to know.
        words: what was done.
        seconds: how long it took; None while it is still being done, and for a note.
    """

    name: str
    words: str
    seconds: float | None = None


Told = Callable[[Step], None]


class Progress:
    """Tells steps: once when they begin, once when they have ended well."""

    def __init__(self, told: Told | None) -> None:
        self._told = told or (lambda _: None)

    @contextlib.contextmanager
    def step(self, name: str, words: str) -> Iterator[None]:
        """Everything within is one step."""
        begun = time.monotonic()
        self._told(Step(name, words))
        yield
        self._told(Step(name, words, time.monotonic() - begun))

    def note(self, words: str) -> None:
        """Tell what is no step."""
        self._told(Step("note", words))
