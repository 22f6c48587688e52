"""The timestamp oracle: numbers that only grow, across leaders, restarts and clocks that jump.

A timestamp is (physical milliseconds, logical).  Physical follows the leader's wall clock; while that
is behind what was given already, physical advances by the monotonic clock instead, so that what
counts in physical time (the TTL of a lock) does not stand still.  Logical counts within one
millisecond.

**The window.**  What a leader gives must stay below a bound that a majority has stored BEFORE: the
saved bound.  A new leader begins at the bound that it finds, and so above all that any earlier
leader ever gave, whatever their clocks said.  The bound is moved ahead by a window of seconds at a
time, long before it is reached, so that no request waits for it.

    >>> tso = Tso(window_ms=3000)
    >>> tso.lead(saved_ms=5000, wall_ms=4000, monotonic_ns=0)   # the last leader's clock was ahead
    >>> tso.wanted(wall_ms=4000, monotonic_ns=0)                # store this through Raft
    8000
    >>> tso.give(1, wall_ms=4000, monotonic_ns=0) is None       # nothing before it is stored
    True
    >>> tso.saved(8000)
    >>> tso.give(2, wall_ms=4000, monotonic_ns=0)               # the LAST of two
    (5000, 2)
    >>> tso.give(1, wall_ms=4000, monotonic_ns=20_000_000)      # the clock is still behind
    (5020, 1)

Whether this node still leads is not this class's to know: ``node`` gives nothing before a majority
has confirmed it AFTER the request came.  Both together give the promise: a timestamp is larger than
any that anybody had received when it was asked for.

TiKV's PD does the same (``pkg/tso``), but for two things: it trusts a lease on unequal clocks where we
ask a majority, and its physical part stands still while the clock is behind.
"""

from __future__ import annotations

from splitbrain.cluster.messages.pd_types import MAX_LOGICAL

__all__ = ["Tso"]

MS = 1_000_000


class Tso:
    """Timestamps of one leadership after the other.

    A seeded bug overrides ``_reserve``, or ``node``'s ways of saving and confirming.
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self.rest()

    def rest(self) -> None:
        """No leader (any more): nothing is given until ``lead``."""
        self._physical = self._logical = 0
        self._saved = self._asked = 0
        self._base_ms = self._base_ns = 0
        self.leads = False

    def lead(self, saved_ms: int, wall_ms: int, monotonic_ns: int) -> None:
        """A leadership begins; all that was ever given is below ``saved_ms``."""
        self.leads = True
        self._physical = self._base_ms = max(saved_ms, wall_ms)
        self._base_ns = monotonic_ns
        self._logical = 0
        self._saved = self._asked = saved_ms

    def wanted(self, wall_ms: int, monotonic_ns: int) -> int | None:
        """The bound to be stored now, or None; each is asked for once.

        It is moved when half of the window is used: the other half is the time to store it in.
        """
        if not self.leads:
            return None
        now = max(self._physical, self._time_ms(wall_ms, monotonic_ns))
        if self._asked - now > self._window_ms // 2:
            return None
        self._asked = now + self._window_ms
        return self._asked

    def not_saved(self) -> None:
        """The bound last asked for was refused before it was stored: ask for it again."""
        self._asked = self._saved

    def saved(self, until_ms: int) -> None:
        """``until_ms`` is stored by a majority, in this leadership."""
        self._saved = max(self._saved, until_ms)

    @property
    def saved_ms(self) -> int:
        """The stored bound as far as known; 0 if this node does not lead."""
        return self._saved

    @property
    def last_ms(self) -> int:
        """Physical part of the last timestamp, or of where to begin; 0 if this node does not lead."""
        return self._physical

    def now_ms(self, wall_ms: int, monotonic_ns: int) -> int:
        """Physical time; no earlier than any that was given, no later than the next leader's."""
        return max(self._physical, self._bounded_ms(wall_ms, monotonic_ns))

    def give(self, count: int, wall_ms: int, monotonic_ns: int) -> tuple[int, int] | None:
        """The last of ``count`` timestamps (1..MAX_LOGICAL), or None while the bound is too low."""
        assert 1 <= count <= MAX_LOGICAL, f"a batch of {count} timestamps"
        if not self.leads:
            return None
        time_ms = self._bounded_ms(wall_ms, monotonic_ns)
        if time_ms > self._physical:
            self._physical, self._logical = time_ms, 0
        if self._logical + count > MAX_LOGICAL:
            # A millisecond ahead of the clock; it will catch up.
            self._physical, self._logical = self._physical + 1, 0
        if self._physical >= self._saved:
            return None
        return self._physical, self._reserve(count)

    def _reserve(self, count: int) -> int:
        """Take ``count`` logical numbers; the last of them."""
        self._logical += count
        return self._logical

    def _bounded_ms(self, wall_ms: int, monotonic_ns: int) -> int:
        return min(self._time_ms(wall_ms, monotonic_ns), self._saved - 1)

    def _time_ms(self, wall_ms: int, monotonic_ns: int) -> int:
        """The wall clock, or the line on which it once was, drawn on by the monotonic clock."""
        line_ms = self._base_ms + (monotonic_ns - self._base_ns) // MS
        if wall_ms > line_ms:
            self._base_ms, self._base_ns = wall_ms, monotonic_ns
            return wall_ms
        return line_ms
