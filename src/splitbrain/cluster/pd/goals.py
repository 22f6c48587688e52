"""The steps of which operators are made: what each wants to be true of a region, and how to ask.

A goal is judged by the region's next heartbeat alone, never by whether a message arrived: so a step
that was lost is told again, one that was done twice does no harm, and one that somebody else did
counts as done.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from splitbrain.cluster.messages.pd_types import (
    PeerChange,
    PeerChangeKind,
    Step,
    StepChangePeers,
    StepSplit,
    StepTransferLeader,
)
from splitbrain.cluster.messages.region import Peer, PeerRole, Region
from splitbrain.cluster.pd.regions import RegionInfo

__all__ = [
    "AddLearner",
    "Cut",
    "Goal",
    "Lead",
    "Leave",
    "Promote",
    "Remove",
    "Swap",
    "is_joint",
]

ADD_VOTER, ADD_LEARNER = PeerChangeKind.ADD_VOTER, PeerChangeKind.ADD_LEARNER
JOINT = (PeerRole.INCOMING_VOTER, PeerRole.DEMOTING_VOTER)


def is_joint(region: Region) -> bool:
    """Is the region between two memberships?"""
    return any(peer.role in JOINT for peer in region.peers)


def _role(region: Region, store_id: int) -> PeerRole | None:
    peer = region.peer_on(store_id)
    return None if peer is None else peer.role


class Lead(msgspec.Struct, frozen=True):
    """The peer on that store leads."""

    store_id: int

    def done(self, info: RegionInfo) -> bool:
        """It does."""
        return info.leader_store == self.store_id

    def possible(self, info: RegionInfo) -> bool:
        """It is a voter."""
        return _role(info.region, self.store_id) is PeerRole.VOTER

    def conf_changes(self, info: RegionInfo) -> int:
        """A change of the leader is none of the membership."""
        return 0

    def step(self, info: RegionInfo) -> Step:
        """What to tell the leader."""
        peer = info.region.peer_on(self.store_id)
        assert peer is not None, "asked for what is not possible"
        return StepTransferLeader(peer)


class AddLearner(msgspec.Struct, frozen=True):
    """There is this learner, and it has caught up so far that the log can serve it."""

    peer: Peer

    def done(self, info: RegionInfo) -> bool:
        """It is there, in whichever role, and not pending."""
        pending = any(one.id == self.peer.id for one in info.pending)
        return self.conf_changes(info) == 1 and not pending

    def possible(self, info: RegionInfo) -> bool:
        """No other peer is on that store."""
        there = info.region.peer_on(self.peer.store_id)
        return there is None or there.id == self.peer.id

    def conf_changes(self, info: RegionInfo) -> int:
        """How much of the growth of ``conf_version`` is of this goal's making."""
        there = info.region.peer_on(self.peer.store_id)
        return int(there is not None and there.id == self.peer.id)

    def step(self, info: RegionInfo) -> Step | None:
        """What to tell the leader; nothing once it is there and has only to catch up."""
        if self.conf_changes(info):
            return None
        peer = msgspec.structs.replace(self.peer, role=PeerRole.LEARNER)
        return StepChangePeers((PeerChange(ADD_LEARNER, peer),))


class Promote(msgspec.Struct, frozen=True):
    """The learner on that store is a voter, by a simple change."""

    store_id: int

    def done(self, info: RegionInfo) -> bool:
        """It is."""
        return _role(info.region, self.store_id) is PeerRole.VOTER

    def possible(self, info: RegionInfo) -> bool:
        """There is a peer, and no joint change."""
        return _role(info.region, self.store_id) is not None and not is_joint(info.region)

    def conf_changes(self, info: RegionInfo) -> int:
        """See ``AddLearner``."""
        return int(self.done(info))

    def step(self, info: RegionInfo) -> Step:
        """What to tell the leader."""
        peer = info.region.peer_on(self.store_id)
        assert peer is not None, "asked for what is not possible"
        return StepChangePeers(
            (PeerChange(ADD_VOTER, msgspec.structs.replace(peer, role=PeerRole.VOTER)),)
        )


class Swap(msgspec.Struct, frozen=True):
    """A joint change: learners become voters, voters learners, at one stroke."""

    promote: tuple[int, ...]
    demote: tuple[int, ...]

    def done(self, info: RegionInfo) -> bool:
        """Entered, or left already."""
        return self.conf_changes(info) == len(self.promote) + len(self.demote)

    def possible(self, info: RegionInfo) -> bool:
        """All are there, and the leader is none of those that are demoted."""
        stores = (*self.promote, *self.demote)
        there = all(info.region.peer_on(store_id) is not None for store_id in stores)
        return there and info.leader_store not in self.demote

    def conf_changes(self, info: RegionInfo) -> int:
        """See ``AddLearner``."""
        region = info.region
        up = (PeerRole.INCOMING_VOTER, PeerRole.VOTER)
        down = (PeerRole.DEMOTING_VOTER, PeerRole.LEARNER)
        promoted = sum(_role(region, store_id) in up for store_id in self.promote)
        return promoted + sum(_role(region, store_id) in down for store_id in self.demote)

    def step(self, info: RegionInfo) -> Step:
        """What to tell the leader."""
        wanted = [(ADD_VOTER, PeerRole.VOTER, one) for one in self.promote]
        wanted += [(ADD_LEARNER, PeerRole.LEARNER, one) for one in self.demote]
        changes = []
        for kind, role, store_id in wanted:
            peer = info.region.peer_on(store_id)
            assert peer is not None, "asked for what is not possible"
            changes.append(PeerChange(kind, msgspec.structs.replace(peer, role=role)))
        return StepChangePeers(tuple(changes))


class Leave(msgspec.Struct, frozen=True):
    """The joint change is over; ``count`` roles change with that."""

    count: int

    def done(self, info: RegionInfo) -> bool:
        """No role is one of a joint change."""
        return not is_joint(info.region)

    def possible(self, info: RegionInfo) -> bool:
        """Not while the leader is being demoted: it must hand over first."""
        here = _role(info.region, info.leader_store)
        return here is not PeerRole.DEMOTING_VOTER

    def conf_changes(self, info: RegionInfo) -> int:
        """See ``AddLearner``."""
        return self.count if self.done(info) else 0

    def step(self, info: RegionInfo) -> Step:
        """What to tell the leader."""
        return StepChangePeers()


class Remove(msgspec.Struct, frozen=True):
    """That peer is no more."""

    peer: Peer

    def done(self, info: RegionInfo) -> bool:
        """Neither it nor, if so, a later one on its store matters."""
        there = info.region.peer_on(self.peer.store_id)
        return there is None or there.id != self.peer.id

    def possible(self, info: RegionInfo) -> bool:
        """A leader does not remove itself."""
        return info.leader_store != self.peer.store_id

    def conf_changes(self, info: RegionInfo) -> int:
        """See ``AddLearner``."""
        return int(self.done(info))

    def step(self, info: RegionInfo) -> Step:
        """What to tell the leader."""
        return StepChangePeers((PeerChange(PeerChangeKind.REMOVE, self.peer),))


class Cut(msgspec.Struct, frozen=True):
    """The region is split: its ``version`` is above the one given."""

    version: int
    keys: tuple[bytes, ...] = ()

    def done(self, info: RegionInfo) -> bool:
        """It is."""
        return info.region.epoch.version > self.version

    def possible(self, info: RegionInfo) -> bool:
        """Always."""
        return True

    def conf_changes(self, info: RegionInfo) -> int:
        """A split is no change of the membership."""
        return 0

    def step(self, info: RegionInfo) -> Step:
        """What to tell the leader."""
        return StepSplit(self.keys)


Goal: TypeAlias = Lead | AddLearner | Promote | Swap | Leave | Remove | Cut
