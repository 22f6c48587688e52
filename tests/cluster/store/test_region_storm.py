"""Storms over many seeds; and storms with a planted mistake, which must be found."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import RaftPanic
from splitbrain.cluster.storage.columns import Columns
from splitbrain.cluster.store.peer import Peer
from splitbrain.cluster.store.regions import RegionSnapshot, pack_snapshot, unpack_snapshot
from splitbrain.cluster.store.replies import answer_raw
from splitbrain.cluster.store.shell import Store

from .region_storm import Broken, RegionStorm


def run(new_world, seeds, steps=250, **options):
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            seen += RegionStorm(new_world, seed, **options).run(steps)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return seen


@pytest.mark.parametrize("chunk", range(4))
def test_regions_survive(new_world, chunk):
    seen = run(new_world, range(chunk * 5, chunk * 5 + 5))
    # A storm in which nothing happens proves nothing.
    assert seen["write-ok"] > 250
    assert seen["read-ok"] > 120
    assert seen["splits"] > 3
    assert seen["changes"] > 6
    assert seen["regions"] > 6
    assert seen["EpochNotMatch"] > 10


@pytest.mark.deep
@pytest.mark.parametrize("chunk", range(20))
def test_regions_survive_for_long(new_world, chunk):
    run(new_world, range(1000 + chunk * 10, 1010 + chunk * 10), steps=500)


class NoEpochAtApply(Peer):
    """R32, and both of the guards that would hide it."""

    def _is_stale(self, version, region):
        return False

    def _key_outside(self, command, region):
        return None

    def _holds_back(self):
        return False


class MaskedNoEpochAtApply(Peer):
    """R32 alone: the test of keys still stands behind it."""

    def _is_stale(self, version, region):
        return False


class NoEpochAtRead(Peer):
    """A read that was asked before a split is answered after it, from what is left."""

    def read(self, request):
        return answer_raw(request, self.state)


class HastyReplica(Peer):
    """A replica serves a read by the leader's leave, but without waiting for the leader's index."""

    def on_read_grant(self, grant):
        super().on_read_grant(msgspec.structs.replace(grant, index=0))


class EmptySnapshot(Peer):
    """R22, taken to the end: no column is in the snapshot."""

    def _take_snapshot(self):
        whole = super()._take_snapshot()
        region = unpack_snapshot(whole.data).region
        empty = pack_snapshot(RegionSnapshot(region, Columns().snapshot()))
        return msgspec.structs.replace(whole, data=empty)


@pytest.mark.parametrize(
    ("peer", "least", "most"),
    [
        (NoEpochAtApply, 3, 8),
        (NoEpochAtRead, 3, 8),
        (HastyReplica, 1, 8),
        (EmptySnapshot, 3, 8),
        (MaskedNoEpochAtApply, 0, 0),
    ],
)
def test_a_storm_finds_a_mistake(new_world, peer, least, most):
    def make(config, env):
        return Store(config, env, raft_class=Raft, peer_class=peer)

    found = 0
    for seed in range(8):
        try:
            RegionStorm(new_world, seed, make=make).run(250)
        except (Broken, RaftPanic):
            found += 1
    assert least <= found <= most
