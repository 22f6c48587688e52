"""What a tester is told of a region: every lock and record, of any kind, also where a value is lost."""

from __future__ import annotations

from splitbrain.cluster.messages.txn import (
    BatchRollback,
    Commit,
    Mutation,
    MutationKind,
    Prewrite,
)
from splitbrain.cluster.mvcc.codec import encode_key, versioned
from splitbrain.cluster.mvcc.listing import listing
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.storage.columns import Column, Columns

LONG = b"x" * 300


def state() -> Columns:
    """One committed long value, one deletion, one rollback, and one lock."""
    mvcc, columns, memory = Mvcc(), Columns(), Memory()
    for request in (
        Prewrite((Mutation(MutationKind.PUT, b"a", LONG),), b"a", 10),
        Commit((b"a",), 10, 12),
        Prewrite((Mutation(MutationKind.DELETE, b"a"),), b"a", 20),
        Commit((b"a",), 20, 22),
        BatchRollback((b"b",), 30),
        Prewrite((Mutation(MutationKind.PUT, b"c", b"v"),), b"c", 40),
    ):
        decision = mvcc.decide(request, columns, memory, mvcc.keys_of(request, columns))
        columns.apply(decision.writes)
    return columns


def test_everything_is_listed() -> None:
    told = listing(state(), b"", b"", 7)
    assert told.applied == 7
    assert [
        (one.key, one.commit_ts, one.start_ts, one.kind, one.value) for one in told.records
    ] == [
        (b"a", 22, 20, "delete", None),
        (b"a", 12, 10, "put", LONG),
        (b"b", 30, 30, "rollback", None),
    ]
    assert [(one.lock.key, one.lock.start_ts, one.value) for one in told.locks] == [
        (b"c", 40, b"v")
    ]


def test_bounds_are_cut_and_told_as_users_know_them() -> None:
    told = listing(state(), encode_key(b"b"), encode_key(b"c"), 1)
    assert (told.start, told.end) == (b"b", b"c")
    assert [one.key for one in told.records] == [b"b"]
    assert told.locks == ()


def test_a_value_that_is_lost_is_told_as_none() -> None:
    columns = state()
    columns.apply(((Column.DEFAULT, versioned(encode_key(b"a"), 10), None),))
    assert listing(columns, b"", b"", 1).records[1].value is None
