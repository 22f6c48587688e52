"""Who waits for whom, in the whole cluster: a wait that would close a circle is refused.

One store is the detector (in TiKV: the leader of the region that holds the empty key).  The others tell
it each wait for a pessimistic lock before they let it wait.  The graph lives in that store's memory; it
is a help against long waits, not a promise: a change of detector forgets it, and edges expire, since
the message that a wait is over may be lost.  What remains undetected ends by the waits' own limit.

    >>> graph = WaitGraph(ttl_ms=1000)
    >>> graph.detect(WaitForEntry(1, 2, b"b"), now_ms=0)
    >>> graph.detect(WaitForEntry(2, 3, b"c"), now_ms=0)
    >>> found = graph.detect(WaitForEntry(3, 1, b"a"), now_ms=500)
    >>> found.lock_ts, [(edge.txn, edge.wait_for_txn) for edge in found.wait_chain]
    (1, [(1, 2), (2, 3), (3, 1)])
    >>> graph.detect(WaitForEntry(3, 1, b"a"), now_ms=2000)     # the others have expired
"""

from __future__ import annotations

from splitbrain.cluster.messages.key_errors import Deadlock, WaitForEntry
from splitbrain.cluster.mvcc.codec import encode_key

__all__ = ["TTL_MS", "WaitGraph", "key_hash"]

TTL_MS = 120_000
"""How long an edge counts after it was last told."""


def key_hash(key: bytes) -> int:
    """A number for a key, the same in every process (FNV-1a, 64 bits, of the encoded key)."""
    value = 0xCBF29CE484222325
    for byte in encode_key(key):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


class WaitGraph:
    """Edges between transactions, each with the key waited at and its time of expiry.

    ``now_ms`` is any clock that does not go back, the same in all calls.
    """

    def __init__(self, ttl_ms: int = TTL_MS) -> None:
        self._ttl_ms = ttl_ms
        self._edges: dict[int, dict[tuple[int, bytes], int]] = {}

    def __len__(self) -> int:
        return sum(len(edges) for edges in self._edges.values())

    def detect(self, wait: WaitForEntry, now_ms: int) -> Deadlock | None:
        """Note that ``wait`` begins; or, if it would close a circle, refuse it and name the circle.

        The chain begins at the transaction waited for and ends with ``wait``; the key whose hash is
        told is the victim's own, at which the circle's last but one waits.
        Linear in the edges reached.
        """
        chain = self._path(wait.wait_for_txn, wait.txn, now_ms)
        if chain is not None:
            return Deadlock(
                lock_ts=wait.wait_for_txn,
                lock_key=wait.key,
                deadlock_key_hash=key_hash(chain[-1].key if chain else wait.key),
                wait_chain=(*chain, wait),
            )
        edges = self._edges.setdefault(wait.txn, {})
        edges[wait.wait_for_txn, wait.key] = now_ms + self._ttl_ms
        return None

    def _path(self, start: int, goal: int, now_ms: int) -> list[WaitForEntry] | None:
        """Edges that live from ``start`` to ``goal``, the fewest; None: there is no way."""
        came: dict[int, WaitForEntry | None] = {start: None}
        front = [start]
        while front and goal not in came:
            beyond = []
            for txn in front:
                for other, key in self._alive(txn, now_ms):
                    if other not in came:
                        came[other] = WaitForEntry(txn, other, key)
                        beyond.append(other)
            front = beyond
        if goal not in came:
            return None
        chain: list[WaitForEntry] = []
        edge = came[goal]
        while edge is not None:
            chain.insert(0, edge)
            edge = came[edge.txn]
        return chain

    def _alive(self, txn: int, now_ms: int) -> list[tuple[int, bytes]]:
        """Whom ``txn`` waits for; edges that have expired are dropped on the way."""
        edges = self._edges.get(txn)
        if edges is None:
            return []
        for edge in [edge for edge, expires_ms in edges.items() if expires_ms <= now_ms]:
            del edges[edge]
        if not edges:
            del self._edges[txn]
        return list(edges)

    def ended(self, wait: WaitForEntry) -> None:
        """``wait`` is over: granted, refused or timed out."""
        edges = self._edges.get(wait.txn, {})
        edges.pop((wait.wait_for_txn, wait.key), None)
        if not edges:
            self._edges.pop(wait.txn, None)

    def finished(self, txn: int) -> None:
        """``txn`` waits for nobody any more."""
        self._edges.pop(txn, None)

    def expire(self, now_ms: int) -> None:
        """Drop all edges whose time is over, so that the graph stays small."""
        for txn in list(self._edges):
            self._alive(txn, now_ms)
