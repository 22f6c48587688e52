"""A session of raw operations: leader redirect, deadline, backoff, and honest outcomes.

    client = RawClient(caller, pacer, nodes, stream, node="n1", options=Options(op_timeout_s=2))
    await client.put(b"k", b"v")
    await client.cas(b"k", b"v", b"w")

Each operation ends in one of three ways: it returns (it happened), it raises ``Definite`` (it
certainly did not), it raises ``Undetermined`` (nobody knows).  ``outcome`` has the table.  Codes of
``Definite``:

    cas-mismatch               another value was there; ``observed`` is what it was
    no-leader, busy, refused, stale-command ...   each attempt until the deadline was refused, the
                               last one with this word
    timeout                    a read got no answer until the deadline
    too-late                   the deadline was over before the first attempt
    too-large, mismatch-mode   refused for good
    no-region, no-pd ...       nobody could say where the key is

Codes of ``Undetermined``: ``timeout``, ``connection-lost``, ``undetermined-result`` ...: the end of
the one attempt that may have taken effect; ``partial``: of a batch over several regions one part is
done, and another certainly not.

With ``access`` the session finds the region of each key; without, it speaks of the one region over
all stores with which a cluster begins.  A scan over several regions is not of one moment, a batch
over several not atomic: each region's part is.

A subclass may override ``_unknown_write``; so is the seeded bug timeout-is-fail made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from splitbrain.cluster.client.access import Access
from splitbrain.cluster.client.backoff import OutOfPatience
from splitbrain.cluster.client.options import ReadFrom
from splitbrain.cluster.client.outcome import End, Fate, is_write, judge
from splitbrain.cluster.client.replicas import REPLICA_READ
from splitbrain.cluster.client.route import Backoff, Prefer
from splitbrain.cluster.client.where import AnyRegion, OneRegion
from splitbrain.cluster.messages import (
    RawBatchDelete,
    RawBatchGet,
    RawBatchGetReply,
    RawBatchPut,
    RawCas,
    RawCasReply,
    RawDelete,
    RawGet,
    RawGetReply,
    RawPut,
    RawScan,
    RawScanReply,
)
from splitbrain.env import Caller, Pacer
from splitbrain.env.random import Stream
from splitbrain.errors import Definite, Undetermined

__all__ = ["Options", "RawClient"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a session behaves.

    Attributes:
        op_timeout_s: deadline of one operation; two election timeouts is a good choice.
        attempt_timeout_s: longest wait for one attempt of a READ, which may then be sent elsewhere;
            None: a quarter of op_timeout_s.  A write's one attempt waits until the deadline, as it
            may not be sent again.
        prefer: see ``route``.
        forget_s: how long ``prefer="bound"`` remembers a leader; None: half of op_timeout_s, which
            is one election timeout if op_timeout_s is two.
        backoff_base_s: first step of the backoff; a redirect to a named leader does not wait.
        backoff_cap_s: largest step.
        trust_refusals: False against a TiKV that is not ours; see ``outcome``.
        read_from: ``leader``, or else the session's own node serves its reads, as ``options`` says.
    """

    op_timeout_s: float = 2.0
    attempt_timeout_s: float | None = None
    prefer: Prefer = "bound"
    forget_s: float | None = None
    backoff_base_s: float = 0.01
    backoff_cap_s: float = 0.25
    trust_refusals: bool = True
    read_from: ReadFrom = "leader"


class RawClient:
    """One session; operations one after another.

    Attributes:
        attempts: requests sent so far.
        probes: how often the changed path of each seeded bug of this class ran.
    """

    def __init__(
        self,
        caller: Caller,
        pacer: Pacer,
        nodes: Sequence[str],
        stream: Stream,
        *,
        node: str,
        options: Options = Options(),  # noqa: B008 - frozen
        access: Access | None = None,
    ) -> None:
        self._caller = caller
        self._pacer = pacer
        self._stream = stream
        self._options = options
        forget_s = options.op_timeout_s / 2 if options.forget_s is None else options.forget_s
        forget_ns = int(forget_s * 1e9)
        self._where: OneRegion | AnyRegion
        if access is None:
            self._where = OneRegion(nodes, node, options.prefer, forget_ns)
        else:
            self._where = AnyRegion(access, nodes, node, options.prefer, forget_ns)
        self.attempts = 0
        self.probes: dict[str, int] = {}

    async def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        answer = await self._do(RawGet(key))
        assert isinstance(answer, RawGetReply)
        return answer.value

    async def put(self, key: bytes, value: bytes) -> None:
        """Set the value."""
        await self._do(RawPut(key, value))

    async def delete(self, key: bytes) -> None:
        """Remove the key."""
        await self._do(RawDelete(key))

    async def cas(self, key: bytes, old: bytes | None, new: bytes | None) -> None:
        """Set ``new`` (None: remove) if the value is ``old`` (None: absent)."""
        answer = await self._do(RawCas(key, old, new))
        assert isinstance(answer, RawCasReply)
        if not answer.succeed:
            raise Definite("cas-mismatch", observed=answer.previous)

    async def scan(
        self,
        start: bytes,
        end: bytes = b"",
        *,
        limit: int = 256,
        reverse: bool = False,
        key_only: bool = False,
    ) -> tuple[tuple[bytes, bytes], ...]:
        """Up to ``limit`` pairs of [start, end) in order; empty ``end``: no upper bound.

        With ``reverse``: from ``start`` (not included; empty: unbounded) down to ``end`` (included).
        """
        pairs: list[tuple[bytes, bytes]] = []
        while True:
            left = limit - len(pairs)
            answer = await self._do(
                RawScan(start, end, left, reverse=reverse, key_only=key_only)
            )
            assert isinstance(answer, RawScanReply)
            pairs += answer.pairs
            edge = self._where.edge(end, reverse=reverse)
            if edge is None or len(pairs) >= limit:
                return tuple(pairs)
            start = edge

    async def batch_get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Values of those keys that are there."""
        found: dict[bytes, bytes] = {}
        left = sorted(set(keys))
        while left:
            answer, done = await self._do_batch(left, lambda part: RawBatchGet(tuple(part)))
            assert isinstance(answer, RawBatchGetReply)
            found.update(answer.pairs)
            left = left[done:]
        return {key: found[key] for key in keys if key in found}

    async def batch_put(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Set several keys; of two values for one key the last counts."""
        values = dict(pairs)
        await self._write_batch(
            list(values), lambda part: RawBatchPut(tuple((key, values[key]) for key in part))
        )

    async def batch_delete(self, keys: Sequence[bytes]) -> None:
        """Remove several keys."""
        await self._write_batch(keys, lambda part: RawBatchDelete(tuple(part)))

    async def close(self) -> None:
        """End the session."""
        await self._caller.close()

    # -- parts of a batch ----------------------------------------------------------------------

    async def _write_batch(
        self, keys: Sequence[bytes], make: Callable[[Sequence[bytes]], Any]
    ) -> None:
        left, begun = sorted(set(keys)), False
        while left:
            try:
                _, done = await self._do_batch(left, make)
            except Definite as error:
                if begun:
                    raise Undetermined("partial", str(error)) from error
                raise
            left, begun = left[done:], True

    async def _do_batch(
        self, keys: Sequence[bytes], make: Callable[[Sequence[bytes]], Any]
    ) -> tuple[Any, int]:
        """Do what the first key's region has of the sorted ``keys``; how many that were."""
        part: Sequence[bytes] = ()

        def request() -> Any:
            nonlocal part
            part = self._where.reach(keys)
            return make(part)

        answer = await self._do(make(keys), request)
        return answer, len(part)

    # -- one operation of one region -----------------------------------------------------------

    async def _do(self, request: Any, remake: Callable[[], Any] | None = None) -> Any:
        """Attempt until done, refused, unknown, or too late.

        ``remake`` makes the request anew whenever its region has been looked up.
        """
        options, pacer, where = self._options, self._pacer, self._where
        backoff = Backoff(
            self._stream, base_s=options.backoff_base_s, cap_s=options.backoff_cap_s
        )
        start_ns = pacer.monotonic_ns()
        deadline_ns = start_ns + int(options.op_timeout_s * 1e9)
        node, last, redirects = "", "too-late", 0
        # A write that has hardly any time left would most likely end unknown: better a clear no.
        least_ns = int(options.op_timeout_s * 1e9) // 40 if is_write(request) else 0
        while (left_ns := deadline_ns - pacer.monotonic_ns()) > least_ns:
            if not node:
                node = await self._find(request, left_ns / 1e9)
                left_ns = deadline_ns - pacer.monotonic_ns()
                if left_ns <= least_ns:
                    break
                if remake is not None:
                    request = remake()
            stamped = self._as_asked(where.stamped(request, node))
            answer = await self._attempt(node, stamped, left_ns / 1e9)
            end = judge(request, answer, trust_refusals=options.trust_refusals)
            now_ns = pacer.monotonic_ns()
            if end.fate is Fate.DONE:
                if is_write(request) or options.read_from == "leader":
                    where.route.answered(node, now_ns)
                return answer
            if end.fate is Fate.UNKNOWN:
                where.route.lost(node, now_ns)
                self._unknown_write(end)
            if end.fate is Fate.REFUSED:
                raise Definite(end.code, f"by {node}")
            last = end.code
            before = node
            if where.moved(answer, node):
                node = ""
            elif end.moved:
                node = where.route.next(node, end.leader, now_ns)
            # A named leader is asked at once, but stores that name each other are not a race track.
            redirects = redirects + 1 if end.leader == node != before else 0
            if not 1 <= redirects <= 2:
                left_s = (deadline_ns - now_ns) / 1e9
                await pacer.sleep(max(0.0, min(backoff.next_s(), left_s)))
        raise Definite(last, f"no success within {options.op_timeout_s:g} s, last node {node}")

    async def _find(self, request: Any, left_s: float) -> str:
        """Where the first attempt goes."""
        try:
            await self._where.find(request, left_s)
        except OutOfPatience as error:
            raise Definite(error.code, "its region was not found") from None
        if self._options.read_from != "leader" and not is_write(request):
            return self._where.route.bound
        return self._where.route.first(self._pacer.monotonic_ns())

    def _as_asked(self, request: Any) -> Any:
        """A read that says which replica may serve it."""
        if self._options.read_from == "leader" or is_write(request):
            return request
        replica_read = REPLICA_READ[self._options.read_from]
        context = msgspec.structs.replace(request.context, replica_read=replica_read)
        return msgspec.structs.replace(request, context=context)

    async def _attempt(self, node: str, request: Any, left_s: float) -> object:
        """One request; its answer, or the exception that came in its place."""
        timeout_s = left_s
        if not is_write(request):
            limit_s = self._options.attempt_timeout_s
            limit_s = self._options.op_timeout_s / 4 if limit_s is None else limit_s
            timeout_s = min(left_s, limit_s)
        self.attempts += 1
        try:
            answer: object = await self._caller.call(node, request, timeout_s=timeout_s)
        except (ConnectionError, TimeoutError, EOFError) as error:
            return error
        return answer

    def _unknown_write(self, end: End) -> NoReturn:
        """A write's attempt may have taken effect, now or later."""
        raise Undetermined(end.code)
