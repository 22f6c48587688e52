"""From a host's monotonic clock to ours: pure functions.

Each machine's monotonic clock starts at its own boot, so what a node says happened "at 5 s" must be
moved before it can stand beside what others say.  The host is asked for its clock a few times; the
answer that took the shortest bounds the difference best::

    ours     sent ------------- received         the host read its clock somewhere between
    host            host_ns                       so it is ahead by host_ns - (sent + received) / 2
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Reading", "ahead_ns", "moved"]


class Reading(msgspec.Struct, frozen=True):
    """One question.

    Attributes:
        sent_ns: our clock when it was asked.
        host_ns: what it answered.
        received_ns: our clock when the answer was there.
    """

    sent_ns: int
    host_ns: int
    received_ns: int


def ahead_ns(readings: Sequence[Reading]) -> tuple[int, int]:
    """How far the host's clock is ahead of ours, and by how much that may be wrong.

    >>> ahead_ns([Reading(100, 5_000, 300), Reading(400, 5_260, 420)])
    (4850, 10)

    Args:
        readings: one or more.
    """
    best = min(readings, key=lambda one: one.received_ns - one.sent_ns)
    trip = best.received_ns - best.sent_ns
    return best.host_ns - best.sent_ns - trip // 2, trip // 2


def moved(line: bytes, ahead: int) -> bytes:
    """A line of a node's events file with its time on our clock; other lines stay as they are.

    >>> moved(b'{"kind":"started","base_monotonic_ns":4950}', 4850)
    b'{"kind":"started","base_monotonic_ns":100}'
    """
    try:
        event = msgspec.json.decode(line, type=dict)
        event["base_monotonic_ns"] = int(event["base_monotonic_ns"]) - ahead
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return line
    return msgspec.json.encode(event)
