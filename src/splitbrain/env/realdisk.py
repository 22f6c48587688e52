"""A node's files on a real disk: group commit in one worker thread, and the two kinds of death.

The node appends on its event loop and asks for an fsync with a callback; one worker thread takes
*all* requests that wait, syncs each file once, and hands the completions back to the loop in the
order in which they were asked for.  So the slower the disk, the more entries share a sync.

Where un-fsynced bytes live decides what a death costs:

- **plain** (``power=False``): ``append`` writes through to the page cache.  A SIGKILL loses nothing
  that was appended; only the machine's own loss of power would.
- **power** (``power=True``): appended bytes stay in this process and reach the file at fsync only.
  A SIGKILL then loses exactly what a loss of power would have lost, which is how a run injects the
  fault ``power`` without touching the machine.  :meth:`RealDisk.tear` passes on a random prefix of
  the un-fsynced bytes of one file first, so that the following kill leaves a torn last write.

Contract: see :class:`splitbrain.env.Disk`.  ``append`` never fails; its error (no space, an I/O
error) is told to the next ``fsync`` of that file.  An append that follows a ``replace`` still
under way waits behind it.  Completions of one disk come in the order of the requests.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from splitbrain.env import DiskDone
from splitbrain.env.random import Stream

__all__ = ["DiskCounts", "RealDisk"]

Deliver = Callable[[Callable[[], None]], None]
"""Runs a callable on the node's event loop, from any thread, in order."""

_TEMPORARY = ".new"


class DiskCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk has done since it was opened.

    Attributes:
        appends: calls of ``append``.
        bytes: bytes appended or replaced.
        fsyncs: fsyncs asked for.
        syncs: syncs done by the worker; fewer than ``fsyncs`` where requests shared one.
        errors: requests that ended with an error.
    """

    appends: int
    bytes: int
    fsyncs: int
    syncs: int
    errors: int


class _Work:
    """One request to the worker: bytes to write first, then what to do with the file."""

    __slots__ = ("action", "data", "done", "error", "name", "performed")

    def __init__(self, action: str, name: str, data: bytes, done: DiskDone | None) -> None:
        self.action = action
        self.name = name
        self.data = data
        self.done = done
        self.error: Exception | None = None
        self.performed = False


class RealDisk:
    """Files in one directory.

    Args:
        directory: made if it is missing; holds nothing but the node's files.
        deliver: how completions come back to the loop, such as ``loop.call_soon_threadsafe``.
        power: keep un-fsynced bytes in the process (see the module).

    Raises:
        OSError: the directory cannot be made, read or written.
    """

    def __init__(self, directory: str, deliver: Deliver, *, power: bool = False) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write in {self._directory}")
        for leftover in self._directory.glob(f"*{_TEMPORARY}"):
            leftover.unlink()
        self.power = power
        self.extra_ms = 0.0
        self._deliver = deliver
        self._names = {path.name for path in self._directory.iterdir() if path.is_file()}
        self._unwritten: dict[str, bytearray] = {}  # appended; the file does not hold it yet
        self._errors: dict[str, OSError] = {}  # of an append, told by the next fsync
        self._behind: dict[str, int] = {}  # plain mode: acts under way that appends must follow
        self._queue: deque[_Work] = deque()
        self._running: list[_Work] = []
        self._wake = threading.Condition()
        self._closed = False
        # Held by the worker from the first to the last act of a batch, and by ``tear``.
        self._batch = threading.Lock()
        self._frozen = False
        # What follows belongs to whoever holds _io: the worker, or an append that writes through.
        # Never held during a sync, which would stop the node's loop for as long.
        self._io = threading.Lock()
        self._descriptors: dict[str, int] = {}
        self._doomed: set[str] = set()  # power mode: removed, but not yet durably
        # The directory has changes that were not synced: maybe those of a process that was killed
        # between a rename and its sync; what is then written to the file must not be lost with it.
        self._new_names = True
        self._appends = self._bytes = self._fsyncs = self._syncs = self._failures = 0
        self._worker = threading.Thread(target=self._work, name="disk", daemon=True)
        self._worker.start()

    # -- the Disk protocol, on the loop ------------------------------------------------------

    def files(self) -> tuple[str, ...]:
        """Names of all files, sorted."""
        return tuple(sorted(self._names))

    def read(self, name: str) -> bytes:
        """The whole file, un-fsynced bytes included; waits for acts under way."""
        _check(name)
        with self._wake:
            self._wake.wait_for(lambda: self._frozen or not (self._queue or self._running))
        rest = bytes(self._unwritten.get(name, b""))
        with self._io:
            path = self._directory / name
            if name not in self._names or name in self._doomed or not path.exists():
                return rest
            return path.read_bytes() + rest

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of the file; errors are told by the next ``fsync``."""
        _check(name)
        self._appends += 1
        self._bytes += len(data)
        self._names.add(name)
        if self.power or self._behind.get(name):
            self._unwritten.setdefault(name, bytearray()).extend(data)
        else:
            self._write_through(name, data)

    def fsync(self, name: str, done: DiskDone) -> None:
        """Make durable all that was appended before, then call ``done``."""
        _check(name)
        self._fsyncs += 1
        self._names.add(name)
        work = _Work("sync", name, bytes(self._unwritten.pop(name, b"")), done)
        work.error = self._errors.pop(name, None)
        self._submit(work)

    def replace(self, name: str, data: bytes, done: DiskDone) -> None:
        """Atomically and durably make ``data`` the content: a new file, synced, then renamed."""
        _check(name)
        self._bytes += len(data)
        self._names.add(name)
        self._unwritten.pop(name, None)
        self._errors.pop(name, None)
        self._submit(_Work("replace", name, bytes(data), done))

    def remove(self, name: str) -> None:
        """Remove the file; in power mode it is there again if power fails before the next sync."""
        _check(name)
        self._names.discard(name)
        self._unwritten.pop(name, None)
        self._errors.pop(name, None)
        self._submit(_Work("remove", name, b"", None))

    def _write_through(self, name: str, data: bytes) -> None:
        try:
            with self._io:
                if not self._frozen:
                    self._write(name, data)
        except OSError as error:
            self._errors.setdefault(name, error)

    # -- faults and figures ------------------------------------------------------------------

    def tear(self, stream: Stream) -> dict[str, int | str]:
        """Write a random prefix of one file's un-fsynced bytes, then touch the disk no more.

        Returns which file and how many of its un-fsynced bytes were passed on; ``file`` is empty
        where all was durable.  Nothing completes afterwards: the node is about to be killed.

        Raises:
            ValueError: not in power mode.
        """
        if not self.power:
            raise ValueError(
                "tear needs a node that was started with power: true in its config"
            )
        with self._batch:
            self._frozen = True
            with self._wake:
                self._wake.notify_all()
            pending: dict[str, bytes] = {}
            with self._wake:
                for work in (*self._running, *self._queue):
                    if work.action == "sync" and work.data and not work.performed:
                        pending[work.name] = pending.get(work.name, b"") + work.data
            for name, rest in self._unwritten.items():
                pending[name] = pending.get(name, b"") + bytes(rest)
            if not pending:
                return {"file": "", "kept": 0, "lost": 0}
            name = stream.choice(sorted(pending))
            kept = stream.randrange(len(pending[name]))
            with self._io:
                self._write(name, pending[name][:kept])
            return {"file": name, "kept": kept, "lost": len(pending[name]) - kept}

    def counts(self) -> DiskCounts:
        """What the disk has done so far."""
        return DiskCounts(
            appends=self._appends,
            bytes=self._bytes,
            fsyncs=self._fsyncs,
            syncs=self._syncs,
            errors=self._failures,
        )

    def close(self) -> None:
        """Finish what was asked for, then stop the worker.  In power mode the rest is lost."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._worker.join()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    # -- the worker --------------------------------------------------------------------------

    def _submit(self, work: _Work) -> None:
        if not self.power and (work.action != "sync" or work.data):
            self._behind[work.name] = self._behind.get(work.name, 0) + 1
        with self._wake:
            self._queue.append(work)
            self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                self._running = list(self._queue)
                self._queue.clear()
            if self.extra_ms:
                time.sleep(self.extra_ms / 1000)
            with self._batch:
                if self._frozen:
                    return
                for group in _groups(self._running):
                    self._perform(group)
            with self._wake:
                finished, self._running = self._running, []
                self._wake.notify_all()
            self._deliver(functools.partial(self._complete, finished))

    def _perform(self, group: list[_Work]) -> None:
        """Do requests that can share one act on one file."""
        first = group[0]
        try:
            if first.action == "replace":
                self._replace(first.name, first.data)
            elif first.action == "remove":
                self._remove(first.name)
            else:
                self._sync(first.name, b"".join(work.data for work in group))
        except OSError as error:
            for work in group:
                work.error = work.error or error
        for work in group:
            work.performed = True

    def _sync(self, name: str, data: bytes) -> None:
        with self._io:
            if data:
                self._write(name, data)
            descriptor = self._open(name)
        self._syncs += 1
        os.fdatasync(descriptor)  # only this thread closes descriptors
        self._sync_names()

    def _replace(self, name: str, data: bytes) -> None:
        temporary = self._directory / (name + _TEMPORARY)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(descriptor, data)
            self._syncs += 1
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with self._io:
            self._forget(name)
            self._doomed.discard(name)
            temporary.rename(self._directory / name)
            self._new_names = True
        self._sync_names()

    def _remove(self, name: str) -> None:
        with self._io:
            if self.power:
                self._doomed.add(name)
            else:
                self._unlink(name)

    def _write(self, name: str, data: bytes) -> None:
        _write_all(self._open(name), data)

    def _open(self, name: str) -> int:
        if name in self._doomed:
            self._unlink(name)
        descriptor = self._descriptors.get(name)
        if descriptor is None:
            path = self._directory / name
            self._new_names |= not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._descriptors[name] = descriptor
        return descriptor

    def _unlink(self, name: str) -> None:
        self._forget(name)
        (self._directory / name).unlink(missing_ok=True)
        self._doomed.discard(name)
        self._new_names = True

    def _forget(self, name: str) -> None:
        descriptor = self._descriptors.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _sync_names(self) -> None:
        """Make names durable: files made, renamed or removed since the last time."""
        with self._io:
            for name in tuple(self._doomed):
                self._unlink(name)
            if not self._new_names:
                return
            self._new_names = False  # before the sync: what comes during it needs another
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _complete(self, finished: list[_Work]) -> None:
        """On the loop: write what waited behind an act, then tell each request's end."""
        for work in finished:
            if self.power or (work.action == "sync" and not work.data):
                continue
            self._behind[work.name] -= 1
            if not self._behind[work.name]:
                del self._behind[work.name]
                if rest := self._unwritten.pop(work.name, b""):
                    self._write_through(work.name, bytes(rest))
        for work in finished:
            self._failures += work.error is not None
            if work.done is not None:
                work.done(work.error)


def _groups(works: list[_Work]) -> list[list[_Work]]:
    """Requests that share an act: syncs of one file with no replace or remove between them.

    A replace or remove parts them even where it concerns another file, so that what was asked for
    later is never durable without it.
    """
    groups: list[list[_Work]] = []
    open_groups: dict[str, list[_Work]] = {}
    for work in works:
        if work.action != "sync":
            open_groups.clear()
            groups.append([work])
        elif work.name in open_groups:
            open_groups[work.name].append(work)
        else:
            open_groups[work.name] = group = [work]
            groups.append(group)
    return groups


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _check(name: str) -> None:
    flat = bool(name) and "/" not in name and not name.endswith(_TEMPORARY)
    assert flat, f"not a flat name: {name!r}"
