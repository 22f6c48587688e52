"""One store without a log and one oracle, in the test's own process: what a txn client must reach.

The rules are the real ones (``cluster.mvcc``), the wire is the real one (``rpc.server``); between them
is the least that can stand there: every decision is applied in the turn in which it was made.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from splitbrain.cluster.messages import pd
from splitbrain.cluster.messages.key_errors import Deadlock, WaitForEntry
from splitbrain.cluster.messages.pd_errors import PdRegionNotFound
from splitbrain.cluster.messages.txn import PessimisticLockReply
from splitbrain.cluster.mvcc.deadlock import WaitGraph
from splitbrain.cluster.mvcc.engine import Decision
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.pessimistic import woken
from splitbrain.cluster.mvcc.service import READS, Mvcc
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.pd import StaticPd
from splitbrain.cluster.rpc.server import Server
from splitbrain.cluster.rpc.transport import GrpcTransport
from splitbrain.cluster.storage.columns import Columns
from tests.cluster.rpc.processes import find_port

__all__ = ["OneStore"]


class OneStore:
    """``async with OneStore() as store``: serves at ``store.addresses``."""

    def __init__(self) -> None:
        self.addresses = {"n1": f"127.0.0.1:{find_port()}"}
        self.state = Columns()
        self._rules = Mvcc()
        self._memory = Memory()
        self._graph = WaitGraph()
        self._waiting: dict[bytes, list[tuple[str, Any, Any, WaitForEntry]]] = {}
        names = Names(("n1",), self.addresses)
        self._pd = StaticPd("n1", names, lambda: "n1")
        self._last_ts = 0
        self._transport = GrpcTransport("n1", {}, self._receive)
        self._server = Server(self.addresses["n1"], names, self._transport, None, 7)

    async def __aenter__(self) -> OneStore:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def timestamps(self, count: int = 1) -> int:
        """The last of ``count`` fresh ones."""
        self._last_ts = max(self._last_ts, time.time_ns() // 1_000_000 << 18) + count
        return self._last_ts

    def _receive(self, sender: str, request: Any) -> None:
        if isinstance(request, pd.Tso):
            last = self.timestamps(request.count)
            answer: Any = pd.TsoReply(last >> 18, last & (1 << 18) - 1, request.count)
        elif isinstance(request, READS):
            answer = self._rules.read(request, self.state, self._memory)
        elif (answer := self._pd.answer(request)) is None:
            if not hasattr(request, "context"):
                answer = pd.GetRegionReply(error=PdRegionNotFound())
            else:
                answer = self._write(sender, request)
        if answer is not None:
            self._transport.send(sender, answer)

    def _write(self, sender: str, request: Any) -> Any:
        keys = self._rules.keys_of(request, self.state)
        decision = self._rules.decide(request, self.state, self._memory, keys)
        if decision.wait is not None:
            return self._wait(sender, request, decision)
        self.state.apply(decision.writes)
        for key in decision.released:
            for waiter, asked, wait, edge in self._waiting.pop(key, []):
                self._graph.ended(edge)
                self._transport.send(waiter, woken(asked, wait))
        return decision.reply

    def _wait(self, sender: str, request: Any, decision: Decision) -> Any:
        """Answered later: by the release, or by the time-out."""
        wait = decision.wait
        assert wait is not None
        edge = WaitForEntry(wait.start_ts, wait.lock_ts, wait.key)
        if not wait.first_lock:
            found = self._graph.detect(edge, time.monotonic_ns() // 1_000_000)
            if isinstance(found, Deadlock):
                return PessimisticLockReply(errors=(found,))
        queue = self._waiting.setdefault(wait.key, [])
        waiter = (sender, request, wait, edge)
        queue.append(waiter)

        def give_up() -> None:
            if waiter in queue:
                queue.remove(waiter)
                self._graph.ended(edge)
                self._transport.send(sender, decision.reply)

        asyncio.get_running_loop().call_later(wait.limit_ms / 1000, give_up)
        return None
