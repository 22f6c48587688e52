"""The live line: how a running test stands, rewritten in a terminal, a plain line in a log."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from splitbrain.harness.driver import Progress

__all__ = ["LiveLine", "line"]

_PLAIN_EVERY_S = 10.0


def line(state: Progress, rate: float) -> str:
    """The words of one moment.

    >>> now = Progress(time_s=12.3, phase="main", ops=900, ok=880, fail=12, info=8,
    ...                faults=("partition",), crashes=0)
    >>> line(now, 74.9)
    ' 12.3 s main    75 op/s  ok 880  fail 12  info 8  partition'
    """
    words = f"{state.time_s:5.1f} s {state.phase:5} {rate:4.0f} op/s"
    words += f"  ok {state.ok}  fail {state.fail}  info {state.info}"
    if state.faults:
        words += "  " + ", ".join(_counted(state.faults))
    if state.crashes:
        words += f"  {state.crashes} crashed"
    return words


def _counted(names: Sequence[str]) -> list[str]:
    """Each name once, with how often.

    >>> _counted(["kill", "partition", "kill"])
    ['kill x2', 'partition']
    """
    return [f"{name} x{n}" if n > 1 else name for name, n in Counter(names).items()]


class LiveLine:
    """Called with each Progress; writes over itself in a terminal, else now and then a line."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._last_s = 0.0
        self._last_done = 0
        self._rate = 0.0
        self._plain_s = 0.0
        self._width = 0

    def __call__(self, state: Progress) -> None:
        """One more moment."""
        done = state.ok + state.fail + state.info
        if state.time_s - self._last_s >= 1.0:
            self._rate = (done - self._last_done) / (state.time_s - self._last_s)
            self._last_s, self._last_done = state.time_s, done
        words = line(state, self._rate)
        if self._terminal:
            words = words[: shutil.get_terminal_size().columns - 1]
            self._write("\r" + words.ljust(self._width))
            self._width = len(words)
        elif state.time_s - self._plain_s >= _PLAIN_EVERY_S:
            self._plain_s = state.time_s
            self._write(words + "\n")

    def restart(self) -> None:
        """Another test begins: its time starts from 0."""
        self.__init__(self._stream)  # type: ignore[misc]

    def clear(self) -> None:
        """Take the line away before something else is printed."""
        if self._terminal and self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        """A reader that has gone away must not end the test."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._terminal, self._plain_s = False, float("inf")
