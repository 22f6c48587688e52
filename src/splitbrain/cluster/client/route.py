"""Which node to ask next, and how long to wait before.  Pure: times and draws are handed in.

**Why sessions are bound to nodes.**  A client that always finds the newest leader never meets an old
one, and so never sees what a deposed leader answers.  Each session is therefore bound to one node,
and how it treats that bond is an option:

- ``bound`` (default): a learned leader is remembered for about one election timeout; after that, or
  after an error, the session asks its own node first again.  While leadership is stable most
  operations take one attempt; but if the session's own node is a leader that was cut off, the
  session is back at it within a timeout, and stays while it answers.
- ``always``: every operation starts at the bound node.
- ``leader-cache``: the leader is remembered until an error, as TiKV's clients do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from splitbrain.env.random import Stream
from splitbrain.errors import RequestError

__all__ = ["Backoff", "Prefer", "Route"]

Prefer = Literal["bound", "always", "leader-cache"]


class Route:
    """One session's belief about where the leader is.

    Attributes:
        bound: the session's own node.
    """

    def __init__(
        self, nodes: Sequence[str], node: str, *, prefer: Prefer, forget_ns: int
    ) -> None:
        if node not in nodes:
            raise RequestError(f"client's node {node!r} is not one of {', '.join(nodes)}")
        if prefer not in get_args(Prefer):
            raise RequestError(f"prefer={prefer!r}; known: {', '.join(get_args(Prefer))}")
        self._nodes = tuple(nodes)
        self.bound = node
        self._prefer = prefer
        self._forget_ns = forget_ns
        self._leader = ""
        self._learned_ns = 0

    def first(self, now_ns: int) -> str:
        """Where an operation's first attempt goes."""
        if self._prefer == "always":
            return self.bound
        stale = self._prefer == "bound" and now_ns - self._learned_ns >= self._forget_ns
        return self.bound if stale or not self._leader else self._leader

    def answered(self, node: str, now_ns: int) -> None:
        """``node`` has served a request, so it leads, or believes so."""
        if node != self._leader:
            self._leader, self._learned_ns = node, now_ns

    def next(self, node: str, hint: str, now_ns: int) -> str:
        """``node`` has not served; it named ``hint``, or nobody: whom to ask now."""
        if hint in self._nodes and hint != node:
            self._leader, self._learned_ns = hint, now_ns
            return hint
        if self._leader == node:
            self._leader = ""
        return self._leader or self._after(node)

    def lost(self, node: str, now_ns: int) -> None:
        """``node`` kept an operation without an answer: begin the next ones elsewhere for a while.

        Else a session bound to a node that hangs would leave each of its operations there.
        """
        self._leader, self._learned_ns = self._after(node), now_ns

    def _after(self, node: str) -> str:
        return self._nodes[(self._nodes.index(node) + 1) % len(self._nodes)]


class Backoff:
    """Exponential, with equal jitter: half of the step is fixed, half drawn.

    Jitter keeps clients that failed together from coming back together; the fixed half keeps a
    client from coming back at once.  Step n is min(cap, base * 2**n).
    """

    def __init__(self, stream: Stream, *, base_s: float, cap_s: float) -> None:
        self._stream = stream
        self._base_s = base_s
        self._cap_s = cap_s
        self._tries = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        step = min(self._cap_s, self._base_s * float(1 << self._tries))
        self._tries = min(self._tries + 1, 32)
        return step / 2 + self._stream.random() * step / 2
