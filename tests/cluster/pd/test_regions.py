"""Which news of regions is believed, and what is found by key: golden cases, and a plain twin."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster.messages.region import Epoch, Peer, Region
from splitbrain.cluster.pd.regions import Accepted, Refused, RegionInfo, RegionTree
from splitbrain.cluster.pd.topology import Topology

A, B = Peer(11, 1), Peer(12, 2)


def info(number, start=b"", end=b"", conf=1, version=1, leader=A, term=6):
    return RegionInfo(Region(number, start, end, Epoch(conf, version), (A, B)), leader, term)


# What is known, what comes, and what is to happen.
CASES = {
    "first": ([], info(1), Accepted(True, ())),
    "again": ([info(1)], info(1), Accepted(False, ())),
    "new leader": ([info(1)], info(1, leader=B, term=7), Accepted(True, ())),
    "old leader": ([info(1, term=7)], info(1, leader=B, term=6), "term 6"),
    "no term said": ([info(1, term=7)], info(1, term=0), Accepted(False, ())),
    "older version": ([info(1, version=2)], info(1), "epoch"),
    "older peers": ([info(1, conf=3)], info(1, conf=2, version=5), "epoch"),
    "shrunk": ([info(1)], info(1, b"m", b"", version=2), Accepted(True, ())),
    "new part first": ([info(1)], info(2, b"", b"m", version=2), Accepted(True, (1,))),
    "parent after": (
        [info(2, b"", b"m", version=2)],
        info(1, b"m", version=2),
        Accepted(True, ()),
    ),
    "parent too late": ([info(2, b"", b"m", version=2)], info(1), "region 2"),
    "merged": (
        [info(1, b"", b"m", version=2), info(2, b"m", version=2)],
        info(2, version=3),
        Accepted(True, (1,)),
    ),
    "source after merge": ([info(2, version=3)], info(1, b"", b"m", version=2), "region 2"),
    "swallows several": (
        [info(1, b"a", b"b"), info(2, b"b", b"c"), info(3, b"d", b"e")],
        info(4, b"a", b"d", version=2),
        Accepted(True, (1, 2)),
    ),
    "swallows one, not the other": (
        [info(1, b"a", b"b"), info(2, b"b", b"c", version=9)],
        info(4, b"a", b"d", version=2),
        "region 2",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_which_news_is_believed(name):
    known, news, wanted = CASES[name]
    tree = RegionTree()
    for one in known:
        assert isinstance(tree.put(one), Accepted)
    before = list(tree)
    got = tree.put(news)
    if isinstance(wanted, str):
        assert isinstance(got, Refused)
        assert wanted in got.reason
        assert list(tree) == before
    else:
        assert got == wanted
        assert tree.get(news.region.id) == news


keys = st.binary(max_size=2)
news = st.builds(
    lambda number, bounds, version, conf: info(
        number, min(bounds), max(bounds) if len(bounds) > 1 else b"", conf, version
    ),
    st.integers(1, 6),
    st.sets(keys, min_size=1, max_size=2),
    st.integers(1, 4),
    st.integers(1, 2),
)


def overlaps(one, other):
    return (not one.end or other.start < one.end) and (not other.end or one.start < other.end)


@given(st.lists(news, max_size=25), st.lists(keys, max_size=8))
def test_the_tree_is_a_list_without_overlaps(stream, probes):
    """The twin is a dictionary looked through from end to end."""
    tree, twin = RegionTree(), {}
    for one in stream:
        region, old = one.region, twin.get(one.region.id)
        others = [r for r in twin.values() if r.region.id != region.id]
        over = [r for r in others if overlaps(r.region, region)]
        stale = old is not None and (
            region.epoch.version < old.region.epoch.version
            or region.epoch.conf_version < old.region.epoch.conf_version
        )
        refused = stale or any(r.region.epoch.version > region.epoch.version for r in over)
        assert isinstance(tree.put(one), Refused) == refused
        if not refused:
            for gone in over:
                del twin[gone.region.id]
            twin[region.id] = one
    ordered = sorted(twin.values(), key=lambda r: r.region.start)
    assert list(tree) == ordered
    for key in probes:
        assert tree.find(key) == next((r for r in ordered if r.region.covers(key)), None)
    for start, end in pairwise(probes):
        wanted = [r for r in ordered if overlaps(r.region, Region(0, start, end))]
        if not end or start < end:
            assert list(tree.scan(start, end)) == wanted
            assert list(tree.scan(start, end, limit=1)) == wanted[:1]


@given(st.lists(st.tuples(st.sampled_from("csr"), st.integers(1, 5)), max_size=40), st.data())
def test_whoever_asks_learns_all_that_changed(changes, data):
    topology = Topology(term=3)
    history = []
    for kind, number in changes:
        if kind == "c":
            topology.region_changed(number)
        elif kind == "r":
            topology.region_removed(number)
        else:
            topology.store_changed(number)
        history.append((topology.revision, kind, number))
    known = data.draw(st.integers(1, topology.revision))
    got = topology.since(3, known)
    later = [(kind, number) for revision, kind, number in history if revision > known]
    fates = {number: kind for kind, number in later if kind != "s"}
    assert got.regions == tuple(sorted(n for n, kind in fates.items() if kind == "c"))
    assert got.removed == tuple(sorted(n for n, kind in fates.items() if kind == "r"))
    assert got.stores == tuple(sorted({n for kind, n in later if kind == "s"}))
    assert topology.news(3, known) == (known != topology.revision)
    assert topology.since(2, known).whole
    assert topology.since(3, topology.revision + 1).whole
