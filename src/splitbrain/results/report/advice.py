"""What a kind of anomaly means, and where to look next: two short sentences a kind.

The words are the fixed ones of the checkers.  A kind that is not known here gets no advice rather than
a vague one.

    >>> advice_for("stale-read").look.split(";")[0]
    'who was leader when the read was answered, and by what right it answered'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["Advice", "advice_for"]


class Advice(msgspec.Struct, frozen=True):
    """What the kind means; where to look."""

    means: str
    look: str


_LOST: Final = Advice(
    "a client was told that its write had happened, and later nobody could see it",
    "whether the answer was given before a majority had the entry on disk; which leader took over "
    "after it, and what that one's log held; a restart that lost bytes never synced",
)
_STALE: Final = Advice(
    "a read returned a value that had been replaced before the read began",
    "who was leader when the read was answered, and by what right it answered; whether it had been "
    "cut off, paused, or newly elected; caches and followers that answer by themselves",
)
_PHANTOM: Final = Advice(
    "a value was seen that no operation of this history can have put there",
    "data left from an earlier run, values mixed up between keys, corruption that no checksum "
    "caught",
)
_REFUSED: Final = Advice(
    "a client was told that its write certainly did not happen, and it was seen",
    "which errors the client takes for a definite no: a time-out, a lost connection or a deposed "
    "leader leaves the outcome open",
)
_TWICE: Final = Advice(
    "one write took effect at two moments",
    "retries: a request sent again after a time-out needs an identity by which the system knows it",
)
_ADVICE: Final[Mapping[str, Advice]] = {
    "stale-read": _STALE,
    "stale": _STALE,
    "stale-beyond-bound": _STALE,
    "lost-write": _LOST,
    "lost": _LOST,
    "phantom-read": _PHANTOM,
    "phantom-value": _PHANTOM,
    "failed-write-visible": _REFUSED,
    "write-applied-twice": _TWICE,
    "duplicate": _TWICE,
    "read-from-future": Advice(
        "a value was seen before the operation that wrote it began",
        "clocks used to order operations; whether the client records its invocation before it sends "
        "the request",
    ),
    "not-linearizable": Advice(
        "no order of the operations explains all answers, though each pair of them may look fine",
        "between which two answers the object changed its mind: the order drawn, and the versions of "
        "the key where they are told",
    ),
    "divergence": Advice(
        "with all faults healed and all writes over, two nodes give different answers, and will go "
        "on doing so",
        "whether both apply the same log: compare their last applied index and term, snapshots "
        "installed, and entries truncated after they had been committed",
    ),
    "node-crash": Advice(
        "a node ended by itself; no fault told it to",
        "the first lines of the trace; an assertion that failed names the promise that was broken, "
        "and the state was wrong before it: look at what the node did after its last restart",
    ),
    "no-progress": Advice(
        "after the last fault had been healed some client had no success within the time allowed",
        "whether there was a leader at all (the lane of leaders); nodes that never came back; "
        "clients that keep asking one that cannot answer",
    ),
    "duplicate-id": Advice(
        "two clients were given the same identity",
        "whether the next range is durable before it is handed out, and what happens to it when the "
        "one who hands out is replaced",
    ),
    "unhandled-error": Advice(
        "an error came back that neither client nor workload foresaw",
        "the error's text; declare it as definite or indefinite, or mend what raises it",
    ),
}


def advice_for(kind: str) -> Advice | None:
    """The advice for a kind, or None."""
    return _ADVICE.get(kind)
