"""One node's disk in simulation: what is visible, and what would survive.

Two contents are kept of each file: the one that the node sees, and the one that is durable.  They
differ by what was appended, replaced or removed and not yet synced.

- **kill**: what the node sees stays, as in the page cache; it is still not durable.
- **power**: what is durable stays, and of bytes appended but not synced a prefix that is drawn: all
  of it, none of it, or up to any byte.
- Of the requests that the disk was working on, the first few (a number that is drawn, often none)
  have happened all the same, although the node was never told; later ones have not.  So a replace
  is there in whole or not at all, and nothing is durable without what was asked for before it.

Syncs take time.  The disk does one at a time; all that is asked for while it is busy shares the
next one (group commit), and completions come in the order of asking.

    >>> from splitbrain.env.random import Random
    >>> from splitbrain.substrates.sim.loop import SimLoop
    >>> disk = SimDisk(SimLoop(), Random(1))
    >>> disk.append("log", b"abc"); disk.kill(); disk.read("log")
    b'abc'
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import msgspec

from splitbrain.env import DiskDone
from splitbrain.env.random import Random
from splitbrain.substrates.sim.links import Draws
from splitbrain.substrates.sim.loop import SimLoop

__all__ = ["SimDisk", "SimDiskCounts"]

Tell = Callable[[DiskDone, Exception | None], None]
"""Runs a completion on the node: guarded, held while the node is paused."""

_MS = 1_000_000


class SimDiskCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk has done: requests, and the syncs that they shared."""

    appends: int
    fsyncs: int
    syncs: int


class _File:
    """A file as seen (``data``, ``exists``) and as durable.

    Where ``follows``, the durable content is ``data[:synced]`` (and the name itself is durable if
    ``named``); else it is ``stable``, from before a replace or remove, with None for no file.
    """

    __slots__ = ("data", "error", "exists", "follows", "named", "stable", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.exists = True
        self.synced = 0
        self.follows = True
        self.named = False
        self.stable: bytes | None = None
        self.error: OSError | None = None

    def part(self) -> None:
        """Begin a new content; the durable one is what it was."""
        if self.follows:
            self.stable = bytes(self.data[: self.synced]) if self.named else None
            self.follows = False
        self.data = bytearray()
        self.synced = 0

    def settle(self, data: bytearray, length: int) -> None:
        """``data[:length]`` has become durable, whether or not it is still what the node sees."""
        if self.data is data and self.exists:
            self.follows = self.named = True
            self.synced = max(self.synced, length)
        else:
            self.stable = bytes(data[:length])

    def vanish(self, data: bytearray) -> None:
        """The removal that left ``data`` has become durable."""
        if self.data is data and not self.exists:
            self.follows, self.named, self.synced = True, False, 0
        elif not self.follows:
            self.stable = None


class _Act:
    """One request: a sync of bytes so far, or a replace with what it replaced."""

    __slots__ = ("before", "data", "done", "existed", "file", "length", "removed")

    def __init__(
        self, file: _File, done: DiskDone, before: bytearray | None = None, existed: bool = True
    ) -> None:
        self.file = file
        self.data = file.data
        self.length = len(file.data)
        self.done = done
        self.before = before
        """For a replace: what the node saw before, if the file ``existed``."""
        self.existed = existed
        self.removed: list[tuple[_File, bytearray]] = []


class SimDisk:
    """A node's disk; lives as long as the testbed, through all incarnations of the node.

    Args:
        loop: gives the time.
        random: of this node's disk.
        fsync_ns: least duration of a sync.
        jitter_ns: plus a uniform draw below this.
        grid_ns: ends of syncs are rounded up to multiples of this; 0 for none.
    """

    def __init__(
        self,
        loop: SimLoop,
        random: Random,
        *,
        fsync_ns: int = _MS // 2,
        jitter_ns: int = _MS // 2,
        grid_ns: int = 0,
    ) -> None:
        self._loop = loop
        self._random = random
        self._draws = Draws(random, "sync")
        self._fsync_ns, self._jitter_ns, self._grid_ns = fsync_ns, jitter_ns, grid_ns
        self._files: dict[str, _File] = {}
        self._queue: list[_Act] = []
        self._running: list[_Act] = []
        self._removed: list[tuple[_File, bytearray]] = []
        self._life = 0
        self._deaths = 0
        self._tell: Tell = _untold
        self._appends = self._fsyncs = self._syncs = 0
        self.extra_ns = 0
        """Added to each sync that begins from now on: the fault ``disk-slow``."""
        self.error: int | None = None
        """An errno that every write and sync meets while it is set, such as ENOSPC or EIO."""

    def attach(self, tell: Tell) -> None:
        """Begin a new incarnation of the node, which is told of completions by ``tell``."""
        self._tell = tell

    # -- the Disk protocol -------------------------------------------------------------------

    def files(self) -> tuple[str, ...]:
        """Names of all files, sorted."""
        return tuple(sorted(name for name, file in self._files.items() if file.exists))

    def read(self, name: str) -> bytes:
        """The whole file as the node sees it; empty if there is none."""
        file = self._files.get(name)
        return bytes(file.data) if file is not None else b""

    def append(self, name: str, data: bytes) -> None:
        """Write at the end; an error is told by the next fsync of the file."""
        self._appends += 1
        file = self._open(name)
        if self.error is not None:
            file.error = self._failure(name)
        else:
            file.data += data

    def fsync(self, name: str, done: DiskDone) -> None:
        """Make durable what was appended so far, then call ``done``."""
        self._fsyncs += 1
        self._submit(_Act(self._open(name), done))

    def replace(self, name: str, data: bytes, done: DiskDone) -> None:
        """Make ``data`` the content, atomically and durably, then call ``done``."""
        self._fsyncs += 1
        existed = name in self._files and self._files[name].exists
        file = self._open(name)
        before = file.data
        file.part()
        file.data += data
        file.error = None
        self._submit(_Act(file, done, before, existed))

    def remove(self, name: str) -> None:
        """Remove the file; durable with the next sync that is asked for."""
        file = self._files.get(name)
        if file is None or not file.exists:
            return
        file.part()
        file.exists = False
        file.error = None
        self._removed.append((file, file.data))

    def plant(self, name: str, data: bytes) -> None:
        """Make ``data`` the content from outside, durable at once."""
        file = self._open(name)
        file.part()
        file.data += data
        file.error = None
        file.settle(file.data, len(file.data))

    def _open(self, name: str) -> _File:
        file = self._files.get(name)
        if file is None:
            assert name, "a file needs a name"
            assert "/" not in name, f"not a flat name: {name!r}"
            file = self._files[name] = _File()
        file.exists = True
        return file

    # -- syncs -------------------------------------------------------------------------------

    def _submit(self, act: _Act) -> None:
        act.removed, self._removed = self._removed, []
        self._queue.append(act)
        if not self._running:
            self._begin()

    def _begin(self) -> None:
        self._running, self._queue = self._queue, []
        self._syncs += 1
        duration = self._fsync_ns + int(self._draws.at(self._syncs) * self._jitter_ns)
        when = self._loop.now_ns + duration + self.extra_ns
        if self._grid_ns:
            when = -(-when // self._grid_ns) * self._grid_ns
        self._loop.post_ns(when, self._finish, self._life)

    def _finish(self, life: int) -> None:
        if life != self._life:
            return
        acts, self._running = self._running, []
        told = [(act.done, self._perform(act)) for act in acts]
        if self._queue:
            self._begin()
        tell = self._tell
        for done, error in told:
            tell(done, error)

    def _perform(self, act: _Act) -> OSError | None:
        file = act.file
        error = self._failure("sync") if self.error is not None else None
        if act.before is None:
            error, file.error = file.error or error, None
        if error is not None:
            self._removed[:0] = act.removed
            if file.data is act.data:
                _undo(act)
            return error
        for removed, data in act.removed:
            removed.vanish(data)
        file.settle(act.data, act.length)
        return None

    def _failure(self, what: str) -> OSError:
        number = self.error or errno.EIO
        return OSError(number, f"{os.strerror(number)} (injected): {what}")

    # -- deaths ------------------------------------------------------------------------------

    def kill(self) -> None:
        """The node's process is gone: what it wrote stays visible, nothing completes any more."""
        self._die(durable=False)

    def power(self) -> None:
        """The power is gone: only what is durable stays, and perhaps a part of the rest."""
        self._die(durable=True)
        for name in sorted(self._files):
            file = self._files[name]
            if file.follows and file.exists:
                kept = self._kept(name, len(file.data) - file.synced)
                left: bytes | None = bytes(file.data[: file.synced + kept])
                if not file.named and not kept:
                    left = None
            else:
                left = None if file.follows else file.stable
            del self._files[name]
            if left is not None:
                survivor = self._files[name] = _File()
                survivor.data += left
                survivor.synced, survivor.named = len(left), True
        self._removed.clear()

    def _die(self, *, durable: bool) -> None:
        """Drop what is under way, but for the requests that had happened before they were told."""
        self._life += 1
        acts = self._running + self._queue
        happened = int(max(0.0, self._fraction("under way") * 2 - 1) * (len(self._running) + 1))
        removed: list[tuple[_File, bytearray]] = []
        undone: list[_File] = []
        for number, act in enumerate(acts):
            removed += [each for each in act.removed if each[0] not in undone]
            if number >= happened:
                if act.before is not None and act.file not in undone:
                    undone.append(act.file)
                    _undo(act)
            elif durable:
                for file, data in act.removed:
                    file.vanish(data)
                act.file.settle(act.data, act.length)
        # A removal behind a replace that did not happen did not happen either.
        self._removed = removed + [each for each in self._removed if each[0] not in undone]
        self._running, self._queue = [], []
        self._deaths += 1

    def _kept(self, name: str, unsynced: int) -> int:
        """How many of the bytes that were not synced are on the disk all the same."""
        if not unsynced:
            return 0
        fate = self._fraction("tear", name)
        if fate < 0.4:
            return 0
        if fate < 0.6:
            return unsynced
        return int(self._fraction("prefix", name) * unsynced)

    def _fraction(self, *names: str) -> float:
        return self._random.fraction("death", self._deaths, *names)

    def counts(self) -> SimDiskCounts:
        """What the disk has done so far."""
        return SimDiskCounts(appends=self._appends, fsyncs=self._fsyncs, syncs=self._syncs)


def _undo(act: _Act) -> None:
    """A replace did not happen: the node sees what was there before it, and nothing since."""
    if act.before is not None:
        act.file.data, act.file.exists = act.before, act.existed


def _untold(done: DiskDone, error: Exception | None) -> None:
    raise AssertionError("a disk without a node completed a request")
