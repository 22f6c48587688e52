"""What is wrong with one region, in the order of urgency (TiKV's PD: ``pkg/schedule/checker``).

1. It stands in a joint change that nobody drives: leave it.
2. A peer is dead: its leader does not hear it, and its store is down.  Replace it, or with more peers
   than wanted just remove it.
3. A peer is on a store that is to be emptied, or is no more: likewise.
4. There are too few voters: promote a learner that was left behind, or add a peer.
5. There are too many peers: remove the one whose loss costs least.
6. A peer shares its place with another and could stand elsewhere: move it.

The leader alone may call a peer dead, and PD alone a store: a leader that is cut off from a store which
PD hears, or PD from one that the leader hears, is no reason to move data.
"""

from __future__ import annotations

from collections.abc import Callable

from splitbrain.cluster.messages.pd_types import StoreState
from splitbrain.cluster.messages.region import Peer, PeerRole
from splitbrain.cluster.pd.goals import JOINT, Goal, Lead, Leave, Promote, is_joint
from splitbrain.cluster.pd.operators import Kind, Operator
from splitbrain.cluster.pd.plans import View, add_peer, remove_peer, replace_peer
from splitbrain.cluster.pd.regions import RegionInfo
from splitbrain.cluster.pd.stores import Liveness

__all__ = ["check"]

REPLICA = Kind.REPLICA


def check(view: View, info: RegionInfo) -> Operator | None:
    """What to do about the region; None if nothing is wrong, or nothing can be done now."""
    if info.leader is None:
        return None  # it cannot be told anything
    if is_joint(info.region):
        return _leave(view, info)
    for find in CHECKS:
        operator = find(view, info)
        if operator is not None:
            return operator
    return None


def _leave(view: View, info: RegionInfo) -> Operator | None:
    region, goals = info.region, list[Goal]()
    here = region.peer_on(info.leader_store)
    if here is not None and here.role is PeerRole.DEMOTING_VOTER:
        leader = view.best_leader(info)
        if leader is None:
            return None
        goals.append(Lead(leader))
    goals.append(Leave(sum(peer.role in JOINT for peer in region.peers)))
    return Operator("leave-joint", REPLICA, region.id, region.epoch, tuple(goals))


def _dead(view: View, info: RegionInfo) -> Operator | None:
    for down in info.down:
        store_id = down.peer.store_id
        if view.stores.liveness(store_id, view.now_ns) is Liveness.DOWN:
            return _out(view, "replace-down", info, down.peer)
    return None


def _offline(view: View, info: RegionInfo) -> Operator | None:
    for peer in info.region.peers:
        store = view.stores.get(peer.store_id)
        if store is None or store.state is not StoreState.UP:
            return _out(view, "replace-offline", info, peer)
    return None


def _out(view: View, name: str, info: RegionInfo, peer: Peer) -> Operator | None:
    """``peer`` must go: without a replacement if it is a learner or there are enough others."""
    others = [one.store_id for one in info.region.peers if one.id != peer.id]
    here = info.region.peer_on(peer.store_id)
    if here is None or here.id != peer.id:
        return None
    if here.role is PeerRole.LEARNER or len(info.region.peers) > view.config.replicas:
        return remove_peer(view, name, REPLICA, info, here)
    to = view.best_target(info, others)
    if to is None:
        return None
    return replace_peer(view, name, REPLICA, info, here, to)


def _too_few(view: View, info: RegionInfo) -> Operator | None:
    region = info.region
    voters = [peer for peer in region.peers if peer.role is PeerRole.VOTER]
    if len(voters) >= view.config.replicas:
        return None
    late = {peer.id for peer in info.pending} | {one.peer.id for one in info.down}
    for peer in region.peers:
        if peer.role is PeerRole.LEARNER and peer.id not in late:
            goals = (Promote(peer.store_id),)
            return Operator("promote-left-behind", REPLICA, region.id, region.epoch, goals)
    if len(region.peers) >= view.config.replicas:
        return None  # a learner is on its way
    to = view.best_target(info, [peer.store_id for peer in region.peers])
    return None if to is None else add_peer(view, "add-missing", REPLICA, info, to)


def _too_many(view: View, info: RegionInfo) -> Operator | None:
    """A learner first, then a peer that is late, then the one in the most crowded place."""
    peers = info.region.peers
    voters = sum(peer.role is PeerRole.VOTER for peer in peers)
    if len(peers) <= view.config.replicas or voters < view.config.replicas:
        return None
    stores = [peer.store_id for peer in peers]
    late = {peer.id for peer in info.pending} | {one.peer.id for one in info.down}

    def cost(peer: Peer) -> tuple[bool, bool, tuple[int, ...], bool, int, int]:
        place = tuple(-count for count in view.crowding(peer.store_id, stores))
        leads = peer.store_id == info.leader_store
        is_voter = peer.role is PeerRole.VOTER
        return is_voter, peer.id not in late, place, leads, -view.sizes[peer.store_id], peer.id

    return remove_peer(view, "remove-extra", REPLICA, info, min(peers, key=cost))


def _crowded(view: View, info: RegionInfo) -> Operator | None:
    """Move the most crowded peer, if elsewhere it would be less so (not just as much)."""
    if not view.config.location_labels or info.pending or info.down:
        return None
    peers = info.region.peers
    stores = [peer.store_id for peer in peers]
    worst = max(peers, key=lambda peer: (view.crowding(peer.store_id, stores), -peer.id))
    others = [store_id for store_id in stores if store_id != worst.store_id]
    to = view.best_target(info, others)
    if to is None or view.crowding(to, others) >= view.crowding(worst.store_id, others):
        return None
    return replace_peer(view, "better-place", REPLICA, info, worst, to)


CHECKS: tuple[Callable[[View, RegionInfo], Operator | None], ...] = (
    _dead,
    _offline,
    _too_few,
    _too_many,
    _crowded,
)
