"""How PD gives timestamps: second chapter of :class:`~.node.PdNode`.

A request waits for a round of heartbeats that was sent AFTER it came: if a majority answers, nobody
led with a higher term when the request came, so nobody has given a timestamp above this leader's bound
to anyone who could have caused the request.  All requests of a turn share one round.  Leadership is
looked at once more behind the number and before it leaves; in one callback nothing can come between,
but a leader that was deposed while its requests waited for the next bound is caught there.

Seams for seeded bugs: ``_save_window`` (T01: not saved), ``Tso._reserve`` (T03: batches overlap),
``_ask_majority`` and ``_still_leads`` (T05: a deposed leader goes on).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from splitbrain.cluster.messages.pd import TsoReply
from splitbrain.cluster.messages.pd_errors import PdBusy, PdError, PdInvalid, PdNotLeader
from splitbrain.cluster.messages.pd_types import MAX_LOGICAL
from splitbrain.cluster.pd.answers import refusal
from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.member import LEADER, Member
from splitbrain.cluster.pd.pending import Waiting
from splitbrain.cluster.pd.state import SaveWindow
from splitbrain.cluster.pd.tso import MS, Tso
from splitbrain.cluster.raft.core import Raft
from splitbrain.env import Env

__all__ = ["Oracle"]


class Oracle(Member):
    """A member that gives timestamps while it leads."""

    def __init__(
        self, config: PdConfig, env: Env, *, raft_class: type[Raft], tso_class: type[Tso]
    ) -> None:
        super().__init__(config, env, raft_class=raft_class)
        self.probes: dict[str, int] = {}
        """How often the changed path of each seeded bug of this class ran."""
        self._tso = tso_class(config.tso_window_ms)
        self._tso_queue: list[Waiting] = []
        self._tso_asked: dict[bytes, list[Waiting]] = {}
        self._tso_ready: deque[Waiting] = deque()
        self._rounds = 0
        self._given = 0

    def _led(self, raft: Raft) -> None:
        self._tso.lead(self.state.saved_ms, self._wall_ms(), self._clock.monotonic_ns())

    def _stepped_down(self, raft: Raft) -> None:
        waiting = [*self._tso_queue, *self._tso_ready]
        waiting += [one for batch in self._tso_asked.values() for one in batch]
        self._tso_queue, self._tso_asked = [], {}
        self._tso_ready.clear()
        self._tso.rest()
        for one in waiting:
            self._refuse(one, PdNotLeader(raft.leader))

    def _refuse(self, waiting: Waiting, error: PdError) -> None:
        self._send(waiting.sender, refusal(waiting.request, error))

    def _not_leader(self, raft: Raft) -> PdError:
        if raft.role is LEADER:
            return PdBusy("the leader is not ready: new, or handing over")
        return PdNotLeader(raft.leader)

    def _timestamps_waiting(self) -> int:
        asked = sum(len(batch) for batch in self._tso_asked.values())
        return len(self._tso_queue) + asked + len(self._tso_ready)

    def _probes(self) -> dict[str, int]:
        """Those of the member, and those of an oracle with a bug (one together, if several)."""
        names = [vars(one).get("name") for one in type(self._tso).__mro__]
        found = [name for name in names if isinstance(name, str) and name]
        return {**self.probes, **dict.fromkeys(found, getattr(self._tso, "probe", 0))}

    def _wall_ms(self) -> int:
        return self._clock.wall_ns() // MS

    def _now_ms(self) -> int:
        """The oracle's physical time."""
        return self._tso.now_ms(self._wall_ms(), self._clock.monotonic_ns())

    def _queue_tso(self, waiting: Waiting) -> Any:
        count = waiting.request.count
        if not 1 <= count <= MAX_LOGICAL:
            return refusal(waiting.request, PdInvalid(f"a batch of {count} timestamps"))
        self._tso_queue.append(waiting)
        return None

    def _ask_for_queued(self, raft: Raft) -> None:
        """All timestamps asked for in this turn wait for one answer."""
        if self._tso_queue:
            self._rounds += 1
            context = self._rounds.to_bytes(8, "big")
            self._tso_asked[context], self._tso_queue = self._tso_queue, []
            self._ask_majority(raft, context)

    def _ask_majority(self, raft: Raft, context: bytes) -> None:
        """Does this member lead?  ``_confirmed`` or ``_unconfirmed`` will be told."""
        if not raft.read_index(context, self._clock.monotonic_ns()):
            self._unconfirmed(raft, context)

    def _confirmed(self, raft: Raft, context: bytes) -> None:
        self._tso_ready.extend(self._tso_asked.pop(context, ()))
        self._serve_tso(raft)

    def _unconfirmed(self, raft: Raft, context: bytes) -> None:
        for waiting in self._tso_asked.pop(context, ()):
            self._refuse(waiting, self._not_leader(raft))

    def _serve_tso(self, raft: Raft) -> None:
        """Give to those who are confirmed, as far as the stored bound allows."""
        ready = self._tso_ready
        while ready:
            count = ready[0].request.count
            last = self._tso.give(count, self._wall_ms(), self._clock.monotonic_ns())
            if last is None:
                return  # until the next bound is stored
            waiting = ready.popleft()
            if self._still_leads(raft):
                self._given += count
                self._send(waiting.sender, TsoReply(*last, count))
            else:
                self._refuse(waiting, self._not_leader(raft))

    def _still_leads(self, raft: Raft) -> bool:
        """Asked behind the number, and before it leaves."""
        return self._leads(raft)

    def _save_ahead(self, raft: Raft) -> None:
        until_ms = self._tso.wanted(self._wall_ms(), self._clock.monotonic_ns())
        if until_ms is not None:
            self._save_window(raft, until_ms)

    def _window_saved(self, raft: Raft, command: SaveWindow) -> None:
        """The command, proposed in this leadership, is applied."""
        self._tso.saved(command.until_ms)
        self._serve_tso(raft)

    def _save_window(self, raft: Raft, until_ms: int) -> None:
        """Nothing from ``until_ms`` on is given before a majority has stored a higher bound."""
        if self._propose(raft, SaveWindow(until_ms)) is None:
            self._tso.not_saved()
