"""The placement driver: one member of it, a callback state machine over one Env.

    request --leader?--+-- what the leader knows ------------------------------------> answer
                       +-- Tso: a majority says "you lead" (one round a turn) -------> answer
                       +-- ids: from a block reserved in the log --------------------> answer
                       +-- a change: into the log, and when it is applied -----------> answer

The node is one class in three chapters, each a subclass of the one before: ``member`` (the Raft
group), ``oracle`` (timestamps), and this one, which knows all that is asked.  What leaves the log
decides about changes: a lost leadership refuses only what was never proposed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from splitbrain.cluster.messages import PdRaftBatch, pd, pd_stores
from splitbrain.cluster.messages.pd_errors import (
    ClusterMismatch,
    PdBusy,
    PdError,
    PdInvalid,
    PdNotLeader,
    PdUndetermined,
)
from splitbrain.cluster.messages.pd_types import PdMember, SplitIds, StoreState
from splitbrain.cluster.pd.answers import ANSWER, refusal
from splitbrain.cluster.pd.cluster import Cluster
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.control import control
from splitbrain.cluster.pd.ids import Ids
from splitbrain.cluster.pd.oracle import Oracle
from splitbrain.cluster.pd.pending import Pending, Waiting
from splitbrain.cluster.pd.queries import QUERIES
from splitbrain.cluster.pd.state import (
    Change,
    Changing,
    Command,
    ReserveIds,
    SaveRegions,
    SaveWindow,
)
from splitbrain.cluster.pd.tso import Tso
from splitbrain.cluster.pd.watchers import Watchers
from splitbrain.cluster.raft.core import Raft
from splitbrain.cluster.raft.types import Entry
from splitbrain.env import Env

__all__ = ["PdNode"]

MAX_IDS = 1 << 16
SAVED_AT_ONCE = 256


class PdNode(Oracle):
    """One member.  ``start`` it once; the Env does the rest."""

    def __init__(
        self,
        config: PdConfig,
        env: Env,
        *,
        raft_class: type[Raft] = Raft,
        tso_class: type[Tso] = Tso,
    ) -> None:
        super().__init__(config, env, raft_class=raft_class, tso_class=tso_class)
        self._ids = Ids(config.id_block)
        self._ids_queue: deque[tuple[Waiting, int]] = deque()
        self._pending = Pending()
        self._watchers = Watchers()
        self._cluster: Cluster | None = None
        self._flush_armed = False
        self._schedule_ns = 0

    # -- requests --------------------------------------------------------------------------------

    def on_message(self, sender: str, message: Any) -> None:
        """A message of a member or a request has come."""
        if type(message) is PdRaftBatch:
            self._on_raft(message)
            return
        if type(message) not in ANSWER:
            raise TypeError(f"pd {self.env.node}: cannot take a {type(message).__name__}")
        error = self._refused(message)
        if error is not None:
            self._send(sender, refusal(message, error))
        elif type(message) is pd.GetMembers:
            self._send(sender, self._members())
        else:
            answer = self._ask(Waiting(sender, message))
            if answer is not None:
                self._send(sender, answer)
            self._arm_flush()

    def _refused(self, request: Any) -> PdError | None:
        """Why this member does not serve ``request`` now."""
        if request.cluster_id not in (0, self.config.cluster_id):
            return ClusterMismatch(request.cluster_id, self.config.cluster_id)
        if type(request) is pd.GetMembers:
            return None
        raft = self._raft
        if raft is None:
            return PdNotLeader()
        if not self._leads(raft):
            return self._not_leader(raft)
        if self._held() >= self.config.max_pending:
            return PdBusy(f"{self._held()} requests wait")
        return None

    def _held(self) -> int:
        queued = len(self._ids_queue) + len(self._pending) + len(self._watchers)
        return queued + self._timestamps_waiting()

    def _members(self) -> pd.GetMembersReply:
        members = tuple(
            PdMember(name, number) for number, name in enumerate(self.config.nodes, start=1)
        )
        leader = self._raft.leader if self._raft is not None else ""
        return pd.GetMembersReply(members, leader, self.config.cluster_id)

    def _ask(self, waiting: Waiting) -> Any:
        """The answer, or None if it comes later."""
        request, cluster = waiting.request, self._cluster
        assert cluster is not None, "leads without a cluster"
        query = QUERIES.get(type(request))
        if query is not None:
            return query(cluster, request, self._now_ms())
        now_ns = self._clock.monotonic_ns()
        if isinstance(request, pd_stores.RegionHeartbeat):
            return cluster.region_heartbeat(request, now_ns)
        if isinstance(request, pd_stores.StoreHeartbeat):
            return cluster.store_heartbeat(request, now_ns)
        if isinstance(request, pd_stores.ReportSplit):
            return cluster.report_split(request)
        if isinstance(request, pd.ScatterRegion):
            return cluster.scatter(request, now_ns, self._ids.take)
        if isinstance(request, pd.WatchTopology):
            return self._watch(waiting, cluster, now_ns)
        if isinstance(request, pd.Tso):
            return self._queue_tso(waiting)
        if isinstance(request, (pd.AllocId, pd_stores.AskSplit)):
            return self._queue_ids(waiting)
        return self._change(waiting)

    # -- changes ---------------------------------------------------------------------------------

    def _change(self, waiting: Waiting) -> Any:
        request: Changing = waiting.request
        if isinstance(request, pd.SetStoreState) and request.state is StoreState.TOMBSTONE:
            return refusal(request, PdInvalid("a store is a tombstone when it is empty: wait"))
        raft = self._raft
        assert raft is not None
        place = self._propose(raft, Change(request, self._now_ms()))
        if place is None:
            return refusal(request, self._not_leader(raft))
        self._pending.add(place, waiting)
        return None

    def _applied(self, raft: Raft, entry: Entry, command: Command | None, outcome: Any) -> None:
        own, cluster = self._leads(raft) and entry.term == raft.term, self._cluster
        if own and isinstance(command, SaveWindow):
            self._window_saved(raft, command)
        elif own and isinstance(command, ReserveIds):
            self._ids.granted(*outcome)
            self._serve_ids()
        elif isinstance(command, Change) and outcome.error is None and cluster is not None:
            cluster.changed(command.request)
        mine, lost = self._pending.applied(entry.index, entry.term)
        if mine is not None:
            self._send(mine.sender, outcome)
        for waiting in lost:
            self._refuse(waiting, PdNotLeader(raft.leader))
        self._answer_watchers()

    def _jumped(self, raft: Raft, index: int) -> None:
        for waiting in self._pending.jumped(index):
            self._refuse(waiting, PdUndetermined())

    # -- leading ---------------------------------------------------------------------------------

    def _led(self, raft: Raft) -> None:
        self._stepped_down(raft)  # of an earlier term, if nobody told
        super()._led(raft)
        now_ns = self._clock.monotonic_ns()
        self._cluster = Cluster(self.config, self.state, raft.term, now_ns)
        self._schedule_ns = now_ns
        self.env.event("pd-serves", term=raft.term, saved_ms=self.state.saved_ms)
        self._arm_flush()

    def _stepped_down(self, raft: Raft) -> None:
        """Whatever is not in the log will not be done.  What is in it stays: the log decides."""
        super()._stepped_down(raft)
        waiting = [*(one for one, _ in self._ids_queue), *self._watchers.drop()]
        self._ids_queue.clear()
        self._ids.drop()
        self._cluster = None
        for one in waiting:
            self._refuse(one, PdNotLeader(raft.leader))

    def _arm_flush(self) -> None:
        if not self._flush_armed:
            self._flush_armed = True
            self._clock.call_at(self._clock.monotonic_ns(), self._flush)

    def _flush(self) -> None:
        """The turn ends: ask the majority, put into the log what is to go there."""
        self._flush_armed = False
        raft = self._raft
        assert raft is not None
        if self._leads(raft):
            self._ask_for_queued(raft)
            self._pump(raft)
            self._answer_watchers()
        self._work(raft)

    def _on_tick(self, raft: Raft) -> None:
        cluster = self._cluster
        if cluster is None or not self._leads(raft):
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._schedule_ns:
            self._schedule_ns = now_ns + self.config.ns(self.config.schedule_s)
            for change in cluster.schedule(now_ns, self._ids.take):
                self._propose(raft, Change(change, self._now_ms()))
        self._serve_tso(raft)
        self._pump(raft)
        self._answer_watchers(now_ns)

    def _pump(self, raft: Raft) -> None:
        """Put into the log: a bound further ahead, more ids, regions that have changed."""
        self._save_ahead(raft)
        cluster = self._cluster
        assert cluster is not None
        # At least as many as a round of the schedulers may need.
        need = self._ids_queue[0][1] if self._ids_queue else min(64, self.config.id_block)
        count = self._ids.wanted(need)
        if count is not None and self._propose(raft, ReserveIds(count)) is None:
            self._ids.refused()
        if cluster.unsaved:
            batch = list(cluster.unsaved.values())[:SAVED_AT_ONCE]
            if self._propose(raft, SaveRegions(tuple(batch))) is not None:
                for info in batch:
                    del cluster.unsaved[info.region.id]

    # -- ids -------------------------------------------------------------------------------------

    def _queue_ids(self, waiting: Waiting) -> Any:
        request = waiting.request
        if isinstance(request, pd.AllocId):
            count = request.count
        else:
            count = request.count * (1 + len(request.region.peers))
        if not 1 <= request.count <= count <= MAX_IDS:
            return refusal(request, PdInvalid(f"{count} ids at once"))
        self._ids_queue.append((waiting, count))
        self._serve_ids()
        return None

    def _serve_ids(self) -> None:
        while self._ids_queue:
            waiting, count = self._ids_queue[0]
            last = self._ids.take(count)
            if last is None:
                self._arm_flush()
                return
            self._ids_queue.popleft()
            request = waiting.request
            if isinstance(request, pd.AllocId):
                self._send(waiting.sender, pd.AllocIdReply(last, count))
            else:
                ids = _split_ids(range(last - count + 1, last + 1), request.count)
                self._send(waiting.sender, pd_stores.AskSplitReply(ids))

    # -- watchers --------------------------------------------------------------------------------

    def _watch(self, waiting: Waiting, cluster: Cluster, now_ns: int) -> Any:
        request: pd.WatchTopology = waiting.request
        if request.wait_s <= 0 or cluster.topology.news(request.term, request.revision):
            return cluster.news(request)
        self._watchers.add(waiting, now_ns + int(request.wait_s * 1e9))
        return None

    def _answer_watchers(self, now_ns: int = -1) -> None:
        """Tell those for whom there are news, or who have waited until ``now_ns``."""
        cluster = self._cluster
        if cluster is not None and len(self._watchers):
            topology = cluster.topology
            for waiting in self._watchers.due(topology.revision, now_ns):
                self._send(waiting.sender, cluster.news(waiting.request))

    # -- looks and acts from outside -------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """What this member says of itself; JSON-able."""
        raft = self._raft
        if raft is None:
            return {"node": self.env.node, "role": "recovering", "probes": self._probes()}
        status = {
            **raft.status(),
            "serves": self._leads(raft),
            "elections": self._elections,
            "snapshot": self._snapshot_index,
            "saved_ms": self.state.saved_ms,
            "physical_ms": self._tso.last_ms,
            "timestamps": self._given,
            "stores": len(self.state.stores),
            "regions": len(self.state.regions),
            "waiting": self._held(),
            "log_bytes": self._wal.size,
            "probes": self._probes(),
        }
        if self._cluster is not None:
            status["cluster"] = self._cluster.status(self._clock.monotonic_ns())
        return status

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """See :func:`~.control.control`."""
        if verb == "status":
            return self.status()
        raft = self._raft
        if raft is None:
            raise ValueError(f"pd {self.env.node} is recovering; ask again")
        if verb == "dump":
            return {"applied": raft.applied_index, "digest": self.state.digest()}
        if verb == "compact":
            if raft.applied_index > self._snapshot_index:
                self._compact(raft)
            answer: Mapping[str, Any] = {"snapshot": self._snapshot_index}
        else:
            now_ns = self._clock.monotonic_ns()
            take = self._ids.take
            answer = control(self.config, raft, self._cluster, now_ns, take, verb, arguments)
        self._work(raft)
        return answer


def _split_ids(ids: range, count: int) -> tuple[SplitIds, ...]:
    """``count`` equal parts of ``ids``: a region's own id, then its peers'."""
    size = len(ids) // count
    parts = [ids[place : place + size] for place in range(0, len(ids), size)]
    return tuple(SplitIds(part[0], tuple(part[1:])) for part in parts)
