"""``kv``: reads, writes, deletes, compare-and-swaps and appends of single raw keys.

Every write, swap and append brings a text of its own, so that a value read tells where it came from:
``w7+9+12`` is what write 7 left, with the appends 9 and 12 behind it.  A compare-and-swap asks for what
the key was last seen to hold, and so often succeeds; asked for at random it hardly ever would.

An append is made of a read and compare-and-swaps, and takes effect at the one that succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.contracts.generator import Context, Emit, Generator, Pending
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.workload import Client, Kv, OpenKv, Workload
from splitbrain.env.random import Stream
from splitbrain.errors import RequestError
from splitbrain.history.op import Op
from splitbrain.workloads.by_cas import CONTENDED, change
from splitbrain.workloads.keys import FinalReads, SlidingKeys, sliding
from splitbrain.workloads.kv_client import KvClient

__all__ = ["OPTIONS", "AskForLastSeen", "KvTextClient", "kv", "kv_ops"]

OPTIONS: Mapping[str, Any] = {
    "keys": 6,
    "read-share": 0.4,
    "ops-per-key-min": 100,
    "ops-per-key-max": 200,
    "tries": 10,
}
"""Options and their defaults; ``tries``: compare-and-swaps for one append."""

_REMEMBERED: Final = 64
"""Of so many keys it is known what they were last seen to hold."""

_CHANGES: Final = ("write", "write", "cas", "cas", "append", "append", "delete")


class AskForLastSeen(msgspec.Struct, frozen=True):
    """Gives each cas the value that its key was last seen to hold as the one to compare with.

    Attributes:
        generator: whose cas has only the new value.
        seen: by key.
    """

    generator: Generator
    seen: Mapping[Any, Any] = {}

    def op(
        self, test: Mapping[str, Any], ctx: Context
    ) -> Emit | Literal[Pending.PENDING] | None:
        """The generator's operation, a cas completed."""
        offer = self.generator.op(test, ctx)
        if not isinstance(offer, Emit):
            return offer
        op = offer.op
        if op.f == "cas":
            op = msgspec.structs.replace(op, value=[self.seen.get(op.key), op.value])
        return Emit(op, AskForLastSeen(offer.next, self.seen))

    def update(self, test: Mapping[str, Any], ctx: Context, event: Op) -> Generator:
        """Remembers what a completion showed."""
        inner = self.generator.update(test, ctx, event)
        known, value = _shown(event)
        if not known:
            return self if inner is self.generator else AskForLastSeen(inner, self.seen)
        seen = {**self.seen, event.key: value}
        if len(seen) > _REMEMBERED:
            del seen[min(seen)]
        return AskForLastSeen(inner, seen)


def _shown(event: Op) -> tuple[bool, Any]:
    """Whether a completion tells what its key holds, and what."""
    if event.type == "fail" and event.ext is not None and "observed" in event.ext:
        return True, event.ext["observed"]
    if event.type != "ok" or event.f == "append":
        return False, None
    if event.f == "cas":
        return True, event.value[1]
    return True, None if event.f == "delete" else event.value


class KvTextClient(KvClient):
    """The register's operations, and ``append`` of texts."""

    def __init__(self, open_kv: OpenKv, tries: int, session: Kv | None = None) -> None:
        super().__init__(open_kv, session)
        self._tries = tries

    async def open(self, node: str) -> Client:
        """A client with a session of its own."""
        return KvTextClient(self._open_kv, self._tries, await self._open_kv(node))

    async def _do(self, session: Kv, op: Op) -> Any:
        if op.f != "append":
            return await super()._do(session, op)
        await change(
            session, str(op.key), lambda seen: (seen or "") + op.value, tries=self._tries
        )
        return op.value


def kv(spec: TestSpec) -> Workload:
    """The workload for one test."""
    option = {**OPTIONS, **spec.options}
    reads, tries = float(option["read-share"]), int(option["tries"])

    def draw(stream: Stream, unique: int) -> tuple[str, Any]:
        f = "read" if stream.random() < reads else stream.choice(_CHANGES)
        mark = {"write": "w", "cas": "c", "append": "+"}.get(f)
        return f, None if mark is None else f"{mark}{unique}"

    return Workload(
        name="kv",
        vocabulary="kv",
        generator=AskForLastSeen(sliding(draw, option)),
        final_generator=FinalReads(),
        client=lambda open_kv: KvTextClient(open_kv, tries),
        checkers={"linearizable": LinearizableChecker(make_model("kv"))},
        functions=("read", "write", "delete", "cas", "append"),
        answers=frozenset({"cas-mismatch", CONTENDED}),
    )


def kv_ops(*, keys: int = 6, **shares: int) -> Generator:
    """For ever: operations of ``KvClient`` on a sliding window of keys, for a workload of your own.

    Each write and cas brings a number that is unique in the test, and a cas asks for what its key
    was last seen to hold, so that it often succeeds.

    >>> from splitbrain.harness.generator import invocations, limit
    >>> ops = invocations(limit(1000, kv_ops(read=3, write=1, keys=2)))
    >>> 700 < sum(op.f == "read" for op in ops) < 800, {op.key for op in ops[:50]}
    (True, {0, 1})

    Args:
        keys: in use at once; each gets 100 to 200 operations.
        shares: how often each of read, write, cas and delete comes, beside the others.

    Raises:
        RequestError: another operation is asked for, or none.
    """
    kinds = tuple(f for f, share in shares.items() for _ in range(share))
    unknown = sorted(shares.keys() - {"read", "write", "cas", "delete"})
    if unknown or not kinds:
        raise RequestError(
            f"kv_ops: {unknown[0] if unknown else 'nothing'} is asked for; "
            "give shares of read, write, cas, delete, such as read=3, write=1"
        )

    def draw(stream: Stream, unique: int) -> tuple[str, Any]:
        f = stream.choice(kinds)
        return f, unique if f in ("write", "cas") else None

    return AskForLastSeen(SlidingKeys(draw=draw, width=keys))
