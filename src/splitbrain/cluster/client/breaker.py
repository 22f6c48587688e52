"""A circuit breaker for each store: one that does not answer is left alone for a while.

    closed      requests pass; ``failures_max`` failures in a row open it
    open        nothing passes for ``cooldown_s``
    half open   then one request passes: its success closes the breaker, its failure opens it again

Only a lost or refused connection, silence and "busy" are failures.  A store that answers "not the
leader" or "locked" is well.  Pure: times are handed in.
"""

from __future__ import annotations

__all__ = ["Breaker", "Breakers"]


class Breaker:
    """That of one store."""

    __slots__ = ("_failures", "_open_until_ns", "_probing")

    def __init__(self) -> None:
        self._failures = 0
        self._open_until_ns: int | None = None
        self._probing = False

    def passes(self, now_ns: int) -> bool:
        """May a request be sent?  Asking changes nothing."""
        if self._open_until_ns is None:
            return True
        return now_ns >= self._open_until_ns and not self._probing

    def sent(self) -> None:
        """A request goes out; if the breaker is open, it is the probe."""
        self._probing = self._open_until_ns is not None

    def succeeded(self) -> None:
        """The store has answered."""
        self._failures, self._open_until_ns, self._probing = 0, None, False

    def failed(self, now_ns: int, failures_max: int, cooldown_ns: int) -> bool:
        """The store has not; True if that (re)opened the breaker."""
        self._failures += 1
        self._probing = False
        if self._failures < failures_max:  # a failed probe's count is above it still
            return False
        self._open_until_ns = now_ns + cooldown_ns
        return True

    def given_up(self) -> None:
        """The request was dropped by its own client, which says nothing of the store."""
        self._probing = False


class Breakers:
    """Those of all stores.

    Attributes:
        opened: how often one opened.
    """

    def __init__(self, *, failures_max: int, cooldown_s: float) -> None:
        self._failures_max = failures_max
        self._cooldown_ns = int(cooldown_s * 1e9)
        self._of: dict[int, Breaker] = {}
        self.opened = 0

    def of(self, store_id: int) -> Breaker:
        """The breaker of one store."""
        return self._of.setdefault(store_id, Breaker())

    def passes(self, store_id: int, now_ns: int) -> bool:
        """May a request be sent to the store?"""
        return self.of(store_id).passes(now_ns)

    def failed(self, store_id: int, now_ns: int) -> None:
        """The store has not answered, or was busy."""
        self.opened += self.of(store_id).failed(now_ns, self._failures_max, self._cooldown_ns)
