"""The journal on disk: what a run is about to do to the world, written before it is done.

A run that dies in the middle leaves processes behind.  What it left is told by two things:

- ``journal.jsonl`` in the run directory: one JSON object a line.  An ``intent`` is fsynced before
  its act; ``done`` follows the act with what identifies its result; ``undone`` says that nothing of
  it is left.  An intent whose ``undo`` is empty needs no undoing (a kill).
- a *link*, one small file in the user's state directory, that points to the journal and names the
  tool's own process.  It is written before the first act and removed once the run is over and
  everything is undone.  So a link whose tool no longer runs is a run that needs healing.

::

    {"record":"intent","n":1,"at_ns":81234,"act":"start-process","target":"n1","label":"r7","undo":"end-process"}
    {"record":"done","n":1,"pid":4242,"start":991234,"group":4242}
    {"record":"undone","n":1}

Test hooks, from the environment: ``SPLITBRAIN_FAIL_AT_JOURNAL=K`` lets the tool end itself by
SIGKILL right after its K-th record is written (0: once the link is written), and
``SPLITBRAIN_FAIL_BEFORE_JOURNAL=K`` right before that, when the act before it has happened and its
record is missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.errors import HostError, NewerStore
from splitbrain.substrates.tools import procfs

__all__ = ["Act", "FileJournal", "RunLink", "read_acts", "read_link", "state_directory"]

FAIL_AT = "SPLITBRAIN_FAIL_AT_JOURNAL"
FAIL_BEFORE = "SPLITBRAIN_FAIL_BEFORE_JOURNAL"
LINK_FORMAT = 1


class RunLink(msgspec.Struct, frozen=True, kw_only=True):
    """What the state directory holds of one unfinished run.

    Attributes:
        label: the run's unique mark.
        journal: absolute path of its journal.
        pid: the tool's process.
        start: the tool's start time, see ``procfs``.
        boot: the machine's boot in which both numbers mean something.
        namespace: the pid namespace (container) in which they do.
    """

    label: str
    journal: str
    pid: int
    start: int
    boot: str = ""
    namespace: str = ""
    format: int = LINK_FORMAT

    @property
    def tool_runs(self) -> bool:
        """True if the tool that made the run still lives.

        Also if it lived in another container of this boot, whose processes we cannot see: a shared
        home directory must not let one container heal, or forget, what runs in another.
        """
        if self.boot != procfs.boot_id():
            return False
        return self.namespace != procfs.namespace() or procfs.is_running(self.pid, self.start)


class Act(msgspec.Struct, kw_only=True):
    """One act, gathered from its records.

    Attributes:
        number: the intent's number.
        name: what was to be done.
        at_ns: when, on the machine's monotonic clock.
        fields: the intent's fields (target, label, undo ...).
        result: what ``done`` said, None if it was never written.
        undone: True once nothing of it is left.
    """

    number: int
    name: str
    at_ns: int = 0
    fields: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    undone: bool = False


def state_directory() -> str:
    """``$XDG_STATE_HOME/splitbrain/runs``, by default below ``~/.local/state``."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(home) / "splitbrain" / "runs")


def read_link(path: str) -> RunLink:
    """Read one link.

    Raises:
        OSError: it cannot be read.
        msgspec.MsgspecError: it is not a link.
        NewerStore: a newer version wrote it.
    """
    link = msgspec.json.decode(Path(path).read_bytes(), type=RunLink)
    if link.format > LINK_FORMAT:
        raise NewerStore(
            f"{path}: format {link.format}, newer than this splitbrain; upgrade it"
        )
    return link


def read_acts(path: str) -> dict[int, Act]:
    """All acts of a journal by number; a missing journal has none, a torn last line is dropped."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return {}
    acts: dict[int, Act] = {}
    for line in data.split(b"\n"):
        with contextlib.suppress(msgspec.MsgspecError, KeyError, TypeError):
            _gather(acts, msgspec.json.decode(line))
    return acts


def _gather(acts: dict[int, Act], record: dict[str, Any]) -> None:
    kind, number = record.pop("record"), record.pop("n")
    if kind == "intent":
        at_ns = record.pop("at_ns", 0)
        name = record.pop("act")
        acts[number] = Act(number=number, name=name, at_ns=at_ns, fields=record)
    elif kind == "done":
        acts[number].result = record
    elif kind == "undone":
        acts[number].undone = True


class FileJournal:
    """A journal in a file; with a ``label``, linked from the state directory until it is closed.

    Args:
        path: the journal; its directory must exist.
        label: the run's unique mark, usable as a file name; empty for no link.
        state: the state directory; None for the user's own.

    Raises:
        HostError: it cannot be written (by any method).
    """

    def __init__(self, path: str, *, label: str = "", state: str | None = None) -> None:
        self.path = os.path.abspath(path)
        self.label = label
        self._written = 0
        self._fail_at = os.environ.get(FAIL_AT, "")
        self._fail_before = os.environ.get(FAIL_BEFORE, "")
        self._open_acts: set[int] = set()
        self._number = 0
        self._link = str(Path(state or state_directory()) / f"{label}.json") if label else ""
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            _sync_directory(str(Path(self.path).parent))
            if self._link:
                self._write_link()
        except OSError as error:
            raise _host_error(error.filename or self.path, error) from error
        self._die_if(self._fail_at)

    @property
    def unfinished(self) -> int:
        """How many acts still need to be undone."""
        return len(self._open_acts)

    def intent(self, act: str, /, **fields: Any) -> int:
        """Write an intent durably and return its number."""
        self._number += 1
        now_ns = time.monotonic_ns()
        record = {"record": "intent", "n": self._number, "at_ns": now_ns, "act": act, **fields}
        self._write(record, durable=True)
        if fields.get("undo"):
            self._open_acts.add(self._number)
        return self._number

    def done(self, number: int, /, **fields: Any) -> None:
        """Say that the act happened, with what identifies it."""
        self._write({"record": "done", "n": number, **fields})

    def undone(self, number: int, /, **fields: Any) -> None:
        """Say that the act has been undone."""
        self._write({"record": "undone", "n": number, **fields})
        self._open_acts.discard(number)

    def close(self) -> bool:
        """The run is over: remove the link if everything is undone; True if it was."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._open_acts:
            return False
        if self._link:
            Path(self._link).unlink(missing_ok=True)
        return True

    def _write(self, record: Mapping[str, Any], *, durable: bool = False) -> None:
        self._written += 1
        self._die_if(self._fail_before)
        try:
            line = msgspec.json.encode(record) + b"\n"
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(self._file)
        except OSError as error:
            raise _host_error(self.path, error) from error
        self._die_if(self._fail_at)

    def _die_if(self, when: str) -> None:
        if when and int(when) == self._written:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write_link(self) -> None:
        me = procfs.look(os.getpid())
        if me is None:
            raise HostError("cannot read /proc/self/stat: this substrate needs Linux's /proc")
        link = RunLink(
            label=self.label,
            journal=self.path,
            pid=me.pid,
            start=me.start,
            boot=procfs.boot_id(),
            namespace=procfs.namespace(),
        )
        directory = str(Path(self._link).parent)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        # Written aside and renamed: a reader sees the whole link or none.
        aside = f"{self._link}.{me.pid}.new"
        with open(aside, "wb") as file:
            file.write(msgspec.json.encode(link) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, self._link)
        _sync_directory(directory)


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _host_error(path: str, error: OSError) -> HostError:
    return HostError(
        f"cannot write the journal {path}: {error.strerror}; free space or choose another store"
    )
