"""Making the cluster even: leaderships by number, peers by size; scatter; evict leaders.

A move for balance must leave its source above its target, with everything under way counted in:
otherwise the next look would move it back, and so on for ever.  Beyond that, differences within a
tolerance are left alone, as moving costs more than they do.  (TiKV's PD: ``pkg/schedule/schedulers``.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from splitbrain.cluster.messages.region import PeerRole
from splitbrain.cluster.pd.goals import is_joint
from splitbrain.cluster.pd.operators import Kind, Operator
from splitbrain.cluster.pd.plans import View, move_leader, replace_peer
from splitbrain.cluster.pd.regions import RegionInfo

__all__ = ["balance_leader", "balance_region", "evict_leaders", "scatter"]


def balance_leader(view: View) -> Operator | None:
    """One leadership from the store with the most to one with the fewest that can take it.

    Source - tolerance > target + tolerance; with a tolerance of 1 or more the source keeps at
    least one more than the target after the move.
    """
    tolerance = max(1, view.config.leader_tolerance)
    for source in sorted(view.usable, key=lambda one: (-view.leaders[one], one)):
        led = [
            info for info in view.regions if info.leader_store == source and _free(view, info)
        ]
        best: tuple[int, int, RegionInfo] | None = None
        for info in led:
            target = view.best_leader(info)
            if target is None:
                continue
            if view.leaders[source] - tolerance <= view.leaders[target] + tolerance:
                continue
            if best is None or view.leaders[target] < best[0]:
                best = (view.leaders[target], target, info)
        if best is not None:
            return move_leader("balance-leader", Kind.LEADER, best[2], best[1])
    return None


def balance_region(view: View) -> Operator | None:
    """One peer from the fullest store to the emptiest that suits it.

    The difference must exceed twice the tolerance and twice the region's own size.  A place that is
    more crowded than the old one is no target: a checker would move it back.
    """
    if not len(view.regions):
        return None
    average = sum(view.sizes.values()) / max(1, sum(view.peers.values()))
    margin = 2 * view.config.region_tolerance * average
    for source in sorted(view.usable, key=lambda one: (-view.sizes[one], one)):
        for info in view.regions:
            old = info.region.peer_on(source)
            if old is None or not _healthy(view, info):
                continue
            others = [one.store_id for one in info.region.peers if one.store_id != source]
            size = max(1, info.size_bytes)
            fits = [
                one
                for one in view.usable
                if view.suits(one, info)
                and view.sizes[source] - view.sizes[one] > max(margin, 2 * size)
                and view.crowding(one, others) <= view.crowding(source, others)
            ]
            if fits:
                to = min(fits, key=lambda one: (view.sizes[one], one))
                return replace_peer(view, "balance-region", Kind.REGION, info, old, to)
    return None


def evict_leaders(view: View) -> list[Operator]:
    """Move every leadership away from stores that shall lead nothing."""
    operators = []
    for info in view.regions:
        if info.leader_store in view.evicting and _free(view, info):
            to = view.best_leader(info)
            if to is not None:
                operators.append(move_leader("evict-leader", Kind.ADMIN, info, to))
                view.planned(operators[-1], info)
    return operators


def scatter(view: View, region_ids: Iterable[int]) -> list[Operator]:
    """Spread these regions, whatever the others do: one move of a peer or of the lead for each."""
    group = [info for info in map(view.regions.get, region_ids) if info is not None]
    peers: Counter[int] = Counter()
    leaders: Counter[int] = Counter()
    for info in group:
        peers.update(peer.store_id for peer in info.region.peers)
        leaders[info.leader_store] += 1
    operators = []
    for info in group:
        if not _healthy(view, info):
            continue
        operator = _scatter_peer(view, info, peers) or _scatter_leader(view, info, leaders)
        if operator is not None:
            operators.append(operator)
            leader_moves, peer_moves = operator.influence(info)
            leaders.update(leader_moves)
            peers.update(peer_moves)
    return operators


def _scatter_peer(view: View, info: RegionInfo, peers: Counter[int]) -> Operator | None:
    old = max(info.region.peers, key=lambda one: (peers[one.store_id], -one.id))
    others = [one.store_id for one in info.region.peers if one.id != old.id]
    fits = [
        one
        for one in view.usable
        if view.suits(one, info)
        and peers[old.store_id] - peers[one] >= 2
        and view.crowding(one, others) <= view.crowding(old.store_id, others)
    ]
    if not fits:
        return None
    to = min(fits, key=lambda one: (peers[one], one))
    return replace_peer(view, "scatter-peer", Kind.ADMIN, info, old, to)


def _scatter_leader(view: View, info: RegionInfo, leaders: Counter[int]) -> Operator | None:
    source = info.leader_store
    fits = [
        one.store_id
        for one in info.region.peers
        if one.role is PeerRole.VOTER
        and one.store_id in view.usable
        and one.store_id not in view.evicting
        and leaders[source] - leaders[one.store_id] >= 2
    ]
    if not fits:
        return None
    to = min(fits, key=lambda one: (leaders[one], one))
    return move_leader("scatter-leader", Kind.ADMIN, info, to)


def _free(view: View, info: RegionInfo) -> bool:
    """Is nothing under way with the region, and is it in no joint change?"""
    return view.operators.get(info.region.id) is None and not is_joint(info.region)


def _healthy(view: View, info: RegionInfo) -> bool:
    """All its peers are there and up to date, and it is free."""
    peers = info.region.peers
    whole = len(peers) == view.config.replicas and all(
        peer.role is PeerRole.VOTER for peer in peers
    )
    return (
        whole
        and not info.down
        and not info.pending
        and info.leader is not None
        and _free(view, info)
    )
