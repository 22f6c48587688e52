"""Stores and regions without keys: they send heartbeats to PD's core and do what it says.

A region does a step as TiKV does: only at the epoch for which it was told, and never what TiKV
refuses; a step that would be refused is counted in ``refused``.
"""

from __future__ import annotations

from random import Random as Draws

import msgspec

from splitbrain.cluster.messages import pd_stores, pd_types
from splitbrain.cluster.messages.pd import SetStoreState
from splitbrain.cluster.messages.pd_types import PeerChangeKind, StoreState
from splitbrain.cluster.messages.region import Epoch, Peer, PeerRole, Region
from splitbrain.cluster.pd.cluster import Cluster
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.goals import is_joint
from splitbrain.cluster.pd.state import Change, PdState, SaveRegions

VOTER, LEARNER = PeerRole.VOTER, PeerRole.LEARNER
INCOMING, DEMOTING = PeerRole.INCOMING_VOTER, PeerRole.DEMOTING_VOTER
SECOND = 1_000_000_000
MB = 1 << 20


def has_quorum(region: Region, alive: set[int]) -> bool:
    """In both memberships of a joint one."""
    for roles in ((VOTER, INCOMING), (VOTER, DEMOTING)):
        voters = [peer.store_id in alive for peer in region.peers if peer.role in roles]
        if 2 * sum(voters) <= len(voters):
            return False
    return True


class Farm:
    """``regions`` of equal size, at first all on the first ``replicas`` stores, led by the first."""

    def __init__(self, stores, regions, *, dcs=0, seed=1, loss=0.0, start=None, **options):
        self.config = PdConfig(node="n1", nodes=("n1",), **options)
        self.draws = Draws(seed)
        self.loss = loss
        self.now_ns = 0
        self.ids = 10_000
        self.alive = set(range(1, stores + 1))
        self.silent_s = dict.fromkeys(self.alive, 0.0)
        self.state = PdState(replicas=self.config.replicas)
        self.refused, self.moves, self.done = [], 0, []
        homes = start or range(1, self.config.replicas + 1)
        self.regions, self.leaders, self.terms, self.late = {}, {}, {}, {}
        for number in range(regions):
            first = b"" if number == 0 else b"%04d" % number
            last = b"" if number == regions - 1 else b"%04d" % (number + 1)
            peers = tuple(Peer(self.take(1), home) for home in homes)
            self.put(Region(100 + number, first, last, Epoch(), peers), peers[0].store_id)
        whole = msgspec.structs.replace(self.regions[100], start=b"", end=b"")
        for number in sorted(self.alive):
            labels = (("dc", f"dc{(number - 1) % dcs}"),) if dcs else ()
            meta = pd_types.StoreMeta(number, f"n{number}", labels=labels)
            found = pd_stores.Bootstrap(meta, whole)
            if not self.state.bootstrapped:
                assert self.state.apply(Change(found)).error is None
            else:
                self.state.apply(Change(pd_stores.PutStore(meta)))
        self.size = 10 * MB
        self.lead()

    def lead(self) -> None:
        """PD has a new leader, which knows what is replicated and has heard nothing yet."""
        self.cluster = Cluster(self.config, self.state, 1, self.now_ns)

    def take(self, count: int) -> int:
        self.ids += count
        return self.ids - 1

    def put(self, region: Region, leader: int, term: int = 6) -> None:
        self.regions[region.id] = region
        self.leaders[region.id] = leader
        self.terms[region.id] = term
        self.late.setdefault(region.id, {})

    # -- time

    def run(self, seconds: int) -> None:
        """A round a second."""
        for _ in range(seconds):
            self.now_ns += SECOND
            for store_id in self.silent_s:
                up = store_id in self.alive
                self.silent_s[store_id] = 0.0 if up else self.silent_s[store_id] + 1
                if up:
                    held = sum(r.peer_on(store_id) is not None for r in self.regions.values())
                    stats = pd_types.StoreStats(region_count=held)
                    beat = pd_stores.StoreHeartbeat(store_id, stats)
                    self.cluster.store_heartbeat(beat, self.now_ns)
            for change in self.cluster.schedule(self.now_ns, self.take):
                assert isinstance(change, SetStoreState)
                self.state.apply(Change(change))
                self.cluster.changed(change)
            for region_id in sorted(self.regions):
                self.heartbeat(region_id)
            self.state.apply(SaveRegions(tuple(self.cluster.unsaved.values())))
            self.cluster.unsaved.clear()

    def heartbeat(self, region_id: int) -> None:
        """One, and more as long as each brings a step that is done."""
        for _ in range(20):
            region = self.regions[region_id]
            self.elect(region)
            leader = region.peer_on(self.leaders[region_id])
            if leader is None or leader.store_id not in self.alive:
                return
            step = self.ask(region, leader)
            if step is None or self.draws.random() < self.loss:
                return
            self.do(region, leader, step)

    def ask(self, region, leader):
        late = self.late[region.id]
        for peer in region.peers:
            if peer.id in late and peer.store_id in self.alive:
                late[peer.id] -= 1
                if late[peer.id] <= 0:
                    del late[peer.id]
        answer = self.cluster.region_heartbeat(
            pd_stores.RegionHeartbeat(
                region,
                leader,
                self.terms[region.id],
                tuple(
                    pd_types.DownPeer(peer, self.silent_s[peer.store_id])
                    for peer in region.peers
                    if self.silent_s[peer.store_id] > 3
                ),
                tuple(peer for peer in region.peers if peer.id in late),
                self.size,
            ),
            self.now_ns,
        )
        assert answer.error is None, answer.error
        assert answer.epoch == region.epoch
        return answer.step

    def elect(self, region) -> None:
        """If the leader is dead, another voter leads, once a majority lives."""
        if self.leaders[region.id] not in self.alive and has_quorum(region, self.alive):
            fits = [
                peer.store_id
                for peer in region.peers
                if peer.role in (VOTER, INCOMING) and peer.store_id in self.alive
            ]
            self.leaders[region.id] = fits[0]
            self.terms[region.id] += 1

    # -- steps

    def do(self, region, leader, step) -> None:
        if isinstance(step, pd_types.StepTransferLeader):
            peer = region.peer_on(step.peer.store_id)
            if peer is None or peer.role is not VOTER:
                self.refused.append((region, step))
                return
            if peer.store_id not in self.alive:
                return  # it is asked, and does not answer
            self.leaders[region.id] = peer.store_id
            self.terms[region.id] += 1
        elif isinstance(step, pd_types.StepSplit):
            self.split(region, step.keys[0])
        else:
            if not has_quorum(region, self.alive):
                return  # it can be proposed, and does not commit
            peers = self.changed(region, leader, step.changes)
            if peers is None:
                self.refused.append((region, step))
                return
            count = len(step.changes) or sum(
                peer.role in (INCOMING, DEMOTING) for peer in region.peers
            )
            epoch = Epoch(region.epoch.conf_version + count, region.epoch.version)
            self.regions[region.id] = msgspec.structs.replace(region, epoch=epoch, peers=peers)
            assert has_quorum(self.regions[region.id], self.alive), "a step took the majority"
        self.moves += 1
        self.done.append((self.now_ns // SECOND, region.id, step))

    def changed(self, region, leader, changes):
        """The peers after the change; None for what TiKV refuses."""
        peers = {peer.store_id: peer for peer in region.peers}
        if not changes:
            if not is_joint(region) or leader.role is DEMOTING:
                return None
            become = {INCOMING: VOTER, DEMOTING: LEARNER}
            return tuple(
                msgspec.structs.replace(peer, role=become.get(peer.role, peer.role))
                for peer in region.peers
            )
        if is_joint(region):
            return None
        joint = len(changes) > 1
        for change in changes:
            there = peers.get(change.peer.store_id)
            if there is not None and there.id != change.peer.id:
                return None
            peer = self.change_one(there, leader, change, joint=joint)
            if peer == "refused":
                return None
            if peer is None:
                del peers[change.peer.store_id]
            else:
                peers[peer.store_id] = peer
                if there is None:
                    self.late[region.id][peer.id] = 2
        return tuple(peers.values())

    def change_one(self, there, leader, change, *, joint):
        kind, peer = change.kind, change.peer
        if kind is PeerChangeKind.REMOVE:
            voter = there is not None and there.role is VOTER
            if there is None or peer.id == leader.id or (joint and voter):
                return "refused"
            return None
        if kind is PeerChangeKind.ADD_VOTER:
            if there is not None and there.role is VOTER:
                return "refused"
            role = INCOMING if joint else VOTER
        else:
            if there is not None and (there.role is not VOTER or not joint):
                return "refused"
            role = LEARNER if there is None else DEMOTING
        return msgspec.structs.replace(peer, role=role)

    def split(self, region, key) -> None:
        epoch = Epoch(region.epoch.conf_version, region.epoch.version + 1)
        leader = self.leaders[region.id]
        peers = tuple(Peer(self.take(1), p.store_id, p.role) for p in region.peers)
        left = Region(self.take(1), region.start, key, epoch, peers)
        self.put(left, leader)
        self.regions[region.id] = msgspec.structs.replace(region, start=key, epoch=epoch)

    # -- looks

    def led(self) -> list[int]:
        """Leaderships by store."""
        leaders = list(self.leaders.values())
        return [leaders.count(store_id) for store_id in sorted(self.silent_s)]

    def held(self) -> list[int]:
        """Peers by store."""
        homes = [peer.store_id for r in self.regions.values() for peer in r.peers]
        return [homes.count(store_id) for store_id in sorted(self.silent_s)]

    def whole(self) -> bool:
        """Has each region as many voters as wanted, and nothing else?"""
        return all(
            [peer.role for peer in region.peers] == [VOTER] * self.config.replicas
            for region in self.regions.values()
        )

    def offline(self, store_id: int) -> None:
        change = SetStoreState(store_id, StoreState.OFFLINE)
        assert self.state.apply(Change(change)).error is None
        self.cluster.changed(change)
