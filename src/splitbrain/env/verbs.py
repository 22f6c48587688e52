"""What a node's control socket can be asked.

    verb          arguments                       answer
    ping                                          {pid, node}
    status                                        Shell.status()
    clock-read                                    {monotonic_ns, wall_ns, base_monotonic_ns}
    clock-set     offset_ns | rate | reset |      as clock-read, after the change
                  strobe {delta_ns, period_ns}
    disk-slow     extra_ms                        {extra_ms}: each sync takes that much longer
    disk-counts                                   {appends, bytes, fsyncs, syncs, errors}
    tear          seed                            {file, kept, lost}: see RealDisk.tear
    probe-send    to, nonce, wait_s = 0.5         {sent, at_ns}: a one-way probe to a peer
    probe-seen    nonce                           {seen, at_ns}
    echo          to, timeout_s | timeout_ms      {round_trip_ms, ms}; refused if nothing came back
    link-counts                                   {sent: {peer: n}, received: {peer: {...}},
                                                   dropped: {peer: n}, connected: {peer: bool}}
    any other     goes to Shell.control, and so do its errors

``offset_ns`` is added to the wall clock (jumps add up); ``rate`` 0.1 lets both clocks run ten
percent fast.  Times of probes are the machine's CLOCK_MONOTONIC.  A probe to a peer whose link is
down waits up to ``wait_s`` for a connection (``sent`` is false then); probes and echoes go the way
of the node's ordinary messages.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from splitbrain.env.links import Links
from splitbrain.env.random import Random
from splitbrain.env.real import RealEnv

__all__ = ["Verbs"]

T = TypeVar("T")


class _Strobe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    delta_ns: int
    period_ns: int


class _ClockSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offset_ns: int | None = None
    rate: float | None = None
    strobe: _Strobe | None = None
    reset: bool = False


class _DiskSlow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    extra_ms: float


class _Tear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seed: int


class _ProbeSend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str
    nonce: int
    wait_s: float = 0.5


class _ProbeSeen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nonce: int


class _Echo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str
    timeout_s: float | None = None
    timeout_ms: float | None = None


class Verbs:
    """Answers the control socket of one node.

    Args:
        env: the node's environment, with its shell attached.
        links: what carries the node's messages.
    """

    def __init__(self, env: RealEnv, links: Links) -> None:
        self._env = env
        self._links = links
        self._verbs: dict[str, Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]] = {
            "ping": self._ping,
            "status": self._status,
            "clock-read": self._clock_read,
            "clock-set": self._clock_set,
            "disk-slow": self._disk_slow,
            "disk-counts": self._disk_counts,
            "tear": self._tear,
            "probe-send": self._probe_send,
            "probe-seen": self._probe_seen,
            "echo": self._echo,
            "link-counts": self._link_counts,
        }

    async def handle(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what ``verb`` asks; ValueError says what is wrong with the request."""
        own = self._verbs.get(verb)
        if own is not None:
            return await own(arguments)
        if self._env.shell is None:
            raise ValueError(f"{verb!r}: the node has not started yet; try again")
        return self._env.shell.control(verb, arguments)

    async def _ping(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"pid": os.getpid(), "node": self._env.node}

    async def _status(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._env.shell.status() if self._env.shell is not None else {"role": "starting"}

    async def _clock_read(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        clock = self._env.real_clock
        return {
            "monotonic_ns": clock.monotonic_ns(),
            "wall_ns": clock.wall_ns(),
            "base_monotonic_ns": time.monotonic_ns(),
        }

    async def _clock_set(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        change = _convert("clock-set", arguments, _ClockSet)
        clock = self._env.real_clock
        if change.reset:
            clock.reset()
        if change.rate is not None:
            clock.drift(change.rate)
        if change.strobe is not None:
            clock.strobe(change.strobe.delta_ns, change.strobe.period_ns)
        if change.offset_ns is not None:
            clock.jump(change.offset_ns)
        return await self._clock_read({})

    async def _disk_slow(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        extra_ms = _convert("disk-slow", arguments, _DiskSlow).extra_ms
        if extra_ms < 0:
            raise ValueError(f"disk-slow: extra_ms {extra_ms} must not be negative")
        self._env.real_disk.extra_ms = extra_ms
        return {"extra_ms": extra_ms}

    async def _disk_counts(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return msgspec.structs.asdict(self._env.real_disk.counts())

    async def _tear(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        seed = _convert("tear", arguments, _Tear).seed
        stream = Random(seed).stream("tear", self._env.node)
        return self._env.real_disk.tear(stream)

    async def _probe_send(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        probe = _convert("probe-send", arguments, _ProbeSend)
        at_ns = time.monotonic_ns()
        sent = self._links.probe_send(probe.to, probe.nonce, probe.wait_s)
        return {"sent": sent, "at_ns": at_ns}

    async def _probe_seen(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        at_ns = self._links.probe_seen(_convert("probe-seen", arguments, _ProbeSeen).nonce)
        return {"seen": at_ns is not None, "at_ns": at_ns}

    async def _echo(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        echo = _convert("echo", arguments, _Echo)
        timeout_s = echo.timeout_s
        if timeout_s is None:
            timeout_s = 1.0 if echo.timeout_ms is None else echo.timeout_ms / 1000
        took_ms = await self._links.echo(echo.to, timeout_s)
        if took_ms is None:
            raise ValueError(f"echo: nothing came back from {echo.to} within {timeout_s} s")
        return {"round_trip_ms": took_ms, "ms": took_ms}

    async def _link_counts(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        counts = self._links.counts()
        return {
            "sent": {peer: count.sent for peer, count in counts.items()},
            "dropped": {peer: count.dropped for peer, count in counts.items()},
            "connected": {peer: count.connected for peer, count in counts.items()},
            "received": {
                peer: {
                    "received": count.received,
                    "duplicates": count.duplicates,
                    "reordered": count.reordered,
                    "lateness_ns": count.lateness_ns,
                }
                for peer, count in counts.items()
            },
        }


def _convert(verb: str, arguments: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{verb}: {error}") from error
