"""A region's own affairs: splits, changes of peers, transfer of leadership.

Fifth chapter of :class:`~splitbrain.cluster.store.peer.Peer`.  Each is proposed by the leader with the
epoch that it was meant for, and tested against the region's epoch again as it is applied, on every
store alike: a split against both counters, a change of peers against ``conf_version``.

One at a time: while one is proposed and not applied another is refused; and none is taken before an
entry of the leader's own term is applied, as until then the leader does not know the region.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from splitbrain.cluster.messages import (
    EpochNotMatch,
    OtherError,
    RegionError,
    RegionMessage,
    ServerIsBusy,
)
from splitbrain.cluster.messages.pd_types import PeerChange, PeerChangeKind, SplitIds
from splitbrain.cluster.messages.region import Epoch, Region
from splitbrain.cluster.raft.types import ConfEntry, Entry, Role
from splitbrain.cluster.storage.commands import Outcome, Split, encode_command
from splitbrain.cluster.store.follower_reads import FollowerReads
from splitbrain.cluster.store.proposals import Job, Waiting
from splitbrain.cluster.store.regions import (
    change_peers,
    conf_changes,
    members,
    misfit,
    split_region,
)

__all__ = ["Admin", "PeersChanged"]

DONE = Outcome(True, None)


class PeersChanged(msgspec.Struct, frozen=True, array_like=True):
    """What a change of peers means for the region; the core carries it."""

    changes: tuple[PeerChange, ...]
    conf_version: int


_encode = msgspec.msgpack.Encoder().encode
_conf_entry = msgspec.msgpack.Decoder(ConfEntry)
_peers_changed = msgspec.msgpack.Decoder(PeersChanged)


class Admin(FollowerReads):
    """Proposing and applying changes of the region itself."""

    _removed = False
    _replayed_to = 0
    """Last index in the log at the start: entries up to there may have been applied before."""

    # -- proposing -------------------------------------------------------------------------------

    def split(
        self,
        keys: Sequence[bytes],
        ids: Sequence[SplitIds],
        job: Job | None = None,
        *,
        epoch: Epoch | None = None,
    ) -> RegionError | None:
        """Propose to cut the region at ``keys``, ascending; the parts to the left get new ``ids``.

        ``job`` hears what became of it; without an answer here, and only then.
        """
        error = self._admin_refusal(epoch)
        if error is not None:
            return error
        region = self.region
        assert region is not None
        inside = all(region.covers(key) and key != region.start for key in keys)
        if not keys or not inside or list(keys) != sorted(set(keys)) or len(keys) != len(ids):
            return OtherError(f"cannot split region {region.id} at {list(keys)}")
        if any(len(one.peer_ids) != len(region.peers) for one in ids):
            return OtherError(f"region {region.id} has {len(region.peers)} peers")
        at = region.epoch
        command = Split(tuple(keys), tuple(ids), at.version, at.conf_version)
        return self._note_admin(self.raft.propose(encode_command(command)), job)

    def change_peers(
        self,
        changes: Sequence[PeerChange],
        job: Job | None = None,
        *,
        joint: bool = False,
        epoch: Epoch | None = None,
    ) -> RegionError | None:
        """Propose a change of peers: one; or ``joint`` with several, or with none to leave.

        ``job`` hears what became of it; without an answer here, and only then.
        """
        error = self._admin_refusal(epoch)
        if error is not None:
            return error
        region, nodes = self.region, self.config.nodes
        assert region is not None
        problem = misfit(region, changes)
        if not problem and any(not 0 < one.peer.store_id <= len(nodes) for one in changes):
            problem = "no such store"
        if problem:
            return OtherError(f"region {region.id}: {problem}")
        context = _encode(PeersChanged(tuple(changes), region.epoch.conf_version))
        place = self.raft.propose_conf(
            *conf_changes(changes, nodes), joint=joint, context=context
        )
        return self._note_admin(place, job)

    def _admin_refusal(self, epoch: Epoch | None) -> RegionError | None:
        raft, region = self.raft, self.region
        if raft.role is not Role.LEADER or region is None:
            return self.not_leader()
        if epoch is not None and epoch != region.epoch:
            return self._epoch_error()
        if not raft.knows_all or self._admin_overlaps():
            return ServerIsBusy("the leader is new, or another change is under way")
        return None

    def _admin_overlaps(self) -> bool:
        return self._admin_index > self.raft.applied_index

    def _note_admin(self, place: tuple[int, int] | None, job: Job | None) -> RegionError | None:
        if place is None:
            return ServerIsBusy("the core does not take this change now, or never")
        index, term = place
        self._admin_index = index
        if job is not None:
            self._proposals.add(index, term, Waiting("", None, job))
        self.host.wake(self)
        return None

    # -- applying --------------------------------------------------------------------------------

    def _apply_split(self, command: Split, index: int) -> Outcome | EpochNotMatch:
        region = self.region
        assert region is not None
        if self._split_is_stale(command, region):
            return self._epoch_error()
        *new, rest = split_region(region, command.keys, command.ids)
        self.region = rest
        self._reshaped = True
        for part in new:
            state = self.state.split_off(part.start, part.end)
            self.host.split_off(self, part, state, fresh=index > self._replayed_to)
        self.drop_outer_waits()
        self.event("split", index=index, into=[part.id for part in (*new, rest)])
        self.host.changed(self)
        return DONE

    def _split_is_stale(self, command: Split, region: Region) -> bool:
        return Epoch(command.conf_version, command.version) != region.epoch

    def _apply_conf(self, entry: Entry) -> Outcome | EpochNotMatch:
        conf = _conf_entry.decode(entry.data)
        change = _peers_changed.decode(conf.context)
        old = self.region
        assert old is not None
        if self._change_is_stale(change, old):
            self.raft.refuse_conf(entry.index)
            return self._epoch_error()
        new = self.region = change_peers(old, change.changes, joint=conf.joint)
        self._reshaped = self._reshaped or any(
            old.peer_on(peer.store_id) is None for peer in new.peers
        )
        own = new.peer_on(self.config.store_id)
        self._removed = own is None or own.id != self.peer_id
        if self.raft.role is Role.LEADER:
            self._tell_removed(change.changes, new)
        self.event("conf", index=entry.index, members=members(new, self.config.nodes))
        self.host.changed(self)
        return DONE

    def _change_is_stale(self, change: PeersChanged, region: Region) -> bool:
        return change.conf_version != region.epoch.conf_version

    def _tell_removed(self, changes: tuple[PeerChange, ...], region: Region) -> None:
        """They may never hear it from the log: nothing is sent to them any more."""
        for change in changes:
            if change.kind is PeerChangeKind.REMOVE:
                peer = change.peer
                grave = RegionMessage(region.id, self.peer_id, peer.id, region.epoch)
                self.host.post(self.config.nodes[peer.store_id - 1], grave)
