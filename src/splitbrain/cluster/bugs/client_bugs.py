"""Seeded bugs of the client: each a subclass of :class:`~splitbrain.cluster.client.raw.RawClient`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NoReturn

from splitbrain.cluster.client.outcome import End
from splitbrain.cluster.client.raw import RawClient
from splitbrain.errors import Definite

__all__ = ["CLIENT_BUGS", "ClientBug", "TimeoutIsFail"]


class ClientBug(RawClient):
    """What all have; see :class:`~splitbrain.cluster.bugs.raft_bugs.RaftBug`."""

    id: ClassVar[str] = ""
    name: ClassVar[str] = ""
    anomalies: ClassVar[tuple[str, ...]] = ()
    crash: ClassVar[frozenset[str]] = frozenset()

    def _count(self) -> None:
        self.probes[self.name] = self.probes.get(self.name, 0) + 1


class TimeoutIsFail(ClientBug):
    """C01: a write without an answer is reported as failed.

    "It timed out, so it did not happen" is the most common mistake of clients.  The request, or
    its answer, was only late or lost: the write may have happened, and may happen yet.  Then a
    failed write is read.

    Needs answers that come too late or not at all: delays longer than the timeout, a partition, a
    pause or a kill with writes in flight.  Without faults nothing times out.

    Probe: writes of unknown fate that were called failed.
    """

    id = "C01"
    name = "timeout-is-fail"
    anomalies = ("failed-write-visible", "stale-read", "not-linearizable")

    def _unknown_write(self, end: End) -> NoReturn:
        self._count()
        raise Definite(end.code, "taken for a failure")


CLIENT_BUGS: Mapping[str, type[ClientBug]] = {bug.name: bug for bug in (TimeoutIsFail,)}
"""The client to make instead of the correct one, by bug name."""
