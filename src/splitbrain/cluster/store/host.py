"""What a peer asks of the store in which it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from splitbrain.cluster.config import StoreConfig
from splitbrain.cluster.messages import RegionMessage
from splitbrain.cluster.messages.region import Region
from splitbrain.cluster.mvcc.deadlock import WaitGraph
from splitbrain.cluster.mvcc.memory import Memory
from splitbrain.cluster.mvcc.service import Mvcc
from splitbrain.cluster.storage.columns import Columns
from splitbrain.cluster.storage.logfile import LogFile
from splitbrain.env import Env

if TYPE_CHECKING:
    from splitbrain.cluster.store.applier import Applying

__all__ = ["Host"]


class Host(Protocol):
    """The store, seen by a peer.

    Attributes:
        config: the store's.
        env: likewise.
        file: the log file of all its peers.
        probes: how often the changed path of each seeded bug ran.
        mvcc: the rules of transactions.
        memory: what transactions know without the log.
        waits: who waits for whose lock, on this store.
        first_region: with which the cluster begins; the only one in events without a number.
    """

    config: StoreConfig
    env: Env
    file: LogFile
    probes: dict[str, int]
    first_region: int
    mvcc: Mvcc
    memory: Memory
    waits: WaitGraph

    def wake(self, peer: Applying) -> None:
        """The peer's core may have something to do; :meth:`work` will see."""

    def work(self) -> None:
        """Do what all woken peers' cores ask for, then let the messages go."""

    def flush_soon(self, peer: Applying) -> None:
        """The peer has requests to be handed to its core at the end of the turn."""

    def post(self, node: str, message: RegionMessage) -> None:
        """Send with the other messages of the turn."""

    def split_off(
        self, parent: Applying, region: Region, state: Columns, *, fresh: bool
    ) -> None:
        """A part of ``parent`` is a region of its own now, here and everywhere.

        ``fresh``: this happens for the first time, not as the log is read again after a restart.
        """

    def around(self, region: Region) -> tuple[Region, ...]:
        """The region, and those beside it of which this store knows."""

    def changed(self, peer: Applying) -> None:
        """Its region's description or its leadership is another."""

    def gone(self, peer: Applying) -> None:
        """The peer has been removed from its region, and is no more."""
