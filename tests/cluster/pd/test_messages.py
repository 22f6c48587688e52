"""What PD hears and says travels as bytes and comes back equal."""

from __future__ import annotations

import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import pd, pd_errors, pd_gc, pd_stores, pd_types, region
from splitbrain.cluster.raft.types import Message, MessageKind

PEER = region.Peer(11, 2, region.PeerRole.INCOMING_VOTER)
REGION = region.Region(7, b"a", b"k", region.Epoch(3, 4), (PEER, region.Peer(12, 3)))
STORE = pd_types.StoreMeta(2, "n2", "h:1", pd_types.StoreState.OFFLINE, (("dc", "dc1"),), "8.5")
CHANGE = pd_types.PeerChange(pd_types.PeerChangeKind.ADD_LEARNER, PEER)
PLACED = pd_types.PdRegion(REGION, PEER, (PEER,), (pd_types.DownPeer(PEER, 2.5),))

EXAMPLES = (
    pd.PdRaftBatch((Message(MessageKind.VOTE, "n1", "n2", 4),)),
    pd.Tso(64, cluster_id=9),
    pd.TsoReply(5, 6, 64),
    pd.GetMembersReply((pd_types.PdMember("n1", 1),), "n1", 9),
    pd.GetRegionReply(PLACED),
    pd.GetRegionReply(error=pd_errors.PdRegionNotFound(0, b"k")),
    pd.WatchTopologyReply(3, 8, True, (PLACED,), (5,), (STORE,)),
    pd_gc.GetGcStateReply(5, 5, (pd_types.GcBarrier("backup", 4, 30),)),
    pd_stores.Bootstrap(STORE, REGION),
    pd_stores.RegionHeartbeat(REGION, PEER, 5, PLACED.down, (PEER,), 1 << 20, 3),
    pd_stores.RegionHeartbeatReply(7, REGION.epoch, pd_types.StepTransferLeader(PEER)),
    pd_stores.RegionHeartbeatReply(7, REGION.epoch, pd_types.StepChangePeers((CHANGE, CHANGE))),
    pd_stores.RegionHeartbeatReply(7, REGION.epoch, pd_types.StepSplit((b"f",))),
    pd_stores.AskSplitReply((pd_types.SplitIds(20, (21, 22)),)),
)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_a_message_comes_back_equal(message):
    assert m.decode(m.encode(message)) == message


@pytest.mark.parametrize("ts", [0, 1, (1 << 18) - 1, 1 << 18, 1_700_000_000_000 << 18 | 77])
def test_a_timestamp_is_its_two_parts(ts):
    physical, logical = pd_types.split_ts(ts)
    assert 0 <= logical <= pd_types.MAX_LOGICAL
    assert pd_types.compose_ts(physical, logical) == ts
