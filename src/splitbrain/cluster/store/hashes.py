"""Do the replicas hold the same?  Each hashes its state at one entry of the log, and is then asked.

Sixth chapter of :class:`~splitbrain.cluster.store.peer.Peer`.  The leader proposes ``ComputeHash``;
whoever applies it makes a tree of its state at that entry, and keeps the last few.  A replica that
got past the entry by a snapshot, or has started again since, has no tree of it: it *skipped* the
check, and nothing is said of it.  (TiKV: ComputeHash and VerifyHash, by which replicas panic; here
whoever asked compares, and learns which keys differ.)

The tree is made within the turn that applies the entry, in time linear in the region's keys.
"""

from __future__ import annotations

from typing import Any

from splitbrain.cluster.messages import RegionError, ServerIsBusy
from splitbrain.cluster.mvcc.gc import live_items
from splitbrain.cluster.raft.types import Entry, Role
from splitbrain.cluster.storage.commands import ComputeHash, encode_command
from splitbrain.cluster.storage.logfile import GroupLog
from splitbrain.cluster.storage.merkle import Tree
from splitbrain.cluster.store.admin import Admin
from splitbrain.cluster.store.host import Host

__all__ = ["Hashing"]

KEPT = 4
"""So many checks are remembered."""


class Hashing(Admin):
    """The trees of the last few checks."""

    def __init__(self, host: Host, log: GroupLog, region_id: int, peer_id: int) -> None:
        super().__init__(host, log, region_id, peer_id)
        self._trees: dict[tuple[int, int], Tree] = {}

    def start_check(self, safe_point: int = 0) -> tuple[int, int] | RegionError:
        """Propose a check: the index and term of its entry, or why it cannot be had."""
        raft = self.raft
        if raft.role is not Role.LEADER or self.region is None:
            return self.not_leader()
        place = raft.propose(encode_command(ComputeHash(safe_point)))
        if place is None:
            return ServerIsBusy("the core takes no entry now")
        self.host.wake(self)
        return place

    def _apply_hash(self, command: ComputeHash, entry: Entry) -> None:
        tree = Tree(live_items(self.state, command.safe_point))
        while len(self._trees) >= KEPT:
            del self._trees[next(iter(self._trees))]
        self._trees[entry.index, entry.term] = tree
        self.event("hash", index=entry.index, hash=tree.node().hash)

    def hash_node(self, index: int, term: int, path: str = "") -> dict[str, Any]:
        """A node of the tree made at an entry; JSON-able, keys and values in hex.

        ``state`` is hashed, or pending (the entry is not applied yet), or skipped: applied, or
        overtaken, and there is no tree of it.

        Raises:
            ValueError: ``path`` is none.
        """
        tree = self._trees.get((index, term))
        if tree is None:
            past = self.raft.applied_index >= index
            return {"state": "skipped" if past else "pending"}
        node = tree.node(path)
        return {
            "state": "hashed",
            "hash": node.hash,
            "below": node.below,
            "branches": list(node.branches),
            "items": [
                [int(column), key.hex(), value.hex()] for column, key, value in node.items
            ],
        }
