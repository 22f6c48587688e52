"""What a cluster is made of, both ways: regions, peers and stores (``metapb``)."""

from __future__ import annotations

from splitbrain.cluster.messages.region import Epoch, Peer, PeerRole, Region
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc.fields import Shape, choice, named, part, parts, same

__all__ = ["PEER", "REGION"]

PEER = Shape(Peer, metapb.Peer, *same("id", "store_id"), choice("role", PeerRole))

_EPOCH = Shape(Epoch, metapb.RegionEpoch, named("conf_version", "conf_ver"), *same("version"))

REGION = Shape(
    Region,
    metapb.Region,
    *same("id"),
    named("start", "start_key"),
    named("end", "end_key"),
    part("epoch", _EPOCH, "region_epoch"),
    parts("peers", PEER),
)
