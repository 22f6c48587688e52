"""Snapshot isolation, obviously: all versions of each key in a list, looked through.

``judge`` replays a finished run: what clients know against what was committed.
"""

from __future__ import annotations

from itertools import pairwise

from splitbrain.cluster.messages.txn import MutationKind
from splitbrain.cluster.mvcc.records import WriteKind

from .clients import Txn
from .world import Broken

__all__ = ["Snapshots", "judge"]

Commits = dict[tuple[bytes, int], tuple[int, WriteKind, bytes | None]]
KIND = {
    MutationKind.PUT: WriteKind.PUT,
    MutationKind.INSERT: WriteKind.PUT,
    MutationKind.DELETE: WriteKind.DELETE,
    MutationKind.LOCK: WriteKind.LOCK,
}


class Snapshots:
    """Every version there ever was."""

    def __init__(self, commits: Commits) -> None:
        self.commits = commits

    def read(self, key: bytes, ts: int) -> bytes | None:
        versions = [
            (commit_ts, value)
            for (name, commit_ts), (_, kind, value) in self.commits.items()
            if name == key and kind is not WriteKind.LOCK and commit_ts <= ts
        ]
        return max(versions)[1] if versions else None

    def of(self, start_ts: int) -> dict[bytes, tuple[int, WriteKind, bytes | None]]:
        """What a transaction has committed: key -> commit_ts, kind, value."""
        return {
            key: (commit_ts, kind, value)
            for (key, commit_ts), (owner, kind, value) in self.commits.items()
            if owner == start_ts
        }


def judge(txns: list[Txn], commits: Commits) -> None:
    """Raises Broken unless the run was snapshot isolated and every answer true."""
    model = Snapshots(commits)
    for txn in txns:
        whole(txn, model)
        for key, ts, value in txn.reads:
            if value != model.read(key, ts):
                wanted = model.read(key, ts)
                raise Broken("read", f"{key!r} at {ts}: {value!r}, should be {wanted!r}")
    known = {txn.start_ts for txn in txns}
    for (key, commit_ts), (start_ts, _, _) in commits.items():
        if start_ts not in known:
            raise Broken("ghost", f"{start_ts} at {key!r} {commit_ts} is nobody's")
    lost_updates(txns, model)


def whole(txn: Txn, model: Snapshots) -> None:
    """All or nothing of it, as its client was told."""
    done = model.of(txn.start_ts)
    if txn.outcome == "failed" and done:
        raise Broken("failed-write", f"{txn} was told that it failed, and left {done}")
    if txn.outcome == "ok" and not done:
        raise Broken("lost-write", f"{txn} is nowhere")
    if not done:
        return
    if set(done) != set(txn.keys):
        raise Broken("half", f"{txn} left {done}")
    if len({commit_ts for commit_ts, _, _ in done.values()}) != 1:
        raise Broken("two-commits", f"{txn} left {done}")
    for key, (commit_ts, kind, value) in done.items():
        mutation = txn.mutations[key]
        expected = mutation.value if KIND[mutation.kind] is WriteKind.PUT else None
        if (kind, value) != (KIND[mutation.kind], expected):
            raise Broken("wrong-value", f"{txn} left {done}")
        if mutation.kind is MutationKind.INSERT:
            there = model.read(key, commit_ts - 1)
            if there is not None:
                raise Broken("insert", f"{txn} inserted over {there!r}")
        if txn.outcome == "ok" and commit_ts != txn.commit_ts:
            raise Broken("commit-ts", f"{txn} left {done}")


def lost_updates(txns: list[Txn], model: Snapshots) -> None:
    """Of two committed writers of a key, the later one began after the earlier was committed.

    A pessimistic writer began, for this key, at the for_update_ts of its lock.
    """
    writers: dict[bytes, list[tuple[int, int]]] = {}
    for txn in txns:
        for key, (commit_ts, _, _) in model.of(txn.start_ts).items():
            began = txn.for_update_ts.get(key, txn.start_ts)
            writers.setdefault(key, []).append((commit_ts, began))
    for key, found in writers.items():
        found.sort()
        for (earlier, _), (commit_ts, began) in pairwise(found):
            if began < earlier:
                raise Broken("lost-update", f"{key!r}: {began}..{commit_ts} over {earlier}")
