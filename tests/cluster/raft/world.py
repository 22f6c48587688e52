"""A cluster of Raft cores without clocks, sockets or files: what the tests of the core play with.

A :class:`Member` is the thinnest possible shell: it writes to a pretend disk, sends into a list and
applies to a list.  A :class:`World` sees all members at once, so that it can check what no member
can: that there is one leader a term, one entry at a place, one applied history.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import (
    Entry,
    EntryKind,
    HardState,
    Message,
    RaftConfig,
    RaftPanic,
    Ready,
    Restored,
    Role,
    Snapshot,
)

TICK_NS = 100
INSIDE = frozenset(
    {"log-matching", "two-leaders", "leader-completeness", "commit-not-durable"}
    | {"state-machine-safety", "apply-order", "divergence"}
)
"""What only an observer inside sees; a client sees ``stale-read`` and ``lost-write`` at most."""


class Broken(AssertionError):
    """An invariant of Raft does not hold; ``kind`` says which."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class Stored:
    """What a disk holds: hard state, snapshot, log."""

    def __init__(self) -> None:
        self.hard = HardState()
        self.snapshot: Snapshot | None = None
        self.entries: list[Entry] = []

    def write(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self.snapshot, self.entries = ready.snapshot, []
        if ready.entries:
            first = ready.entries[0].index
            self.entries = [entry for entry in self.entries if entry.index < first]
            self.entries.extend(ready.entries)
        if ready.hard_state is not None:
            self.hard = ready.hard_state

    def holds(self, index: int, term: int) -> bool:
        if self.snapshot is not None and index <= self.snapshot.meta.index:
            return True
        base = self.snapshot.meta.index if self.snapshot else 0
        place = index - base - 1
        return 0 <= place < len(self.entries) and self.entries[place].term == term

    def restored(self) -> Restored:
        if self.snapshot is None:
            return Restored(hard_state=self.hard, entries=tuple(self.entries))
        meta = self.snapshot.meta
        return Restored(
            hard_state=self.hard,
            snapshot_meta=meta,
            snapshot_data=self.snapshot.data,
            entries=tuple(entry for entry in self.entries if entry.index > meta.index),
            applied=meta.index,
        )


class Member:
    """One node: core, disk, state machine."""

    def __init__(self, world: World, name: str, config: RaftConfig, core: type[Raft]) -> None:
        self.world, self.name, self.config, self.core = world, name, config, core
        self.durable = Stored()
        self.starts = 0
        self.probes = 0
        self.start()

    def start(self) -> None:
        self.up = True
        self.starts += 1
        stream = random.Random(f"{self.world.seed}/{self.name}/{self.starts}")
        self.unsynced: list[Ready] = []
        self.open: deque[Ready] = deque()
        self.to_apply: deque[Entry] = deque()
        self.state: list[tuple[int, int, bytes]] = []
        if self.durable.snapshot is not None:
            self.load(self.durable.snapshot)
        self.raft = self.core(self.config, self.durable.restored(), stream)
        self.raft.tick(self.now_ns())
        self.seen_role = Role.FOLLOWER

    def now_ns(self) -> int:
        """The node's own monotonic clock."""
        return int(self.world.round * TICK_NS * self.world.rates.get(self.name, 1.0))

    def load(self, snapshot: Snapshot) -> None:
        self.state = [tuple(item) for item in msgspec.msgpack.decode(snapshot.data)]

    def stop(self, keep: int | None = None) -> None:
        """Kill (all written bytes survive), or lose power and keep ``keep`` unsynced writes."""
        self.up = False
        self.probes += getattr(self.raft, "probe", 0)
        for ready in self.unsynced[:keep]:
            self.durable.write(ready)
        self.unsynced.clear()

    def take(self) -> Ready:
        """One Ready: write it (not durable yet), send what may go, queue the rest."""
        ready = self.raft.ready()
        self.world.check_ready(self, ready)
        self.unsynced.append(ready)
        self.open.append(ready)
        for message in ready.messages:
            self.world.send(message)
        self.to_apply.extend(ready.committed)
        return ready

    def persist(self) -> Ready:
        """The oldest open Ready is done."""
        ready = self.open.popleft()
        if ready.must_sync:
            place = self.unsynced.index(ready) + 1
            for written in self.unsynced[:place]:
                self.durable.write(written)
            del self.unsynced[:place]
        if ready.snapshot is not None:
            index = ready.snapshot.meta.index
            self.load(ready.snapshot)
            self.to_apply = deque(entry for entry in self.to_apply if entry.index > index)
            self.raft.applied(index)
        for message in ready.after_persist:
            self.world.send(message)
        self.raft.persisted(ready.number)
        return ready

    def apply(self, limit: int = 1 << 30) -> None:
        while self.to_apply and limit:
            limit -= 1
            entry = self.to_apply.popleft()
            self.world.check_apply(self, entry)
            if entry.kind is EntryKind.NORMAL:
                self.state.append((entry.index, entry.term, entry.data))
            self.raft.applied(entry.index)

    def compact(self, keep: int) -> None:
        """Snapshot here, forget all but ``keep`` entries; on disk too (at once: it is atomic)."""
        raft = self.raft
        meta = raft.applied_meta()
        if meta.index < raft.first_index or self.open:
            return
        for ready in self.unsynced:
            self.durable.write(ready)
        self.unsynced.clear()
        snapshot = Snapshot(meta, msgspec.msgpack.encode(self.state))
        self.durable.snapshot = snapshot
        self.durable.entries = [e for e in self.durable.entries if e.index > meta.index]
        raft.compact(max(raft.log.offset, meta.index - keep), snapshot)


class World:
    """All members, and what must hold between them."""

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        seed: int = 0,
        core: type[Raft] = Raft,
        cores: Mapping[str, type[Raft]] | None = None,
        options: Mapping[str, object] | None = None,
        per_node: Mapping[str, Mapping[str, object]] | None = None,
        send: Callable[[Message], None] | None = None,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        self.seed = seed
        self.overlook: frozenset[str] = frozenset()
        self.round = 0
        self.rates = dict(rates or {})
        self.wire: list[Message] = []
        self.send = send or self.wire.append
        self.leaders: dict[int, str] = {}
        self.entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        self.committed: dict[int, tuple[int, int]] = {}
        self.commit_max = 0
        self.acked: dict[int, tuple[int, bytes]] = {}
        self.reads: dict[bytes, int] = {}
        self.served = 0
        self.members = {
            name: Member(
                self,
                name,
                RaftConfig(
                    node=name,
                    voters=names,
                    **{**(options or {}), **(per_node or {}).get(name, {})},  # type: ignore[arg-type]
                ),
                (cores or {}).get(name, core),
            )
            for name in names
        }

    def live(self) -> list[Member]:
        return [member for member in self.members.values() if member.up]

    def leader(self) -> Member | None:
        leaders = [m for m in self.live() if m.raft.role is Role.LEADER]
        return max(leaders, key=lambda member: member.raft.term, default=None)

    def broken(self, kind: str, detail: str) -> None:
        """An invariant is violated; a subclass may only take note."""
        if kind not in self.overlook:
            raise Broken(kind, detail)

    # -- invariants ------------------------------------------------------------------------------

    def check_ready(self, member: Member, ready: Ready) -> None:
        raft = member.raft
        log = raft.log
        for entry in ready.entries:
            self._check_entry(member.name, log.term(entry.index - 1), entry)
        if ready.soft_state is not None and ready.soft_state.role is Role.LEADER:
            self._check_leader(member)
        if ready.hard_state is not None and ready.hard_state.commit > 0:
            self._check_commit(member)
        for read in ready.read_states:
            self.served += 1
            floor = self.reads.pop(read.context, None)
            if floor is not None and read.index < floor:
                self.broken("stale-read", f"{member.name} reads at {read.index} < {floor}")
        for context in ready.dropped_reads:
            self.reads.pop(context, None)

    def _check_entry(self, name: str, term_before: int, entry: Entry) -> None:
        """Log matching: one (index, term), one entry, one predecessor."""
        known = self.entries.setdefault((entry.index, entry.term), (term_before, entry))
        if known != (term_before, entry):
            self.broken(
                "log-matching", f"{name} has {entry} after term {term_before}, not {known}"
            )

    def _check_leader(self, member: Member) -> None:
        """Election safety, and leader completeness for what earlier terms committed."""
        raft = member.raft
        holder = self.leaders.setdefault(raft.term, member.name)
        if holder != member.name:
            self.broken("two-leaders", f"{holder} and {member.name} lead term {raft.term}")
        for index, (term, at_term) in self.committed.items():
            if at_term < raft.term and index > raft.log.offset and raft.log.term(index) != term:
                self.broken(
                    "leader-completeness",
                    f"{member.name} leads {raft.term} without {index} of term {term}",
                )

    def _check_commit(self, member: Member) -> None:
        """State machine safety by commit; a leader's commit must be durable on a majority."""
        raft = member.raft
        log = raft.log
        for index in range(max(self.commit_max, log.offset) + 1, log.commit + 1):
            term = log.term(index)
            self.committed[index] = (term, raft.term)
            holders = sum(m.durable.holds(index, term) for m in self.members.values())
            if holders <= len(raft.voters) // 2:
                self.broken(
                    "commit-not-durable",
                    f"{member.name} ({raft.role}) commits {index} of term {term}, {holders} hold it",
                )
        self.commit_max = max(self.commit_max, log.commit)

    def check_apply(self, member: Member, entry: Entry) -> None:
        place = self.committed.get(entry.index)
        if place is None or place[0] != entry.term:
            self.broken(
                "state-machine-safety", f"{member.name} applies {entry}, committed is {place}"
            )
        last = member.state[-1][0] if member.state else 0
        if entry.index <= last:
            self.broken("apply-order", f"{member.name} applies {entry.index} after {last}")
        raft = member.raft
        if (
            raft.role is Role.LEADER
            and entry.term == raft.term
            and entry.kind is not EntryKind.CONF
        ):
            self.acked[entry.index] = (entry.term, entry.data)

    def propose(self, member: Member, data: bytes) -> tuple[int, int] | None:
        place = member.raft.propose(data)
        if place is not None and member.raft.acked_early(place[0]):
            self.acked[place[0]] = (place[1], data)
        return place

    def read(self, member: Member, context: bytes) -> bool:
        """Begin a read that must see all that is committed by now, anywhere."""
        if not member.raft.read_index(context, member.now_ns()):
            return False
        self.reads[context] = self.commit_max
        return True

    def lease_read(self, member: Member) -> bool:
        """A local read must see all that any leader has acknowledged."""
        raft = member.raft
        if not raft.lease_valid(member.now_ns()):
            return False
        newest = max(self.acked, default=0)
        if raft.log.applied < newest:
            self.broken(
                "stale-read", f"{member.name} has a lease at {raft.log.applied} < {newest}"
            )
        return True

    def check_end(self) -> None:
        """Nothing that was acknowledged is lost; replicas agree."""
        states = [member.state for member in self.live()]
        longest = max(states, key=len)
        for state in states:
            if state != longest[: len(state)]:
                self.broken("divergence", "replicas applied different histories")
        applied = {index: (term, data) for index, term, data in longest}
        leader = self.leader()
        for index, (term, data) in self.acked.items():
            if leader and index > leader.raft.commit and leader.raft.log.term(index) == term:
                continue  # told early, but not lost: it will commit
            if data and applied.get(index) != (term, data):
                self.broken("lost-write", f"{index} ({term}) was acknowledged and is gone")


__all__ = ["INSIDE", "TICK_NS", "Broken", "Member", "RaftPanic", "World"]
