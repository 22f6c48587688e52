"""The durable log of one store: what all its Raft groups need to remember, in one append-only file.

The file holds these records (see ``records`` for their form); each but the first begins with the
number of its group, eight bytes:

    format      2                      first of every file
    group       note, hard state,      all there is of the group until here: what the shell says of
                snapshot               it, and its state machine at one place in its log
    hard state  term, vote, commit     the last one counts
    entry       one log entry          overwrites the group's stored entries from its index on
    buried      note                   the group is no more; only the note is kept

**Group commit.**  Bytes are written when ``append`` is called; at most one fsync is under way, for
all groups together.  What is appended meanwhile shares the next one: under load one fsync covers many
requests of many groups.

**Compaction and snapshots.**  The file is rewritten as [format, then for each group: the group and
the entries after its snapshot] by one atomic replace, so no crash can leave a snapshot without its log
or the other way round, nor one group without another that it was split off from.  While the replace
is under way, new records are held back and written behind it.

**Completion** is told in the order of the calls, whichever groups they were for; when a sync completes
several, ``settled`` follows once behind them.  A failed fsync raises :class:`DiskFailed` out of
the disk's callback and so ends the node: after it nobody knows which bytes are on the disk, and
asking again would report success without them (as PostgreSQL learned in 2018, "fsyncgate").

**Recovery** (``open``) also syncs what it has read before it says so.  After a plain kill, bytes
that were written but never synced are still there to be read; to take them for durable and
acknowledge them would lose them with the next loss of power.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from splitbrain.cluster.raft.types import Entry, HardState, Snapshot, SnapshotMeta
from splitbrain.cluster.storage.records import CorruptLog, Record, pack, scan
from splitbrain.env import Disk
from splitbrain.errors import NewerStore

__all__ = ["FORMAT", "LOG_FILE", "DiskFailed", "Done", "GroupLog", "LogFile", "Stored"]

FORMAT = 2
LOG_FILE = "raft.log"

_FORMAT, _GROUP, _HARD_STATE, _ENTRY, _BURIED = 1, 2, 3, 4, 5
_NOTHING = Snapshot(SnapshotMeta(), b"")
_GROUP_BYTES = 8

Done = Callable[[], None]

_encode = msgspec.msgpack.Encoder().encode


class _Group(msgspec.Struct, frozen=True, array_like=True):
    note: bytes
    hard_state: HardState
    snapshot: Snapshot


_decoders: dict[int, msgspec.msgpack.Decoder[_Group | HardState | Entry | bytes]] = {
    _GROUP: msgspec.msgpack.Decoder(_Group),
    _HARD_STATE: msgspec.msgpack.Decoder(HardState),
    _ENTRY: msgspec.msgpack.Decoder(Entry),
    _BURIED: msgspec.msgpack.Decoder(bytes),
}


class DiskFailed(Exception):
    """The disk did not keep its promise; the node must end and start again from what is there."""


class Stored(msgspec.Struct, frozen=True):
    """What the log holds of one group."""

    hard_state: HardState = HardState()
    snapshot: Snapshot = _NOTHING
    entries: tuple[Entry, ...] = ()
    """Those after the snapshot, without gaps."""
    note: bytes = b""
    buried: bool = False


class GroupLog:
    """One group's part of the file; :meth:`LogFile.group` makes it."""

    __slots__ = ("_buried", "_entries", "_file", "_hard_state", "_note", "_prefix", "_snapshot")

    def __init__(self, file: LogFile, group: int) -> None:
        self._file = file
        self._prefix = group.to_bytes(_GROUP_BYTES, "big")
        # What a reader of the file would find once all that was asked for is written.
        self._forget()

    def _forget(self) -> None:
        self._hard_state = HardState()
        self._snapshot = _NOTHING
        self._entries: list[Entry] = []
        self._note = b""
        self._buried = False

    def stored(self) -> Stored:
        """What a restart would find, once all completions have been told."""
        return Stored(
            self._hard_state, self._snapshot, tuple(self._entries), self._note, self._buried
        )

    def append(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        *,
        sync: bool,
        done: Done,
    ) -> None:
        """Write; ``done`` is called when this and all before it, of any group, is durable.

        Without ``sync`` only the earlier calls must be durable, and ``done`` may be called at once.
        """
        self._remember(hard_state, entries)
        file = self._file
        file.entries_written += len(entries)
        if not file.rewrite_wanted:  # else the rewrite will hold them
            prefix = self._prefix
            records = [(_ENTRY, prefix + _encode(entry)) for entry in entries]
            if hard_state is not None:
                records.append((_HARD_STATE, prefix + _encode(hard_state)))
            file.write(*records)
        file.wait(done, sync=sync)

    def install(
        self,
        snapshot: Snapshot,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        done: Done,
    ) -> None:
        """Forget the group's whole log: it is now ``snapshot`` and ``entries`` after it."""
        self._snapshot = snapshot
        self._entries = []
        self._remember(hard_state, entries)
        self._file.rewrite(done)

    def compact(self, snapshot: Snapshot, done: Done) -> None:
        """Keep ``snapshot`` and only the entries after it."""
        keep = snapshot.meta.index - self._snapshot.meta.index
        assert 0 <= keep <= len(self._entries), "compaction beyond the stored log"
        self._snapshot = snapshot
        del self._entries[:keep]
        self._file.rewrite(done)

    def begin(self, note: bytes, snapshot: Snapshot, hard_state: HardState) -> None:
        """The group is new here, or begins anew: this is all there is of it.

        Durable with whatever is synced next, and before it.
        """
        self._forget()
        self._note, self._snapshot, self._hard_state = note, snapshot, hard_state
        if not self._file.rewrite_wanted:
            begun = _Group(note, hard_state, snapshot)
            self._file.write((_GROUP, self._prefix + _encode(begun)))

    def bury(self, note: bytes) -> None:
        """Forget all but ``note``; durable as ``begin`` is."""
        self._forget()
        self._note, self._buried = note, True
        if not self._file.rewrite_wanted:
            self._file.write((_BURIED, self._prefix + _encode(note)))

    def _remember(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        assert not self._buried, "a write to a group that is no more"
        if hard_state is not None:
            self._hard_state = hard_state
        if entries:
            first = entries[0].index
            place = first - self._snapshot.meta.index - 1
            assert 0 <= place <= len(self._entries), f"gap before entry {first}"
            assert entries[-1].index - first == len(entries) - 1, f"gap after entry {first}"
            self._entries[place:] = entries

    def replay(self, content: _Group | HardState | Entry | bytes) -> None:
        """Take one record found at start into what is remembered."""
        if isinstance(content, bytes):
            self._forget()
            self._note, self._buried = content, True
        elif isinstance(content, _Group):
            self._forget()
            self._note, self._hard_state = content.note, content.hard_state
            self._snapshot = content.snapshot
        elif isinstance(content, HardState):
            self._remember(content, ())
        else:
            assert isinstance(content, Entry)
            self._remember(None, (content,))

    def records(self) -> Iterable[tuple[int, bytes]]:
        """All that is to be kept, as records' types and payloads."""
        prefix = self._prefix
        if self._buried:
            yield _BURIED, prefix + _encode(self._note)
            return
        yield _GROUP, prefix + _encode(_Group(self._note, self._hard_state, self._snapshot))
        for entry in self._entries:
            yield _ENTRY, prefix + _encode(entry)


class LogFile:
    """The log file of one store.

    Call ``open`` once and wait for its completion; then write by :meth:`group`.

    Attributes:
        fsyncs: how many fsyncs and replaces were completed.
        entries_written: how many entries were asked to be stored.
        torn_bytes: how many bytes of a torn tail ``open`` has cut off.
        rewrite_wanted: what is written now will be in the next rewrite, which has not begun.
    """

    def __init__(
        self, disk: Disk, name: str = LOG_FILE, *, settled: Done = lambda: None
    ) -> None:
        self._disk = disk
        self._name = name
        self._settled = settled
        self._groups: dict[int, GroupLog] = {}
        self._size = 0
        # Each append that needs a sync has a number; a completion waits for its number.
        self._asked = 0
        self._durable = 0
        self._waiting: deque[tuple[int, Done]] = deque()
        self._in_flight = False
        self._replacing = False
        self._held = bytearray()
        self.rewrite_wanted = False
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

    def group(self, number: int) -> GroupLog:
        """The part of one group, known or new."""
        log = self._groups.get(number)
        if log is None:
            log = self._groups[number] = GroupLog(self, number)
        return log

    def stored(self) -> Mapping[int, Stored]:
        """What a restart would find of each group, in the order of their first records."""
        return {number: log.stored() for number, log in self._groups.items()}

    def open(self, done: Done) -> Mapping[int, Stored]:
        """Read the file; ``done`` is called, later, when all that was read is durable.

        Records may be written before that: they share its sync.

        Raises:
            CorruptLog: the file is damaged in its middle.
            NewerStore: it was written by another version.
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
            self.rewrite_wanted = True
        elif not records:
            self.write((_FORMAT, _encode(FORMAT)))
        return self.stored()

    def start(self) -> None:
        """Make durable what ``open`` has found, and what was written since."""
        self._next()

    def _replay(self, record: Record) -> None:
        type_, payload = record.type, record.payload
        try:
            if type_ == _FORMAT:
                self._check_format(msgspec.msgpack.decode(payload, type=int))
                return
            content = _decoders[type_].decode(payload[_GROUP_BYTES:])
            group = int.from_bytes(payload[:_GROUP_BYTES], "big")
            self.group(group).replay(content)
        except (KeyError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise self._corrupt(record, f"type {type_}: {error}") from error
        except AssertionError as error:
            raise self._corrupt(record, str(error)) from error

    def _check_format(self, found: int) -> None:
        if found != FORMAT:
            raise NewerStore(
                f"log file {self._name} has format {found}, this version knows {FORMAT}; "
                f"start it with the version that wrote it"
            )

    def _corrupt(self, record: Record, problem: str) -> CorruptLog:
        return CorruptLog(self._name, record.offset, problem)

    # -- for the groups --------------------------------------------------------------------------

    def write(self, *records: tuple[int, bytes]) -> None:
        """Put records, types and payloads, at the end: all by one call of the disk."""
        size, parts = self._size, []
        for type_, payload in records:
            part = pack(size, type_, payload)
            size += len(part)
            parts.append(part)
        if not parts:
            return
        self._size = size
        data = b"".join(parts)
        if self._replacing:
            self._held += data
        else:
            self._disk.append(self._name, data)

    def wait(self, done: Done, *, sync: bool) -> None:
        """Call ``done`` when all that was written (without ``sync``: was asked to be) is durable."""
        if sync:
            self._asked += 1
        elif not self._waiting:
            done()
            return
        self._waiting.append((self._asked, done))
        self._next()

    def rewrite(self, done: Done) -> None:
        """Write the whole file anew, from what the groups remember."""
        self.rewrite_wanted = True
        self.wait(done, sync=True)

    def _next(self) -> None:
        """Start the next sync or replace, if one is needed and none is under way."""
        if self._in_flight:
            return
        covers = self._asked
        if self.rewrite_wanted:
            self.rewrite_wanted = False
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
            if self._held and not self.rewrite_wanted:
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
        content = bytearray(pack(0, _FORMAT, _encode(FORMAT)))
        for log in self._groups.values():
            for type_, payload in log.records():
                content += pack(len(content), type_, payload)
        return bytes(content)
