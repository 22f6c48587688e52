"""The log file of a node with ONE Raft group; see :mod:`.logfile`, whose first group it is.

The placement driver's members keep theirs so; a store, with its many regions, has a ``LogFile``.
"""

from __future__ import annotations

from collections.abc import Sequence

from splitbrain.cluster.raft.types import Entry, HardState, Snapshot
from splitbrain.cluster.storage.logfile import (
    FORMAT,
    LOG_FILE,
    DiskFailed,
    Done,
    LogFile,
    Stored,
)
from splitbrain.env import Disk

__all__ = ["FORMAT", "LOG_FILE", "DiskFailed", "Stored", "Wal"]


class Wal:
    """One group's log file.

    Call ``open`` once and wait for its completion; then ``append``, ``install`` and ``compact``.
    """

    def __init__(
        self, disk: Disk, name: str = LOG_FILE, *, settled: Done = lambda: None
    ) -> None:
        self._file = LogFile(disk, name, settled=settled)
        self._group = self._file.group(1)
        self.stored = self._group.stored
        """What a restart would find, once all completions have been told."""

    @property
    def size(self) -> int:
        """Bytes in the file, held ones included."""
        return self._file.size

    @property
    def busy(self) -> bool:
        """Is a sync under way?  Then what is appended now will have to wait for the next one."""
        return self._file.busy

    @property
    def fsyncs(self) -> int:
        """How many fsyncs and replaces were completed."""
        return self._file.fsyncs

    @property
    def entries_written(self) -> int:
        """How many entries were asked to be stored."""
        return self._file.entries_written

    @property
    def torn_bytes(self) -> int:
        """How many bytes of a torn tail ``open`` has cut off."""
        return self._file.torn_bytes

    def open(self, done: Done) -> Stored:
        """Read the file; ``done`` is called, later, when all that was read is durable.

        Raises:
            CorruptLog: the file is damaged in its middle.
            NewerStore: it was written by another version.
        """
        self._file.open(done)
        self._file.start()
        return self.stored()

    def append(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        *,
        sync: bool,
        done: Done,
    ) -> None:
        """Write; ``done`` is called when this and all before it is durable.

        Without ``sync`` only the earlier calls must be durable, and ``done`` may be called at once.
        """
        self._group.append(hard_state, entries, sync=sync, done=done)

    def install(
        self,
        snapshot: Snapshot,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        done: Done,
    ) -> None:
        """Forget the whole log: it is now ``snapshot`` and ``entries`` after it."""
        self._group.install(snapshot, hard_state, entries, done)

    def compact(self, snapshot: Snapshot, done: Done) -> None:
        """Keep ``snapshot`` and only the entries after it."""
        self._group.compact(snapshot, done)
