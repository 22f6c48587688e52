"""Changing a value by what it is: read, compute, compare-and-swap, and again where another was faster.

    a list    [1, 2]  ->  [1, 2, 3]      an element added to a set
    a number  41      ->  42             the next id
    a text    "ab"    ->  "abc"          an append

An attempt whose compare-and-swap was refused by a mismatch certainly changed nothing, so it may be
repeated.  One whose outcome is unknown is not: the change may have happened, and would happen twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from splitbrain.contracts.workload import Kv
from splitbrain.errors import Definite

__all__ = ["CONTENDED", "change"]

CONTENDED: Final = "contended"
"""The code of a change that others were always faster than: an answer, and no refusal."""


async def change(session: Kv, key: str, alter: Callable[[Any], Any], *, tries: int) -> Any:
    """Replace the value of ``key`` (None if absent) by what ``alter`` makes of it; the new value.

    Args:
        session: with the system.
        key: whose value to change.
        alter: pure; the old value is compared by the system, so it must come back unchanged.
        tries: compare-and-swaps, at least 1.

    Raises:
        Definite: ``contended`` if each try met another value; what the session refuses.
        Exception: what the session does not know; the change may have happened.
    """
    seen = await session.get(key)
    for _ in range(tries):
        wanted = alter(seen)
        try:
            await session.cas(key, seen, wanted)
        except Definite as refusal:
            if refusal.code != "cas-mismatch":
                raise
            seen = refusal.observed
        else:
            return wanted
    raise Definite(CONTENDED, f"another value each of {tries} times")
