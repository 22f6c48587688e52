"""A real node's clocks: the machine's, bent by what the control socket asked for.

Timers are asyncio's.  Each is armed for the true time at which the node's own, possibly drifting,
clock will show its due time, and armed anew when the rate changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from splitbrain.env.skew import SkewedClock

__all__ = ["RealClock"]

Guard = Callable[[Callable[[], None]], None]
"""Runs a callback of the node; whatever it raises ends the node."""


class RealClock:
    """Implements :class:`splitbrain.env.Clock`; callbacks run on ``loop``, through ``guard``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, guard: Guard) -> None:
        self._loop = loop
        self._guard = guard
        self._skew = SkewedClock()
        self._timers: set[_Timer] = set()

    def monotonic_ns(self) -> int:
        """The machine's monotonic clock, with this node's drift."""
        return self._skew.monotonic_ns(time.monotonic_ns())

    def wall_ns(self) -> int:
        """The machine's wall clock, with this node's offset, strobe and drift."""
        return self._skew.wall_ns(time.monotonic_ns(), time.time_ns())

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> _Timer:
        """Run ``callback`` on the loop once this node's monotonic clock shows ``when_ns``."""
        timer = _Timer(self, when_ns, callback)
        self._timers.add(timer)
        self._arm(timer)
        return timer

    # -- faults ------------------------------------------------------------------------------

    def jump(self, delta_ns: int) -> None:
        """Add ``delta_ns`` to the wall clock, once."""
        self._skew.jump(delta_ns)

    def strobe(self, delta_ns: int, period_ns: int) -> None:
        """Let the wall clock flip by ``delta_ns`` and back each period."""
        self._skew.strobe(time.monotonic_ns(), delta_ns, period_ns)

    def drift(self, rate: float) -> None:
        """Let both clocks run at (1 + rate) times the true speed; ValueError on a silly rate."""
        self._skew.drift(time.monotonic_ns(), rate)
        self._rearm()

    def reset(self) -> None:
        """Right wall clock, right speed."""
        self._skew.reset(time.monotonic_ns())
        self._rearm()

    # -- timers ------------------------------------------------------------------------------

    def _rearm(self) -> None:
        for timer in self._timers:
            if timer.handle is not None:
                timer.handle.cancel()
            self._arm(timer)

    def _arm(self, timer: _Timer) -> None:
        delay_ns = self._skew.base_deadline(timer.when_ns) - time.monotonic_ns()
        if delay_ns <= 0:
            timer.handle = self._loop.call_soon(self._fire, timer)
        else:
            timer.handle = self._loop.call_later(delay_ns / 1e9, self._fire, timer)

    def _fire(self, timer: _Timer) -> None:
        if self.monotonic_ns() < timer.when_ns:  # the loop's clock is a float, a little early
            self._arm(timer)
            return
        self._timers.discard(timer)
        self._guard(timer.callback)

    def forget(self, timer: _Timer) -> None:
        """Drop a timer that was cancelled."""
        if timer.handle is not None:
            timer.handle.cancel()
        self._timers.discard(timer)


class _Timer:
    """A pending ``call_at``."""

    __slots__ = ("callback", "clock", "handle", "when_ns")

    def __init__(self, clock: RealClock, when_ns: int, callback: Callable[[], None]) -> None:
        self.clock = clock
        self.when_ns = when_ns
        self.callback = callback
        self.handle: asyncio.Handle | None = None

    def cancel(self) -> None:
        """Forget the callback; harmless when it has run or was cancelled before."""
        self.clock.forget(self)
