"""Latches against the rule in words; the graph of waits against networkx."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster.messages.key_errors import WaitForEntry
from splitbrain.cluster.mvcc.deadlock import WaitGraph, key_hash
from splitbrain.cluster.mvcc.latches import Latches

KEY_SETS = st.sets(st.sampled_from([b"a", b"b", b"c", b"d"]))


@given(st.lists(KEY_SETS | st.integers(0, 20), max_size=40))
def test_a_request_runs_when_no_earlier_one_wants_a_key_of_its_own(
    steps: list[set[bytes] | int],
) -> None:
    latches = Latches()
    queue: list[tuple[int, frozenset[bytes]]] = []  # all that hold or wait, the first first
    running: set[int] = set()

    def may_run() -> set[int]:
        taken: set[bytes] = set()
        free = set()
        for number, keys in queue:
            if not keys & taken:
                free.add(number)
            taken |= keys
        return free

    for number, step in enumerate(steps):
        if isinstance(step, int):
            if not queue:
                continue
            gone = queue.pop(step % len(queue))[0]
            ready = latches.release(gone)
            running.discard(gone)
            assert set(ready) == may_run() - running
            assert len(ready) == len(set(ready))
            running |= set(ready)
        else:
            queue.append((number, frozenset(step)))
            got = latches.acquire(number, tuple(sorted(step)))
            assert got == (number in may_run())
            running |= {number} if got else set()
        assert running == may_run()
        assert len(latches) == len(queue)


def test_a_number_is_used_once_at_a_time() -> None:
    latches = Latches()
    latches.acquire(1, (b"k",))
    with pytest.raises(AssertionError, match="request 1"):
        latches.acquire(1, (b"l",))


EDGES = st.tuples(st.integers(1, 4), st.integers(1, 4)).filter(lambda edge: edge[0] != edge[1])


@given(st.lists(st.tuples(EDGES, st.integers(0, 3), st.booleans()), max_size=40))
def test_a_circle_is_found_if_there_is_one(
    steps: list[tuple[tuple[int, int], int, bool]],
) -> None:
    graph, now = WaitGraph(ttl_ms=10), 0
    expires: dict[tuple[int, int], int] = {}
    for (txn, other), passed, over in steps:
        now += passed
        wait = WaitForEntry(txn, other, b"%d" % other)
        if over:
            graph.ended(wait)
            expires.pop((txn, other), None)
            continue
        alive = nx.DiGraph(edge for edge, until in expires.items() if until > now)
        alive.add_nodes_from((txn, other))
        found = graph.detect(wait, now)
        assert (found is not None) == nx.has_path(alive, other, txn)
        if found is None:
            expires[txn, other] = now + 10
            continue
        chain = found.wait_chain
        assert chain[-1] == wait
        assert [edge.txn for edge in chain[1:]] == [edge.wait_for_txn for edge in chain[:-1]]
        assert chain[0].txn == other
        assert len(chain) == nx.shortest_path_length(alive, other, txn) + 1
        assert found.deadlock_key_hash == key_hash(chain[-2].key)
        assert (found.lock_ts, found.lock_key) == (other, wait.key)
    graph.expire(now + 10)
    assert len(graph) == 0


def test_a_wait_that_is_over_is_forgotten_and_another_at_another_key_is_not() -> None:
    graph = WaitGraph()
    graph.detect(WaitForEntry(1, 2, b"a"), 0)
    graph.detect(WaitForEntry(1, 2, b"b"), 0)
    graph.ended(WaitForEntry(1, 2, b"a"))
    assert graph.detect(WaitForEntry(2, 1, b"c"), 0) is not None
    graph.ended(WaitForEntry(1, 2, b"b"))
    graph.ended(WaitForEntry(1, 2, b"b"))
    assert len(graph) == 0
    assert graph.detect(WaitForEntry(2, 1, b"c"), 0) is None


def test_a_finished_transaction_waits_for_nobody() -> None:
    graph = WaitGraph()
    graph.detect(WaitForEntry(1, 2, b"a"), 0)
    graph.detect(WaitForEntry(1, 3, b"b"), 0)
    graph.finished(1)
    assert len(graph) == 0
    assert graph.detect(WaitForEntry(2, 1, b"c"), 0) is None


def test_a_keys_hash_is_the_same_everywhere() -> None:
    assert key_hash(b"k") == 0x820D1636F1631D02
