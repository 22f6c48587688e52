"""Processes as Linux shows them in ``/proc``: who one is, in what state, and whose it is.

A pid alone names nobody: it is used again once its process has ended.  A pid *and* the start time
that the kernel keeps (field 22 of ``/proc/PID/stat``, in clock ticks since boot) do, until the next
boot.  So every act of ours on a process that we did not just start compares both, and sends its
signal through a pidfd opened *before* the comparison: the pid cannot change hands in between.

Example::

    me = look(os.getpid())
    assert me is not None and me.state == "R"
    assert is_running(me.pid, me.start)

The fields are those of proc(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

__all__ = [
    "LABEL",
    "Process",
    "boot_id",
    "environment_of",
    "is_running",
    "look",
    "namespace",
    "processes",
    "send_signal",
]

LABEL = "SPLITBRAIN_RUN"
"""Environment variable by which every process of a run carries the run's label."""


class Process(msgspec.Struct, frozen=True):
    """One look at a process.

    Attributes:
        pid: its process id.
        start: clock ticks from boot to its start; with pid, its identity until the next boot.
        state: the kernel's letter: R running, S sleeping, D in I/O, T stopped, Z zombie.
        group: its process group.
        session: its session: the pid of the process that made it.
        parent: its parent's pid.
    """

    pid: int
    start: int
    state: str
    group: int
    session: int
    parent: int

    @property
    def alive(self) -> bool:
        """False for a zombie, which runs nothing any more."""
        return self.state not in ("Z", "X")


def look(pid: int) -> Process | None:
    """The process of that pid now, None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command's name, in parentheses, may hold spaces and parentheses itself.
    fields = text[text.rindex(")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0],
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start=int(fields[19]),
    )


def is_running(pid: int, start: int) -> bool:
    """True if the process that had this pid at that start time still runs."""
    process = look(pid)
    return process is not None and process.alive and process.start == start


def processes() -> Iterator[Process]:
    """All living processes of this machine that we can see."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = look(int(name))
            if process is not None and process.alive:
                yield process


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where we may not look."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in data.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def boot_id() -> str:
    """Identifies the machine's current boot; empty where the kernel does not tell."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def namespace() -> str:
    """Identifies the pid namespace in which our pids are counted; empty if it cannot be told."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def send_signal(pid: int, start: int, number: signal.Signals) -> bool:
    """Signal exactly the process that had ``pid`` at ``start``; False if it is gone.

    Raises:
        PermissionError: it is another user's.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_running(pid, start):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
