"""Latches: at most one request that writes is decided and on its way for any key.

A request queues up for all its keys in one step and begins when it heads every queue.  Queues are
first come, first served, and nobody comes between: of two requests with keys in common one is ahead
at *each* of them, so no circle of waiting can form.

    >>> latches = Latches()
    >>> latches.acquire(1, (b"a", b"b")), latches.acquire(2, (b"b", b"c")), latches.acquire(3, (b"c",))
    (True, False, False)
    >>> latches.release(1)
    (2,)
    >>> latches.release(2)
    (3,)
"""

from __future__ import annotations

from collections import deque

__all__ = ["Latches"]


class Latches:
    """Queues by key; who holds or waits is known by a number of the store's choice."""

    def __init__(self) -> None:
        self._queues: dict[bytes, deque[int]] = {}
        self._keys: dict[int, tuple[bytes, ...]] = {}
        self._missing: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def acquire(self, number: int, keys: tuple[bytes, ...]) -> bool:
        """Queue up at ``keys`` (each once); whether all are held at once."""
        assert number not in self._keys, f"request {number} has its latches, or waits for them"
        self._keys[number] = keys
        missing = 0
        for key in keys:
            queue = self._queues.setdefault(key, deque())
            missing += bool(queue)
            queue.append(number)
        if missing:
            self._missing[number] = missing
        return not missing

    def release(self, number: int) -> tuple[int, ...]:
        """Give up all latches of ``number``, held or waited for; who now holds all theirs."""
        ready = []
        waiting = self._missing.pop(number, 0) > 0
        for key in self._keys.pop(number):
            queue = self._queues[key]
            was_first = queue[0] == number
            if was_first:
                queue.popleft()
            else:
                assert waiting, "a latch was held behind another"
                queue.remove(number)
            if not queue:
                del self._queues[key]
            elif was_first and self._one_more(queue[0]):
                ready.append(queue[0])
        return tuple(ready)

    def _one_more(self, number: int) -> bool:
        left = self._missing[number] - 1
        if left:
            self._missing[number] = left
            return False
        del self._missing[number]
        return True
