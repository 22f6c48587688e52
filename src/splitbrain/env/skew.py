"""One node's clocks, bent by faults: a pure function of the true clocks and of what was done to it.

The same class serves the simulator and a real node process: whoever holds it reads the true (base)
clocks and hands them in, so nothing here reads a clock.

Three faults, after the way clocks fail in practice (a step by an operator or NTP, a flapping time
source, a crystal that runs fast or slow):

- **jump** adds an offset to the wall clock, once;
- **strobe** lets the wall clock flip by ``delta`` and back, each ``period``;
- **drift** lets *both* clocks run at (1 + rate) times the true speed, from now on.

Monotonic time never goes back: a drift changes its slope, not its value, and ``reset`` leaves it
where it is.  The wall clock is right again after ``reset``.

    >>> clock = SkewedClock()
    >>> clock.drift(1_000, 0.5)           # from base time 1000 on, half as fast again
    >>> clock.monotonic_ns(1_000), clock.monotonic_ns(3_000)
    (1000, 4000)
    >>> clock.base_deadline(4_000)        # when must we look, so that the node's clock shows 4000?
    3000

Arithmetic is in integers: a rate is kept in parts per billion and the inverse is exact:
``base_deadline(t)`` is the *least* base time at which ``monotonic_ns`` has reached ``t``.
"""

from __future__ import annotations

__all__ = ["RATE_MIN", "SkewedClock"]

_BILLION = 1_000_000_000

RATE_MIN = -0.99
"""The slowest drift: a clock at a hundredth of the true speed.  It never stands still."""


class SkewedClock:
    """The clocks of one node.

    Args:
        origin_ns: what the node's monotonic clock shows beyond the base clock when nothing is
            wrong; its zero point means nothing, and differs between machines.
    """

    __slots__ = (
        "_anchor_base",
        "_anchor_local",
        "_jump",
        "_ppb",
        "_strobe_delta",
        "_strobe_end",
        "_strobe_period",
        "_strobe_start",
        "_wall_gain",
    )

    def __init__(self, origin_ns: int = 0) -> None:
        # Since the anchor the node's monotonic clock has run at (1 + ppb / 10^9).
        self._anchor_base = 0
        self._anchor_local = origin_ns
        self._ppb = 0
        self._wall_gain = 0  # what drift had added to the wall clock at the anchor
        self._jump = 0
        self._strobe_delta = self._strobe_start = 0
        self._strobe_period = 1
        self._strobe_end: int | None = None

    # -- reading -----------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """The drift now: 0.1 is ten percent fast."""
        return self._ppb / _BILLION

    def monotonic_ns(self, base_ns: int) -> int:
        """What the node's monotonic clock shows when the base clock shows ``base_ns``."""
        elapsed = base_ns - self._anchor_base
        if not self._ppb:
            return self._anchor_local + elapsed
        return self._anchor_local + elapsed + elapsed * self._ppb // _BILLION

    def wall_ns(self, base_ns: int, base_wall_ns: int) -> int:
        """What the node's wall clock shows at these readings of the two base clocks."""
        wall = base_wall_ns + self._jump + self._wall_gain
        if self._ppb:
            wall += (base_ns - self._anchor_base) * self._ppb // _BILLION
        if self._strobe_delta:
            wall += self._strobe(base_ns)
        return wall

    def base_deadline(self, local_ns: int) -> int:
        """The least base time, not before the last change of rate, that shows ``local_ns``.

        A timer armed for it must be armed again whenever :meth:`drift` or :meth:`reset` has
        changed the rate.
        """
        needed = local_ns - self._anchor_local
        if needed <= 0 or not self._ppb:
            return self._anchor_base + max(0, needed)
        # least e with e + e * ppb // 10^9 >= needed  <=>  e >= needed * 10^9 / (10^9 + ppb)
        return self._anchor_base - (-needed * _BILLION // (_BILLION + self._ppb))

    # -- faults ------------------------------------------------------------------------------

    def jump(self, delta_ns: int) -> None:
        """Add ``delta_ns`` to the wall clock; jumps add up."""
        self._jump += delta_ns

    def strobe(
        self, base_ns: int, delta_ns: int, period_ns: int, *, until_ns: int | None = None
    ) -> None:
        """Let the wall clock show ``delta_ns`` more in every other period, beginning with this one.

        Args:
            base_ns: the base clock now.
            delta_ns: by how much; may be negative.
            period_ns: length of a period.
            until_ns: base time at which it ends; None: at :meth:`reset`.  A second strobe takes
                the place of the first.

        Raises:
            ValueError: a period that is not positive.
        """
        if period_ns <= 0:
            raise ValueError(f"strobe: period of {period_ns} ns; it must be positive")
        self._strobe_start, self._strobe_delta = base_ns, delta_ns
        self._strobe_period, self._strobe_end = period_ns, until_ns

    def drift(self, base_ns: int, rate: float) -> None:
        """Let both clocks run at (1 + rate) times the true speed from ``base_ns`` on.

        Raises:
            ValueError: a rate below RATE_MIN.
        """
        if rate < RATE_MIN:
            raise ValueError(f"drift: rate {rate} is below {RATE_MIN}; time must go on")
        self._anchor(base_ns)
        self._ppb = round(rate * _BILLION)

    def reset(self, base_ns: int) -> None:
        """Right speed and right wall clock; monotonic time goes on from where it is."""
        self._anchor(base_ns)
        self._ppb = self._wall_gain = self._jump = self._strobe_delta = 0

    def _anchor(self, base_ns: int) -> None:
        """Begin a new piece of the line at ``base_ns``."""
        gain = (base_ns - self._anchor_base) * self._ppb // _BILLION
        self._anchor_local = self.monotonic_ns(base_ns)
        self._wall_gain += gain
        self._anchor_base = base_ns

    def _strobe(self, base_ns: int) -> int:
        if self._strobe_end is not None and base_ns >= self._strobe_end:
            return 0
        periods = (base_ns - self._strobe_start) // self._strobe_period
        return 0 if periods % 2 else self._strobe_delta
