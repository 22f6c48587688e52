"""Up to which timestamp a replica's state is final, so that it may be read there without asking.

The leader of a region finds out now and then, in this order: it takes a timestamp of the oracle;
``safe_ts`` raises ``max_ts`` to it, so that no transaction will choose a smaller commit timestamp for
itself, and lowers it below the locks that are there; the leader proves that it still is one; then it
sends the result with its applied index.  A replica that has applied that far may serve reads of
versions up to it: whoever locks a key later also commits later.

    >>> from splitbrain.cluster.messages.txn import Mutation, MutationKind, Prewrite
    >>> from splitbrain.cluster.mvcc.service import Mvcc
    >>> from splitbrain.cluster.storage.columns import Columns
    >>> state, memory = Columns(), Memory()
    >>> put = Mutation(MutationKind.PUT, b"k", b"v")
    >>> decision = Mvcc().decide(Prewrite((put,), b"k", start_ts=10), state, memory, (b"k",))
    >>> safe_ts(state, memory, 20), state.apply(decision.writes), safe_ts(state, memory, 30)
    (20, None, 9)
"""

from __future__ import annotations

from splitbrain.cluster.messages.key_errors import LockKind
from splitbrain.cluster.mvcc.engine import Reader
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.view import View

__all__ = ["safe_ts"]


def safe_ts(reader: Reader, memory: Memory, timestamp: int) -> int:
    """The largest version, up to ``timestamp``, of which nothing in ``reader`` will change.

    It stays below the locks' own start_ts, where a reader would find them in the way.  Pessimistic
    locks do not count: they become prewrites first, and those choose or ask for their commit
    timestamps afterwards.  Linear in the region's locks.
    """
    memory.raise_max_ts(timestamp)
    starts = [lock.start_ts for _, lock in memory.locks()]
    starts += [
        lock.start_ts
        for _, lock in View(reader).locks()
        if lock.kind is not LockKind.PESSIMISTIC
    ]
    return min([timestamp, *(start_ts - 1 for start_ts in starts)])
