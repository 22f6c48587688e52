"""The log's marks, above all: what is durable when writes end out of step with truncation."""

from __future__ import annotations

import random

import pytest

from splitbrain.cluster.raft.log import RaftLog
from splitbrain.cluster.raft.types import Entry, EntryKind, RaftPanic, SnapshotMeta


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.NORMAL, b"%d/%d" % (index, term))


def log_of(*terms: int, off: frozenset[str] = frozenset()) -> RaftLog:
    return RaftLog(SnapshotMeta(), [entry(i, t) for i, t in enumerate(terms, 1)], off)


def test_what_is_given_at_the_start_is_durable() -> None:
    log = log_of(1, 1, 2)
    assert (log.last, log.stable, log.handed, log.last_term()) == (3, 3, 3, 2)
    assert log.take_unwritten(1) == ()


def test_a_gap_in_the_stored_log_is_refused() -> None:
    with pytest.raises(ValueError, match="entry 3 in the place of 2"):
        RaftLog(SnapshotMeta(), [entry(1, 1), entry(3, 1)], frozenset())


def test_a_write_that_was_overtaken_says_nothing_of_what_replaced_it() -> None:
    log = log_of(1)
    log.extend([entry(2, 2), entry(3, 2)])
    assert log.take_unwritten(1) == (entry(2, 2), entry(3, 2))
    log.truncate(3)
    log.append(entry(3, 3))
    assert log.take_unwritten(2) == (entry(3, 3),)
    assert log.persisted(1)
    assert log.stable == 2
    assert log.persisted(2)
    assert log.stable == 3


def test_not_even_if_the_same_entry_comes_back() -> None:
    """A, B, A: while B's and the second A's writes are open, a crash may show B."""
    log = log_of(1)
    log.append(entry(2, 2))
    log.take_unwritten(1)
    log.truncate(2)
    log.append(entry(2, 3))
    log.take_unwritten(2)
    log.truncate(2)
    log.append(entry(2, 2))
    log.take_unwritten(3)
    log.persisted(1)
    assert log.stable == 1
    log.persisted(2)
    assert log.stable == 1
    log.persisted(3)
    assert log.stable == 2


def test_only_the_committed_prefix_outlives_a_snapshot() -> None:
    log = log_of(1, 1, 1, 1, 1, 1)
    log.append(entry(7, 1))
    log.take_unwritten(1)
    log.commit_to(2)
    log.restore(SnapshotMeta(5, 3), 2)
    log.append(entry(6, 3))
    log.take_unwritten(2)
    log.persisted(1)
    assert log.stable == 2  # not 7: those entries are gone
    log.commit_to(6)
    assert log.take_committed(10) == ()
    log.persisted(2)
    assert (log.stable, log.take_committed(10)) == (6, (entry(6, 3),))


def test_commit_is_handed_out_only_where_durable() -> None:
    log = log_of()
    log.extend([entry(1, 1), entry(2, 1)])
    log.commit_to(2)
    assert log.take_committed(10) == ()
    log.take_unwritten(1)
    log.persisted(1)
    assert log.take_committed(1) == (entry(1, 1),)
    assert log.take_committed(10) == (entry(2, 1),)


@pytest.mark.parametrize(
    ("reason", "break_it"),
    [
        ("commit-beyond-last", lambda log: log.commit_to(4)),
        ("conflict-below-commit", lambda log: log.truncate(2)),
        ("conflict-below-commit", lambda log: log.check_committed(1, 1, [entry(2, 9)])),
        ("conflict-below-commit", lambda log: log.check_committed(2, 9, [])),
        ("applied-not-consecutive", lambda log: log.note_applied(3)),
    ],
)
def test_assertions_fire_and_can_be_turned_off(reason: str, break_it: object) -> None:
    assert callable(break_it)
    for off in (frozenset[str](), frozenset({reason})):
        log = log_of(1, 1, 1, off=off)
        log.commit_to(2)
        log.take_committed(9)
        if off:
            break_it(log)
        else:
            with pytest.raises(RaftPanic, match=reason) as caught:
                break_it(log)
            assert caught.value.reason == reason


def test_a_commit_beyond_the_end_stops_at_the_end_if_it_must_not_panic() -> None:
    log = log_of(1, 1, off=frozenset({"commit-beyond-last"}))
    log.commit_to(9)
    assert log.commit == 2


def test_slices_keep_both_limits_and_one_entry_always_fits() -> None:
    log = log_of(1, 1, 1, 1)
    assert len(log.slice(2, 2, 1000)) == 2
    assert len(log.slice(1, 9, 7)) == 2  # three bytes each
    assert log.slice(3, 9, 0) == (entry(3, 1),)


def test_compaction_keeps_the_term_at_the_edge() -> None:
    log = log_of(1, 1, 2, 3)
    log.commit_to(4)
    log.take_committed(9)
    log.note_applied(4)
    log.compact(3)
    log.compact(2)  # a lower one later: nothing to do
    assert [log.term(i) for i in (2, 3, 4, 5)] == [-1, 2, 3, -1]
    assert log.slice(4, 9, 99) == (entry(4, 3),)


def test_agreement_hints_against_a_dumb_twin() -> None:
    draw = random.Random(5)
    for _ in range(300):
        terms = sorted(draw.choices(range(1, 6), k=draw.randrange(1, 9)))
        log = log_of(*terms)
        index, term = draw.randrange(1, 12), draw.randrange(0, 7)
        fitting = [i for i, t in enumerate(terms, 1) if i <= index and t <= term]
        best = max(fitting, default=0)
        assert log.agree_before(index, term) == (best, terms[best - 1] if best else 0)
