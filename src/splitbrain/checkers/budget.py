"""A bound on how long and how large a check may grow: the only reader of a clock among checkers.

>>> Budget(seconds=1e9, megabytes=64).exceeded()
False
>>> Budget(seconds=0.0).exceeded()
True
"""

from __future__ import annotations

import time

__all__ = ["Budget"]


class Budget:
    """Seconds from its making and bytes that an engine may hold; both are obeyed.

    Args:
        seconds: wall time from now.
        megabytes: memory for an engine's own tables, in MiB.
    """

    __slots__ = ("_deadline", "bytes_max", "seconds")

    def __init__(self, seconds: float = 60.0, megabytes: float = 2048.0) -> None:
        self.seconds = seconds
        self.bytes_max = int(megabytes * (1 << 20))
        self._deadline = time.monotonic() + seconds

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def exceeded(self) -> bool:
        """True once no time is left."""
        return time.monotonic() >= self._deadline

    def part(self, seconds: float) -> Budget:
        """A budget that ends after ``seconds`` or with this one, whichever is sooner."""
        return Budget(min(seconds, self.remaining_s()), self.bytes_max / (1 << 20))
