"""What SIGINT and SIGTERM mean while a test runs.

    first    the main phase ends: faults are healed, the history is checked and reported
    second   heal and give up; the same for a first one that comes outside the test itself
    further  nothing: they must not disturb the healing

One plain handler serves from the first line to the last, on a real and on a virtual event loop, so
that there is no moment between two handlers in which a signal would end the process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Signals", "take_signals"]

_KINDS = (signal.SIGINT, signal.SIGTERM)


def take_signals(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Let ``handler`` have SIGINT and SIGTERM; returns who had them before.

    Empty if this is not the main thread: there the host handles signals.
    """
    try:
        return {kind: signal.signal(kind, handler) for kind in _KINDS}
    except ValueError:
        return {}


class Signals:
    """A context: inside it, signals are counted and told as above.

    Args:
        own_process: True if the process ends once the user has given up: signals that come after
            that are then ignored for good, instead of being given back to the host.
    """

    def __init__(self, *, own_process: bool = False) -> None:
        self._own_process = own_process
        self._before: dict[signal.Signals, Any] = {}
        self._seen = 0
        self._given_up = False
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._task: asyncio.Future[Any] | None = None

    def __enter__(self) -> Signals:
        self._before = take_signals(self._on_signal)
        return self

    def __exit__(self, *_exception: object) -> None:
        for kind, before in self._before.items():
            stays = self._own_process and self._given_up
            signal.signal(kind, signal.SIG_IGN if stays else before)

    def attach(self, stop: asyncio.Event, task: asyncio.Future[Any]) -> None:
        """From now on a first signal sets ``stop``, a second one cancels ``task``."""
        self._loop, self._stop, self._task = asyncio.get_running_loop(), stop, task

    def detach(self) -> None:
        """The loop is about to end: from now on a signal gives up."""
        self._loop = None

    def ignore(self) -> None:
        """What is left to be done is short and must be done: from now on signals do nothing."""
        self._given_up = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._seen += 1
        if self._given_up:
            return
        if self._loop is None:
            self._given_up = True
            raise KeyboardInterrupt
        self._given_up = self._seen > 1
        self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        assert self._stop is not None
        assert self._task is not None
        if not self._given_up:
            self._stop.set()
        elif not self._cancelled:  # once: a second cancellation would end the healing
            self._cancelled = True
            self._task.cancel()
