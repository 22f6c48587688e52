"""How long to wait before the next try, by what has gone wrong, and for how long to try at all.

Each kind of trouble has its own steps: base, 2 x base, 4 x base ... up to its cap (the numbers are
those of TiKV's Go client).  Jitter keeps clients that failed together from coming back together:

    none    the whole step
    equal   half of it, and a part of the other half
    full    any part of it

One operation has one :class:`Patience`: a deadline, and a budget in which only time slept counts, so
that an operation that waits for answers is ended by the deadline and one that runs in circles by
the budget.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from splitbrain.env import Pacer
from splitbrain.env.random import Stream

__all__ = [
    "KINDS",
    "Jitter",
    "Kind",
    "OutOfPatience",
    "Patience",
    "Policy",
    "jittered",
    "step_s",
]

Jitter = Literal["none", "equal", "full"]


class Kind(msgspec.Struct, frozen=True):
    """A kind of trouble: its first and its longest step in seconds."""

    name: str
    base_s: float
    cap_s: float
    jitter: Jitter = "none"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("rpc", 0.1, 2.0, "equal"),
        Kind("pd", 0.05, 1.0, "equal"),
        Kind("region-miss", 0.002, 0.5),
        Kind("no-leader", 0.01, 0.5, "equal"),
        Kind("max-ts", 0.002, 0.5),
        Kind("not-initialized", 0.002, 1.0),
        Kind("busy", 0.2, 2.0, "equal"),
        Kind("lock", 0.1, 3.0, "equal"),
        Kind("lock-fast", 0.01, 3.0, "equal"),
        Kind("conflict", 0.005, 0.5, "full"),
    )
}
"""All kinds by name; ``lock`` is for writers, ``lock-fast`` for readers."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What may be changed of all kinds together, to compare strategies.

    Attributes:
        growth: by which a step is longer than the one before; 1: a fixed wait.
        jitter: instead of each kind's own.
        scale: multiplies every step; a cluster whose times are scaled wants the same here.
    """

    growth: float = 2.0
    jitter: Jitter | None = None
    scale: float = 1.0


def step_s(kind: Kind, tries: int, policy: Policy) -> float:
    """The step after ``tries`` earlier ones, without jitter.

    >>> [step_s(KINDS["busy"], tries, Policy()) for tries in range(5)]
    [0.2, 0.4, 0.8, 1.6, 2.0]
    """
    grown = kind.base_s * policy.growth ** min(tries, 32)
    return min(kind.cap_s, grown) * policy.scale


def jittered(step: float, jitter: Jitter, stream: Stream) -> float:
    """The step with its drawn part."""
    if jitter == "none":
        return step
    if jitter == "full":
        return step * stream.random()
    return step / 2 + step / 2 * stream.random()


class OutOfPatience(Exception):
    """No time or no budget is left; ``code`` is the trouble that took most of the time slept."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Patience:
    """Deadline and budget of one operation.

    Attributes:
        slept_s: time slept so far, by all forks' parents and this one.
    """

    def __init__(
        self,
        pacer: Pacer,
        stream: Stream,
        *,
        timeout_s: float,
        budget_s: float = 20.0,
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        self._pacer = pacer
        self._stream = stream
        self._policy = policy
        self._budget_s = budget_s
        self.deadline_ns = pacer.monotonic_ns() + int(timeout_s * 1e9)
        self.slept_s = 0.0
        self._tries: dict[str, int] = {}
        self._slept: dict[str, float] = {}

    def fork(self) -> Patience:
        """For one of several branches at once: same deadline and budget, counts of its own."""
        twin = Patience(
            self._pacer,
            self._stream,
            timeout_s=0,
            budget_s=self._budget_s,
            policy=self._policy,
        )
        twin.deadline_ns, twin.slept_s = self.deadline_ns, self.slept_s
        twin._tries, twin._slept = dict(self._tries), dict(self._slept)
        return twin

    def left_s(self, code: str = "too-late") -> float:
        """Time until the deadline.

        Raises:
            OutOfPatience: there is none; for ``code`` unless something else took longer.
        """
        left_ns = self.deadline_ns - self._pacer.monotonic_ns()
        if left_ns <= 0:
            raise OutOfPatience(self._worst(code))
        return left_ns / 1e9

    async def pause(self, name: str, code: str = "", *, at_most_s: float | None = None) -> None:
        """Sleep one step of the kind ``name``, not beyond the deadline or ``at_most_s``.

        Raises:
            OutOfPatience: budget or deadline is over.
        """
        code = code or name
        if self.slept_s >= self._budget_s:
            raise OutOfPatience(self._worst(code))
        kind, tries = KINDS[name], self._tries.get(name, 0)
        jitter = self._policy.jitter or kind.jitter
        wait_s = jittered(step_s(kind, tries, self._policy), jitter, self._stream)
        if at_most_s is not None:
            wait_s = min(wait_s, max(0.0, at_most_s))
        wait_s = min(wait_s, self.left_s(code))
        self._tries[name] = tries + 1
        self._slept[code] = self._slept.get(code, 0.0) + wait_s
        self.slept_s += wait_s
        await self._pacer.sleep(wait_s)

    def _worst(self, code: str) -> str:
        return max(self._slept, key=lambda one: self._slept[one]) if self._slept else code
