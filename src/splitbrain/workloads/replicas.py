"""``--check replicas``: at its very end any workload asks whether the replicas hold the same.

The system's sessions must have ``replicas()``, whose answer is as ``checkers.replicas`` has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from splitbrain.checkers.only import Except
from splitbrain.checkers.replicas import REPLICAS, ReplicaChecker, is_complete
from splitbrain.contracts.generator import PENDING, Context, Emit, Generator, Pending
from splitbrain.contracts.workload import Client, Workload
from splitbrain.history.op import Op

__all__ = ["Comparing", "with_replicas"]


class Comparing(Protocol):
    """What is asked of a session, beside its vocabulary."""

    async def replicas(self) -> list[dict[str, Any]]:
        """Compare the replicas of each region."""

    async def close(self) -> None:
        """End the session."""


OpenComparing = Callable[[str], Awaitable[Comparing]]


def with_replicas(workload: Workload) -> Workload:
    """The workload, with an operation ``replicas`` at the end and its checker.

    The workload's own checkers do not see that operation.
    """
    checkers = {name: Except(one, REPLICAS) for name, one in workload.checkers.items()}
    return msgspec.structs.replace(
        workload,
        final_generator=ThenReplicas(first=workload.final_generator),
        client=lambda opener: _Client(workload.client(opener), opener),
        checkers={**checkers, REPLICAS: ReplicaChecker()},
    )


class ThenReplicas(msgspec.Struct, frozen=True, kw_only=True):
    """The workload's own final generator; then the comparison, again while replicas skip it.

    Attributes:
        first: None once it is exhausted.
        tries: comparisons that may yet be made.
        out: one is under way.
    """

    first: Generator | None = None
    tries: int = 3
    out: bool = False

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """Waits until all workers are free: what is under way may still change replicas."""
        if self.first is not None:
            offer = self.first.op(test, ctx)
            if isinstance(offer, Emit):
                return Emit(offer.op, msgspec.structs.replace(self, first=offer.next))
            if offer is PENDING:
                return PENDING
        if not self.tries:
            return None
        if self.out or len(ctx.free_threads) < len(ctx.threads):
            return PENDING
        process = ctx.process(min(ctx.free_threads))
        op = Op(time_ns=ctx.time_ns, process=process, type="invoke", f=REPLICAS)
        return Emit(op, ThenReplicas(tries=self.tries - 1, out=True))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Once replicas were all compared there is nothing more to do."""
        if event.f == REPLICAS and event.type != "invoke":
            done = event.type == "ok" and is_complete(event.value)
            return ThenReplicas(tries=0 if done else self.tries)
        if self.first is None:
            return self
        first = self.first.update(test, ctx, event)
        return msgspec.structs.replace(self, first=first)


class _Client:
    """The workload's client, that can also compare replicas."""

    def __init__(self, inner: Client, open_session: OpenComparing, node: str = "") -> None:
        self._inner = inner
        self._open_session = open_session
        self._node = node

    async def open(self, node: str) -> Client:
        """A fresh client for ``node``."""
        return _Client(await self._inner.open(node), self._open_session, node)

    async def setup(self) -> None:
        """The workload's."""
        await self._inner.setup()

    async def invoke(self, op: Op) -> Op:
        """Compare the replicas by a session of its own; all else is the workload's."""
        if op.f != REPLICAS:
            return await self._inner.invoke(op)
        session = await self._open_session(self._node)
        try:
            return msgspec.structs.replace(op, type="ok", value=await session.replicas())
        finally:
            await session.close()

    async def teardown(self) -> None:
        """The workload's."""
        await self._inner.teardown()

    async def close(self) -> None:
        """The workload's."""
        await self._inner.close()
