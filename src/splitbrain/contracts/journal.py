"""The journal: each act on the world is written down before it is done, so that it can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Journal", "NullJournal"]


class Journal(Protocol):
    """An append-only, fsynced list of intents and their outcomes.

    An *intent* says what is about to be done, to what, and how to undo it; it is durable before
    the act.  A *done* record follows the act and carries what identifies its result (pid, start
    time, process group).  An *undone* record says that nothing of it is left.
    """

    def intent(self, act: str, /, **fields: Any) -> int:
        """Write an intent durably and return its number."""

    def done(self, number: int, /, **fields: Any) -> None:
        """Say that the act happened, with what identifies it."""

    def undone(self, number: int, /, **fields: Any) -> None:
        """Say that the act has been undone."""


class NullJournal:
    """For substrates that touch nothing outside this process."""

    def __init__(self) -> None:
        self.acts: list[Mapping[str, Any]] = []

    def intent(self, act: str, /, **fields: Any) -> int:
        """Keep the act in memory."""
        self.acts.append({"act": act, **fields})
        return len(self.acts) - 1

    def done(self, number: int, /, **fields: Any) -> None:
        """Nothing to do."""

    def undone(self, number: int, /, **fields: Any) -> None:
        """Nothing to do."""
