"""Files that become readable and times that come, on one thread."""

from __future__ import annotations

import heapq
import selectors
import time
from typing import Any, Callable

__all__ = ["Loop", "Timer"]


class Timer:
    """A call to come; see ``Loop.call_at``."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Let it not happen; nothing if it has happened."""
        self.call = None


class Loop:
    """Watches files and calls when a time has come, until it is stopped."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, Timer]] = []
        self._number = 0
        self._stopped = False

    @staticmethod
    def now_ns() -> int:
        """The machine's monotonic clock."""
        return time.monotonic_ns()

    def watch(self, file: Any, call: Callable[[], None]) -> None:
        """Call whenever ``file`` can be read without waiting."""
        self._selector.register(file, selectors.EVENT_READ, call)

    def watch_writable(self, file: Any, call: Callable[[], None]) -> None:
        """Call whenever ``file`` takes more."""
        self._selector.register(file, selectors.EVENT_WRITE, call)

    def forget(self, file: Any) -> None:
        """Watch ``file`` no longer."""
        self._selector.unregister(file)

    def call_at(self, when_ns: int, call: Callable[[], None]) -> Timer:
        """Call once, at that time of ``now_ns`` or as soon as possible after it."""
        timer = Timer(call)
        self._number += 1
        heapq.heappush(self._timers, (when_ns, self._number, timer))
        return timer

    def stop(self) -> None:
        """Let ``run`` return."""
        self._stopped = True

    def run(self) -> None:
        """Go on until ``stop``."""
        while not self._stopped:
            for key, _ in self._selector.select(self._wait_s()):
                # One call may forget a file that another of the same round is due for.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._call_due()

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, (self._timers[0][0] - self.now_ns()) / 1e9)

    def _call_due(self) -> None:
        now = self.now_ns()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call()
