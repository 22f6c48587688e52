"""The durable log of one store: what Raft needs to remember, in one append-only file.

The file holds four kinds of records (see ``records`` for their form):

    format      1                    first of every file
    snapshot    meta and state       the state machine at one place in the log
    hard state  term, vote, commit   the last one counts
    entry       one log entry        overwrites the stored entries from its index on

**Group commit.**  Bytes are written when ``append`` is called; at most one fsync is under way.  What
is appended meanwhile shares the next one: under load one fsync covers many requests.

**Compaction and snapshots.**  The file is rewritten as [format, snapshot, hard state, entries after
it] by one atomic replace, so no crash can leave a snapshot without its log or the other way round.
While the replace is under way, new records are held back and written behind it.

**Completion** is told in the order of the calls; when a sync completes several, ``settled`` follows
once behind them.  A failed fsync raises :class:`DiskFailed` out of
the disk's callback and so ends the node: after it nobody knows which bytes are on the disk, and
asking again would report success without them (as PostgreSQL learned in 2018, "fsyncgate").

**Recovery** (``open``) also syncs what it has read before it says so.  After a plain kill, bytes
that were written but never synced are still there to be read; to take them for durable and
acknowledge them would lose them with the next loss of power.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from splitbrain.cluster.raft.types import Entry, HardState, Snapshot, SnapshotMeta
from splitbrain.cluster.storage.records import CorruptLog, Record, pack, scan
from splitbrain.env import Disk
from splitbrain.errors import NewerStore

__all__ = ["FORMAT", "LOG_FILE", "DiskFailed", "Stored", "Wal"]

FORMAT = 1
LOG_FILE = "raft.log"

_FORMAT, _SNAPSHOT, _HARD_STATE, _ENTRY = 1, 2, 3, 4
_NOTHING = Snapshot(SnapshotMeta(), b"")

Done = Callable[[], None]

_encode = msgspec.msgpack.Encoder().encode
_decoders: dict[int, msgspec.msgpack.Decoder[int | Snapshot | HardState | Entry]] = {
    _FORMAT: msgspec.msgpack.Decoder(int),
    _SNAPSHOT: msgspec.msgpack.Decoder(Snapshot),
    _HARD_STATE: msgspec.msgpack.Decoder(HardState),
    _ENTRY: msgspec.msgpack.Decoder(Entry),
}


class DiskFailed(Exception):
    """The disk did not keep its promise; the node must end and start again from what is there."""


class Stored(msgspec.Struct, frozen=True):
    """What the log holds."""

    hard_state: HardState = HardState()
    snapshot: Snapshot = _NOTHING
    entries: tuple[Entry, ...] = ()
    """Those after the snapshot, without gaps."""


class Wal:
    """The log file of one store.

    Call ``open`` once and wait for its completion; then ``append``, ``install`` and ``compact``.

    Attributes:
        fsyncs: how many fsyncs and replaces were completed.
        entries_written: how many entries were asked to be stored.
        torn_bytes: how many bytes of a torn tail ``open`` has cut off.
    """

    def __init__(
        self, disk: Disk, name: str = LOG_FILE, *, settled: Done = lambda: None
    ) -> None:
        self._disk = disk
        self._name = name
        self._settled = settled
        # What a reader of the file would find once all that was asked for is written.
        self._hard_state = HardState()
        self._snapshot = _NOTHING
        self._entries: list[Entry] = []
        self._size = 0
        # Each append that needs a sync has a number; a completion waits for its number.
        self._asked = 0
        self._durable = 0
        self._waiting: deque[tuple[int, Done]] = deque()
        self._in_flight = False
        self._replacing = False
        self._rewrite_wanted = False
        self._held = bytearray()
        self.fsyncs = 0
        self.entries_written = 0
        self.torn_bytes = 0

    @property
    def size(self) -> int:
        """Bytes in the file, held ones included."""
        return self._size

    @property
    def busy(self) -> bool:
        """Is a sync under way?  Then what is appended now will have to wait for the next one."""
        return self._in_flight

    def stored(self) -> Stored:
        """What a restart would find, once all completions have been told."""
        return Stored(self._hard_state, self._snapshot, tuple(self._entries))

    def open(self, done: Done) -> Stored:
        """Read the file; ``done`` is called, later, when all that was read is durable.

        Raises:
            CorruptLog: the file is damaged in its middle.
            NewerStore: it was written by a later version.
        """
        data = self._disk.read(self._name)
        records, good = scan(self._name, data)
        for record in records:
            self._replay(record)
        self._size = good
        self.torn_bytes = len(data) - good
        self._asked += 1
        self._waiting.append((self._asked, done))
        if self.torn_bytes:
            self._rewrite_wanted = True
        elif not records:
            self._write(_FORMAT, _encode(FORMAT))
        self._next()
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
        self._remember(hard_state, entries)
        self.entries_written += len(entries)
        if not self._rewrite_wanted:  # else the rewrite will hold them
            for entry in entries:
                self._write(_ENTRY, _encode(entry))
            if hard_state is not None:
                self._write(_HARD_STATE, _encode(hard_state))
        self._wait(done, sync=sync)

    def install(
        self,
        snapshot: Snapshot,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        done: Done,
    ) -> None:
        """Forget the whole log: it is now ``snapshot`` and ``entries`` after it."""
        self._snapshot = snapshot
        self._entries = []
        self._remember(hard_state, entries)
        self._rewrite_wanted = True
        self._wait(done, sync=True)

    def compact(self, snapshot: Snapshot, done: Done) -> None:
        """Keep ``snapshot`` and only the entries after it."""
        keep = snapshot.meta.index - self._snapshot.meta.index
        assert 0 <= keep <= len(self._entries), "compaction beyond the stored log"
        self._snapshot = snapshot
        del self._entries[:keep]
        self._rewrite_wanted = True
        self._wait(done, sync=True)

    def _remember(self, hard_state: HardState | None, entries: Iterable[Entry]) -> None:
        if hard_state is not None:
            self._hard_state = hard_state
        base = self._snapshot.meta.index + 1
        for entry in entries:
            place = entry.index - base
            assert 0 <= place <= len(self._entries), f"gap before entry {entry.index}"
            del self._entries[place:]
            self._entries.append(entry)

    def _replay(self, record: Record) -> None:
        """Take one record found at start into what is remembered."""
        try:
            content = _decoders[record.type].decode(record.payload)
        except (KeyError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise self._corrupt(record, f"type {record.type}: {error}") from error
        if isinstance(content, int):
            if content > FORMAT:
                raise NewerStore(
                    f"log file {self._name} has format {content}, this version knows {FORMAT}; "
                    f"start it with the version that wrote it"
                )
        elif isinstance(content, Snapshot):
            self._snapshot, self._entries = content, []
        elif isinstance(content, HardState):
            self._hard_state = content
        else:
            try:
                self._remember(None, (content,))
            except AssertionError as error:
                raise self._corrupt(record, str(error)) from error

    def _corrupt(self, record: Record, problem: str) -> CorruptLog:
        return CorruptLog(self._name, record.offset, problem)

    def _write(self, type_: int, payload: bytes) -> None:
        data = pack(self._size, type_, payload)
        self._size += len(data)
        if self._replacing:
            self._held += data
        else:
            self._disk.append(self._name, data)

    def _wait(self, done: Done, *, sync: bool) -> None:
        if sync:
            self._asked += 1
        elif not self._waiting:
            done()
            return
        self._waiting.append((self._asked, done))
        self._next()

    def _next(self) -> None:
        """Start the next sync or replace, if one is needed and none is under way."""
        if self._in_flight:
            return
        covers = self._asked
        if self._rewrite_wanted:
            self._rewrite_wanted = False
            self._in_flight = self._replacing = True
            content = self._content()
            self._size = len(content)
            self._disk.replace(self._name, content, lambda error: self._done(covers, error))
        elif self._durable < covers:
            self._in_flight = True
            self._disk.fsync(self._name, lambda error: self._done(covers, error))

    def _done(self, covers: int, error: Exception | None) -> None:
        if error is not None:
            raise DiskFailed(f"{self._name}: {error}; restart the store") from error
        self.fsyncs += 1
        self._in_flight = False
        self._durable = covers
        if self._replacing:
            self._replacing = False
            if self._held and not self._rewrite_wanted:
                self._disk.append(self._name, bytes(self._held))
            self._held.clear()
        ready = []
        while self._waiting and self._waiting[0][0] <= covers:
            ready.append(self._waiting.popleft()[1])
        self._next()
        for done in ready:
            done()
        self._settled()

    def _content(self) -> bytes:
        content = bytearray()
        parts: list[tuple[int, int | Snapshot | HardState | Entry]] = [(_FORMAT, FORMAT)]
        if self._snapshot.meta.index:
            parts.append((_SNAPSHOT, self._snapshot))
        parts.append((_HARD_STATE, self._hard_state))
        parts.extend((_ENTRY, entry) for entry in self._entries)
        for type_, part in parts:
            content += pack(len(content), type_, _encode(part))
        return bytes(content)
