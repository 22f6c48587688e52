"""SIGINT and SIGTERM between two runs of a drill: no further run is begun.

Within a run ``commands.signals`` serves: the run ends, is healed and judged.  Outside of runs this
context only remembers that the user asked, so that outputs are written to their end.  A signal that
comes when a run is about to begin, in the moment before its own handler serves, is handed on to it:
else the user would wait for a whole run.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from splitbrain.commands.signals import take_signals

__all__ = ["Stop"]


class Stop:
    """A context: inside it, signals are remembered."""

    def __init__(self) -> None:
        self.asked = False
        self._handed_on = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        self._before = take_signals(self._on_signal)
        return self

    def __exit__(self, *_exception: object) -> None:
        for kind, before in self._before.items():
            # A run that was given up ignores signals for good: the process is about to end.
            if signal.getsignal(kind) == self._on_signal:
                signal.signal(kind, before)

    def hand_on(self) -> None:
        """Called while a run goes on: give it, once, the signal that came before it could see it."""
        if self.asked and not self._handed_on:
            self._handed_on = True
            signal.raise_signal(signal.SIGTERM)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
